"""Rules of the claims about networks trained on images, with the smallest effects that matter."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence, Finding, NotDecidable, identity
from implicit_bias.results.statistics import Comparison
from implicit_bias.studies.comparisons import above, below, larger, mean_ends, near
from implicit_bias.studies.early_stopping.networks.rows import (
    accuracies,
    accuracy_difference,
    batches,
    ended,
    logged,
    loss_gap,
    penalties,
    require_penalties,
)
from implicit_bias.studies.early_stopping.networks.settings import ARMS
from implicit_bias.studies.rows import constant, epochs_of, has, require

if TYPE_CHECKING:
    import xarray as xr

GAIN, COST = 0.035, 0.085
"""Halves of what λ = 1e-4 is said to save of the test loss of λ = 0, and λ = 1e-2 to cost beside it."""

BEST, WORST = 1e-4, 1e-2
"""λ said to be best, and said to underfit."""

NORM_RATIO = 1.0
"""How far the ratio of ‖W‖ at λ = 0 and 1e-2 must exceed one; 45/8 is published."""

IMPOSSIBLE = 1.0
"""Test accuracy less training accuracy that counts, in percentage points; 7.8 are published."""

ACCURACY, LOSS = (97.0, 98.0), (0.26, 0.44)
"""Published test accuracy at λ = 1e-4, 97.5 %, and test loss at λ = 0, .35, with what they may be off."""

GAPS = (0.1, 0.05, 0.02)
"""Published gaps: small batch, middle batch, large batch with penalty."""

MATCHED = 0.025
"""Difference between batch sizes at one training loss that matters: half of the published one."""

OVER = 0.25
"""How far a published loss may be off, as a share."""

LEAST, LAST, RISE = 0.35, 0.55, 0.1
"""Published least and last test loss of C.10, and half of the published rise."""

OPTIMUM = (40, 60)
"""Published epochs of the least test loss."""

CLOSE, FAR = 0.05, (0.15, 0.45)
"""Gap at epoch 50 that counts as the published .01, and at the end as the published .30."""

TOLERANCE = 1e-5
"""Rounding that ln 2 × error may exceed a cross-entropy by."""


def one_penalty_is_best(result: xr.Dataset) -> Evidence:
    """Hold a sweep over penalties against the curve that is published for it."""
    require_penalties(result, "decay", 0.0, BEST, WORST)
    last = {
        name: {
            penalty: ended(result, "decay", name, penalty=penalty)
            for penalty in penalties(result, "decay")
        }
        for name in ("train_loss", "test_loss", "weight_norm")
    }
    train, test = (
        {
            penalty: accuracies(result, "decay", part, penalty=penalty)[:, -1]
            for penalty in penalties(result, "decay")
        }
        for part in ("train", "test")
    )
    none, best, worst = (_at(last["test_loss"], one) for one in (0.0, BEST, WORST))
    free, held = (_at(last["weight_norm"], one) for one in (0.0, WORST))
    made = {
        "test loss at λ = 0 less that at λ = 1e-4": above(none - best, GAIN),
        "test loss at λ = 1e-2 less that at λ = 1e-4": above(worst - best, COST),
        "‖W‖ at λ = 0 over that at λ = 1e-2": larger(free, held, NORM_RATIO),
        "accuracy at λ = 1e-2, test less training": accuracy_difference(
            result, "decay", _at(test, WORST), _at(train, WORST), IMPOSSIBLE
        ),
    }
    if _of(result, "decay", "mnist"):
        made["test accuracy at λ = 1e-4"] = near(_at(test, BEST), *ACCURACY)
        made["test loss at λ = 0"] = near(none, *LOSS)
    tables = {
        **{name.replace("_", " "): values for name, values in last.items()},
        "training accuracy, %": train,
        "test accuracy, %": test,
    }
    return Evidence(
        made,
        reason=_elsewhere(result, "decay", "mnist"),
        details={
            f"{name}, λ = {penalty:g}": mean_ends(values)
            for name, by_penalty in tables.items()
            for penalty, values in by_penalty.items()
        },
    )


def small_batches_gap_most(result: xr.Dataset) -> Evidence:
    """Hold the gaps of three configurations against their published order and distances."""
    configurations = _configurations(result)
    gaps = {name: loss_gap(result, "gap", **at)[:, -1] for name, at in configurations.items()}
    names, published = list(gaps), list(GAPS)
    if len(names) == 2:
        published = [GAPS[0], GAPS[-1]]
    made = {
        f"gap, {first} less {second}": above(
            gaps[first] - gaps[second], (published[place] - published[place + 1]) / 2
        )
        for place, (first, second) in enumerate(itertools.pairwise(names))
    }
    if _of(result, "gap", "mnist"):
        for name, value in zip(names, published, strict=True):
            made[f"gap, {name}, as published"] = near(gaps[name], value / 2, 2 * value)
    details: dict[str, Any] = {
        f"gap at the end, batch {batch}, λ = {penalty:g}": mean_ends(
            loss_gap(result, "gap", batch_size=batch, penalty=penalty)[:, -1]
        )
        for batch in batches(result, "gap")
        for penalty in penalties(result, "gap")
    }
    first = next(iter(configurations.values()))
    at = epochs_of(result, "gap", **first)
    curve = np.nanmean(logged(result, "gap", "test_loss", **first), axis=0)
    details["small batch: epoch of the least mean test loss"] = float(at[np.nanargmin(curve)])
    said = (
        "the gap is test − training loss, the negative of what the source defines and the sign of what it "
        "reports"
    )
    return Evidence(
        made,
        reason="; ".join(part for part in (said, _elsewhere(result, "gap", "mnist")) if part),
        details=details,
    )


def batches_alone_matter(result: xr.Dataset) -> Evidence:
    """Compare the gaps of small and large batches without a penalty where their training losses agree."""
    require(result, "gap")
    small, large = batches(result, "gap")[0], batches(result, "gap")[-1]
    sides = [{"batch_size": size, "penalty": 0.0} for size in (small, large)]
    train, gap = ([_log(result, name, at) for at in sides] for name in ("train_loss", "gap"))
    difference = np.full(len(train[0]), np.nan)
    for seed in range(len(difference)):
        level, there = train[1][seed, -1], gap[1][seed, -1]
        difference[seed] = _gap_at(train[0][seed], gap[0][seed], level) - there
    equal = gap[0][:, -1] - gap[1][:, -1]
    return Evidence(
        {f"gap, batch {small} less batch {large}, at one training loss": above(difference, MATCHED)},
        reason="the training loss is that with which the large batch ends; the small one's gap there is "
        "interpolated between evaluations",
        details={"the same after equal epochs": mean_ends(equal)},
    )  # fmt: skip


def overfits_as_published(result: xr.Dataset) -> Evidence:
    """Hold the losses of a network on few images of CIFAR-10 against what is published."""
    require(result, "overfit")
    if not _of(result, "overfit", "cifar10"):
        raise NotDecidable(
            f"what is published is of CIFAR-10, and these data are {_data(result, 'overfit')}; "
            "configs/early_stopping/cifar10.yaml decides it"
        )
    at, test = epochs_of(result, "overfit"), logged(result, "overfit", "test_loss")
    gap = loss_gap(result, "overfit")
    usable = np.isfinite(test).all(axis=1)
    least = np.where(usable, np.min(np.where(np.isfinite(test), test, np.inf), axis=1), np.nan)
    when = np.where(
        usable, at[np.argmin(np.where(np.isfinite(test), test, np.inf), axis=1)], np.nan
    )
    best = accuracies(result, "overfit", "test").max(axis=1)
    needed = 100 * (1 - LEAST / math.log(2))
    made: dict[str, Comparison] = {
        "least test loss": below(least, (1 + OVER) * LEAST),
        "test loss at the end": below(test[:, -1], (1 + OVER) * LAST),
        "rise of test loss after its least": above(test[:, -1] - least, RISE),
        "epoch of the least test loss": near(when, *OPTIMUM),
        "gap at the end": near(gap[:, -1], *FAR),
        "best test accuracy, beside what the published least loss needs": accuracy_difference(
            result, "overfit", best, 0.0, needed
        ),
    }
    if 50 in at:
        made["gap at epoch 50"] = below(gap[:, list(at).index(50)], CLOSE)
    details = {
        "least test loss": mean_ends(least),
        "test loss at the end": mean_ends(test[:, -1]),
        "epoch of the least test loss": mean_ends(when),
        "training accuracy at the end, %": mean_ends(accuracies(result, "overfit", "train")[:, -1]),
        "best test accuracy, %": mean_ends(best),
        **{
            f"gap at epoch {epoch:g}": mean_ends(gap[:, place])
            for place, epoch in enumerate(at)
            if epoch in (10, 50, 100, 150, 200)
        },
    }
    return Evidence(
        made,
        reason="the gap is test − training loss, the negative of what the source defines; an image has "
        f"{_inputs(result)} numbers, not 784",
        details=details,
    )


def loss_bounds_error(result: xr.Dataset) -> Finding:
    """Check that no cross-entropy lies below ln 2 times its error, on any data and in any evaluation."""
    arms = [arm for arm in ARMS if has(result, arm)]
    if not arms:
        raise NotDecidable("no network was trained")
    rows = np.isin(result["arm"].values, arms)
    excess, count = [], 0
    for part in ("train", "valid", "test"):
        loss, error = (
            result[f"log_{part}_{name}"].values[rows].astype(float) for name in ("loss", "error")
        )
        short = math.log(2) * error - loss
        count += int(np.isfinite(short).sum())
        if np.isfinite(short).any():
            excess.append(max(float(np.nanmax(short)), 0.0))
    details: dict[str, Any] = {
        "evaluations": count,
        "accuracy that a loss of .35 needs, %": 100 * (1 - LEAST / math.log(2)),
    }
    if has(result, "overfit"):
        data = _data(result, "overfit")
        details[f"best test accuracy on {data}, arm overfit, %"] = mean_ends(
            accuracies(result, "overfit", "test").max(axis=1)
        )
    return identity(
        excess,
        TOLERANCE,
        n_seeds=int(np.unique(result["seed"].values[rows]).size),
        reason="a mistake's label has probability ½ at most; the tolerance is for rounding",
        **details,
    )


def _configurations(result: xr.Dataset) -> dict[str, dict[str, float]]:
    """Return batch size and penalty of the published configurations, in the order of their gaps."""
    sizes, (none, penalty) = batches_of_gap(result), penalties(result, "gap")
    made = {f"batch {size}": {"batch_size": size, "penalty": none} for size in sizes[:-1]}
    large = f"batch {sizes[-1]} with λ = {penalty:g}"
    return {**made, large: {"batch_size": sizes[-1], "penalty": penalty}}


def batches_of_gap(result: xr.Dataset) -> list[int]:
    """Return the batch sizes that stand for the published ones: the first, the middle and the last.

    Raises:
        NotDecidable: The arm was not run.
    """
    require(result, "gap")
    sizes = batches(result, "gap")
    return sizes if len(sizes) == 2 else [sizes[0], sizes[len(sizes) // 2], sizes[-1]]


def _log(result: xr.Dataset, name: str, at: dict[str, float]) -> np.ndarray:
    require(result, "gap")
    return loss_gap(result, "gap", **at) if name == "gap" else logged(result, "gap", name, **at)


def _gap_at(train: np.ndarray, gap: np.ndarray, level: float) -> float:
    """Return the gap where training loss first falls to a level, interpolated; NaN where it never does."""
    if not np.isfinite([*train, *gap, level]).all():
        return math.nan
    reached = np.flatnonzero(train <= level)
    if not reached.size:
        return math.nan
    after = int(reached[0])
    if after == 0:
        return float(gap[0])
    before = after - 1
    share = (train[before] - level) / (train[before] - train[after])
    return float(gap[before] + share * (gap[after] - gap[before]))


def _at(table: dict[float, np.ndarray], penalty: float) -> np.ndarray:
    return next(values for one, values in table.items() if math.isclose(one, penalty))


def _data(result: xr.Dataset, arm: str) -> str:
    return str(constant(result, arm, "data_name"))


def _of(result: xr.Dataset, arm: str, name: str) -> bool:
    return _data(result, arm).startswith(name)


def _elsewhere(result: xr.Dataset, arm: str, name: str) -> str:
    if _of(result, arm, name):
        return ""
    return (
        f"on {_data(result, arm)}; published numbers are of {name.upper()} and asked by "
        f"configs/early_stopping/{name}.yaml"
    )


def _inputs(result: xr.Dataset) -> int:
    return int(constant(result, "overfit", "inputs"))
