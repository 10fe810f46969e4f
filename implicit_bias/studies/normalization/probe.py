"""Norms of weights while a network trains, and how fast gradients turn along its path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias import curvature, geometry
from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.studies.normalization.measure import STATISTICS, told_apart
from implicit_bias.training import Pool
from implicit_bias.training.lane import Params
from implicit_bias.training.probe import ProbedLane, Variable
from implicit_bias.training.weighted import weighted_loss


@dataclass(frozen=True)
class Path:
    """‖W‖ of each hidden layer, and the largest ‖∇L(θ+δ) − ∇L(θ)‖/‖δ‖ down the gradient.

    Attributes:
        hidden: Hidden layers.
        examples: Training examples of gradients, the first that the lane drew.
    """

    hidden: int
    examples: int = 250

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "layer_norm": Variable(("hidden_layer",), "parameter", "‖W‖ of a hidden layer"),
            **{
                f"lipschitz_{which}": Variable(
                    (), "nats per squared parameter",
                    f"‖∇L(θ+δ) − ∇L(θ)‖/‖δ‖, δ down the gradient, statistics {which}",
                )
                for which in STATISTICS
            },
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Hidden layers."""
        return {"hidden_layer": tuple(range(1, self.hidden + 1))}

    def start(self, params: Params) -> Any:
        """Carry nothing."""
        return ()

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: ProbedLane, carried: Any
    ) -> tuple[dict[str, jax.Array], Any]:
        """Measure one lane."""
        rows = slice(self.examples)
        data = (pool.x_train[lane.examples.train[rows]], lane.examples.targets[rows])
        norms = [
            geometry.parameter_norm(lane.params[f"layer_{layer}"]["weight"])
            for layer in range(self.hidden)
        ]
        values = {
            f"lipschitz_{which}": curvature.gradient_lipschitz(
                weighted_loss(model, loss, lane.model_state, which), lane.params, data
            )
            for which in told_apart(model)
        }
        values.setdefault("lipschitz_running", values["lipschitz_batch"])
        return {"layer_norm": jnp.stack(norms), **values}, carried
