"""Random draws that stay the same when an array grows, and the scales of He, Glorot and LeCun.

A network of width 32 padded to 64 must start from the very numbers of the unpadded one. Ordinary
draws do not allow that: ``normal(key, (16, 64))[:, :32]`` is not ``normal(key, (16, 32))``. Here
the entry in row ``i`` and column ``j`` depends on the key, ``i`` and ``j`` alone: its random bits
are the first word of ``fold_in(fold_in(key, i), j)``. That is one hash per entry, as in an ordinary
draw and at the same cost, and it depends neither on the array's shape nor on how JAX lays out
counters (``jax_threefry_partitionable``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import jax
import jax.numpy as jnp

from implicit_bias.errors import unknown
from implicit_bias.models.base import Scalar

Init = Literal["he", "glorot", "lecun"]

GAINS: dict[str, float] = {"he": math.sqrt(2.0), "lecun": 1.0}
"""Standard deviation times sqrt(fan_in), for the schemes that look at the fan-in only."""

INITS: tuple[str, ...] = ("he", "glorot", "lecun")


def prefix_bits(keys: jax.Array, shapes: Sequence[tuple[int, int]]) -> list[jax.Array]:
    """Draw 32 random bits per entry; a smaller draw is the corner of a larger one.

    All arrays are drawn in one go, because compiling a draw takes longer than making it.

    Args:
        keys: One random key per array, shape ``(n,)``.
        shapes: Rows and columns of each array.

    Returns:
        ``uint32`` arrays. Whatever the shapes, entry (i, j) of an array is the same function of the
        array's key, i and j.
    """
    fold_in = jax.vmap(jax.random.fold_in)

    def indices(shape: tuple[int, ...], axis: int) -> jax.Array:
        return jax.lax.broadcasted_iota(jnp.uint32, shape, axis).reshape(-1)

    row_keys = fold_in(
        jnp.concatenate([jnp.broadcast_to(key, shape[:1]) for key, shape in _pairs(keys, shapes)]),
        jnp.concatenate([indices(shape[:1], 0) for shape in shapes]),
    )
    starts = itertools.accumulate((shape[0] for shape in shapes), initial=0)
    spread = [
        jnp.broadcast_to(row_keys[start : start + shape[0], None], shape).reshape(-1)
        for start, shape in zip(starts, shapes, strict=False)
    ]
    entries = fold_in(
        jnp.concatenate(spread), jnp.concatenate([indices(shape, 1) for shape in shapes])
    )
    bits = jax.random.key_data(entries)[:, 0]
    ends = list(itertools.accumulate(math.prod(shape) for shape in shapes))
    parts = jnp.split(bits, ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def prefix_normal(
    keys: jax.Array,
    shapes: Sequence[tuple[int, int]],
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> list[jax.Array]:
    """Draw standard normal arrays; a smaller draw is the corner of a larger one.

    The draw itself is always made in float32 and then converted, so that a float64 network starts
    from the same numbers as its float32 twin. The values are the normal quantiles of the 2**23
    midpoints of equal cells of (0, 1): symmetric, never infinite, at most about 5.3 in magnitude.

    Args:
        keys: One random key per array, shape ``(n,)``.
        shapes: Rows and columns of each array.
        dtype: Floating dtype of the results.

    Returns:
        Arrays of the given shapes and dtype.
    """

    def normal(bits: jax.Array) -> jax.Array:
        cell = (bits >> 9).astype(jnp.int32)  # 0 .. 2**23 - 1
        # Odd numbers over 2**23 are exact in float32, and so is the product with a power of two.
        symmetric = (2 * cell + 1 - (1 << 23)).astype(jnp.float32) * 2.0**-23
        return (math.sqrt(2.0) * jax.lax.erf_inv(symmetric)).astype(dtype)

    return [normal(bits) for bits in prefix_bits(keys, shapes)]


def weight_std(init: str, fan_in: Scalar, fan_out: Scalar) -> Scalar:
    """Return the standard deviation of initial weights.

    ``he``: sqrt(2 / fan_in) (He et al. 2015, eq. 10). ``lecun``: sqrt(1 / fan_in) (LeCun et al.
    1998, section 4.6). ``glorot``: sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 12).
    All normal, not truncated.

    Args:
        init: Name of the scheme.
        fan_in: Number of inputs of a unit: the true number, not counting padding; possibly traced.
        fan_out: Number of units of the layer, likewise.

    Returns:
        A number, traced where a fan is.

    Raises:
        UserError: For an unknown scheme.
    """
    if init == "glorot":
        return (2.0 / (fan_in + fan_out)) ** 0.5
    if init not in GAINS:
        raise unknown("initialisation", init, INITS)
    return GAINS[init] * fan_in**-0.5


def _pairs(
    keys: jax.Array, shapes: Sequence[tuple[int, int]]
) -> Iterator[tuple[jax.Array, tuple[int, int]]]:
    return ((keys[index], shape) for index, shape in enumerate(shapes))
