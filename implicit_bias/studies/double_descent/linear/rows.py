"""What the linear part left, by seed, and the comparisons its rules are made of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import (
    Comparison,
    Estimate,
    geometric_mean_ratio,
    mean_interval,
)
from implicit_bias.studies.double_descent.linear.designs import LEVELS, Design

if TYPE_CHECKING:
    import xarray as xr

SMALLEST_RATIO = 0.1
"""Test errors differ, and agree with a formula, from and up to ten per cent."""

Statistic = Literal["mean", "median"]


def stage_of(design: Design) -> str:
    """Return the name of a design's stage."""
    return design.label.replace("_", "-")


def of_stage(result: xr.Dataset, stage: str, name: str, **at: object) -> np.ndarray:
    """Return what an experiment left by seed, ascending, shape (seeds, …), at places of its dimensions.

    Raises:
        NotDecidable: It was not run.
    """
    rows = np.flatnonzero((result["arm"].values == stage) & ~result["diverged"].values)
    if not rows.size or name not in result:
        raise NotDecidable(f"needs {stage}, which was not run")
    values = result[name].isel(lane=rows[np.argsort(result["seed"].values[rows])])
    for dim, label in at.items():
        values = values.isel({dim: list(result[dim].values).index(label)})
    return np.asarray(values.values, float)


def errors(
    result: xr.Dataset, design: Design, target: str, used: int, statistic: Statistic = "median"
) -> np.ndarray:
    """Return a size's mean or median test error by seed, shape (seeds,)."""
    at: dict[str, object] = {f"{design.label}_target": target, f"{design.label}_features": used}
    if statistic == "median":
        at["law_level"] = LEVELS[1]
    name = "quantiles" if statistic == "median" else statistic
    return of_stage(result, stage_of(design), f"{design.label}_{name}", **at)


def exceeds(
    first: np.ndarray, second: np.ndarray | float, factor: float = 1 + SMALLEST_RATIO
) -> Comparison:
    """Ask whether the first is larger by more than a factor, paired by seed; both positive."""
    return Comparison(lambda level: _ratio(first, second, level), factor - 1, 1, 1.0)


def stays_below(
    first: np.ndarray, second: np.ndarray | float, factor: float = 1 + SMALLEST_RATIO
) -> Comparison:
    """Ask whether the first is less than a factor times the second, paired by seed; both positive."""
    return Comparison(lambda level: _ratio(first, second, level), 0.0, -1, factor)


def _ratio(first: np.ndarray, second: np.ndarray | float, level: float) -> Estimate:
    return geometric_mean_ratio(first, np.broadcast_to(second, first.shape), level)


def agreement(values: np.ndarray, formula: float) -> Comparison:
    """Ask whether the mean of a quantity is what a formula says, up to ten per cent of it.

    The effect is |mean/formula − 1|; its interval is the image of the mean's, made at half the error
    probability, as it has two sides that lead to one.
    """

    def estimate(level: float) -> Estimate:
        found = mean_interval(values / formula, 1 - (1 - level) / 2)
        ends = found.low - 1, found.high - 1
        low = 0.0 if ends[0] <= 0 <= ends[1] else min(map(abs, ends))
        return replace(
            found, value=abs(found.value - 1), low=low, high=max(map(abs, ends)), level=level,
            method=f"image of {found.method} of the ratio",
        )  # fmt: skip

    return Comparison(estimate, 0.0, -1, SMALLEST_RATIO)


def summary(values: np.ndarray) -> list[float]:
    """Return a mean with its 95 % t-interval, for details."""
    found = mean_interval(values)
    return [found.value, found.low, found.high]
