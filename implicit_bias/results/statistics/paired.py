"""Differences and ratios of two arms, paired by seed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from implicit_bias.results.statistics.estimate import Estimate
from implicit_bias.results.statistics.intervals import bootstrap_interval, mean_interval

IntervalMethod = Literal["t", "bootstrap"]


def paired_difference(
    a: Any,
    b: Any,
    level: float = 0.95,
    *,
    method: IntervalMethod = "t",
    rng_seed: int = 0,
) -> Estimate:
    """Estimate the mean of ``a − b``, paired by seed.

    Args:
        a: One number per seed, shape ``(seeds,)``. A one-dimensional ``xarray.DataArray`` with a
            coordinate ``seed`` is matched to ``b`` by it; anything else is matched by position.
        b: Likewise.
        level: Coverage.
        method: ``"t"`` or ``"bootstrap"`` (BCa).
        rng_seed: Seed of the resampling.

    Returns:
        The mean difference; ``excluded`` counts the seeds that lack either value.

    Raises:
        ValueError: The lengths differ, or a seed occurs twice.
    """
    first, second = aligned(a, b)
    return _interval(first - second, level, method, rng_seed, "paired ")


def geometric_mean_ratio(
    a: Any,
    b: Any,
    level: float = 0.95,
    *,
    method: IntervalMethod = "t",
    rng_seed: int = 0,
) -> Estimate:
    """Estimate the geometric mean of ``a / b``, paired by seed.

    The interval is made for the mean of ``log a − log b`` and transformed back.

    Args:
        a: Positive numbers, as for ``paired_difference``.
        b: Likewise.
        level: Coverage.
        method: ``"t"`` or ``"bootstrap"`` (BCa).
        rng_seed: Seed of the resampling.

    Returns:
        The ratio (1 means no difference); pairs with a value that is not positive are excluded, and
        noted.

    Raises:
        ValueError: The lengths differ, or a seed occurs twice.
    """
    first, second = aligned(a, b)
    finite = np.isfinite(first) & np.isfinite(second)
    positive = (first > 0) & (second > 0)
    usable = finite & positive
    logs = np.full(first.shape, np.nan)
    logs[usable] = np.log(first[usable]) - np.log(second[usable])
    made = _interval(logs, level, method, rng_seed, "paired, log scale, ")
    lost = int((finite & ~positive).sum())
    note = f"{lost} pairs left out: a value was not positive" if lost else ""
    with np.errstate(over="ignore"):
        value, low, high = (float(np.exp(x)) for x in (made.value, made.low, made.high))
    return replace(made, value=value, low=low, high=high, note=_join(made.note, note))


def _interval(
    values: np.ndarray, level: float, method: IntervalMethod, rng_seed: int, prefix: str
) -> Estimate:
    if method == "bootstrap":
        made = bootstrap_interval(values, level, rng_seed=rng_seed)
    elif method == "t":
        made = mean_interval(values, level)
    else:
        raise ValueError(f"method is {method!r}; it must be 't' or 'bootstrap'")
    return replace(made, method=prefix + made.method)


def aligned(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Match two sets of values by their seeds, or by position; a missing partner is NaN.

    Args:
        a: One number per seed, as for ``paired_difference``.
        b: Likewise.

    Returns:
        Both as arrays of shape ``(seeds,)``, seeds ascending where they are named.

    Raises:
        ValueError: The lengths differ, a seed occurs twice, or only one names its seeds.
    """
    named = ["seed" in getattr(values, "coords", {}) for values in (a, b)]
    if any(named) and not all(named):
        raise ValueError(
            "only one of the paired values has a coordinate seed; give both, or neither"
        )
    if all(named):
        by_seed = [_by_seed(values) for values in (a, b)]
        seeds = sorted({*by_seed[0], *by_seed[1]})
        first, second = (np.array([v.get(s, math.nan) for s in seeds], float) for v in by_seed)
        return first, second
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            f"paired values have shapes {first.shape} and {second.shape}; pair by seed"
        )
    return first, second


def _by_seed(values: Any) -> dict[int, float]:
    seeds = np.asarray(values.coords["seed"].values)
    if seeds.shape != values.shape or np.unique(seeds).size != seeds.size:
        raise ValueError("each seed must have one value; select one arm before pairing")
    return dict(zip(seeds.tolist(), np.asarray(values.values, float).tolist(), strict=True))


def _join(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
