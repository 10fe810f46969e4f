"""Comparisons that the rules of the early-stopping study are made of."""

from __future__ import annotations

import numpy as np

from implicit_bias.results.statistics import (
    Comparison,
    Estimate,
    geometric_mean_ratio,
    mean_interval,
)


def above(values: np.ndarray, boundary: float) -> Comparison:
    """Ask whether a mean over seeds exceeds a boundary."""
    return Comparison(lambda level: mean_interval(values, level), boundary, 1)


def below(values: np.ndarray, boundary: float) -> Comparison:
    """Ask whether a mean over seeds stays below a boundary."""
    return Comparison(lambda level: mean_interval(values, level), 0.0, -1, boundary)


def share_above(values: np.ndarray, boundary: float) -> Comparison:
    """Ask whether a mean over seeds of shares exceeds a boundary."""
    return Comparison(
        lambda level: mean_interval(values, level, bounds=(0.0, 1.0)), boundary, 1
    )  # fmt: skip


def share_below(values: np.ndarray, boundary: float) -> Comparison:
    """Ask whether a mean over seeds of shares stays below a boundary."""
    return Comparison(
        lambda level: mean_interval(values, level, bounds=(0.0, 1.0)), 0.0, -1, boundary
    )  # fmt: skip


def larger(first: np.ndarray, second: np.ndarray | float, smallest: float) -> Comparison:
    """Ask whether the first is larger by a factor of more than 1 + ``smallest``, paired by seed."""
    return Comparison(lambda level: ratio(first, second, level), smallest, 1, 1.0)


def at_most(first: np.ndarray, second: np.ndarray | float, factor: float) -> Comparison:
    """Ask whether the first is less than ``factor`` times the second, paired by seed."""
    return Comparison(lambda level: ratio(first, second, level), 0.0, -1, factor)


def at_least(first: np.ndarray, second: np.ndarray | float, factor: float) -> Comparison:
    """Ask whether the first is more than ``factor`` times the second, paired by seed."""
    return Comparison(lambda level: ratio(first, second, level), factor, 1)


def within(first: np.ndarray, second: np.ndarray | float, factor: float) -> Comparison:
    """Ask whether two differ by less than a factor: |log(first/second)| against its logarithm, by seed."""
    distance = np.abs(np.log(first) - np.log(second))
    return Comparison(lambda level: mean_interval(distance, level), 0.0, -1, float(np.log(factor)))


def ratio(first: np.ndarray, second: np.ndarray | float, level: float = 0.95) -> Estimate:
    """Estimate a ratio, paired by seed."""
    return geometric_mean_ratio(first, np.broadcast_to(second, first.shape), level)


def ends(estimate: Estimate) -> list[float]:
    """Return value, low and high, for details."""
    return [estimate.value, estimate.low, estimate.high]


def mean(values: np.ndarray) -> list[float]:
    """Return a mean over seeds with its 95 % t-interval, for details."""
    return ends(mean_interval(values))
