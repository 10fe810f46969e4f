"""Tables of the minimum-norm study."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.statistics import NOT_NEGATIVE, mean_interval
from implicit_bias.results.table import Table, format_estimate, format_number, make_table
from implicit_bias.studies.minimum_norm.adaptive import NETWORKS, OPTIMISERS
from implicit_bias.studies.minimum_norm.designs import KINDS
from implicit_bias.studies.minimum_norm.flows import LOSSES
from implicit_bias.studies.minimum_norm.judging import most, seen
from implicit_bias.studies.minimum_norm.shifts import SHIFTS, TRUTHS
from implicit_bias.studies.minimum_norm.worked import SOLUTIONS
from implicit_bias.studies.rows import geometric_mean, has
from implicit_bias.studies.seed_means import INTERVALS

if TYPE_CHECKING:
    import xarray as xr

WORST = "largest over seeds"
ROUNDING = 1e-16


def tables(result: xr.Dataset) -> list[Table]:
    """Return one table for each thing that was done."""
    made: dict[str, Callable[[xr.Dataset], Table]] = {
        "descents": _descents,
        "validation": _validation,
        "images": _images,
        "ridge": _ridge,
        "risks": _risks,
        "gaps": _gaps,
        "shifts": _shifts,
        "batches": _batches,
        "flows": _flows,
        "worked": _worked,
        "optimisers": _optimisers,
    }
    return [table(result) for stage, table in made.items() if has(result, stage)]


def _mean(values: np.ndarray) -> str:
    """Write a mean over seeds; of what is rounding, its largest."""
    if np.max(np.abs(values)) < 1e-9:
        return format_number(float(np.max(np.abs(values))))
    return format_estimate(mean_interval(values, bounds=NOT_NEGATIVE))


def _geometric(values: np.ndarray) -> str:
    """Write a geometric mean over seeds; what is below rounding counts as that."""
    if np.max(values) <= ROUNDING:
        return f"< {format_number(ROUNDING)}"
    return format_estimate(geometric_mean(np.maximum(values, ROUNDING)))


def _descents(result: xr.Dataset) -> Table:
    rules = [str(rule) for rule in result["rule"].values]
    rows: list[list[Any]] = [
        [
            kind,
            *(most(result, "descents", "descent_error", design=kind, rule=rule) for rule in rules),
            most(result, "descents", "descent_outside", design=kind),
            most(result, "descents", "descent_law", design=kind),
            _mean(
                seen(result, "descents", "descent_norm", design=kind, rule=rules[0], begun="random")
            ),
        ]
        for kind in KINDS
    ]
    return make_table(
        ["design", *rules, "outside", "closed form", "norm from a random start"],
        rows,
        caption="Distance of descent's end from the least-squares solution nearest to its start, "
        f"relative, by step size and momentum; {WORST}, from zero and from a random start",
        notes=(
            *(f"{kind}: {what}" for kind, what in KINDS.items()),
            "outside: way outside the row space over the whole way; closed form: largest distance "
            "of iterates from it",
            f"norm from a random start: of the end, over that of X⁺y; {INTERVALS}",
        ),
    )


def _validation(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    if has(result, "experiment-1"):
        errors = seen(result, "experiment-1", "trial_error")
        rows.append(
            [
                "Experiment 1",
                errors.size,
                float(errors.max()),
                "n/a",
                _mean(seen(result, "experiment-1", "trial_condition").mean(axis=1)),
            ]
        )
    ends = seen(result, "validation", "validation_error")[:, -1]
    rows.append(
        [
            "B.1",
            ends.size,
            float(ends.max()),
            most(result, "validation", "validation_outside"),
            "n/a",
        ]
    )
    return make_table(
        ["setup", "trials", "distance from X⁺y", "outside", "condition of XXᵀ"],
        rows,
        caption=f"Setups of the sources, descent from zero; {WORST}, condition numbers {INTERVALS}",
    )


def _images(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = [
        [
            int(update),
            *(
                _geometric(seen(result, "images", f"image_{name}", image_update=update))
                for name in ("left", "misfit")
            ),
        ]
        for update in result["image_update"].values
        if update <= 1e8
    ]
    rank, condition, count = (
        seen(result, "images", f"image_{name}") for name in ("rank", "condition", "examples")
    )
    return make_table(
        ["updates", "distance from X⁺y", "misfit"],
        rows,
        caption=f"Descent from zero on {count[0]:g} examples of the study's data, relative; "
        "geometric means over seeds [95 % t-intervals of the logarithm]",
        notes=(f"rank {np.mean(rank):g}; condition number of XᵀX {_geometric(condition)}",),
    )


def _ridge(result: xr.Dataset) -> Table:
    kinds = [str(kind) for kind in result["ridged"].values]
    rows: list[list[Any]] = [
        [
            float(penalty),
            *(
                _geometric(
                    seen(result, "ridge", "ridge_distance", ridged=kind, relative_penalty=penalty)
                )
                for kind in kinds
            ),
            *(
                _mean(
                    seen(
                        result, "ridge", f"ridge_{name}", ridged=kinds[0], relative_penalty=penalty
                    )
                )
                for name in ("norm", "misfit")
            ),
        ]
        for penalty in result["relative_penalty"].values
    ]
    return make_table(
        [
            "λ/λmin",
            *(f"distance, {kind}" for kind in kinds),
            f"norm, {kinds[0]}",
            f"misfit, {kinds[0]}",
        ],
        rows,
        caption="Ridge regression against X⁺y, relative; distances are geometric means over seeds, "
        f"the others {INTERVALS}",
        notes=("λmin: smallest positive eigenvalue of XᵀX",),
    )


def _risks(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for ratio in result["signal_ratio"].values:
        for p in result["risk_inputs"].values:
            at = {"signal_ratio": ratio, "risk_inputs": p}
            risk, bound = (seen(result, "risks", name, **at) for name in ("bounded_risk", "bound"))
            rows.append(
                [
                    float(ratio),
                    int(p),
                    _mean(risk),
                    float(seen(result, "risks", "risk_law", **at)[0]),
                    _mean(bound),
                    format_estimate(mean_interval(bound - risk)),
                ]
            )
    return make_table(
        ["‖θ‖²/σ²", "p", "risk", "law", "bound", "bound − risk"],
        rows,
        caption=f"Risk of X⁺y given X and the bound of the source, in units of σ²; {INTERVALS}",
        notes=("law: the risk's mean over designs, exact (Belkin, Hsu & Xu 2020)",),
    )


def _gaps(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = [
        [
            str(fit),
            float(np.min(seen(result, "gaps", "gap_least", fit=fit))),
            _geometric(seen(result, "gaps", "gap_mean", fit=fit)),
            most(result, "gaps", "gap_training", fit=fit),
            most(result, "gaps", "gap_negative", fit=fit),
        ]
        for fit in result["fit"].values
    ]
    return make_table(
        ["fit", "least gap", "mean gap", "training loss", "negative gaps"],
        rows,
        caption="Test less training loss where the training loss is zero: least, geometric mean "
        "over seeds of means over fits, largest training loss, share of gaps below −10⁻¹²",
    )


def _shifts(result: xr.Dataset) -> Table:
    solutions = [str(solution) for solution in result["shift_solution"].values]
    rows: list[list[Any]] = [
        [
            truth,
            shift,
            *(
                _mean(
                    seen(
                        result,
                        "shifts",
                        "shifted_error",
                        shift_truth=truth,
                        shift=shift,
                        shift_solution=one,
                    )
                )
                for one in solutions
            ),
            *(
                _mean(seen(result, "shifts", "shifted_norm", shift_truth=truth, shift_solution=one))
                for one in solutions
            ),
        ]
        for truth in TRUTHS
        for shift in SHIFTS
    ]
    return make_table(
        [
            "truth",
            "shift",
            *(f"error, {one}" for one in solutions),
            *(f"norm, {one}" for one in solutions),
        ],
        rows,
        caption=f"Interpolating solutions where inputs change, over the labels' variance in "
        f"training; {INTERVALS}",
        notes=tuple(f"{name}: {what}" for name, what in {**TRUTHS, **SHIFTS}.items()),
    )


def _batches(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for size in result["batch"].values:
        for momentum in result["batch_momentum"].values:
            at = {"batch": size, "batch_momentum": momentum}
            rows.append(
                [
                    int(size),
                    float(momentum),
                    *(
                        _mean(seen(result, "batches", f"batch_{name}", batch=size))
                        for name in ("step", "limit")
                    ),
                    *(
                        most(result, "batches", f"batch_{name}", **at)
                        for name in ("error", "error_elsewhere", "outside")
                    ),
                    _mean(seen(result, "batches", "noisy_square", **at)),
                ]
            )
    return make_table(
        [
            "batch",
            "β",
            "step size",
            "limit",
            "from X⁺y",
            "from elsewhere",
            "outside",
            "mean square, unfitted",
        ],
        rows,
        caption="Mini-batches: distance of the end from X⁺y, from a random start that from the "
        f"solution nearest to it, and the way outside the row space, relative, {WORST}; the rest "
        f"{INTERVALS}",
        notes=(
            "limit: step size from which on the mean square diverges without momentum; with momentum "
            "step sizes are 1 − β times as large",
            "mean square, unfitted: ‖w‖² over that of the least-squares solution, averaged over the "
            "last updates, where labels cannot be fitted and step sizes are equal",
        ),
    )


def _flows(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = [
        [
            loss,
            what,
            *(
                _mean(seen(result, "flows", f"flow_{name}", flow_loss=loss))
                for name in ("apart", "extra")
            ),
        ]
        for loss, what in LOSSES.items()
    ]
    return make_table(
        ["loss", "what", "distance from the nearest minimum", "longer than the way there by"],
        rows,
        caption=f"Ends of gradient flow on convex losses of many minima, over the way to the "
        f"nearest; {INTERVALS}",
        align=("left", "left", "right", "right"),
    )


def _worked(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for solution, what in SOLUTIONS.items():
        norm, test, training, away = (
            seen(result, "worked", f"worked_{name}", worked_solution=solution)
            for name in ("norm", "test", "training", "distance")
        )
        rows.append(
            [
                solution,
                what,
                _mean(norm),
                _mean(test),
                float(np.mean(training)),
                float(np.mean(away)),
            ]
        )
    return make_table(
        ["weights", "what", "norm", "test error", "training loss", "from X⁺y"],
        rows,
        caption=f"Worked examples 1 and 2; norm and test error {INTERVALS}, the others means",
        align=("left", "left", "right", "right", "right", "right"),
    )


def _optimisers(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = [
        [
            name,
            OPTIMISERS[name],
            *(
                _mean(seen(result, "optimisers", f"optimiser_{part}", optimiser=name))
                for part in ("error", "outside", "norm")
            ),
            most(result, "optimisers", "optimiser_misfit", optimiser=name),
        ]
        for name in OPTIMISERS
    ]
    networks = {
        name: _mean(seen(result, "optimisers", "network_apart", network=name)) for name in NETWORKS
    }
    return make_table(
        ["optimiser", "what", "from X⁺y", "outside", "norm", "misfit"],
        rows,
        caption=f"Ends of optimisers from zero on one linear problem a seed, relative; "
        f"{INTERVALS}, of the misfit the largest",
        align=("left", "left", "right", "right", "right", "right"),
        notes=(
            "outside: norm outside the row space over the norm",
            "a network's end from that without momentum, over the latter's way: "
            + "; ".join(
                f"{name} {value}" for name, value in networks.items() if name != "no momentum"
            ),
        ),
    )
