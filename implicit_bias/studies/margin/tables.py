"""Tables of the margin study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.statistics import PERCENT, UNBOUNDED
from implicit_bias.results.table import Table, format_number, make_table, words_then_numbers
from implicit_bias.studies.margin.checkpoints import GAINS
from implicit_bias.studies.margin.flows import FLOW_LOSSES, STARTS
from implicit_bias.studies.margin.rules import NAMES, place_of, power, times_of
from implicit_bias.studies.margin.script import AT, PRINTED, SETUPS
from implicit_bias.studies.rows import by_seed, has
from implicit_bias.studies.seed_means import INTERVALS, geometric, mean
from implicit_bias.theory.margin import NORMS

if TYPE_CHECKING:
    import xarray as xr


def tables(result: xr.Dataset) -> list[Table]:
    """Return one table for each thing that was done."""
    made = {
        "flow": (_flow,),
        "law": (_law,),
        "steps": (_steps,),
        "steepest": (_steepest,),
        "checkpoints": (_checkpoints,),
        "networks": (_networks,),
        "script": (_exercise, _printed),
        "given": (_given,),
    }
    return [table(result) for arm, some in made.items() if has(result, arm) for table in some]


def _middle(values: np.ndarray) -> str:
    """Write a median and the range over seeds."""
    low, middle, high = np.nanquantile(values, [0.0, 0.5, 1.0])
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


def _shown(result: xr.Dataset) -> list[int]:
    """Return the places of the times that tables show."""
    last = float(times_of(result)[-1])
    return sorted({place_of(result, decade) for decade in (3.0, 6.0, 9.0, last)})


def _flow(result: xr.Dataset) -> Table:
    shown = _shown(result)
    heads = [f"t = {power(times_of(result)[place])}" for place in shown]
    rows: list[list[Any]] = []
    for loss in FLOW_LOSSES:
        for start in STARTS:
            at = {"flow_loss": loss, "start": start}
            angle = by_seed(result, "flow", "flow_angle", **at)
            gap = by_seed(result, "flow", "flow_gap", **at)
            rows.append(
                [loss, start, *(geometric(angle[:, place]) for place in shown), geometric(gap[:, shown[-1]])]
            )  # fmt: skip
    support = by_seed(result, "flow", "flow_support")
    tries = by_seed(result, "flow", "flow_tries")
    return make_table(
        ["loss", "start", *heads, f"1 − margin/γ, {heads[-1]}"],
        rows,
        align=words_then_numbers(2, len(heads) + 1),
        caption="Angle to the hard-margin solution in degrees, by start; geometric means over seeds "
        "[95 % t-intervals of the logarithm]",
        notes=(
            f"γ = {mean(by_seed(result, 'flow', 'flow_margin'))}; {np.nanmin(support):.0f} to "
            f"{np.nanmax(support):.0f} support vectors of 3 that a line with a bias has in general",
            f"{len(support)} separable data sets of {np.nansum(tries):.0f} drawn",
            *(f"{name}: {what}" for name, what in STARTS.items()),
        ),
    )


def _law(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for loss in FLOW_LOSSES:
        found = {
            n: by_seed(result, "law", f"law_{n}", flow_loss=loss) for n in ("left", "angle", "gap")
        }
        limits = {n: by_seed(result, "law", f"law_{n}_rate")[:, None] for n in ("angle", "gap")}
        rows += [
            [
                loss,
                power(times_of(result)[place]),
                geometric(found["left"][:, place]),
                *(mean((found[n] / limits[n])[:, place]) for n in ("angle", "gap")),
            ]
            for place in _shown(result)
        ]
    return make_table(
        ["loss", "t", "‖w − ŵ log t − w̃‖/‖w̃‖", "angle · log t / limit", "gap · log t / limit"],
        rows,
        align=("left", "right", "right", "right", "right"),
        caption=f"The law with its constants, on data whose solution was chosen; {INTERVALS}, of the first "
        "geometric",
    )


def _steps(result: xr.Dataset) -> Table:
    rows = [
        [
            f"{int(step):,}",
            mean(by_seed(result, "steps", "steps_log_time")[:, place]),
            geometric(by_seed(result, "steps", "steps_angle")[:, place]),
            geometric(by_seed(result, "steps", "steps_off")[:, place]),
        ]
        for place, step in enumerate(result["steps"].values)
        if place % 2 == 0 or place == len(result["steps"]) - 1
    ]
    return make_table(
        ["steps", "log₁₀ t", "angle, degrees", "off the flow"],
        rows,
        align=("right",) * 4,
        caption="Gradient descent, every step taken: angle to the hard margin, and ‖w − w of flow‖ over ‖w "
        f"of flow‖ at t = η·steps; {INTERVALS}, of the last two geometric",
    )


def _steepest(result: xr.Dataset) -> Table:
    rows = [
        [
            f"in {NAMES[descent]}",
            *(
                mean(by_seed(result, "steepest", "steepest_ratio", descent=descent, norm=norm)[:, -1])
                for norm in NORMS
            ),
        ]
        for descent in NORMS
    ]  # fmt: skip
    return make_table(
        ["steepest descent", *(f"{NAMES[norm]} margin" for norm in NORMS)],
        rows,
        align=("left", "right", "right", "right"),
        caption=f"Margins after {int(result['steepest_steps'].values[-1]):,} steps, in units of the largest "
        f"in each norm; {INTERVALS}",
        notes=("in ℓ1: coordinate descent; in ℓ2: gradient descent; in ℓ∞: sign descent",),
    )


def _checkpoints(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for kind in GAINS:
        row: list[Any] = [kind, mean(by_seed(result, "checkpoints", "linear_share", gain=kind))]
        if has(result, "networks"):
            row.append(mean(by_seed(result, "networks", "network_share", gain=kind)))
        rows.append(row)
    heads = ["what rises by 75 %", "linear", "network"]
    return make_table(
        heads[: len(rows[0])],
        rows,
        align=words_then_numbers(1, len(rows[0]) - 1),
        caption="Between two checkpoints: logarithm of the rise of the distance to the boundary, over that "
        f"of the margin; 1: it moves as the margin says, 0: it stays; {INTERVALS}",
        notes=(
            "late: the last checkpoint, and the last before it with a margin 1.75 times smaller",
        ),
    )


def _networks(result: xr.Dataset) -> Table:
    def of(name: str) -> np.ndarray:
        return by_seed(result, "networks", f"network_{name}")

    rows = [
        [
            f"{int(result['network_steps'].values[place]):,}",
            mean(of("raw")[..., place].mean(axis=1)),
            mean(of("margin")[..., place].mean(axis=1)),
            mean(of("smoothed")[..., place].mean(axis=1)),
            mean(of("alignment")[..., place].mean(axis=1)),
        ]
        for place in range(0, len(result["network_steps"]), 4)
    ]
    return make_table(
        ["steps", "smallest margin", "over ‖θ‖²", "log(1/loss)/‖θ‖²", "1 − cos(θ, gradient)"],
        rows,
        align=("right",) * 5,
        caption=f"Two-layer ReLU networks; means over starts, {INTERVALS}",
        notes=(
            f"all points right after {np.nanmin(of('fitted')):.0f} to {np.nanmax(of('fitted')):.0f} steps; "
            f"largest imbalance of a unit's layers at the end {np.nanmax(of('balance')):.2g}",
        ),
    )


def _exercise(result: xr.Dataset) -> Table:
    stated = {
        "separable": ("draws that some line separates", "", "", 100.0, "%"),
        "bisected": ("draws that the line halfway separates", "all", "", 100.0, "%"),
        "hard": ("hard margin", "0.6", "0.9895", 1.0, ""),
        "margin": ("margin of descent", "0.57", "0.9896", 1.0, ""),
        "angle": ("angle to the machine, degrees", "0.5", "0.52", 1.0, ""),
        "limit": ("of its limit, degrees", "0", "", 1.0, ""),
        "wait": (
            "log₁₀ of the steps to 1° of the limit, median (range)",
            "below 4.7",
            "below 4.3",
            1.0,
            "",
        ),
        "train": ("training accuracy", "100", "", 1.0, "%"),
        "test": ("test accuracy", "100", "", 1.0, "%"),
    }
    rows: list[list[Any]] = []
    for name, (words, exercise, script, factor, unit) in stated.items():
        found = [factor * by_seed(result, "script", f"script_{name}", setup=s) for s in SETUPS]
        if name == "wait":  # a mean of what may end at the last time would mean nothing
            cells = [_middle(values) for values in found]
        else:
            bounds = PERCENT if unit else UNBOUNDED
            cells = [mean(values, bounds) for values in found]
        label = f"{words}{', ' + unit if unit else ''}"
        rows.append([label, exercise, cells[0], script, cells[1]])
    return make_table(
        ["", "exercise: stated", "found", "script: printed", "found"],
        rows,
        align=("left", "right", "right", "right", "right"),
        caption="Exercise C.3 and its solution's script as they are written, on separable draws; "
        f"{INTERVALS}",
        notes=(
            "the exercise's machine counts the bias in its norm, as descent does; the script's does "
            "not, so that descent tends to another direction wherever the two differ",
            "steps to 1°: by gradient flow at t = η·steps, to the last time at most",
        ),
    )


def _printed(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for name, words in (("loss", "mean loss"), ("norm", "‖(w, b)‖")):
        own = by_seed(result, "script", f"printed_{name}")[0]
        for place, step in enumerate(AT):
            found = by_seed(result, "script", f"script_{name}", setup="script", printed_step=step)
            rows.append(
                [f"{words} after {step:,} steps", format_number(PRINTED[name][place]),
                 format_number(float(own[place])), geometric(found)]
            )  # fmt: skip
    for name, words in (
        ("angle", "angle, degrees"),
        ("margin", "margin"),
        ("hard", "machine's margin"),
    ):
        own = by_seed(result, "script", f"printed_{name}")
        found = by_seed(result, "script", f"script_{name}", setup="script")
        rows.append(
            [words, format_number(PRINTED[name][0]), format_number(float(own[0])), geometric(found)]
        )
    return make_table(
        ["", "said to be printed", "its own seed prints", "other draws"],
        rows,
        align=("left", "right", "right", "right"),
        caption="The solution's script: geometric means over seeds [95 % t-intervals of the logarithm]",
    )


def _given(result: xr.Dataset) -> Table:
    def of(name: str) -> np.ndarray:
        return by_seed(result, "given", f"given_{name}")

    rows = [
        [power(times_of(result)[place]), *(geometric(of(n)[:, place]) for n in ("angle", "gap", "norm"))]
        for place in _shown(result)
    ]  # fmt: skip
    limit = of("gap")[:, -1] * np.log(10) * times_of(result)[-1] / of("gap_rate")
    return make_table(
        ["t", "angle, degrees", "1 − margin/γ", "‖w‖"],
        rows,
        align=("right",) * 4,
        caption="The run's own data, inputs divided by their root mean square length; geometric means over "
        "seeds [95 % t-intervals of the logarithm]",
        notes=(
            f"{of('features')[0]:.0f} features with the bias, {np.nanmin(of('support')):.0f} to "
            f"{np.nanmax(of('support')):.0f} support vectors; gap · log t at the last time is "
            f"{mean(limit)} of its limit",
        ),
    )
