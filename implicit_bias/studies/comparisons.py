"""Comparisons that the rules of claims are made of; their numbers are one a seed, shape (seeds,)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from implicit_bias.results.statistics import (
    Comparison,
    Estimate,
    geometric_mean_ratio,
    mean_interval,
)


def above(values: np.ndarray, boundary: float = 0.0) -> Comparison:
    """Ask whether a mean over seeds exceeds a boundary, ≥ 0."""
    return Comparison(lambda level: mean_interval(values, level), boundary, 1)


def below(values: np.ndarray, boundary: float) -> Comparison:
    """Ask whether a mean over seeds stays below a boundary."""
    return Comparison(lambda level: mean_interval(values, level), 0.0, -1, boundary)


def larger(first: np.ndarray, second: np.ndarray | float, smallest: float) -> Comparison:
    """Ask whether the first is larger by a ratio of more than 1 + smallest, paired by seed; both positive."""
    return Comparison(lambda level: _ratio(first, second, level), smallest, 1, 1.0)


def less_than(first: np.ndarray, second: np.ndarray | float, factor: float) -> Comparison:
    """Ask whether the first is less than a factor times the second, paired by seed; both positive."""
    return Comparison(lambda level: _ratio(first, second, level), 0.0, -1, factor)


def agreement(values: np.ndarray, formula: float, within: float) -> Comparison:
    """Ask whether the mean of a quantity is what a formula says, up to a part of it.

    The effect is |mean/formula − 1|; its interval is the image of the mean's, made at half the error
    probability, as it has two sides that lead to one.
    """

    def estimate(level: float) -> Estimate:
        found = mean_interval(values / formula, 1 - (1 - level) / 2)
        sides = found.low - 1, found.high - 1
        low = 0.0 if sides[0] <= 0 <= sides[1] else min(map(abs, sides))
        return replace(
            found, value=abs(found.value - 1), low=low, high=max(map(abs, sides)), level=level,
            method=f"image of {found.method} of the ratio",
        )  # fmt: skip

    return Comparison(estimate, 0.0, -1, within)


def ends(estimate: Estimate) -> list[float]:
    """Return value, low and high, for details."""
    return [estimate.value, estimate.low, estimate.high]


def _ratio(first: np.ndarray, second: np.ndarray | float, level: float) -> Estimate:
    return geometric_mean_ratio(first, np.broadcast_to(second, first.shape), level)
