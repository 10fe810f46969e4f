"""The order in which examples are used, as pure functions that run inside compiled training.

A batch is a pair: which examples, and with which weights the gradient adds them up. The weights of
a batch add up to one over the examples that are really in it, so a last batch smaller than the
others needs no case of its own in the training step: ``sum_i weights_i * loss_i`` is the mean over
its examples.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from implicit_bias.arguments import whole_number
from implicit_bias.errors import UserError

_MOST_INDEX_BITS = 18  # leaves 14 random bits in each of two rounds


def epoch_order(key: jax.Array, epoch: jax.Array | int, n: int) -> jax.Array:
    """Return the order of one epoch's examples: every example exactly once.

    Args:
        key: The lane's data-order key.
        epoch: Number of the epoch, from 0; may be traced.
        n: Number of training examples, static.

    Returns:
        A permutation of 0 … n − 1, int32 (n,).

    Raises:
        UserError: ``n`` is not a positive whole number.
    """
    n = whole_number("n", n, 1)
    key = jax.random.fold_in(key, epoch)
    index_bits = max(1, (n - 1).bit_length())
    if index_bits > _MOST_INDEX_BITS:
        return jax.random.permutation(key, jnp.arange(n, dtype=jnp.int32))
    # Random high bits and the index in one word: sorting single words is several times faster than
    # sorting pairs, and this runs once in every epoch of every lane. Equal high bits would leave
    # their examples in the order they had, so a second round starts from the first one's order.
    draws = jax.random.bits(key, (2, n), jnp.uint32)
    index = jnp.arange(n, dtype=jnp.uint32)
    mask = jnp.uint32((1 << index_bits) - 1)
    first, second = (jnp.sort((row & ~mask) | index) & mask for row in draws)
    return first[second].astype(jnp.int32)


def updates_per_epoch(n: int, batch_size: int) -> int:
    """Return how many batches show every example once: n / batch_size, rounded up.

    Args:
        n: Number of training examples.
        batch_size: Examples in a full batch.

    Raises:
        UserError: One of them is not a positive whole number, or the batch is larger than the data.

    Example:
        >>> from implicit_bias import data
        >>> data.updates_per_epoch(1000, 32)
        32
    """
    n, batch_size = _sizes(n, batch_size)
    return -(-n // batch_size)


def epoch_batch(
    order: jax.Array,
    position: jax.Array | int,
    batch_size: int,
    *,
    dtype: DTypeLike = jnp.float32,
) -> tuple[jax.Array, jax.Array]:
    """Return one batch of an epoch, the last and smaller one included.

    Args:
        order: The epoch's order, int32 (n,), from :func:`epoch_order`.
        position: Number of the batch in the epoch, 0 … updates_per_epoch − 1; may be traced. Beyond
            the last batch all weights are zero.
        batch_size: Slots B in a batch, static.
        dtype: Type of the weights.

    Returns:
        Indices int32 (B,) and weights (B,). Of ``r`` examples left, the first ``r`` slots have
        weight 1/r and the others weight 0 (their index repeats the order's last, so that it is
        always valid).

    Raises:
        UserError: The batch is larger than the data.
    """
    n, batch_size = _sizes(order.shape[0], batch_size)
    slots = jnp.asarray(position, jnp.int32) * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
    indices = order[jnp.minimum(slots, n - 1)]
    left = jnp.clip(n - slots[0], 1, batch_size).astype(dtype)
    weights = jnp.where(slots < n, 1 / left, jnp.zeros((), dtype))
    return indices, weights


def replacement_batch(
    key: jax.Array,
    step: jax.Array | int,
    n: int,
    batch_size: int,
    *,
    dtype: DTypeLike = jnp.float32,
) -> tuple[jax.Array, jax.Array]:
    """Return a batch of independent draws, in which an example may come twice.

    Args:
        key: The lane's data-order key.
        step: Number of the update, from 0; may be traced.
        n: Number of training examples, static.
        batch_size: Draws B, static.
        dtype: Type of the weights.

    Returns:
        Indices int32 (B,), uniform on 0 … n − 1, and weights (B,), all 1/B.

    Raises:
        UserError: A size is not a positive whole number, or the batch is larger than the data.
    """
    n, batch_size = _sizes(n, batch_size)
    drawn = jax.random.fold_in(key, step)
    indices = jax.random.randint(drawn, (batch_size,), 0, n, dtype=jnp.int32)
    return indices, jnp.full((batch_size,), 1 / batch_size, dtype)


def _sizes(n: int, batch_size: int) -> tuple[int, int]:
    n, batch_size = whole_number("n", n, 1), whole_number("batch_size", batch_size, 1)
    if batch_size > n:
        raise UserError(
            f"batch_size is {batch_size}, but the training set has {n} examples; "
            f"choose batch_size <= {n}"
        )
    return n, batch_size
