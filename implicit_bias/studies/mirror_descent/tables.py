"""Tables of the mirror-descent study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.statistics import NOT_NEGATIVE, PERCENT, mean_interval
from implicit_bias.results.table import Table, format_estimate, format_number, make_table
from implicit_bias.studies.mirror_descent.coordinates import DESIGNS, METHODS, MONOTONE, NORMS
from implicit_bias.studies.mirror_descent.exercise import SOLVERS, TRUTHS
from implicit_bias.studies.mirror_descent.limits import DESCENDED, POWERS, SCALES, STARTS
from implicit_bias.studies.mirror_descent.rules import ENDED, start_values
from implicit_bias.studies.mirror_descent.script import PRINTED, RUNS
from implicit_bias.studies.rows import by_seed, has
from implicit_bias.studies.seed_means import INTERVALS, geometric

if TYPE_CHECKING:
    import xarray as xr


def tables(result: xr.Dataset) -> Sequence[Table]:
    """Return the tables of what was run."""
    made: list[Table] = []
    if has(result, "limits"):
        made += [_starts(result), _powers(result), _scales(result)]
    if has(result, "coordinates"):
        made += [_methods(result), _paths(result)]
    if has(result, "exercise"):
        made.append(_exercise(result))
    if has(result, "script"):
        made.append(_script(result))
    return made


def mean(values: np.ndarray) -> str:
    """Write a mean over seeds with its interval."""
    return format_estimate(mean_interval(values, bounds=NOT_NEGATIVE))


def tiny(values: np.ndarray) -> str:
    """Write the largest of numbers that only rounding keeps from zero."""
    finite = values[np.isfinite(values)]
    return format_number(float(finite.max()), digits=2) if finite.size else "n/a"


def _starts(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for name in STARTS:
        of = {
            key: start_values(result, key, name)
            for key in ("distance", "entropy_distance", "entropy", "most", "l1")
        }
        rows.append(
            [name, tiny(of["distance"]),
             tiny(of["entropy_distance"])
             if np.nanmax(of["entropy_distance"], initial=0) < 1e-6
             else mean(of["entropy_distance"]),
             format_estimate(mean_interval(of["entropy"])), format_estimate(mean_interval(of["most"])),
             mean(of["l1"]), str(int(np.isfinite(of["distance"]).sum()))]
        )  # fmt: skip
    return make_table(
        ["start", "from its projection", "from largest entropy", "H(w), nats", "largest H", "‖w‖₁/least",
         "runs"],
        rows,
        caption=f"Where mirror descent with the entropy ends; {INTERVALS}, of what only rounding makes "
        "the largest over seeds",
        notes=(
            "distances are 1-norms relative to the solution's; largest H: of a solution w ≥ 0, of sum "
            "1 on the simplex and where the sum is known; least: of ‖w‖₁ over solutions w ≥ 0",
        ),
    )  # fmt: skip


def _powers(result: xr.Dataset) -> Table:
    rows = []
    for p in POWERS:
        ended = by_seed(result, "limits", "power_residual", power=p) <= ENDED
        of = {
            key: np.where(ended, by_seed(result, "limits", f"power_{key}", power=p), np.nan)
            for key in ("distance", "l1", "linf")
        }
        rows.append(
            [f"{p:g}", tiny(of["distance"]), mean(of["l1"]), mean(of["linf"]), int(ended.sum())]
        )
    return make_table(
        ["p", "from least p-norm", "‖w‖₁/least", "‖w‖∞/least", "runs"],
        rows,
        align=("right",) * 5,
        caption=f"Where p-norm mirror descent from zero ends; {INTERVALS}, distances the largest over seeds",
    )


def _scales(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for scale in sorted({*SCALES, *DESCENDED}, reverse=True):
        row: list[Any] = [f"{scale:g}"]
        row.append(
            geometric(by_seed(result, "limits", "scale_excess", scale=scale))
            if scale in SCALES
            else "n/a"
        )
        if scale in DESCENDED:
            row += [
                geometric(by_seed(result, "limits", "descended_excess", descended=scale)),
                tiny(by_seed(result, "limits", "descended_distance", descended=scale)),
                tiny(by_seed(result, "limits", "descended_residual", descended=scale)),
            ]
        else:
            row += ["n/a"] * 3
        rows.append(row)
    ratio = by_seed(result, "limits", "scale_exponent") / by_seed(result, "limits", "least_cost")
    return make_table(
        ["α", "excess, projection", "excess, descent", "descent from projection", "residual"],
        rows,
        align=("right",) * 5,
        caption="Entropic descent on the orthant from α: ‖w‖₁ over the least of a solution w ≥ 0, less 1; "
        "geometric means over seeds [95 % t-intervals of the logarithm]; distance and residual the largest",
        notes=(
            "exponent of the excess, where α to the least reduced cost is 1e-30 to 1e-60, over that "
            f"cost: {mean(ratio)}; n/a: not computed",
        ),
    )


def _methods(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for place, design in enumerate(DESIGNS):
        for method in METHODS:
            of = [
                by_seed(result, "coordinates", "method_norm", algorithm=method, norm=norm)[:, place]
                for norm in NORMS
            ]
            count = by_seed(result, "coordinates", "method_nonzero", algorithm=method)[:, place]
            left = by_seed(result, "coordinates", "method_residual", algorithm=method)[:, place]
            rows.append(
                [design, method, *(mean(one.mean(axis=1)) for one in of), mean(count.mean(axis=1)),
                 tiny(left)]
            )  # fmt: skip
    return make_table(
        ["design", "method", "‖w‖₁/least", "‖w‖₂/least", "‖w‖∞/least", "weights", "residual"],
        rows,
        caption=f"Norms at the end over the least of an interpolator; {INTERVALS}, residuals the largest",
        notes=(
            *(f"{name}: {what}" for name, what in DESIGNS.items()),
            *(f"{name}: {what}" for name, what in METHODS.items()),
            "weights: those above a thousandth of the largest",
        ),
    )


def _paths(result: xr.Dataset) -> Table:
    fall = by_seed(result, "coordinates", "path_fall")
    epsilons = result["epsilon"].values
    rows = []
    for place, design in enumerate(DESIGNS):
        distance = [
            by_seed(result, "coordinates", "path_distance", epsilon=one)[:, place].mean(axis=1)
            for one in epsilons
        ]
        share = 100 * (fall[:, place] <= MONOTONE).mean(axis=1)
        rows.append(
            [
                design,
                format_estimate(mean_interval(share, bounds=PERCENT)),
                mean(fall[:, place].mean(axis=1)),
                *(mean(one) for one in distance),
            ]
        )
    return make_table(
        ["design", "monotone, %", "fall", *(f"distance, ε = {one:g}" for one in epsilons)],
        rows,
        caption="The lasso's path, and the largest distance of the path of ε-steps from it at equal ‖w‖₁, of "
        f"that; {INTERVALS}",
        notes=("fall: sum of all falls of any |w_i| along the lasso's path, of its last ‖w‖₁",),
    )


def _exercise(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for truth in TRUTHS:
        for solver in SOLVERS:
            of = {
                key: by_seed(result, "exercise", f"exercise_{key}", truth=truth, solver=solver)
                for key in ("count", "l1", "l2", "loss", "distance")
            }
            fits = np.nanmax(of["loss"]) < 1e-8
            rows.append(
                [truth, solver, *(mean(of[key].mean(axis=1)) for key in ("count", "l1", "l2")),
                 "< 1e-8" if fits else geometric(of["loss"].mean(axis=1)),
                 tiny(of["distance"]) if truth != "few examples" else "n/a"]
            )  # fmt: skip
    return make_table(
        ["true weights", "solver", "weights ≥ 0.01", "‖w‖₁", "‖w‖₂", "‖Xw − y‖²/‖y‖²", "from least squares"],
        rows,
        caption=f"Exercise C.15; {INTERVALS}, losses geometric, distances from non-negative least squares "
        "the largest",
        notes=(
            *(f"{name}: {what}" for name, what in TRUTHS.items()),
            *(f"{name}: {what}" for name, what in SOLVERS.items()),
            "published: 8 weights against 4 to 5, ‖w‖₁ 25 against 12",
        ),
    )  # fmt: skip


def _script(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for place, run in enumerate(RUNS):
        row: list[Any] = [run]
        for name in PRINTED:
            values = by_seed(result, "script", f"script_{name}", script_run=run)
            row += [mean(values), f"{PRINTED[name][place]:g}" if place < 2 else "n/a"]
        apart = by_seed(result, "script", "script_apart", script_run=run)
        row.append(tiny(apart) if np.nanmax(apart) < 1e-6 else mean(apart))
        rows.append(row)
    return make_table(
        ["run", "‖w‖₁", "printed", "‖w‖₂", "printed", "loss", "printed", "from least squares"],
        rows,
        caption=f"The script to C.11 as it is, and beside it; {INTERVALS}",
        notes=tuple(f"{name}: {what}" for name, what in RUNS.items()),
    )
