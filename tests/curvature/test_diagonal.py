"""Oracles: diagonals of matrices, and the known variance of a probe."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.curvature.diagonal import hutchinson_diagonal, squared_diagonal_sum
from implicit_bias.curvature.operators import matrix_operator
from implicit_bias.curvature.trace import hutchinson_trace
from implicit_bias.errors import UserError


def matrix(d: int = 8) -> np.ndarray:
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(d, d))
    return matrix + matrix.T + np.diag(np.arange(d))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exact_for_diagonal(dtype):
    # Broken by: Gaussian probes, a wrong divisor, a dtype that does not follow.
    diagonal = jnp.asarray(np.array([1.0, -2, 5, 0.5], dtype))
    operator = matrix_operator(jnp.diag(diagonal))
    found = hutchinson_diagonal(operator, jax.random.key(0))
    np.testing.assert_array_equal(found.estimate, diagonal)
    np.testing.assert_array_equal(found.standard_error, 0)
    assert int(found.products) == 32
    assert found.estimate.dtype == found.standard_error.dtype == dtype
    squares = squared_diagonal_sum(operator, jax.random.key(0))
    assert float(squares.estimate) == 30.25
    assert float(squares.standard_error) == 0
    assert int(squares.products) == 32


def test_unbiased_with_honest_standard_errors():
    # Broken by: a biased estimate, probes that share a key, a wrong accumulation of the spread.
    # The known variance of entry i is the sum of the squares of the other entries of row i.
    c = matrix()
    estimate = jax.jit(
        jax.vmap(lambda key: hutchinson_diagonal(matrix_operator(jnp.asarray(c)), key, n_probes=16))
    )
    found = estimate(jax.random.split(jax.random.key(2), 600))
    variance = (np.sum(c**2, axis=1) - np.diag(c) ** 2) / 16
    error = np.asarray(found.estimate) - np.diag(c)
    assert np.all(np.abs(error.mean(axis=0)) < 4 * np.sqrt(variance / 600))
    np.testing.assert_allclose(np.mean(error**2, axis=0), variance, rtol=0.3)
    squared = np.asarray(found.standard_error) ** 2
    np.testing.assert_allclose(np.mean(squared, axis=0), variance, rtol=0.1)


def test_agrees_with_the_trace():
    # Broken by: other probes than the trace's, or a mean that is not one (the entries' sum of
    # every probe is the trace's sample).
    operator, key = matrix_operator(jnp.asarray(matrix())), jax.random.key(5)
    trace = hutchinson_trace(operator, key, n_probes=7)
    found = hutchinson_diagonal(operator, key, n_probes=7)
    np.testing.assert_allclose(jnp.sum(found.estimate), trace.estimate, rtol=1e-12)


def test_sum_of_squares_is_unbiased():
    # Broken by: squaring the estimate (which adds its variance), pairs that share a probe.
    c = matrix()
    estimate = jax.jit(
        jax.vmap(lambda key: squared_diagonal_sum(matrix_operator(jnp.asarray(c)), key, n_pairs=8))
    )
    found = estimate(jax.random.split(jax.random.key(3), 600))
    error = np.asarray(found.estimate) - np.sum(np.diag(c) ** 2)
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(600)
    squared = np.mean(np.asarray(found.standard_error) ** 2)
    np.testing.assert_allclose(squared, error.var(), rtol=0.25)
    assert abs(error.mean()) < np.sum(c**2) - np.sum(np.diag(c) ** 2)


def test_not_finite_stays_visible():
    # Broken by: a nan-mean.
    operator = matrix_operator(jnp.full((3, 3), jnp.nan))
    found = hutchinson_diagonal(operator, jax.random.key(0))
    assert np.all(np.isnan(found.estimate))
    assert np.all(np.isnan(found.standard_error))
    assert np.isnan(squared_diagonal_sum(operator, jax.random.key(0)).estimate)


def test_bad_requests():
    # Broken by: a standard error of a single probe, which is NaN.
    operator = matrix_operator(jnp.eye(3))
    with pytest.raises(UserError, match="n_probes is 1"):
        hutchinson_diagonal(operator, jax.random.key(0), n_probes=1)
    with pytest.raises(UserError, match="n_pairs is 1"):
        squared_diagonal_sum(operator, jax.random.key(0), n_pairs=1)
