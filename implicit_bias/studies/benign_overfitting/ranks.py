"""Effective rank and test error: the exercise's three data sets, and its solution's sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

FACTORS: dict[str, str] = {
    "Gaussian": "entries of U and V standard normal, as the task says",
    "orthonormal": "columns of U and V orthonormal, as its hint says",
}
"""Readings of X = UVᵀ + noise."""

TESTS: dict[str, str] = {
    "as stated": "test inputs drawn anew without the training inputs' structure",
    "same structure": "test inputs drawn as the training inputs are",
}
"""Test sets of the sweep."""

ENERGY = 0.9
"""Share of the squared singular values that the effective rank holds."""

INPUT_NOISE = 0.1
"""Standard deviation of what is added to every input."""

RIDGE = 1e-4
"""λ of the exercise's ridge regression."""

SWEEP_WEIGHTS = 0.01
"""Standard deviation of the sweep's true weights."""


class Fit(NamedTuple):
    """What a training and a test set give.

    Attributes:
        rank: Effective rank of the training inputs.
        error: Mean squared test error.
        variance: Variance of the test targets.
        condition: First singular value over the last.
        singular: Singular values of the training inputs.
    """

    rank: float
    error: float
    variance: float
    condition: float
    singular: np.ndarray


@dataclass(frozen=True)
class EffectiveRanks(Drawn):
    """Ridge regression and minimum-norm interpolation on data of given nominal rank.

    Attributes:
        examples: Training examples m.
        inputs: Inputs n.
        ranks: Nominal ranks of the exercise, increasing.
        sweep: Nominal ranks of the solution's sweep, increasing.
        tests: Test examples of the exercise.
        sweep_tests: Test examples of the sweep.
        target_noise: Standard deviation of the exercise's noise on targets, which it does not give.
        draws: Data sets of a seed at each point; what is kept are their means.
    """

    examples: int
    inputs: int
    ranks: tuple[int, ...]
    sweep: tuple[int, ...]
    tests: int
    sweep_tests: int
    target_noise: float
    draws: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        exercise, sweep = ("factors", "nominal_rank"), ("sweep_test", "sweep_rank")
        return {
            "rank_effective": Variable(exercise, "1", "singular values that hold 90 % of the energy"),
            "rank_error": Variable(exercise, "1", "mean squared test error"),
            "rank_relative": Variable(exercise, "1", "the same over the variance of the test targets"),
            "rank_condition": Variable(exercise, "1", "first singular value over the last; geometric mean"),
            "rank_singular": Variable((*exercise, "position"), "1", "singular values over the first"),
            "sweep_effective": Variable(("sweep_rank",), "1", "singular values that hold 90 % of the energy"),
            "sweep_error": Variable(sweep, "1", "mean squared test error"),
            "sweep_relative": Variable(sweep, "1", "the same over the variance of the test targets"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Readings, test sets, ranks."""
        return {
            "factors": tuple(FACTORS),
            "nominal_rank": self.ranks,
            "position": tuple(range(1, self.examples + 1)),
            "sweep_test": tuple(TESTS),
            "sweep_rank": self.sweep,
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Fit all data sets of one seed."""
        rng = role_generator(seed, "data")
        fits = [
            [[self.exercise(rng, reading, rank) for _ in range(self.draws)] for rank in self.ranks]
            for reading in FACTORS
        ]
        swept = [[self.swept(rng, rank) for _ in range(self.draws)] for rank in self.sweep]

        def over(pick: Any) -> np.ndarray:
            return np.asarray(
                [[np.mean([pick(one) for one in cell], axis=0) for cell in row] for row in fits]
            )

        def along(pick: Any) -> np.ndarray:
            return np.asarray([np.mean([pick(one) for one in cell], axis=0) for cell in swept])

        return {
            "rank_effective": over(lambda fit: fit.rank),
            "rank_error": over(lambda fit: fit.error),
            "rank_relative": over(lambda fit: fit.error / fit.variance),
            "rank_condition": np.exp(over(lambda fit: np.log(fit.condition))),
            "rank_singular": over(lambda fit: fit.singular / fit.singular[0]),
            "sweep_effective": along(lambda pair: pair[0].rank),
            "sweep_error": along(lambda pair: [fit.error for fit in pair]).T,
            "sweep_relative": along(lambda pair: [fit.error / fit.variance for fit in pair]).T,
        }

    def exercise(self, rng: np.random.Generator, reading: str, rank: int) -> Fit:
        """Fit one data set of the exercise; true weights have about norm 1."""
        m, n = self.examples, self.inputs
        u, v = rng.standard_normal((m + self.tests, rank)), rng.standard_normal((n, rank))
        if reading == "orthonormal":
            # Fresh rows have the size of those of a matrix with orthonormal columns.
            u = np.concatenate([np.linalg.qr(u[:m])[0], u[m:] / np.sqrt(m)])
            v = np.linalg.qr(v)[0]
        x = u @ v.T + INPUT_NOISE * rng.standard_normal((m + self.tests, n))
        y = x @ rng.standard_normal(n) / np.sqrt(n)
        y = y + self.target_noise * rng.standard_normal(m + self.tests)
        return fit(x[:m], y[:m], x[m:], y[m:], RIDGE)

    def swept(self, rng: np.random.Generator, rank: int) -> tuple[Fit, ...]:
        """Fit one data set of the sweep; return it on each test set."""
        m, n, tests = self.examples, self.inputs, self.sweep_tests
        scaled = rng.standard_normal((m + tests, rank)) * np.linspace(10, 1, rank)
        x = scaled @ rng.standard_normal((rank, n))
        x = x + INPUT_NOISE * rng.standard_normal(x.shape)
        # Columns of norm 1; the test inputs of the same structure are divided by the same numbers.
        x = x / np.linalg.norm(x[:m], axis=0)
        other = rng.standard_normal((tests, n))
        other = other / np.linalg.norm(other, axis=0)
        weights = SWEEP_WEIGHTS * rng.standard_normal(n)
        y = x[:m] @ weights
        return tuple(fit(x[:m], y, asked, asked @ weights, 0.0) for asked in (other, x[m:]))


def fit(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, ridge: float) -> Fit:
    """Fit ridge regression, or with λ = 0 the minimum-norm interpolator.

    Args:
        x: Training inputs, (m, n).
        y: Targets, (m,).
        x_test: Test inputs.
        y_test: Test targets.
        ridge: λ of ``(XᵀX + λI)⁻¹Xᵀy``.
    """
    left, singular, right = np.linalg.svd(x, full_matrices=False)
    kept = singular > singular[0] * 1e-12
    filtered = np.where(kept, singular / np.where(kept, singular**2 + ridge, 1.0), 0.0)
    weights = right.T @ (filtered * (left.T @ y))
    return Fit(
        rank=float(effective_rank(singular)),
        error=float(np.mean((x_test @ weights - y_test) ** 2)),
        variance=float(np.var(y_test)),
        condition=float(singular[0] / singular[-1]),
        singular=singular,
    )


def effective_rank(singular: np.ndarray, energy: float = ENERGY) -> int:
    """Return how many of the largest singular values hold a share of the energy.

    Args:
        singular: Singular values, decreasing, (count,).
        energy: Share of the sum of squares, between 0 and 1.
    """
    share = np.cumsum(singular**2) / np.sum(singular**2)
    # Rounding must not make a share of exactly the energy fall short of it.
    return int(np.argmax(share >= energy - 1e-12)) + 1
