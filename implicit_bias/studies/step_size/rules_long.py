"""Rules on long training: where test loss is least, what stopping there gains, and whether it falls again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence, NotDecidable
from implicit_bias.results.statistics import Comparison
from implicit_bias.studies.comparisons import about_zero, above, larger, mean_ends, near
from implicit_bias.studies.rows import constant
from implicit_bias.studies.step_size.arms import CONSTANT, FALLING
from implicit_bias.studies.step_size.rows import (
    accuracy_gap,
    epochs,
    logged,
    variants,
)
from implicit_bias.studies.step_size.sizes import full, require_cifar, size_of

if TYPE_CHECKING:
    import xarray as xr

STOPPING, RISE = 0.1, 0.1
"""Half of what stopping is said to gain, in points, and the rise of test loss that matters."""

SHARE = (0.12, 0.36)
"""Where in the run the least test loss may lie; 120 of 500 epochs are published."""

SAME = float(np.log(1.25))
"""Log ratio of two epochs that counts as the same."""

SECOND = 0.2
"""Rise and second fall of the test error that matter, in percentage points."""


def long_as_published(result: xr.Dataset) -> Evidence:
    """Hold the epoch of the least test loss, and what stopping there gains, against what is published."""
    require_cifar(result, "long")
    at = epochs(result, "long", FALLING)
    test = logged(result, "long", FALLING, "test_loss")
    shares = _least(test, at) / at[-1]
    stopped, last = _stopped(result, FALLING)
    usable = np.isfinite(test).all(axis=1)
    least = np.where(usable, np.where(np.isfinite(test), test, np.inf).min(axis=1), np.nan)
    made = {
        "accuracy where validation loss is least, less that at the end": accuracy_gap(
            result, "long", [stopped], [last], STOPPING
        ),
        "share of the run at which test loss is least": near(shares, *SHARE),
        "test loss at the end over its least": larger(test[:, -1], least, RISE),
    }
    if full(result, "long"):
        made["best accuracy as published"] = near(stopped, 94.5, 95.5)
    return Evidence(
        made,
        reason=size_of(result, "long", "ResNet-18 on 50,000 images")
        + "; the source stops where test loss is least, here validation loss decides",
        details={
            **{
                f"{one}: epoch of the least test loss": mean_ends(
                    _least(logged(result, "long", one, "test_loss"), epochs(result, "long", one))
                )
                for one in variants(result, "long")
            },
            "accuracy stopped and at the end, %": [mean_ends(stopped), mean_ends(last)],
        },
    )


def stopping_depends_on_decay(result: xr.Dataset) -> Evidence:
    """Ask whether test loss is least at the same epoch whether the step size falls or stays."""
    least = {
        one: _least(logged(result, "long", one, "test_loss"), epochs(result, "long", one))
        for one in (FALLING, CONSTANT)
    }
    ratio = np.log(np.maximum(least[FALLING], 1) / np.maximum(least[CONSTANT], 1))
    return Evidence(
        {"log ratio of the epochs of least test loss, falling over constant": about_zero(ratio, SAME)},
        reason=f"on {constant(result, 'long', 'data_name')}",
        details={f"{one}: epoch of the least test loss": mean_ends(values) for one, values in least.items()},
    )  # fmt: skip


def second_descent(result: xr.Dataset) -> Evidence:
    """Ask whether test error rises along training and then falls again."""
    made: dict[str, Comparison] = {}
    details: dict[str, Any] = {}
    for one in (FALLING, CONSTANT):
        curves = 100 * logged(result, "long", one, "test_error")
        rise, fall = turns(curves)
        made[f"the lesser of rise and second fall, {one} step size"] = above(
            np.minimum(rise, fall), SECOND
        )
        details[f"{one}: test error at the end, %"] = mean_ends(curves[:, -1])
    return Evidence(
        made,
        reason=f"on {constant(result, 'long', 'data_name')}, labels as they are; each seed at the places "
        "that the other seeds' mean has",
        details=details,
    )


def turns(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far curves rise from a first minimum to a later peak, and fall from it to the end.

    Where they lie is taken for each seed from the mean of the other seeds, smoothed over three
    evaluations: the peak at which the lesser of rise and fall is largest.

    Args:
        curves: Shape (seeds, evaluations).

    Returns:
        Two arrays of shape (seeds,); NaN for a seed with values that are not finite, and where there are
        fewer than two others.
    """
    usable = np.isfinite(curves).all(axis=1)
    rise, fall = np.full(len(curves), np.nan), np.full(len(curves), np.nan)
    for seed in np.flatnonzero(usable):
        others = usable.copy()
        others[seed] = False
        if others.sum() < 2:
            continue
        mean = curves[others].mean(axis=0)
        smooth = np.convolve(np.pad(mean, 1, mode="edge"), np.full(3, 1 / 3), mode="valid")
        low = np.minimum.accumulate(smooth)
        peak = int(np.argmax(np.minimum(smooth - low, smooth - smooth[-1])))
        least = int(np.argmin(smooth[: peak + 1]))
        rise[seed] = curves[seed, peak] - curves[seed, least]
        fall[seed] = curves[seed, peak] - curves[seed, -1]
    return rise, fall


def _least(curves: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the epoch of the least value of each curve, (seeds,); NaN where one is not finite."""
    found = at[np.where(np.isfinite(curves), curves, np.inf).argmin(axis=1)].astype(float)
    return np.where(np.isfinite(curves).all(axis=1), found, np.nan)


def _stopped(result: xr.Dataset, variant: str) -> tuple[np.ndarray, np.ndarray]:
    """Return test accuracies (%) where validation loss is least, and at the end, each (seeds,)."""
    valid = logged(result, "long", variant, "valid_loss")
    test = 100 * (1 - logged(result, "long", variant, "test_error"))
    if not np.isfinite(valid).any():
        raise NotDecidable("needs validation data, of which none were held out")
    best = np.where(np.isfinite(valid), valid, np.inf).argmin(axis=1)
    return test[np.arange(len(test)), best], test[:, -1]
