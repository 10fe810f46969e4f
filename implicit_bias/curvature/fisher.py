"""Fisher matrices, and the covariance of gradients over examples.

The *true* Fisher matrix takes the expectation over targets drawn from the network's own
predictions; the *sampled* one draws them; the *empirical* one takes the targets of the data, and
is, despite its name, no estimate of the others (Kunstner et al. 2019). Centred, it is the
covariance of the gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from implicit_bias.curvature.blocks import Block, Selected, select
from implicit_bias.curvature.eigenpairs import inner
from implicit_bias.curvature.gauss_newton import Outputs, output_metric
from implicit_bias.curvature.operators import (
    Batch,
    LinearOperator,
    Params,
    WeightedLoss,
    checked_chunk_size,
    checked_weights,
    chunked_sum,
    example_count,
    prepared,
)
from implicit_bias.errors import UserError, unknown

Family = Literal["categorical", "bernoulli", "gaussian"]
Density = Family | Callable[[jax.Array], jax.Array]


def true_fisher(
    outputs: Outputs,
    density: Density,
    params: Params,
    data: Batch,
    *,
    chunk_size: int | None = None,
    weights: jax.Array | None = None,
    linearize: bool = True,
    block: Block = None,
) -> tuple[LinearOperator, Callable[[jax.Array], Params]]:
    """Build the Fisher matrix, with the expectation over targets taken exactly.

    It is ``sum_i w_i J_iᵀ F_i J_i``, J_i the Jacobian of example i's outputs and F_i the Fisher
    matrix of its target's density with respect to the outputs f, by formula and not through any
    loss:

    - ``"categorical"``: classes with probabilities ``p = softmax(f)``, ``F = diag(p) - p pᵀ``; the
      density of cross entropy.
    - ``"bernoulli"``: each output an independent yes or no with probability
      ``p = 1 / (1 + exp(-f))``, ``F = diag(p (1 - p))``; the density of the logistic loss.
    - ``"gaussian"``: targets around f with variance one, ``F = I``; the density of half the squared
      distance.
    - A function from outputs (c, k) to the log-probabilities of the m values that a target can
      take, (c, m): ``F = sum_y p_y s_y s_yᵀ`` with the scores ``s_y = d log p_y / d f``.

    Args:
        outputs: Maps ``(params, batch)`` to outputs of shape (c, k); see ``Outputs``.
        density: The model of the targets, one of the above.
        params: As in ``gauss_newton``.
        data: As in ``gauss_newton``; targets in it are not looked at.
        chunk_size: As in ``gauss_newton``.
        weights: As in ``gauss_newton``.
        linearize: As in ``gauss_newton``.
        block: As in ``gauss_newton``.

    Returns:
        The operator, of dimension p or the block's size, and the function from flat vectors to
        trees like ``params``, zero outside the block.

    Raises:
        UserError: If the density is unknown, or as ``gauss_newton``.

    References:
        Martens, *New insights and perspectives on the natural gradient method*, JMLR 21 (2020),
        section 5.
    """
    _check_density(density)

    def metric(f: jax.Array, _: Batch, direction: jax.Array) -> jax.Array:
        if density == "gaussian":
            return direction
        if density == "bernoulli":
            return jax.nn.sigmoid(f) * jax.nn.sigmoid(-f) * direction
        if density == "categorical":
            p = jax.nn.softmax(f, axis=1)
            return p * (direction - jnp.sum(p * direction, axis=1, keepdims=True))
        assert callable(density)
        log_p, scores = jax.linearize(density, f)
        (image,) = jax.linear_transpose(scores, f)(jnp.exp(log_p) * scores(direction))
        return image

    return output_metric(
        outputs,
        metric,
        params,
        data,
        chunk_size=chunk_size,
        weights=weights,
        linearize=linearize,
        block=block,
    )


def sampled_fisher(
    outputs: Outputs,
    density: Density,
    params: Params,
    data: Batch,
    key: jax.Array,
    *,
    n_draws: int = 1,
    chunk_size: int | None = None,
    weights: jax.Array | None = None,
    linearize: bool = True,
    block: Block = None,
) -> tuple[LinearOperator, Callable[[jax.Array], Params]]:
    """Build the Fisher matrix from targets drawn from the network's predictions.

    It is ``sum_i w_i mean_d g_id g_idᵀ``, g_id the gradient of example i's log-density at its d-th
    drawn target: an unbiased estimate of ``true_fisher``, positive semi-definite, of rank
    at most ``n * n_draws``. The draws are fixed by the key, so this is one operator and not a noisy
    one. Those of example i depend on ``fold_in(key, i)`` alone and not on the chunks (where
    rounding decides between two classes, it may decide otherwise in another chunk). A chunk holds
    ``chunk_size * n_draws * k`` numbers for its scores.

    Args:
        outputs: Maps ``(params, batch)`` to outputs of shape (c, k); see ``Outputs``.
        density: The model of the targets; see ``true_fisher``.
        params: As in ``gauss_newton``.
        data: As in ``gauss_newton``; targets in it are not looked at.
        key: For the targets.
        n_draws: Targets per example, at least one.
        chunk_size: As in ``gauss_newton``.
        weights: As in ``gauss_newton``.
        linearize: As in ``gauss_newton``; the scores are then kept for all examples.
        block: As in ``gauss_newton``.

    Returns:
        As ``true_fisher``.

    Raises:
        UserError: If ``n_draws`` is below one, or as ``true_fisher``.
    """
    _check_density(density)
    if n_draws < 1:
        raise UserError(f"n_draws is {n_draws}; choose n_draws >= 1")
    numbers = jnp.arange(example_count(data), dtype=jnp.int32)

    def metric(f: jax.Array, batch: Batch, direction: jax.Array) -> jax.Array:
        keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(batch[1])
        scores = jax.vmap(lambda f, key: _drawn_scores(density, f, key, n_draws))(f, keys)
        along = jnp.einsum("cdk,ck->cd", scores, direction)
        return jnp.einsum("cdk,cd->ck", scores, along) / n_draws

    return output_metric(
        lambda params, batch: outputs(params, batch[0]),
        metric,
        params,
        (data, numbers),
        chunk_size=chunk_size,
        weights=weights,
        linearize=linearize,
        block=block,
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
        params: As in ``gauss_newton``.
        data: As in ``gauss_newton``.
        chunk_size: As in ``gauss_newton``.
        weights: As in ``gauss_newton``; 1/n by default.
        linearize: As in ``gauss_newton``.
        block: As in ``gauss_newton``.

    Returns:
        The operator, of dimension p or the block's size, and the function from flat vectors to
        trees like ``params``, zero outside the block.

    Raises:
        UserError: If there are no examples, ``chunk_size`` is below one, the weights do not fit, or
            the block is unknown or empty.

    References:
        Kunstner, Hennig & Balles, *Limitations of the empirical Fisher approximation for natural
        gradient descent*, NeurIPS 2019, equation 3.
    """
    selected = select(params, block)
    n = example_count(data)
    size = checked_chunk_size(chunk_size, n)
    weights = checked_weights(weights, n, 1 / n, selected.flat.dtype)

    def product(vector: jax.Array) -> jax.Array:
        def chunk_product(batch: Batch, chunk_weights: jax.Array) -> jax.Array:
            slopes, combine = _gradients(loss, selected, batch, vector)
            return combine(chunk_weights * slopes)

        return chunked_sum(chunk_product, data, weights, size)

    return prepared(product, selected.flat, linearize), selected.unravel


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
        params: As in ``gauss_newton``.
        data: As in ``gauss_newton``, of n >= 2 examples.
        chunk_size: As in ``gauss_newton``.
        weights: Shape (n,); 1/(n - 1) by default. Others are used as they are, without a further
            divisor; their sum must not be zero.
        linearize: As in ``gauss_newton``. The mean gradient is computed once in any case.
        block: As in ``gauss_newton``.

    Returns:
        As ``empirical_fisher``.

    Raises:
        UserError: If there are fewer than two examples, or as ``empirical_fisher``.
    """
    selected = select(params, block)
    flat = selected.flat
    n = example_count(data)
    if n < 2:
        raise UserError(f"the data has {n} example; a covariance needs at least 2")
    size = checked_chunk_size(chunk_size, n)
    weights = checked_weights(weights, n, 1 / (n - 1), flat.dtype)

    def gradient(batch: Batch, chunk_weights: jax.Array) -> jax.Array:
        return jax.grad(lambda theta: loss(selected.rebuild(theta), batch, chunk_weights))(flat)

    with jax.default_matmul_precision("highest"):
        mean = chunked_sum(gradient, data, weights, size) / jnp.sum(weights)

    def product(vector: jax.Array) -> jax.Array:
        expected = inner(mean, vector)

        def chunk_product(batch: Batch, chunk_weights: jax.Array) -> tuple[jax.Array, jax.Array]:
            slopes, combine = _gradients(loss, selected, batch, vector)
            away = chunk_weights * (slopes - expected)
            return combine(away), jnp.sum(away)

        moments, rest = chunked_sum(chunk_product, data, weights, size)
        # The deviations sum to zero but for rounding, which the mean gradient would multiply.
        return moments - rest * mean

    return prepared(product, flat, linearize), selected.unravel


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


def _drawn_scores(density: Density, f: jax.Array, key: jax.Array, n_draws: int) -> jax.Array:
    """Return the scores ``d log p(y) / d f`` of one example's drawn targets, (n_draws, k)."""
    if density == "gaussian":
        return jax.random.normal(key, (n_draws, *f.shape), f.dtype)
    if density == "bernoulli":
        p = jax.nn.sigmoid(f)
        drawn = jax.random.bernoulli(key, p[None, :], (n_draws, *f.shape))
        return drawn.astype(f.dtype) - p[None, :]
    if density == "categorical":
        drawn = jax.random.categorical(key, f, shape=(n_draws,))
        chosen = jax.nn.one_hot(drawn, f.shape[0], dtype=f.dtype)
        return chosen - jax.nn.softmax(f)[None, :]
    assert callable(density)

    def log_probabilities(f: jax.Array) -> jax.Array:
        return density(f[None, :])[0]

    drawn = jax.random.categorical(key, log_probabilities(f), shape=(n_draws,))
    return jnp.take(jax.jacrev(log_probabilities)(f), drawn, axis=0)


def _check_density(density: Density) -> None:
    if not callable(density) and density not in get_args(Family):
        raise unknown("density", density, get_args(Family))
