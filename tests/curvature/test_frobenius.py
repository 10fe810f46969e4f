"""Oracles: NumPy's norm, and the known variance of a probe."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.curvature.frobenius import frobenius_norm
from implicit_bias.curvature.operators import LinearOperator, matrix_operator
from implicit_bias.errors import UserError


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exact_for_diagonal(dtype):
    # Broken by: Gaussian probes, a wrong divisor, a root forgotten, a dtype that does not follow.
    diagonal = np.array([3.0, -4, 0, 12], dtype)
    found = frobenius_norm(matrix_operator(jnp.diag(jnp.asarray(diagonal))), jax.random.key(0))
    assert float(found.squared) == 169
    assert float(found.norm) == 13
    assert float(found.standard_error) == float(found.squared_standard_error) == 0
    assert int(found.products) == 32
    assert found.norm.dtype == found.standard_error.dtype == dtype


def test_unbiased_with_honest_standard_errors():
    # Broken by: a biased estimate, probes that share a key, a delta method without its factor 2,
    # the symmetric formula z . C z (the matrix here is not symmetric).
    matrix = np.random.default_rng(1).normal(size=(12, 12))
    operator = LinearOperator(lambda v: jnp.asarray(matrix) @ v, 12, jnp.float64)
    estimate = jax.jit(jax.vmap(lambda key: frobenius_norm(operator, key, n_probes=64)))
    found = estimate(jax.random.split(jax.random.key(2), 400))
    gram = matrix.T @ matrix
    variance = 2 * (np.sum(gram**2) - np.sum(np.diag(gram) ** 2)) / 64
    error = np.asarray(found.squared) - np.sum(matrix**2)
    assert abs(error.mean()) < 4 * np.sqrt(variance / 400)
    np.testing.assert_allclose(np.mean(error**2), variance, rtol=0.3)
    squared = np.asarray(found.squared_standard_error) ** 2
    np.testing.assert_allclose(np.mean(squared), variance, rtol=0.1)
    scores = (np.asarray(found.norm) - np.linalg.norm(matrix)) / np.asarray(found.standard_error)
    assert 0.8 < np.std(scores) < 1.25


def test_batches_change_nothing():
    # Broken by: probes that depend on how many are taken at once.
    matrix = np.random.default_rng(1).normal(size=(9, 9))
    operator, key = matrix_operator(jnp.asarray(matrix)), jax.random.key(5)
    one = frobenius_norm(operator, key, n_probes=7)
    three = frobenius_norm(operator, key, n_probes=7, batch_size=3)
    np.testing.assert_allclose(three.norm, one.norm, rtol=1e-12)


def test_zero_and_not_finite():
    # Broken by: zero over zero at the root; a nan-mean.
    zero = frobenius_norm(matrix_operator(jnp.zeros((3, 3))), jax.random.key(0))
    assert float(zero.norm) == float(zero.standard_error) == 0
    bad = frobenius_norm(matrix_operator(jnp.full((3, 3), jnp.nan)), jax.random.key(0))
    assert np.isnan(bad.norm)
    assert np.isnan(bad.standard_error)


@pytest.mark.parametrize("arguments", [{"n_probes": 1}, {"batch_size": 0}])
def test_bad_requests(arguments):
    # Broken by: a standard error of a single probe, which is NaN.
    with pytest.raises(UserError, match="choose"):
        frobenius_norm(matrix_operator(jnp.eye(3)), jax.random.key(0), **arguments)
