"""The start of a residual network at its full size: how many parameters, and how long they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from implicit_bias import geometry, models
from implicit_bias.keys import role_key
from implicit_bias.models import parameter_count
from implicit_bias.studies.step_size.probe import weight_norm
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment
from implicit_bias.training.measurement import FinishedLane, Variable

SIDE, COLOURS, CLASSES = 32, 3, 10
"""An image of CIFAR-10."""


@dataclass(frozen=True)
class FullStart(Experiment):
    """ResNet-18 with 64 channels for images of CIFAR-10, as it is drawn; nothing is trained.

    Attributes:
        depth: Layers.
        width: Channels of its first group.
    """

    depth: int = 18
    width: int = 64

    @property
    def compiled(self) -> bool:
        """It is."""
        return True

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "start_parameters": Variable((), "parameters", "parameters of the network"),
            "start_norm": Variable((), "parameter", "‖θ₀‖ of all parameters"),
            "start_weight_norm": Variable((), "parameter", "‖W₀‖ of its weights"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """None."""
        return {}

    def __call__(
        self, pool: Pool, seed: Any, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Draw one seed's network; neither the pool's images nor the lanes are looked at."""
        del lanes
        dtype = pool.x_train.dtype
        model = models.resnet(self.depth, self.width, CLASSES)
        example = jnp.zeros((SIDE, SIDE, COLOURS), dtype)
        params, _ = model.init(role_key(seed, "initialisation"), example)
        return {
            "start_parameters": jnp.asarray(parameter_count(params), dtype),
            "start_norm": geometry.parameter_norm(params),
            "start_weight_norm": weight_norm(params),
        }
