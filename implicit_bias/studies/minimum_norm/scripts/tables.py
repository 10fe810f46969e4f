"""Tables of the exercises and scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import NOT_NEGATIVE, mean_interval
from implicit_bias.results.table import Table, format_estimate, format_number, make_table
from implicit_bias.studies.minimum_norm.scripts import printed
from implicit_bias.studies.minimum_norm.scripts.batches import WHEN
from implicit_bias.studies.minimum_norm.scripts.comparing import own_values, scripted
from implicit_bias.studies.minimum_norm.scripts.curvature import (
    OPTIMISERS,
    S6_OPTIMISERS,
    UPDATES,
)
from implicit_bias.studies.minimum_norm.scripts.descent import CAP, STEPS
from implicit_bias.studies.minimum_norm.scripts.rules_descent import (
    BATCH_SCRIPT,
    BATCHES,
    DESCENT,
    DESCENT_SCRIPT,
)
from implicit_bias.studies.minimum_norm.scripts.rules_quadratic import (
    CURVATURE,
    CURVATURE_SCRIPT,
    RIDGE_SCRIPT,
)
from implicit_bias.studies.rows import by_seed

if TYPE_CHECKING:
    import xarray as xr

LEFT_OUT: dict[str, tuple[float, ...]] = {
    "s1_norm": (20_000, 30_000, 40_000),
    **dict.fromkeys(("s5_norm", "s5_train", "s5_test"), (1e-5, 1e-4)),
}
"""Printed numbers that tables and figures do without."""

_MEANS = "means over seeds [95 % t-intervals]"


def script_tables(result: xr.Dataset) -> Sequence[Table]:
    """Return the tables of what was run."""
    made = []
    for build in (_descent, _batches, _adaptive, _printed):
        try:
            made.append(build(result))
        except NotDecidable:
            continue
    return made


def _positive(values: np.ndarray) -> str:
    return format_estimate(mean_interval(values).within(NOT_NEGATIVE))


def _descent(result: xr.Dataset) -> Table:
    def of(name: str, **at: Any) -> np.ndarray:
        return by_seed(result, DESCENT, f"c1_{name}", **at)

    rows = [
        [
            f"{step:g}",
            str(printed.C1_ITERATIONS[step]),
            _positive(of("iterations", c1_step=step)),
            _positive(of("rate", c1_step=step)),
            _positive(of("smooth", c1_step=step)),
            _positive(of("logged", c1_step=step)),
        ]
        for step in STEPS
    ]
    norm, condition = _positive(of("norm")), _positive(of("condition"))
    return make_table(
        ["αλmax", "stated", "updates", "decay r", "smooth", "logged"],
        rows,
        align=("right",) * 6,
        caption=f"Exercise C.1: gradient descent, 50 examples of 200 features, medians over data "
        f"sets; {_MEANS}",
        notes=(
            "updates to ‖∇f‖ < 1e-6; smooth: share of paths that never turn back; logged: points, one every "
            "100 updates",
            f"‖w*‖ {norm}, stated 0.8; κ {condition}, stated 100, and with it r = 0.99; at most {CAP} "
            "updates are made",
        ),
    )  # fmt: skip


def _batches(result: xr.Dataset) -> Table:
    stated = {
        name: dict(zip(printed.C2_BATCHES, values, strict=True))
        for name, values in (
            ("norm", printed.C2_NORMS),
            ("test", printed.C2_TESTS),
            ("train", printed.C2_TRAINS),
        )
    }
    rows: list[list[Any]] = []
    for name, label in (("norm", "‖w‖"), ("test", "test loss"), ("train", "training loss")):
        for batch in printed.C2_BATCHES:
            at = [
                by_seed(result, BATCHES, f"c2_{name}", c2_batch=batch, c2_when=when)
                for when in WHEN
            ]
            rest = [f"{float(np.nanmean(values)):.3g}" for values in at[1:]]
            rows.append([label, batch, f"{stated[name][batch]:g}", _positive(at[0]), *rest])
    for batch in printed.C2_BATCHES:
        reached = by_seed(result, BATCHES, "c2_reached", c2_batch=batch)
        said = printed.C2_EPOCHS.get(batch)
        rows.append(
            ["epochs to 0.001", batch, "" if said is None else str(said), _positive(reached), "", ""]
        )  # fmt: skip
    return make_table(
        ["quantity", "B", "stated", "100 epochs", "1300 updates", "the end"],
        rows,
        align=("left", "right", "right", "right", "right", "right"),
        caption=f"Exercise C.2: batch sizes on the problem of C.1, step size 0.01; {_MEANS}",
        notes=("the end: ‖w − X⁺y‖ below a millionth of ‖X⁺y‖, for every batch size",),
    )


def _adaptive(result: xr.Dataset) -> Table:
    def of(name: str, optimiser: str) -> np.ndarray:
        return by_seed(result, CURVATURE, f"c6_{name}", c6_optimiser=optimiser)

    rows: list[list[Any]] = []
    for name in OPTIMISERS:
        first = of("first", name)
        never = float(np.mean(first[np.isfinite(first)] >= UPDATES))
        rows.append(
            [
                name,
                _positive(of("tenth", name)),
                "not in 10,000" if never == 1 else _positive(first),
                _order(of("late", name)),
                format_estimate(mean_interval(of("slope", name))),
            ]
        )
    needed = _positive(by_seed(result, CURVATURE, "c6_needed"))
    return make_table(
        ["optimiser", "to ‖θ₀‖/10", "to 1e-7", "later", "exponent of λ"],
        rows,
        align=("left", "right", "right", "right", "right"),
        caption=f"Exercise C.6 from a random start, κ = 1000; {_MEANS}",
        notes=(
            "updates to a tenth of ‖θ₀‖, and to ‖θ‖ < 1e-7 for the first time; later: geometric mean "
            "of the largest ‖θ‖ from update 2000 to 10,000; exponent: of a component's updates to a "
            "tenth",
            f"GD reaches 1e-7 after {needed} updates; stated: 10,000 for GD, 2000 for RMSProp",
        ),
    )  # fmt: skip


def _order(values: np.ndarray) -> str:
    """Write the geometric mean over seeds of what spans orders of magnitude, with one digit."""
    kept = values[np.isfinite(values)]
    return f"{np.exp(np.mean(np.log(kept))):.1g}" if kept.size else "n/a"


def _printed(result: xr.Dataset) -> Table:
    """Hold every printed number against the script at its own seed and at others."""
    rows: list[list[Any]] = []
    for script, label, said, values, own in printed_numbers(result):
        rows.append([script, label, format_number(said), format_number(own), _positive(values)])
    if not rows:
        raise NotDecidable("no script was run")
    return make_table(
        ["script", "number", "printed", "at its seed", "over seeds"],
        rows,
        align=("left", "left", "right", "right", "right"),
        caption=f"What the chapter says its scripts print, and what they compute; {_MEANS}",
        notes=(
            "at its seed: the script's own, 42, which is the study's seed 0; train, test: losses; "
            "count: iterations to convergence, which are points logged",
        ),
    )


def printed_numbers(result: xr.Dataset) -> list[tuple[str, str, float, np.ndarray, float]]:
    """Return script, name, printed number, values by seed and at its own; none of scripts that were not run.

    What hardly differs from its neighbours is left out.
    """
    found: list[tuple[str, str, float, np.ndarray, float]] = []

    def add(
        script: str, stage: str, name: str, label: Callable[[Any], str], said: Any, dim: str
    ) -> None:
        try:
            table, own = scripted(result, stage, name), own_values(result, stage, name)
        except NotDecidable:
            return
        for column, (place, value) in enumerate(zip(result[dim].values, said, strict=True)):
            if name in LEFT_OUT and place in LEFT_OUT[name]:
                continue
            there = np.nan if own is None else float(own[column])
            found.append((script, label(place), float(value), table[:, column], there))

    add(
        "S.1",
        DESCENT_SCRIPT,
        "s1_norm",
        lambda t: f"‖w‖, t = {t}",
        printed.S1_NORMS,
        "s1_iteration",
    )
    add(
        "S.1", DESCENT_SCRIPT, "s1_gradient", lambda t: f"‖∇f‖, t = {t}", printed.S1_GRADIENTS,
        "s1_iteration",
    )  # fmt: skip
    for name, said, label in (
        ("norm", printed.S2_NORMS, "‖w‖"),
        ("train", printed.S2_TRAINS, "train"),
        ("test", printed.S2_TESTS, "test"),
    ):
        add("S.2", BATCH_SCRIPT, f"s2_{name}", _at(label, "B"), said, "s2_batch")
    for name, said, label in (
        ("norm", printed.S5_NORMS, "‖w‖"),
        ("train", printed.S5_TRAINS, "train"),
        ("test", printed.S5_TESTS, "test"),
    ):
        add("S.5", RIDGE_SCRIPT, f"s5_{name}", _at(label, "λ"), said, "s5_penalty")
    add(
        "S.6", CURVATURE_SCRIPT, "s6_printed", lambda name: f"count, {name}",
        [printed.S6_COUNT] * len(S6_OPTIMISERS), "s6_optimiser",
    )  # fmt: skip
    return found


def _at(label: str, axis: str) -> Callable[[Any], str]:
    return lambda place: f"{label}, {axis} = {place:g}"
