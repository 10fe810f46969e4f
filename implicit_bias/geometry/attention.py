"""How attention matrices are spread: ranks, entropy, and the mass of the few largest or nearest weights.

A matrix A (length, length) has rows that are laws: row i says where position i looks. Where attention is
causal, row i is zero beyond i, and has i + 1 entries to choose from; otherwise each row has all. What no
row of one entry can tell is left out of means over rows, so that the numbers do not depend on what a mask
decides alone.

References:
    [RV] O. Roy, M. Vetterli, *The effective rank: a measure of effective dimensionality*, EUSIPCO 2007.
    [RuV] M. Rudelson, R. Vershynin, *Sampling from large matrices*, J. ACM 54 (2007): the stable rank.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError


def attention_ranks(attention: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the effective and the stable rank of matrices.

    Args:
        attention: Shape (…, length, length).

    Returns:
        e^H of the singular values as shares of their sum ([RV], definition 1), and ‖A‖²_F/‖A‖² ([RuV], remark
        1.3); each of shape (…), from 1 to length.
    """
    # One after another: batches of LAPACK's decompositions wait for the threads that they run on, and on CPUs
    # of JAX 0.10.2 two devices that did so at once waited for ever.
    matrices = attention.reshape(-1, *attention.shape[-2:])
    values = jax.lax.map(lambda matrix: jnp.linalg.svd(matrix, compute_uv=False), matrices)
    values = values.reshape(*attention.shape[:-2], -1)
    shares = values / jnp.sum(values, axis=-1, keepdims=True)
    effective = jnp.exp(jnp.sum(_surprise(shares), axis=-1))
    squares = jnp.square(values)
    return effective, jnp.sum(squares, axis=-1) / squares[..., 0]


def attention_entropy(attention: jax.Array, *, causal: bool) -> jax.Array:
    """Return the entropy of rows relative to its most, the logarithm of how many entries a row may have.

    Args:
        attention: Shape (…, length, length), length ≥ 2.
        causal: Whether row i is zero beyond i.

    Returns:
        Shape (…): means over rows of two entries or more; 1 where all look everywhere alike, 0 where each
        looks at one position.

    Raises:
        UserError: There is one position only.
    """
    most = jnp.log(_entries(attention, causal, 1).astype(attention.dtype))
    found = jnp.sum(_surprise(attention), axis=-1)[..., -most.size :]
    # The mean of relative entropies, as a product: shapes are aligned by hand.
    return found @ (1 / most / most.size)


def top_mass(attention: jax.Array, k: int, *, causal: bool) -> jax.Array:
    """Return what the k largest weights of a row add up to.

    Args:
        attention: Shape (…, length, length), length > k.
        k: How many.
        causal: Whether row i is zero beyond i.

    Returns:
        Shape (…): means over rows of more than k entries.

    Raises:
        UserError: No row has so many.
    """
    rows = _entries(attention, causal, k).size
    largest = jnp.sum(jax.lax.top_k(attention, k)[0], axis=-1)
    return jnp.mean(largest[..., -rows:], axis=-1)


def recent_mass(attention: jax.Array, k: int) -> jax.Array:
    """Return what a causal row gives to its own position and the k − 1 before it.

    Args:
        attention: Shape (…, length, length), causal, length > k.
        k: How many positions.

    Returns:
        Shape (…): means over rows of more than k entries.

    Raises:
        UserError: No row has so many.
    """
    rows = _entries(attention, True, k).size
    place = jnp.arange(attention.shape[-1])
    behind = place[:, None] - place[None, :]
    near = ((behind >= 0) & (behind < k)).astype(attention.dtype)
    return jnp.mean(jnp.einsum("...ij,ij->...i", attention, near)[..., -rows:], axis=-1)


def uniform_attention(length: int, causal: bool, dtype: jax.typing.DTypeLike) -> jax.Array:
    """Return the matrix that looks everywhere alike, (length, length): the rank and mass of no preference.

    Args:
        length: Positions.
        causal: Whether row i is zero beyond i.
        dtype: Of the matrix.
    """
    whole = jnp.ones((length, length), dtype)
    kept = jnp.tril(whole) if causal else whole
    return kept / jnp.sum(kept, axis=1, keepdims=True)


def _surprise(shares: jax.Array) -> jax.Array:
    """Return −p log p, 0 at 0."""
    return -shares * jnp.log(jnp.where(shares > 0, shares, jnp.ones((), shares.dtype)))


def _entries(attention: jax.Array, causal: bool, k: int) -> jax.Array:
    """Return how many entries those rows have that have more than k, which are the last ones.

    Raises:
        UserError: None has.
    """
    length = attention.shape[-1]
    if not 1 <= k < length:
        raise UserError(f"k is {k}, but there are {length} positions; choose 1 to {length - 1}")
    return jnp.arange(k + 1, length + 1) if causal else jnp.full((length,), length)
