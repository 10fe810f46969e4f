"""What the linear part left, by seed, and the comparisons its rules are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from implicit_bias.results.statistics import Comparison
from implicit_bias.studies.comparisons import agreement, larger, less_than
from implicit_bias.studies.double_descent.linear.designs import LEVELS, Design
from implicit_bias.studies.rows import by_seed

if TYPE_CHECKING:
    import xarray as xr

SMALLEST_RATIO = 0.1
"""Test errors differ, and agree with a formula, from and up to ten per cent."""

Statistic = Literal["mean", "median"]


def stage_of(design: Design) -> str:
    """Return the name of a design's stage."""
    return design.label.replace("_", "-")


def errors(
    result: xr.Dataset, design: Design, target: str, used: int, statistic: Statistic = "median"
) -> np.ndarray:
    """Return a size's mean or median test error by seed, shape (seeds,)."""
    at: dict[str, object] = {f"{design.label}_target": target, f"{design.label}_features": used}
    if statistic == "median":
        at["law_level"] = LEVELS[1]
    name = "quantiles" if statistic == "median" else statistic
    return by_seed(result, stage_of(design), f"{design.label}_{name}", **at)


def exceeds(
    first: np.ndarray, second: np.ndarray | float, factor: float = 1 + SMALLEST_RATIO
) -> Comparison:
    """Ask whether the first is larger by more than a factor, paired by seed; both positive."""
    return larger(first, second, factor - 1)


def stays_below(
    first: np.ndarray, second: np.ndarray | float, factor: float = 1 + SMALLEST_RATIO
) -> Comparison:
    """Ask whether the first is less than a factor times the second, paired by seed; both positive."""
    return less_than(first, second, factor)


def agrees(values: np.ndarray, formula: float) -> Comparison:
    """Ask whether the mean of a quantity is what a formula says, up to ten per cent of it."""
    return agreement(values, formula, SMALLEST_RATIO)
