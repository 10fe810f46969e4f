"""How a quantity scales with width: one exponent a seed, and intervals that hold together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import Estimate, geometric_mean_ratio, mean_interval
from implicit_bias.studies.ntk_width.settings import FEWEST_WIDTHS, NETWORKS
from implicit_bias.studies.rows import along, exponents, require, values_of

if TYPE_CHECKING:
    import xarray as xr

WIDTH = "hidden_width"
"""Coordinate of lanes: their hidden width."""

SLOPES = ("relative_movement", "absolute_movement", "kernel_change", "flips")
"""Quantities whose exponents claims are decided by, in every arm of networks."""


def arms_of(result: xr.Dataset) -> list[str]:
    """Return the arms of networks that a result holds, in the order of the settings."""
    present = set(result["arm"].values)
    return [arm for arm in NETWORKS if arm in present]


def widths_of(result: xr.Dataset, arm: str) -> np.ndarray:
    """Return the widths of an arm, smallest first; none where it was not run."""
    return values_of(result, arm, WIDTH)


def by_width(result: xr.Dataset, arm: str, name: str) -> np.ndarray:
    """Return a quantity of an arm, shape (seeds, widths), seeds ascending; NaN for diverged lanes.

    Raises:
        NotDecidable: The arm was not run.
    """
    return along(result, arm, name, WIDTH)


def slope(result: xr.Dataset, arm: str, name: str, level: float) -> Estimate:
    """Estimate the mean exponent over seeds.

    Raises:
        NotDecidable: The arm was not run, has too few widths, or fewer than two seeds have an
            exponent.
    """
    table = by_width(result, arm, name)
    return _estimate(widths_of(result, arm), table, level, f"{name} of arm {arm}")


def _estimate(widths: np.ndarray, table: np.ndarray, level: float, of: str) -> Estimate:
    if widths.size < FEWEST_WIDTHS:
        raise NotDecidable(f"{of}: {widths.size} width(s), and a slope needs {FEWEST_WIDTHS}")
    found = exponents(widths, table)
    if np.isfinite(found).sum() < 2:
        lost = widths[~(np.isfinite(table) & (table > 0)).all(axis=0)]
        where = ", ".join(f"{width:g}" for width in lost)
        raise NotDecidable(
            f"{of}: {np.isfinite(found).sum()} seed(s) have a positive value at all widths, and 2 "
            f"are needed; some diverged or are zero at {where}" if lost.size else
            f"{of}: {found.size} seed(s), and an interval needs 2"
        )  # fmt: skip
    return mean_interval(found, level)


def trial_slope(result: xr.Dataset, name: str, level: float) -> Estimate:
    """Estimate the mean exponent of what the experiment with kernels compares at each width.

    Raises:
        NotDecidable: It was not made, or as for :func:`slope`.
    """
    table = np.asarray(result[name].values, float)
    table = table[result["stage"].values == "kernels"]
    require(result, "ntk")
    return _estimate(result["kernel_width"].values.astype(float), table, level, name)


def steps(result: xr.Dataset, arm: str, name: str, level: float) -> list[Estimate]:
    """Estimate the ratio of a quantity at each width to that at the width before, paired by seed."""
    table = by_width(result, arm, name)
    return [
        geometric_mean_ratio(table[:, place + 1], table[:, place], level)
        for place in range(table.shape[1] - 1)
    ]


def family_level(result: xr.Dataset, alpha: float = 0.05) -> float:
    """Return the level at which all intervals of the study's claims hold together (Bonferroni).

    They are the exponents of :data:`SLOPES` in each arm of networks, the step from each width to the
    next of the relative movement there, and one exponent of what kernels predict.
    """
    count = 1
    for arm in arms_of(result):
        count += len(SLOPES) + max(widths_of(result, arm).size - 1, 0)
    return 1 - alpha / count
