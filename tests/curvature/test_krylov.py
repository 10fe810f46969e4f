"""Oracles: NumPy's QR and dense eigenvalues."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.curvature import krylov
from implicit_bias.curvature.operators import matrix_operator


def basis_of(count: int, rows: int = 16, p: int = 30) -> np.ndarray:
    """Return orthonormal rows, then zeros."""
    square = np.random.default_rng(2).normal(size=(p, count))
    return np.concatenate([np.linalg.qr(square)[0].T, np.zeros((rows - count, p))])


@pytest.mark.parametrize("count", [0, 3, 8, 13])
def test_orthogonalise(count):
    # Broken by: a block that is skipped or read beyond the count, a single pass (the vector lies in
    # the span but for 1e-9, of which one pass leaves rounding of 1e-16 / 1e-9).
    basis = basis_of(count)
    rng = np.random.default_rng(3)
    off = rng.normal(size=30)
    off -= basis.T @ (basis @ off)
    vector = basis.T @ rng.normal(size=16) + 1e-9 * off
    found = krylov.orthogonalise(jnp.asarray(basis), jnp.asarray(vector), jnp.int32(count))
    assert np.max(np.abs(basis @ found)) <= 1e-15 * np.linalg.norm(found)
    np.testing.assert_allclose(found, 1e-9 * off, atol=1e-14)


def test_expansion_satisfies_the_recurrence(with_spectrum):
    # Broken by: a component left in the rest, a coupling of another vector.
    matrix = with_spectrum(np.linspace(-1, 2, 30))
    basis = basis_of(5)
    vector = np.zeros(30)
    vector[:] = np.linalg.qr(np.random.default_rng(4).normal(size=(30, 6)))[0][:, 5]
    vector -= basis.T @ (basis @ vector)
    vector /= np.linalg.norm(vector)
    step = krylov.expand(
        matrix_operator(jnp.asarray(matrix)), jnp.asarray(basis), jnp.asarray(vector), jnp.int32(5)
    )
    grown = basis.copy()
    grown[5] = vector
    np.testing.assert_array_equal(step.basis, grown)
    rest = matrix @ vector - grown.T @ (grown @ (matrix @ vector))
    np.testing.assert_allclose(step.rest, rest, atol=1e-14)
    np.testing.assert_allclose(step.alpha, vector @ matrix @ vector, rtol=1e-12)
    np.testing.assert_allclose(step.beta, np.linalg.norm(rest), rtol=1e-12)
    np.testing.assert_allclose(step.length, np.linalg.norm(matrix @ vector), rtol=1e-12)


@pytest.mark.parametrize("used", [[0, 1, 2], [2, 3, 5]])
def test_leading_pairs(used):
    # Broken by: an unused row among the pairs, or coupled with one; nothing left of zeros.
    rng = np.random.default_rng(5)
    matrix = rng.normal(size=(6, 6)) + 7
    matrix = matrix + matrix.T
    mask = np.isin(np.arange(6), used)
    count = jnp.int32(max(used) + 1)
    values, vectors = krylov.leading_pairs(jnp.asarray(matrix), jnp.asarray(mask), count)
    np.testing.assert_allclose(values[:3], np.linalg.eigvalsh(matrix[np.ix_(used, used)]))
    np.testing.assert_allclose(np.asarray(vectors)[~mask, :3], 0, atol=1e-14)
    zeros, _ = krylov.leading_pairs(jnp.zeros((6, 6)), jnp.asarray(mask), count)
    np.testing.assert_array_equal(zeros[:3], 0)


@pytest.mark.parametrize("count", [3, 16, 17, 64, 65, 80])
def test_leading_pairs_of_every_size(count):
    # Broken by: a part that leaves out a used row, pairs that are not those of the whole matrix, or
    # unused values that mix with the used ones.
    rng = np.random.default_rng(count)
    matrix = rng.normal(size=(80, 80))
    matrix = matrix + matrix.T
    mask = np.arange(80) < count
    values, vectors = krylov.leading_pairs(jnp.asarray(matrix), jnp.asarray(mask), jnp.int32(count))
    values, part = np.asarray(values), matrix[:count, :count]
    np.testing.assert_allclose(values[:count], np.linalg.eigvalsh(part), atol=1e-12)
    found = np.asarray(vectors)
    np.testing.assert_allclose(found.T @ found, np.eye(80), atol=1e-12)
    np.testing.assert_allclose(found[count:, :count], 0, atol=1e-14)
    image = part @ found[:count, :count]
    np.testing.assert_allclose(image, found[:count, :count] * values[:count], atol=1e-11)
    assert np.all(values[count:] > np.max(np.abs(values[:count])))


def test_random_direction():
    # Broken by: a length other than one, a component along the basis, one draw for all keys.
    basis = jnp.asarray(basis_of(5))
    draws = [krylov.random_direction(jax.random.key(i), basis, jnp.int32(5)) for i in range(2)]
    for draw in draws:
        np.testing.assert_allclose(np.linalg.norm(draw), 1, rtol=1e-14)
        assert np.max(np.abs(basis @ draw)) < 1e-15
    assert abs(float(draws[0] @ draws[1])) < 0.9
