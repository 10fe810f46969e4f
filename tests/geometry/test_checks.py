"""Checks are exercised through the functions that use them; here what these leave out."""

from __future__ import annotations

import jax.numpy as jnp
import pytest

from implicit_bias.errors import UserError
from implicit_bias.geometry.checks import checked_coordinates, require_like


def test_like_compares_names_and_shapes():
    # Broken by: comparing flattened sizes only, so that arrays are exchanged.
    params = {"a": jnp.ones((2, 3)), "b": jnp.ones(3)}
    require_like("it", {"b": jnp.zeros(3), "a": jnp.zeros((2, 3))}, params)
    for other in ({"a": jnp.ones((3, 2)), "b": jnp.ones(3)}, {"a": jnp.ones((2, 3))}, jnp.ones(9)):
        with pytest.raises(UserError, match="it does not have the parameters' arrays"):
            require_like("it", other, params)


def test_coordinates():
    # Broken by: whole numbers that stay whole, or a NaN that draws an empty figure.
    assert checked_coordinates("x", [0, 1]).dtype == jnp.float64
    assert checked_coordinates("x", jnp.ones(2, jnp.float32)).dtype == jnp.float32
    for values in ([], [[1.0]], [1.0, float("nan")]):
        with pytest.raises(UserError, match="x has"):
            checked_coordinates("x", values)
