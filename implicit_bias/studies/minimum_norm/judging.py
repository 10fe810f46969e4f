"""What the rules are made of: values of a stage by seed, and comparisons with a boundary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.statistics import Comparison, geometric_mean_ratio, mean_interval
from implicit_bias.studies.rows import by_seed

if TYPE_CHECKING:
    import xarray as xr


def seen(result: xr.Dataset, stage: str, name: str, **at: Any) -> np.ndarray:
    """Return what a stage left by seed, (seeds, …), without the seeds that it was not run with.

    Raises:
        NotDecidable: The stage was not run.
    """
    table = by_seed(result, stage, name, **at)
    return table[np.isfinite(table).reshape(len(table), -1).any(axis=1)]


def each(result: xr.Dataset, stage: str, name: str, dim: str, **at: Any) -> dict[str, float]:
    """Return means over seeds and all else along a dimension, for details."""
    return {
        str(label): float(np.nanmean(seen(result, stage, name, **{dim: label}, **at)))
        for label in result[dim].values
    }


def most(result: xr.Dataset, stage: str, name: str, **at: Any) -> float:
    """Return the largest value over seeds and all else, for details."""
    return float(np.nanmax(seen(result, stage, name, **at)))


def above(values: np.ndarray, boundary: float) -> Comparison:
    """Ask whether a mean over seeds exceeds a boundary."""
    return Comparison(lambda level: mean_interval(values, level), boundary, 1)


def below(values: np.ndarray, boundary: float) -> Comparison:
    """Ask whether a mean over seeds stays below a boundary."""
    return Comparison(lambda level: mean_interval(values, level), 0.0, -1, boundary)


def larger(first: np.ndarray, second: np.ndarray, smallest: float) -> Comparison:
    """Ask whether the first is larger by a ratio of more than 1 + smallest, paired by seed."""
    return Comparison(
        lambda level: geometric_mean_ratio(first, second, level), smallest, 1, origin=1.0
    )
