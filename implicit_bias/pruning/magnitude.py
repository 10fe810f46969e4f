"""Magnitude: large weights are kept."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.pruning import masks
from implicit_bias.pruning.masks import Mask, Params
from implicit_bias.pruning.problem import Pruner, PruningProblem


def scores(
    problem: PruningProblem | None, params: Params, mask: Mask, key: jax.Array | None
) -> Any:
    """Return |w|.

    Of trained weights this makes lottery tickets, of initial ones it is the control without training.

    Args:
        problem: Not used.
        params: Parameters.
        mask: What is kept now.
        key: Not used.

    References:
        Han, Pool, Tran and Dally, *Learning both weights and connections for efficient neural networks*
        (2015), section 3 (weights below a threshold go); Frankle and Carbin, *The lottery ticket hypothesis*
        (2019), section 2 (the smallest p % of each layer go).
    """
    return masks.map_weights(lambda layer, leaf: jnp.abs(leaf), params)


MAGNITUDE = Pruner("magnitude", scores)
"""Keeps large weights."""
