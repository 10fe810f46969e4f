"""What rules and tables of the scripts share: draws, values by seed, and comparisons with what is stated."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.statistics import Comparison, Estimate, geometric_mean_ratio
from implicit_bias.studies.comparisons import larger, less_than, share_above
from implicit_bias.studies.minimum_norm.scripts.printed import ABOUT
from implicit_bias.studies.rows import by_seed, seeds_of

if TYPE_CHECKING:
    import xarray as xr

SMALLEST_RATIO = 0.1
"""Losses and norms differ from ten per cent on."""

TINY = 1e-300
"""Stands for 0 where logarithms are taken."""


def about(values: np.ndarray, stated: Any, factor: float = ABOUT) -> Comparison:
    """Ask whether geometric means over seeds are the numbers stated, all of them, up to a factor.

    The effect is the factor by which the worst of them is off, at least 1. Its interval is the image of
    the intervals of their ratios, which share the error probability.

    Args:
        values: Positive, shape (seeds,) or (seeds, numbers).
        stated: Positive, a number or shape (numbers,).
        factor: From which on a number is another one.
    """
    table = np.asarray(values, float).reshape(len(values), -1)
    targets = np.broadcast_to(np.asarray(stated, float), table.shape[1:])

    def estimate(level: float) -> Estimate:
        part = 1 - (1 - level) / (2 * len(targets))
        found = [
            geometric_mean_ratio(column, np.full(column.shape, target), part)
            for column, target in zip(table.T, targets, strict=True)
        ]
        ends = np.array([_off(one) for one in found])
        value, low, high = (float(end) for end in ends.max(axis=0))
        least = min(found, key=lambda one: one.n)
        return replace(
            least, value=value, low=low, high=high, level=level,
            method=f"image of {least.method} of {'the ratio' if len(found) == 1 else f'{len(found)} ratios'}",
        )  # fmt: skip

    return Comparison(estimate, 0.0, -1, factor)


def _off(ratio: Estimate) -> tuple[float, float, float]:
    """Return by which factor a ratio is off 1, with its interval."""
    if not (ratio.value > 0):
        return math.nan, 1.0, math.inf
    low, high = math.log(max(ratio.low, TINY)), math.log(max(ratio.high, TINY))
    near = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    far = max(abs(low), abs(high))
    return math.exp(abs(math.log(ratio.value))), math.exp(near), math.exp(min(far, 700.0))


def exceeds(
    first: np.ndarray, second: np.ndarray | float, smallest: float = SMALLEST_RATIO
) -> Comparison:
    """Ask whether the first is larger than the second by a ratio that matters, paired by seed."""
    return larger(first, second, smallest)


def stays_below(values: np.ndarray, bound: np.ndarray | float) -> Comparison:
    """Ask whether the geometric mean over seeds is smaller than a bound; 0 counts as positive.

    That is another question than ``below`` of all studies, which asks it of the mean.
    """
    return less_than(np.maximum(values, TINY), bound, 1.0)


def mostly(shares: np.ndarray) -> Comparison:
    """Ask whether something is so in more than half of the draws."""
    return share_above(shares, 0.5)


def scripted(result: xr.Dataset, stage: str, name: str, **at: Any) -> np.ndarray:
    """Return a script's number by seed, its geometric mean over the runs of a seed, shape (seeds, …).

    Raises:
        NotDecidable: The script was not run.
    """
    runs = by_seed(result, stage, name, **at)
    found: np.ndarray = np.exp(np.mean(np.log(np.maximum(runs, TINY)), axis=1))
    return found


def own_values(result: xr.Dataset, stage: str, name: str) -> np.ndarray | None:
    """Return a script's number at its own seed, the first run of the study's seed 0; None if not run."""
    return by_seed(result, stage, name)[0, 0] if 0 in seeds_of(result) else None


def own_seed(result: xr.Dataset, stage: str, name: str) -> list[float] | str:
    """Return what a script computes at its own seed, rounded to five digits, for details."""
    values = own_values(result, stage, name)
    if values is None:
        return "the study's seed 0, which has the script's own, was not run"
    return [float(f"{value:.5g}") for value in np.ravel(values)]
