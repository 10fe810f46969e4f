"""Oracles: the definitions written out with centring matrices and traces, and their symmetries."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import kernels
from implicit_bias.errors import UserError

kernel_cka = jax.jit(kernels.kernel_cka, static_argnames="unbiased")
linear_cka = jax.jit(kernels.linear_cka, static_argnames="unbiased")


RNG = np.random.default_rng(1)
X, Z = RNG.normal(size=(8, 5)) + 3, RNG.normal(size=(8, 3))


def hsic(kernel: np.ndarray, other: np.ndarray) -> float:
    centring = np.eye(len(kernel)) - 1 / len(kernel)
    return np.trace(kernel @ centring @ other @ centring)


def unbiased_hsic(kernel: np.ndarray, other: np.ndarray) -> float:
    """Average over all choices of four different examples, as the estimate is defined."""
    n, total, count = len(kernel), 0.0, 0
    for i, j, q, r in np.ndindex(n, n, n, n):
        if len({i, j, q, r}) == 4:
            total += kernel[i, j] * (other[i, j] + other[q, r] - 2 * other[i, q])
            count += 1
    return total / count


@pytest.mark.parametrize("unbiased", [False, True])
def test_definitions(unbiased):
    # Broken by: kernels that are not centred, or a term of the unbiased estimate.
    estimate, (x, z) = (unbiased_hsic, (X[:6], Z[:6])) if unbiased else (hsic, (X, Z))
    k, m = x @ x.T, z @ z.T
    oracle = estimate(k, m) / np.sqrt(estimate(k, k) * estimate(m, m))
    np.testing.assert_allclose(kernel_cka(k, m, unbiased=unbiased), oracle, rtol=1e-10)
    np.testing.assert_allclose(linear_cka(x, z, unbiased=unbiased), oracle, rtol=1e-10)


def test_in_the_features_own_space():
    # Broken by: a norm that is not squared; the oracle never makes a kernel.
    x, z = X - X.mean(0), Z - Z.mean(0)
    norm = np.linalg.norm
    oracle = norm(x.T @ z) ** 2 / (norm(x.T @ x) * norm(z.T @ z))
    np.testing.assert_allclose(linear_cka(X, Z), oracle)


def test_what_it_is_blind_to():
    # Broken by: features that are not centred before their products, or not flattened alike.
    rotation = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    same = jnp.asarray(4 * X @ rotation + 7, jnp.float32).reshape(8, 5, 1)
    np.testing.assert_allclose(linear_cka(jnp.asarray(X, jnp.float32), same), 1, rtol=1e-6)
    far = linear_cka(jnp.asarray(X + 1e3, jnp.float32), jnp.asarray(Z, jnp.float32))
    np.testing.assert_allclose(far, linear_cka(X, Z), rtol=1e-3)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_any_scale(unbiased, scale):
    # Broken by: squares, or products of features, that leave the range of their type.
    k, m = X @ X.T, Z @ Z.T
    usual = kernel_cka(k, m, unbiased=unbiased)
    np.testing.assert_allclose(
        kernel_cka(k * scale, m / scale, unbiased=unbiased), usual, rtol=1e-9
    )
    far = linear_cka(X * scale, Z / scale, unbiased=unbiased)
    np.testing.assert_allclose(far, usual, rtol=1e-9)


def test_bad_requests():
    # Broken by: shapes that broadcast, or four examples too few.
    with pytest.raises(UserError, match="two square kernels"):
        kernel_cka(np.eye(3), np.eye(4))
    with pytest.raises(UserError, match="of the same examples"):
        linear_cka(X, Z[:4])
    with pytest.raises(UserError, match="of the same examples"):
        linear_cka(X, np.ones((8, 0)))
    with pytest.raises(UserError, match="0 examples; give at least 2"):
        kernel_cka(np.ones((0, 0)), np.ones((0, 0)))
    with pytest.raises(UserError, match="other is None; give numbers"):
        kernels.kernel_cka(X @ X.T, None)
    with pytest.raises(UserError, match="3 examples; give at least 4"):
        linear_cka(X[:3], Z[:3], unbiased=True)
