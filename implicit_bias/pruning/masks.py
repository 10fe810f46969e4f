"""Masks: trees like the parameters, of ``uint8`` 0 and 1, that say which weights are kept.

Only *prunable* leaves may hold zeros: those named ``weight`` (``kernel`` in Flax networks) with two or more
axes. Biases and the scales of normalisation layers are always kept, and never counted. A layer is called
by the path to its weight: ``layer_0``, or ``block_1/conv`` where dicts are nested.

Functions of arrays alone (``apply``, ``count``, ``layer_count``, ``remaining``, ``layer_remaining``) may be
mapped over lanes with ``jax.vmap``; of arrays that are not traced they return Python numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.errors import UserError

Params = Any
"""A nested dict of arrays."""

Mask = Any
"""A tree like the parameters, of ``uint8`` 0 and 1."""

WEIGHT_NAMES = ("weight", "kernel")
"""Names of the leaves that can be pruned, where they have two or more axes."""


def full(params: Params) -> Mask:
    """Return the mask that keeps everything.

    Args:
        params: Parameters, or their shapes (``jax.ShapeDtypeStruct``).
    """
    return jax.tree.map(lambda leaf: np.ones(leaf.shape, np.uint8), params)


def apply(mask: Mask, params: Params) -> Params:
    """Return the parameters with zeros where the mask has them; of the parameters' dtypes.

    Zeros are chosen, not multiplied: a weight that is infinite or no number is 0 once it is pruned.
    """
    return jax.tree.map(
        lambda leaf, keep: jnp.where(keep != 0, leaf, jnp.zeros((), leaf.dtype)), params, mask
    )


def prunable(params: Params) -> tuple[str, ...]:
    """Return the names of the layers whose weights can be pruned, in the order of the tree.

    Raises:
        UserError: There are none.
    """
    return tuple(weights(params))


def weights(tree: Any) -> dict[str, Any]:
    """Return the prunable leaves of a tree by their layer's name.

    Args:
        tree: Parameters, or anything of their structure and shapes (masks, scores).

    Raises:
        UserError: There are none.
    """
    found: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if _is_prunable(path, leaf):
            found[_layer(path)] = leaf
    if not found:
        raise UserError(
            "the parameters have nothing to prune; give a nested dict with leaves named "
            f"{' or '.join(map(repr, WEIGHT_NAMES))} of two or more axes"
        )
    return found


def with_weights(tree: Any, new: Mapping[str, Any]) -> Any:
    """Return a tree with other arrays in place of its prunable leaves.

    Args:
        tree: A tree like the parameters.
        new: An array for each layer of ``prunable(tree)``.
    """
    return map_weights(lambda layer, leaf: new[layer], tree)


def map_weights(function: Callable[[str, Any], Any], tree: Any) -> Any:
    """Return a tree with ``function(layer, leaf)`` in place of its prunable leaves."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: function(_layer(path), leaf) if _is_prunable(path, leaf) else leaf, tree
    )


def count(mask: Mask) -> Any:
    """Return how many prunable weights are kept."""
    return sum(layer_count(mask).values())


def layer_count(mask: Mask) -> dict[str, Any]:
    """Return how many weights each layer keeps."""
    return {layer: _sum(leaf) for layer, leaf in weights(mask).items()}


def sizes(tree: Any) -> dict[str, int]:
    """Return how many weights each prunable layer has, kept or not."""
    return {layer: int(np.prod(leaf.shape)) for layer, leaf in weights(tree).items()}


def remaining(mask: Mask) -> Any:
    """Return the fraction of the prunable weights that are kept."""
    return count(mask) / sum(sizes(mask).values())


def layer_remaining(mask: Mask) -> dict[str, Any]:
    """Return the fraction of its weights that each layer keeps."""
    whole = sizes(mask)
    return {layer: kept / whole[layer] for layer, kept in layer_count(mask).items()}


def empty_layers(mask: Mask) -> tuple[str, ...]:
    """Return the layers of which nothing is kept; the mask may not be traced."""
    return tuple(layer for layer, kept in layer_count(mask).items() if kept == 0)


def check(mask: Mask, params: Params) -> None:
    """Check that a mask is one of these parameters.

    Args:
        mask: Arrays that are not traced.
        params: Parameters, or their shapes.

    Raises:
        UserError: It has other leaves or shapes, other numbers than 0 and 1, or zeros outside the weights.
    """
    same_shape("mask", mask, params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(mask):
        values = np.asarray(leaf)
        if not np.isin(values, (0, 1)).all():
            raise UserError(
                f"the mask of {_name(path)} holds other numbers than 0 and 1; give 1 for what is kept"
            )
        if not values.all() and not _is_prunable(path, leaf):
            raise UserError(
                f"the mask of {_name(path)} holds zeros, but only weights of two or more axes are pruned; "
                "give ones there"
            )


def same_shape(what: str, tree: Any, params: Params) -> None:
    """Check that a tree has the leaves and shapes of the parameters.

    Args:
        what: What the tree is, for the message.
        tree: Arrays, possibly traced.
        params: Parameters, or anything of their shapes.

    Raises:
        UserError: It has not; the message names the first leaf that does not fit.
    """
    wanted = {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    given = {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    for name in sorted(wanted.keys() ^ given.keys()):
        whose = "the parameters" if name in given else f"the {what}"
        raise UserError(f"{whose} have no leaf {name}; give a {what} with the parameters' leaves")
    for name, leaf in wanted.items():
        if jnp.shape(given[name]) != tuple(leaf.shape):
            raise UserError(
                f"the {what} of {name} has shape {jnp.shape(given[name])}, but the parameters have "
                f"{tuple(leaf.shape)} there; give a {what} of the parameters' shapes"
            )


def is_traced(tree: Any) -> bool:
    """Say whether any array of a tree is traced, so that its numbers cannot be looked at."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def _sum(leaf: Any) -> Any:
    if isinstance(leaf, jax.core.Tracer):
        return jnp.sum(leaf, dtype=jnp.int32)
    return int(np.asarray(leaf).sum(dtype=np.int64))


def _is_prunable(path: Any, leaf: Any) -> bool:
    return bool(path) and _key(path[-1]) in WEIGHT_NAMES and len(jnp.shape(leaf)) >= 2


def _layer(path: Any) -> str:
    """Name a layer by the path to its weight; a bare weight is called by its own name."""
    return _name(path[:-1] or path)


def _name(path: Any) -> str:
    return "/".join(map(_key, path)) or "the tree"


def _key(entry: Any) -> str:
    return str(getattr(entry, "key", getattr(entry, "name", getattr(entry, "idx", entry))))
