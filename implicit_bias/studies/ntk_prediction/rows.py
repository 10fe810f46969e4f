"""What the NTK-prediction study takes from its lanes: numbers by seed and width, and slopes over widths."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import Comparison, Estimate, mean_interval

if TYPE_CHECKING:
    import xarray as xr

OWN_TOLERANCE = 1e-4
"""Mean squared difference from the own kernel's prediction that counts as none, on test examples."""

SLOPE, SLOPE_MARGIN = -1.0, 0.15
"""Slope over widths of the mean squared difference from the infinite kernel's prediction."""

Reduce = Callable[[np.ndarray], np.ndarray]
"""From values after the first update, (lanes, probes), to one number a lane."""


def mean(values: np.ndarray) -> np.ndarray:
    """Average over probes, which are evenly spaced in log time; what was not reached makes it NaN."""
    return np.asarray(values.mean(axis=1))


def worst(values: np.ndarray) -> np.ndarray:
    """Take the largest over probes."""
    return np.asarray(values.max(axis=1))


def last(values: np.ndarray) -> np.ndarray:
    """Take the value at the last probe."""
    return np.asarray(values[:, -1])


def first(values: np.ndarray) -> np.ndarray:
    """Take the value at the first probe after the first update."""
    return np.asarray(values[:, 0])


def arm(result: xr.Dataset, name: str) -> xr.Dataset:
    """Return the lanes of an arm.

    Raises:
        NotDecidable: It was not run.
    """
    lanes = result.isel(lane=np.flatnonzero(result["arm"].values == name))
    if not lanes.sizes["lane"]:
        raise NotDecidable(f"arm {name} was not run")
    return lanes


def by_width(result: xr.Dataset, name: str, variable: str, reduce: Reduce = mean) -> Grid:
    """Return a logged quantity of an arm by seed and width; NaN for lanes that diverged.

    Raises:
        NotDecidable: The arm was not run.
    """
    lanes = arm(result, name)
    found = lanes[f"log_{variable}"].values.astype(float)[:, 1:]
    found = np.where(lanes["diverged"].values, np.nan, reduce(found))
    seeds, widths = np.unique(lanes["seed"].values), np.unique(lanes["hidden"].values.astype(int))
    grid = np.full((seeds.size, widths.size), np.nan)
    rows = np.searchsorted(seeds, lanes["seed"].values)
    grid[rows, np.searchsorted(widths, lanes["hidden"].values.astype(int))] = found
    return Grid(seeds, widths, grid)


@dataclasses.dataclass(frozen=True)
class Grid:
    """One number a seed and width.

    Attributes:
        seeds: Increasing.
        widths: Increasing.
        values: Shape (seeds, widths).
    """

    seeds: np.ndarray
    widths: np.ndarray
    values: np.ndarray

    @property
    def widest(self) -> np.ndarray:
        """The values at the largest width, (seeds,)."""
        return np.asarray(self.values[:, -1])

    def slopes(self) -> np.ndarray:
        """Return each seed's slope of the logarithm against that of the width, (seeds,).

        NaN for a seed that lacks a width, or has a value there that is not positive.
        """
        usable = np.isfinite(self.values) & (self.values > 0)
        logs = np.log(np.where(usable, self.values, 1.0))
        x = np.log(self.widths) - np.mean(np.log(self.widths))
        found: np.ndarray = logs @ x / (x @ x)
        return np.where(usable.all(axis=1), found, np.nan)


def log10(values: np.ndarray) -> np.ndarray:
    """Return decimal logarithms; NaN where a value is not positive."""
    usable = np.isfinite(values) & (values > 0)
    return np.where(usable, np.log10(np.where(usable, values, 1.0)), np.nan)


def below(values: np.ndarray, boundary: float) -> Comparison:
    """Ask whether the mean over seeds lies below a boundary."""
    require_seeds(values)
    return Comparison(lambda level: mean_interval(values, level), 0.0, -1, boundary)


def above(values: np.ndarray, boundary: float) -> Comparison:
    """Ask whether the mean over seeds lies above a boundary."""
    require_seeds(values)
    return Comparison(lambda level: mean_interval(values, level), 0.0, 1, boundary)


def require_seeds(values: np.ndarray) -> None:
    """Refuse what has no spread over seeds.

    Raises:
        NotDecidable: Fewer than two seeds have a value.
    """
    count = int(np.isfinite(values).sum())
    if count < 2:
        raise NotDecidable(f"{count} seed(s) have a finite value, and 2 are needed")


def geometric(values: np.ndarray, level: float = 0.95) -> Estimate:
    """Estimate a geometric mean over seeds, with the t-interval of the logarithm."""
    found = mean_interval(log10(values), level)
    with np.errstate(over="ignore"):
        ends = [float(np.power(10.0, x)) for x in (found.value, found.low, found.high)]
    return dataclasses.replace(found, value=ends[0], low=ends[1], high=ends[2])


def trial(result: xr.Dataset, name: str) -> np.ndarray:
    """Return what a trial measured, seed by seed, in the order of :func:`trial_seeds`.

    Raises:
        NotDecidable: It was not run.
    """
    if name not in result:
        raise NotDecidable(f"{name} was not measured")
    values = result[name].values.astype(float)
    rows = np.isfinite(values).reshape(len(values), -1).any(axis=1)
    if not rows.any():
        raise NotDecidable(f"{name} was not measured")
    return values[rows][np.argsort(result["seed"].values[rows], kind="stable")]


def trial_seeds(result: xr.Dataset, name: str) -> np.ndarray:
    """Return the seeds at which a trial measured something, increasing."""
    rows = np.isfinite(result[name].values.astype(float))
    return np.sort(result["seed"].values[rows])
