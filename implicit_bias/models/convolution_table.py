"""The committed table from which convolutions choose how they are computed.

The rows of the CPU come from ``scripts/benchmark.py conv``; those of accelerators are guesses and say so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from implicit_bias.models.convolution_ways import Geometry
from implicit_bias.models.layers import Conv

METHODS: dict[str, str] = {
    "native": "XLA's own convolution",
    "patches": "one product of all patches of a batch and the weights",
    "blocks": "the same, for a few examples at a time",
    "rows": "strips of a patch's width and one product, then sums over a patch's rows",
    "winograd": "Winograd's F(2 x 2, 3 x 3), for a few examples at a time",
}
"""What there is, by name."""

SMALL = 2**18
"""Bytes of patches up to which a batch is one block."""


@dataclass(frozen=True)
class Choice:
    """A row of the table.

    Attributes:
        method: One of ``METHODS``.
        reason: Why, in one line.
    """

    method: str
    reason: str


def choose(backend: str, output: str, given: Geometry, batch: int, itemsize: int) -> Choice:
    """Return how a product of a convolution is computed.

    Args:
        backend: Of JAX.
        output: ``"sums"``, or the gradient: ``"images"`` or ``"weight"``.
        given: Shapes.
        batch: Examples.
        itemsize: Bytes of a number.
    """
    if backend != "cpu":
        return Choice("native", "accelerator: XLA's own convolution; not measured yet")
    if itemsize < 4:
        return Choice("patches", "cpu: numbers of few digits are added up within one product")
    if given.size == 1:
        return Choice("patches", "cpu: a patch is a pixel, and nothing is gathered")
    if itemsize * batch * given.places * given.fan_in <= SMALL:
        return Choice("patches", "cpu: the patches of a batch fit in a cache")
    few = min(given.inputs, given.outputs)
    if not impossible("winograd", given) and few >= (256 if output == "weight" else 32):
        return Choice("winograd", "cpu: many channels, where multiplications take the time")
    if not impossible("rows", given) and output != "weight":
        return Choice("rows", "cpu: few channels, where gathering patches takes the time")
    return Choice("blocks", "cpu: a few examples at a time, whose patches stay in a cache")


def impossible(method: str, given: Geometry | Conv) -> str | None:
    """Say why a method cannot compute a convolution, or None where it can."""
    if method in ("winograd", "rows") and given.stride != 1:
        return f"the stride is {given.stride}"
    if method == "winograd" and given.size != 3:
        return f"patches are {given.size} by {given.size}"
    return None


def _block_of_patches(given: Geometry, itemsize: int) -> int:
    return _examples(given.places, itemsize * given.places * given.fan_in)


def _block_of_tiles(given: Geometry, itemsize: int) -> int:
    tiles = max(1, given.places // 4)
    return _examples(tiles, itemsize * 16 * tiles * max(given.inputs, given.outputs))


def _examples(rows: int, size: int) -> int:
    """Return the examples of a block, from the rows of its products and the bytes of one example."""
    return max(2**19 // size, -(-256 // rows), 1)


BLOCKED: dict[str, Callable[[Geometry, int], int]] = {
    "blocks": _block_of_patches,
    "rows": _block_of_patches,
    "winograd": _block_of_tiles,
}
"""Methods that loop over examples, with the number at a time."""
