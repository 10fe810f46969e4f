"""Figures of the paths: rates, the law, growth, steps."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.studies.margin.descents import PACES
from implicit_bias.studies.margin.flows import FLOW_LOSSES, STARTS
from implicit_bias.studies.margin.rules import NAMES, REACHED, place_of, power, times_of
from implicit_bias.studies.rows import by_seed, has, seeds_of
from implicit_bias.theory.margin import NORMS

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

THEORY: dict[str, Any] = {"color": "#d45e03", "lw": 1.2, "ls": (0, (4, 2)), "zorder": 5}
GUIDE: dict[str, Any] = {"color": "0.45", "lw": 1.0, "ls": (0, (1.2, 1.2)), "zorder": 4}
LOOKS = figures.categorical(STARTS)
LOSS_LOOKS = figures.categorical(FLOW_LOSSES)
TIME = "log₁₀ t"


def drawn(x: np.ndarray, values: np.ndarray) -> figures.Curve:
    """Summarise by a geometric mean over seeds."""
    return figures.Curve.from_values(x, values, summary="geometric mean")


def draw_rate(result: xr.Dataset) -> Figure:
    """Draw angle and lack of margin against time, on logarithms of log t: a slope of −1 is 1/log t."""
    x = times_of(result)
    kept = x > 0
    shown: dict[Hashable, figures.Curve] = {}
    names = {"direction": ("flow_angle", "angle to the hard margin, degrees"),
             "margin": ("flow_gap", "1 − margin/γ")}  # fmt: skip

    def draw(ax: Any, name: str) -> None:
        variable, label = names[name]
        made: dict[Hashable, figures.Curve] = {}
        for start in STARTS:
            values = by_seed(result, "flow", variable, flow_loss="logistic", start=start)[:, kept]
            made[start] = drawn(x[kept], values)
        figures.curves_with_bands(
            ax, made, xlabel=TIME, ylabel=label, xscale="log", yscale="log", styles=LOOKS,
            label="flow, start: {}",
        )  # fmt: skip
        if has(result, "steps"):
            times = by_seed(result, "steps", "steps_log_time")
            stepped = by_seed(
                result, "steps", "steps_angle" if name == "direction" else "steps_gap"
            )
            seen = times.mean(axis=0) > x[kept][0]
            with np.errstate(invalid="ignore", divide="ignore"):
                centre = np.exp(np.log(stepped).mean(axis=0))
            ax.plot(
                times.mean(axis=0)[seen], centre[seen], "x", color="black", ms=5, zorder=6,
                label=f"gradient descent, {int(result['steps'].values[-1]):,} steps",
            )  # fmt: skip
        at = x >= REACHED
        if name == "margin":
            rate = np.exp(np.log(by_seed(result, "flow", "flow_gap_rate")).mean())
            ax.plot(x[at], rate / (np.log(10) * x[at]), label="theory: constant / log t", **THEORY)
        else:
            last = made["zero"].centre[-1] * x[-1]
            ax.plot(x[at], 2 * last / x[at], label="slope of 1/log t", **GUIDE)
        figures.reference_line(ax, REACHED, "t = 10⁹", axis="x")
        shown.update(made)

    figure = figures.panels(list(names), draw, columns=2, width=3.5, height=3.0, share_y=False)
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown) + " Logistic loss, two classes in the plane.")
    return figure


def draw_law(result: xr.Dataset) -> Figure:
    """Draw distance to ŵ log t + w̃, and angle and margin in units of their laws."""
    x = times_of(result)
    kept = x > 0
    shown: dict[Hashable, figures.Curve] = {}
    names = {
        "the law itself": ("left", "‖w − ŵ log t − w̃‖ / ‖w̃‖"),
        "direction": ("angle", "angle · log t / constant"),
        "margin": ("gap", "(1 − margin/γ) · log t / constant"),
    }

    def draw(ax: Any, title: str) -> None:
        name, label = names[title]
        made: dict[Hashable, figures.Curve] = {}
        for loss in FLOW_LOSSES:
            values = by_seed(result, "law", f"law_{name}", flow_loss=loss)[:, kept]
            if name == "left":
                made[loss] = drawn(x[kept], values)
            else:
                limit = by_seed(result, "law", f"law_{name}_rate")[:, None]
                made[loss] = figures.Curve.from_values(x[kept], values / limit)
        figures.curves_with_bands(
            ax, made, xlabel=TIME, ylabel=label, xscale="log",
            yscale="log" if name == "left" else "linear", styles=LOSS_LOOKS, label="{} loss",
        )  # fmt: skip
        if name != "left":
            ax.axhline(1.0, label="theory", **THEORY)
            ax.set_ylim(0.6, 1.4)  # what is left of the start runs off before t = 100
        shown.update({(name, loss): curve for loss, curve in made.items()})

    figure = figures.panels(names, draw, columns=3, width=2.8, height=2.6, share_y=False)
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(shown)
        + " Data whose hard-margin solution was chosen; the first levels off at the integrator's error.",
    )
    return figure


def draw_growth(result: xr.Dataset) -> Figure:
    """Draw what grows: weights and −log loss like log t; with a support vector at rest, also log log t."""
    x = times_of(result)
    near = (x <= REACHED) & (x > 0)
    shown: dict[Hashable, figures.Curve] = {}

    titles = {"weights": "weights", "loss": "loss", "a support vector with α = 0": "log log t"}

    def draw(ax: Any, title: str) -> None:
        name = titles[title]
        made: dict[Hashable, figures.Curve] = {}
        t, kept = (np.log(10) * x[near], near) if name != "log log t" else (
            np.log(np.log(10) * x[x > 0]), x > 0)  # fmt: skip
        for loss in FLOW_LOSSES:
            at = {"flow_loss": loss}
            if name == "log log t":
                values = by_seed(result, "degenerate", "degenerate_across", **at)
            elif name == "weights":
                values = by_seed(result, "flow", "flow_norm", start="zero", **at)
                values = values * by_seed(result, "flow", "flow_margin")[:, None]
            else:
                values = -by_seed(result, "flow", "flow_log_loss", start="zero", **at)
            made[loss] = figures.Curve.from_values(t, values[:, kept])
        labels = {"weights": ("log t", "γ ‖w‖"), "loss": ("log t", "−log loss"),
                  "log log t": ("log log t", "margin beyond log t")}[name]  # fmt: skip
        figures.curves_with_bands(
            ax, made, xlabel=labels[0], ylabel=labels[1], styles=LOSS_LOOKS, label="{} loss"
        )
        last = float(np.mean([curve.centre[-1] for curve in made.values()]))
        ax.plot(t, last + (t - t[-1]), label="slope 1", **THEORY)
        shown.update({(name, loss): curve for loss, curve in made.items()})

    figure = figures.panels(
        titles, draw, columns=3, width=2.8, height=2.6, share_x=False, share_y=False
    )
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(shown)
        + f" Natural logarithms; to t = 10⁹ on the left, to {power(x[-1])} on the right.",
    )
    return figure


def draw_pace(result: xr.Dataset) -> Figure:
    """Draw what the margin lacks against steps, and against −log loss, where the paths are one."""
    steps = result["pace_steps"].values.astype(float)
    shown: dict[Hashable, figures.Curve] = {}
    looks = figures.categorical(PACES)
    first = seeds_of(result)[0]

    def draw(ax: Any, name: str) -> None:
        if name == "against steps":
            made: dict[Hashable, figures.Curve] = {
                pace: drawn(steps, by_seed(result, "pace", "pace_gap", pace=pace)) for pace in PACES
            }
            figures.curves_with_bands(
                ax, made, xlabel="steps", ylabel="1 − margin/γ", xscale="log", yscale="log", styles=looks
            )  # fmt: skip
            for exponent, pace in ((1.0, "normalised, c"), (0.5, "normalised, c/√k")):
                end = made[pace].centre[-1]
                tail = steps >= steps[-1] / 30
                ax.plot(
                    steps[tail], 1.6 * end * (steps[tail] / steps[-1]) ** -exponent,
                    label="slopes −1 and −1/2" if exponent == 1 else "_", **GUIDE,
                )  # fmt: skip
            shown.update(made)
            return
        for pace in PACES:
            depth = by_seed(result, "pace", "pace_depth", pace=pace)[0]
            gap = by_seed(result, "pace", "pace_gap", pace=pace)[0]
            kept = (depth > 0) & (gap > 0)
            ax.plot(
                depth[kept], gap[kept], color=looks[pace].colour, marker=looks[pace].marker, ms=4, lw=1.0,
                ls=looks[pace].dash,
            )  # fmt: skip
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("−log loss")
        ax.set_ylabel("1 − margin/γ")

    figure = figures.panels(
        ["against steps", "against −log loss"],
        draw,
        columns=2,
        width=3.4,
        height=2.9,
        share_x=False,
    )
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(shown)
        + f" On the right seed {first}: nearly one path, walked at different paces; steps of finite "
        "length leave it a little.",
    )
    return figure


def draw_steepest(result: xr.Dataset) -> Figure:
    """Draw the margin in each norm against steps, for steepest descent in each norm."""
    steps = result["steepest_steps"].values.astype(float)
    looks = figures.categorical(NORMS)
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, title: str) -> None:
        norm = next(n for n in NORMS if title.startswith(NAMES[n]))
        made: dict[Hashable, figures.Curve] = {
            descent: figures.Curve.from_values(
                steps, by_seed(result, "steepest", "steepest_ratio", descent=descent, norm=norm)
            )
            for descent in NORMS
        }
        figures.curves_with_bands(
            ax, {NAMES[str(k)]: curve for k, curve in made.items()}, xlabel="steps",
            ylabel="margin / largest", xscale="log",
            styles={NAMES[str(k)]: look for k, look in looks.items()}, label="steepest descent in {}",
        )  # fmt: skip
        ax.axhline(1.0, color="0.45", lw=0.8)
        ax.set_ylim(0.0, 1.03)
        shown.update({(norm, k): curve for k, curve in made.items()})

    figure = figures.panels(
        [f"{NAMES[norm]} margin" for norm in NORMS], draw, columns=3, width=2.7, height=2.6
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_boundaries(result: xr.Dataset) -> Figure:
    """Draw training points and boundaries at several times of one seed, by start."""
    points = by_seed(result, "flow", "flow_inputs")[0]
    labels = by_seed(result, "flow", "flow_labels")[0]
    solution = by_seed(result, "flow", "flow_solution")[0]
    decades = (0.0, 3.0, 9.0, float(times_of(result)[-1]))
    looks = figures.ordered(decades)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    half = float(np.ptp(points, axis=0).max()) / 2 + 0.6
    low, high = middle - half, middle + half

    def line(ax: Any, w: np.ndarray, **how: Any) -> None:
        # Along the boundary, far enough either way to leave the panel.
        foot = -w[2] * w[:2] / (w[:2] @ w[:2])
        along = np.asarray([-w[1], w[0]]) / np.linalg.norm(w[:2])
        reach = 4 * float(np.max(high - low))
        ends = foot[:, None] + np.outer(along, [-reach, reach])
        ax.plot(*ends, **how)

    def draw(ax: Any, title: str) -> None:
        start = title.removeprefix("start: ")
        for label, marker, face in ((1.0, "o", "white"), (-1.0, "v", "0.55")):
            ax.plot(
                *points[labels == label].T, marker, ms=4.5, mfc=face, mec="black", mew=0.7, ls="none",
                label="class +1" if label > 0 else "class −1", zorder=3,
            )  # fmt: skip
        paths = by_seed(result, "flow", "flow_weights", flow_loss="logistic", start=start)[0]
        line(ax, solution, color="#d45e03", lw=3.2, alpha=0.55, label="hard margin", zorder=2)
        for decade in decades:
            look = looks[decade]
            line(
                ax, paths[place_of(result, decade)], color=look.colour, lw=1.3, ls=look.dash,
                label=f"t = {power(decade)}", zorder=4,
            )  # fmt: skip
        ax.set_xlim(low[0], high[0])
        ax.set_ylim(low[1], high[1])
        ax.set_aspect("equal")
        ax.grid(visible=False)
        ax.set_xlabel("first coordinate")
        ax.set_ylabel("second coordinate")

    starts = [f"start: {name}" for name in ("zero", "far", "opposed")]
    figure = figures.panels(starts, draw, columns=3, width=2.6, height=3.0)
    figures.legend(figure)
    figures.note(figure, f"Seed {seeds_of(result)[0]}, logistic loss.")
    return figure
