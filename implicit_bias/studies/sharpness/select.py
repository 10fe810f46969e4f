"""What rules, tables and figures take out of a result: lanes, trials, measures at points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import (
    Comparison,
    Estimate,
    geometric_mean_ratio,
    mean_interval,
)
from implicit_bias.studies import paired_cells
from implicit_bias.studies.sharpness.measure import SWEEPS
from implicit_bias.studies.sharpness.points import FOUND

if TYPE_CHECKING:
    import xarray as xr

STAGE = "arms"
"""Name of the stage that trains."""

INVARIANT = 1e-3
"""A measure counts as invariant where no lane's ratio differs from 1 by more."""

SAME_OUTPUTS = 1e-5
"""Outputs that differ by less, relative to the largest, are those of one function."""


def lanes(result: xr.Dataset) -> xr.Dataset:
    """Return the training runs that did not diverge.

    Raises:
        NotDecidable: There are none.
    """
    rows = np.flatnonzero((result["stage"].values == STAGE) & ~result["diverged"].values)
    if not rows.size:
        raise NotDecidable("no lane was measured: there is none, or all diverged")
    return result.isel(lane=rows)


def trial(result: xr.Dataset, name: str) -> xr.Dataset:
    """Return the rows of an experiment, those that could be run.

    Raises:
        NotDecidable: There are none.
    """
    rows = np.flatnonzero((result["stage"].values == name) & ~result["diverged"].values)
    if not rows.size:
        raise NotDecidable(f"experiment {name} was not run, or its lanes diverged")
    return result.isel(lane=rows)


@dataclass(frozen=True)
class Measure:
    """A measure of sharpness.

    Attributes:
        name: Short, for people.
        variable: Of the result.
        sweep: Whether it is one of a sweep of radii, of which the middle one stands for it.
    """

    name: str
    variable: str
    sweep: bool = False

    def values(self, rows: xr.Dataset) -> np.ndarray:
        """Return it at each lane and point, shape (lanes, points)."""
        data = rows[self.variable]
        if self.sweep:
            radius = f"{self.variable}_radius"
            data = data.isel({radius: rows.sizes[radius] // 2})
        found: np.ndarray = data.transpose("lane", "point").values.astype(float)
        return found

    def radius(self, rows: xr.Dataset) -> float | None:
        """Return the radius that stands for it; None without one."""
        if not self.sweep:
            return None
        radii = rows[f"{self.variable}_radius"].values
        return float(radii[len(radii) // 2])


MEASURES = (
    Measure("λmax", "at_lambda_max"),
    Measure("trace", "at_trace"),
    Measure("λmax / loss", "at_lambda_over_loss"),
    Measure("λmax ‖θ‖²", "at_lambda_norm"),
    *(Measure(sweep.what, sweep.name, True) for sweep in SWEEPS),
    Measure("Fisher–Rao norm", "at_fisher_rao"),
    Measure("relative flatness", "at_relative_flatness"),
)
"""All measures that are taken at every point, in the order of tables."""

LAMBDA = MEASURES[0]


def points(result: xr.Dataset, kind: str) -> list[tuple[str, float]]:
    """Return the labels and factors of the points of a kind: layers, scaled or stretched."""
    found = []
    for label in map(str, result["point"].values):
        if kind == "layers" and label.startswith("layers × "):
            found.append((label, float(label.removeprefix("layers × "))))
        elif kind == "scaled" and label.endswith(" θ"):
            found.append((label, float(label.removesuffix(" θ"))))
        elif kind == "stretched" and label.startswith("L(ψ/"):
            found.append((label, float(label.removeprefix("L(ψ/").removesuffix(")"))))
    return found


def farthest(result: xr.Dataset) -> tuple[str, float]:
    """Return the rescaling of layers that is farthest from none.

    Raises:
        NotDecidable: There is none.
    """
    found = points(result, "layers")
    if not found:
        raise NotDecidable("layers were not rescaled")
    return max(found, key=lambda point: abs(np.log(point[1])))


def scaled_by(result: xr.Dataset, factor: float) -> tuple[str, float]:
    """Return the multiple of all parameters with a factor.

    Raises:
        NotDecidable: There is none.
    """
    for point in points(result, "scaled"):
        if point[1] == factor:
            return point
    raise NotDecidable(f"parameters were not multiplied by {factor:g}; add it to scales")


def ratios(rows: xr.Dataset, measure: Measure, label: str) -> np.ndarray:
    """Return a measure at a point over its value where training ended, lane by lane; NaN if not positive."""
    names = [str(name) for name in rows["point"].values]
    values = measure.values(rows)
    with np.errstate(all="ignore"):
        found: np.ndarray = values[:, names.index(label)] / values[:, names.index(FOUND)]
    found[~(np.isfinite(found) & (found > 0))] = np.nan
    return found


def by_seed(rows: xr.Dataset, values: np.ndarray) -> np.ndarray:
    """Return geometric means over the lanes of each seed, which are not independent."""
    seeds = rows["seed"].values
    logs = np.log(values)
    return np.array(
        [
            np.exp(np.mean(own[np.isfinite(own)])) if np.isfinite(own).any() else np.nan
            for own in (logs[seeds == seed] for seed in np.unique(seeds))
        ]
    )


def mean_ratio(rows: xr.Dataset, values: np.ndarray, level: float = 0.95) -> Estimate:
    """Estimate the geometric mean of positive numbers, one or more a seed, with its interval over seeds."""
    means = by_seed(rows, values)
    return geometric_mean_ratio(means, np.ones_like(means), level)


def kept(rows: xr.Dataset, values: np.ndarray, expected: float, smallest: float) -> Comparison:
    """Ask whether ratios are what they are said to be: mean of min(r, e) / max(r, e) above ``smallest``.

    The share lies between 0 and 1 whatever happens to a lane, so that lanes in which everything vanishes
    do not drown the others.
    """
    share = np.exp(-np.abs(np.log(values / expected)))
    seeds = rows["seed"].values
    means = [
        np.mean(own[np.isfinite(own)]) if np.isfinite(own).any() else np.nan
        for own in (share[seeds == seed] for seed in np.unique(seeds))
    ]
    return Comparison(lambda level: mean_interval(means, level), smallest, 1)


def cell(result: xr.Dataset, arm: str, size: int) -> xr.Dataset:
    """Return the lanes of an arm at the small (0) or the large (1) batch size, by seed.

    Raises:
        NotDecidable: There are none.
    """
    rows = lanes(result)
    return paired_cells.cell(rows, arm, paired_cells.batch_sizes(rows, arm)[-1 if size else 0])


def at_found(measure: Measure) -> Callable[[xr.Dataset], xr.DataArray]:
    """Return a function from lanes indexed by seed to a measure where training ended."""

    def get(rows: xr.Dataset) -> Any:
        data = rows[measure.variable].sel(point=FOUND)
        if measure.sweep:
            radius = f"{measure.variable}_radius"
            data = data.isel({radius: rows.sizes[radius] // 2})
        return data

    return get


def output_error(rows: xr.Dataset) -> float:
    """Return the largest relative change of an output where the function should be the same."""
    names = [FOUND, *(label for kind in ("layers", "stretched") for label, _ in points(rows, kind))]
    return float(rows["at_output_error"].sel(point=names).max())
