"""Windows of images, gathered by slices: the patches of a convolution, and pooling."""

from __future__ import annotations

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
    if rows.before or rows.after or columns.before or columns.after:
        around = ((0, 0), (rows.before, rows.after), (columns.before, columns.after), (0, 0))
        images = jnp.pad(images, around)
    down, right = (layer.stride * (axis.number - 1) + 1 for axis in (rows, columns))
    shifted = [
        images[:, i : i + down : layer.stride, j : j + right : layer.stride]
        for i in range(layer.size)
        for j in range(layer.size)
    ]
    return shifted[0] if len(shifted) == 1 else jnp.concatenate(shifted, axis=3)


class Along(NamedTuple):
    """Patches along one axis: how many, and how many zeros surround the image."""

    number: int
    before: int
    after: int


def along(length: int, layer: Conv) -> Along:
    """Place the patches of a convolution along an axis of an image, of the given length."""
    if layer.padding == "VALID":
        return Along((length - layer.size) // layer.stride + 1, 0, 0)
    number = -(-length // layer.stride)
    zeros = max((number - 1) * layer.stride + layer.size - length, 0)
    return Along(number, zeros // 2, zeros - zeros // 2)


def pooled(images: jax.Array, size: int) -> jax.Array:
    """Return means over non-overlapping windows; what does not fill a window is left out.

    Args:
        images: Shape (batch, height, width, channels).
        size: Height and width of a window, at most the image's.

    Returns:
        Shape (batch, height // size, width // size, channels).
    """
    n, rows, columns, channels = images.shape
    rows, columns = rows // size, columns // size
    whole = images[:, : rows * size, : columns * size]
    return whole.reshape(n, rows, size, columns, size, channels).mean(axis=(2, 4))
