"""Rows of a result as tables by seed, and the comparisons that rules are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import (
    Comparison,
    Estimate,
    geometric_mean_ratio,
    mean_interval,
    with_test_sampling_error,
)

if TYPE_CHECKING:
    import xarray as xr


def seeds_of(result: xr.Dataset) -> np.ndarray:
    """Return all seeds, ascending."""
    return np.unique(result["seed"].values)


def has(result: xr.Dataset, *arms: str) -> bool:
    """Say whether all of these arms, or stages, were run."""
    return set(arms) <= set(result["arm"].values)


def require(result: xr.Dataset, *arms: str) -> None:
    """Raise ``NotDecidable`` unless all of these arms, or stages, were run."""
    missing = [arm for arm in arms if not has(result, arm)]
    if missing:
        raise NotDecidable(f"needs {', '.join(missing)}, which was not run")


def of_arm(result: xr.Dataset, arm: str, name: str) -> np.ndarray:
    """Return a quantity of an arm or a stage by seed, (seeds, …); NaN for what diverged or is missing."""
    require(result, arm)
    seeds, values = seeds_of(result), np.asarray(result[name].values, float)
    found = np.full((seeds.size, *values.shape[1:]), np.nan)
    for row in np.flatnonzero((result["arm"].values == arm) & ~result["diverged"].values):
        found[np.searchsorted(seeds, result["seed"].values[row])] = values[row]
    return found


def tried(result: xr.Dataset, stage: str, name: str, **at: Any) -> np.ndarray:
    """Return what an experiment left by seed, (seeds, …), at given places of its dimensions."""
    require(result, stage)
    values = result[[name]]
    for dim, label in at.items():
        values = values.isel({dim: list(result[dim].values).index(label)})
    return of_arm(values.assign(diverged=result["diverged"]), stage, name)


def constant(result: xr.Dataset, arm: str, name: str) -> float:
    """Return what is the same for all rows of an arm."""
    require(result, arm)
    return float(result[name].values[result["arm"].values == arm][0])


def epochs_logged(result: xr.Dataset, arm: str) -> np.ndarray:
    """Return the epochs of an arm's probes by seed, (seeds, probes); NaN for those not reached."""
    return of_arm(result, arm, "log_step") / constant(result, arm, "epoch_updates")


def last_epochs(result: xr.Dataset, arm: str) -> np.ndarray:
    """Return the epochs after which an arm's lanes ended, by seed."""
    return of_arm(result, arm, "updates") / constant(result, arm, "epoch_updates")


def accuracy(result: xr.Dataset, arm: str, part: str, epoch: float = np.inf) -> np.ndarray:
    """Return an arm's accuracy at its last probe up to an epoch, by seed, in per cent.

    A lane that ended before, as it fits all labels, is taken where it ended.

    Args:
        result: The study's result.
        arm: The arm.
        part: ``train`` (labels as they were trained on) or ``test`` (true labels).
        epoch: The last epoch that counts.
    """
    at, errors = epochs_logged(result, arm), of_arm(result, arm, f"log_{part}_error")
    found = np.full(len(at), np.nan)
    for row, (times, values) in enumerate(zip(at, errors, strict=True)):
        seen = np.flatnonzero(np.isfinite(times) & (times <= epoch + 1e-9) & np.isfinite(values))
        if seen.size:
            found[row] = 100 * (1 - values[seen[-1]])
    return found


def over_tests(
    result: xr.Dataset,
    arm: str,
    values: np.ndarray,
    level: float = 0.95,
    other: np.ndarray | float = 0.0,
) -> Estimate:
    """Estimate an accuracy in per cent less another number, for new seeds and new test examples.

    The test set's share of the variance is that of an accuracy on independent examples, twice where the
    other number is an accuracy too: the most it can be.

    Args:
        result: The study's result.
        arm: The arm of the accuracy, for the number of test examples.
        values: Accuracies by seed, per cent.
        level: Coverage.
        other: What is taken from them: accuracies by seed on the same examples, or a constant.
    """
    count = int(constant(result, arm, "tests"))
    variance = sum(
        float(np.nanmean(share * (1 - share))) / (count - 1)
        for share in (np.asarray(part) / 100 for part in (values, other) if np.ndim(part))
    )
    return with_test_sampling_error(values - other, 1e4 * variance, count, level)


def above(values: np.ndarray, boundary: float) -> Comparison:
    """Ask whether a mean over seeds exceeds a boundary."""
    return Comparison(lambda level: mean_interval(values, level), boundary, 1)


def below(values: np.ndarray, boundary: float) -> Comparison:
    """Ask whether a mean over seeds stays below a boundary."""
    return Comparison(lambda level: mean_interval(values, level), 0.0, -1, boundary)


def larger(first: np.ndarray, second: np.ndarray, smallest: float) -> Comparison:
    """Ask whether the first is larger by a ratio that matters, paired by seed."""
    return Comparison(
        lambda level: geometric_mean_ratio(first, second, level), smallest, 1, origin=1.0
    )


def exponents(x: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Fit ``y ∝ x^a`` for each seed by least squares of logarithms.

    Args:
        x: Shape (values,).
        table: Shape (seeds, values).

    Returns:
        Shape (seeds,); NaN for a seed that lacks a value, or has one that is not positive.
    """
    usable = (np.isfinite(table) & (table > 0)).all(axis=1)
    across = np.log(np.asarray(x, float))
    across = across - across.mean()
    logs = np.log(np.where(usable[:, None], table, 1.0))
    return np.where(usable, logs @ across / np.sum(across**2), np.nan)


def ends(estimate: Estimate) -> list[float]:
    """Return value, low and high, for details."""
    return [estimate.value, estimate.low, estimate.high]
