"""What layers of a chain begin with, beside the numbers that are drawn."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.models.base import Params, State
from implicit_bias.models.chain_pass import numbered
from implicit_bias.models.chains import Size
from implicit_bias.models.layers import Affine, BatchNorm, Conv, LearnedScalar, Norm, ScalarBias
from implicit_bias.models.normalisation import initial_state


def unweighted(
    norms: list[tuple[Norm, int]], scalars: list[LearnedScalar], dtype: Any
) -> tuple[Params, State]:
    """Return the initial parameters and state of the layers that have no weights."""
    params: Params = {}
    state: State = {}
    for name, (layer, channels) in zip(numbered("norm"), norms, strict=False):
        scale = jnp.full(channels, layer.initial_scale, dtype)
        params[name] = {"scale": scale, "bias": jnp.zeros(channels, dtype)}
        if isinstance(layer, BatchNorm):
            state[name] = initial_state(channels, dtype)
    for name, scalar in zip(numbered("scalar"), scalars, strict=False):
        adds = isinstance(scalar, ScalarBias)
        params[name] = {"bias": jnp.zeros(1, dtype)} if adds else {"multiplier": jnp.ones(1, dtype)}
    return params, state


def identity_weight(layer: Affine | Conv, size: Size, dtype: Any) -> jax.Array:
    """Return weights that copy input i to unit i, for a convolution at the centre of the patch."""
    if isinstance(layer, Affine):
        return jnp.eye(size.outputs, size.fan_in, dtype=dtype)
    channels, centre = size.fan_in // size.positions, layer.size // 2 * (layer.size + 1)
    around = jnp.zeros((size.outputs, size.positions, channels), dtype)
    copied = jnp.eye(size.outputs, channels, dtype=dtype)
    return around.at[:, centre].set(copied).reshape(size.outputs, size.fan_in)


def by_position(draw: jax.Array, positions: int) -> jax.Array:
    """Reorder columns drawn as (channel, position) to (position, channel).

    A draw keeps the entries of its first columns, so that more channels only add to it.
    """
    if positions == 1:
        return draw
    return draw.reshape(draw.shape[0], -1, positions).swapaxes(1, 2).reshape(draw.shape)
