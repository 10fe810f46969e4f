"""Oracles: NumPy's eigenvalues and least squares, and planes made by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from implicit_bias.errors import UserError
from implicit_bias.geometry import parameter_norm
from implicit_bias.geometry.directions import (
    coordinates_in,
    eigenvector_directions,
    random_plane,
    trajectory_pca,
)

PARAMS = {"w": jnp.asarray([[1.0, 2.0], [3.0, 4.0], [0.0, 1.0]]), "b": jnp.asarray([1.0, 0.0, 2.0])}


def flatten(tree):
    return np.asarray(ravel_pytree(tree)[0])


def test_random_plane_has_two_different_directions():
    # Broken by: the same draw twice, or a kind that is not handed on.
    first, second = random_plane(jax.random.key(0), PARAMS)
    assert abs(flatten(first) @ flatten(second)) < 0.9
    np.testing.assert_allclose([parameter_norm(first), parameter_norm(second)], 1, rtol=1e-12)
    for direction in random_plane(jax.random.key(0), PARAMS, "filter"):
        np.testing.assert_allclose(
            np.linalg.norm(direction["w"], axis=1), np.linalg.norm(PARAMS["w"], axis=1), rtol=1e-12
        )
        np.testing.assert_array_equal(direction["b"], 0)


def test_eigenvectors_become_directions():
    # Broken by: columns for rows, signs left to chance, a length that is not one.
    flat, unravel = ravel_pytree(PARAMS)
    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(flat.size, 2)))[0].T
    plain = eigenvector_directions(jnp.asarray(vectors), unravel)
    turned = eigenvector_directions(jnp.asarray(-3 * vectors), unravel)
    for one, other, vector in zip(plain, turned, vectors, strict=True):
        np.testing.assert_allclose(flatten(one), flatten(other), rtol=1e-12)
        np.testing.assert_allclose(abs(flatten(one) @ vector), 1, rtol=1e-12)
        assert flatten(one)[np.argmax(np.abs(flatten(one)))] > 0
        assert one["w"].shape == (3, 2)


def walk(n, seed=0):
    """Return snapshots of a random walk, and as rows."""
    rng = np.random.default_rng(seed)
    snapshots = {
        "w": jnp.asarray(np.cumsum(rng.normal(size=(n, 3, 2)), axis=0)),
        "b": jnp.asarray(np.cumsum(rng.normal(size=(n, 3)), axis=0)),
    }
    rows = [flatten(jax.tree.map(lambda leaf, t=t: leaf[t], snapshots)) for t in range(n)]
    return snapshots, np.stack(rows)


@pytest.mark.parametrize("n", [5, 40])
def test_trajectory_components_are_numpys(n):
    # Broken by: the mean taken out, differences to the first snapshot, or fractions of lengths
    # instead of squares.
    snapshots, rows = walk(n)
    found = trajectory_pca(snapshots, 2)
    away = rows - rows[-1]
    values, vectors = np.linalg.eigh(away.T @ away)
    np.testing.assert_allclose(found.explained, values[::-1][:2] / values.sum(), rtol=1e-9)
    for k in range(2):
        direction = flatten(jax.tree.map(lambda leaf, k=k: leaf[k], found.directions))
        np.testing.assert_allclose(abs(direction @ vectors[:, -1 - k]), 1, rtol=1e-9)
        np.testing.assert_allclose(found.coordinates[:, k], away @ direction, atol=1e-9)
    assert np.all(np.asarray(found.coordinates[0]) >= 0)
    np.testing.assert_allclose(found.coordinates[-1], 0, atol=1e-9)


def test_a_plane_is_found_whole():
    # Broken by: components that are not in order, or a trajectory that is not rebuilt from them.
    rng = np.random.default_rng(1)
    plane = np.linalg.qr(rng.normal(size=(9, 2)))[0].T
    places = rng.normal(size=(6, 2)) * [5, 1]
    snapshots = jnp.asarray(rng.normal(size=9)[None, :] + places @ plane)
    found = trajectory_pca(snapshots, 2)
    np.testing.assert_allclose(found.explained.sum(), 1, rtol=1e-12)
    rebuilt = snapshots[-1][None, :] + found.coordinates @ found.directions
    np.testing.assert_allclose(rebuilt, snapshots, atol=1e-12)
    ways = (found.directions[0], found.directions[1])
    np.testing.assert_allclose(
        coordinates_in(snapshots, snapshots[-1], ways), found.coordinates, atol=1e-12
    )


def test_a_trajectory_that_stands_still():
    # Broken by: a division by zero.
    found = trajectory_pca(jnp.ones((4, 3)), 1)
    np.testing.assert_array_equal(found.explained, 0)


def test_coordinates_are_least_squares():
    # Broken by: inner products, which are coordinates only where directions are orthonormal.
    snapshots, rows = walk(4)
    origin = jax.tree.map(lambda leaf: leaf[0], snapshots)
    first, second = random_plane(jax.random.key(1), origin, "filter")
    directions = (jax.tree.map(lambda a, b: a + 0.5 * b, first, second), second)
    matrix = np.stack([flatten(direction) for direction in directions], axis=1)
    expected = np.linalg.lstsq(matrix, (rows - rows[0]).T, rcond=None)[0].T
    found = coordinates_in(snapshots, origin, directions)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    one = coordinates_in(jax.tree.map(lambda leaf: leaf[2], snapshots), origin, directions)
    np.testing.assert_allclose(one, expected[2], atol=1e-10)


def test_bad_requests():
    # Broken by: checks that are missing.
    with pytest.raises(UserError, match="at least 3 snapshots for 2 directions"):
        trajectory_pca(walk(2)[0])
    with pytest.raises(UserError, match="k is 0"):
        trajectory_pca(walk(3)[0], 0)
    with pytest.raises(UserError, match="one number for all arrays"):
        trajectory_pca({"a": jnp.ones((4, 2)), "b": jnp.ones((5, 2))})
    with pytest.raises(UserError, match=r"vectors has shape \(9,\)"):
        eigenvector_directions(jnp.ones(9), lambda flat: flat)
    with pytest.raises(UserError, match="no direction"):
        coordinates_in(PARAMS, PARAMS, ())
    with pytest.raises(UserError, match="a direction does not have"):
        coordinates_in(PARAMS, PARAMS, ({"w": PARAMS["w"]},))
