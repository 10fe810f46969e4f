r"""Normalisation over a batch, and over the units of each example.

All make ``(h − μ) / √(v + eps)`` of a layer's values h, with mean μ and variance v over some axes.
Batches are weighted: example i counts wᵢ / Σ w, and each of its positions alike, so that the empty
slots of a smaller last batch, of weight 0, count for nothing. Variances are means of squared
deviations, not differences of large squares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError
from implicit_bias.models.layers import BatchNorm, GroupNorm, LayerNorm


class Statistics(NamedTuple):
    """Mean and variance of each channel, shape (channels,), and over how many numbers.

    The number is that of equally weighted numbers with the same spread of the mean,
    positions · (Σ w)² / Σ w²: for weights that are equal or 0, the examples that count times their
    positions.
    """

    mean: jax.Array
    variance: jax.Array
    number: jax.Array


def batch_statistics(hidden: jax.Array, weights: jax.Array | None) -> Statistics:
    """Return mean and variance of each channel over a batch.

    Args:
        hidden: Values, shape (batch, ..., channels).
        weights: How much each example counts, shape (batch,), at least 0, relative to each other;
            None for all alike. Where all are 0, the statistics are 0.

    Returns:
        Statistics, of the values' dtype, or float32 where that has fewer digits.
    """
    hidden = _widened(hidden)
    batch, between = hidden.shape[0], tuple(range(1, hidden.ndim - 1))
    positions = hidden.size // (batch * hidden.shape[-1]) if hidden.size else 1
    if weights is None:
        share = jnp.full((batch,), 1 / batch, hidden.dtype)
        number = jnp.asarray(batch * positions, hidden.dtype)
    else:
        weights = weights.astype(hidden.dtype)
        total, squares = jnp.sum(weights), jnp.sum(jnp.square(weights))
        share = weights / _or_one(total)
        number = positions * jnp.square(total) / _or_one(squares)

    def averaged(values: jax.Array) -> jax.Array:
        # A sum and no matrix product, which an accelerator may round to fewer digits.
        return jnp.sum(share[:, None] * jnp.mean(values, axis=between), axis=0)

    mean = averaged(hidden)
    variance = averaged(jnp.square(hidden - _spread(mean, hidden)))
    return Statistics(mean, variance, number)


def batch_norm(
    layer: BatchNorm, params: Mapping[str, Any], hidden: jax.Array, statistics: Statistics
) -> jax.Array:
    """Normalise each channel by the given statistics, then scale and shift it.

    Args:
        layer: Gives ``eps``.
        params: ``scale`` and ``bias``, shape (channels,).
        hidden: Values, shape (batch, ..., channels).
        statistics: Those of the batch, or the running ones.
    """
    wide = _widened(hidden)
    mean, variance, _ = (part.astype(wide.dtype) for part in statistics)
    inverse = jax.lax.rsqrt(variance + layer.eps)
    normal = (wide - _spread(mean, wide)) * _spread(inverse, wide)
    return _scaled(params, normal).astype(hidden.dtype)


def running(layer: BatchNorm, state: Mapping[str, Any], batch: Statistics) -> dict[str, jax.Array]:
    """Return running statistics, one batch later.

    Args:
        layer: Gives the momentum.
        state: Running ``mean`` and ``variance``, shape (channels,).
        batch: Statistics of the batch. Where its examples count nothing, nothing changes; where it
            has one number for each channel, the variance does not.
    """

    def moved(old: jax.Array, new: jax.Array, known: jax.Array) -> jax.Array:
        return jnp.where(known, old + layer.momentum * (new.astype(old.dtype) - old), old)

    # Numbers of equal weights are whole numbers, up to rounding.
    several = batch.number > 1.5
    unbiased = batch.number / jnp.where(several, batch.number - 1, jnp.ones_like(batch.number))
    return {
        "mean": moved(state["mean"], batch.mean, batch.number > 0.5),
        "variance": moved(state["variance"], unbiased * batch.variance, several),
    }


def example_norm(
    layer: GroupNorm | LayerNorm, params: Mapping[str, Any], hidden: jax.Array
) -> jax.Array:
    """Normalise groups of channels of each example over its positions, then scale and shift.

    Args:
        layer: The groups (one, for ``LayerNorm``), and ``eps``.
        params: ``scale`` and ``bias``, shape (channels,).
        hidden: Values, shape (batch, ..., channels).
    """
    groups = layer.groups if isinstance(layer, GroupNorm) else 1
    batch, channels = hidden.shape[0], hidden.shape[-1]
    apart = _widened(hidden).reshape(batch, -1, groups, channels // groups)
    centred = apart - apart.mean(axis=(1, 3), keepdims=True)
    variance = jnp.square(centred).mean(axis=(1, 3), keepdims=True)
    normal = centred * jax.lax.rsqrt(variance + layer.eps)
    return _scaled(params, normal.reshape(hidden.shape)).astype(hidden.dtype)


def initial_state(channels: int, dtype: Any) -> dict[str, jax.Array]:
    """Return running statistics before the first batch: mean 0, variance 1."""
    return {"mean": jnp.zeros(channels, dtype), "variance": jnp.ones(channels, dtype)}


def recorded(name: str, state: Any) -> Statistics:
    """Return the running statistics of a layer.

    Raises:
        UserError: If the state has none.
    """
    own = state.get(name) if isinstance(state, Mapping) else None
    if not isinstance(own, Mapping) or not {"mean", "variance"} <= own.keys():
        raise UserError(
            f"the state has no mean and variance in {name}; give that of this network, as its init "
            "or an earlier apply returns it"
        )
    return Statistics(own["mean"], own["variance"], jnp.zeros((), own["mean"].dtype))


def learned(name: str, params: Any, *parts: str) -> Mapping[str, Any]:
    """Return what a normalisation or a learned scalar has among the parameters.

    Raises:
        UserError: If it has not all of it.
    """
    own = params.get(name) if isinstance(params, Mapping) else None
    if not isinstance(own, Mapping) or not all(part in own for part in parts):
        raise UserError(
            f"the parameters have no {' and '.join(parts)} in {name}; "
            "give those of this network, as its init returns them"
        )
    return own


def _scaled(params: Mapping[str, Any], normal: jax.Array) -> jax.Array:
    scale, bias = (params[part].astype(normal.dtype) for part in ("scale", "bias"))
    return normal * _spread(scale, normal) + _spread(bias, normal)


def _widened(hidden: jax.Array) -> jax.Array:
    """Return values with at least the digits of float32: sums over a batch need them."""
    return hidden if jnp.finfo(hidden.dtype).bits >= 32 else hidden.astype(jnp.float32)


def _spread(channels: jax.Array, like: jax.Array) -> jax.Array:
    return channels.reshape((1,) * (like.ndim - 1) + channels.shape)


def _or_one(x: jax.Array) -> jax.Array:
    return jnp.where(x > 0, x, jnp.ones_like(x))
