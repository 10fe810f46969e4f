"""The covariance of gradients: over examples, and over mini-batches.

The noise that small batches add to training is the covariance of the mini-batch gradient around the
gradient of the whole dataset. Its trace follows from that of single examples by sampling theory
alone, for any loss and any parameters, which is why the ratio between two batch sizes is a
definition and not a finding; the Monte Carlo version checks it against drawn batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from implicit_bias.arguments import require_key, require_whole
from implicit_bias.chunks import Batch, checked_chunk_size, chunked_sum, example_count
from implicit_bias.curvature.blocks import Block, select
from implicit_bias.curvature.eigenpairs import inner
from implicit_bias.curvature.operators import Params, WeightedLoss, checked_loss
from implicit_bias.errors import UserError
from implicit_bias.finite import require_finite
from implicit_bias.random_probes import check_tolerance, mean_and_standard_error, within_tolerance


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NoiseEstimate:
    """The trace of a mini-batch gradient's covariance, with its sampling error.

    Attributes:
        estimate: Mean squared distance of the drawn batches' gradients from the full gradient,
            unbiased.
        standard_error: Of that mean.
        n_batches: How many batches were drawn, one gradient each.
        converged: Whether the standard error is at most ``tol`` of the estimate.
    """

    estimate: jax.Array
    standard_error: jax.Array
    n_batches: jax.Array
    converged: jax.Array


def gradient_covariance_trace(
    loss: WeightedLoss,
    params: Params,
    data: Batch,
    *,
    chunk_size: int = 8,
    block: Block = None,
) -> jax.Array:
    """Compute the trace of the sample covariance of the per-example gradients, exactly.

    This is ``sum_i |g_i - g|^2 / (n - 1)``, with g the mean gradient. It runs over the data twice,
    first for g (one pass with all examples at once), then for the distances, since the difference
    of ``sum |g_i|^2`` and ``n |g|^2`` would cancel.

    Args:
        loss: Weighted sum of per-example losses, with the weights last; see ``WeightedLoss``. The
            examples' losses must not depend on one another (no batch normalisation over the batch).
        params: Any pytree of floating arrays; p numbers in all.
        data: Pytree of arrays with one leading axis of n >= 2 examples.
        chunk_size: Examples taken at once; at most ``chunk_size * p`` numbers are held. Small is
            fast on a CPU, where the compiler never forms a dense layer's gradient.
        block: Which parameters' gradients, as in ``hessian``.

    Returns:
        A scalar, in squared units of the gradient.

    Raises:
        UserError: If the loss does not take or return what it should, there are fewer than two
            examples, ``chunk_size`` is below one, the block is empty, or parameters that are not traced not
            finite.
    """
    loss = checked_loss(loss)
    require_whole("chunk_size", chunk_size)
    require_finite(params)
    n = at_least_two(data)
    size = checked_chunk_size(chunk_size, n)
    loss, theta = _of_block(loss, params, block)
    ones = jnp.ones((n,), theta.dtype)
    mean = _gradient(loss, theta, data, ones / n)

    def squared_distance(example: Batch) -> jax.Array:
        one = jax.tree.map(lambda leaf: leaf[None], example)
        away = _gradient(loss, theta, one, ones[:1]) - mean
        return inner(away, away)

    def distances(batch: Batch, weights: jax.Array) -> jax.Array:
        return inner(weights, jax.vmap(squared_distance)(batch))

    return chunked_sum(distances, data, ones, size) / (n - 1)


def minibatch_covariance_trace(
    covariance_trace: jax.Array | float, n: int, batch_size: int, *, replacement: bool = False
) -> jax.Array | float:
    """Turn the trace over examples into that of the mean gradient over a random batch.

    Without replacement, ``tr S (1/B - 1/n)``: a batch of all examples has no noise. With
    replacement, examples are drawn from the n, whose own covariance is ``S (n - 1)/n``, so ``tr S
    (1 - 1/n) / B``.

    Args:
        covariance_trace: Of the sample covariance S (divisor n - 1), as from
            ``gradient_covariance_trace``.
        n: Number of examples.
        batch_size: B.
        replacement: Whether a batch may hold an example twice.

    Returns:
        The trace of the batch gradient's covariance.

    Raises:
        UserError: If the batch is empty, or larger than the data and drawn without replacement.

    References:
        Cochran, *Sampling Techniques* (1977), theorem 2.2.
    """
    _check_batch(batch_size, n, replacement)
    if replacement:
        return covariance_trace * ((1 - 1 / n) / batch_size)
    return covariance_trace * (1 / batch_size - 1 / n)


def minibatch_gradient_covariance_trace(
    loss: WeightedLoss,
    params: Params,
    data: Batch,
    key: jax.Array,
    *,
    batch_size: int,
    n_batches: int,
    replacement: bool = False,
    tol: float = 0.1,
    block: Block = None,
) -> NoiseEstimate:
    """Estimate the trace of the mini-batch gradient's covariance from drawn batches.

    Batch i depends on the key and i alone. The batches are taken one after another, in memory for
    one.

    Args:
        loss: Weighted sum of per-example losses; see ``WeightedLoss``.
        params: Any pytree of floating arrays.
        data: Pytree of arrays with one leading axis of n examples.
        key: For the batches.
        batch_size: Examples of a batch.
        n_batches: How many batches, at least two.
        replacement: Whether a batch may hold an example twice.
        tol: Relative standard error up to which the estimate counts as converged.
        block: Which parameters' gradients, as in ``hessian``.

    Returns:
        Estimate and standard error.

    Raises:
        UserError: If the batch does not fit, there are fewer than two batches or examples,
            ``tol`` is not positive, or as
            ``gradient_covariance_trace``.
    """
    loss = checked_loss(loss)
    require_key(key)
    require_whole("n_batches", n_batches)
    check_tolerance(tol)
    require_finite(params)
    n = at_least_two(data)
    _check_batch(batch_size, n, replacement)
    if n_batches < 2:
        raise UserError(f"n_batches is {n_batches}; choose n_batches >= 2 for a standard error")
    loss, theta = _of_block(loss, params, block)
    mean = _gradient(loss, theta, data, jnp.full((n,), 1 / n, theta.dtype))
    weights = jnp.full((batch_size,), 1 / batch_size, theta.dtype)

    def sample(index: jax.Array) -> jax.Array:
        chosen = jax.random.choice(
            jax.random.fold_in(key, index), n, (batch_size,), replace=replacement
        )
        batch = jax.tree.map(lambda leaf: jnp.take(leaf, chosen, axis=0), data)
        away = _gradient(loss, theta, batch, weights) - mean
        return inner(away, away)

    samples = jax.lax.map(sample, jnp.arange(n_batches, dtype=jnp.int32))
    estimate, error = mean_and_standard_error(samples)
    converged = within_tolerance(estimate, error, tol)
    return NoiseEstimate(estimate, error, jnp.int32(n_batches), converged)


def _of_block(loss: WeightedLoss, params: Params, block: Block) -> tuple[WeightedLoss, jax.Array]:
    """Return the loss as a function of a block's flat parameters, and these."""
    chosen = select(params, block)

    def own(theta: jax.Array, batch: Batch, weights: jax.Array) -> jax.Array:
        return loss(chosen.rebuild(theta), batch, weights)

    return own, chosen.flat


def _gradient(loss: WeightedLoss, theta: jax.Array, batch: Batch, weights: jax.Array) -> jax.Array:
    """Return the gradient, in the highest matmul precision."""
    with jax.default_matmul_precision("highest"):
        return jax.grad(loss)(theta, batch, weights)


def at_least_two(data: Batch) -> int:
    """Return the number of examples of data that is to have a covariance.

    Raises:
        UserError: If there are fewer than two.
    """
    n = example_count(data)
    if n < 2:
        raise UserError(f"the data has {n} example; a covariance needs at least 2")
    return n


def _check_batch(batch_size: int, n: int, replacement: bool) -> None:
    require_whole("batch_size", batch_size)
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; choose batch_size >= 1")
    if batch_size > n and not replacement:
        raise UserError(
            f"batch_size is {batch_size}, but the data has {n} examples; choose batch_size <= {n}, "
            "or draw with replacement"
        )
