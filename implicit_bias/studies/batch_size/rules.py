"""What the rules of the batch-size study share: which effects matter, and which lanes count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.studies import paired_cells
from implicit_bias.studies.batch_size.settings import TUNING

if TYPE_CHECKING:
    import xarray as xr

SMALLEST_GAP = 0.2
"""Difference of test errors that matters, in percentage points."""
SMALLEST_RATIO = 0.25
"""A curvature ratio matters from 1.25 on."""


def ends_of(result: xr.Dataset, arm: str, large: int = -1) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the lanes of a larger batch size of an arm, by default the largest, and of the smallest."""
    sizes = paired_cells.batch_sizes(result, arm)
    return paired_cells.cell(result, arm, sizes[large]), paired_cells.cell(result, arm, sizes[0])


def excluded(result: xr.Dataset, names: Sequence[str]) -> str:
    """Say which lanes of some arms do not count, and why."""
    chosen = np.isin(result["arm"].values, list(names))
    diverged = int((result["diverged"].values & chosen).sum())
    missed = int((~paired_cells.usable(result).values & ~result["diverged"].values & chosen).sum())
    parts = []
    if diverged:
        parts.append(f"{diverged} of {int(chosen.sum())} lanes diverged")
    if missed:
        parts.append(f"{missed} of {int(chosen.sum())} lanes missed the target loss")
    return "; ".join(parts) + (", left out in pairs" if parts else "")


def of_arms(result: xr.Dataset) -> xr.Dataset:
    """Return the lanes of the arms, without those of the tuning grid."""
    return result.isel(lane=np.flatnonzero(result["stage"].values != TUNING))


def measured_lanes(result: xr.Dataset) -> xr.Dataset:
    """Return the lanes that were measured: those of the arms, but for diverged ones.

    Raises:
        NotDecidable: There are none.
    """
    lanes = of_arms(result)
    lanes = lanes.isel(lane=np.flatnonzero(~lanes["diverged"].values))
    if not lanes.sizes["lane"]:
        raise NotDecidable("no lane was measured: there is none, or all diverged")
    return lanes
