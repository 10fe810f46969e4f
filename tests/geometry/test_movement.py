"""Oracles: small numbers by hand."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from implicit_bias.geometry import (
    distance,
    layerwise_movement,
    layerwise_norms,
    parameter_norm,
    relative_movement,
)

START = {"first": {"kernel": jnp.asarray([[3.0, 0.0]]), "bias": jnp.asarray([4.0])}}
END = {"first": {"kernel": jnp.asarray([[3.0, 1.0]]), "bias": jnp.asarray([6.0])}}


def test_norm_distance_and_movement():
    # Broken by: a sum of norms instead of a norm of all, or dividing by the final norm.
    assert float(parameter_norm(START)) == 5
    np.testing.assert_allclose(distance(END, START), np.sqrt(5))
    np.testing.assert_allclose(relative_movement(END, START), np.sqrt(5) / 5)
    assert float(relative_movement(START, START)) == 0


def test_by_layer():
    # Broken by: paths that change name, since they become coordinates of results.
    assert {name: float(value) for name, value in layerwise_norms(START).items()} == {
        "first/kernel": 3,
        "first/bias": 4,
    }
    assert {name: float(value) for name, value in layerwise_movement(END, START).items()} == {
        "first/kernel": 1,
        "first/bias": 2,
    }


def test_dtype_follows():
    # Broken by: a constant of another type.
    assert parameter_norm({"w": jnp.ones(3, jnp.float32)}).dtype == jnp.float32
