"""Tables of the study of SGD's noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.table import Table, make_table, words_then_numbers
from implicit_bias.studies.rows import by_seed, exponents, has
from implicit_bias.studies.seed_means import INTERVALS, geometric, mean
from implicit_bias.studies.sgd_noise.corrupted import FITS
from implicit_bias.studies.sgd_noise.endpoints import ENDINGS, FORMULAS
from implicit_bias.studies.sgd_noise.epochs import FLOWS, FRACTIONS, NOISES, STEPS
from implicit_bias.studies.sgd_noise.given import SAMPLINGS
from implicit_bias.studies.sgd_noise.moments import EQUATIONS, UPDATES
from implicit_bias.studies.sgd_noise.rules_stationary import white_error
from implicit_bias.studies.sgd_noise.stationary import CASES
from implicit_bias.studies.sgd_noise.wells import GROUNDS, WELLS

if TYPE_CHECKING:
    import xarray as xr


def tables(result: xr.Dataset) -> list[Table]:
    """Return the tables of what was run."""
    made = {
        "stationary": (_stationary, _stated),
        "moments": (_moments,),
        "wells": (_wells,),
        "endpoints": (_endpoints, _formulas),
        "epochs": (_epochs,),
        "fresh-labels": (_drift,),
        "corrupted": (_corrupted,),
        "given": (_given,),
    }
    return [table(result) for arm, some in made.items() if has(result, arm) for table in some]


def _share(value: float) -> str:
    """Write a share that no interval comes with, in per cent."""
    return f"{100 * value:.2f}"


def _stationary(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for name, case in CASES.items():
        of = {
            key: by_seed(result, "stationary", key, noise_case=name)
            for key in ("variance_exponent", "gibbs_error", "root_error", "written_error")
        }
        away, chance = white_error(result, name)
        rows.append(
            [name, case.batch, f"{case.fraction:g}", _share(away), _share(chance),
             *(mean(values) for values in of.values())]
        )  # fmt: skip
    return make_table(
        ["case", "B", "ηλmax", "from the law, %", "by chance, %", "exponent in λ", "from η/2λ",
         "from √η C^(1/2) dW", "from √η C dW"],
        rows,
        caption=f"Stationary covariances of simulated SGD; {INTERVALS}",
        notes=(
            "from the law: of the mean covariance over seeds, in the norm that the exact law makes; by "
            "chance: its sampling error",
            "from η/2λ: the largest relative departure of a direction's variance; from the equations: "
            "Frobenius distance, relative",
            "replaced: mini-batches with replacement; labels drawn afresh are of examples that are fitted",
        ),
    )  # fmt: skip


def _stated(result: xr.Dataset) -> Table:
    rows = [
        [
            name,
            *(
                mean(by_seed(result, "stationary", f"{key}_ratio", noise_case=name))
                for key in ("solution", "validation", "right")
            ),
        ]
        for name in CASES
    ]
    return make_table(
        ["case", "α tr(C) H⁻¹", "αCH⁻¹", "exact law"],
        rows,
        caption=f"Traces of covariances that are stated over that of SGD's; {INTERVALS}",
        notes=(
            "the first two are of exercise B.8's solution: its density, and what to validate against",
        ),
    )


def _moments(result: xr.Dataset) -> Table:
    steps = 1 / np.asarray(UPDATES, float)
    rows = []
    for equation in EQUATIONS:
        away = by_seed(result, "moments", "moment_mean", equation=equation)
        wide = by_seed(result, "moments", "moment_covariance", equation=equation)
        rows.append(
            [equation, geometric(away[:, 0]), geometric(away[:, -1]), mean(exponents(steps, away)),
             geometric(wide[:, 0]), geometric(wide[:, -1]), mean(exponents(steps, wide))]
        )  # fmt: skip
    few, many = UPDATES[0], UPDATES[-1]
    return make_table(
        ["noise", f"mean, {few} updates", f"mean, {many}", "its order in η", f"covariance, {few}",
         f"covariance, {many}", "order"],
        rows,
        caption="Distances of an equation's moments from SGD's at t = 2/λmax, relative; geometric means "
            "over seeds "
        "[95 % t-intervals of the logarithm], orders means",
        notes=("the covariance is itself proportional to η: with the drift of second order, too, it is off "
               "by a part of the first order, and at these sizes by a larger one",),
    )  # fmt: skip


def _wells(result: xr.Dataset) -> Table:
    rows = [
        [
            name,
            mean(by_seed(result, "wells", "mass", ground=name)),
            *(
                f"{np.nanmean(by_seed(result, 'wells', part, ground=name)):.3f}"
                for part in ("mass_law", "mass_gibbs")
            ),
        ]
        for name in GROUNDS
    ]
    return make_table(
        ["ground", "share of time", "by the density", "with uniform noise"],
        rows,
        caption=f"Share of time in the flat of two wells, on the ring in the noisier half; {INTERVALS}",
        notes=tuple(
            f"{name}: sharp well {ground.deeper:g} temperatures deeper, its noise {ground.noise:g} times "
            "the flat one's"
            for name, ground in WELLS.items()
        ),
    )


def _endpoints(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for name in ENDINGS:
        of = {
            key: by_seed(result, "endpoints", f"end_{key}", ending=name)
            for key in (
                "noise",
                "penalty",
                "step",
                "updates",
                "stated",
                "stopped",
                "apart",
                "square",
            )
        }
        rows.append(
            [name, f"{np.nanmean(of['noise']):.3g}", geometric(of["penalty"]),
             geometric(of["penalty"] * of["step"] * of["updates"]),
             *(mean(of[key]) for key in ("stated", "stopped", "apart", "square"))]
        )  # fmt: skip
    return make_table(
        [
            "training",
            "σ²",
            "λ",
            "λαT",
            "from λ = σ²/(αT)",
            "from λ = 1/(αT)",
            "from descent",
            "mean ‖end‖²",
        ],
        rows,
        caption=f"Mean ends of SGD on least squares and the ridge penalty nearest to them; {INTERVALS}, λ "
        "geometric",
        notes=(
            "distances are relative; from descent: what is left of chance in a mean of runs; mean "
            "‖end‖²: over that of gradient descent's end",
        ),
    )


def _formulas(result: xr.Dataset) -> Table:
    shown = ("σ² = 1", "α/2", "2T", "batches of 4")
    rows = [
        [
            name,
            what,
            *(
                f"{np.nanmean(by_seed(result, 'endpoints', 'end_formula', ending=one, formula=name)):.3g}"
                for one in shown
            ),
        ]
        for name, what in FORMULAS.items()
    ]
    fitted = [geometric(by_seed(result, "endpoints", "end_penalty", ending=one)) for one in shown]
    return make_table(
        ["formula", "λ", *shown],
        [*rows, ["fitted", "to the mean end", *fitted]],
        caption="Effective penalties by the sources' formulas, means over seeds, and as it is",
        align=words_then_numbers(2, len(shown)),
        notes=("of ½λ‖θ − θ₀‖² beside the loss; σ² is a coordinate's variance of the batch's gradient at the "
               "start",),
    )  # fmt: skip


def _epochs(result: xr.Dataset) -> Table:
    steps = np.asarray(FRACTIONS)
    rows = []
    for flow, what in FLOWS.items():
        apart = by_seed(result, "epochs", "epoch_apart", flow=flow)
        rows.append(
            [flow, what, *(geometric(apart[:, k]) for k in range(len(steps))),
             mean(exponents(steps, apart))]
        )  # fmt: skip
    return make_table(
        ["flow of", "what", *(f"ηλmax = {one:g}" for one in FRACTIONS), "order"],
        rows,
        align=words_then_numbers(2, len(FRACTIONS) + 1),
        caption="Distance of gradient flow from the mean end of an epoch over all orders of its "
        "batches, of the start's from the minimum; geometric means over seeds [95 % t-intervals of the "
        "logarithm], orders means",
    )


def _drift(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for step in STEPS:
        for noise in NOISES:
            drift, law, first = (
                by_seed(result, "fresh-labels", name, label_step=step, label_noise=noise)
                for name in ("drift", "drift_law", "drift_first")
            )
            rows.append(
                [f"{step:g}", f"{noise:g}", mean(drift), f"{law[0]:.4g}", f"{first[0]:.4g}",
                 f"{noise / (2 * step):.3g}"]
            )  # fmt: skip
    return make_table(
        ["α", "σ²", "strength", "law", "ασ²", "σ²/(2α)"],
        rows,
        align=("right",) * 6,
        caption=f"Strength of what labels that are drawn afresh add, by the fall of u² − v²; {INTERVALS}",
    )


def _corrupted(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for fit in FITS:
        of = {
            key: by_seed(result, "corrupted", key, fit=fit)
            for key in ("counts_corrupted", "counts_clean", "stop_epoch", "error_stopped", "error_end",
                        "obeyed_stopped", "obeyed_end", "share_stopped")
        }  # fmt: skip
        rows.append(
            [fit, geometric(of.pop("counts_corrupted") / of.pop("counts_clean")),
             *(mean(values) for values in of.values())]
        )  # fmt: skip
    return make_table(
        ["model", "weight of wrong labels", "stopped at", "error", "error, end", "obeyed, %", "obeyed, end",
         "share of squares, %"],
        rows,
        caption=f"SGD on labels some of which are wrong; {INTERVALS}, weights geometric",
        notes=(
            *(f"{fit}: {what}" for fit, what in FITS.items()),
            "weight: change of all training predictions with a wrong label over that with a right one, "
            "where validation is best; error: clean, %; obeyed: wrong labels that are predicted; share "
            "of squares: of wrong labels in squared residuals",
        ),
    )  # fmt: skip


def _given(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = [
        [f"tr Cov of a batch's gradient, {kind}",
         mean(by_seed(result, "given", "given_noise", sampling=kind)),
         mean(by_seed(result, "given", "given_noise_law", sampling=kind))]
        for kind in SAMPLINGS
    ]  # fmt: skip
    for place in result["component"].values:
        of = {
            key: by_seed(result, "given", f"given_{key}", component=place)
            for key in ("variance", "variance_law", "curvature")
        }
        rows.append(
            [f"variance, direction of λ = {np.nanmean(of['curvature']):.3g}", geometric(of["variance"]),
             geometric(of["variance_law"])]
        )  # fmt: skip
    exponent, shape = (by_seed(result, "given", f"given_{name}") for name in ("exponent", "shape"))
    return make_table(
        ["quantity", "measured", "exactly"],
        rows,
        caption=f"Mini-batches of the run's data, least squares on principal components; {INTERVALS}, "
        "variances geometric",
        notes=(
            f"exponent of variances in λ {mean(exponent)}; cosine between C at the minimum and H "
            f"{mean(shape)}",
        ),
    )
