"""Norms of the parameters while a network trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias import geometry
from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.training import Pool
from implicit_bias.training.lane import Params
from implicit_bias.training.probe import ProbedLane, Variable


def weight_norm(params: Params) -> jax.Array:
    """Return ‖W‖, the root of the sum of squares of all arrays of two or more axes: biases are left out."""
    weights = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
    return jnp.sqrt(jnp.sum(jnp.stack([jnp.sum(jnp.square(leaf)) for leaf in weights])))


@dataclass(frozen=True)
class Norms:
    """‖W‖ of the weights and ‖θ‖ of all parameters."""

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "weight_norm": Variable((), "parameter", "‖W‖, root of the weights' sum of squares"),
            "parameter_norm": Variable((), "parameter", "‖θ‖ of all parameters"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """None."""
        return {}

    def start(self, params: Params) -> Any:
        """Carry nothing."""
        return ()

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: ProbedLane, carried: Any
    ) -> tuple[dict[str, jax.Array], Any]:
        """Measure one lane."""
        return {
            "weight_norm": weight_norm(lane.params),
            "parameter_norm": geometry.parameter_norm(lane.params),
        }, carried
