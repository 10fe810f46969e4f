"""Rules on training that prefers flat minima: penalties on curvature, and SAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from implicit_bias.results.claims import Evidence, Finding, NotDecidable
from implicit_bias.results.statistics import Comparison, Estimate
from implicit_bias.studies import paired_cells
from implicit_bias.studies.comparisons import ends
from implicit_bias.studies.flat_minima.arms import PENALTIES
from implicit_bias.studies.flat_minima.rules import (
    SMALLEST_GAP,
    SMALLEST_RATIO,
    at_most,
    cells,
    lost_lanes,
    ratio,
)

if TYPE_CHECKING:
    import xarray as xr

SAM_PAIRS: dict[str, tuple[tuple[str, int], tuple[str, int]]] = {
    "clean labels, large B": (("sam", -1), ("sgd", -1)),
    "clean labels, small B": (("sam-small", 0), ("sgd", 0)),
    "clean labels, large B, large ρ": (("sam-large-rho", -1), ("sgd", -1)),
    "noisy labels": (("sam-noisy", -1), ("sgd-noisy", -1)),
    "few examples": (("sam-few", -1), ("sgd-few", -1)),
}
"""Tasks on which SAM is held against SGD: the arms and batch sizes compared."""


def penalty_replaces_small_batch(result: xr.Dataset) -> Evidence:
    """Hold large batches with a penalty on curvature against large and small ones without."""
    present = [arm for arm in PENALTIES if arm in paired_cells.arms(result)]
    if not present:
        raise NotDecidable(f"needs one of the arms {', '.join(PENALTIES)}")
    small, large = cells(result, ("sgd", 0), ("sgd", -1))
    comparisons: dict[str, Comparison] = {}
    for arm in present:
        (flat,) = cells(result, (arm, -1))
        comparisons |= {
            f"λmax lowered by {arm}": ratio(large, flat, "lambda_max"),
            f"test error lowered by {arm}": paired_cells.error_gap(large, flat, SMALLEST_GAP),
            f"test error as with small B, {arm}": at_most(
                paired_cells.error_gap(flat, small, SMALLEST_GAP), SMALLEST_GAP
            ),
            f"λmax as with small B, {arm}": at_most(
                ratio(flat, small, "lambda_max"), 1 + SMALLEST_RATIO
            ),
        }
    gap = paired_cells.error_gap(large, small, SMALLEST_GAP).estimate(0.95)
    sharper = ratio(large, small, "lambda_max").estimate(0.95)
    return Evidence(
        comparisons,
        reason=lost_lanes(result, ("sgd", *present)),
        details={
            "large B without penalty, test error above small B (points)": ends(gap),
            "large B without penalty, λmax relative to small B": ends(sharper),
        },
    )


def sam_is_not_always_better(result: xr.Dataset) -> Finding:
    """Hold SAM against SGD on every task that was run, at a joint level of 95 %."""
    here = paired_cells.arms(result)
    pairs = {task: pair for task, pair in SAM_PAIRS.items() if all(arm in here for arm, _ in pair)}
    if not pairs:
        raise NotDecidable("needs an arm of SAM and its arm of SGD")
    level = 1 - 0.05 / len(pairs)
    made: dict[str, Estimate] = {}
    for task, (first, second) in pairs.items():
        a, b = cells(result, first, second)
        made[task] = paired_cells.error_gap(a, b, 0.0).estimate(level)
    worse = [task for task, estimate in made.items() if estimate.above(0)]
    better = [task for task, estimate in made.items() if estimate.below(0)]
    head = max(made, key=lambda task: made[task].low)
    if worse:
        verdict = "supported"
    elif len(better) == len(made):
        verdict = "refuted"
    else:
        verdict = "inconclusive"
    texts = [
        f"{word}: {', '.join(tasks)}"
        for word, tasks in (
            ("SAM errs more", worse),
            ("SAM errs less", better),
            ("undecided", [task for task in made if task not in worse + better]),
        )
        if tasks
    ]
    estimate = made[head]
    return Finding(
        verdict=verdict,  # type: ignore[arg-type]
        effect=estimate.value,
        interval=(estimate.low, estimate.high),
        n_seeds=estimate.n,
        reason="; ".join(texts),
        details={
            "headline": head,
            "level": level,
            "SAM − SGD (points)": {task: ends(made[task]) for task in made},
        },
    )
