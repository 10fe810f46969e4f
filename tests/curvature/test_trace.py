"""Oracles: traces of matrices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.curvature import hutchinson_trace, matrix_operator
from implicit_bias.errors import UserError


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exact_for_diagonal(dtype):
    # Broken by: Gaussian probes, a wrong divisor, a dtype that does not follow.
    diagonal = np.array([1.0, -2, 5, 0.5], dtype)
    found = hutchinson_trace(matrix_operator(jnp.diag(jnp.asarray(diagonal))), jax.random.key(0))
    assert float(found.estimate) == 4.5
    assert float(found.standard_error) == 0
    assert int(found.n_probes) == 32
    assert found.estimate.dtype == dtype


def test_unbiased_with_an_honest_standard_error():
    # Broken by: a biased estimate, probes that share a key, a standard error without the root of n.
    # The known variance of one probe is twice the sum of squared off-diagonal entries (Hutchinson).
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(12, 12))
    matrix = matrix + matrix.T
    operator = matrix_operator(jnp.asarray(matrix))
    estimate = jax.jit(jax.vmap(lambda key: hutchinson_trace(operator, key, n_probes=16)))
    found = estimate(jax.random.split(jax.random.key(2), 400))
    variance = 2 * (np.sum(matrix**2) - np.sum(np.diag(matrix) ** 2)) / 16
    error = np.asarray(found.estimate) - np.trace(matrix)
    assert abs(error.mean()) < 4 * np.sqrt(variance / 400)
    np.testing.assert_allclose(np.mean(error**2), variance, rtol=0.3)
    np.testing.assert_allclose(np.mean(np.asarray(found.standard_error) ** 2), variance, rtol=0.1)


def test_batches_and_prefix():
    # Broken by: probes that depend on how many are taken at once, or in all.
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(9, 9))
    matrix = matrix + matrix.T
    operator, key = matrix_operator(jnp.asarray(matrix)), jax.random.key(5)
    one, three = (
        hutchinson_trace(operator, key, n_probes=7),
        hutchinson_trace(operator, key, n_probes=7, batch_size=3),
    )
    np.testing.assert_allclose(three.estimate, one.estimate, rtol=1e-12)
    np.testing.assert_allclose(three.standard_error, one.standard_error, rtol=1e-12)
    # One probe more adds its own sample to the sum: nothing else has changed.
    more = hutchinson_trace(operator, key, n_probes=8)
    added = float(8 * more.estimate - 7 * one.estimate)
    signs = np.array(np.meshgrid(*[[-1, 1]] * 9)).reshape(9, -1).T
    possible = np.einsum("si,ij,sj->s", signs, matrix, signs)
    assert np.min(np.abs(possible - added)) < 1e-9


def test_not_finite_stays_visible():
    # Broken by: a nan-mean.
    found = hutchinson_trace(matrix_operator(jnp.full((3, 3), jnp.nan)), jax.random.key(0))
    assert np.isnan(found.estimate)
    assert np.isnan(found.standard_error)


@pytest.mark.parametrize("arguments", [{"n_probes": 1}, {"n_probes": 0}, {"batch_size": 0}])
def test_bad_requests(arguments):
    # Broken by: a standard error of a single probe, which is NaN.
    with pytest.raises(UserError, match="choose"):
        hutchinson_trace(matrix_operator(jnp.eye(3)), jax.random.key(0), **arguments)
