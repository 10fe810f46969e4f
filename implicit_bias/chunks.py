"""Sums over a dataset, a chunk of examples at a time, so that memory need not grow with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError

Batch = Any


def example_count(data: Batch) -> int:
    """Return the number of examples of a pytree of arrays.

    Args:
        data: Arrays with one leading axis of n examples.

    Returns:
        n, at least one.

    Raises:
        UserError: If there is no array, no example, or the arrays disagree.
    """
    counts = {leaf.shape[0] if jnp.ndim(leaf) else None for leaf in jax.tree.leaves(data)}
    if len(counts) != 1 or None in counts:
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(data)]
        raise UserError(
            f"the data's arrays have shapes {shapes}; "
            "give arrays that share one leading axis of examples"
        )
    (n,) = counts
    assert n is not None
    if n < 1:
        raise UserError("the data has 0 examples; give at least one")
    return n


def checked_chunk_size(chunk_size: int | None, n: int) -> int:
    """Return the number of examples of a chunk: at most n, and all n for ``None``.

    Raises:
        UserError: If ``chunk_size`` is below one.
    """
    if chunk_size is None:
        return n
    if chunk_size < 1:
        raise UserError(
            f"chunk_size is {chunk_size}; choose chunk_size >= 1, or None for one chunk"
        )
    return min(chunk_size, n)


def checked_weights(weights: jax.Array | None, n: int, default: float, dtype: Any) -> jax.Array:
    """Return what each example counts.

    Args:
        weights: Shape (n,), or ``None``.
        n: Number of examples.
        default: What each counts where ``weights`` is ``None``.
        dtype: The type of the default weights.

    Returns:
        Shape (n,).

    Raises:
        UserError: If the shape is another.
    """
    if weights is None:
        return jnp.full((n,), default, dtype)
    if jnp.shape(weights) != (n,):
        raise UserError(
            f"weights has shape {jnp.shape(weights)}, but the data has {n} examples; "
            f"give shape ({n},)"
        )
    return weights


def chunk_slices(
    data: Batch, weights: jax.Array, chunk_size: int
) -> Callable[[jax.Array], tuple[Batch, jax.Array]]:
    """Cut data into equal chunks without copying or padding it.

    Where the chunk size does not divide n, the last chunk reaches back over examples already
    counted and gives them weight zero, so that real examples, never made-up ones, fill it (zero
    times the loss of a made-up example might be NaN).

    Args:
        data: Arrays with leading axis n.
        weights: Shape (n,).
        chunk_size: Between 1 and n.

    Returns:
        A function from a (traced) chunk number to ``(batch, weights)`` of ``chunk_size`` examples.
    """
    n = weights.shape[0]

    def chunk(index: jax.Array) -> tuple[Batch, jax.Array]:
        first = index * chunk_size
        start = jnp.minimum(first, n - chunk_size)
        batch, chunk_weights = jax.tree.map(
            lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, chunk_size), (data, weights)
        )
        fresh = start + jnp.arange(chunk_size, dtype=start.dtype) >= first
        return batch, jnp.where(fresh, chunk_weights, jnp.zeros_like(chunk_weights))

    return chunk


def chunked_sum(
    function: Callable[[Batch, jax.Array], Any],
    data: Batch,
    weights: jax.Array,
    chunk_size: int,
) -> Any:
    """Sum a function that is linear in the weights over chunks of examples.

    Args:
        function: ``(batch, weights) -> pytree of arrays``.
        data: Arrays with leading axis n.
        weights: Shape (n,).
        chunk_size: Between 1 and n.

    Returns:
        The sum, a pytree like the function's value.
    """
    n = weights.shape[0]
    if chunk_size == n:
        return function(data, weights)
    chunk = chunk_slices(data, weights, chunk_size)

    def add(total: Any, index: jax.Array) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, function(*chunk(index))), None

    shape = jax.eval_shape(lambda: function(*chunk(jnp.int32(0))))
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)
    total, _ = jax.lax.scan(add, zero, jnp.arange(-(-n // chunk_size), dtype=jnp.int32))
    return total
