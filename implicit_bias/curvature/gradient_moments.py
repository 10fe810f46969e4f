"""Second moments of the examples' gradients: the empirical Fisher matrix, and their covariance.

The *empirical* Fisher matrix takes the targets of the data, and is, despite its name, no estimate of
those in ``fisher`` (Kunstner et al. 2019). Centred, it is the covariance of the gradients.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from implicit_bias.chunks import Batch, example_count
from implicit_bias.curvature.blocks import Block, Selected
from implicit_bias.curvature.eigenpairs import inner
from implicit_bias.curvature.example_sum import example_sum
from implicit_bias.curvature.noise import at_least_two
from implicit_bias.curvature.operators import (
    LinearOperator,
    Params,
    WeightedLoss,
    checked_loss,
    require_weighted,
)


def empirical_fisher(
    loss: WeightedLoss,
    params: Params,
    data: Batch,
    *,
    chunk_size: int | None = None,
    weights: jax.Array | None = None,
    linearize: bool = True,
    block: Block = None,
) -> tuple[LinearOperator, Callable[[jax.Array], Params]]:
    """Build the uncentred second moment of the gradients, ``sum_i w_i g_i g_iᵀ``.

    g_i is the gradient of example i's loss at its own target. The per-example gradients are never
    formed: ``g_i . v`` is the directional derivative of example i's loss, and the loss, linear in
    the weights, puts the gradients together again.

    Args:
        loss: Weighted sum of per-example losses, exactly linear in the weights; see
            ``WeightedLoss``. The examples' losses must not depend on one another.
        params: As in ``hessian``.
        data: As in ``hessian``.
        chunk_size: As in ``hessian``.
        weights: As in ``hessian``.
        linearize: As in ``hessian``.
        block: As in ``hessian``.

    Returns:
        As ``hessian``.

    Raises:
        UserError: As ``hessian``.

    References:
        Kunstner, Hennig & Balles, *Limitations of the empirical Fisher approximation for natural
        gradient descent*, NeurIPS 2019, equation 3.
    """
    loss = checked_loss(loss)
    terms = example_sum(params, data, chunk_size, weights, block)
    require_weighted(loss, params, data)

    def product(vector: jax.Array) -> jax.Array:
        def chunk_product(batch: Batch, chunk_weights: jax.Array) -> jax.Array:
            slopes, combine = _gradients(loss, terms.selected, batch, vector)
            return combine(chunk_weights * slopes)

        return terms.total(chunk_product)

    return terms.operator(product, linearize)


def gradient_covariance(
    loss: WeightedLoss,
    params: Params,
    data: Batch,
    *,
    chunk_size: int | None = None,
    weights: jax.Array | None = None,
    linearize: bool = True,
    block: Block = None,
) -> tuple[LinearOperator, Callable[[jax.Array], Params]]:
    """Build the covariance of the gradients over examples, ``sum_i w_i (g_i - m)(g_i - m)ᵀ``.

    m is the mean gradient, ``sum_i w_i g_i / sum_i w_i``. By default the weights are 1/(n - 1), the
    divisor of an unbiased sample covariance, so that the trace is
    ``noise.gradient_covariance_trace``. The difference is taken before the products are summed,
    since the difference of the empirical Fisher matrix and ``m mᵀ`` would cancel.

    Args:
        loss: Weighted sum of per-example losses, exactly linear in the weights; see
            ``WeightedLoss``. The examples' losses must not depend on one another.
        params: As in ``hessian``.
        data: As in ``hessian``, of n >= 2 examples.
        chunk_size: As in ``hessian``.
        weights: Shape (n,); 1/(n - 1) by default. Others are used as they are, without a further
            divisor; their sum must not be zero.
        linearize: As in ``hessian``. The mean gradient is computed once in any case.
        block: As in ``hessian``.

    Returns:
        As ``empirical_fisher``.

    Raises:
        UserError: If there are fewer than two examples, or as ``empirical_fisher``.
    """
    at_least_two(data)
    loss = checked_loss(loss)
    terms = example_sum(params, data, chunk_size, weights, block, lost=1)
    require_weighted(loss, params, data)
    selected = terms.selected

    with jax.default_matmul_precision("highest"):
        total = terms.total(lambda batch, w: terms.gradient(loss, selected.flat, batch, w))
        mean = total / jnp.sum(terms.weights)

    def product(vector: jax.Array) -> jax.Array:
        expected = inner(mean, vector)

        def chunk_product(batch: Batch, chunk_weights: jax.Array) -> tuple[jax.Array, jax.Array]:
            slopes, combine = _gradients(loss, selected, batch, vector)
            away = chunk_weights * (slopes - expected)
            return combine(away), jnp.sum(away)

        moments, rest = terms.total(chunk_product)
        # The deviations sum to zero but for rounding, which the mean gradient would multiply.
        return moments - rest * mean

    return terms.operator(product, linearize)


def _gradients(
    loss: WeightedLoss, selected: Selected, batch: Batch, vector: jax.Array
) -> tuple[jax.Array, Callable[[jax.Array], jax.Array]]:
    """Return ``g_i . v`` for each example, and the map from (c,) to ``sum_i c_i g_i``."""
    flat = selected.flat
    ones = jnp.ones((example_count(batch),), flat.dtype)

    def per_example(theta: jax.Array) -> jax.Array:
        # The weighted sum is linear in the weights: its slopes are the examples' losses.
        return jax.grad(loss, argnums=2)(selected.rebuild(theta), batch, ones)

    _, forward = jax.linearize(per_example, flat)
    backward = jax.linear_transpose(forward, flat)
    return forward(vector), lambda coefficients: backward(coefficients)[0]
