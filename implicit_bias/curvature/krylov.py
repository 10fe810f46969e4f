"""What the Lanczos methods share: a basis of padded size, how it grows, and its Ritz pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from implicit_bias.curvature.eigenpairs import inner, norm
from implicit_bias.curvature.operators import LinearOperator

Which = Literal["LA", "SA", "LM"]

BLOCK = 8  # a basis has whole blocks of rows, and is never read in smaller parts


class Expansion(NamedTuple):
    """A product with the newest basis vector q, taken apart."""

    basis: jax.Array  # (rows, p), q in its row
    rest: jax.Array  # (p,): C q without its components along the basis
    alpha: jax.Array  # q . C q
    beta: jax.Array  # |rest|
    length: jax.Array  # |C q|


def padded(rows: int) -> int:
    """Return the rows of a basis in memory: whole blocks."""
    return -(-rows // BLOCK) * BLOCK


def expand(
    operator: LinearOperator, basis: jax.Array, vector: jax.Array, count: jax.Array
) -> Expansion:
    """Take one step of the Lanczos recurrence with full orthogonalisation.

    Args:
        operator: Symmetric, of dimension p.
        basis: Shape (rows, p): ``count`` orthonormal rows, then zeros.
        vector: Shape (p,), of length one, orthogonal to them.
        count: How many rows are used.
    """
    basis = jax.lax.dynamic_update_index_in_dim(basis, vector, count, 0)
    image = operator.product(vector)
    rest = orthogonalise(basis, image, count + 1)
    return Expansion(basis, rest, inner(vector, image), norm(rest), norm(image))


def orthogonalise(
    basis: jax.Array, vector: jax.Array, count: jax.Array, *, passes: int = 2
) -> jax.Array:
    """Remove from a vector its components along the first rows of a basis, in two passes.

    One pass is enough where the components that exact arithmetic has are gone already, as after the
    three terms of the Lanczos recurrence: what is left of the others is rounding.

    Of a few static numbers of rows the least that suffices is read, so that the cost follows the count
    to within a factor of four; unused rows are zero and take nothing away. (A loop over blocks copies
    each of them first: at 100 rows of 80,000 entries it took four times as long.)

    References:
        Parlett, *The Symmetric Eigenvalue Problem* (1998), section 6.9: twice is enough.
    """
    highest = jax.lax.Precision.HIGHEST

    def remove(rows: int) -> Callable[[jax.Array, jax.Array], jax.Array]:
        def pass_over(basis: jax.Array, vector: jax.Array) -> jax.Array:
            some = basis[:rows]
            for _ in range(passes):
                along = jnp.matmul(some, vector, precision=highest)
                vector = vector - jnp.matmul(along, some, precision=highest)
            return vector

        return pass_over

    sizes = _sizes(BLOCK, basis.shape[0])
    removed: jax.Array = jax.lax.switch(
        _enough(sizes, count), [remove(n) for n in sizes], basis, vector
    )
    return removed


def random_direction(key: jax.Array, basis: jax.Array, count: jax.Array) -> jax.Array:
    """Draw a vector of length one, orthogonal to the first rows of a basis; shape (p,)."""
    vector = jax.random.normal(key, basis.shape[1:], basis.dtype)
    vector = orthogonalise(basis, vector, count)
    return vector / norm(vector)


def leading_pairs(
    matrix: jax.Array, used: jax.Array, count: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the eigenpairs of the used rows and columns of a padded symmetric matrix, first.

    Of a few static sizes the least that holds all used rows is decomposed: early in a search most of the
    matrix is padding, and ``eigh`` costs the third power of the size.

    Args:
        matrix: Shape (m, m).
        used: Shape (m,), which rows count.
        count: No row from this one on is used.

    Returns:
        Values (m,), ascending over the used ones, which come first, and vectors (m, m) in columns.
    """
    m = matrix.shape[0]
    matrix = jnp.where(used[:, None] & used[None, :], matrix, jnp.zeros_like(matrix))
    # Unused rows get an eigenvalue above all others (Gershgorin).
    reach = jnp.max(jnp.sum(jnp.abs(matrix), axis=1))
    above = jnp.where(reach > 0, 2 * reach, jnp.ones_like(reach))
    matrix = matrix + jnp.diag(jnp.where(used, jnp.zeros_like(above), above))

    def decompose(size: int) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
        def leading(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
            values, vectors = jnp.linalg.eigh(matrix[:size, :size], symmetrize_input=False)
            rest = jnp.diagonal(matrix)[size:]
            whole = jnp.eye(m, dtype=matrix.dtype).at[:size, :size].set(vectors)
            return jnp.concatenate([values, rest]), whole

        return leading

    sizes = _sizes(2 * BLOCK, m)
    pairs: tuple[jax.Array, jax.Array] = jax.lax.switch(
        _enough(sizes, count), [decompose(size) for size in sizes], matrix
    )
    return pairs


def _sizes(least: int, largest: int) -> list[int]:
    """Return a few static sizes, each four times the one before, up to the largest."""
    sizes = [least]
    while sizes[-1] < largest:
        sizes.append(4 * sizes[-1])
    return [*sizes[:-1], largest]


def _enough(sizes: list[int], count: jax.Array) -> jax.Array:
    """Return the position of the least size that holds so many rows.

    Counted, and not searched for: a search is a loop of its own to compile.
    """
    return jnp.sum(jnp.asarray(sizes, jnp.int32) < count, dtype=jnp.int32)


def score(values: jax.Array, which: Which) -> jax.Array:
    """Return a number that is the higher the more an eigenvalue is wanted."""
    return {"LA": values, "SA": -values, "LM": jnp.abs(values)}[which]
