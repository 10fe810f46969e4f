"""Oracles: the explicit Jacobian, and the kernel of a linear model; all methods: test_structured."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.errors import UserError
from implicit_bias.kernels.empirical import empirical_ntk, ntk_cost, ntk_vector_product
from implicit_bias.models import Dense

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 3))


def apply(params, x):
    return jnp.tanh(x @ params["in"] + params["bias"][None, :]) @ params["out"]


def make(dtype):
    shapes = {"in": (3, 4), "bias": (4,), "out": (4, 2)}
    return {name: jnp.asarray(RNG.normal(size=shape), dtype) for name, shape in shapes.items()}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_against_the_explicit_jacobian(dtype, tolerance):
    # Broken by: an output left out, a sum for a mean, a bias forgotten.
    params, x = make(dtype), jnp.asarray(X, dtype)
    found = jax.jit(lambda params, x: empirical_ntk(apply, params, x))(params, x)
    jacobian = jax.jit(jax.jacobian(lambda params: apply(params, x)))(params)
    flat = np.concatenate(
        [np.asarray(leaf, "float64").reshape(5, 2, -1) for leaf in jax.tree.leaves(jacobian)],
        axis=2,
    )
    expected = np.einsum("acp,bcp->ab", flat, flat) / 2
    np.testing.assert_allclose(found, expected, rtol=10 * tolerance, atol=tolerance)
    assert found.dtype == dtype


def test_linear_model():
    # Broken by: anything; the kernel of x W, for each output, is x x'.
    found = empirical_ntk(lambda w, x: x @ w, jnp.asarray(RNG.normal(size=(3, 4))), jnp.asarray(X))
    np.testing.assert_allclose(found, X @ X.T, rtol=1e-12)


def test_asks_for_the_highest_precision():
    # Broken by: a product that a GPU would round to TF32.
    text = str(
        jax.make_jaxpr(lambda params: empirical_ntk(apply, params, jnp.asarray(X)))(make("float64"))
    )
    assert text.count("dot_general[") == text.count("precision=(Precision.HIGHEST") > 0


DENSE = Dense((6,), 2, activation="tanh")


def dense(n, lanes=()):
    rng = np.random.default_rng(n)
    sizes = {"layer_0": (6, 3), "layer_1": (2, 6)}
    params = {
        name: {
            "weight": jnp.asarray(rng.normal(size=(*lanes, *size))),
            "bias": jnp.asarray(rng.normal(size=(*lanes, size[0]))),
        }
        for name, size in sizes.items()
    }
    return params, jnp.asarray(rng.normal(size=(n, 3)))


@functools.cache
def dense_kernel():
    """The full kernel of eleven inputs and seven others, from the Jacobian."""
    params, x = dense(11)
    inputs = jnp.concatenate([x, x[:7] + 1])
    jacobian = jax.jit(jax.jacobian(lambda params: DENSE.apply(params, {}, inputs)[0]))(params)
    flat = np.concatenate(
        [np.asarray(leaf).reshape(18, 2, -1) for leaf in jax.tree.leaves(jacobian)], axis=2
    )
    return np.einsum("acp,bdp->acbd", flat, flat)


@pytest.mark.parametrize("method", ["jacobian", "products", "structured"])
def test_blocks_change_nothing_and_keep_to_the_memory(method):
    # Broken by: a block written to the wrong place, a last block that reaches back wrongly, a block
    # mirrored wrongly, a plan that does not keep to the memory.
    params, x = dense(11)
    full = dense_kernel()
    symmetric, crossed = full[:11, :, :11], full[:11, :, 11:]
    cases = [("full", None, symmetric), ("trace", None, np.einsum("acbc->ab", symmetric) / 2)]
    if method == "structured":  # the others' loops are those of the trace
        cases.append(("classes", x[:7] + 1, np.einsum("acbc->cab", crossed)))
    for reduce, x2, expected in cases:
        with pytest.raises(UserError) as caught:
            ntk_cost(DENSE, params, x, x2, reduce=reduce, method=method, memory=1)
        least = int(str(caught.value).split("memory >= ")[1].split(",")[0])
        options = {"reduce": reduce, "method": method, "memory": int(1.3 * least)}
        cost = ntk_cost(DENSE, params, x, x2, **options).chosen
        assert cost.memory <= options["memory"]
        assert cost.block[0] < 11 or cost.columns == 1
        found = jax.jit(
            lambda params, x, x2, options=options: empirical_ntk(DENSE, params, x, x2, **options)
        )(params, x, x2)
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_memory_is_bounded():
    # Broken by: arrays that the plan forgets. By XLA's own account of a compiled program.
    model = Dense((64, 64), 10)
    x = jax.ShapeDtypeStruct((96, 32), "float32")
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros(32, "float32"))[0])
    for method, reduce, memory in (
        ("structured", "classes", 2 * 10**6),
        ("jacobian", "trace", 10**6),
        ("products", "trace", 10**6),
    ):
        compiled = (
            jax.jit(
                lambda params, x, method=method, reduce=reduce, memory=memory: empirical_ntk(
                    model, params, x, method=method, reduce=reduce, memory=memory
                )
            )
            .lower(params, x)
            .compile()
        )
        used = compiled.memory_analysis()
        if used is None:
            pytest.skip("this JAX does not say what memory a program uses")
        assert used.temp_size_in_bytes + used.output_size_in_bytes <= memory, method


def test_lanes_under_map_and_vmap():
    # Broken by: a shape or a choice that depends on values, or one lane's numbers used for all.
    params, x = dense(5, lanes=(2,))

    def kernel(params):
        return empirical_ntk(DENSE, params, x)

    mapped, batched, single = jax.jit(
        lambda params: (
            jax.lax.map(kernel, params),
            jax.vmap(kernel)(params),
            kernel(jax.tree.map(lambda leaf: leaf[1], params)),
        )
    )(params)
    np.testing.assert_allclose(mapped, batched, rtol=1e-12)
    np.testing.assert_allclose(mapped[1], single, rtol=1e-12)
    eigenvalues = np.linalg.eigvalsh(mapped)
    assert np.all(eigenvalues > -1e-12 * eigenvalues.max())
    np.testing.assert_allclose(mapped, np.swapaxes(mapped, 1, 2), rtol=1e-12)


def test_many_examples_contracted_once_each():
    # Broken by: halves of a symmetric product put together wrongly; only large ones are cut.
    from implicit_bias.kernels.blocks import gram

    rows = np.random.default_rng(1).normal(size=(1025, 2))
    np.testing.assert_allclose(gram(jnp.asarray(rows)), rows @ rows.T, rtol=1e-9, atol=1e-12)


def test_vector_product():
    # Broken by: an output or input out of order, a side swapped.
    params, x = dense(4)
    other, rng = x[:3] + 1, np.random.default_rng(0)
    vector = jnp.asarray(rng.normal(size=(3, 2)))
    found, full = jax.jit(
        lambda params, x, other: (
            ntk_vector_product(DENSE, params, x, vector, other),
            empirical_ntk(DENSE, params, x, other, reduce="full", method="structured"),
        )
    )(params, x, other)
    np.testing.assert_allclose(found, np.einsum("acbd,bd->ac", full, vector), rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduce": "sum"}, "unknown reduction 'sum'"),
        ({"method": "dense"}, "unknown method 'dense'"),
        ({"method": "structured"}, "does not say what layers it has"),
        ({"memory": 10}, "memory is 10 bytes, too small"),
        ({"memory": -1}, "choose a whole number of bytes >= 1"),
        ({"memory": "much"}, "give a whole number"),
        ({"memory": float("inf")}, "memory is inf; give a whole number"),
        ({"memory": 1e9}, "give a whole number"),
        ({"x2": jnp.ones((2, 4))}, "give examples of one shape"),
    ],
)
def test_bad_options(options, message):
    # Broken by: a check that is missing, or an error of JAX's in many lines.
    with pytest.raises(UserError) as caught:
        empirical_ntk(apply, make("float64"), jnp.asarray(X), **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (np.ones((4, 2), int), "vector has dtype int"),
        (np.ones((4, 2), "float32"), "vector has dtype float32, but the network's outputs have"),
        ("ones", "give numbers"),
        ([[1.0, 2.0]], "vector has shape (1, 2)"),
    ],
)
def test_bad_vectors(vector, message):
    # Broken by: a product in another dtype, or an error of JAX's in many lines.
    params, x = dense(4)
    with pytest.raises(UserError) as caught:
        ntk_vector_product(DENSE, params, x, vector)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_vectors_may_be_lists():
    # Broken by: a list refused, or cast to another dtype than the outputs'.
    found = ntk_vector_product(lambda w, x: x @ w, jnp.ones((3, 1)), jnp.asarray(X), [[1]] * 5)
    np.testing.assert_allclose(found[:, 0], (X @ X.T).sum(axis=1), rtol=1e-12)


FLOATS, WHOLE = jnp.asarray(X), jnp.ones((5, 3), int)


@pytest.mark.parametrize(
    ("network", "cast", "x", "message"),
    [
        (DENSE, None, WHOLE, "the inputs have dtype int"),
        (DENSE, int, FLOATS, "['layer_0']['bias'] is of dtype int"),
        (DENSE, float, FLOATS, "is of type "),
        (apply, int, FLOATS, "is of dtype int"),
        (DENSE, None, FLOATS.tolist(), "x1 is of type list; give an array"),
        (DENSE, None, FLOATS[:, :2], "parameters that fit each other"),
        (lambda params: 1, None, FLOATS, "is called with 2 arguments"),
        (lambda params, x: (x, x), None, FLOATS, "the network returns tuple"),
        (lambda params, x: WHOLE, None, FLOATS, "outputs of dtype int"),
        (lambda params, x: x @ x, None, FLOATS, "failed on inputs of shape (5, 3)"),
        (Dense, None, FLOATS, "the network is the class Dense"),
        (None, None, FLOATS, "the network is of type NoneType"),
    ],
)
def test_bad_networks_parameters_and_inputs(network, cast, x, message):
    # Broken by: an error of JAX's in many lines, or a cost of what cannot be computed.
    params = dense(5)[0] if network is not apply else make("float64")
    if cast is float:
        params = jax.tree.map(lambda leaf: "1.0", params)
    elif cast is not None:
        params = jax.tree.map(lambda leaf: leaf.astype(cast), params)
    for function in (empirical_ntk, ntk_cost):
        with pytest.raises(UserError) as caught:
            function(network, params, x)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_bad_vector_and_network():
    # Broken by: a check that is missing.
    with pytest.raises(UserError, match=r"shape \(5, 2\)"):
        ntk_vector_product(apply, make("float64"), jnp.asarray(X), jnp.ones((5, 3)))
    with pytest.raises(UserError, match="give a model, or a function"):
        empirical_ntk("relu", make("float64"), jnp.asarray(X))


@pytest.mark.parametrize(
    ("network", "x", "message"),
    [
        (apply, jnp.ones((0, 3)), "at least one example"),
        (apply, jnp.float64(1), "at least one example"),
        (lambda params, x: apply(params, x)[:, 0], jnp.asarray(X), "(5, outputs)"),
        (lambda params, x: apply(params, x)[:3], jnp.asarray(X), "(5, outputs)"),
    ],
)
def test_bad_requests(network, x, message):
    # Broken by: a check that is missing.
    with pytest.raises(UserError) as caught:
        empirical_ntk(network, make("float64"), x)
    assert message in str(caught.value)
