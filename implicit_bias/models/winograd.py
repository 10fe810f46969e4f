r"""Convolutions of 3 × 3 patches with 2.25 times fewer multiplications.

F(2 × 2, 3 × 3): four neighbouring sums of one tile of 4 × 4 pixels d are
``Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A``, with g the 3 × 3 weights and

.. math::
    B^T = \begin{pmatrix} 1&0&-1&0\\0&1&1&0\\0&-1&1&0\\0&1&0&-1 \end{pmatrix},\quad
    G = \begin{pmatrix} 1&0&0\\½&½&½\\½&-½&½\\0&0&1 \end{pmatrix},\quad
    A^T = \begin{pmatrix} 1&1&1&0\\0&1&-1&-1 \end{pmatrix}.

Over channels and tiles ⊙ is 16 matrix products. The gradient of the weights is the transpose,
``Gᵀ [(Bᵀ d B) ⊗ (A s Aᵀ)] G`` summed over tiles. Errors are a few times those of plain sums.

Source: Lavin and Gray, *Fast algorithms for convolutional neural networks* (2016), section 4.1;
here with the signs of the last row of Bᵀ and of Aᵀ both changed, which is the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from implicit_bias.models.convolution_ways import Geometry
from implicit_bias.models.windows import Along, surrounded


def winograd_sums(given: Geometry, images: jax.Array, weight: jax.Array) -> jax.Array:
    """Return the sums of a 3 × 3 convolution with stride 1."""
    return _through_tiles(given, images, _kernel(given, weight), 1)


def winograd_images(given: Geometry, weight: jax.Array, sums: jax.Array) -> jax.Array:
    """Return gradients of images, by the convolution that is turned around.

    Weights in reverse order change places in G g Gᵀ, the first with the last, and nothing else.
    """
    kernel, order = _kernel(given, weight), (3, 1, 2, 0)
    turned = [[kernel[a][b] for b in order] for a in order]
    return _through_tiles(given.backwards(), sums, turned, 0)


def _through_tiles(
    given: Geometry, images: jax.Array, kernel: list[list[jax.Array]], axis: int
) -> jax.Array:
    """Transform images, multiply over channels, which are an axis of the kernel, and transform back."""
    tiles = _tiles(given, images)
    products = [
        [jnp.tensordot(tiles[a][b], kernel[a][b], axes=((3,), (axis,))) for b in range(4)]
        for a in range(4)
    ]
    across = [_ends([row[b] for row in products]) for b in range(4)]
    pixels = [jnp.stack(_ends([across[b][i] for b in range(4)]), axis=3) for i in range(2)]
    found = jnp.stack(pixels, axis=2)
    batch, down, _, right, _, channels = found.shape
    found = found.reshape(batch, 2 * down, 2 * right, channels)
    return found[:, : given.rows.number, : given.columns.number]


def winograd_weight(given: Geometry, images: jax.Array, sums: jax.Array) -> jax.Array:
    """Return the gradient of the weights."""
    tiles = _tiles(given, images)
    batch, down, right = tiles[0][0].shape[:3]
    spare = ((0, 0), (0, 2 * down - sums.shape[1]), (0, 2 * right - sums.shape[2]), (0, 0))
    apart = jnp.pad(sums, spare) if spare[1][1] or spare[2][1] else sums
    apart = apart.reshape(batch, down, 2, right, 2, given.outputs)
    rows = _spread([apart[:, :, 0], apart[:, :, 1]])
    every = ((0, 1, 2), (0, 1, 2))
    products = []
    for a in range(4):
        spread = _spread([rows[a][:, :, :, 0], rows[a][:, :, :, 1]])
        products += [jnp.tensordot(spread[b], tiles[a][b], axes=every) for b in range(4)]
    inner = [_back(products[4 * a : 4 * a + 4]) for a in range(4)]
    entries = [_back([row[j] for row in inner]) for j in range(3)]
    found = jnp.stack([entries[j][i] for i in range(3) for j in range(3)], axis=1)
    return found.reshape(given.outputs, given.fan_in)


def _kernel(given: Geometry, weight: jax.Array) -> list[list[jax.Array]]:
    """Return G g Gᵀ: 4 × 4 arrays of shape (N, C)."""
    g = weight.reshape(given.outputs, 3, 3, given.inputs)
    columns = [_forth([g[:, i, j] for i in range(3)]) for j in range(3)]
    return [_forth([columns[j][a] for j in range(3)]) for a in range(4)]


def _forth(g: Sequence[jax.Array]) -> list[jax.Array]:
    """Multiply by G."""
    ends = 0.5 * (g[0] + g[2])
    return [g[0], ends + 0.5 * g[1], ends - 0.5 * g[1], g[2]]


def _back(u: Sequence[jax.Array]) -> list[jax.Array]:
    """Multiply by Gᵀ."""
    total, rest = 0.5 * (u[1] + u[2]), 0.5 * (u[1] - u[2])
    return [u[0] + total, rest, total + u[3]]


def _tiles(given: Geometry, images: jax.Array) -> list[list[jax.Array]]:
    """Return Bᵀ d B for all tiles: 4 × 4 arrays of shape (batch, tiles down, tiles right, C)."""
    down, right = (-(-axis.number // 2) for axis in (given.rows, given.columns))

    def reach(axis: Along, length: int, number: int) -> Along:
        return axis._replace(after=2 * number + 2 - axis.before - length)

    images = surrounded(
        images, reach(given.rows, given.height, down), reach(given.columns, given.width, right)
    )
    batch, _, width, channels = images.shape
    pairs = images.reshape(batch, down + 1, 2, width, channels)
    rows = _differences([pairs[:, :-1, 0], pairs[:, :-1, 1], pairs[:, 1:, 0], pairs[:, 1:, 1]])
    found = []
    for row in rows:
        cut = row.reshape(batch, down, right + 1, 2, channels)
        ends = [cut[:, :, :-1, 0], cut[:, :, :-1, 1], cut[:, :, 1:, 0], cut[:, :, 1:, 1]]
        found.append(_differences(ends))
    return found


def _differences(d: Sequence[jax.Array]) -> list[jax.Array]:
    """Multiply by Bᵀ."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _ends(m: Sequence[jax.Array]) -> list[jax.Array]:
    """Multiply by Aᵀ."""
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def _spread(s: Sequence[jax.Array]) -> list[jax.Array]:
    """Multiply by A."""
    return [s[0], s[0] + s[1], s[0] - s[1], -s[1]]
