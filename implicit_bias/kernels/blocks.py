"""Kernel matrices a block at a time, each of features that are computed where they are needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

Features = Any
_SPLIT = 512  # rows from which a symmetric product is worth cutting: measured on a CPU


@dataclass(frozen=True)
class Blocking:
    """How a kernel between n1 and n2 rows is cut.

    Attributes:
        rows: Numbers of rows (n1, n2).
        sizes: Rows of a block along either side.
        symmetric: Whether both sides are the same rows, so that each pair of blocks is needed once.
    """

    rows: tuple[int, int]
    sizes: tuple[int, int]
    symmetric: bool

    @property
    def counts(self) -> tuple[int, int]:
        """Number of blocks along either side."""
        return -(-self.rows[0] // self.sizes[0]), -(-self.rows[1] // self.sizes[1])

    @property
    def whole(self) -> bool:
        """Whether there is one block."""
        return self.counts == (1, 1)

    @property
    def evaluations(self) -> int:
        """Rows whose features are computed, those that are computed again counted again."""
        (first, second), (size1, size2) = self.counts, self.sizes
        if self.symmetric:
            again = 0 if first == 1 else first * (first + 1) // 2
            return size1 * (first + again)
        return size1 * first + size2 * (second if second == 1 else first * second)

    @property
    def pairs(self) -> float:
        """Pairs of rows that are contracted."""
        first, second = self.counts
        if self.symmetric and first > 1:
            return self.sizes[0] ** 2 * first * (first + 1) / 2
        if self.symmetric:
            return _pairs_of_gram(self.rows[0])
        return float(first * second * self.sizes[0] * self.sizes[1])


def cut(rows: tuple[int, int], symmetric: bool, fits: Callable[[Blocking], bool]) -> Blocking:
    """Return the largest nearly square blocks that fit, all about equal; single rows if none do.

    Args:
        rows: Numbers of rows (n1, n2).
        symmetric: As in ``Blocking``.
        fits: Whether a way to cut is allowed; if it is, so are smaller blocks.
    """

    def of(size: int) -> Blocking:
        sizes = [-(-n // -(-n // min(size, n))) for n in rows]
        return Blocking(rows, (sizes[0], sizes[1]), symmetric)

    least, most = 1, max(rows)
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if fits(of(middle)) else (least, middle - 1)
    return of(least)


def by_blocks(
    features: Callable[[jax.Array], Features],
    others: Callable[[jax.Array], Features] | None,
    contract: Callable[[Features, Features | None], jax.Array],
    blocking: Blocking,
    axes: tuple[int, int],
) -> jax.Array:
    """Fill a kernel block by block.

    Where blocks do not divide the rows, the last one reaches back over rows that are done already.

    Args:
        features: From row numbers (b,) of the first side to a pytree.
        others: The same of the second side; None where the kernel is symmetric.
        contract: From the features of both sides to a block of the kernel; the second ones are None
            where they are the first.
        blocking: How to cut; symmetric exactly where ``others`` is None.
        axes: Axes of the kernel that count the rows of the first and of the second side. Where the
            kernel has four axes, the one after each counts its row's outputs.

    Returns:
        The kernel.
    """
    (n1, n2), (size1, size2) = blocking.rows, blocking.sizes
    symmetric = others is None
    second = features if others is None else others
    rows1, rows2 = (jnp.arange(size, dtype=jnp.int32) for size in (size1, size2))
    if blocking.whole:
        return contract(features(rows1), None if symmetric else second(rows2))
    count1, count2 = blocking.counts
    block = jax.eval_shape(lambda: contract(features(rows1), second(rows2)))
    shape = list(block.shape)
    shape[axes[0]], shape[axes[1]] = n1, n2
    kernel = jnp.zeros(shape, block.dtype)
    once = second(rows2) if count2 == 1 else None

    def row(kernel: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
        start1 = jnp.minimum(i * size1, n1 - size1)
        first = features(start1 + rows1)

        def cell(j: jax.Array, kernel: jax.Array) -> jax.Array:
            start2 = jnp.minimum(j * size2, n2 - size2)
            part = contract(first, second(start2 + rows2) if once is None else once)
            kernel = _write(kernel, part, axes, (start1, start2))
            if symmetric:
                kernel = _write(kernel, _mirrored(part, axes), axes, (start2, start1))
            return kernel

        # In a symmetric kernel the blocks below the diagonal are those above it, mirrored.
        first_cell = i if symmetric else jnp.int32(0)
        return jax.lax.fori_loop(first_cell, jnp.int32(count2), cell, kernel), None

    return jax.lax.scan(row, kernel, jnp.arange(count1, dtype=jnp.int32))[0]


def gram(first: jax.Array, second: jax.Array | None = None) -> jax.Array:
    """Return all inner products of rows: (n1, q) and (n2, q) to (n1, n2).

    Args:
        first: Rows.
        second: Other rows; None for the same ones, whose products are then computed once each where
            there are many.
    """
    if second is not None:
        return _product(first, second)
    n = first.shape[0]
    if n < _SPLIT:
        return _product(first, first)
    top, bottom = first[: n // 2], first[n // 2 :]
    corner = _product(top, bottom)
    return jnp.concatenate(
        [
            jnp.concatenate([gram(top), corner], axis=1),
            jnp.concatenate([corner.T, gram(bottom)], axis=1),
        ]
    )


def _pairs_of_gram(n: int) -> float:
    if n < _SPLIT:
        return float(n * n)
    return (n // 2) * (n - n // 2) + _pairs_of_gram(n // 2) + _pairs_of_gram(n - n // 2)


def _product(first: jax.Array, second: jax.Array) -> jax.Array:
    return jax.lax.dot_general(
        first, second, (((1,), (1,)), ((), ())), precision=jax.lax.Precision.HIGHEST
    )


def _write(
    kernel: jax.Array, part: jax.Array, axes: tuple[int, int], starts: tuple[jax.Array, jax.Array]
) -> jax.Array:
    at = [jnp.int32(0)] * kernel.ndim
    at[axes[0]], at[axes[1]] = starts
    return jax.lax.dynamic_update_slice(kernel, part, at)


def _mirrored(part: jax.Array, axes: tuple[int, int]) -> jax.Array:
    if part.ndim == 4:
        return part.transpose(2, 3, 0, 1)
    return part.swapaxes(*axes)
