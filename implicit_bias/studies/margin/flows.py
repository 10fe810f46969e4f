"""Gradient flow far beyond any number of steps: on drawn, on chosen, and on degenerate separable data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.margin.designs import (
    DECADE,
    decades,
    generator,
    planted,
    separable_blobs,
)
from implicit_bias.training.experiment import Variable

FLOW_LOSSES = ("logistic", "exponential")

STARTS: dict[str, str] = {
    "zero": "w = 0",
    "near": "length 0.01, at random",
    "far": "as long as is set, at random",
    "opposed": "as long, against the hard-margin solution: all examples begin on the wrong side",
}
"""Where paths start."""


def starting_points(
    rng: np.random.Generator, weights: np.ndarray, far: float
) -> dict[str, np.ndarray]:
    """Return the starts by name."""
    near, away = (v / np.linalg.norm(v) for v in rng.standard_normal((2, weights.size)))
    return {
        "zero": np.zeros(weights.size),
        "near": 0.01 * near,
        "far": far * away,
        "opposed": -far * weights / np.linalg.norm(weights),
    }


def log_times(horizon: float) -> np.ndarray:
    """Return natural logarithms of the times at which paths are looked at."""
    return DECADE * np.asarray(decades(horizon))


def span(rows: np.ndarray) -> np.ndarray:
    """Return the projection onto the span of rows, (d, d)."""
    projection: np.ndarray = np.linalg.pinv(rows) @ rows
    return projection


@dataclass(frozen=True)
class Flow(Drawn):
    """Paths on two classes in the plane, with a bias, from several starts, under two losses.

    Attributes:
        examples: Of each class.
        distance: Of the classes' means from the origin.
        horizon: Decimal logarithm of the last time.
        far: Length of the far starts.
    """

    examples: int
    distance: float
    horizon: float
    far: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        along = ("flow_loss", "start", "decade")
        return {
            "flow_angle": Variable(along, "degrees", "angle to the hard-margin solution"),
            "flow_gap": Variable(along, "1", "1 − smallest distance over the hard margin"),
            "flow_norm": Variable(along, "1", "length of the weights"),
            "flow_log_loss": Variable(along, "1", "natural logarithm of the sum of losses"),
            "flow_apart": Variable(along, "degrees", "angle to the path from zero"),
            "flow_weights": Variable((*along, "weight"), "1", "weights and bias"),
            "flow_solution": Variable(("weight",), "1", "hard-margin solution"),
            "flow_inputs": Variable(("point", "axis"), "1", "training points"),
            "flow_labels": Variable(("point",), "1", "their labels"),
            "flow_margin": Variable((), "1", "hard margin γ"),
            "flow_support": Variable((), "1", "support vectors"),
            "flow_next": Variable((), "1", "least margin of the others, over γ"),
            "flow_gap_rate": Variable((), "1", "limit of gap · log t by theory"),
            "flow_tries": Variable((), "1", "data sets drawn until one was separable"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Losses, starts, times; the drawn points."""
        return {
            "flow_loss": FLOW_LOSSES,
            "start": tuple(STARTS),
            "decade": decades(self.horizon),
            "weight": ("first", "second", "bias"),
            "point": tuple(range(2 * self.examples)),
            "axis": ("first", "second"),
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Follow all paths of one seed."""
        rng = generator(seed)
        drawn = separable_blobs(rng, self.examples, self.distance)
        return self._followed(rng, drawn.signed) | {
            "flow_inputs": drawn.inputs,
            "flow_labels": drawn.labels,
            "flow_tries": np.asarray(float(drawn.tries)),
        }

    def _followed(self, rng: np.random.Generator, z: np.ndarray) -> dict[str, Any]:
        solution = theory.hard_margin(z)
        starts = starting_points(rng, solution.weights, self.far)
        times = log_times(self.horizon)
        paths = np.asarray(
            [
                [theory.flow_path(z, times, loss, start) for start in starts.values()]
                for loss in FLOW_LOSSES
            ]
        )
        losses = [theory.log_loss(z, paths[row], loss) for row, loss in enumerate(FLOW_LOSSES)]
        others = (z @ solution.weights)[~solution.support]
        return {
            "flow_angle": np.degrees(theory.angles_to(paths, solution.weights)),
            "flow_gap": 1 - theory.margins_in(z, paths) / solution.margin,
            "flow_norm": np.linalg.norm(paths, axis=-1),
            "flow_log_loss": np.asarray(losses),
            "flow_apart": np.degrees(angle_between(paths, paths[:, :1])),
            "flow_weights": paths,
            "flow_solution": solution.weights,
            "flow_margin": np.asarray(solution.margin),
            "flow_support": np.asarray(float(solution.support.sum())),
            "flow_next": np.asarray(others.min() if others.size else np.nan),
            "flow_gap_rate": np.asarray(theory.limit_rates(z, solution).gap),
        }


def angle_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return angles between vectors along the last axis, in radians, exact for small ones."""
    a, b = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in np.broadcast_arrays(a, b))
    return 2 * np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))


@dataclass(frozen=True)
class ChosenSolution(Drawn):
    """Paths on data whose hard-margin solution was chosen, against the law with its constants.

    Attributes:
        inputs: Features, and support vectors.
        others: Further examples.
        slack: Their least margin over the smallest.
        horizon: Decimal logarithm of the last time.
    """

    inputs: int
    others: int
    slack: float
    horizon: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        along = ("flow_loss", "decade")
        return {
            "law_left": Variable(along, "1", "‖w − ŵ log t − w̃‖ / ‖w̃‖"),
            "law_angle": Variable(along, "rad", "angle to ŵ times log t"),
            "law_gap": Variable(along, "1", "(1 − margin/γ) times log t"),
            "law_angle_rate": Variable((), "rad", "its limit by theory"),
            "law_gap_rate": Variable((), "1", "its limit by theory"),
            "law_solver": Variable((), "1", "error of the hard-margin solver, relative"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Losses and times."""
        return {"flow_loss": FLOW_LOSSES, "decade": decades(self.horizon)}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Follow one seed's paths from zero."""
        chosen = planted(generator(seed, 1), self.inputs, self.others, self.slack)
        z, w, alpha = chosen.signed, chosen.weights, chosen.multipliers
        # Solved for here and not taken from the library: the constants stand beside it.
        offset = np.linalg.solve(z[: self.inputs], -np.log(alpha))
        size = float(np.linalg.norm(w))
        times = log_times(self.horizon)
        paths = np.asarray([theory.flow_path(z, times, loss) for loss in FLOW_LOSSES])
        left = paths - times[None, :, None] * w[None, None, :] - offset[None, None, :]
        across = offset - (offset @ w) * w / size**2
        mean = float(alpha @ np.log(alpha)) / size**2
        found = theory.hard_margin(z)
        return {
            "law_left": np.linalg.norm(left, axis=-1) / np.linalg.norm(offset),
            "law_angle": theory.angles_to(paths, w) * times[None, :],
            "law_gap": (1 - theory.margins_in(z, paths) * size) * times[None, :],
            "law_angle_rate": np.asarray(np.linalg.norm(across) / size),
            "law_gap_rate": np.asarray(np.log(alpha.max()) - mean),
            "law_solver": np.asarray(np.linalg.norm(found.weights - w) / size),
        }


@dataclass(frozen=True)
class Degenerate(Drawn):
    """Paths where a support vector does not push: z₁ = e₁ and z₂ = e₁ + c·e₂, turned at random.

    Then ŵ = e₁ with α = (1, 0), and the part of w along e₂ grows like log log t, divided by c.

    Attributes:
        horizon: Decimal logarithm of the last time.
    """

    horizon: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        along = ("flow_loss", "decade")
        return {
            "degenerate_across": Variable(along, "1", "c times the part of w along e₂"),
            "degenerate_angle": Variable(along, "degrees", "angle to the hard-margin solution"),
            "degenerate_multiplier": Variable((), "1", "smallest multiplier over the largest"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Losses and times."""
        return {"flow_loss": FLOW_LOSSES, "decade": decades(self.horizon)}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Follow one seed's paths from zero."""
        rng = generator(seed, 2)
        turned = np.linalg.qr(rng.standard_normal((2, 2)))[0]
        c = rng.uniform(1.0, 2.0)
        z = np.asarray([[1.0, 0.0], [1.0, c]]) @ turned
        solution = theory.hard_margin(z)
        times = log_times(self.horizon)
        paths = np.asarray([theory.flow_path(z, times, loss) for loss in FLOW_LOSSES])
        alpha = solution.multipliers[solution.support]
        return {
            "degenerate_across": c * paths @ turned[1],
            "degenerate_angle": np.degrees(theory.angles_to(paths, turned[0])),
            "degenerate_multiplier": np.asarray(alpha.min() / alpha.max()),
        }
