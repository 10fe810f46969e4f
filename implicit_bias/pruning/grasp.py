"""GraSP: weights are kept whose removal would weaken the gradient flow."""

from __future__ import annotations

from typing import Any

import jax

from implicit_bias.pruning import masks
from implicit_bias.pruning.masks import Mask, Params
from implicit_bias.pruning.problem import Pruner, PruningProblem, require_problem, weight_loss


def scores(
    problem: PruningProblem | None, params: Params, mask: Mask, key: jax.Array | None
) -> Any:
    """Return w · (Hg), with g and H the gradient and Hessian of the mean loss in the weights.

    Moving the weights by δ changes |g|² by 2 δᵀHg to first order. Removing a weight is δ = −w, so the
    source's S(−w) = −w · (Hg) is how much |g|² grows by it: the weights with the largest S go. A score here
    is −S, of which the largest stay. Its sign matters, and no magnitude is taken.

    Args:
        problem: Network, loss and examples.
        params: Parameters, initial ones in the source.
        mask: What is kept now.
        key: Not used.

    Raises:
        UserError: There is no problem.

    References:
        Wang, Zhang and Grosse, *Picking winning tickets before training by preserving gradient flow* (2020),
        section 4.1: S(−θ) = −θ ⊙ Hg, and Algorithm 1 (weights below the percentile stay).
    """
    loss, weights = weight_loss(require_problem("grasp", problem), params, mask)
    with jax.default_matmul_precision("highest"):
        gradient_of = jax.grad(loss)
        _, product = jax.jvp(gradient_of, (weights,), (gradient_of(weights),))
    found = {layer: leaf * product[layer] for layer, leaf in weights.items()}
    return masks.with_weights(params, found)


GRASP = Pruner("grasp", scores, needs_problem=True)
"""Keeps weights that carry the gradient flow."""
