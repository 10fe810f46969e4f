r"""Ways to compute the three products of a convolution from matrix products.

With images x (batch, height, width, C), weights w (N, size² · C) and sums s (batch, rows, columns,
N), a convolution is the trilinear form ⟨s, x ∗ w⟩. Given two of the three, its derivative with
respect to the third is

``sums``     x ∗ w,
``images``   what gradients of sums become of gradients of images; with stride 1 that is again a
             convolution, of s with the weights turned around and transposed,
``weight``   the gradient of the weights, ``Σ s ⊗ patch``.

Each way has a function for each. What it takes is small against what it makes on the way (patches
are size² times the images), which is therefore made for a few examples at a time, so that it stays
in a cache, and never kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from implicit_bias.models.layers import Conv
from implicit_bias.models.windows import Along, along, gathered, surrounded


@dataclass(frozen=True)
class Geometry:
    """The shapes of a convolution, but for the batch.

    Attributes:
        height: Of an image.
        width: Of an image.
        inputs: Channels C of an image.
        outputs: Channels N of the sums.
        size: Height and width of a patch.
        stride: Steps between patches.
        rows: Where patches stand, from top to bottom.
        columns: Where patches stand, from left to right.
    """

    height: int
    width: int
    inputs: int
    outputs: int
    size: int
    stride: int
    rows: Along
    columns: Along

    @property
    def fan_in(self) -> int:
        """Entries of a patch."""
        return self.size**2 * self.inputs

    @property
    def places(self) -> int:
        """Patches of an image."""
        return self.rows.number * self.columns.number

    def backwards(self) -> Geometry:
        """Return the convolution of sums that makes images, for stride 1."""

        def reach(axis: Along, length: int) -> Along:
            return Along(length, self.size - 1 - axis.before, self.size - 1 - axis.after)

        return Geometry(
            self.rows.number, self.columns.number, self.outputs, self.inputs, self.size, 1,
            reach(self.rows, self.height), reach(self.columns, self.width),
        )  # fmt: skip


def geometry(shape: tuple[int, ...], layer: Conv) -> Geometry:
    """Return the shapes of a convolution of images (height, width, channels)."""
    height, width, inputs = shape
    return Geometry(
        height, width, inputs, layer.channels, layer.size, layer.stride,
        along(height, layer), along(width, layer),
    )  # fmt: skip


def turned(given: Geometry, weight: jax.Array) -> jax.Array:
    """Return the weights of ``Geometry.backwards``."""
    size = given.size
    apart = weight.reshape(given.outputs, size, size, given.inputs)[:, ::-1, ::-1]
    return apart.transpose(3, 1, 2, 0).reshape(given.inputs, size**2 * given.outputs)


# --- patches: one product --------------------------------------------------------------------------


def patches_sums(given: Geometry, images: jax.Array, weight: jax.Array) -> jax.Array:
    """Multiply patches and weights."""
    return jnp.tensordot(_patches(given, images), weight, axes=((3,), (1,)))


def patches_images(given: Geometry, weight: jax.Array, sums: jax.Array) -> jax.Array:
    """Return gradients of images: the sum of those of patches."""
    of_patches = jnp.tensordot(sums, weight, axes=((3,), (0,)))
    shape = (sums.shape[0], given.height, given.width, given.inputs)
    example = jax.ShapeDtypeStruct(shape, sums.dtype)
    (images,) = jax.linear_transpose(lambda x: _patches(given, x), example)(of_patches)
    return images


def patches_weight(given: Geometry, images: jax.Array, sums: jax.Array) -> jax.Array:
    """Multiply gradients of sums and patches, over all places of all examples."""
    return jnp.tensordot(sums, _patches(given, images), axes=((0, 1, 2), (0, 1, 2)))


def _patches(given: Geometry, images: jax.Array) -> jax.Array:
    return gathered(images, given.rows, given.columns, given.size, given.stride)


# --- rows: patches along one axis, and one product for each shift along the other -------------------


def rows_sums(given: Geometry, images: jax.Array, weight: jax.Array) -> jax.Array:
    """Multiply strips of a patch's width with the weights of all its rows, then add up rows."""
    size, outputs, number = given.size, given.outputs, given.rows.number
    apart = weight.reshape(outputs, size, -1).swapaxes(0, 1).reshape(size * outputs, -1)
    found = jnp.tensordot(_strips(given, images), apart, axes=((3,), (1,)))
    found = found.reshape(*found.shape[:3], size, outputs)
    total = found[:, :number, :, 0]
    for row in range(1, size):
        total = total + found[:, row : row + number, :, row]
    return total


def rows_images(given: Geometry, weight: jax.Array, sums: jax.Array) -> jax.Array:
    """Return gradients of images, by the convolution that is turned around."""
    return rows_sums(given.backwards(), sums, turned(given, weight))


def rows_weight(given: Geometry, images: jax.Array, sums: jax.Array) -> jax.Array:
    """Multiply strips with sums that are moved by every row of a patch."""
    size, number = given.size, given.rows.number
    strips = _strips(given, images)
    spare = strips.shape[1] - number
    moved = [jnp.pad(sums, ((0, 0), (row, spare - row), (0, 0), (0, 0))) for row in range(size)]
    found = jnp.tensordot(jnp.concatenate(moved, axis=3), strips, axes=((0, 1, 2), (0, 1, 2)))
    found = found.reshape(size, given.outputs, -1).swapaxes(0, 1)
    return found.reshape(given.outputs, given.fan_in)


def _strips(given: Geometry, images: jax.Array) -> jax.Array:
    """Return (batch, rows + size − 1, columns, size · channels)."""
    images = surrounded(images, given.rows, given.columns)
    right = given.columns.number
    images = images[:, : given.rows.number + given.size - 1]
    return jnp.concatenate([images[:, :, j : j + right] for j in range(given.size)], axis=3)


# --- native: what XLA has ---------------------------------------------------------------------------


def native_sums(given: Geometry, images: jax.Array, weight: jax.Array) -> jax.Array:
    """Return XLA's convolution."""
    kernel = weight.reshape(given.outputs, given.size, given.size, given.inputs)
    return jax.lax.conv_general_dilated(
        images, kernel, (given.stride,) * 2, (given.rows[1:], given.columns[1:]),
        dimension_numbers=("NHWC", "OHWI", "NHWC"),
    )  # fmt: skip


def native_images(given: Geometry, weight: jax.Array, sums: jax.Array) -> jax.Array:
    """Return what XLA's convolution has for gradients of images."""
    shape = (sums.shape[0], given.height, given.width, given.inputs)
    example = jax.ShapeDtypeStruct(shape, sums.dtype)
    (images,) = jax.linear_transpose(lambda x: native_sums(given, x, weight), example)(sums)
    return images


def native_weight(given: Geometry, images: jax.Array, sums: jax.Array) -> jax.Array:
    """Return what XLA's convolution has for gradients of weights."""
    example = jax.ShapeDtypeStruct((given.outputs, given.fan_in), sums.dtype)
    (weight,) = jax.linear_transpose(lambda w: native_sums(given, images, w), example)(sums)
    return weight


# --- a few examples at a time -----------------------------------------------------------------------

Way = Callable[[Geometry, jax.Array, jax.Array], jax.Array]


def example_by_example(way: Way, output: str, most: int) -> Way:
    """Return the same way for at most so many examples at a time, in a loop."""

    def in_blocks(given: Geometry, first: jax.Array, second: jax.Array) -> jax.Array:
        batch = (second if output == "images" else first).shape[0]
        block = max(size for size in range(1, max(1, min(most, batch)) + 1) if batch % size == 0)
        if block >= batch:
            return way(given, first, second)

        def cut(array: jax.Array) -> jax.Array:
            return array.reshape(batch // block, block, *array.shape[1:])

        if output == "weight":

            def add(total: jax.Array, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
                return total + way(given, *pair), None

            zero = jnp.zeros((given.outputs, given.fan_in), second.dtype)
            return jax.lax.scan(add, zero, (cut(first), cut(second)))[0]
        if output == "sums":
            found = jax.lax.map(lambda part: way(given, part, second), cut(first))
        else:
            found = jax.lax.map(lambda part: way(given, first, part), cut(second))
        return found.reshape(batch, *found.shape[2:])

    return in_blocks
