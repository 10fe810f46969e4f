"""Ridge regression in the chapter's example 5, and with the penalty that is best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import role_generator
from implicit_bias.studies.double_descent.linear.solve import (
    least_squares,
    transposed,
)
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

PENALTIES: tuple[float, ...] = (0.0, 0.001, 0.01, 0.1)
BEST = "optimal"
"""λ = nσ²/‖θ‖²."""

SIGMAS = (0.01, 0.1)
SIZES = (5, 10, 20, 30, 40, 45, 50, 55, 60, 70, 100, 200, 500)
EXAMPLES = 50


def penalty_names() -> tuple[str, ...]:
    """Return penalties as results name them."""
    return (*(f"{penalty:g}" for penalty in PENALTIES), BEST)


def penalty_of(name: str, size: int, sigma: float) -> float:
    """Return the penalty of a name, for labels of ‖θ‖ = 1."""
    return float(theory.optimal_penalty(size, sigma)) if name == BEST else float(name)


@dataclass(frozen=True)
class RidgeSweep(Drawn):
    """Minimum norm and ridge on the same training sets: dense signals of length 1, m = 50.

    The penalty stands beside the sum of squared errors.

    Attributes:
        draws: Training sets of a seed.
    """

    draws: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("ridge_sigma", "ridge_penalty", "ridge_features")
        return {
            "ridge_mean": Variable(dims, "label²", "mean test error over training sets"),
            "ridge_median": Variable(dims, "label²", "median test error over training sets"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Noise, penalties and sizes."""
        return {
            "ridge_sigma": SIGMAS,
            "ridge_penalty": penalty_names(),
            "ridge_features": SIZES,
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Draw and solve the training sets of one seed."""
        rng = role_generator(seed, "data", "ridge")
        names = penalty_names()
        errors = np.empty((self.draws, len(SIGMAS), len(names), len(SIZES)))
        x = rng.standard_normal((self.draws, EXAMPLES, SIZES[-1]))
        noise = rng.standard_normal((self.draws, EXAMPLES, 1)) * np.asarray(SIGMAS)
        for column, size in enumerate(SIZES):
            theta = rng.standard_normal(size)
            theta /= np.linalg.norm(theta)
            part = x[:, :, :size]
            labels = (part @ theta)[:, :, None] + noise
            gram = part @ transposed(part) if size >= EXAMPLES else None
            for place, name in enumerate(names):
                if name == BEST:
                    w = np.concatenate(
                        [
                            least_squares(
                                part, labels[:, :, [row]], penalty_of(name, size, sigma), gram
                            )
                            for row, sigma in enumerate(SIGMAS)
                        ],
                        axis=2,
                    )
                else:
                    w = least_squares(part, labels, float(name), gram)
                missed = np.sum((w - theta[:, None]) ** 2, axis=1)
                errors[:, :, place, column] = missed + np.asarray(SIGMAS) ** 2
        return {"ridge_mean": errors.mean(axis=0), "ridge_median": np.median(errors, axis=0)}
