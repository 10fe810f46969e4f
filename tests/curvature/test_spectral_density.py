"""Oracles: densities, moments and masses of eigenvalues built into a matrix."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implicit_bias.curvature.eigenpairs import Eigenpairs
from implicit_bias.curvature.lanczos import lanczos
from implicit_bias.curvature.operators import LinearOperator, matrix_operator
from implicit_bias.curvature.spectral_density import spectral_density
from implicit_bias.errors import UserError
from tests.curvature import cases

KEY = jax.random.key(7)


def density(diagonal, grid=None, width=None, deflate=None, *, n_probes=16, depth=40, batch_size=1):
    operator = LinearOperator(lambda v: diagonal * v, diagonal.shape[0], diagonal.dtype)
    return spectral_density(
        operator,
        KEY,
        n_probes=n_probes,
        depth=depth,
        grid=500 if grid is None else grid,
        width=width,
        deflate=deflate,
        batch_size=batch_size,
    )


estimate = cases.quick(density, static_argnames=("n_probes", "depth", "batch_size"))


def exact_density(values: np.ndarray, grid: np.ndarray, width: float, p: int) -> np.ndarray:
    bumps = np.exp(-0.5 * ((grid[:, None] - values[None, :]) / width) ** 2)
    return bumps.sum(axis=1) / (p * width * np.sqrt(2 * np.pi))


def exact_pairs(values: np.ndarray, members: np.ndarray, p: int) -> Eigenpairs:
    """Return eigenpairs of the diagonal matrix of the given values."""
    return Eigenpairs(
        values=jnp.asarray(values[members]),
        vectors=jnp.asarray(np.eye(p)[members]),
        residuals=jnp.zeros(len(members)),
        products=jnp.int32(0),
        converged=jnp.bool_(True),
    )


def bulk_and_spikes(p: int = 800) -> np.ndarray:
    """Half zeros, a bulk, and four spikes (the last four), one of them negative."""
    rng = np.random.default_rng(0)
    bulk = rng.chisquare(3, p - p // 2 - 4) / 3
    return np.concatenate([np.zeros(p // 2), bulk, [-20, 30, 50, 200]])


def test_density_within_its_band():
    # Broken by: weights that are not squared, a wrong smoothing or its constant, a band without
    # the root of n (the score's spread would be 4), spikes in the bulk, a share of k/p forgotten.
    values, p = bulk_and_spikes(), 800
    pairs = exact_pairs(values, np.arange(p - 4, p), p)
    grid, width = np.linspace(-1, 5, 200), 0.15
    found = estimate(jnp.asarray(values), jnp.asarray(grid), width, pairs, depth=60)
    exact = exact_density(values[:-4], grid, width, p)
    scores = (np.asarray(found.density) - exact) / np.asarray(found.standard_error)
    inside = exact > 1e-3
    assert np.sqrt(np.mean(scores[inside] ** 2)) < 1.8
    assert np.max(np.abs(np.asarray(found.density) - exact)) < 0.1 * exact.max()
    np.testing.assert_array_equal(found.spikes, values[-4:])
    np.testing.assert_array_equal(found.spike_residuals, 0)
    np.testing.assert_allclose(found.mass(), 1, atol=1e-3)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1 - 4 / p, rtol=1e-12)
    assert np.all(np.asarray(found.nodes)[np.asarray(found.weights) > 0] > -1e-9)


def test_moments():
    # Broken by: spikes left out or counted twice, a bulk of the wrong mass, quadrature that is not
    # exact for a start vector (the sample of the second moment is |C v|^2).
    values, p = bulk_and_spikes(), 800
    exact = [np.mean(values**power) for power in range(5)]
    pairs = exact_pairs(values, np.arange(p - 4, p), p)
    for deflate in (None, pairs):
        found = estimate(jnp.asarray(values), deflate=deflate, n_probes=24, depth=12)
        for power in range(5):
            mean, error = found.moment(power)
            assert abs(float(mean) - exact[power]) <= 4 * float(error) + 1e-10
    mean, error = found.moment(4)
    assert float(error) < 1e-3 * float(mean)  # nearly all of it is in the spikes


def test_pairs_found_by_lanczos_deflate():
    # Broken by: start vectors or products that leave the complement of inexact pairs.
    values, p = bulk_and_spikes(), 800
    operator = LinearOperator(lambda v: jnp.asarray(values) * v, p, jnp.float64)
    pairs = cases.quick(lambda: lanczos(operator, KEY, k=4, which="LM", tol=1e-6))()
    found = estimate(jnp.asarray(values), deflate=pairs)
    exact = estimate(jnp.asarray(values), deflate=exact_pairs(values, np.arange(p - 4, p), p))
    for power in (1, 2):
        np.testing.assert_allclose(found.moment(power), exact.moment(power), rtol=1e-4)
    np.testing.assert_allclose(found.density, exact.density, rtol=1e-2, atol=1e-3)


def test_default_grid_and_width():
    # Broken by: a grid that cuts the bulk off or ends at a spike, a width not in its units.
    values, p = bulk_and_spikes(), 800
    pairs = exact_pairs(values, np.arange(p - 4, p), p)
    found = estimate(jnp.asarray(values), deflate=pairs)
    low, high = values[:-4].min(), values[:-4].max()
    np.testing.assert_allclose(found.width, (high - low) / 40, rtol=0.05)
    assert found.grid[0] < low - 4 * found.width
    assert high + 4 * found.width < found.grid[-1] < 2 * high
    np.testing.assert_allclose(found.mass(), 1, atol=1e-4)
    assert int(found.products) == 16 * 40


def test_few_distinct_eigenvalues_end_early():
    # Broken by: noise taken for a direction after the process has broken down, weight on rows that
    # were not reached, zero over zero for one eigenvalue.
    values = np.repeat([0.0, 1, 3], [50, 30, 20]).astype(np.float32)
    found = estimate(jnp.asarray(values))
    assert int(found.products) <= 16 * 4
    weights = np.where(np.asarray(found.weights) > 1e-4, found.weights, 0)
    nodes = np.asarray(found.nodes)
    for value, share in ((0, 0.5), (1, 0.3), (3, 0.2)):
        near = np.abs(nodes - value) < 1e-4
        assert abs((weights * near).sum(axis=1).mean() - share) < 0.08
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, rtol=1e-5)
    assert found.density.dtype == found.grid.dtype == np.float32
    one = estimate(jnp.full((30,), 2, jnp.float64), depth=9)
    np.testing.assert_allclose(one.moment(1)[0], 2, rtol=1e-5)
    np.testing.assert_allclose(one.mass(), 1, atol=1e-3)
    nothing = estimate(jnp.zeros((30,)), depth=9)
    np.testing.assert_allclose(nothing.mass(), 1, atol=1e-3)


def test_probes_extend_and_lanes_do_not_meet():
    # Broken by: probes that depend on their number; a lane's early end or NaN reaching another.
    values = jnp.asarray(bulk_and_spikes(60))
    few, many = (estimate(values, n_probes=n, depth=8) for n in (2, 16))
    np.testing.assert_allclose(many.nodes[:2], few.nodes, rtol=1e-9, atol=1e-9)
    stack = jnp.stack([values, jnp.full((60,), jnp.nan), jnp.ones(60)])
    each = functools.partial(density, n_probes=2, depth=8)
    found = cases.quick(lambda stack: jax.lax.map(each, stack))(stack)
    np.testing.assert_allclose(found.density[0], few.density, rtol=1e-9, atol=1e-12)
    assert np.all(np.isnan(found.density[1]))
    assert np.all(np.isfinite(found.density[2]))
    means, _ = jax.vmap(lambda one: one.moment(1))(found)
    np.testing.assert_allclose(means, [few.moment(1)[0], np.nan, 1], rtol=1e-9)


def test_probes_at_once_are_those_one_after_another():
    # Broken by: probes that mix, one that ends early stopping the others or going on with noise, a
    # last batch forgotten; in float32, a basis that loses its orthogonality and finds a spike twice.
    values = jnp.asarray(bulk_and_spikes(60))
    single, triple = (estimate(values, n_probes=5, depth=8, batch_size=b) for b in (1, 3))
    np.testing.assert_allclose(triple.nodes, single.nodes, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(triple.weights, single.weights, rtol=1e-6, atol=1e-12)
    assert int(triple.products) == int(single.products) == 40
    few = jnp.asarray(np.repeat([0.0, 1, 3], [50, 30, 20]))
    assert int(estimate(few, n_probes=2, depth=20, batch_size=2).products) <= 8
    found = estimate(
        jnp.asarray(bulk_and_spikes(), jnp.float32), n_probes=2, depth=40, batch_size=2
    )
    for spike in (-20, 30, 50, 200):
        near = np.abs(np.asarray(found.nodes) - spike) < 1e-3 * 200
        np.testing.assert_array_equal(near.sum(axis=1), 1)


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.floats(-10, 10, width=32), min_size=12, max_size=12))
def test_full_depth_gives_each_probe_exactly(values):
    # Broken by: any loss of mass, orthogonality or a node, on spectra nobody thought of: at full
    # depth a probe's quadrature is its spectral measure, whose moments one product gives.
    diagonal = np.asarray(values, np.float64)
    found = estimate(jnp.asarray(diagonal), n_probes=2, depth=12)
    assert np.all(np.asarray(found.weights) >= 0)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, rtol=1e-12)
    for i in range(2):
        v = np.asarray(jax.random.normal(jax.random.fold_in(KEY, i), (12,), jnp.float64))
        v = v / np.linalg.norm(v)
        for power in (1, 2, 3):
            sample = np.sum(np.asarray(found.weights[i]) * np.asarray(found.nodes[i]) ** power)
            exact = np.sum(v**2 * diagonal**power)
            assert abs(sample - exact) <= 1e-10 * (1 + 10**power)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_probes": 1}, "n_probes is 1"),
        ({"depth": 0}, "depth is 0"),
        ({"grid": 1}, "grid is 1; choose at least 2"),
        ({"grid": jnp.zeros((2, 2))}, "grid is of shape (2, 2)"),
        ({"width": 0.0}, "width is 0.0; choose width > 0"),
        ({"deflate": exact_pairs(np.ones(4), np.arange(2), 4)}, "give shape (k, 3)"),
        ({"deflate": exact_pairs(np.ones(3), np.arange(3), 3)}, "leave at least one"),
    ],
)
def test_bad_requests(arguments, message):
    # Broken by: a check that is missing.
    with pytest.raises(UserError) as caught:
        spectral_density(matrix_operator(jnp.eye(3)), KEY, **arguments)
    assert message in str(caught.value)
    with pytest.raises(UserError, match="power is -1"):
        estimate(jnp.ones(4), depth=2).moment(-1)
