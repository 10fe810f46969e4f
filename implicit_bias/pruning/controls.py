"""Masks that share something with another and nothing else: what a ticket is compared with."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError, unknown
from implicit_bias.pruning import masks
from implicit_bias.pruning.masks import Mask
from implicit_bias.pruning.random_order import layer_keys

WITHIN = ("layer", "unit")


def random_like(mask: Mask, key: jax.Array) -> Mask:
    """Return a random mask that keeps as many weights in every layer.

    May be mapped over lanes.

    Args:
        mask: What gives the numbers.
        key: What is drawn from.

    References:
        Su et al., *Sanity-checking pruning methods: random tickets can win the jackpot* (2020), section 4
        (numbers by layer of another method, random positions).
    """
    keys = layer_keys(key, mask)

    def draw(layer: str, leaf: Any) -> jax.Array:
        # The places in a random order, of which the first are kept.
        places = jax.random.permutation(keys[layer], leaf.size)
        return (places < jnp.sum(leaf, dtype=places.dtype)).astype(jnp.uint8).reshape(leaf.shape)

    return masks.map_weights(draw, mask)


def shuffled(
    mask: Mask, key: jax.Array, within: Literal["layer", "unit"] = "layer", output_axis: int = 0
) -> Mask:
    """Return the mask with its entries exchanged within each layer, or within each unit's own weights.

    Shuffling a layer is the published control; its law is that of :func:`random_like`, drawn in another way.
    Within units more is kept: how many incoming weights each unit has. Units that lost all of theirs stay
    without, so what is left to differ is only where the weights come from. May be mapped over lanes.

    Args:
        mask: What is shuffled.
        key: What is drawn from.
        within: ``"layer"`` or ``"unit"``.
        output_axis: Axis of a weight that counts units, ``Model.output_axis``; for ``"unit"``.

    Raises:
        UserError: ``within`` is neither, or a weight has no such axis.

    References:
        Frankle, Dziugaite, Roy and Carbin, *Pruning neural networks at initialization: why are we missing the
        mark?* (2021), section 5 ("randomly shuffle" within layers).
    """
    if within not in WITHIN:
        raise unknown("range of a shuffle", within, WITHIN)
    keys = layer_keys(key, mask)

    def exchange(layer: str, leaf: Any) -> jax.Array:
        leaf = jnp.asarray(leaf, jnp.uint8)
        if within == "layer":
            return jax.random.permutation(keys[layer], leaf.ravel()).reshape(leaf.shape)
        if not -leaf.ndim <= output_axis < leaf.ndim:
            raise UserError(
                f"output_axis is {output_axis}, but the weight of {layer!r} has {leaf.ndim} axes; choose "
                f"0 to {leaf.ndim - 1}"
            )
        units = jnp.moveaxis(leaf, output_axis, 0)
        rows = units.reshape(units.shape[0], -1)
        mixed = jax.random.permutation(keys[layer], rows, axis=1, independent=True)
        return jnp.moveaxis(mixed.reshape(units.shape), 0, output_axis)

    return masks.map_weights(exchange, mask)
