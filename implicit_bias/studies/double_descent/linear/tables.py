"""Tables of the linear part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias import theory
from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import NOT_NEGATIVE, mean_interval
from implicit_bias.results.table import Table, format_estimate, make_table
from implicit_bias.studies.double_descent.linear.designs import (
    FIFTY,
    HUNDRED,
    LEVELS,
    STRONG_FIRST,
    Design,
    law,
)
from implicit_bias.studies.double_descent.linear.exercise import SIZES
from implicit_bias.studies.double_descent.linear.rows import errors, stage_of
from implicit_bias.studies.double_descent.linear.special import AT, NOISES
from implicit_bias.studies.rows import by_seed

if TYPE_CHECKING:
    import xarray as xr

SHOWN = {
    FIFTY.label: (10, 30, 50, 60, 100, 200, 500),
    HUNDRED.label: (10, 50, 100, 110, 200, 300, 1000),
    STRONG_FIRST.label: (10, 30, 50, 60, 100, 200, 500),
}
"""Sizes of which tables are made; figures have all."""


def linear_tables(result: xr.Dataset) -> Sequence[Table]:
    """Return the tables of what was run."""
    builds: tuple[Callable[[], Table], ...] = (
        lambda: _risk(result, FIFTY),
        lambda: _risk(result, HUNDRED),
        lambda: _risk(result, STRONG_FIRST),
        lambda: _exercise(result),
        lambda: _threshold(result),
    )
    made = []
    for build in builds:
        try:
            made.append(build())
        except NotDecidable:
            continue
    return made


def _risk(result: xr.Dataset, design: Design) -> Table:
    known = law(design)
    rows: list[list[Any]] = []
    for row, target in enumerate(design.targets):
        for used in SHOWN[design.label]:
            column = design.sizes.index(used)
            mean = known.mean[row, column]
            if not (design.defined(target, used) and mean > 0):
                continue
            median = known.quantiles[LEVELS.index(0.5), row, column]
            measured = [
                _over_law(errors(result, design, target.name, used, "mean"), mean),
                _over_law(errors(result, design, target.name, used, "median"), median),
            ]
            laws = [_number(mean, known.exact[row, column]), _number(median, True)]
            rows.append([target.name, str(used), *laws, *measured])
    drawn = by_seed(result, stage_of(design), f"{design.label}_draws").sum()
    return make_table(
        ["labels", "n", "law: mean", "median", "mean / law", "median / law"],
        rows,
        align=("left", "right", "right", "right", "right", "right"),
        caption=f"Test error of the minimum norm, m = {design.examples}, in label²: the law, and what was "
        f"measured in units of it, means over seeds [95 % t-intervals]; {drawn:g} training sets at each size",
        notes=(
            "infinite: the mean over training sets does not exist, whatever was averaged; ~: limit of many "
            "examples, not exact; n/a: not known",
        ),
    )


def _over_law(values: np.ndarray, known: float) -> str:
    return _positive(mean_interval(values / known)) if np.isfinite(known) else "n/a"


def _positive(found: Any) -> str:
    return format_estimate(found.within(NOT_NEGATIVE))


def _number(value: float, exact: bool) -> str:
    if np.isnan(value):
        return "n/a"
    if np.isinf(value):
        return "infinite"
    return f"{'' if exact else '~'}{value:.3g}"


def _exercise(result: xr.Dataset) -> Table:
    published = {10: "0.20", 40: "0.05", 50: "0.40–0.50", 60: "0.10", 200: "0.015"}
    rows: list[list[Any]] = []
    for size in SIZES:
        of = {
            name: mean_interval(
                by_seed(result, "exercise", f"exercise_{name}", exercise_features=size)
            )
            for name in ("mean", "median", "deviation", "train", "norm")
        }
        rows.append(
            [str(size), *(_positive(of[name]) for name in ("mean", "median", "deviation")),
             published.get(size, ""), f"{of['train'].value:.2g}", _positive(of["norm"])]
        )  # fmt: skip
    return make_table(
        ["n", "mean", "median", "deviation", "published mean", "training", "‖w‖"],
        rows,
        caption="Exercise C.5 as it is set: test loss over trials of one seed, half mean squared training "
        "error, and norm; means over seeds [95 % t-intervals]",
        notes=("at n = 50 the mean over trials has no expectation; seeds differ in ‖θ‖²",),
    )


def _threshold(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for sigma in NOISES:
        row: list[Any] = [f"{sigma:g}"]
        for name, level in (("error", 0.5), ("high", 0.95)):
            found = by_seed(
                result, "threshold", f"threshold_{name}", threshold_norm=1.0, threshold_sigma=sigma
            )
            exact = float(np.sqrt(theory.risk_quantile(level, AT, AT, sigma)))
            row += [_positive(mean_interval(found)), f"{exact:.3g}"]
        rows.append(row)
    return make_table(
        ["σ", "median", "law", "95 %", "law"],
        rows,
        caption=f"As many features as examples, n = m = {AT}, ‖θ‖ = 1: root of the excess test error; "
        "means over seeds [95 % t-intervals]",
        notes=("the same for every ‖θ‖; σ = 0: rounding",),
    )
