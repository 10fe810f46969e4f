"""Steps that are taken one by one: plain, normalised, and steepest in three norms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.margin.designs import generator, planted, separable_blobs, sparse_teacher
from implicit_bias.theory.margin import NORMS
from implicit_bias.training.experiment import Variable

PACES: dict[str, str] = {
    "gradient descent": "η constant",
    "normalised, c/√k": "gradient over the loss, step sizes that fall",
    "normalised, c": "gradient over the loss, a constant step size",
}
"""How fast the same path is walked."""


def log_spaced(first: int, last: int, per_decade: int = 3) -> tuple[int, ...]:
    """Return whole numbers from the first to the last, even in their logarithm."""
    count = 1 + round(per_decade * np.log10(last / first))
    found = np.unique(np.geomspace(first, last, count).round().astype(int))
    return tuple(int(k) for k in found)


@dataclass(frozen=True)
class PlainSteps(Drawn):
    """Gradient descent on the logistic loss, every step taken, beside gradient flow at t = η·steps.

    Attributes:
        examples: Of each class of the same data that flow follows.
        distance: Of the classes' means from the origin.
        count: Steps.
        step: Step size in units of the stability limit 2/β.
    """

    examples: int
    distance: float
    count: int
    step: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        along = ("steps",)
        return {
            "steps_angle": Variable(along, "degrees", "angle of descent to the hard-margin solution"),
            "steps_gap": Variable(along, "1", "1 − smallest distance over the hard margin, of descent"),
            "steps_log_time": Variable(along, "1", "decimal logarithm of t = η·steps"),
            "steps_off": Variable(along, "1", "‖w of descent − w of flow‖ / ‖w of flow‖"),
            "steps_angle_off": Variable(along, "1", "angle of descent over that of flow, less 1"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Numbers of steps."""
        return {"steps": log_spaced(10, self.count, 2)}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Walk and follow one seed's path from zero."""
        z = separable_blobs(generator(seed), self.examples, self.distance).signed
        solution = theory.hard_margin(z)
        recorded = log_spaced(10, self.count, 2)
        size = self.step * theory.logistic_step_limit(z)
        walked = theory.plain_steps(z, size, recorded)
        times = np.log(size * np.asarray(recorded))
        followed = theory.flow_path(z, times)
        angles = [theory.angles_to(path, solution.weights) for path in (walked, followed)]
        off = np.linalg.norm(walked - followed, axis=1) / np.linalg.norm(followed, axis=1)
        return {
            "steps_angle": np.degrees(angles[0]),
            "steps_gap": 1 - theory.margins_in(z, walked) / solution.margin,
            "steps_log_time": times / np.log(10.0),
            "steps_off": off,
            "steps_angle_off": angles[0] / angles[1] - 1,
        }


@dataclass(frozen=True)
class Pace(Drawn):
    """The margin against steps, of gradient descent and of normalised gradient descent.

    Data are those whose solution is chosen: their path follows its law early.

    Attributes:
        inputs: Features, and support vectors.
        others: Further examples.
        slack: Their least margin over the smallest.
        count: Steps.
        step: Step size c.
    """

    inputs: int
    others: int
    slack: float
    count: int
    step: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        along = ("pace", "pace_steps")
        return {
            "pace_gap": Variable(along, "1", "1 − smallest distance over the hard margin"),
            "pace_depth": Variable(along, "1", "−log of the sum of exponential losses"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Kinds of steps, and their numbers."""
        return {"pace": tuple(PACES), "pace_steps": log_spaced(10, self.count)}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Walk one seed's paths from zero."""
        chosen = planted(generator(seed, 1), self.inputs, self.others, self.slack)
        z, size_of = chosen.signed, float(np.linalg.norm(chosen.weights))
        recorded = log_spaced(10, self.count)
        # Steps of this size stay with flow, as the experiment with plain steps measures.
        size = 0.1 * theory.logistic_step_limit(z)
        paths = np.asarray(
            [
                theory.flow_path(z, np.log(size * np.asarray(recorded)), "exponential"),
                theory.normalised_steps(z, self.step, recorded, decay=0.5),
                theory.normalised_steps(z, self.step, recorded),
            ]
        )
        return {
            "pace_gap": 1 - theory.margins_in(z, paths) * size_of,
            "pace_depth": -theory.log_loss(z, paths, "exponential"),
        }


@dataclass(frozen=True)
class Steepest(Drawn):
    """Steepest descent in ℓ1, ℓ2 and ℓ∞, and its margin in each of these norms.

    Attributes:
        examples: Training examples.
        inputs: Features.
        count: Steps.
        step: Length of the first.
    """

    examples: int
    inputs: int
    count: int
    step: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "steepest_ratio": Variable(
                ("descent", "norm", "steepest_steps"),
                "1",
                "smallest margin over weights' norm, in units of the largest in that norm",
            ),
            "steepest_margin": Variable(("norm",), "1", "largest margin in the norm"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Norms of descent, of margins, and steps."""
        return {
            "descent": tuple(NORMS),
            "norm": tuple(NORMS),
            "steepest_steps": log_spaced(30, self.count),
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Descend from zero on one seed's data."""
        recorded = log_spaced(30, self.count)
        z = sparse_teacher(generator(seed, 3), self.examples, self.inputs)
        largest = {norm: theory.norm_margin(z, norm)[0] for norm in NORMS}
        ratios = []
        for descent in NORMS:
            path = theory.steepest_steps(z, descent, self.step, recorded)
            ratios.append([theory.margins_in(z, path, norm) / largest[norm] for norm in NORMS])
        return {
            "steepest_ratio": np.asarray(ratios),
            "steepest_margin": np.asarray(list(largest.values())),
        }
