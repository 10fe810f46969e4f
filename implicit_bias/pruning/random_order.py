"""Random: weights are kept by lot."""

from __future__ import annotations

from typing import Any

import jax

from implicit_bias.arguments import require_key
from implicit_bias.errors import UserError
from implicit_bias.pruning import masks
from implicit_bias.pruning.masks import Mask, Params
from implicit_bias.pruning.problem import Pruner, PruningProblem


def scores(
    problem: PruningProblem | None, params: Params, mask: Mask, key: jax.Array | None
) -> Any:
    """Return independent numbers, uniform on [0, 1).

    Args:
        problem: Not used.
        params: Only shapes and dtypes matter.
        mask: What is kept now.
        key: What is drawn from.

    Raises:
        UserError: There is no key.

    References:
        The control of Frankle and Carbin, *The lottery ticket hypothesis* (2019), section 1 ("randomly
        sampled" sparse networks) and of Frankle, Dziugaite, Roy and Carbin, *Pruning neural networks at
        initialization: why are we missing the mark?* (2021), section 2 ("random").
    """
    if key is None:
        raise UserError("pruner 'random' draws; give a key")
    keys = layer_keys(key, params)
    return masks.map_weights(
        lambda layer, leaf: jax.random.uniform(keys[layer], leaf.shape, leaf.dtype), params
    )


def layer_keys(key: jax.Array, tree: Any) -> dict[str, jax.Array]:
    """Return a key for each prunable layer.

    Raises:
        UserError: There is nothing to prune, or the key is none.
    """
    require_key(key)
    return {layer: jax.random.fold_in(key, i) for i, layer in enumerate(masks.prunable(tree))}


RANDOM = Pruner("random", scores, needs_key=True)
"""Keeps weights by lot."""
