"""Tables of the normalization study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.table import Table, format_number, make_table
from implicit_bias.studies.normalization.arms import COMMON, TUNED
from implicit_bias.studies.normalization.invariance import CASES
from implicit_bias.studies.normalization.rows import (
    at_target,
    exact,
    networks_of,
    norms_of,
    of_norm,
    sgd,
    steepest,
)
from implicit_bias.studies.normalization.rules import ERRORS
from implicit_bias.studies.rows import has, seeds_of
from implicit_bias.studies.seed_means import INTERVALS, geometric, mean, percent

if TYPE_CHECKING:
    import xarray as xr


def tables(result: xr.Dataset) -> list[Table]:
    """Return one table for each thing that was done."""
    made = {"invariance": _invariance, "equilibrium": _equilibrium, TUNED: _networks}
    return [table(result) for arm, table in made.items() if has(result, arm)]


def _invariance(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = [
        [network, case, *(format_number(float(np.nanmax(exact(result, name, network, case))), digits=2)
                          for name in ERRORS)]
        for network in networks_of(result)
        for case in CASES
    ]  # fmt: skip
    return make_table(
        ["normalisation", "weights, or how", "loss", "⟨∇L, W⟩", "gradient", "λmax"],
        rows,
        align=["left", "left", "right", "right", "right", "right"],
        caption="Errors of invariance in double precision, the largest over seeds, layers and scales a",
        notes=(
            "loss: |L(aW) − L(W)|/L(W); ⟨∇L, W⟩: cosine; gradient: ‖a∇L(aW) − ∇L(W)‖/‖∇L(W)‖; λmax: of "
            "the layer's Hessian block, |a²λmax(aW)/λmax(W) − 1|",
            "ε = 0 and statistics of the batch where nothing else is said",
        ),
    )


def _equilibrium(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for norm in result["sgd_norm"].values:
        for decay in map(float, result["decay"].values):
            for place, layer in enumerate(result["sgd_layer"].values):
                own = {
                    name: sgd(result, name, str(norm), decay)[:, place]
                    for name in (
                        "norm_ratio",
                        "effective_step",
                        "turn",
                        "turn_over_law",
                        "growth_part",
                    )
                }
                rows.append([
                    str(norm), decay, int(layer), geometric(own["norm_ratio"]),
                    geometric(own["effective_step"]), geometric(own["turn"]),
                    geometric(own["turn_over_law"]) if decay else "",
                    mean(own["growth_part"]),
                ])  # fmt: skip
    return make_table(
        [
            "normalisation",
            "λ",
            "layer",
            "‖W‖ end/start",
            "η/‖W‖²",
            "angle, rad",
            "over √(2ηλ)",
            "growth",
        ],
        rows,
        caption=f"SGD of which every update is followed; geometric {INTERVALS}, of growth arithmetic ones",
        notes=(
            "the last layer is followed by no normalisation; angle: root mean square of the last "
            "half",
            "growth: change of ‖W‖² over what orthogonal gradients and decay would make of it: 1 "
            "is the law",
        ),
    )


def _networks(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for arm in (TUNED, COMMON):
        for norm in norms_of(result, arm) if has(result, arm) else ():
            met = of_norm(result, arm, norm, "reached_target") == 1
            own = {
                name: at_target(result, arm, norm, name)
                for name in (
                    "updates",
                    "lambda_batch",
                    "lambda_running",
                    "layer_sharpness",
                    "test_error",
                )
            }
            rows.append([
                "own" if arm == TUNED else "one", norm, f"{int(met.sum())} of {seeds_of(result).size}",
                geometric(of_norm(result, arm, norm, "step_size")), geometric(own["updates"]),
                geometric(own["lambda_batch"]), geometric(own["lambda_running"]),
                geometric(own["layer_sharpness"].max(axis=1)),
                geometric(steepest(result, arm, norm, "batch")), percent(own["test_error"]),
            ])  # fmt: skip
    return make_table(
        ["step size", "normalisation", "met", "η", "updates", "λmax, batch", "λmax, running", "λmax ‖W‖²",
         "path", "test error, %"],
        rows,
        caption=f"Networks at one training loss; geometric {INTERVALS}, of errors arithmetic ones",
        notes=(
            "met: seeds that met the training loss; all else is of those",
            "batch: with statistics of the batch, as in training; running: as the network is used",
            "λmax ‖W‖²: of the hidden layer where it is largest; path: largest ‖∇L(θ+δ) − "
            "∇L(θ)‖/‖δ‖",
        ),
    )  # fmt: skip
