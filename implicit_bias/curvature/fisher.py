"""Fisher matrices of the network's own predictions, which no target of the data enters.

The *true* Fisher matrix takes the expectation over targets drawn from the network's own
predictions; the *sampled* one draws them. The *empirical* one is in ``gradient_moments``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from implicit_bias.arguments import require_function, require_key, require_whole
from implicit_bias.chunks import Batch, example_count
from implicit_bias.curvature.blocks import Block
from implicit_bias.curvature.example_sum import example_sum
from implicit_bias.curvature.gauss_newton import Outputs, pulled_back
from implicit_bias.curvature.operators import LinearOperator, Params
from implicit_bias.errors import UserError, unknown

Family = Literal["categorical", "bernoulli", "gaussian"]
Density = Family | Callable[[jax.Array], jax.Array]


def true_fisher(
    outputs: Outputs,
    density: Density,
    params: Params,
    data: Batch,
    *,
    predictions: int = 1,
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

    An example of several predictions, such as every next token of a text, has independent targets, whose
    Fisher matrices add up. The library's losses take their mean: of these the Gauss-Newton matrix is
    this one over ``predictions``.

    Args:
        outputs: Maps ``(params, batch)`` to outputs of shape (c, k); see ``Outputs``.
        density: The model of the targets, one of the above.
        params: As in ``hessian``.
        data: As in ``hessian``; of targets in it nothing but the shape is looked at.
        predictions: Predictions t of an example, whose outputs (c, t·k) lie behind one another, as
            those of a transformer with the readout ``"every"`` do; a given density sees (c·t, k).
            Data ``(x, y)`` with classes y (n, t) ask for t; otherwise nothing tells such outputs from
            t·k classes of one prediction.
        chunk_size: As in ``hessian``.
        weights: As in ``hessian``.
        linearize: As in ``hessian``.
        block: As in ``hessian``.

    Returns:
        As ``hessian``.

    Raises:
        UserError: If the density is unknown, ``predictions`` is below one, not what the targets have, or
            does not divide the outputs, or as ``gauss_newton``.

    References:
        Martens, *New insights and perspectives on the natural gradient method*, JMLR 21 (2020),
        section 5.
    """
    _check_density(density)
    _check_predictions(predictions, data)

    def metric(f: jax.Array, _: Batch, direction: jax.Array) -> jax.Array:
        image = single(_each(f, predictions), _each(direction, predictions))
        return image.reshape(f.shape)

    def single(f: jax.Array, direction: jax.Array) -> jax.Array:
        if density == "gaussian":
            return direction
        if density == "bernoulli":
            return jax.nn.sigmoid(f) * jax.nn.sigmoid(-f) * direction
        if density == "categorical":
            p = jax.nn.softmax(f, axis=1)
            return p * (direction - jnp.sum(p * direction, axis=1, keepdims=True))
        assert callable(density)
        log_p, scores = jax.linearize(lambda f: _log_probabilities(density, f), f)
        (image,) = jax.linear_transpose(scores, f)(jnp.exp(log_p) * scores(direction))
        return image

    terms = example_sum(params, data, chunk_size, weights, block)
    return pulled_back(outputs, metric, terms, linearize)


def sampled_fisher(
    outputs: Outputs,
    density: Density,
    params: Params,
    data: Batch,
    key: jax.Array,
    *,
    n_draws: int = 1,
    predictions: int = 1,
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
        params: As in ``hessian``.
        data: As in ``hessian``; of targets in it nothing but the shape is looked at.
        key: For the targets.
        n_draws: Targets per example, at least one.
        predictions: As in ``true_fisher``; a draw is one target for each.
        chunk_size: As in ``hessian``.
        weights: As in ``hessian``.
        linearize: As in ``hessian``; the scores are then kept for all examples.
        block: As in ``hessian``.

    Returns:
        As ``true_fisher``.

    Raises:
        UserError: If ``n_draws`` is below one, or as ``true_fisher``.
    """
    _check_density(density)
    _check_predictions(predictions, data)
    require_key(key)
    require_whole("n_draws", n_draws)
    if n_draws < 1:
        raise UserError(f"n_draws is {n_draws}; choose n_draws >= 1")
    require_function(
        "outputs", outputs, ("params", "batch"), "an array of shape (examples, outputs)"
    )
    numbers = jnp.arange(example_count(data), dtype=jnp.int32)

    def metric(f: jax.Array, batch: Batch, direction: jax.Array) -> jax.Array:
        keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(batch[1])
        if predictions > 1:
            keys = jax.vmap(lambda key: jax.random.split(key, predictions))(keys)
            keys = keys.reshape(-1, *keys.shape[2:])
        single = _each(f, predictions)
        scores = jax.vmap(lambda f, key: _drawn_scores(density, f, key, n_draws))(single, keys)
        # Those of an example's predictions beside one another, (c, n_draws, t·k).
        scores = scores.reshape(-1, predictions, *scores.shape[1:]).swapaxes(1, 2)
        scores = scores.reshape(*scores.shape[:2], -1)
        along = jnp.einsum("cdk,ck->cd", scores, direction)
        return jnp.einsum("cdk,cd->ck", scores, along) / n_draws

    terms = example_sum(params, (data, numbers), chunk_size, weights, block)
    return pulled_back(lambda params, batch: outputs(params, batch[0]), metric, terms, linearize)


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
        return _log_probabilities(density, f[None, :])[0]

    drawn = jax.random.categorical(key, log_probabilities(f), shape=(n_draws,))
    return jnp.take(jax.jacrev(log_probabilities)(f), drawn, axis=0)


def _log_probabilities(density: Callable[[jax.Array], jax.Array], f: jax.Array) -> jax.Array:
    """Return what a given density says of outputs (c, k), shape (c, m)."""
    found = density(f)
    shape = getattr(found, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != f.shape[0]:
        raise UserError(
            f"density returns shape {shape} for outputs of shape {f.shape}; "
            "return the log-probabilities of each example's m values, shape (examples, m)"
        )
    return found


def _each(f: jax.Array, predictions: int) -> jax.Array:
    """Return the outputs of each prediction, (c·t, k), of those of examples, (c, t·k)."""
    if f.shape[1] % predictions:
        raise UserError(
            f"predictions is {predictions}, but an example has {f.shape[1]} outputs; "
            "choose the predictions of an example, which divide its outputs"
        )
    return f.reshape(f.shape[0] * predictions, -1)


def _check_predictions(predictions: int, data: Batch) -> None:
    require_whole("predictions", predictions)
    if predictions < 1:
        raise UserError(f"predictions is {predictions}; choose predictions >= 1")
    targets: Any = data[1] if isinstance(data, tuple) and len(data) == 2 else None
    if getattr(targets, "ndim", 0) == 2 and jnp.issubdtype(targets.dtype, jnp.integer):
        asked = targets.shape[1]
        if asked != predictions:
            raise UserError(
                f"predictions is {predictions}, but the data have {asked} classes an example; "
                f"give predictions={asked}"
            )


def _check_density(density: Density) -> None:
    if callable(density):
        require_function("density", density, ("outputs",), "log-probabilities (examples, m)")
    if not callable(density) and not (isinstance(density, str) and density in get_args(Family)):
        raise unknown("density", density, get_args(Family))
