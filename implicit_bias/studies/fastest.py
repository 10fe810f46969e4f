"""The step size of a grid that meets the target in the fewest updates, for each seed and arm of a study."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import xarray as xr


Key = TypeVar("Key", bound=Hashable)


def fastest_steps(result: xr.Dataset, arm: str, key_of: Callable[[int], Key]) -> dict[Key, float]:
    """Return, by key, the step size that meets the target in the fewest updates.

    Where none does, the one with the least training loss at its last evaluation; of equal ones the
    smallest. Runs that diverged are never chosen. Choosing is part of what a seed repeats, so its
    variation is in every interval.

    Args:
        result: Rows with ``arm``, ``diverged``, ``reached_target``, ``updates``, ``step_size`` and
            ``log_train_loss``.
        arm: The arm that is the grid of step sizes.
        key_of: From a row's number to what a step size is chosen for: the seed and whatever else is not
            the step size.

    Returns:
        No entry for a key all of whose runs diverged.
    """
    best: dict[Key, tuple[float, float, float]] = {}
    grid = (result["arm"].values == arm) & ~result["diverged"].values.astype(bool)
    for row in map(int, np.flatnonzero(grid)):
        logged = result["log_train_loss"].values[row]
        logged = logged[~np.isnan(logged)]
        met = bool(result["reached_target"].values[row])
        candidate = (
            float(result["updates"].values[row]) if met else math.inf,
            float(logged[-1]) if logged.size else math.inf,
            float(result["step_size"].values[row]),
        )
        key = key_of(row)
        best[key] = min(best.get(key, candidate), candidate)
    return {key: step for key, (_, _, step) in best.items()}
