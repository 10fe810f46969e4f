"""SynFlow: weights are kept on strong paths from input to output; it looks at no data."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.models import Dense, Model
from implicit_bias.models.layers import Activation, Chain, Norm, Residual
from implicit_bias.models.network import Network
from implicit_bias.pruning import masks
from implicit_bias.pruning.masks import Mask, Params
from implicit_bias.pruning.problem import Pruner, PruningProblem, require_problem


def scores(
    problem: PruningProblem | None, params: Params, mask: Mask, key: jax.Array | None
) -> Any:
    """Return |w| · ∂R/∂|w|, with R what a linear network of weights |w| makes of an input of ones.

    R is the sum of outputs. The scores of each layer add up to R, so the largest layer is not emptied first;
    pruned in many rounds none is, as long as each can keep a weight. The network is linear: activations of
    ``Dense`` and ``Network`` are the identity, biases zero, and normalisation left out. Any other model keeps
    its activations, which makes no difference where they are ReLUs.

    Args:
        problem: The network and the shape and dtype of an input; loss and targets are not used.
        params: Parameters, initial ones in the source.
        mask: What is kept now.
        key: Not used.

    Raises:
        UserError: There is no problem.

    References:
        Tanaka, Kunin, Yamins and Ganguli, *Pruning neural networks without any data by iteratively conserving
        synaptic flow* (2020), section 6: R = 1ᵀ(∏_l |θ^[l]|)1 and S = ∂R/∂θ ⊙ θ; Algorithm 1 (100 rounds).
    """
    problem = require_problem("synflow", problem)
    model = linear(problem.model)
    ones = jnp.ones((1, *problem.x.shape[1:]), problem.x.dtype)
    still = jax.tree_util.tree_map_with_path(_without_bias, params)
    weights = {
        layer: jnp.abs(leaf) for layer, leaf in masks.weights(masks.apply(mask, params)).items()
    }

    def flow(weights: dict[str, Any]) -> jax.Array:
        given = masks.with_weights(still, weights)
        return jnp.sum(model.apply(given, problem.model_state, ones, train=False)[0])

    with jax.default_matmul_precision("highest"):
        gradient = jax.grad(flow)(weights)
    found = {layer: gradient[layer] * leaf for layer, leaf in weights.items()}
    return masks.with_weights(params, found)


def linear(model: Model) -> Model:
    """Return a model without activations and normalisation, where they can be taken out."""
    if isinstance(model, Dense):
        return dataclasses.replace(model, activation="identity")
    if isinstance(model, Network):
        return dataclasses.replace(model, layers=_linear_chain(model.layers))
    return model


def _linear_chain(chain: Chain) -> Chain:
    return tuple(
        dataclasses.replace(
            layer, branch=_linear_chain(layer.branch), shortcut=_linear_chain(layer.shortcut)
        )
        if isinstance(layer, Residual)
        else layer
        for layer in chain
        if not isinstance(layer, Activation | Norm)
    )


def _without_bias(path: Any, leaf: jax.Array) -> jax.Array:
    """Return zero for a bias, and the magnitude of everything else."""
    return jnp.zeros_like(leaf) if getattr(path[-1], "key", None) == "bias" else jnp.abs(leaf)


SYNFLOW = Pruner("synflow", scores, needs_problem=True, rounds=100)
"""Keeps weights on strong paths."""
