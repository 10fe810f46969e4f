"""A pair of infinite-width kernels a tile at a time, so that what lies on the way stays small.

Unlike ``kernels.blocks``, which contracts features of both sides, a tile here is a function of the
inputs, and one on the diagonal is told that both sides are the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError
from implicit_bias.kernels.closed_form import Kernels

Tile = Callable[[jax.Array, jax.Array | None], Kernels]

_LEAST = 512  # Below so many examples, half of a symmetric matrix is not worth a loop.
_PARTS = 8  # Of a symmetric matrix: 36 of its 64 tiles are computed.


def tile_sizes(
    n1: int, n2: int | None, *, entry_bytes: int, pair_bytes: int, memory: int
) -> tuple[int, int]:
    """Choose how many rows and columns are computed at a time.

    Args:
        n1: Number of rows.
        n2: Number of columns; None for a symmetric matrix of n1.
        entry_bytes: Size of a number of the result.
        pair_bytes: What one pair of inputs takes while it is computed.
        memory: Bytes for the two kernels and for what is computed on the way.

    Returns:
        Rows and columns of a tile, equal for a symmetric matrix.

    Raises:
        UserError: If the kernels themselves do not fit, or not one pair of inputs does.
    """
    columns = n1 if n2 is None else n2
    result = 2 * n1 * columns * entry_bytes
    pairs = (memory - result) // pair_bytes
    if pairs < 1:
        raise UserError(
            f"two kernels of {n1} by {columns} examples take {_sized(result)}, and a pair of inputs "
            f"{_sized(pair_bytes)} on the way, but memory is {_sized(memory)}; give memory "
            f">= {result + pair_bytes} bytes, or fewer examples"
        )
    side = int(pairs**0.5)
    if n2 is None:
        side = min(side, n1 if n1 < _LEAST else -(-n1 // _PARTS))
        return side, side
    rows = min(n1, side)
    columns = min(n2, pairs // rows)
    return min(n1, pairs // columns), columns


def by_tiles(tile: Tile, x1: jax.Array, x2: jax.Array | None, sizes: tuple[int, int]) -> Kernels:
    """Compute both kernels by tiles; those of a symmetric matrix once, and mirrored.

    Tiles at the edges reach back over rows and columns that are there already, so that all have one
    shape and no example is made up.

    Args:
        tile: A pure function of some of x1 and some of x2 (None: of the same) to their kernels.
        x1: Inputs, shape (n1, *features).
        x2: Inputs, shape (n2, *features); None for x1 again.
        sizes: Rows and columns of a tile, as from ``tile_sizes``.

    Returns:
        Kernels of shape (n1, n2); exactly symmetric where x2 is None.
    """
    if x2 is None:
        return _symmetric(tile, x1, sizes[0])
    n1, n2 = x1.shape[0], x2.shape[0]
    if (n1, n2) == sizes:
        return tile(x1, x2)

    def fill(kernels: Kernels, at: jax.Array) -> tuple[Kernels, None]:
        found = tile(_rows(x1, at[0], sizes[0]), _rows(x2, at[1], sizes[1]))
        return _written(kernels, found, at[0], at[1]), None

    corners = itertools.product(_starts(n1, sizes[0]), _starts(n2, sizes[1]))
    return _filled(fill, _empty(n1, n2, x1.dtype), list(corners))


def _symmetric(tile: Tile, x: jax.Array, size: int) -> Kernels:
    def on_diagonal(rows: jax.Array) -> Kernels:
        nngp, ntk = tile(rows, None)
        return Kernels((nngp + nngp.T) / 2, (ntk + ntk.T) / 2)

    def off(kernels: Kernels, at: jax.Array) -> tuple[Kernels, None]:
        found = tile(_rows(x, at[0], size), _rows(x, at[1], size))
        kernels = _written(kernels, found, at[0], at[1])
        mirrored = Kernels(found.nngp.T, found.ntk.T)
        return _written(kernels, mirrored, at[1], at[0]), None

    def on(kernels: Kernels, at: jax.Array) -> tuple[Kernels, None]:
        return _written(kernels, on_diagonal(_rows(x, at, size)), at, at), None

    n = x.shape[0]
    if size == n:
        return on_diagonal(x)
    starts = _starts(n, size)
    kernels = _filled(off, _empty(n, n, x.dtype), list(itertools.combinations(starts, 2)))
    # Last, as the tile that reaches back crosses the diagonal where it overlaps the one before it.
    return _filled(on, kernels, starts)


def _filled(
    step: Callable[[Kernels, jax.Array], tuple[Kernels, None]],
    kernels: Kernels,
    corners: Sequence[int] | Sequence[tuple[int, int]],
) -> Kernels:
    filled: Kernels = jax.lax.scan(step, kernels, jnp.asarray(corners, dtype=jnp.int32))[0]
    return filled


def _starts(n: int, size: int) -> list[int]:
    return [min(start, n - size) for start in range(0, n, size)]


def _rows(x: jax.Array, start: jax.Array, size: int) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(x, start, size)


def _empty(n1: int, n2: int, dtype: jax.typing.DTypeLike) -> Kernels:
    return Kernels(jnp.zeros((n1, n2), dtype), jnp.zeros((n1, n2), dtype))


def _written(kernels: Kernels, found: Kernels, row: jax.Array, column: jax.Array) -> Kernels:
    return Kernels(
        *(
            jax.lax.dynamic_update_slice(whole, part, (row, column))
            for whole, part in zip(kernels, found, strict=True)
        )
    )


def _sized(size: int) -> str:
    for unit, name in ((2**30, "GiB"), (2**20, "MiB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} bytes"
