"""Cells of a result, which are the lanes of an arm at a batch size, and comparisons of two paired by seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import (
    Comparison,
    Estimate,
    geometric_mean_ratio,
    mean_interval,
    paired_error_difference,
)

if TYPE_CHECKING:
    import xarray as xr


def usable(result: xr.Dataset) -> xr.DataArray:
    """Return, lane by lane, whether it counts: not diverged, and at its target where it had one."""
    known = result.variables
    missed = ~np.isnan(known["target_loss"].values) & ~known["reached_target"].values
    counts = result["diverged"].copy(data=~known["diverged"].values & ~missed)
    counts.attrs, counts.name = {}, None
    return counts


def cell(result: xr.Dataset, arm: str, batch_size: int) -> xr.Dataset:
    """Return the lanes of an arm at a batch size, indexed by seed.

    Raises:
        NotDecidable: There are none.
    """
    chosen = np.flatnonzero(
        (result["arm"].values == arm) & (result["batch_size"].values == batch_size)
    )
    if not chosen.size:
        raise NotDecidable(f"arm {arm} was not run at batch size {batch_size}")
    by_seed = chosen[np.argsort(result["seed"].values[chosen], kind="stable")]
    return result.isel(lane=by_seed).swap_dims(lane="seed")


def batch_sizes(result: xr.Dataset, arm: str) -> list[int]:
    """Return an arm's batch sizes, smallest first.

    Raises:
        NotDecidable: The arm was not run.
    """
    sizes = np.unique(result["batch_size"].values[result["arm"].values == arm])
    if not sizes.size:
        raise NotDecidable(f"arm {arm} was not run")
    return [int(size) for size in sizes]


def arms(result: xr.Dataset) -> list[str]:
    """Return the arms of a result in the order they were run."""
    return list(dict.fromkeys(str(arm) for arm in result["arm"].values))


def error_gap(
    first: xr.Dataset, second: xr.Dataset, smallest_effect: float, direction: int = 1
) -> Comparison:
    """Compare test errors: first − second, in percentage points, paired by seed.

    The interval covers new seeds and new test examples: lanes share one finite test set, whose own
    sampling error is part of it.

    Args:
        first: Lanes indexed by seed, from :func:`cell`.
        second: Likewise.
        smallest_effect: In percentage points.
        direction: +1 if the claim is that ``first`` errs more.
    """
    seeds = np.intersect1d(first["seed"], second["seed"])
    a, b = first.sel(seed=seeds), second.sel(seed=seeds)
    both = (usable(a) & usable(b)).values
    wrong_a = a["test_wrong"].values.astype(bool)
    wrong_b = b["test_wrong"].values.astype(bool)
    only_a = np.where(both, (wrong_a & ~wrong_b).sum(axis=1), np.nan)
    only_b = np.where(both, (wrong_b & ~wrong_a).sum(axis=1), np.nan)
    n_test = wrong_a.shape[1]
    alone = np.setxor1d(first["seed"], second["seed"]).size
    difference = wrong_a[both].astype(float) - wrong_b[both].astype(float)
    per_example = difference.mean(axis=0) if both.any() else None

    def estimate(level: float) -> Estimate:
        gap = paired_error_difference(only_a, only_b, n_test, level, per_example=per_example)
        return dataclasses.replace(
            gap,
            value=100 * gap.value,
            low=100 * gap.low,
            high=100 * gap.high,
            excluded=gap.excluded + alone,
        )

    return Comparison(estimate, smallest_effect, direction)


def ratio(
    first: xr.Dataset,
    second: xr.Dataset,
    value: str | Callable[[xr.Dataset], xr.DataArray],
    smallest_effect: float,
    direction: int = 1,
) -> Comparison:
    """Compare a positive quantity: geometric mean of first / second, paired by seed.

    Args:
        first: Lanes indexed by seed, from :func:`cell`.
        second: Likewise.
        value: A variable, or a function of lanes indexed by seed.
        smallest_effect: How far beyond 1 the ratio must lie to matter.
        direction: +1 if the claim is that ``first`` is larger.
    """
    get = value if callable(value) else (lambda lanes: lanes[value])
    a = get(first).where(usable(first))
    b = get(second).where(usable(second))
    return Comparison(
        lambda level: geometric_mean_ratio(a, b, level), smallest_effect, direction, origin=1.0
    )


def mean_above(lanes: xr.Dataset, name: str, smallest_effect: float) -> Comparison:
    """Ask whether the mean of a variable over seeds exceeds a number."""
    values = lanes[name].where(usable(lanes)).values
    return Comparison(lambda level: mean_interval(values, level), smallest_effect, 1)
