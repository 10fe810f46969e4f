"""Cells of the residual study by seed, and the times that their runs took."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.studies import rows
from implicit_bias.studies.residual.arms import CONV, DENSE, Cell
from implicit_bias.studies.residual.settings import CONV_KINDS, KINDS

if TYPE_CHECKING:
    import xarray as xr

SHORTCUTS = tuple(kind for kind in KINDS if kind != "plain")
"""Kinds of blocks with a shortcut."""


def depths_of(result: xr.Dataset, arm: str = DENSE) -> list[int]:
    """Return the depths of an arm, ascending.

    Raises:
        NotDecidable: It was not run.
    """
    rows.require(result, arm)
    return [int(depth) for depth in rows.values_of(result, arm, "depth")]


def norms_of(result: xr.Dataset, arm: str = DENSE) -> list[str]:
    """Return the normalisations of an arm, in the order they were run; none where it was not."""
    chosen = result["arm"].values == arm
    return list(dict.fromkeys(str(norm) for norm in result["norm"].values[chosen]))


def kinds_of(arm: str) -> tuple[str, ...]:
    """Return the kinds of blocks of an arm."""
    return CONV_KINDS if arm == CONV else tuple(KINDS)


def of_cell(result: xr.Dataset, cell: Cell, name: str) -> np.ndarray:
    """Return a quantity of a cell by seed, (seeds, …); NaN for runs that diverged or are missing.

    Raises:
        NotDecidable: Its arm was not run.
    """
    rows.require(result, cell.arm)
    other = (result["arm"].values == cell.arm) & (
        (result["kind"].values != cell.kind) | (result["norm"].values != cell.norm)
    )
    own = result.isel(lane=np.flatnonzero(~other))
    if not (own["arm"].values == cell.arm).any():
        missing = np.full((rows.seeds_of(result).size, *result[name].shape[1:]), np.nan)
        return missing
    found = rows.by_seed(own, cell.arm, name, depth=cell.depth)
    # Seeds of the whole result, whatever the cell has lost.
    table = np.full((rows.seeds_of(result).size, *found.shape[1:]), np.nan)
    table[np.searchsorted(rows.seeds_of(result), rows.seeds_of(own))] = found
    return table


def met(result: xr.Dataset, cell: Cell) -> np.ndarray:
    """Say by seed whether a cell's run met the target loss, 1 or 0; 0 where every step size diverged."""
    return np.nan_to_num(of_cell(result, cell, "reached_target").astype(float))


def at_target(result: xr.Dataset, cell: Cell, name: str) -> np.ndarray:
    """Return a quantity by seed of the runs that met the target loss; NaN for others."""
    return np.where(met(result, cell) == 1, of_cell(result, cell, name), np.nan)


def updates_to_target(result: xr.Dataset, cell: Cell) -> np.ndarray:
    """Return updates to the target loss by seed, at the chosen step size; the budget where it is not met."""
    budget = float(result["updates_budget"].values.max())
    there = met(result, cell) == 1
    return np.where(there, np.nan_to_num(of_cell(result, cell, "updates")), budget)


def speeds(result: xr.Dataset, slow: Cell, fast: Cell) -> tuple[np.ndarray, np.ndarray]:
    """Return updates to the target of two cells by seed, NaN for seeds in which neither meets it.

    Where one does not, its budget counts, which is too few: a difference is then larger than it seems.
    """
    neither = (met(result, slow) == 0) & (met(result, fast) == 0)
    first, second = (
        np.where(neither, np.nan, updates_to_target(result, cell)) for cell in (slow, fast)
    )
    return first, second


def logged_at(result: xr.Dataset, cell: Cell, name: str, step: int) -> np.ndarray:
    """Return what a cell's runs logged after an update, by seed; NaN for runs that stopped before."""
    steps, values = (of_cell(result, cell, f"log_{part}") for part in ("step", name))
    there = steps == step
    found = np.where(there, values, np.nan)
    return np.where(there.any(axis=1), np.nansum(found, axis=1), np.nan)


def steepest(result: xr.Dataset, cell: Cell) -> np.ndarray:
    """Return the largest gradient-Lipschitz ratio along a cell's path by seed, after the start."""
    steps, values = (
        of_cell(result, cell, f"log_{part}") for part in ("step", "gradient_lipschitz")
    )
    later = np.where((steps > 0) & np.isfinite(values), values, -np.inf).max(axis=1)
    return np.where(np.isfinite(later), later, np.nan)


def exact(result: xr.Dataset, name: str, kind: str) -> np.ndarray:
    """Return an exact quantity of a kind of block by seed and depth, (seeds, depths).

    Raises:
        NotDecidable: It was not measured.
    """
    return rows.by_seed(result, "jacobians", name, block_kind=kind)
