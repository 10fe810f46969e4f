"""Oracles: traces of matrices."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.curvature import hutchinson_trace, matrix_operator
from implicit_bias.curvature.trace import hutch_plus_plus
from implicit_bias.errors import UserError


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exact_for_diagonal(dtype):
    # Broken by: Gaussian probes, a wrong divisor, a dtype that does not follow.
    diagonal = np.array([1.0, -2, 5, 0.5], dtype)
    found = hutchinson_trace(matrix_operator(jnp.diag(jnp.asarray(diagonal))), jax.random.key(0))
    assert float(found.estimate) == 4.5
    assert float(found.standard_error) == 0
    assert int(found.products) == 32
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


@functools.partial(jax.jit, static_argnames=("sketch", "n_probes", "batch_size"))
def plus_plus(matrix, **options):
    return hutch_plus_plus(matrix_operator(matrix), jax.random.key(0), **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_hutch_plus_plus_is_exact_for_low_rank(with_spectrum, dtype):
    # Broken by: a basis that misses the dominant space, its part of the trace counted twice or
    # lost, probes that are not projected, a dtype that does not follow.
    spectrum = np.concatenate([np.zeros(35), [-30, 1, 2, 5, 100]])
    matrix = jnp.asarray(with_spectrum(spectrum).astype(dtype))
    found = plus_plus(matrix, sketch=8, n_probes=4)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(found.estimate, 78, atol=1000 * eps)
    assert float(found.standard_error) < 1000 * eps
    assert int(found.products) == 2 * 8 + 4
    assert found.estimate.dtype == dtype
    whole = plus_plus(matrix, sketch=40, n_probes=2, batch_size=3)
    np.testing.assert_allclose(whole.estimate, 78, atol=1000 * eps)


def test_hutch_plus_plus_beats_hutchinson_and_knows_its_error(with_spectrum):
    # Broken by: a bias from probes that the sketch has seen; an error without the root of n; a
    # sketch that does not help where the spectrum decays.
    spectrum = 10.0 * np.arange(1, 41) ** -2.0
    operator = matrix_operator(jnp.asarray(with_spectrum(spectrum)))
    keys = jax.random.split(jax.random.key(3), 1000)
    better = jax.jit(jax.vmap(lambda key: hutch_plus_plus(operator, key, sketch=10, n_probes=10)))(
        keys
    )
    plain = jax.jit(jax.vmap(lambda key: hutchinson_trace(operator, key, n_probes=30)))(keys)
    error = np.asarray(better.estimate) - spectrum.sum()
    assert abs(error.mean()) < 4 * error.std() / 1000**0.5
    said = np.mean(np.asarray(better.standard_error) ** 2)
    np.testing.assert_allclose(said, error.var(), rtol=0.25)
    assert error.std() < 0.2 * np.std(np.asarray(plain.estimate))


def test_hutch_plus_plus_of_zero_and_of_nan():
    # Broken by: a basis of NaN where the sketch has no rank; a nan-mean.
    zero = plus_plus(jnp.zeros((5, 5)), sketch=3)
    assert float(zero.estimate) == float(zero.standard_error) == 0
    bad = plus_plus(jnp.full((5, 5), jnp.nan), sketch=3)
    assert np.isnan(bad.estimate)


@pytest.mark.parametrize(
    "arguments", [{"n_probes": 1}, {"sketch": 0}, {"sketch": 4}, {"batch_size": 0, "sketch": 2}]
)
def test_hutch_plus_plus_bad_requests(arguments):
    # Broken by: a check that is missing.
    with pytest.raises(UserError, match="choose"):
        hutch_plus_plus(matrix_operator(jnp.eye(3)), jax.random.key(0), **arguments)
