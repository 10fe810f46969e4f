"""Oracles: eigenvalues built into a matrix."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.curvature.lobpcg import lobpcg
from implicit_bias.curvature.operators import matrix_operator
from implicit_bias.errors import UserError

KEY = jax.random.key(6)


@functools.partial(jax.jit, static_argnames=("k", "tol", "which", "max_products"))
def solve(matrix, start=None, **options):
    return lobpcg(matrix_operator(matrix), KEY, start=start, **options)


@pytest.mark.parametrize(
    ("dtype", "which", "tol"),
    [("float64", "SA", 1e-9), ("float32", "LA", 1e-4)],  # float64 and LA: the test after this
)
def test_prescribed_spectrum(spectrum, with_spectrum, which, dtype, tol):
    # Broken by: a shift that leaves wanted values negative, values of the shifted operator, the
    # wrong order, JAX's own tolerance (some thousand times the one asked for) taken for ours.
    matrix = with_spectrum(spectrum).astype(dtype)
    found = solve(jnp.asarray(matrix), k=3, tol=tol, which=which, max_products=4000)
    scale, eps = np.max(np.abs(spectrum)), np.finfo(dtype).eps
    wanted = spectrum[::-1][:3] if which == "LA" else spectrum[:3]
    np.testing.assert_allclose(found.values, wanted, atol=tol * scale)
    vectors = np.asarray(found.vectors)
    assert found.values.dtype == found.vectors.dtype == found.residuals.dtype == dtype
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=50 * eps)
    recomputed = np.linalg.norm(matrix @ vectors.T - vectors.T * np.asarray(found.values), axis=0)
    np.testing.assert_allclose(found.residuals, recomputed, atol=20 * eps * scale)
    assert bool(found.converged)
    assert np.all(recomputed <= 1.01 * tol * scale + 1e-30)


def test_start_near_the_answer_suffices_where_the_budget_does_not(with_spectrum):
    # Broken by: a start that is ignored or transposed; reporting converged because the loop ended;
    # spending more than was allowed.
    values = np.linspace(0, 1, 24) ** 3
    matrix = with_spectrum(values)
    far = np.random.default_rng(0).normal(size=(2, 24))
    near = np.linalg.eigh(matrix)[1][:, -2:].T + 1e-10 * far
    options = {"k": 2, "tol": 1e-9, "max_products": 60}
    warm, cold = (solve(jnp.asarray(matrix), jnp.asarray(v), **options) for v in (near, far))
    assert bool(warm.converged)
    np.testing.assert_allclose(warm.values, values[::-1][:2], atol=1e-12)
    assert not bool(cold.converged)
    assert int(warm.products) < int(cold.products) <= 60


def test_not_finite():
    # Broken by: numbers made from NaN.
    matrix = jnp.full((24, 24), jnp.nan)
    found = solve(matrix, k=3, tol=1e-9, which="SA", max_products=4000)
    assert not bool(found.converged)
    assert np.all(np.isnan(found.values))
    assert np.all(np.isnan(found.vectors))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 5}, "k is 5, but LOBPCG needs 5 k below the dimension 24; choose k <= 4"),
        ({"which": "LM"}, "unknown end of the spectrum 'LM'"),
        ({"tol": 0.0}, "tol is 0.0"),
        ({"max_products": 18}, "choose max_products >= 19"),
        ({"start": jnp.ones((24, 1))}, "give shape (1, 24)"),
    ],
)
def test_bad_requests(arguments, message):
    # Broken by: a check that is missing, so that the user meets an error of JAX instead.
    with pytest.raises(UserError) as caught:
        lobpcg(matrix_operator(jnp.eye(24)), KEY, **arguments)
    assert message in str(caught.value)
