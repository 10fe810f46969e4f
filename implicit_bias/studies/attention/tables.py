"""Tables of the attention study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.statistics import PERCENT, mean_interval
from implicit_bias.results.table import Table, format_estimate, make_table
from implicit_bias.studies.attention.rows import (
    FACTOR,
    GAIN,
    WIDTH,
    average,
    layers_of,
    main_width,
    of_few,
    trained,
    widths_of,
)
from implicit_bias.studies.attention.settings import FEW
from implicit_bias.studies.rows import by_seed, has, values_of

if TYPE_CHECKING:
    import xarray as xr

SHOWN: dict[str, str] = {
    "rank": "effective rank",
    "entropy": "entropy",
    "top": "largest",
    "recent": "recent",
}
"""Measured of attention, with their heads."""

MORE: dict[str, str] = {
    "stable": "stable rank",
    "moved_rank": "effective rank, permuted",
    "moved_entropy": "entropy, permuted",
}
"""Shown layer by layer only."""


def cells(result: xr.Dataset) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Yield what was trained: arm, setting in words, and places."""
    for width in widths_of(result):
        yield "trained", f"width {width:g}", {WIDTH: width}
    for gain in values_of(result, "gain", GAIN):
        yield "gain", f"gain {gain:g}", {GAIN: gain}
    if has(result, "shuffled"):
        yield "shuffled", f"width {main_width(result):g}", {}
    for arm in FEW:
        for factor in values_of(result, arm, FACTOR):
            yield arm, f"step × {factor:g}", {FACTOR: factor}


def tables(result: xr.Dataset) -> list[Table]:
    """Return what attention became, what was learnt, and what few sequences allow."""
    made = [_attention(result), _layers(result), _losses(result)]
    if has(result, "few"):
        made.append(_possible(result))
    if has(result, "collapse"):
        made.append(_stacks(result))
    return made


def _both(before: np.ndarray, after: np.ndarray) -> str:
    first = average(before)
    return f"{first:.3g} → {format_estimate(mean_interval(after))}" if np.isfinite(first) else "n/a"


def _attention(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for arm, words, at in cells(result):
        row: list[Any] = [arm, words]
        for name in SHOWN:
            before, after = (
                by_seed(result, arm, f"{name}_{moment}", **at).mean(axis=1)
                for moment in ("before", "after")
            )
            row.append(_both(before, after))
        rows.append(row)
    uniform = [
        f"{average(trained(result, name)):.3g}"
        for name in ("uniform_rank", "uniform_top", "uniform_recent")
    ]
    return make_table(
        ["arm", "setting", *SHOWN.values()],
        rows,
        caption="Attention before → after training: means over seeds, layers, heads and test examples [95 % "
        "t-intervals]",
        notes=(
            f"of {result.sizes['query']} positions; attention that looks everywhere alike has an effective "
            f"rank of {uniform[0]}, entropy 1, {uniform[1]} in its largest and {uniform[2]} in its recent "
            "weights",
            "entropy: of rows, relative to that; largest: mass of the largest weights of a row; recent: "
            "mass on the positions that the next token depends on",
        ),
    )


def _layers(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for name, head in {**SHOWN, **MORE}.items():
        before, after = (trained(result, f"{name}_{moment}") for moment in ("before", "after"))
        places = range(len(layers_of(result)))
        rows.append([head, *(_both(before[:, n], after[:, n]) for n in places)])
    return make_table(
        ["quantity", *(f"layer {layer}" for layer in layers_of(result))],
        rows,
        caption=f"The same layer by layer, width {main_width(result):g}",
        notes=("permuted: with the positions of the inputs permuted",),
    )


def _losses(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for arm, words, at in cells(result):
        row: list[Any] = [arm, words]
        row.append(average(by_seed(result, arm, "per_token", **at)))
        for name in ("end_train_error", "end_test_error"):
            right = 100 * (1 - by_seed(result, arm, name, **at))
            row.append(format_estimate(mean_interval(right, bounds=PERCENT)))
        row += [
            format_estimate(mean_interval(by_seed(result, arm, name, **at)))
            for name in ("end_train_loss", "least_test_loss", "end_test_loss", "relabelled_loss")
        ]
        rows.append(row)
    bayes, guess = (average(trained(result, n)) for n in ("bayes_loss", "guess_loss"))
    best = "" if np.isnan(bayes) else f"; no predictor has less than {bayes:.4g}"
    return make_table(
        ["arm", "setting", "numbers per label", "training accuracy, %", "test accuracy, %",
         "training loss", "least test loss", "test loss", "other alphabet"],
        rows,
        caption="What was learnt: at the end, and at the time of least validation loss; means over seeds "
        "[95 % t-intervals], losses in nats for each prediction",
        notes=(f"guessing has a loss of {guess:.4g}{best}",),
    )  # fmt: skip


def _possible(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for arm in ("few", "few-shuffled"):
        if has(result, arm):
            row: list[Any] = [arm]
            row += [
                format_estimate(mean_interval(of_few(result, name, arm)))
                for name in ("final_train_loss", "floor_loss")
            ]
            for name in ("final_train_error", "floor_error"):
                right = 100 * (1 - of_few(result, name, arm))
                row.append(format_estimate(mean_interval(right, bounds=PERCENT)))
            rows.append(row)
    return make_table(
        ["arm", "training loss", "least possible", "training accuracy, %", "most possible, %"],
        rows,
        caption="Few sequences: what was fitted, and what any function of the tokens so far can fit; "
        "means over seeds [95 % t-intervals]",
    )


def _stacks(result: xr.Dataset) -> Table:
    layers = [int(layer) for layer in result["stack_layer"].values]
    shown = [layer for layer in layers if layer in {0, 1, 2, layers[-1] // 2, layers[-1]}]
    rows = []
    for name in result["stack"].values:
        values = by_seed(result, "collapse", "residual", stack=name)
        rows.append([name, *(format_estimate(mean_interval(values[:, n])) for n in shown)])
    return make_table(
        ["stack", *(f"layer {layer}" for layer in shown)],
        rows,
        caption="Untrained attention: distance of positions from one vector, relative; means over seeds "
        "[95 % t-intervals]",
    )
