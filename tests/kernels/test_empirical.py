"""Oracles: the explicit Jacobian, and the kernel of a linear model."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.errors import UserError
from implicit_bias.kernels import empirical_ntk

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
    jacobian = jax.jacobian(lambda params: apply(params, x))(params)
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
