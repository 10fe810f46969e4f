"""Stability to the noise of SGD: are two runs that differ in the order of examples linearly connected?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias import geometry
from implicit_bias.losses import error
from implicit_bias.models import Model
from implicit_bias.models.base import evaluate
from implicit_bias.training import Lane, Pool
from implicit_bias.training.experiment import Experiment
from implicit_bias.training.lane import Params
from implicit_bias.training.measurement import FinishedLane, Variable

SPLITS = ("train", "test")
"""Along dimension ``split``: some of the lane's training examples, and the whole test set."""

TWIN = "-twin"
"""What the name of an arm ends in whose lanes differ from the arm's in the order of examples alone."""


@dataclass(frozen=True)
class Stability(Experiment):
    """Error on the straight line between two runs of one network that differ in the order of examples.

    Attributes:
        model: The network.
        arms: Networks that were trained twice.
        level: Fraction of weights that remains of pruned ones.
        points: Places on the line, both ends included.
        examples: Training examples evaluated.

    References:
        Frankle, Dziugaite, Roy & Carbin, *Linear mode connectivity and the lottery ticket hypothesis* (2020).
    """

    model: Model
    arms: tuple[str, ...]
    level: float
    points: int
    examples: int
    compiled: ClassVar[bool] = True

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        each = ("twice", "split")
        return {
            "instability": Variable(
                each, "fraction", "highest error on the line less the mean error of its ends"
            ),
            "line_error": Variable((*each, "fraction"), "fraction", "error on the line"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Arms, sets of examples, and places on the line."""
        return {
            "twice": self.arms,
            "split": SPLITS,
            "fraction": tuple(float(t) for t in np.linspace(0, 1, self.points)),
        }

    def partners(self, lanes: Sequence[Lane]) -> Mapping[str, Lane]:
        """Choose both runs of every arm."""
        found = {
            (lane.tags["arm"], 1.0 if lane.tags["arm"] in ("dense", f"dense{TWIN}") else lane.tags["level"]):
            lane for lane in lanes
        }  # fmt: skip
        names = [name for arm in self.arms for name in (arm, f"{arm}{TWIN}")]
        return {
            name: found[name, 1.0 if name.startswith("dense") else self.level] for name in names
        }

    def __call__(
        self, pool: Pool, seed: jax.Array, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, jax.Array]:
        """Measure one seed."""
        del seed
        one = lanes[self.arms[0]]
        rows = one.examples.train[: self.examples]
        sets = {
            "train": (pool.x_train[rows], one.examples.targets[: self.examples]),
            "test": (pool.x_test, pool.y_test),
        }

        def errors(params: Params) -> dict[str, jax.Array]:
            return {
                split: jnp.mean(error(evaluate(self.model, params, one.model_state, x), y).astype(x.dtype))
                for split, (x, y) in sets.items()
            }  # fmt: skip

        def between(ends: tuple[Params, Params]) -> dict[str, jax.Array]:
            curve = geometry.interpolation_curve(errors, *ends, n_points=self.points)
            rise = geometry.instability(curve)
            return {
                "instability": jnp.stack([rise[split] for split in SPLITS]),
                "line_error": jnp.stack([curve.values[split] for split in SPLITS]),
            }

        starts, ends = (
            jax.tree.map(
                lambda *leaves: jnp.stack(leaves),
                *(lanes[f"{arm}{suffix}"].params for arm in self.arms),
            )
            for suffix in ("", TWIN)
        )
        # One pair after the other in one program.
        return jax.lax.map(between, (starts, ends))
