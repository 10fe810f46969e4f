"""Rules of the claims about networks and memorising, with the smallest effects that matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence, NotDecidable
from implicit_bias.results.statistics import PERCENT, Comparison, mean_interval
from implicit_bias.studies.benign_overfitting.rows import (
    accuracy,
    last_epochs,
    over_tests,
)
from implicit_bias.studies.comparisons import above, below, ends, share_below
from implicit_bias.studies.rows import by_seed, constant, has, require

if TYPE_CHECKING:
    import xarray as xr

FITTED = 99.0
"""Training accuracy from which labels count as fitted, in per cent."""

NEAR_CHANCE = 5.0
"""Accuracy above chance up to which it counts as chance, in percentage points."""

NEVER = 0.01
"""Share of labellings up to which something counts as never happening."""

MUCH = 50.0
"""How far a network must be above a lookup table, in percentage points; 89.5 are published."""

MORE = 1.0
"""Difference to the nearest example's accuracy that matters, in percentage points."""

NETWORK = 99.0
"""Accuracy that rounds to the published 99.5 at worst, in per cent."""

STATED = 98.0
"""Accuracy that counts as about 99, in per cent."""

APART = 20.0
"""Difference of benign and malignant accuracy that matters, in points; 20 to 30 are published."""

AS_PUBLISHED = (75.0, 5.0)
"""Published test accuracy with true labels, and how far it may be off, in per cent."""

STATED_SHARE = 0.25
"""Share of the stated 200 epochs after which both label sets are said to be fitted: 50 epochs."""


def necessarily_poor(result: xr.Dataset) -> Evidence:
    """Ask whether random labels leave true ones at chance, on average and in every draw."""
    require(result, "random", "relabelled")
    chance = 100 * float(constant(result, "random", "chance"))
    _require_fitted(result, "random")
    found = accuracy(result, "random", "test")
    made = {
        f"network, {round(100 / chance)} classes, mean above chance": _at_most(
            result, "random", found, chance, NEAR_CHANCE
        )
    }
    details: dict[str, Any] = {}
    for k in result["classes"].values:
        mean, good, best = (
            by_seed(result, "relabelled", f"relabelled_{name}", classes=k)
            for name in ("accuracy", "good", "best")
        )
        made[f"nearest of few points, {k} classes, mean above chance"] = below(
            100 * (mean - 1 / k), NEAR_CHANCE
        )
        details[f"{k} classes, share of labellings above chance by the margin"] = ends(
            mean_interval(good)
        )
        details[f"{k} classes, best labelling, accuracy in %"] = 100 * float(np.nanmax(best))
    few = result["classes"].values[0]
    good = by_seed(result, "relabelled", "relabelled_good", classes=few)
    made[f"share of labellings that do well, {few} classes"] = share_below(good, NEVER)
    return Evidence(made, details={**details, "network, accuracy by seed, %": found})


def network_beats_table(result: xr.Dataset) -> Evidence:
    """Hold a network that fits its training set against a table of it."""
    require(result, "given", "memorisers")
    _require_fitted(result, "given")
    network = accuracy(result, "given", "test")
    table = 100 * by_seed(
        result, "memorisers", "stored_accuracy", memoriser="lookup table", stored_labels="true"
    )
    made = {"network above the table": _at_least(result, "given", network, MUCH, table)}
    if has(result, "all-given"):
        made[f"network's accuracy, {_size(result, 'all-given')} images"] = _at_least(
            result, "all-given", accuracy(result, "all-given", "test"), NETWORK
        )
    return Evidence(
        made,
        reason=_without_all(result),
        details={
            "lookup table, accuracy in %": ends(mean_interval(table, bounds=PERCENT)),
            "network, accuracy in %": ends(over_tests(result, "given", network)),
        },
    )


def network_beats_nearest(result: xr.Dataset) -> Evidence:
    """Hold the network against a table that answers with the nearest stored example."""
    require(result, "given", "memorisers")
    _require_fitted(result, "given")
    network = accuracy(result, "given", "test")
    nearest = 100 * by_seed(
        result, "memorisers", "stored_accuracy", memoriser="nearest example", stored_labels="true"
    )
    return Evidence(
        {"network above the nearest example": _at_least(result, "given", network, MORE, nearest)},
        details={
            "nearest example, accuracy in %": ends(mean_interval(nearest, bounds=PERCENT)),
            "network, accuracy in %": ends(over_tests(result, "given", network)),
        },
    )


def structure_decides(result: xr.Dataset) -> Evidence:
    """Hold the described network against what it is said to do with true and with shuffled labels."""
    require(result, "given", "random")
    true, random = _whole(result, "given"), _whole(result, "random")
    stated = float(_stated_epochs(result))
    chance = 100 * float(constant(result, "random", "chance"))
    size, at_stated = _size(result, random), accuracy(result, true, "test", stated)
    made = {
        f"shuffled labels, {size} images, {stated:g} epochs: labels fitted": _fitted(
            accuracy(result, random, "train", stated)
        )
    }
    if has(result, "all-given"):
        made[f"true labels, {size} images, {stated:g} epochs: accuracy"] = _at_least(
            result, true, at_stated, STATED
        )
    longest = accuracy(result, "random", "train")
    details = {
        f"true labels, accuracy at {stated:g} epochs, %": ends(over_tests(result, true, at_stated)),
        f"shuffled labels fitted at {stated:g} epochs, % of {size}": ends(
            mean_interval(accuracy(result, random, "train", stated))
        ),
        "epochs until shuffled labels are fitted": last_epochs(result, "random"),
        "epochs until true labels are fitted": last_epochs(result, "given"),
        "shuffled labels that differ from the true ones, share": _share(result),
    }
    if np.nanmean(longest) >= FITTED:
        found = accuracy(result, "random", "test")
        made["shuffled labels, when they are fitted: accuracy above chance"] = _at_most(
            result, "random", found, chance, NEAR_CHANCE
        )
    return Evidence(made, reason=_without_all(result), details=details)


def plane_as_expected(result: xr.Dataset) -> Evidence:
    """Hold the exercise on the plane against what a master-level solution is said to show."""
    require(result, "plane")

    def fitted(schedule: str, labels: str, share: float) -> np.ndarray:
        values = by_seed(result, "plane", "plane_train", schedule=schedule, plane_labels=labels)
        return 100 * values[:, _probe(result, share)]

    made: dict[str, Comparison] = {}
    for schedule in ("as stated", "He start"):
        for labels in ("true", "random"):
            made[f"{schedule}: {labels} labels fitted by a quarter of the epochs"] = _fitted(
                fitted(schedule, labels, STATED_SHARE)
            )
    for schedule in ("as stated", "He start"):
        made[f"{schedule}: random labels fitted at the end"] = _fitted(
            fitted(schedule, "random", 1.0)
        )
    centre, off = AS_PUBLISHED
    true = (
        100
        * by_seed(result, "plane", "plane_own", schedule="as stated", plane_labels="true")[:, -1]
    )
    made["as stated: distance of the accuracy with true labels from 75 %"] = below(
        np.abs(true - centre), off
    )
    details = {"as stated, accuracy with true labels, %": ends(mean_interval(true, bounds=PERCENT))}
    longer = {
        labels: 100
        * by_seed(result, "plane", "plane_own", schedule="longer", plane_labels=labels)[:, -1]
        for labels in ("true", "random")
    }
    made["longer: random labels fitted"] = _fitted(fitted("longer", "random", 1.0))
    made["longer: accuracy with true labels less that with random ones"] = above(
        longer["true"] - longer["random"], APART
    )
    details |= {
        f"longer, accuracy with {name} labels, %": ends(mean_interval(values, bounds=PERCENT))
        for name, values in longer.items()
    }
    details["longer, random labels, accuracy on the rule, %"] = ends(
        mean_interval(
            100
            * by_seed(result, "plane", "plane_rule", schedule="longer", plane_labels="random")[
                :, -1
            ]
        )
    )
    return Evidence(
        made, headline="as stated: random labels fitted by a quarter of the epochs", details=details
    )


def _fitted(values: np.ndarray) -> Comparison:
    """Ask whether training accuracies in per cent are those of labels that are fitted."""
    return Comparison(lambda level: mean_interval(values, level, bounds=PERCENT), FITTED, 1)


def _at_least(
    result: xr.Dataset,
    arm: str,
    values: np.ndarray,
    boundary: float,
    other: np.ndarray | float = 0.0,
) -> Comparison:
    """Ask whether an accuracy less another one exceeds a boundary, for new test examples too."""
    return Comparison(lambda level: over_tests(result, arm, values, level, other), boundary, 1)


def _at_most(
    result: xr.Dataset, arm: str, values: np.ndarray, chance: float, boundary: float
) -> Comparison:
    """Ask whether an accuracy less that of chance stays below a boundary, for new test examples too."""
    return Comparison(
        lambda level: over_tests(result, arm, values, level, chance), 0.0, -1, boundary
    )


def _whole(result: xr.Dataset, labels: str) -> str:
    """Return the arm on all images, or where it was not run that on a part of them."""
    return f"all-{labels}" if has(result, f"all-{labels}") else labels


def _without_all(result: xr.Dataset) -> str:
    if has(result, "all-given"):
        return ""
    return f"on {_size(result, 'given')} images: the published accuracy, of all of MNIST, is not asked here"


def _size(result: xr.Dataset, arm: str) -> int:
    return int(constant(result, arm, "examples"))


def _stated_epochs(result: xr.Dataset) -> float:
    return float(constant(result, "given", "stated_epochs"))


def _share(result: xr.Dataset) -> list[float] | str:
    if not has(result, "memorisers"):
        return "not measured"
    return ends(mean_interval(by_seed(result, "memorisers", "relabelled_share")))


def _probe(result: xr.Dataset, share: float) -> int:
    return int(np.argmin(np.abs(result["plane_probe"].values - share)))


def _require_fitted(result: xr.Dataset, arm: str) -> None:
    found = accuracy(result, arm, "train")
    if not np.nanmean(found) >= FITTED:
        raise NotDecidable(
            f"arm {arm} fits {np.nanmean(found):.1f} % of its labels on average, and {FITTED:g} % are "
            "needed; raise epochs"
        )
