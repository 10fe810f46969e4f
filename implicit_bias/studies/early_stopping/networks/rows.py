"""What networks logged, by seed, and the comparisons that their rules are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import (
    Comparison,
    Estimate,
    with_test_sampling_error,
)
from implicit_bias.studies.rows import by_seed, constant, epochs_of, require, values_of

if TYPE_CHECKING:
    import xarray as xr


def batches(result: xr.Dataset, arm: str) -> list[int]:
    """Return the batch sizes of an arm, ascending."""
    return [int(size) for size in values_of(result, arm, "batch_size")]


def penalties(result: xr.Dataset, arm: str) -> list[float]:
    """Return the penalties of an arm, ascending."""
    return [float(penalty) for penalty in values_of(result, arm, "penalty")]


def logged(result: xr.Dataset, arm: str, name: str, **at: Any) -> np.ndarray:
    """Return what an arm's lanes logged, (seeds, evaluations, …); NaN for lanes that diverged."""
    values = by_seed(result, arm, f"log_{name}", **at)
    return values[:, : epochs_of(result, arm, **at).size]


def ended(result: xr.Dataset, arm: str, name: str, **at: Any) -> np.ndarray:
    """Return a quantity after an arm's last epoch, by seed."""
    return logged(result, arm, name, **at)[:, -1]


def loss_gap(result: xr.Dataset, arm: str, **at: Any) -> np.ndarray:
    """Return test loss − training loss, (seeds, evaluations): the negative of what is defined as the gap."""
    return logged(result, arm, "test_loss", **at) - logged(result, arm, "train_loss", **at)


def accuracies(result: xr.Dataset, arm: str, part: str, **at: Any) -> np.ndarray:
    """Return accuracies in per cent, (seeds, evaluations)."""
    return 100 * (1 - logged(result, arm, f"{part}_error", **at))


def require_penalties(result: xr.Dataset, arm: str, *needed: float) -> None:
    """Refuse a result whose arm lacks penalties.

    Raises:
        NotDecidable: It does, or the arm was not run.
    """
    require(result, arm)
    have = penalties(result, arm)
    missing = [f"{one:g}" for one in needed if not np.isclose(have, one, atol=1e-12).any()]
    if missing:
        raise NotDecidable(f"needs λ = {', '.join(missing)} in arm {arm}, which was not run")


def accuracy_difference(
    result: xr.Dataset, arm: str, test: np.ndarray, other: np.ndarray | float, boundary: float
) -> Comparison:
    """Ask whether test accuracy less another number exceeds a boundary, for new test examples too.

    Args:
        result: The study's result.
        arm: The arm, for the number of its test examples.
        test: Test accuracies by seed, per cent.
        other: What is taken from them.
        boundary: In percentage points.
    """
    count = int(constant(result, arm, "tests"))
    share = np.asarray(test) / 100
    variance = 1e4 * float(np.nanmean(share * (1 - share))) / (count - 1)

    def estimate(level: float) -> Estimate:
        return with_test_sampling_error(test - other, variance, count, level)

    return Comparison(estimate, boundary, 1)
