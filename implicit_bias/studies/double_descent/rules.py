"""Rules on networks of growing width, with the smallest effects that matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence, NotDecidable
from implicit_bias.results.statistics import (
    Comparison,
    geometric_mean_ratio,
    mean_interval,
)
from implicit_bias.studies.comparisons import above, larger
from implicit_bias.studies.double_descent.curves import Climb, at, crosswise, peaks
from implicit_bias.studies.double_descent.rows import (
    at_values,
    controls,
    decayed,
    features,
    noises,
    noisiest,
    threshold,
)
from implicit_bias.studies.rows import by_seed, gap, lost_lanes, require, values_of

if TYPE_CHECKING:
    import xarray as xr

SMALLEST_GAP = 1.0
"""Difference of test errors that matters, in percentage points."""

SMALLEST_RATIO = 0.25
"""A ratio matters from 1.25 on."""

FACTOR = 2.0
"""How far from the predicted width the peak may lie."""

FEATURE_FACTOR = 1.5
"""The same for random features, whose threshold is exact."""


def _within(
    first: np.ndarray, second: np.ndarray, factor: float, name: str
) -> dict[str, Comparison]:
    """Ask whether a ratio lies within a factor of 1, from both sides."""

    def one(direction: int) -> Comparison:
        return Comparison(
            lambda level: geometric_mean_ratio(first, second, level),
            0.0,
            direction,
            factor**-direction,
        )

    return {
        f"{name}: above 1/{factor:g} of the prediction": one(1),
        f"{name}: below {factor:g} times": one(-1),
    }


def _part(places: list[Climb | None], which: str) -> list[int | None]:
    return [None if place is None else getattr(place, which) for place in places]


def _rise(table: np.ndarray, places: list[Climb | None]) -> np.ndarray:
    """Return by seed what a table, (seeds, positions, ...), has more at the peak than before it."""
    return at(table, _part(places, "peak")) - at(table, _part(places, "low"))


def descents(
    wrong: np.ndarray, named: str, smooth: bool = True
) -> tuple[dict[str, Comparison], list[Climb | None]]:
    """Ask for a first descent, a rise to a peak, and a second descent.

    Args:
        wrong: Mistakes, shape (seeds, positions, examples).
        named: What the comparisons' names end in.
        smooth: As in ``crosswise``.
    """
    places = crosswise(wrong.mean(axis=2), smooth)
    low, peak = (at(wrong, _part(places, which)) for which in ("low", "peak"))
    return {
        f"first descent{named}": gap(wrong[:, 0], low, SMALLEST_GAP),
        f"rise to the peak{named}": gap(peak, low, SMALLEST_GAP),
        f"second descent{named}": gap(peak, wrong[:, -1], SMALLEST_GAP),
    }, places


def two_descents(result: xr.Dataset) -> Evidence:
    """Ask for both descents at each level of label noise."""
    require(result, "width")
    return _two_descents(result, "width")


def two_descents_of_channels(result: xr.Dataset) -> Evidence:
    """Ask for both descents of convolutional networks."""
    require(result, "channels")
    return _two_descents(result, "channels")


def _two_descents(result: xr.Dataset, arm: str) -> Evidence:
    comparisons: dict[str, Comparison] = {}
    details: dict[str, object] = {}
    for noise in reversed(noises(result, arm)):
        made, places = descents(
            at_values(result, arm, "test_wrong", label_noise=noise), f", {100 * noise:g} % noise"
        )
        comparisons |= made
        widths = values_of(result, arm, "hidden_width")
        details[f"places at {100 * noise:g} % noise, by the seed they are used for"] = [
            None if place is None else [widths[place.low], widths[place.peak]] for place in places
        ]
    headline = next(name for name in comparisons if name.startswith("rise"))
    return Evidence(comparisons, headline=headline, reason=lost_lanes(result, arm), details=details)


def peak_at_threshold(result: xr.Dataset) -> Evidence:
    """Ask where the peaks of test error and test loss lie, at the highest label noise."""
    require(result, "width")
    widths, predicted = values_of(result, "width", "hidden_width"), threshold(result)
    comparisons: dict[str, Comparison] = {}
    missing = []
    for name, variable in (("test error", "test_error"), ("test loss", "test_loss")):
        found = peaks(noisiest(result, variable))
        if np.isfinite(found).sum() < 2:
            raise NotDecidable(
                f"{np.isfinite(found).sum()} of {found.size} seeds have a peak of the {name} inside the "
                "widths, and 2 are needed"
            )
        if lost := int((~np.isfinite(found)).sum()):
            missing.append(
                f"{lost} of {found.size} seeds have no peak of the {name} inside the widths"
            )
        at_width = np.where(np.isfinite(found), widths[np.nan_to_num(found).astype(int)], np.nan)
        comparisons |= _within(at_width, np.full(found.size, predicted), FACTOR, name)
    return Evidence(
        comparisons,
        reason="; ".join([lost_lanes(result), *missing]).strip("; "),
        details={"predicted width": predicted, "widths": widths},
    )


def removed_by_decay(result: xr.Dataset) -> Evidence:
    """Ask whether the best weight decay leaves no peak."""
    require(result, "width", "decay")
    return _removed(result, decayed(result)["test_error"], "best decay")


def removed_by_stopping(result: xr.Dataset) -> Evidence:
    """Ask whether stopping at the least validation error leaves no peak."""
    require(result, "width")
    stopped = noisiest(result, "stopped_test_error", controls(result))
    return _removed(result, stopped, "early stopping")


def _removed(result: xr.Dataset, error: np.ndarray, named: str) -> Evidence:
    """Compare the rise to the peak without and with a remedy, at the places of the former."""
    plain = noisiest(result, "test_error", controls(result))
    places = crosswise(plain, smooth=False)
    before, after = 100 * _rise(plain, places), 100 * _rise(error, places)
    _require_peak(before)
    return Evidence(
        {
            f"rise without − with {named}": above(before - after, SMALLEST_GAP),
            f"rise left with {named}": Comparison(
                lambda level: mean_interval(after, level), 0.0, -1, SMALLEST_GAP
            ),
        },
        reason=lost_lanes(result),
        details={"control widths": controls(result)},
    )


def lowered_by_ensembling(result: xr.Dataset) -> Evidence:
    """Ask whether the mean of a seed's networks errs less at the peak than they do, and climbs less."""
    require(result, "width", "members")
    along = controls(result)
    single, joint = (noisiest(result, name, along) for name in ("member_error", "ensemble_error"))
    places = crosswise(single, smooth=False)
    peak = _part(places, "peak")
    _require_peak(100 * _rise(single, places))
    return Evidence(
        {
            "error at the peak, one network − ensemble": above(
                100 * (at(single, peak) - at(joint, peak)), SMALLEST_GAP
            ),
            "rise to the peak, one network − ensemble": above(
                100 * (_rise(single, places) - _rise(joint, places)), SMALLEST_GAP
            ),
        },
        reason=lost_lanes(result, "members"),
    )


def more_data_hurt(result: xr.Dataset) -> Evidence:
    """Ask whether test error rises with the number of examples on the way to the threshold."""
    require(result, "samples")
    made, _ = descents(at_values(result, "samples", "test_wrong"), "", smooth=False)
    return Evidence(
        {"rise with more examples": made["rise to the peak"]}, reason=lost_lanes(result, "samples")
    )


def longer_training_hurts_then_helps(result: xr.Dataset) -> Evidence:
    """Ask for two descents along training, of the first width beyond twice the threshold."""
    require(result, "width")
    widths = values_of(result, "width", "hidden_width")
    beyond = np.flatnonzero(widths >= FACTOR * threshold(result))
    if not beyond.size:
        raise NotDecidable(f"no width lies beyond {FACTOR:g} times the threshold")
    chosen = widths[beyond[:1]]
    errors = 100 * noisiest(result, "log_test_error", chosen)[:, 0]
    errors = errors[:, np.isfinite(errors).any(axis=0)]
    places = crosswise(errors)
    low, peak = (at(errors, _part(places, which)) for which in ("low", "peak"))
    return Evidence(
        {
            "first descent": above(errors[:, 0] - low, SMALLEST_GAP),
            "rise": above(peak - low, SMALLEST_GAP),
            "second descent": above(peak - errors[:, -1], SMALLEST_GAP),
        },
        headline="rise",
        reason=lost_lanes(result),
        details={"width": chosen[0]},
    )


def flatter_beyond(result: xr.Dataset) -> Evidence:
    """Hold the sharpness at the peak of the test error against that of the widest network."""
    require(result, "width")
    sharp = noisiest(result, "lambda_max")
    places = crosswise(noisiest(result, "test_error"))
    peak = at(sharp, _part(places, "peak"))
    return Evidence(
        {
            "λmax at the peak to the narrowest": larger(peak, sharp[:, 0], SMALLEST_RATIO),
            "λmax at the peak to the widest": larger(peak, sharp[:, -1], SMALLEST_RATIO),
        },
        headline="λmax at the peak to the widest",
        reason=lost_lanes(result),
    )


def features_peak(result: xr.Dataset) -> Evidence:
    """Ask where regression on random features peaks, and whether the best ridge removes it."""
    loss, examples = features(result, "feature_test_loss"), features(result, "feature_examples")
    sizes = result["feature_count"].values.astype(float)
    highest = loss[:, 0].argmax(axis=1)
    seeds = np.arange(len(loss))
    return Evidence(
        {
            **_within(sizes[highest], examples, FEATURE_FACTOR, "peak of the test loss"),
            "test loss at the peak, ridgeless to best ridge": larger(
                loss[seeds, 0, highest], loss[seeds, 1, highest], SMALLEST_RATIO
            ),
        },
        details={
            "highest at": sizes[highest],
            "median loss there": float(np.median(loss.max(axis=2)[:, 0])),
        },
    )


def batch_effect_across_scale(result: xr.Dataset) -> Evidence:
    """Hold λmax of large against small batches at each width and depth, and the ratios against each other."""
    require(result, "scaling")
    values = {
        name: values_of(result, "scaling", name) for name in ("hidden_width", "depth", "batch_size")
    }

    def sharp(width: float, depth: float, batch: float) -> np.ndarray:
        at = {"hidden_width": width, "depth": depth, "batch_size": batch}
        return by_seed(result, "scaling", "lambda_max", **at)

    small, large = values["batch_size"]
    ratios = {
        (width, depth): sharp(width, depth, large) / sharp(width, depth, small)
        for depth in values["depth"]
        for width in values["hidden_width"]
    }
    comparisons = {
        f"width {width:g}, {depth:g} hidden": larger(ratio, 1.0, SMALLEST_RATIO)
        for (width, depth), ratio in ratios.items()
    }
    narrow, wide = values["hidden_width"][[0, -1]]
    shallow, deep = values["depth"][[0, -1]]
    changes = {
        f"of width, {narrow:g} to {wide:g}, {depth:g} hidden": (
            ratios[wide, depth],
            ratios[narrow, depth],
        )
        for depth in values["depth"]
    } | {
        f"of depth, {shallow:g} to {deep:g}, width {width:g}": (
            ratios[width, deep],
            ratios[width, shallow],
        )
        for width in values["hidden_width"]
    }
    found = {name: geometric_mean_ratio(*pair) for name, pair in changes.items()}
    return Evidence(
        comparisons,
        reason=lost_lanes(result, "scaling"),
        details={
            "factor by which the ratio changes": {
                name: [one.value, one.low, one.high] for name, one in found.items()
            }
        },
    )


def _require_peak(rise: np.ndarray) -> None:
    """Raise ``NotDecidable`` unless there is a peak that could be removed."""
    mean = float(np.nanmean(rise)) if np.isfinite(rise).any() else np.nan
    if not mean > SMALLEST_GAP:
        raise NotDecidable(
            f"as trained, test error rises by {mean:.2g} points on average from the minimum before the peak, "
            f"and more than {SMALLEST_GAP:g} is needed for a peak to remove"
        )
