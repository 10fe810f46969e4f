"""Windows of images, gathered by slices: the patches of a convolution, and pooling."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from implicit_bias.models.layers import Conv


def patches(images: jax.Array, layer: Conv) -> jax.Array:
    """Return what each unit of a convolution sees, by the convention of ``jax.lax``.

    Args:
        images: Shape (batch, height, width, channels).
        layer: The convolution.

    Returns:
        Shape (batch, rows, columns, size² · channels), a patch in the order (row, column, channel).
    """
    rows, columns = (along(length, layer) for length in images.shape[1:3])
    return gathered(images, rows, columns, layer.size, layer.stride)


def gathered(images: jax.Array, rows: Along, columns: Along, size: int, stride: int) -> jax.Array:
    """Return patches of given places: see ``patches``."""
    images = surrounded(images, rows, columns)
    down, right = (stride * (axis.number - 1) + 1 for axis in (rows, columns))
    shifted = [
        images[:, i : i + down : stride, j : j + right : stride]
        for i in range(size)
        for j in range(size)
    ]
    return shifted[0] if len(shifted) == 1 else jnp.concatenate(shifted, axis=3)


def surrounded(images: jax.Array, rows: Along, columns: Along) -> jax.Array:
    """Put zeros around images (batch, height, width, channels)."""
    if not (rows.before or rows.after or columns.before or columns.after):
        return images
    around = ((0, 0), (rows.before, rows.after), (columns.before, columns.after), (0, 0))
    return jnp.pad(images, around)


class Along(NamedTuple):
    """Patches along one axis: how many, and how many zeros surround the image."""

    number: int
    before: int
    after: int


def along(length: int, layer: Conv) -> Along:
    """Place the patches of a convolution along an axis of an image, of the given length."""
    if layer.padding == "VALID":
        return Along((length - layer.size) // layer.stride + 1, 0, 0)
    if layer.padding == "CENTRED":
        zeros = layer.size // 2
        return Along((length + 2 * zeros - layer.size) // layer.stride + 1, zeros, zeros)
    number = -(-length // layer.stride)
    zeros = max((number - 1) * layer.stride + layer.size - length, 0)
    return Along(number, zeros // 2, zeros - zeros // 2)


def pooled(images: jax.Array, size: int, maximum: bool = False) -> jax.Array:
    """Return means over non-overlapping windows; what does not fill a window is left out.

    Args:
        images: Shape (batch, height, width, channels).
        size: Height and width of a window, at most the image's.
        maximum: Whether to take maxima instead. Of equal numbers, the gradient is shared out.

    Returns:
        Shape (batch, height // size, width // size, channels).
    """
    n, rows, columns, channels = images.shape
    rows, columns = rows // size, columns // size
    whole = images[:, : rows * size, : columns * size]
    windows = whole.reshape(n, rows, size, columns, size, channels)
    if not maximum:
        return windows.mean(axis=(2, 4))
    # Two by two, as the derivative of one reduction compares its result with numbers that a compiler
    # may have computed once more, rounded otherwise: then none is equal, and 0/0 the gradient.
    for axis in (2, 3):
        parts = (jax.lax.index_in_dim(windows, i, axis, keepdims=False) for i in range(size))
        windows = functools.reduce(jnp.maximum, parts)
    return windows
