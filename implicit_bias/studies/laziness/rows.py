"""Rows of a result as tables by seed, and how quantities scale along a sweep."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import (
    Comparison,
    Estimate,
    mean_interval,
    paired_error_difference,
)
from implicit_bias.studies.laziness.settings import FEWEST

if TYPE_CHECKING:
    import xarray as xr

SWEEPS: dict[str, str] = {"alpha": "alpha", "init-scale": "init_scale", "width": "hidden_width"}
"""Arms that sweep something, and the coordinate that says what."""

LAZIEST = 3
"""Ends of the sweep through which the exponent of the lazy regime is measured: its largest values."""


def seeds_of(result: xr.Dataset) -> np.ndarray:
    """Return all seeds, ascending."""
    return np.unique(result["seed"].values)


def require(result: xr.Dataset, *arms: str) -> None:
    """Raise ``NotDecidable`` unless all of these arms, or stages, were run."""
    missing = [arm for arm in arms if arm not in set(result["arm"].values)]
    if missing:
        raise NotDecidable(f"needs {', '.join(missing)}, which was not run")


def values_of(result: xr.Dataset, arm: str) -> np.ndarray:
    """Return what an arm sweeps, ascending; empty where it was not run."""
    rows = result["arm"].values == arm
    return np.unique(result[SWEEPS[arm]].values[rows]) if rows.any() else np.empty(0)


def of_arm(result: xr.Dataset, arm: str, name: str, value: float | None = None) -> np.ndarray:
    """Return a quantity of an arm by seed, shape (seeds, …); NaN for lanes that diverged or are missing.

    Args:
        result: The study's result.
        arm: The arm.
        name: The variable.
        value: Of what the arm sweeps.
    """
    require(result, arm)
    chosen = result["arm"].values == arm
    if value is not None:
        chosen &= np.isclose(result[SWEEPS[arm]].values.astype(float), value)
    seeds, values = seeds_of(result), np.asarray(result[name].values, float)
    found = np.full((seeds.size, *values.shape[1:]), np.nan)
    for row in np.flatnonzero(chosen & ~result["diverged"].values):
        found[np.searchsorted(seeds, result["seed"].values[row])] = values[row]
    return found


def swept(result: xr.Dataset, arm: str, name: str) -> np.ndarray:
    """Return a quantity along an arm's sweep, shape (seeds, values)."""
    return np.stack(
        [of_arm(result, arm, name, float(value)) for value in values_of(result, arm)], axis=1
    )


def trial(result: xr.Dataset, stage: str, name: str, **at: object) -> np.ndarray:
    """Return what an experiment left by seed, shape (seeds, …), at given places of its dimensions."""
    require(result, stage)
    values = result[[name]]
    for dim, label in at.items():
        values = values.isel({dim: list(result[dim].values).index(label)})
    return of_arm(values.assign(diverged=result["diverged"]), stage, name)


def predicted(result: xr.Dataset, name: str, predictor: str) -> np.ndarray:
    """Return what a kernel leaves by seed."""
    return trial(result, "kernels", name, predictor=predictor)


def gap(
    first: np.ndarray, second: np.ndarray, smallest: float = 0.0, direction: int = 1
) -> Comparison:
    """Compare test errors, first − second, in percentage points, paired by seed.

    The interval covers new seeds and new test examples, of which all share one finite set.

    Args:
        first: Whether each test example was wrong, shape (seeds, examples); NaN for a missing seed.
        second: Likewise.
        smallest: Smallest effect that matters, in percentage points.
        direction: +1 if the claim is that the first errs more.
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

    return Comparison(estimate, smallest, direction)


def exponents(x: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Fit ``y ∝ x^a`` for each seed by least squares of logarithms.

    Args:
        x: Shape (values,).
        table: Shape (seeds, values).

    Returns:
        Shape (seeds,); NaN for a seed that lacks a value, or has one that is not positive.
    """
    usable = (np.isfinite(table) & (table > 0)).all(axis=1)
    across = np.log(x.astype(float))
    across = across - across.mean()
    logs = np.log(np.where(usable[:, None], table, 1.0))
    return np.where(usable, logs @ across / np.sum(across**2), np.nan)


def slope(
    result: xr.Dataset, arm: str, name: str, level: float, last: int | None = None
) -> Estimate:
    """Estimate the mean exponent over seeds along a sweep, or along its largest values.

    Raises:
        NotDecidable: The arm was not run, has too few values, or fewer than two seeds have an exponent.
    """
    require(result, arm)
    x, table = values_of(result, arm), swept(result, arm, name)
    if last is not None:
        x, table = x[-last:], table[:, -last:]
    if x.size < FEWEST:
        raise NotDecidable(f"arm {arm} has {x.size} values, and a slope needs {FEWEST}")
    found = exponents(x, table)
    if np.isfinite(found).sum() < 2:
        raise NotDecidable(
            f"{name} of arm {arm}: {np.isfinite(found).sum()} seed(s) have a positive value all along, and "
            "2 are needed"
        )
    return mean_interval(found, level)
