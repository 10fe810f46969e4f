"""Oracles: polynomials by hand, single evaluations, and the curvature along an eigenvector."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from implicit_bias.errors import UserError
from implicit_bias.geometry.directions import eigenvector_directions, random_plane
from implicit_bias.geometry.slices import line, plane, skip_first_layer
from implicit_bias.models import Dense
from tests.geometry.networks import LOSS, mean_loss, network

PARAMS = {"x": jnp.asarray(1.0), "y": jnp.asarray([2.0])}
EAST = {"x": jnp.asarray(1.0), "y": jnp.asarray([0.0])}
NORTH = {"x": jnp.asarray(0.0), "y": jnp.asarray([10.0])}


def height(params):
    return params["x"] ** 2 + params["y"][0]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_grid_by_hand(batch_size):
    # Broken by: axes exchanged, a direction left out, or batches that do not divide the grid.
    values = plane(height, PARAMS, (EAST, NORTH), [0, 1], [-1.0, 0.0, 2.0], batch_size=batch_size)
    expected = np.asarray([[1 - 8, 1 + 2, 1 + 22], [4 - 8, 4 + 2, 4 + 22]])
    np.testing.assert_allclose(values, expected, rtol=1e-14)
    values = line(height, PARAMS, EAST, [-1, 0, 0.5], batch_size=batch_size)
    np.testing.assert_allclose(values, [2, 3, 4.25], rtol=1e-14)


def test_values_may_be_a_tree_of_arrays():
    # Broken by: reshaping that forgets the values' own axes.
    values = plane(
        lambda p: {"height": height(p), "both": jnp.stack([p["x"], p["y"][0]])},
        PARAMS,
        (EAST, NORTH),
        [0.0, 1.0],
        [0.0, 1.0, 2.0],
    )
    assert values["height"].shape == (2, 3)
    assert values["both"].shape == (2, 3, 2)
    np.testing.assert_allclose(values["both"][1, 2], [2, 22])


def test_a_line_between_two_networks_and_beyond():
    # Broken by: a difference taken the wrong way round.
    model, first, x, y = network(0)
    last, loss = network(1)[1], mean_loss(model, x, y)
    values = line(loss, first, jax.tree.map(jnp.subtract, last, first), [-1.0, 0.0, 1.0, 2.0])
    np.testing.assert_allclose(values[1:3], [loss(first), loss(last)], rtol=1e-12)
    beyond = jax.tree.map(lambda a, b: 2 * b - a, first, last)
    np.testing.assert_allclose(values[3], loss(beyond), rtol=1e-12)


def test_the_curvature_along_an_eigenvector_is_its_eigenvalue():
    # Broken by: a direction whose length is not one, or parameters in another order.
    model, params, x, y = network(2)
    flat, unravel = ravel_pytree(params)
    loss = mean_loss(model, x, y)
    matrix = np.asarray(jax.jit(jax.hessian(lambda t: loss(unravel(t))))(flat))
    values, vectors = np.linalg.eigh(matrix)
    top = eigenvector_directions(jnp.asarray(vectors[:, -2:].T), unravel)
    for direction, value in zip(top, values[-2:], strict=True):
        step = 1e-4
        down, here, up = line(loss, params, direction, [-step, 0.0, step])
        np.testing.assert_allclose((up - 2 * here + down) / step**2, value, rtol=1e-4)


@pytest.mark.parametrize(
    ("bias", "activation", "widths"),
    [(True, "relu", (5,)), (False, "tanh", (5,)), (True, "tanh", (4, 6)), (False, "relu", (4, 6))],
)
def test_the_first_layer_may_be_skipped(bias, activation, widths):
    # Broken by: a bias counted once for each direction, the second layer's activation, or inputs
    # that are not flattened.
    _, params, x, y = network(3, widths, 4, bias=bias)
    model, x = Dense(widths, 3, activation=activation, bias=bias), x.reshape(-1, 2, 2)
    directions = random_plane(jax.random.key(0), params)
    grid = np.linspace(-2, 2, 3)

    @jax.jit
    def both(params, directions):
        expected = plane(mean_loss(model, x, y), params, directions, grid, grid)
        short, ways, outputs = skip_first_layer(model, params, directions, x)
        return expected, plane(lambda p: LOSS.mean(outputs(p), y), short, ways, grid, grid)

    expected, found = both(params, directions)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_lanes_and_types():
    # Broken by: coordinates in float64 that promote the parameters, or Python control flow on them.
    model, first, x, y = network(0, dtype="float32")
    second = network(1, dtype="float32")[1]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), first, second)
    loss = mean_loss(model, x, y)

    @jax.jit
    def all_lanes(stacked, grid):
        def one(params):
            directions = random_plane(jax.random.key(0), params, "filter")
            return plane(loss, params, directions, grid, grid, batch_size=2)

        return jax.lax.map(one, stacked)

    values = all_lanes(stacked, jnp.linspace(-1, 1, 3))
    assert values.shape == (2, 3, 3)
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values[:, 1, 1], [loss(first), loss(second)], rtol=1e-5)


def test_bad_requests():
    # Broken by: checks that are missing.
    with pytest.raises(UserError, match="the direction does not have"):
        line(height, PARAMS, {"x": jnp.asarray(1.0)}, [0.0])
    with pytest.raises(UserError, match="there are 1 directions"):
        plane(height, PARAMS, (EAST,), [0.0], [0.0])
    with pytest.raises(UserError, match="second has a value that is not finite"):
        plane(height, PARAMS, (EAST, NORTH), [0.0], [float("nan")])
    with pytest.raises(UserError, match="at least 1"):
        line(height, PARAMS, EAST, [])
    with pytest.raises(UserError, match="batch_size is 0"):
        line(height, PARAMS, EAST, [0.0], batch_size=0)
    for model in (Dense((), 3), Dense((4,), 3, parameterisation="ntk")):
        with pytest.raises(UserError, match="only the standard one with a hidden layer"):
            skip_first_layer(model, {}, (), jnp.ones((2, 3)))
