"""Rows of a result as tables by seed, how quantities scale, and differences of errors paired by seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import (
    Comparison,
    Estimate,
    mean_interval,
    paired_error_difference,
)

if TYPE_CHECKING:
    import xarray as xr


def array_of(result: xr.Dataset, name: str) -> np.ndarray:
    """Return the values of a variable or coordinate, of its own shape.

    It is ``result[name].values`` without what xarray puts around them, which takes longer, and rules read
    thousands.
    """
    return result.variables[name].values


def seeds_of(result: xr.Dataset) -> np.ndarray:
    """Return all seeds, ascending, shape (seeds,)."""
    return np.unique(array_of(result, "seed"))


def has(result: xr.Dataset, *arms: str) -> bool:
    """Say whether all of these arms, or stages of trials, were run."""
    return set(arms) <= set(array_of(result, "arm"))


def require(result: xr.Dataset, *arms: str) -> None:
    """Refuse a result that lacks arms.

    Args:
        result: A study's result.
        *arms: Arms, or stages of trials.

    Raises:
        NotDecidable: Some were not run.
    """
    missing = [arm for arm in arms if not has(result, arm)]
    if missing:
        raise NotDecidable(f"needs {', '.join(missing)}, which was not run")


def if_run(*arms: str) -> Callable[[xr.Dataset], bool]:
    """Return the question whether all of these arms, or stages of trials, were run, as drawings ask it."""
    return lambda result: has(result, *arms)


def values_of(result: xr.Dataset, arm: str, coordinate: str) -> np.ndarray:
    """Return the numbers that a coordinate takes in an arm, ascending; none where it was not run."""
    values = array_of(result, coordinate)[array_of(result, "arm") == arm].astype(float)
    return np.unique(values[np.isfinite(values)])


def constant(result: xr.Dataset, arm: str, name: str) -> Any:
    """Return what is the same for all lanes of an arm, such as the number of examples.

    Args:
        result: A study's result.
        arm: The arm, or the stage.
        name: The variable or coordinate, of shape (lanes, …).

    Raises:
        NotDecidable: The arm was not run.
    """
    require(result, arm)
    return array_of(result, name)[array_of(result, "arm") == arm][0]


def by_seed(result: xr.Dataset, arm: str, name: str, **at: Any) -> np.ndarray:
    """Return a variable of an arm, or of a stage of trials, by seed.

    Where an arm has several lanes a seed, ``at`` says which, as in ``hidden_width=64``; of several that
    remain the last counts.

    Args:
        result: A study's result.
        arm: The arm, or the stage.
        name: The variable, of shape (lanes, …).
        **at: Places: numbers of coordinates of lanes, and labels of the variable's other dimensions,
            which then go.

    Returns:
        Shape (seeds, …), in the order of :func:`seeds_of`; NaN for lanes that diverged or are missing.

    Raises:
        NotDecidable: The arm was not run.
    """
    require(result, arm)
    values = result.variables[name]
    chosen = (array_of(result, "arm") == arm) & ~array_of(result, "diverged")
    for key, value in at.items():
        place = result.variables[key]
        if place.dims == ("lane",):
            chosen &= np.isclose(place.values.astype(float), value)
        else:
            values = values.isel({key: list(place.values).index(value)})
    seeds, rows = seeds_of(result), np.flatnonzero(chosen)
    found = np.full((seeds.size, *values.shape[1:]), np.nan)
    found[np.searchsorted(seeds, array_of(result, "seed")[rows])] = values.values[rows]
    return found


def epochs_of(result: xr.Dataset, arm: str, **at: Any) -> np.ndarray:
    """Return the epochs after which an arm's lanes were evaluated, whole, shape (evaluations,).

    Args:
        result: A study's result.
        arm: The arm; its lanes were evaluated at the same updates.
        **at: Numbers of coordinates of lanes.

    Raises:
        NotDecidable: There are no such lanes.
    """
    lanes = array_of(result, "arm") == arm
    for key, value in at.items():
        lanes &= np.isclose(array_of(result, key).astype(float), value)
    if not lanes.any():
        raise NotDecidable(f"needs arm {arm} at {at}, which was not run")
    first = np.flatnonzero(lanes)[0]
    steps = array_of(result, "log_step")[first] / array_of(result, "epoch_updates")[first]
    found: np.ndarray = steps[np.isfinite(steps)].round()
    return found


def along(
    result: xr.Dataset,
    arm: str,
    name: str,
    coordinate: str,
    values: np.ndarray | None = None,
    **at: Any,
) -> np.ndarray:
    """Return a variable of an arm by seed along a coordinate of its lanes.

    Args:
        result: A study's result.
        arm: The arm.
        name: The variable, of shape (lanes, …).
        coordinate: What the arm sweeps.
        values: Numbers of that coordinate, one at least; all that the arm has by default.
        **at: Further places, as of :func:`by_seed`.

    Returns:
        Shape (seeds, values, …); NaN for lanes that diverged or are missing.

    Raises:
        NotDecidable: The arm was not run.
    """
    require(result, arm)
    if values is None:
        values = values_of(result, arm, coordinate)
    tables = [by_seed(result, arm, name, **{coordinate: value}, **at) for value in values]
    return np.stack(tables, axis=1)


def lost_lanes(result: xr.Dataset, *arms: str) -> str:
    """Say how many trained lanes diverged; nothing where none did.

    Args:
        result: A study's result.
        *arms: Whose lanes count; by default all.
    """
    lanes = result["updates_budget"].values > 0
    if arms:
        lanes = lanes & np.isin(result["arm"].values, arms)
    lost = int((lanes & result["diverged"].values).sum())
    return f"{lost} of {int(lanes.sum())} lanes diverged, left out in pairs" if lost else ""


def geometric_mean(values: Any) -> Estimate:
    """Estimate a geometric mean over seeds with its 95 % t-interval, made of logarithms.

    Args:
        values: One number a seed, shape (seeds,); what is not positive and finite is left out.

    Returns:
        The mean; of one value the interval has no upper end.
    """
    array = np.asarray(values, float)
    usable = np.where((array > 0) & np.isfinite(array), array, np.nan)
    # Of the ratios to one of them, so that equal numbers have exactly themselves as their mean.
    scale = float(usable[usable > 0][0]) if (usable > 0).any() else 1.0
    found = mean_interval(np.log(usable / scale))
    most = 700.0 - max(math.log(scale), 0.0)  # beyond which exponentials are no numbers
    value, low, high = (
        scale * math.exp(min(x, most)) if x < math.inf else x
        for x in (found.value, found.low, found.high)
    )
    return replace(found, value=value, low=low, high=high)


def exponents(x: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Fit ``y ∝ x^a`` for each seed by least squares of logarithms.

    Args:
        x: Positive, two different ones at least, shape (values,).
        table: Shape (seeds, values).

    Returns:
        Shape (seeds,); NaN for a seed that lacks a value or has one that is not positive, as an exponent
        through the other values is another quantity.
    """
    usable = (np.isfinite(table) & (table > 0)).all(axis=1)
    across = np.log(np.asarray(x, float))
    across = across - across.mean()
    logs = np.log(np.where(usable[:, None], table, 1.0))
    return np.where(usable, logs @ across / np.sum(across**2), np.nan)


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
        direction: +1 if the claim is that the difference lies above ``origin + smallest``, −1 if below
            ``origin − smallest``.
        origin: What the difference is held against, in percentage points.
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
