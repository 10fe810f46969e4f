r"""Random crops and flips of images, as pure functions that run inside compiled training.

An augmented image is the image behind a window that is moved by up to ``padding`` pixels along each axis,
mirrored left to right or not. It is described by three whole numbers for each example, which are drawn
from the lane's key, the update's number and the example's place in the batch alone: so neither segments,
chunks, devices, micro-batches nor resumption can change what an update sees.

What lies beyond the border is zero, which is the mean where pixels are standardised (He, Zhang, Ren and
Sun 2016, "Deep residual learning for image recognition", section 4.2: 4 pixels on each side), or the image
itself, reflected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError, unknown

BORDERS: tuple[str, ...] = ("zeros", "reflect")


class Moves(NamedTuple):
    """How each example of a batch is seen; arrays of shape (batch,).

    Attributes:
        down: Rows by which the window is lower than the image, −padding to padding, int32.
        right: Columns by which it is further to the right, likewise.
        mirrored: Whether the image is mirrored left to right, bool.
    """

    down: jax.Array
    right: jax.Array
    mirrored: jax.Array


@dataclass(frozen=True)
class Augmentation:
    """What training does to each image each time it is used; static.

    Attributes:
        padding: Pixels by which the window moves at most, along both axes; 0 for no crops.
        flip: Whether half of the images are mirrored left to right.
        border: What lies beyond the image: ``"zeros"`` or ``"reflect"`` (without repeating the edge).

    Raises:
        UserError: A field has a value that cannot be used, or nothing would be done.
    """

    padding: int = 4
    flip: bool = True
    border: Literal["zeros", "reflect"] = "zeros"

    def __post_init__(self) -> None:
        whole = isinstance(self.padding, int) and not isinstance(self.padding, bool)
        if not whole or self.padding < 0:
            raise UserError(f"padding is {self.padding!r}; choose a whole number of pixels >= 0")
        if self.border not in BORDERS:
            raise unknown("border", self.border, BORDERS)
        if not self.padding and not self.flip:
            raise UserError("the augmentation neither crops nor flips; choose None for none")

    def check(self, shape: tuple[int, ...], name: str = "the dataset") -> None:
        """Refuse inputs that are no images, or too small to be reflected.

        Args:
            shape: Of one input.
            name: Of the dataset, for the message.

        Raises:
            UserError: The inputs cannot be augmented.
        """
        if len(shape) != 3:
            raise UserError(
                f"augmentation needs images of shape (height, width, channels), but inputs of {name} have "
                f"shape {shape}; keep images as they are (data.flatten false), or choose no augmentation"
            )
        if self.border == "reflect" and self.padding >= min(shape[:2]):
            raise UserError(
                f"padding is {self.padding}, but reflecting images of {name}, of {shape[0]} × {shape[1]} "
                f"pixels, reaches {min(shape[:2]) - 1} at most; choose that or less, or border 'zeros'"
            )

    def draw(self, key: jax.Array, n: int) -> Moves:
        """Draw how the examples of one batch are seen.

        Args:
            key: The lane's augmentation key, with the update's number folded in.
            n: Examples of the whole batch, static.
        """
        # One key an example: what an example gets does not depend on how many there are.
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n, dtype=jnp.uint32))
        bits = jax.vmap(lambda one: jax.random.bits(one, (3,), jnp.uint32))(keys)
        # The high half of a word times the number of choices: none is likelier than another by more
        # than 2⁻¹⁶.
        steps = 2 * self.padding + 1
        moved = ((bits[:, :2] >> 16) * jnp.uint32(steps) >> 16).astype(jnp.int32) - self.padding
        mirrored = (bits[:, 2] >> 31).astype(bool) if self.flip else jnp.zeros(n, bool)
        return Moves(moved[:, 0], moved[:, 1], mirrored)

    def apply(self, images: jax.Array, moves: Moves) -> jax.Array:
        """Return images behind their windows.

        Args:
            images: Shape (batch, height, width, channels).
            moves: Of each image.

        Returns:
            The same shape: pixel (i, j) is pixel (i + down, j + right) of the image, mirrored after that.
        """
        batch, height, width, _ = images.shape
        rows = jnp.arange(height, dtype=jnp.int32)[None, :] + moves.down[:, None]
        columns = jnp.arange(width, dtype=jnp.int32)[None, :]
        columns = jnp.where(moves.mirrored[:, None], width - 1 - columns, columns)
        columns = columns + moves.right[:, None]
        which = jnp.arange(batch, dtype=jnp.int32)[:, None, None]
        inside_rows, inside_columns = _inside(rows, height), _inside(columns, width)
        rows, columns = self._within(rows, height), self._within(columns, width)
        seen = images.at[which, rows[:, :, None], columns[:, None, :]].get(mode="promise_in_bounds")
        if self.border == "reflect" or not self.padding:
            return seen
        inside = inside_rows[:, :, None] & inside_columns[:, None, :]
        return jnp.where(inside[..., None], seen, jnp.zeros((), images.dtype))

    def _within(self, at: jax.Array, length: int) -> jax.Array:
        """Bring positions beyond the border back to where their pixels are taken from."""
        if self.border == "reflect":
            at = jnp.abs(at)
            return length - 1 - jnp.abs(length - 1 - at)
        return jnp.clip(at, 0, length - 1)

    def describe(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {"padding": self.padding, "flip": self.flip, "border": self.border}


def _inside(at: jax.Array, length: int) -> jax.Array:
    return (at >= 0) & (at < length)


AUGMENTATIONS: dict[str, Augmentation | None] = {
    "none": None,
    "flip": Augmentation(padding=0),
    "crop-flip": Augmentation(),
    "crop-flip-reflect": Augmentation(border="reflect"),
}
"""What configs can name."""
