"""Checks that several measures of this room share."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.arguments import as_numbers
from implicit_bias.errors import UserError

Params = Any


def require_like(name: str, given: Params, params: Params) -> None:
    """Refuse a pytree whose structure or shapes are not those of the parameters.

    Raises:
        UserError: If they differ.
    """
    shapes, own_shapes = (
        [(path, jnp.shape(leaf)) for path, leaf in jax.tree.leaves_with_path(tree)]
        for tree in (given, params)
    )
    if shapes != own_shapes:
        raise UserError(
            f"{name} does not have the parameters' arrays and shapes; "
            "give a pytree like the parameters"
        )


def some_value(name: str, value: Any) -> Any:
    """Return a function's value, a pytree of arrays.

    Raises:
        UserError: If there is no array in it.
    """
    if not jax.tree.leaves(value):
        raise UserError(f"{name} returns {value!r}; return a number, or several")
    return value


def checked_coordinates(name: str, values: Any, least: int = 1) -> jax.Array:
    """Return coordinates as a floating array of shape (n,).

    Raises:
        UserError: If there are fewer than ``least``, or one is known not to be finite.
    """
    array = as_numbers(name, values)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        array = array.astype(jnp.result_type(float))
    if array.ndim != 1 or array.size < least:
        raise UserError(f"{name} has shape {array.shape}; give a list of at least {least}")
    if not isinstance(array, jax.core.Tracer) and not np.all(np.isfinite(np.asarray(array))):
        raise UserError(f"{name} has a value that is not finite; give finite values")
    return array
