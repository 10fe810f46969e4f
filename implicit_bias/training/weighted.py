"""The loss of a network, and its outputs, as operators and measures over a dataset take them.

With batch normalisation there are two: what the network computes in evaluation, with its running
statistics held fixed (``"running"``), and what training minimises, normalised by the statistics of the
batch it is given (``"batch"``). They have different gradients and Hessians, and where the outputs are
invariant to the scale of weights, only the second is so exactly. Without batch normalisation they are
one and the same.

Under ``"batch"`` an example's loss depends on all examples beside it, so that the loss of a dataset is
no sum over examples: an operator then is that of the loss of the whole dataset only with
``chunk_size=None``, and with chunks it is the average over losses that are normalised chunk by chunk. What
takes examples one at a time (the empirical Fisher matrix, the gradients' covariance, an empirical kernel)
needs ``"running"``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError, unknown
from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.models.base import evaluate, uses_batch_statistics
from implicit_bias.models.flax_module import LinenModel, NnxModel
from implicit_bias.training.lane import Params

Batch = tuple[jax.Array, jax.Array]

Statistics = Literal["running", "batch"]
"""By which mean and variance batch normalisation normalises; see the module's text."""


def weighted_loss(
    model: Model, loss: Loss, model_state: Any, statistics: Statistics = "running"
) -> Callable[[Params, Batch, jax.Array], jax.Array]:
    """Return the weighted sum of per-example losses.

    Args:
        model: Network.
        loss: Loss.
        model_state: Its normalisation statistics, held fixed.
        statistics: Whether batch normalisation takes these, or those of the batch that the loss is
            given, weighted as its examples are; see the module's text.

    Returns:
        A function of parameters, a batch ``(x, y)`` of n examples, and their weights, shape (n,).

    Raises:
        UserError: If ``statistics`` is neither, or ``"batch"`` of a Flax network.
    """
    _require_known(statistics)

    def weighted(params: Params, batch: Batch, weights: jax.Array) -> jax.Array:
        x, y = batch
        outputs = _outputs(model, params, model_state, x, weights, statistics)
        return jnp.sum(weights * loss.per_example(outputs, y))

    return weighted


def batch_outputs(
    model: Model, model_state: Any, statistics: Statistics = "running"
) -> Callable[[Params, Batch], jax.Array]:
    """Return a network's outputs as a function of parameters and a batch, for Gauss–Newton and Fisher.

    Args:
        model: Network.
        model_state: Its normalisation statistics, held fixed.
        statistics: As in ``weighted_loss``; examples of the batch count alike.

    Returns:
        A function of parameters and a batch ``(x, y)`` of n examples, to outputs of shape (n, k).

    Raises:
        UserError: If ``statistics`` is neither, or ``"batch"`` of a Flax network.
    """
    _require_known(statistics)

    def outputs(params: Params, batch: Batch) -> jax.Array:
        return _outputs(model, params, model_state, batch[0], None, statistics)

    return outputs


def _outputs(
    model: Model,
    params: Params,
    model_state: Any,
    x: jax.Array,
    weights: jax.Array | None,
    statistics: Statistics,
) -> jax.Array:
    if statistics == "batch" and isinstance(model, LinenModel | NnxModel):
        raise UserError(
            f"statistics are 'batch', but {model.name} is a Flax network, which cannot be told which "
            "examples count; choose 'running', or a Network with BatchNorm"
        )
    if statistics == "batch" and uses_batch_statistics(model):
        counted: dict[str, Any] = {"example_weights": weights}
        found: jax.Array = model.apply(params, model_state, x, train=True, **counted)[0]
        return found
    return evaluate(model, params, model_state, x)


def _require_known(statistics: str) -> None:
    if statistics not in get_args(Statistics):
        raise unknown("statistics", statistics, get_args(Statistics))
