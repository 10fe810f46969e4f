"""Oracles: the dense Jacobian by jax.jacrev, and neural_tangents' kernel of a finite network."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from implicit_bias.errors import UserError
from implicit_bias.kernels.empirical import empirical_ntk, ntk_cost
from implicit_bias.models import Dense, Network, conv_net, normalised_dense, residual_dense
from implicit_bias.models.layers import Activation, Affine, Residual

TANH = Activation("tanh")

# Small, yet every kind of layer: one and several positions, known, factored, pairs and gradients.
NETWORKS = {
    "relu": (Dense((4, 5), 3, bias_std=0.3), (6,)),
    "tanh without bias, ntk": (
        Dense((4,), 2, activation="tanh", bias=False, parameterisation="ntk"),
        (6,),
    ),
    "linear": (Dense((), 2), (6,)),
    "mup": (Dense((4, 5), 3, parameterisation="mup", bias_std=0.3, base_width=2), (6,)),
    "residual": (
        residual_dense(5, 1, 3, "tanh", 0.5, parameterisation="ntk", bias_scale=0.3, bias_std=0.2),
        (6,),
    ),
    "shortcut": (
        Network(
            (
                Affine(3),
                Residual((TANH, Affine(4, bias=False)), 0.5, (Affine(4),)),
                TANH,
                Affine(2),
            ),
            "ntk",
        ),
        (5,),
    ),
    "conv, flatten": (
        conv_net((2, 6), 2, "flatten", pool=2, parameterisation="ntk", bias_std=0.2),
        (4, 4),
    ),
    "conv, mean": (
        conv_net((2, 3), 2, "mean", stride=2, activation="tanh", bias=False),
        (5, 5, 2),
    ),
}
N1, N2 = 5, 3
REDUCTIONS = ("trace", "classes", "full")


@functools.cache
def given(name):
    """The network, parameters with biases, and two sets of inputs, all float64 and by NumPy."""
    model, shape = NETWORKS[name]
    rng = np.random.default_rng(3)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros(shape, "float64"))[0])
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), shapes)
    return model, params, *(jnp.asarray(rng.normal(size=(n, *shape))) for n in (N1, N2))


@functools.cache
def expected(name):
    """The full kernel, from the Jacobian with respect to the whole parameter vector."""
    model, params, x1, x2 = given(name)
    flat, unravel = ravel_pytree(params)

    def outputs(flat):
        return model.apply(unravel(flat), {}, jnp.concatenate([x1, x2]))[0]

    jacobian = np.asarray(jax.jit(jax.jacrev(outputs))(flat))
    return np.einsum("acp,bdp->acbd", jacobian, jacobian)


def reduced(full, reduce):
    if reduce == "full":
        return full
    kernels = np.einsum("acbc->cab", full)
    return kernels if reduce == "classes" else kernels.mean(axis=0)


def check(name, methods, reductions=REDUCTIONS, sides=(True, False)):
    model, params, x1, x2 = given(name)

    def kernels(params, x1, x2):
        return {
            (method, reduce, both): empirical_ntk(
                model, params, x1, x2 if both else None, reduce=reduce, method=method
            )
            for method in methods
            for reduce in reductions
            # One reduction of the symmetric kernel: its path is the same for all.
            for both in (sides if reduce == "trace" else (True,))
        }

    found = jax.jit(kernels)(params, x1, x2)
    full = expected(name)
    for (method, reduce, both), kernel in found.items():
        block = full[:N1, :, N1:] if both else full[:N1, :, :N1]
        assert kernel.dtype == "float64"
        np.testing.assert_allclose(
            kernel, reduced(block, reduce), rtol=1e-10, atol=1e-10 * np.abs(full).max(),
            err_msg=f"{name}, {method}, {reduce}, {both}",
        )  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_structured_against_the_dense_jacobian(name):
    # Broken by: a multiplier, bias, position or residual scale forgotten; an axis swapped; a mean
    # that is a sum; a way of contracting used where it does not hold.
    check(name, ("structured",))


@pytest.mark.parametrize("name", ["relu", "conv, mean"])
def test_other_methods_against_the_dense_jacobian(name):
    # Broken by: an output left out, rows of examples and outputs in another order.
    reductions = REDUCTIONS if name == "relu" else ("classes",)  # convolutions compile for long
    check(name, ("jacobian", "products"), reductions, sides=(True,))


def test_every_way_of_contracting_is_tried():
    # Broken if the networks above no longer take all ways, so that one is untested.
    from implicit_bias.kernels.structured import Structured

    ways = set()
    for name in NETWORKS:
        model, params, x1, _ = given(name)
        for reduce in REDUCTIONS:
            layers = Structured(model, params, {}, x1.shape[1:], x1.dtype, reduce, (N1, N2))
            ways |= {
                (way, size.positions > 1)
                for way, size in zip(layers.ways, layers.sizes, strict=True)
            }
    assert {("known", False), ("factored", False), ("pairs", False), ("gradients", True)} <= ways
    assert ("pairs", True) in ways


def test_what_learns_more_than_weights_is_not_structured():
    # Norms learn scales and biases, which the structured kernel does not count: "auto" counts them.
    # Broken by a kernel without them, of which nothing tells.
    from implicit_bias.kernels.structured import Structured

    model, x = (
        normalised_dense((3,), 2, "tanh"),
        jnp.asarray(np.random.default_rng(0).normal(size=(2, 4))),
    )
    shapes, state = jax.eval_shape(lambda: model.init(jax.random.key(0), x[0]))
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), shapes)
    state = jax.tree.map(lambda leaf: jnp.asarray(0.5 + rng.uniform(size=leaf.shape)), state)
    flat, unravel = ravel_pytree(params)

    @jax.jit
    def both(flat):
        jacobian = jax.jacrev(lambda flat: model.apply(unravel(flat), state, x)[0])(flat)
        return empirical_ntk(model, unravel(flat), x, state=state), jacobian

    found, jacobian = both(flat)
    np.testing.assert_allclose(found, np.einsum("acp,bcp->ab", jacobian, jacobian) / 2, rtol=1e-11)
    with pytest.raises(UserError, match=r"learns more than weights and biases \(normalisation"):
        empirical_ntk(model, params, x, state=state, method="structured")
    with pytest.raises(UserError, match="normalisation or learned scalars; choose method='jac"):
        Structured(model, params, state, (4,), x.dtype, "trace", (2, 2))


def test_padded_network_has_the_narrow_kernel():
    # Broken by: multipliers of the padded width instead of those in the state, or a division by the
    # length of a padded unit's weights, which are zero.
    model, narrow = (
        Dense((6, 7), 3, parameterisation="ntk"),
        Dense((4, 5), 3, parameterisation="ntk"),
    )
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
    params, state = jax.jit(lambda key, widths: model.init(key, x[0], widths=list(widths)))(
        jax.random.key(1), jnp.asarray([4.0, 5.0])
    )
    found = jax.jit(
        lambda params, state: empirical_ntk(model, params, x, state=state, method="structured")
    )(params, state)
    sliced = {
        f"layer_{i}": {
            "weight": params[f"layer_{i}"]["weight"][:n, :m],
            "bias": params[f"layer_{i}"]["bias"][:n],
        }
        for i, (m, n) in enumerate(((3, 4), (4, 5), (5, 3)))
    }
    oracle = jax.jit(lambda params: empirical_ntk(narrow, params, x, method="jacobian"))(sliced)
    np.testing.assert_allclose(found, oracle, rtol=1e-12)


def test_against_neural_tangents():
    # Broken by: another convention of the trace than the tool that people compare with.
    from implicit_bias.errors import UserError
    from implicit_bias.kernels import _neural_tangents

    try:
        tangents = _neural_tangents.load()
    except UserError:
        pytest.skip("neural_tangents is not installed")
    model, params, x1, x2 = given("relu")
    with _neural_tangents.calling():
        theirs = jax.jit(
            tangents.empirical_ntk_fn(
                lambda params, x: model.apply(params, {}, x)[0], trace_axes=(-1,), implementation=1
            )
        )(x1, x2, params)
    np.testing.assert_allclose(theirs, reduced(expected("relu")[:N1, :, N1:], "trace"), rtol=1e-10)


def test_cost_is_that_of_the_formula():
    # Broken by: a layer or pass forgotten; counted here by hand for a 784-512-512-10 network.
    model, n, k = Dense((512, 512), 10), 512, 10
    x = jax.ShapeDtypeStruct((n, 784), "float32")
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros(784, "float32"))[0])
    cost = ntk_cost(model, params, x)
    assert cost.method == "structured"
    forward = 784 * 512 + 512 * 512 + 512 * 10
    backward = k * (512 * 512 + 512 * 10)
    inputs, cotangents = 784 + 512 + 512, k * 512 + 512  # the second layer's are factored
    row = 2 * (forward + backward + k * 512)
    # Two halves of 256 against themselves and once against each other: three quarters of all pairs.
    assert cost.chosen.flops == pytest.approx(n * row + 0.75 * n**2 * 2 * (inputs + cotangents))
    p = 784 * 512 + 512 * 512 + 5120 + 1034
    assert cost.of("jacobian").flops > 0.5 * 2 * k * n**2 * p
    assert cost.of("products").flops > 2 * k * n**2 * 2 * forward
    assert "structured: " in str(cost)
    assert "instead of jacobian" in str(cost)
