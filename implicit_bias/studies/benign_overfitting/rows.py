"""Accuracies of the networks that fit labels, by seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.statistics import PERCENT, Estimate, with_test_sampling_error
from implicit_bias.studies.rows import by_seed, constant

if TYPE_CHECKING:
    import xarray as xr


def epochs_logged(result: xr.Dataset, arm: str) -> np.ndarray:
    """Return the epochs of an arm's probes by seed, (seeds, probes); NaN for those not reached."""
    return by_seed(result, arm, "log_step") / constant(result, arm, "epoch_updates")


def last_epochs(result: xr.Dataset, arm: str) -> np.ndarray:
    """Return the epochs after which an arm's lanes ended, by seed."""
    return by_seed(result, arm, "updates") / constant(result, arm, "epoch_updates")


def accuracy(result: xr.Dataset, arm: str, part: str, epoch: float = np.inf) -> np.ndarray:
    """Return an arm's accuracy at its last probe up to an epoch, by seed, in per cent.

    A lane that ended before, as it fits all labels, is taken where it ended.

    Args:
        result: The study's result.
        arm: The arm.
        part: ``train`` (labels as they were trained on) or ``test`` (true labels).
        epoch: The last epoch that counts.
    """
    at, errors = epochs_logged(result, arm), by_seed(result, arm, f"log_{part}_error")
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
    found = with_test_sampling_error(values - other, 1e4 * variance, count, level)
    # Of two accuracies each may be anything; a constant only moves what one can be.
    low, high = PERCENT
    if np.ndim(other):
        return found.within((low - high, high - low))
    return found.within((low - float(other), high - float(other)))
