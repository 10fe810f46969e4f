"""Oracles: eigenvalues built into a matrix; Lanczos as the other method."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.curvature import matrix_operator, power_iteration
from implicit_bias.errors import UserError

KEY = jax.random.key(4)


@functools.partial(jax.jit, static_argnames=("k", "max_products", "tol"))
def solve(matrix, *, k=3, max_products=20_000, tol=1e-4):
    return power_iteration(matrix_operator(matrix), KEY, k=k, max_products=max_products, tol=tol)


@pytest.mark.parametrize(("dtype", "tol"), [("float64", 1e-8), ("float32", 1e-4)])
def test_prescribed_spectrum(spectrum, with_spectrum, dtype, tol):
    # Broken by: taking the largest magnitude for the largest value, losing the sign, stopping at
    # the bottom eigenvector, deflating with a vector that is not yet one.
    matrix = with_spectrum(spectrum).astype(dtype)
    found = solve(jnp.asarray(matrix), tol=tol)
    scale = np.max(np.abs(spectrum))
    assert bool(found.converged)
    np.testing.assert_allclose(found.values, spectrum[::-1][:3], atol=tol * scale)
    vectors = np.asarray(found.vectors)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=50 * np.finfo(dtype).eps)
    recomputed = np.linalg.norm(matrix @ vectors.T - vectors.T * np.asarray(found.values), axis=0)
    np.testing.assert_allclose(found.residuals, recomputed, atol=20 * np.finfo(dtype).eps * scale)
    assert np.all(recomputed <= 1.01 * tol * scale + 1e-30)


def test_dominant_eigenvalue_needs_few_products():
    # Broken by: shifting where it is not needed, which halves the rate or worse.
    values = np.concatenate([[1000.0, 100.0, 10.0], np.linspace(-1, 1, 21)])
    found = solve(jnp.asarray(np.diag(values)), tol=1e-8)
    assert int(found.products) < 30
    np.testing.assert_allclose(found.values, [1000, 100, 10], rtol=1e-10)


def test_budget_spent_is_not_convergence():
    # Broken by: reporting converged because the loop ended, or inventing pairs that were not begun.
    found = solve(jnp.asarray(np.diag(np.linspace(1, 2, 24))), max_products=8)
    assert not bool(found.converged)
    assert int(found.products) == 8
    assert np.isfinite(found.values[0])
    assert np.all(np.isnan(found.values[1:]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite(bad):
    # Broken by: iterating on NaN until the budget is spent.
    matrix = np.eye(24)
    matrix[3, 3] = bad
    found = solve(jnp.asarray(matrix), tol=1e-8)
    assert not bool(found.converged)
    assert np.all(np.isnan(found.values))
    assert np.all(np.isnan(found.vectors))
    assert int(found.products) == 1


@pytest.mark.parametrize("batch", ["map", "vmap"])
def test_lanes_do_not_meet(with_spectrum, batch):
    # Broken by: a lane's stop or NaN reaching another.
    stack = jnp.asarray(
        np.stack([with_spectrum(np.linspace(-4, 1, 24)), np.full((24, 24), np.nan), np.eye(24)])
    )

    def lane(matrix):
        return power_iteration(matrix_operator(matrix), KEY, k=1)

    lanes = jax.vmap(lane) if batch == "vmap" else lambda stack: jax.lax.map(lane, stack)
    found = jax.jit(lanes)(stack)
    np.testing.assert_allclose(found.values[:, 0], [1, np.nan, 1], atol=1e-3)
    np.testing.assert_array_equal(found.converged, [True, False, True])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 4}, "k is 4"),
        ({"tol": 0}, "tol is 0"),
        ({"max_products": 0}, "0"),
    ],
)
def test_bad_requests(arguments, message):
    # Broken by: a check that is missing.
    with pytest.raises(UserError) as caught:
        power_iteration(matrix_operator(jnp.eye(3)), KEY, **arguments)
    assert message in str(caught.value)
