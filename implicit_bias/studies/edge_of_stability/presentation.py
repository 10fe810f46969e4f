"""Tables, figures and methods of the edge-of-stability study."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.results.statistics import mean_interval
from implicit_bias.results.table import Table, format_estimate, make_table
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.edge_of_stability.rules import (
    BAND,
    EDGE_ARMS,
    PLACES,
    flow_peaks,
    groups,
    judge_group,
    linear_orders,
    orders,
)
from implicit_bias.studies.edge_of_stability.settings import ARMS

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

METHODS = """Full-batch arms use the whole training set of the lane in every update; each seed redraws it
with the initial weights. Sharpness is the largest eigenvalue of the Hessian of the mean training loss
at the iterate after the stated number of updates, by Lanczos stopped on the residual and started from
the last probe's eigenvector with a random part added.

Thresholds are those of a quadratic: 2/η for gradient descent, 2(1 + β)/η for heavy ball, and
(2 + 2β₁)/((1 − β₁)η) for the sharpness preconditioned by Adam's second moments. An arm counts as at
the edge where the geometric mean over seeds of the median over the last fifth of the run lies, with
its whole interval, within 0.9 and 1.15 of the threshold; intervals hold simultaneously over all arms
and step sizes of a run (Bonferroni).

Gradient flow is followed by Runge–Kutta steps of fourth order; nothing bounds its sharpness. Small steps
are held against the flow of the same seed: the distance of the last iterates at equal time, relative to
the flow's way, both projected on the same random directions; its order is the slope of its logarithm
against that of the step size. On least squares, where flow and end points are known in closed form,
descent is iterated in double precision from several starts, and the distance is the largest over time.

Gradient descent goes to the edge only where the loss sharpens so far; a step size whose threshold lies
above what the run reaches stays below it. Nothing is claimed for stochastic gradients."""


def tables(result: xr.Dataset) -> list[Table]:
    """Return the edge, a row an arm and step size, and the distance of small steps from the flow."""
    made = [_edge_table(result)] if groups(result) else []
    if (result["arm"].values == "small-steps").any():
        made.append(_flow_table(result))
    return made


def _edge_table(result: xr.Dataset) -> Table:
    cells = groups(result)
    level = 1 - 0.05 / max(1, len(cells))
    rows = []
    for (arm, step), lanes in cells.items():
        found = judge_group(lanes, level)
        good = ~lanes["diverged"].values
        loss = _last(lanes["log_train_loss"].values[good]) if good.any() else np.empty(0)
        products = (
            np.nanmean(lanes["log_sharpness_products"].values[:, 1:]) if good.any() else np.nan
        )
        rows.append(
            [
                arm,
                float(step),
                ARMS[arm].formula,
                float(lanes["threshold"][0]),
                f"{int(good.sum())}" + (f" (−{found['diverged']})" if found["diverged"] else ""),
                found["reached"],
                format_estimate(found["effect"], *found["interval"]),
                PLACES[found["where"]],
                float(np.mean(loss)) if loss.size else np.nan,
                float(products),
            ]
        )
    rows += [_flow_row(result, rows)] if (result["arm"].values == "flow").any() else []
    return make_table(
            ["arm", "η", "threshold", "value", "seeds", "reached it", "late sharpness / threshold",
             "where", "train loss", "products"],
            rows,
            caption="Sharpness over the last fifth of training, relative to the threshold: geometric mean "
            f"over seeds [{100 * level:.3g} % t-intervals of the logarithm, simultaneous at 95 %]",
            notes=(
                "seeds: lanes that count (− those that diverged); products: Hessian-vector products a probe",
                f"at the edge: the whole interval within {BAND[0]} and {BAND[1]}",
                "flow: η is the time of a Runge–Kutta step; its peak sharpness stands beside the 2/η of the "
                "largest step size of gd",
            ),
        )  # fmt: skip


def _flow_row(result: xr.Dataset, rows: list[list[Any]]) -> list[Any]:
    """Return the flow's row: its peak against the lowest threshold of gradient descent."""
    flow = result.isel(lane=np.flatnonzero(result["arm"].values == "flow"))
    good = ~flow["diverged"].values
    threshold = min(
        (row[3] for row in rows if row[0] == "gd" and row[7] != PLACES["diverged"]), default=np.nan
    )
    if not good.any() or np.isnan(threshold):
        return [
            "flow", float(flow["step_size"][0]), "none", np.nan, f"{int(good.sum())} (−{int((~good).sum())})",
            0, "n/a", PLACES["diverged"] if not good.any() else "has none", np.nan, np.nan,
        ]  # fmt: skip
    peak = flow_peaks(flow.isel(lane=np.flatnonzero(good))) / threshold
    found = mean_interval(np.log(peak))
    used = flow["log_sharpness_products"].values[:, 1:]
    products = float(used[np.isfinite(used)].mean()) if np.isfinite(used).any() else np.nan
    return [
        "flow", float(flow["step_size"][0]), "none", threshold,
        f"{int(good.sum())}" + (f" (−{int((~good).sum())})" if not good.all() else ""),
        int((peak >= 1).sum()),
        "peak " + format_estimate(*(float(np.exp(v)) for v in (found.value, found.low, found.high))),
        "has none", float(np.mean(_last(flow["log_train_loss"].values[good]))), float(products),
    ]  # fmt: skip


def _last(values: np.ndarray) -> np.ndarray:
    """Return the last finite entry of each row."""
    return np.asarray([row[np.isfinite(row)][-1] for row in values])


def _flow_table(result: xr.Dataset) -> Table:
    """Return one row a small step size, and the orders."""
    lanes = result.isel(lane=np.flatnonzero(result["arm"].values == "small-steps"))
    rows: list[list[Any]] = []
    for step in sorted(set(lanes["step_size"].values.tolist()), reverse=True):
        own = lanes["flow_distance"].values[lanes["step_size"].values == step]
        found = mean_interval(np.log(own))
        values = (float(np.exp(v)) for v in (found.value, found.low, found.high))
        rows.append(["networks", step, int(found.n), format_estimate(*values)])
    distance = result["linear_distance"].values
    distance = distance[np.isfinite(distance).all(axis=1)]
    for fraction, own in zip(result["step_fraction"].values, distance.T, strict=True):
        found = mean_interval(np.log(own))
        values = (float(np.exp(v)) for v in (found.value, found.low, found.high))
        name = f"{2 * float(fraction):g}/λmax"
        rows.append(["least squares", name, int(found.n), format_estimate(*values)])
    for name, slopes in (("networks", orders(result)), ("least squares", linear_orders(result))):
        found = mean_interval(slopes)
        cell = format_estimate(found.value, found.low, found.high)
        rows.append([name, "order", int(found.n), cell])
    return make_table(
        ["problem", "step size", "seeds", "distance from the flow"],
        rows,
        caption="Gradient descent at small step sizes against gradient flow at the same time, relative to "
        "the flow's way: geometric means [95 % t-intervals of the logarithm], and the order in the step size "
        "[95 % t-interval]",
    )


def draw_sharpness(result: xr.Dataset) -> Figure:
    """Draw sharpness relative to the threshold against updates, a shade a step size, a panel an arm."""
    return _courses(result, "log_relative_sharpness", "sharpness / threshold", threshold=1.0)


def draw_loss(result: xr.Dataset) -> Figure:
    """Draw training loss against updates, a shade a step size, a panel an arm."""
    units = result["log_train_loss"].attrs["units"]
    return _courses(result, "log_train_loss", f"training loss ({units})")


def draw_flow(result: xr.Dataset) -> Figure:
    """Draw the sharpness of gradient descent and of gradient flow against time, with the thresholds."""
    shown: dict[Hashable, figures.Curve] = {}
    arms = result["arm"].values
    steps = np.unique(result["step_size"].values[arms == "gd"])
    figure, ax = figures.axes(6.4, 3.6)
    for arm, by, styles, label in (
        ("gd", "step_size", figures.ordered(steps), "η = {:g}"),
        ("flow", "arm", None, "gradient {}"),
    ):
        own = result.isel(lane=np.flatnonzero(arms == arm))
        if not own.sizes["lane"]:
            continue
        curves = figures.curves(
            own, "log_sharpness", x="log_time", by=by, summary="geometric mean",
            reasons={"diverged": "diverged"},
        )  # fmt: skip
        figures.curves_with_bands(
            ax, curves, xlabel="time (η × updates)", yscale="log", label=label, styles=styles,
            ylabel=f"sharpness\n({result['log_sharpness'].attrs['units']})",
        )  # fmt: skip
        shown.update({f"{arm} {key}": curve for key, curve in curves.items()})
    for step in steps:
        figures.reference_line(ax, 2 / step, "2/η of each η")
    figures.legend(figure)
    figures.note(figure, " ".join([figures.count_note(shown), *_where_lines_end(result)]))
    return figure


def _where_lines_end(result: xr.Dataset) -> list[str]:
    """Say where descent and the flow end, and why."""
    said = []
    for arm, name in (("gd", "Descent"), ("flow", "The flow")):
        own = result.isel(lane=np.flatnonzero(result["arm"].values == arm))
        good = own.isel(lane=np.flatnonzero(~own["diverged"].values))
        if not good.sizes["lane"]:
            continue
        updates, budget = good["updates"].values, good["updates_budget"].values
        most = " or ".join(f"{n:g}" for n in np.unique(budget))
        text = f"{name} has a budget of {most} updates"
        early = updates[updates < budget]
        if early.size:
            text += f"; {early.size} of {updates.size} lanes stop before, the first after {early.min():g}"
        said.append(f"{text}.")
    return said


def draw_small_steps(result: xr.Dataset) -> Figure:
    """Draw how far small steps are from the flow against the step size, and a line of order one."""
    lanes = result.isel(lane=np.flatnonzero(result["arm"].values == "small-steps"))
    step, seed = lanes["step_size"].values, lanes["seed"].values
    grid = np.unique(step)
    distance = np.stack(
        [
            [lanes["flow_distance"].values[(step == s) & (seed == own)][0] for s in grid]
            for own in np.unique(seed)
        ]
    )
    curve = figures.Curve.from_values(grid, distance, summary="geometric mean")
    figure, ax = figures.axes(4.2, 3.4)
    figures.curve_by_group(
        ax, {"networks": curve}, xlabel="step size η", xscale="log", yscale="log",
        ylabel="distance from the flow,\nrelative to its way",
    )  # fmt: skip
    ax.plot(grid, curve.centre[0] * grid / grid[0], ls=":", color="0.4", label="∝ η", zorder=1)
    figures.legend(figure)
    figures.note(figure, figures.count_note({"networks": curve}))
    return figure


def _if_any_run(*arms: str) -> Callable[[xr.Dataset], bool]:
    return lambda result: bool(np.isin(result["arm"].values, arms).any())


def _courses(
    result: xr.Dataset, variable: str, label: str, threshold: float | None = None
) -> Figure:
    shown: dict[Hashable, figures.Curve] = {}
    arms = [arm for arm in EDGE_ARMS if (result["arm"].values == arm).any()]
    edge = np.isin(result["arm"].values, EDGE_ARMS)
    looks = figures.ordered(np.unique(result["step_size"].values[edge]))

    def draw(ax: Any, arm: str) -> None:
        lanes = result.isel(lane=np.flatnonzero(result["arm"].values == arm))
        curves = figures.curves(
            lanes, variable, x="log_step", by="step_size", summary="geometric mean",
            reasons={"diverged": "diverged"},
        )  # fmt: skip
        figures.curves_with_bands(
            ax, curves, xlabel="updates", ylabel=label, yscale="log", label="η = {:g}",
            styles=looks,
        )  # fmt: skip
        if threshold is not None:
            figures.reference_line(ax, threshold, "threshold")
        shown.update({f"{arm}, η = {step:g}": curve for step, curve in curves.items()})

    figure = figures.panels(arms, draw, columns=min(2, len(arms)), width=3.4, height=2.6)
    figures.legend(figure, order=[f"η = {step:g}" for step in looks])
    figures.note(figure, figures.count_note(shown))
    return figure


DRAWINGS = (
    Drawing(
        "sharpness", "Sharpness relative to the threshold of stability during training, one panel an "
        "arm; Adam's is the preconditioned sharpness.", draw_sharpness, _if_any_run(*EDGE_ARMS),
    ),
    Drawing(
        "flow", "Sharpness of gradient descent and of gradient flow against time, with the thresholds of "
        "stability; lines end where a budget or a stop ended the run.", draw_flow, _if_any_run("gd", "flow"),
    ),
    Drawing(
        "small_steps", "How the distance of gradient descent from gradient flow falls with the step size.",
        draw_small_steps, _if_any_run("small-steps"),
    ),
    Drawing("loss", "Training loss, one panel an arm.", draw_loss, _if_any_run(*EDGE_ARMS)),
)  # fmt: skip
