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

SHARE = (0.0, 1.0)
"""Bounds of shares: their mean's interval does not leave them."""


def above(values: np.ndarray, boundary: float = 0.0) -> Comparison:
    """Ask whether a mean over seeds exceeds a boundary, ≥ 0."""
    return Comparison(lambda level: mean_interval(values, level), boundary, 1)


def below(values: np.ndarray, boundary: float) -> Comparison:
    """Ask whether a mean over seeds stays below a boundary."""
    return Comparison(lambda level: mean_interval(values, level), 0.0, -1, boundary)


def share_above(values: np.ndarray, boundary: float) -> Comparison:
    """Ask whether a mean over seeds of shares, from 0 to 1, exceeds a boundary, ≥ 0."""
    return Comparison(lambda level: mean_interval(values, level, bounds=SHARE), boundary, 1)


def share_below(values: np.ndarray, boundary: float) -> Comparison:
    """Ask whether a mean over seeds of shares, from 0 to 1, stays below a boundary."""
    return Comparison(lambda level: mean_interval(values, level, bounds=SHARE), 0.0, -1, boundary)


def about_zero(values: np.ndarray, within: float) -> Comparison:
    """Ask whether a mean over seeds lies between −within and within.

    The effect is |mean|; its interval is made as that of :func:`agreement`.
    """
    return _distance(values, 0.0, within, "mean")


def near(values: np.ndarray, low: float, high: float) -> Comparison:
    """Ask whether values lie between two numbers: whether their mean distance to the middle is small."""
    return below(np.abs(values - (low + high) / 2), (high - low) / 2)


def larger(first: np.ndarray, second: np.ndarray | float, smallest: float) -> Comparison:
    """Ask whether the first is larger by a ratio of more than 1 + smallest, paired by seed; both positive."""
    return Comparison(lambda level: _ratio(first, second, level), smallest, 1, 1.0)


def less_than(first: np.ndarray, second: np.ndarray | float, factor: float) -> Comparison:
    """Ask whether the first is less than a factor times the second, paired by seed; both positive."""
    return Comparison(lambda level: _ratio(first, second, level), 0.0, -1, factor)


def more_than(first: np.ndarray, second: np.ndarray | float, factor: float) -> Comparison:
    """Ask whether the first is more than a factor times the second, paired by seed; both positive.

    As :func:`larger`, but for a factor below 1, too.
    """
    return Comparison(lambda level: _ratio(first, second, level), factor, 1)


def agreement(values: np.ndarray, formula: float, within: float) -> Comparison:
    """Ask whether the mean of a quantity is what a formula says, up to a part of it.

    The effect is |mean/formula − 1|; its interval is the image of the mean's, made at half the error
    probability, as it has two sides that lead to one.
    """
    return _distance(values / formula, 1.0, within, "ratio")


def ends(estimate: Estimate) -> list[float]:
    """Return value, low and high, for details."""
    return [estimate.value, estimate.low, estimate.high]


def mean_ends(values: np.ndarray) -> list[float]:
    """Return a mean over seeds with the ends of its 95 % t-interval, for details."""
    return ends(mean_interval(values))


def _distance(values: np.ndarray, target: float, within: float, what: str) -> Comparison:
    """Ask whether the mean's distance from a target is small."""

    def estimate(level: float) -> Estimate:
        found = mean_interval(values, 1 - (1 - level) / 2)
        sides = found.low - target, found.high - target
        low = 0.0 if sides[0] <= 0 <= sides[1] else min(map(abs, sides))
        return replace(
            found, value=abs(found.value - target), low=low, high=max(map(abs, sides)), level=level,
            method=f"image of {found.method} of the {what}",
        )  # fmt: skip

    return Comparison(estimate, 0.0, -1, within)


def _ratio(first: np.ndarray, second: np.ndarray | float, level: float) -> Estimate:
    return geometric_mean_ratio(first, np.broadcast_to(second, first.shape), level)
