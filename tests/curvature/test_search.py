"""When a search is over: breakdowns, copies, given starts, lanes. Oracle: prescribed eigenvalues."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.curvature.operators import LinearOperator, matrix_operator
from implicit_bias.curvature.thick_restart import thick_restart_lanczos

KEY = jax.random.key(3)


@functools.partial(jax.jit, static_argnames=("k", "subspace", "tol", "copies"))
def solve(matrix, start=None, **options):
    """Take a matrix, or its diagonal."""
    if matrix.ndim == 1:
        operator = LinearOperator(lambda v: matrix * v, matrix.shape[0], matrix.dtype)
    else:
        operator = matrix_operator(matrix)
    return thick_restart_lanczos(operator, KEY, start=start, **options)


def lanczos_by_hand(matrix, start, k, tol):
    """Return the products until the k largest Ritz pairs are good, and their values, in NumPy."""
    basis = [start / np.linalg.norm(start)]
    while True:
        image = matrix @ basis[-1]
        for _ in range(2):
            image -= np.transpose(basis) @ (np.asarray(basis) @ image)
        projected = np.asarray(basis) @ matrix @ np.transpose(basis)
        values, weights = np.linalg.eigh(projected)
        residuals = np.linalg.norm(image) * np.abs(weights[-1])
        if len(basis) >= k and np.all(residuals[-k:] <= tol * np.abs(values).max()):
            return len(basis), values[::-1][:k]
        basis.append(image / np.linalg.norm(image))


def test_first_cycle_is_lanczos(with_spectrum):
    # Broken by: a process, or a stop, that differs from plain Lanczos before any restart.
    matrix = with_spectrum(np.concatenate([np.linspace(0, 1, 22), [100, 1000]]))
    start = np.random.default_rng(4).normal(size=24)
    products, values = lanczos_by_hand(matrix, start, 2, 0.9e-9)
    assert 4 < products < 9
    found = solve(jnp.asarray(matrix), jnp.asarray(start), k=2, subspace=9, tol=1e-9)
    assert int(found.products) == products + 2
    np.testing.assert_allclose(found.values, values, rtol=1e-11)


def hard_spectrum(p: int) -> np.ndarray:
    """Outliers close to a bulk, as the Hessian of a trained network has them."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.uniform(-0.2, 1, p - 5), [1.1, 1.15, 1.3, 1.5, 2]])


COPIES = {"k": 3, "subspace": 24, "tol": 1e-3}  # a tolerance met before rounding brings copies in


@pytest.mark.parametrize("multiplicity", [2, 4])
def test_copies_of_an_eigenvalue(multiplicity):
    # Broken by: trusting one start vector where the caller asked not to; a chain's first small
    # residual taken for the end; or, without the request, paying for a second chain.
    bulk = np.random.default_rng(0).uniform(-0.1, 0.5, 598 - multiplicity)
    diagonal = np.concatenate([bulk, [2.5, 3.0], np.full(multiplicity, 4)])
    every = solve(jnp.asarray(diagonal), copies=True, **COPIES)
    np.testing.assert_allclose(every.values, np.sort(diagonal)[::-1][:3], atol=1e-4)
    np.testing.assert_allclose(every.vectors @ every.vectors.T, np.eye(3), atol=1e-13)
    assert bool(every.converged)
    single = solve(jnp.asarray(diagonal), **COPIES)
    np.testing.assert_allclose(single.values, [4, 3, 2.5], atol=1e-4)
    assert int(single.products) < int(every.products)


def test_copies_where_there_are_none():
    # Broken by: chains without end.
    found = solve(jnp.asarray(hard_spectrum(600)), copies=True, **COPIES)
    np.testing.assert_allclose(found.values, [2, 1.5, 1.3], atol=1e-4)
    assert bool(found.converged)
    assert int(found.products) < 100


@pytest.mark.parametrize("members", [(0, 1), (4,), (23,)])
def test_start_in_an_invariant_subspace(with_spectrum, members):
    # Broken by: trusting the subspace that a given start happens to span.
    values = np.linspace(-3, 4, 24)
    matrix = with_spectrum(values)
    vectors = np.linalg.eigh(matrix)[1]
    start = vectors[:, list(members)].sum(axis=1) / len(members)
    found = solve(jnp.asarray(matrix), jnp.asarray(start), k=2, subspace=9, tol=1e-9)
    np.testing.assert_allclose(found.values, [4, values[-2]], atol=1e-9)
    assert bool(found.converged)


def test_warm_start_saves_products(with_spectrum):
    # Broken by: a start that is ignored. The operator has moved a little since the vectors' time.
    values = np.linspace(-3, 4, 24) ** 3
    before, after = with_spectrum(values), with_spectrum(values) + 1e-7 * with_spectrum(values, 1)
    near = np.linalg.eigh(before)[1][:, -2:].sum(axis=1)
    far = np.random.default_rng(0).normal(size=24)
    options = {"k": 2, "subspace": 9, "tol": 1e-9}
    warm, cold = (solve(jnp.asarray(after), jnp.asarray(v), **options) for v in (near, far))
    assert bool(warm.converged)
    assert int(warm.products) < int(cold.products)
    np.testing.assert_allclose(warm.values, np.linalg.eigvalsh(after)[::-1][:2], atol=1e-9)


def test_lanes_do_not_meet(with_spectrum):
    # Broken by: a lane's stop, restart, breakdown or NaN reaching another, under map or vmap.
    stack = np.stack(
        [
            with_spectrum(np.linspace(0, 1, 24)),
            np.full((24, 24), np.nan),
            2 * np.eye(24),
            with_spectrum(np.concatenate([np.zeros(22), [1, 7]])),
        ]
    )

    def lane(matrix):
        return thick_restart_lanczos(matrix_operator(matrix), KEY, k=2, subspace=9)

    mapped = jax.jit(lambda stack: jax.lax.map(lane, stack))(jnp.asarray(stack))
    batched = jax.jit(jax.vmap(lane))(jnp.asarray(stack))
    for index in (0, 2, 3):
        alone = solve(jnp.asarray(stack[index]), k=2, subspace=9)
        assert int(mapped.products[index]) == int(alone.products)
        for many in (mapped, batched):
            np.testing.assert_allclose(many.values[index], alone.values, atol=1e-6)
            assert bool(many.converged[index])
    for many in (mapped, batched):
        assert not bool(many.converged[1])
        assert np.all(np.isnan(many.values[1]))
