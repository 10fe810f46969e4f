"""How much blocks change features while a network trains, and how fast gradients turn along its path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias import curvature
from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.studies.residual.measure import changes
from implicit_bias.studies.residual.network import Stack
from implicit_bias.training import Pool
from implicit_bias.training.lane import Params
from implicit_bias.training.probe import ProbedLane, Variable
from implicit_bias.training.weighted import weighted_loss


@dataclass(frozen=True)
class Path:
    """Mean over blocks of how much a block changes features, and how fast gradients turn.

    Attributes:
        probe_set: Test examples at which features are taken.
        examples: Training examples of gradients, the first that the lane drew.
    """

    probe_set: int = 64
    examples: int = 250

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "change": Variable((), "1", "‖h_{l+1} − h_l‖/‖h_l‖ on test examples, mean over blocks"),
            "gradient_lipschitz": Variable(
                (), "nats per squared parameter", "‖∇L(θ+δ) − ∇L(θ)‖/‖δ‖, δ down the gradient"
            ),
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
        rows = slice(self.examples)
        data = (pool.x_train[lane.examples.train[rows]], lane.examples.targets[rows])
        weighted = weighted_loss(model, loss, lane.model_state)
        found = curvature.gradient_lipschitz(weighted, lane.params, data)
        change = jnp.full((), jnp.nan, found.dtype)
        if isinstance(model, Stack):
            hidden = model.hidden(lane.params, lane.model_state, pool.x_test[: self.probe_set])
            change = jnp.mean(changes(hidden))
        return {"change": change, "gradient_lipschitz": found}, carried
