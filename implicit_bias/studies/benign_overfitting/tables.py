"""Tables of the benign-overfitting study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.statistics import PERCENT
from implicit_bias.results.table import Table, format_estimate, make_table
from implicit_bias.studies.benign_overfitting.memorisers import MEMORISERS
from implicit_bias.studies.benign_overfitting.norms import DIRECTIONS, SPECTRA
from implicit_bias.studies.benign_overfitting.ranks import FACTORS, TESTS
from implicit_bias.studies.benign_overfitting.rows import (
    accuracy,
    last_epochs,
    over_tests,
)
from implicit_bias.studies.benign_overfitting.settings import ARMS
from implicit_bias.studies.benign_overfitting.tails import DESIGNS
from implicit_bias.studies.rows import by_seed, constant, exponents, has
from implicit_bias.studies.seed_means import INTERVALS, geometric, mean, percent

if TYPE_CHECKING:
    import xarray as xr


def tables(result: xr.Dataset) -> list[Table]:
    """Return one table for each thing that was done."""
    made = {
        "tails": (_designs, _tails),
        "norms": (_norms,),
        "ranks": (_ranks, _sweep),
        "few": (_few,),
        "given": (_networks,),
        "plane": (_plane,),
    }
    return [table(result) for arm, some in made.items() if has(result, arm) for table in some]


def _designs(result: xr.Dataset) -> Table:
    samples = result["sample"].values
    rows: list[list[Any]] = []
    for design in DESIGNS:
        columns = {
            name: by_seed(result, "tails", f"growth_{name}", design=design)
            for name in ("excess", "norm", "training", "r0", "head", "R", "order")
        }
        known = {name: float(columns[name][0, -1]) for name in ("r0", "head", "R", "order")}
        rows.append(
            [
                design,
                *known.values(),
                *(mean(columns[name][:, -1]) for name in ("excess", "norm", "training")),
                *(mean(exponents(samples, columns[name])) for name in ("excess", "norm")),
            ]
        )
    return make_table(
        [
            "design",
            "r_0",
            "k*",
            "R_k*",
            "k*/m + m/R_k*",
            "excess/σ²",
            "norm/truth",
            "training/σ²",
            "exponent of excess",
            "exponent of norm",
        ],
        rows,
        caption=f"Minimum-norm fits at m = {samples[-1]}, and exponents in m from {samples[0]} on; "
        f"{INTERVALS}",
        notes=tuple(f"{name}: {what}" for name, what in DESIGNS.items()),
    )


def _tails(result: xr.Dataset) -> Table:
    rows = []
    for place, tail in enumerate(result["tail_size"].values):
        found = {
            name: by_seed(result, "tails", f"tail_{name}")[:, place]
            for name in ("bias", "variance", "norm", "order")
        }
        rows.append(
            [
                int(tail),
                float(found["order"][0]),
                geometric(found["bias"]),
                *(mean(found[name]) for name in ("variance", "norm")),
            ]
        )
    m = int(by_seed(result, "tails", "tail_examples")[0])
    return make_table(
        ["tail", "k*/m + m/R_k*", "bias/signal", "variance/σ²", "norm/truth"],
        rows,
        caption=f"The tail's length at m = {m}, its energy fixed; {INTERVALS}, of the bias geometric",
    )


def _norms(result: xr.Dataset) -> Table:
    kappas = [float(kappa) for kappa in result["condition"].values]
    rows = [
        [
            spectrum,
            direction,
            *(
                geometric(
                    by_seed(result, "norms", "norm_ratio", spectrum=spectrum, direction=direction)[:, place]
                )
                for place in range(len(kappas))
            ),
        ]
        for spectrum in SPECTRA
        for direction in DIRECTIONS
    ]  # fmt: skip
    return make_table(
        ["spectrum", "y", *(f"κ = {kappa:g}" for kappa in kappas)],
        rows,
        caption="‖X⁺y‖ σ_r / ‖y‖ with r the effective rank; geometric means over seeds "
        "[95 % t-intervals of the logarithm]",
        notes=tuple(f"{name}: {what}" for name, what in {**SPECTRA, **DIRECTIONS}.items()),
    )


def _ranks(result: xr.Dataset) -> Table:
    rows = []
    for reading in FACTORS:
        for place, rank in enumerate(result["nominal_rank"].values):
            found = {
                name: by_seed(result, "ranks", f"rank_{name}", factors=reading)[:, place]
                for name in ("effective", "condition", "error", "relative")
            }
            rows.append(
                [
                    reading,
                    int(rank),
                    mean(found["effective"]),
                    *(geometric(found[name]) for name in ("condition", "error", "relative")),
                ]
            )
    return make_table(
        ["U, V", "rank", "effective rank", "σ_1/σ_m", "test error", "test error/variance"],
        rows,
        caption="The exercise on effective rank; means over seeds, of ratios and errors geometric "
        "[95 % t-intervals]",
        notes=tuple(f"{name}: {what}" for name, what in FACTORS.items()),
    )


def _sweep(result: xr.Dataset) -> Table:
    rows = []
    for place, rank in enumerate(result["sweep_rank"].values):
        effective = by_seed(result, "ranks", "sweep_effective")[:, place]
        row: list[Any] = [int(rank), mean(effective)]
        for test in TESTS:
            for name in ("error", "relative"):
                values = by_seed(result, "ranks", f"sweep_{name}", sweep_test=test)
                row.append(geometric(values[:, place]))
        rows.append(row)
    heads = [f"{name}, {test}" for test in TESTS for name in ("error", "error/variance")]
    return make_table(
        ["nominal rank", "effective rank", *heads],
        rows,
        caption="The solution's sweep; means over seeds, of errors geometric [95 % t-intervals]",
        notes=tuple(f"{name}: {what}" for name, what in TESTS.items()),
    )


def _few(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for place, name in enumerate(result["interpolator"].values):
        values = (by_seed(result, "few", f"few_{which}")[:, place] for which in ("excess", "norm"))
        rows.append(["isotropic", str(name), *(mean(one) for one in values)])
    law = float(by_seed(result, "few", "few_law")[0])
    rows.append(["isotropic", "minimum norm, law", law, "n/a"])
    spiked = mean(by_seed(result, "few", "few_spiked"))
    rows.append(["spiked", "minimum norm", spiked, "n/a"])
    return make_table(
        ["inputs", "predictor", "excess risk/signal", "norm/truth"],
        rows,
        caption=f"Few examples of many features; {INTERVALS}",
    )


def _networks(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    stated = float(constant(result, "given", "stated_epochs"))
    for arm in ARMS:
        if not has(result, arm):
            continue
        rows.append(
            [
                arm,
                int(constant(result, arm, "examples")),
                *(
                    mean(accuracy(result, arm, "train", at), PERCENT)
                    if part == "train"
                    else format_estimate(
                        over_tests(result, arm, accuracy(result, arm, "test", at)).within(PERCENT)
                    )
                    for at in (stated, np.inf)
                    for part in ("train", "test")
                ),
                float(np.nanmedian(last_epochs(result, arm))),
            ]
        )
    if has(result, "memorisers"):
        for memoriser in MEMORISERS:
            for labels in ("true", "random"):
                values = by_seed(
                    result,
                    "memorisers",
                    "stored_accuracy",
                    memoriser=memoriser,
                    stored_labels=labels,
                )
                rows.append(
                    [
                        f"{memoriser}, {labels}",
                        int(constant(result, "given", "examples")),
                        "n/a",
                        "n/a",
                        "100",
                        percent(values),
                        "n/a",
                    ]
                )
    return make_table(
        [
            "arm",
            "images",
            f"fitted, {stated:g} epochs",
            f"test, {stated:g} epochs",
            "fitted, end",
            "test, end",
            "epochs",
        ],
        rows,
        caption="Labels fitted and accuracy on true labels, %; means over seeds [95 % intervals, "
        "for networks' tests also over test examples]",
        notes=(
            *(f"{arm}: {what}" for arm, what in ARMS.items() if has(result, arm)),
            *(f"{name}: {what}" for name, what in MEMORISERS.items() if has(result, "memorisers")),
            "epochs: median over seeds of where training ended",
        ),
    )


def _plane(result: xr.Dataset) -> Table:
    rows = []
    for schedule in result["schedule"].values:
        epochs = by_seed(result, "plane", "plane_epoch", schedule=schedule)[0]
        quarter = int(np.argmin(np.abs(result["plane_probe"].values - 0.25)))
        for labels in result["plane_labels"].values:
            at = {"schedule": schedule, "plane_labels": labels}
            train, own, rule = (
                by_seed(result, "plane", f"plane_{name}", **at) for name in ("train", "own", "rule")
            )
            rows.append(
                [
                    str(schedule),
                    str(labels),
                    int(epochs[-1]),
                    *(
                        percent(values)
                        for values in (train[:, quarter], train[:, -1], own[:, -1], rule[:, -1])
                    ),
                ]
            )
    return make_table(
        [
            "schedule",
            "labels",
            "epochs",
            "fitted, a quarter",
            "fitted, end",
            "test, own labels",
            "test, rule",
        ],
        rows,
        caption=f"Fifty points of the plane: labels fitted and test accuracy, %; {INTERVALS}",
        notes=(
            "own labels: drawn for fresh points as the training labels are; rule: the true labels",
        ),
    )
