"""How large the weights are, and how far they have moved."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import keystr, tree_leaves_with_path

from implicit_bias.errors import UserError
from implicit_bias.geometry.checks import require_like

Params = Any


def parameter_norm(params: Params) -> jax.Array:
    """Return the Euclidean norm of all parameters together, a scalar.

    Raises:
        UserError: There are none.

    Example:
        >>> import jax.numpy as jnp
        >>> from implicit_bias import geometry
        >>> float(geometry.parameter_norm({"weight": jnp.array([[3.0]]), "bias": jnp.array([4.0])}))
        5.0
    """
    if not jax.tree.leaves(params):
        raise UserError("there are no parameters; give at least one")
    squares = [jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(params)]
    return jnp.sqrt(sum(squares[1:], start=squares[0]))


def distance(params: Params, reference: Params) -> jax.Array:
    """Return the Euclidean distance between two sets of parameters of one shape, a scalar."""
    require_like("reference", reference, params)
    return parameter_norm(jax.tree.map(jnp.subtract, params, reference))


def relative_movement(params: Params, initial: Params) -> jax.Array:
    """Return ``|theta - theta0| / |theta0|``: how far parameters moved from where they began.

    Args:
        params: Any pytree of arrays.
        initial: Another of the same shapes, not all zero.

    Returns:
        A scalar without unit.

    Example:
        >>> import jax.numpy as jnp
        >>> from implicit_bias import geometry
        >>> float(geometry.relative_movement({"w": jnp.array([3.0, 6.5])}, {"w": jnp.array([3.0, 4.0])}))
        0.5
    """
    return distance(params, initial) / parameter_norm(initial)


def layerwise_norms(params: Params) -> dict[str, jax.Array]:
    """Return the Euclidean norm of each array, by its path such as ``"layer_0/weight"``."""
    return {
        keystr(path, simple=True, separator="/"): parameter_norm(leaf)
        for path, leaf in tree_leaves_with_path(params)
    }


def layerwise_movement(params: Params, initial: Params) -> dict[str, jax.Array]:
    """Return how far each array moved (not relative: a bias begins at zero), by its path."""
    require_like("initial", initial, params)
    return layerwise_norms(jax.tree.map(jnp.subtract, params, initial))
