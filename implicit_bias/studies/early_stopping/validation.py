"""A stopping time chosen on validation data, against the times that are truly best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

TIMES = tuple(np.geomspace(0.05, 50, 60).tolist())
"""Times at which gradient flow on the mean of half squared errors is evaluated."""


@dataclass(frozen=True)
class ValidationChoice(Drawn):
    """Linear regression by gradient flow, stopped where a validation set says.

    Features are independent and Gaussian, so that the expected test loss of every point of the path is known:
    ‖w − θ‖² + σ².

    Attributes:
        examples: Training examples.
        features: Features.
        noise: Standard deviation of the noise; ‖θ‖ is 1.
        sizes: Validation examples.
        tests: Examples of a test set.
        draws: Validation sets of each size, and test sets.
    """

    examples: int
    features: int
    noise: float
    sizes: tuple[int, ...]
    tests: int
    draws: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        by_size, line = ("validation_size",), ("stop_time",)
        return {
            "stop_risk": Variable(line, "label²", "expected test loss along the path"),
            "stop_train": Variable(line, "label²", "training loss along the path"),
            "stop_example": Variable(
                ("validation_size", "stop_time"), "label²", "loss on the first validation set"
            ),
            "stop_missed": Variable(
                by_size, "fraction", "validation sets whose best time is not that of a test set"
            ),
            "stop_missed_truly": Variable(
                by_size, "fraction", "validation sets whose best time is not that of expected test loss"
            ),
            "stop_regret": Variable(
                by_size, "1", "expected test loss at the chosen time over the least, less 1"
            ),
            "stop_optimism": Variable(
                by_size, "1", "expected test loss at the chosen time above its validation loss, less their "
                "difference at the best time, over the least"
            ),
            "stop_never": Variable((), "1", "expected test loss at the end over the least, less 1"),
            "stop_infinite": Variable(
                (), "fraction", "test sets whose best time is not that of expected test loss"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Sizes and times."""
        return {"validation_size": self.sizes, "stop_time": TIMES}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Choose times on the validation sets of one seed."""
        rng = role_generator(seed, "data")
        m, p = self.examples, self.features
        x = rng.standard_normal((m, p))
        theta = rng.standard_normal(p)
        theta /= np.linalg.norm(theta)
        y = x @ theta + self.noise * rng.standard_normal(m)
        values, vectors = np.linalg.eigh(x.T @ x / m)
        values = np.where(values > values[-1] * 1e-12, values, 0.0)
        ends = np.where(
            values > 0, vectors.T @ (x.T @ y) / m / np.where(values > 0, values, 1.0), 0.0
        )
        path = vectors @ (theory.flow_shrinkage(values, TIMES) * ends).T
        error = path - theta[:, None]
        risk = np.sum(error**2, axis=0) + self.noise**2
        best = int(np.argmin(risk))
        extended = np.concatenate([error, np.full((1, len(TIMES)), -self.noise)])

        def losses(size: int) -> np.ndarray:
            """Return losses along the path on fresh sets, shape (draws, times)."""
            fresh = rng.standard_normal((self.draws, size, p + 1))
            gram = np.swapaxes(fresh, 1, 2) @ fresh / size
            # The last column is the noise: what a loss needs of a set is the Gram matrix alone.
            return np.sum(extended * (gram @ extended), axis=1)

        tests = np.argmin(losses(self.tests), axis=1)
        found: dict[str, list[Any]] = {
            name: [] for name in ("example", "missed", "missed_truly", "regret", "optimism")
        }
        for size in self.sizes:
            seen = losses(size)
            chosen = np.argmin(seen, axis=1)
            found["example"].append(seen[0])
            found["missed"].append(np.mean(chosen != tests))
            found["missed_truly"].append(np.mean(chosen != best))
            found["regret"].append(np.mean(risk[chosen]) / risk[best] - 1)
            # At a time fixed beforehand the two losses differ by 0 on average: taking that off leaves what
            # choosing does.
            lower = risk[chosen] - risk[best] + seen[:, best] - seen.min(axis=1)
            found["optimism"].append(np.mean(lower) / risk[best])
        return {
            "stop_risk": risk,
            "stop_train": np.mean((x @ path - y[:, None]) ** 2, axis=0),
            "stop_never": np.asarray(risk[-1] / risk[best] - 1),
            "stop_infinite": np.mean(tests != best),
            **{f"stop_{name}": np.asarray(values) for name, values in found.items()},
        }
