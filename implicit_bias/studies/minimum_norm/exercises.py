"""Setups that the sources state for descent: Experiment 1, and the validation of exercise B.1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.minimum_norm.designs import (
    Descending,
    distance,
    generator,
    linear_model,
    nearest,
)
from implicit_bias.training.experiment import Variable


@dataclass(frozen=True)
class Experiment1(Drawn):
    """Gradient descent from zero on 100 examples of 1000 features, trial after trial.

    Attributes:
        examples: n of the source.
        inputs: p of the source.
        draws: Trials of a seed.
        fraction: Step size over 2/λmax.
        updates: Updates.
        noise: Standard deviation of the labels' noise; the truth is standard normal.
    """

    examples: int
    inputs: int
    draws: int
    fraction: float
    updates: int
    noise: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "trial_error": Variable(("trial",), "1", "‖w − X⁺y‖/‖X⁺y‖ after the updates"),
            "trial_norm": Variable(("trial",), "1", "|‖w‖/‖X⁺y‖ − 1|"),
            "trial_condition": Variable(("trial",), "1", "condition number of XXᵀ"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Trials by number."""
        return {"trial": tuple(range(self.draws))}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Make the trials of one seed."""
        rng = generator(seed)
        rows = [self._trial(rng) for _ in range(self.draws)]
        names = ("trial_error", "trial_norm", "trial_condition")
        return dict(zip(names, np.asarray(rows).T, strict=True))

    def _trial(self, rng: np.random.Generator) -> tuple[float, float, float]:
        x, y, _ = linear_model(rng, self.examples, self.inputs, self.noise)
        gram = x @ x.T
        values = np.linalg.eigvalsh(gram)
        runs = Descending(x, y, np.zeros((1, self.inputs)), self.fraction * 2 / values[-1])
        runs.go(self.updates)
        goal = x.T @ np.linalg.solve(gram, y)
        found = runs.weights[0]
        longer = abs(np.linalg.norm(found) / np.linalg.norm(goal) - 1)
        return float(distance(found, goal)), float(longer), float(values[-1] / values[0])


@dataclass(frozen=True)
class Validation(Drawn):
    """Exercise B.1's validation: a sparse truth, and step sizes on both sides of the limit.

    Attributes:
        examples: m.
        inputs: n.
        fraction: Step size over 2/λmax; 0.75 as stated.
        beyond: The same, beyond the limit.
        updates: Updates.
        sparse: Features that matter.
    """

    examples: int
    inputs: int
    fraction: float
    beyond: float
    updates: int
    sparse: int

    @property
    def times(self) -> tuple[int, ...]:
        """Updates after which distances are taken."""
        grid = np.unique(np.geomspace(1, self.updates, 41).astype(int))
        return (0, *(int(time) for time in grid))

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "validation_error": Variable(("validation_update",), "1", "‖w − X⁺y‖/‖X⁺y‖"),
            "validation_outside": Variable((), "1", "largest ‖w − Xᵀ(XXᵀ)⁺Xw‖/‖X⁺y‖ on the way"),
            "validation_beyond": Variable(
                ("validation_update",), "1", "‖w − X⁺y‖/‖X⁺y‖ with the step size beyond the limit"
            ),
            "validation_norm": Variable((), "1", "norm of the end over the least over 1000 solutions"),
            "validation_proof": Variable((), "1", "step size over 2/λmax², the limit in the proof's text"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Updates."""
        return {"validation_update": self.times}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Validate on the data of one seed."""
        return self._measured(generator(seed))

    def _measured(self, rng: np.random.Generator) -> dict[str, Any]:
        m, n = self.examples, self.inputs
        truth = np.zeros(n)
        truth[: self.sparse] = rng.standard_normal(self.sparse)
        x, y, _ = linear_model(rng, m, n, 0.01, truth)
        design = theory.modes(x)
        limit = theory.step_limit(design)
        goal = nearest(x, y, np.zeros((1, n)))[0]
        size = np.linalg.norm(goal)
        step = self.fraction * limit
        runs = Descending(x, y, np.zeros((1, n)), step)
        errors, outside, done = [], 0.0, 0
        gram = x @ x.T
        for time in self.times:
            runs.go(time - done)
            done = time
            w = runs.weights[0]
            errors.append(distance(w, goal))
            gone = w - x.T @ np.linalg.solve(gram, x @ w)
            outside = max(outside, float(np.linalg.norm(gone) / size))
        others = goal + _null(rng, x, 1000)
        with np.errstate(over="ignore"):
            wild = theory.descent(design, y, self.times, self.beyond * limit)
            left = np.minimum(np.linalg.norm(wild - goal, axis=1) / size, 1e300)
        return {
            "validation_error": np.asarray(errors),
            "validation_outside": np.asarray(outside),
            "validation_beyond": left,
            "validation_norm": np.linalg.norm(w) / np.linalg.norm(others, axis=1).min(),
            "validation_proof": np.asarray(step * design.curvatures[0] ** 2 / 2),
        }


def _null(rng: np.random.Generator, x: np.ndarray, count: int) -> np.ndarray:
    """Draw vectors of the null space, (count, n)."""
    free = 0.1 * rng.standard_normal((count, x.shape[1]))
    return np.asarray(free - np.linalg.solve(x @ x.T, x @ free.T).T @ x)
