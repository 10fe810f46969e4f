"""At the threshold itself, and the norm of what fits random labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.double_descent.linear.solve import (
    least_squares,
)
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

AT = 50
"""Examples, and as many features, of the threshold."""

NORMS = (0.1, 1.0, 10.0)
NOISES = (0.0, 0.01, 0.1, 1.0)

EXAMPLES, FEATURES = 50, 100
"""Of the fit to random labels."""

SHIFT = 0.5
"""Length by which the mean of test features is moved."""

UPDATES = 1500
"""Of descent from zero: what is left of the slowest direction is far below rounding."""

SOLUTIONS = ("minimum norm", "descent from a random start")


@dataclass(frozen=True)
class Threshold(Drawn):
    """As many features as examples: error against the length of the signal and the noise.

    Attributes:
        draws: Training sets of a seed, the same for every length and noise.
    """

    draws: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("threshold_norm", "threshold_sigma")
        return {
            "threshold_error": Variable(
                dims, "label", "median over training sets of the root of the excess test error"
            ),
            "threshold_high": Variable(
                dims, "label", "95 % quantile over training sets of the root of the excess test error"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Lengths and noises."""
        return {"threshold_norm": NORMS, "threshold_sigma": NOISES}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Draw and solve the training sets of one seed."""
        rng = role_generator(seed, "data", "threshold")
        x = rng.standard_normal((self.draws, AT, AT))
        theta = rng.standard_normal(AT)
        theta /= np.linalg.norm(theta)
        noise = rng.standard_normal((self.draws, AT))
        cells = [(norm, sigma) for norm in NORMS for sigma in NOISES]
        labels = np.stack([norm * (x @ theta) + sigma * noise for norm, sigma in cells], axis=2)
        truths = np.stack([norm * theta for norm, _ in cells], axis=1)
        errors = np.linalg.norm(least_squares(x, labels) - truths, axis=1)
        shape = len(NORMS), len(NOISES)
        return {
            "threshold_error": np.median(errors, axis=0).reshape(shape),
            "threshold_high": np.quantile(errors, 0.95, axis=0).reshape(shape),
        }


@dataclass(frozen=True)
class RandomLabels(Drawn):
    """Fifty standard normal labels fitted with a hundred features: norms and test errors.

    Attributes:
        draws: Training sets of a seed.
    """

    draws: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        each = ("fit",)
        return {
            "fit_norm": Variable(each, "1", "mean ‖w‖ over training sets"),
            "fit_square": Variable(each, "1", "mean ‖w‖² over training sets"),
            "fit_error": Variable(each, "label²", "mean test error over training sets"),
            "fit_shifted": Variable(
                each, "label²", f"mean test error with the features' mean moved by {SHIFT:g}"
            ),
            "fit_descent": Variable(
                (), "1", "largest relative distance of descent from zero to the minimum norm"
            ),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Solutions."""
        return {"fit": SOLUTIONS}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Draw and solve the training sets of one seed."""
        rng = role_generator(seed, "data", "random labels")
        x = rng.standard_normal((self.draws, EXAMPLES, FEATURES))
        y = rng.standard_normal((self.draws, EXAMPLES, 1))
        least = least_squares(x, y)[:, :, 0]
        start = rng.standard_normal((self.draws, FEATURES, 1))
        # Descent keeps what the data do not see of its start.
        other = (start + least_squares(x, y - x @ start))[:, :, 0]
        direction = rng.standard_normal((self.draws, FEATURES))
        direction *= SHIFT / np.linalg.norm(direction, axis=1, keepdims=True)
        found = [least, other]
        squares = np.stack([np.sum(w**2, axis=1) for w in found], axis=1)
        moved = np.stack([np.sum(w * direction, axis=1) ** 2 for w in found], axis=1)
        return {
            "fit_norm": np.sqrt(squares).mean(axis=0),
            "fit_square": squares.mean(axis=0),
            "fit_error": 1 + squares.mean(axis=0),
            "fit_shifted": 1 + (squares + moved).mean(axis=0),
            "fit_descent": _descent_error(x[:5], y[:5], least[:5]),
        }


def _descent_error(x: np.ndarray, y: np.ndarray, end: np.ndarray) -> float:
    """Iterate descent on ½‖Xw − y‖² from zero, and hold its end against the minimum norm."""
    step = 1 / np.linalg.norm(x, 2, axis=(1, 2))[:, None, None] ** 2
    w = np.zeros((*end.shape, 1))
    for _ in range(UPDATES):
        w -= step * (np.swapaxes(x, 1, 2) @ (x @ w - y))
    gap = np.linalg.norm(w[:, :, 0] - end, axis=1) / np.linalg.norm(end, axis=1)
    return float(gap.max())
