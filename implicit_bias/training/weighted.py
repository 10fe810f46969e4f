"""The loss of a network as operators and measures over a dataset take it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.models.base import evaluate
from implicit_bias.training.lane import Params

Batch = tuple[jax.Array, jax.Array]


def weighted_loss(
    model: Model, loss: Loss, model_state: Any
) -> Callable[[Params, Batch, jax.Array], jax.Array]:
    """Return the weighted sum of per-example losses, in evaluation mode.

    Args:
        model: Network.
        loss: Loss.
        model_state: Its normalisation statistics, held fixed.

    Returns:
        A function of parameters, a batch ``(x, y)`` of n examples, and their weights, shape (n,).
    """

    def weighted(params: Params, batch: Batch, weights: jax.Array) -> jax.Array:
        x, y = batch
        outputs = evaluate(model, params, model_state, x)
        return jnp.sum(weights * loss.per_example(outputs, y))

    return weighted
