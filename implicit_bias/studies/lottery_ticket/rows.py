"""Rows of a result as tables by seed and level."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import Comparison, Estimate, paired_error_difference
from implicit_bias.studies.lottery_ticket.settings import ARMS

if TYPE_CHECKING:
    import xarray as xr

STABILITY = "stability"
"""Stage of the comparison of runs in two orders of examples."""


OWN_LAYERS = ("ticket", "late-rewinding", "lr-rewinding", "random", "snip", "grasp", "synflow")
"""Arms with numbers of weights by layer of their own; all others have the ticket's."""


def seeds_of(result: xr.Dataset) -> np.ndarray:
    """Return all seeds, ascending."""
    return np.unique(result["seed"].values)


def arms_of(result: xr.Dataset) -> list[str]:
    """Return the arms that were run, without the runs that serve others."""
    there = set(result["arm"].values)
    return [arm for arm in ARMS if arm in there]


def require(result: xr.Dataset, *arms: str) -> None:
    """Raise ``NotDecidable`` unless all of these arms, or stages, were run."""
    missing = [arm for arm in arms if arm not in set(result["arm"].values)]
    if missing:
        raise NotDecidable(f"needs {', '.join(missing)}, which was not run")


def levels_of(result: xr.Dataset, arm: str) -> np.ndarray:
    """Return the fractions of weights at which an arm was run, falling; the dense network's is 1."""
    rows = result["arm"].values == arm
    return np.unique(result["level"].values[rows].astype(float))[::-1]


def table_levels(result: xr.Dataset) -> np.ndarray:
    """Return the levels at which all arms were run: 1, and those of the controls, falling.

    Without controls they are those of the tickets.
    """
    names = [arm for arm in arms_of(result) if arm not in ("dense", "ticket")]
    found = [levels_of(result, arm) for arm in names if levels_of(result, arm).size]
    # Others that are pruned in rounds have all of the tickets' levels; controls have the fewest.
    fewest = min(found, key=len) if found else levels_of(result, "ticket")
    return np.concatenate([[1.0], fewest])


def of_arm(result: xr.Dataset, arm: str, name: str, level: float) -> np.ndarray:
    """Return a quantity of an arm at a level by seed, shape (seeds, …); NaN for diverged or missing lanes.

    At level 1 every arm is the dense network.

    Raises:
        NotDecidable: The arm was not run at that level.
    """
    require(result, arm)
    if level == 1:
        arm = "dense"
    chosen = (result["arm"].values == arm) & np.isclose(result["level"].values.astype(float), level)
    if not chosen.any():
        raise NotDecidable(f"arm {arm} was not run at {100 * level:g} % of the weights")
    seeds, values = seeds_of(result), np.asarray(result[name].values, float)
    found = np.full((seeds.size, *values.shape[1:]), np.nan)
    for row in np.flatnonzero(chosen & ~result["diverged"].values):
        found[np.searchsorted(seeds, result["seed"].values[row])] = values[row]
    return found


def along(result: xr.Dataset, arm: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the levels of an arm, 1 first, and a quantity there, shape (seeds, levels, …)."""
    levels = np.concatenate([[1.0], levels_of(result, arm)]) if arm != "dense" else np.ones(1)
    return levels, np.stack([of_arm(result, arm, name, float(level)) for level in levels], axis=1)


def trial(result: xr.Dataset, name: str) -> np.ndarray:
    """Return what the comparison of two orders left by seed, shape (seeds, …).

    Raises:
        NotDecidable: It was not run.
    """
    require(result, STABILITY)
    seeds, values = seeds_of(result), np.asarray(result[name].values, float)
    found = np.full((seeds.size, *values.shape[1:]), np.nan)
    chosen = (result["arm"].values == STABILITY) & ~result["diverged"].values
    for row in np.flatnonzero(chosen):
        found[np.searchsorted(seeds, result["seed"].values[row])] = values[row]
    return found


def gap(
    first: np.ndarray,
    second: np.ndarray,
    smallest: float = 0.0,
    direction: int = 1,
    origin: float = 0.0,
) -> Comparison:
    """Compare test errors, first − second, in percentage points, paired by seed.

    The interval covers new seeds and new test examples, of which all share one finite set.

    Args:
        first: Whether each test example was wrong, shape (seeds, examples); NaN for a missing seed.
        second: Likewise.
        smallest: Smallest effect that matters, in percentage points.
        direction: +1 if the claim is that the first errs more, −1 if less.
        origin: What the effect is held against.
    """
    both = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    only_first = np.where(both, ((first == 1) & (second == 0)).sum(axis=1), np.nan)
    only_second = np.where(both, ((second == 1) & (first == 0)).sum(axis=1), np.nan)
    per_example = (first[both] - second[both]).mean(axis=0) if both.any() else None

    def estimate(level: float) -> Estimate:
        found = paired_error_difference(
            only_first, only_second, first.shape[1], level, per_example=per_example
        )
        return replace(found, value=100 * found.value, low=100 * found.low, high=100 * found.high)

    return Comparison(estimate, smallest, direction, origin)
