"""What the rules of the flat-minima study share: which effects matter, and what is compared."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.statistics import Comparison, Estimate
from implicit_bias.studies import paired_cells

if TYPE_CHECKING:
    import xarray as xr

SMALLEST_GAP = 0.2
"""Difference of test errors that matters, in percentage points."""
SMALLEST_RATIO = 0.25
"""A ratio of curvatures, sharpnesses or radii matters from 1.25 on."""


def compared(result: xr.Dataset) -> xr.Dataset:
    """Return the one lane of each arm, batch size and seed that is compared."""
    return result.isel(lane=np.flatnonzero(result["chosen"].values))


def cells(result: xr.Dataset, *wanted: tuple[str, int]) -> list[xr.Dataset]:
    """Return compared lanes of arms, each at its smallest (0) or largest (−1) batch size, by seed."""
    lanes = compared(result)
    sizes = [paired_cells.batch_sizes(lanes, arm)[which] for arm, which in wanted]
    return [
        paired_cells.cell(lanes, arm, size) for (arm, _), size in zip(wanted, sizes, strict=True)
    ]


def ratio(
    first: xr.Dataset,
    second: xr.Dataset,
    value: str | Callable[[xr.Dataset], xr.DataArray],
    smallest: float = SMALLEST_RATIO,
    direction: int = 1,
) -> Comparison:
    """Compare a positive quantity of two cells: first / second."""
    return paired_cells.ratio(first, second, value, smallest, direction)


def at_most(comparison: Comparison, bound: float) -> Comparison:
    """Ask of the same effect whether it lies below a bound: what the claim allows at most."""
    return Comparison(comparison.estimate, 0.0, -1, bound)


def adaptive(lanes: xr.Dataset) -> xr.DataArray:
    """Return the adaptive sharpness at the middle radius."""
    name = "adaptive_sharpness"
    return lanes[name].isel(adaptive_radius=lanes.sizes["adaptive_radius"] // 2)


def exponential(estimate: Estimate) -> Estimate:
    """Turn the estimate of a logarithm into one of the quantity."""
    value, low, high = (
        math.exp(min(x, 700.0)) for x in (estimate.value, estimate.low, estimate.high)
    )
    return dataclasses.replace(estimate, value=value, low=low, high=high)


def folded(estimate: Estimate) -> Estimate:
    """Turn the estimate of a signed difference into one of its size."""
    ends = sorted((abs(estimate.low), abs(estimate.high)))
    low = 0.0 if estimate.low <= 0 <= estimate.high else ends[0]
    return dataclasses.replace(estimate, value=abs(estimate.value), low=low, high=ends[1])


def lost_lanes(result: xr.Dataset, arms: tuple[str, ...]) -> str:
    """Say how many of some arms' compared lanes do not count."""
    lanes = compared(result)
    chosen = np.isin(lanes["arm"].values, list(arms))
    lost = int((~paired_cells.usable(lanes).values & chosen).sum())
    return f"{lost} of {int(chosen.sum())} lanes diverged, left out in pairs" if lost else ""
