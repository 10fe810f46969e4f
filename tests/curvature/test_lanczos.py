"""Oracles: eigenvalues built into a matrix, NumPy's dense solver, SciPy's ARPACK.

When a search stops, and lanes, are tested with ``search`` and ``thick_restart``, whose code this is.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.curvature import LinearOperator, lanczos, matrix_operator
from implicit_bias.errors import UserError

KEY = jax.random.key(3)


@functools.partial(jax.jit, static_argnames=("k", "max_products", "tol", "which", "check_every"))
def solve(matrix, start=None, *, k=3, max_products=100, tol=1e-3, which="LA", check_every=1):
    return lanczos(
        matrix_operator(matrix),
        KEY,
        k=k,
        max_products=max_products,
        tol=tol,
        which=which,
        start=start,
        check_every=check_every,
    )


def best(values: np.ndarray, k: int, which: str) -> np.ndarray:
    """Return the k best of given eigenvalues, written without our code."""
    order = {"LA": -values, "SA": values, "LM": -np.abs(values)}[which]
    return values[np.argsort(order, kind="stable")][:k]


@pytest.mark.parametrize(
    ("dtype", "which", "tol"),
    [
        ("float64", "LA", 1e-10),
        ("float32", "SA", 1e-5),
    ],
)
def test_prescribed_spectrum(spectrum, with_spectrum, which, dtype, tol):
    # Broken by: 'LM' for 'LA', a padded row taken for an eigenvalue, copies missed after a
    # breakdown, a stop at the first invariant subspace, residuals that are only estimates.
    matrix = with_spectrum(spectrum).astype(dtype)
    found = solve(jnp.asarray(matrix), tol=tol, which=which)
    scale = np.max(np.abs(spectrum))
    wanted = best(spectrum, 3, which)
    np.testing.assert_allclose(found.values, wanted, atol=tol * scale)
    vectors = np.asarray(found.vectors)
    assert found.values.dtype == found.vectors.dtype == found.residuals.dtype == dtype
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=20 * np.finfo(dtype).eps)
    recomputed = np.linalg.norm(matrix @ vectors.T - vectors.T * np.asarray(found.values), axis=0)
    np.testing.assert_allclose(found.residuals, recomputed, atol=10 * np.finfo(dtype).eps * scale)
    assert np.all(recomputed <= tol * scale * 1.01 + 1e-30)
    assert bool(found.converged)
    assert int(found.products) <= len(spectrum) + 3


def test_stops_early_on_the_residual():
    # Broken by: always spending the whole basis, or stopping on the change of the eigenvalue.
    values = np.concatenate([np.linspace(0, 1, 199), [10.0]])
    matrix = np.diag(values)
    found = solve(jnp.asarray(matrix), k=1, tol=1e-3)
    assert int(found.products) < 12
    assert float(found.residuals[0]) <= 1e-3 * 10
    assert abs(float(found.values[0]) - 10) < 1e-5


def test_budget_spent_is_not_convergence():
    # Broken by: reporting converged because the loop ended.
    found = solve(jnp.asarray(np.diag(np.linspace(0, 1, 200))), k=2, max_products=6, tol=1e-8)
    assert not bool(found.converged)
    assert int(found.products) == 6 + 2
    assert np.all(np.asarray(found.residuals) > 1e-8)
    assert np.all(np.isfinite(found.values))


def test_agrees_with_arpack():
    # Broken by: anything wrong that a spectrum made by ourselves hides.
    from scipy.sparse.linalg import eigsh

    rng = np.random.default_rng(8)
    matrix = rng.normal(size=(150, 150))
    matrix = (matrix + matrix.T) / 2
    expected = np.sort(eigsh(matrix, k=4, which="LA", return_eigenvectors=False))[::-1]
    found = solve(jnp.asarray(matrix), k=4, tol=1e-8)
    np.testing.assert_allclose(found.values, expected, rtol=1e-9)
    assert bool(found.converged)


@pytest.mark.parametrize("members", [(0, 1), (4,), (23,)])
def test_start_in_an_invariant_subspace(with_spectrum, members):
    # Broken by: trusting the subspace that a given start happens to span.
    values = np.linspace(-3, 4, 24)
    matrix = with_spectrum(values)
    vectors = np.linalg.eigh(matrix)[1]
    start = vectors[:, list(members)].sum(axis=1) / len(members)
    found = solve(jnp.asarray(matrix), jnp.asarray(start), k=2, tol=1e-9)
    np.testing.assert_allclose(found.values, [4, values[-2]], atol=1e-9)
    assert bool(found.converged)


@pytest.mark.parametrize("dimension", [1, 9])
def test_dimension_below_the_basis(dimension):
    # Broken by: indexing past the space, or a residual at full dimension that is not zero.
    values = np.arange(dimension) - 2.0
    matrix = jnp.asarray(np.diag(values))
    found = solve(matrix, k=dimension, tol=1e-9)
    np.testing.assert_allclose(found.values, values[::-1], atol=1e-12)
    assert bool(found.converged)
    assert int(found.products) == 2 * dimension


def test_tests_less_often_find_the_same(with_spectrum):
    # Broken by: a missed test at the end of the basis, or at a breakdown.
    matrix = jnp.asarray(with_spectrum(np.linspace(0, 1, 24) ** 4))
    often = solve(matrix, k=2, max_products=23)
    seldom = solve(matrix, k=2, max_products=23, check_every=5)
    np.testing.assert_allclose(seldom.values, often.values, atol=1e-5)
    assert bool(seldom.converged)
    assert 0 <= int(seldom.products) - int(often.products) < 5
    # Hard enough for the whole basis of 23: no multiple of five, and yet a result.
    hard = solve(jnp.eye(24) + 1e-9 * matrix, k=2, max_products=23, check_every=5)
    assert np.all(np.isfinite(hard.values))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite(bad):
    # Broken by: iterating on NaN until the budget is spent, or reporting zeros.
    matrix = np.eye(24)
    matrix[3, 3] = bad
    found = solve(jnp.asarray(matrix), k=2)
    assert not bool(found.converged)
    assert np.all(np.isnan(found.values))
    assert np.all(np.isnan(found.vectors))
    assert np.all(np.isnan(found.residuals))
    assert int(found.products) <= 1 + 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 4}, "k is 4, but the operator has dimension 3"),
        ({"k": 3, "max_products": 2}, "max_products is 2"),
        ({"tol": 0.0}, "tol is 0.0"),
        ({"tol": -1e-3}, "tol is -0.001"),
        ({"tol": float("nan")}, "tol is nan"),
        ({"which": "LR"}, "unknown choice of eigenvalues 'LR'"),
        ({"check_every": 0}, "check_every is 0"),
        ({"start": jnp.ones(2)}, "start has shape (2,)"),
    ],
)
def test_bad_requests(arguments, message):
    # Broken by: a check that is missing, so that the user meets an error of JAX instead.
    with pytest.raises(UserError) as caught:
        lanczos(matrix_operator(jnp.eye(3)), KEY, **arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_operators():
    # Broken by: an empty or rectangular operator reaching the algorithms.
    with pytest.raises(UserError, match="dimension 0"):
        LinearOperator(lambda v: v, 0, jnp.float32)
    with pytest.raises(UserError, match="square"):
        matrix_operator(jnp.ones((2, 3)))
