"""SNIP: weights are kept whose removal would change the loss."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.pruning import masks
from implicit_bias.pruning.masks import Mask, Params
from implicit_bias.pruning.problem import Pruner, PruningProblem, require_problem, weight_loss


def scores(
    problem: PruningProblem | None, params: Params, mask: Mask, key: jax.Array | None
) -> Any:
    """Return |g · w|, with g the gradient of the mean loss: the derivative along the weight's mask.

    The source divides by the sum over all weights, which changes no order.

    Args:
        problem: Network, loss and examples.
        params: Parameters, initial ones in the source.
        mask: What is kept now.
        key: Not used.

    Raises:
        UserError: There is no problem.

    References:
        Lee, Ajanthan and Torr, *SNIP: single-shot network pruning based on connection sensitivity* (2019),
        section 4.1: g_j = ∂L(c ⊙ w)/∂c_j at c = 1, s_j = |g_j| / Σ_k |g_k|.
    """
    loss, weights = weight_loss(require_problem("snip", problem), params, mask)
    with jax.default_matmul_precision("highest"):
        gradient = jax.grad(loss)(weights)
    found = {layer: jnp.abs(gradient[layer] * leaf) for layer, leaf in weights.items()}
    return masks.with_weights(params, found)


SNIP = Pruner("snip", scores, needs_problem=True)
"""Keeps weights to which the loss is sensitive."""
