"""Tables of the lottery-ticket study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import PERCENT, Estimate, mean_interval
from implicit_bias.results.table import (
    Table,
    format_estimate,
    format_number,
    make_table,
    words_then_numbers,
)
from implicit_bias.studies.lottery_ticket.rows import (
    OWN_LAYERS,
    STABILITY,
    arms_of,
    levels_of,
    of_arm,
    table_levels,
)
from implicit_bias.studies.lottery_ticket.settings import ARMS
from implicit_bias.studies.rows import by_seed, geometric_mean, has, seeds_of

if TYPE_CHECKING:
    import xarray as xr

CONNECTED = 2.0
"""Instability up to which two networks are called connected, in percentage points of error."""


def tables(result: xr.Dataset) -> list[Table]:
    """Return accuracies after all updates and stopped early, when that is, what is left, and flatness."""
    levels = table_levels(result)
    made = [
        _by_level(
            result,
            levels,
            lambda arm, level: _accuracy(result, arm, level, "test_error"),
            "Test accuracy, % [95 % t-intervals over seeds], after all updates, by weights remaining",
            notes=tuple(f"{arm}: {ARMS[arm]}" for arm in arms_of(result)),
        ),
        _by_level(
            result,
            levels,
            lambda arm, level: _accuracy(result, arm, level, "stop_test_error"),
            "Test accuracy, % [95 % t-intervals over seeds], at the update of least validation loss",
        ),
        _by_level(
            result,
            levels,
            lambda arm, level: mean_interval(of_arm(result, arm, "stop_update", level)),
            "Update of least validation loss among the evaluations, mean [95 % t-interval over seeds]",
            notes=_late_stops(result),
        ),
        _by_level(
            result,
            levels,
            lambda arm, level: _accuracy(result, arm, level, "train_error"),
            "Training accuracy, % [95 % t-intervals over seeds], after all updates",
        ),
        _by_level(
            result,
            levels,
            lambda arm, level: geometric_mean(of_arm(result, arm, "lambda_max", level)),
            "Largest Hessian eigenvalue among surviving parameters, geometric mean [95 % t-interval of the "
            "logarithm over seeds]",
        ),
        _layers(result, levels),
    ]
    if has(result, STABILITY):
        made.append(_stability(result))
    return made


def head(level: float) -> str:
    """Write a level as the head of a column."""
    return f"{100 * level:.3g} %"


def _short(estimate: Estimate) -> str:
    """Write an estimate, one without spread as a number."""
    if estimate.n > 1 and estimate.low == estimate.high:
        return format_number(estimate.value)
    return format_estimate(estimate)


def _accuracy(result: xr.Dataset, arm: str, level: float, name: str) -> Estimate:
    return mean_interval(100 - 100 * of_arm(result, arm, name, level), bounds=PERCENT)


def _by_level(
    result: xr.Dataset,
    levels: np.ndarray,
    estimate: Any,
    caption: str,
    notes: tuple[str, ...] = (),
) -> Table:
    """Return a table of arms by levels; the dense network stands at 100 % alone."""
    rows = []
    for arm in arms_of(result):
        row: list[Any] = [arm]
        for level in map(float, levels):
            dense = level == 1
            if dense != (arm == "dense"):
                row.append("")
                continue
            try:
                row.append(_short(estimate(arm, level)))
            except NotDecidable:
                row.append("n/a")
        rows.append(row)
    count = f"n = {seeds_of(result).size} seeds, less those that diverged"
    return make_table(
        ["arm", *map(head, levels)],
        rows,
        align=words_then_numbers(1, len(levels)),
        caption=caption,
        notes=(*notes, count),
    )


def _late_stops(result: xr.Dataset) -> tuple[str, ...]:
    """Say how many runs had their least validation loss at their very end."""
    rows = np.isin(result["arm"].values, arms_of(result)) & ~result["diverged"].values
    late = int(np.nansum(result["stop_at_end"].values[rows]))
    if not late:
        return ()
    return (
        f"{late} of {int(rows.sum())} runs had it at their last update: longer ones might have stopped later",
    )


def _layers(result: xr.Dataset, levels: np.ndarray) -> Table:
    names = [str(name) for name in result["layer"].values]
    rows = []
    for arm in arms_of(result):
        if arm not in OWN_LAYERS:
            continue
        for place, name in enumerate(names):
            row: list[Any] = [arm if not place else "", name]
            for level in map(float, levels[1:]):
                try:
                    left = of_arm(result, arm, "layer_remaining", level)[:, place]
                    row.append(_short(mean_interval(100 * left, bounds=PERCENT)))
                except NotDecidable:
                    row.append("n/a")
            rows.append(row)
    return make_table(
        ["arm", "layer", *map(head, levels[1:])],
        rows,
        align=words_then_numbers(2, len(levels) - 1),
        caption="Weights remaining in each layer, % [95 % t-intervals over seeds]",
        notes=(
            "a number alone is that of all seeds; arms that are not listed have the ticket's numbers",
        ),
    )


def _stability(result: xr.Dataset) -> Table:
    values = 100 * by_seed(result, STABILITY, "instability")
    rows = []
    for place, arm in enumerate(map(str, result["twice"].values)):
        own = [mean_interval(values[:, place, split]) for split in range(values.shape[2])]
        test = own[list(result["split"].values).index("test")]
        said = "yes" if test.below(CONNECTED) else "no" if test.above(CONNECTED) else "undecided"
        level = levels_of(result, f"{arm}-twin")
        rows.append(
            [arm, head(float(level[0])) if level.size else "", *map(format_estimate, own), said]
        )
    return make_table(
        ["arm", "weights", *(f"{split} error" for split in result["split"].values), "connected"],
        rows,
        caption="Instability to the order of examples: highest error on the straight line between two runs, "
        "less the mean error of both, percentage points [95 % t-intervals over seeds]",
        notes=(
            f"connected: below {CONNECTED:g} points of test error, as Frankle et al. (2020) have it",
        ),
    )
