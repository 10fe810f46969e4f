"""A Lanczos search at one moment: what it holds, its Ritz pairs, and whether it is over."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from implicit_bias.curvature.krylov import Which, leading_pairs, score

_CONVINCING = 0.1  # residual, relative to a chain's own scale, from which its best value is trusted


class State(NamedTuple):
    """What the loops carry.

    The rows of the basis are, in this order: locked vectors (of earlier chains), Ritz vectors kept
    at the last restart, Lanczos vectors. The latter two belong to the current chain. ``matrix`` is
    the operator's projection on the basis; no entry couples a locked row with another.
    """

    vector: jax.Array  # (p,) to be multiplied next, unless a chain begins
    basis: jax.Array  # (rows, p): orthonormal rows, then zeros
    matrix: jax.Array  # (m, m), symmetric
    couplings: jax.Array  # (m,) of the rows with ``vector``
    errors: jax.Array  # (m,) residuals of the locked rows
    size: jax.Array  # rows of the basis that have been multiplied
    locked: jax.Array  # of them, those of earlier chains
    chain: jax.Array  # chains before this one
    products: jax.Array
    scale: jax.Array  # largest |C q| seen, at most the operator's norm
    chain_scale: jax.Array  # the same, in this chain
    largest: jax.Array  # largest absolute Ritz value of the last test
    settled: jax.Array  # nothing better is expected
    lock: jax.Array  # the chain has nothing more to give; begin another
    failed: jax.Array  # a number that is not finite turned up


class Ritz(NamedTuple):
    """All pairs of the projected matrix, in no useful order."""

    values: jax.Array  # (m,)
    weights: jax.Array  # (m, m): column i holds pair i's coordinates in the basis
    residuals: jax.Array  # (m,)
    score: jax.Array  # (m,): higher is better, minus infinity where there is no pair
    in_chain: jax.Array  # (m,): not locked


def no_pairs(m: int, dtype: jax.typing.DTypeLike) -> Ritz:
    """Return what is held before anything was looked at: m pairs that are not there."""
    zeros = jnp.zeros((m,), dtype)
    return Ritz(zeros, jnp.zeros((m, m), dtype), zeros, zeros - jnp.inf, jnp.zeros((m,), bool))


def rayleigh_ritz(state: State, which: Which) -> Ritz:
    """Find the pairs of the projected matrix: the chain's by ``eigh``, the locked as they are.

    They are kept apart because a locked value and its copy in the chain would otherwise be mixed,
    and nobody could tell which of them the chain has found.
    """
    size, locked = state.size, state.locked
    m = state.matrix.shape[0]
    index = jnp.arange(m, dtype=jnp.int32)
    values, weights = leading_pairs(state.matrix, (index >= locked) & (index < size), size)

    in_chain = index < size - locked
    source = index - (size - locked)  # after the chain's pairs, the locked rows in their order
    there = jnp.clip(source, 0, m - 1)
    unit = (index[:, None] == source[None, :]).astype(values.dtype)
    weights = jnp.where(in_chain[None, :], weights, unit)
    values = jnp.where(in_chain, values, jnp.diagonal(state.matrix)[there])
    beta = state.couplings[jnp.maximum(size - 1, 0)]
    last = jnp.abs(jnp.take(weights, jnp.maximum(size - 1, 0), axis=0))
    residuals = jnp.where(in_chain, beta * last, state.errors[there])
    wanted = jnp.where(index < size, score(values, which), -jnp.inf)
    return Ritz(values, weights, residuals, wanted, in_chain)


def judge(
    ritz: Ritz,
    state: State,
    *,
    k: int,
    tolerance: jax.Array,
    copies: bool,
    trust_first: bool,
    complete: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Say whether the search is over, or the chain.

    Args:
        ritz: All pairs.
        state: As of this product.
        k: How many pairs are wanted.
        tolerance: Largest residual accepted, relative to the largest absolute value.
        copies: Whether a first chain that did not break down needs another after it.
        trust_first: Whether the first chain started from a random vector, so that an invariant
            subspace holds the best eigenvalue.
        complete: The basis spans the whole space.

    Returns:
        Largest absolute Ritz value; whether nothing better is expected; whether to lock what there
        is and begin a new chain.
    """
    best, order = jax.lax.top_k(ritz.score, k)
    zeros = jnp.zeros_like(ritz.values)
    sizes = jnp.where(ritz.score > -jnp.inf, jnp.abs(ritz.values), zeros)
    largest = jnp.max(sizes)
    allowed = tolerance * largest
    wanted = jnp.all(ritz.residuals[order] <= allowed)

    # A later chain starts from a random vector orthogonal to what is locked, so its best value is
    # the best that was left out. It must be good on the chain's own scale: a random vector's
    # residual is small against the largest eigenvalue before anything is found.
    chain_score = jnp.where(ritz.in_chain, ritz.score, -jnp.inf)
    top = jnp.argmax(chain_score)
    chain_largest = jnp.max(jnp.where(ritz.in_chain, sizes, zeros))
    ended = state.lock
    first = state.chain == 0
    convincing = ended | (ritz.residuals[top] <= _CONVINCING * chain_largest)
    exhausted = convincing & (chain_score[top] + ritz.residuals[top] <= best[k - 1] + allowed)
    if not trust_first:
        exhausted = exhausted & ~first
    enough = exhausted | complete
    if not copies:
        enough = enough | (first & ~ended)
    contributed = chain_score[top] >= best[k - 1]
    return largest, wanted & enough, ended | (wanted & ~enough & convincing & contributed)
