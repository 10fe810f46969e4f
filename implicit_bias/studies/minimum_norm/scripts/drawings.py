"""Figures of the exercises and scripts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.minimum_norm.scripts import printed
from implicit_bias.studies.minimum_norm.scripts.comparing import scripted
from implicit_bias.studies.minimum_norm.scripts.curvature import (
    ADAM,
    FADING,
    GD,
    HEATED,
    RMS,
    ROTATED,
    S6_OPTIMISERS,
)
from implicit_bias.studies.minimum_norm.scripts.descent import STEPS
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
from implicit_bias.studies.minimum_norm.scripts.tables import printed_numbers
from implicit_bias.studies.rows import by_seed, has, if_run

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

STATED: dict[str, Any] = {
    "ls": "none",
    "marker": "D",
    "ms": 5,
    "mfc": "white",
    "mec": "#d45e03",
    "zorder": 6,
}
"""How numbers of the chapter look."""
ROUNDING = 1e-14
"""Errors below it are rounding."""
FLOOR = 1e-12
"""‖θ‖ below it is not drawn."""


def draw_descent(result: xr.Dataset) -> Figure:
    """Draw errors against updates, updates against the step size, and paths in their plane."""
    looks = figures.ordered(STEPS)
    shown: dict[Any, figures.Curve] = {}

    def errors(ax: Any) -> None:
        times = np.asarray(result["c1_time"].values, float)
        made: dict[Any, figures.Curve] = {}
        for step in STEPS:
            values = by_seed(result, DESCENT, "c1_error", c1_step=step)
            values = np.clip(values, ROUNDING, 1 / ROUNDING)
            made[step] = figures.Curve.from_values(times, values, summary="geometric mean")
        shown.update(made)
        figures.curves_with_bands(
            ax, made, xlabel="updates t", ylabel="‖w$_t$ − w*‖ / ‖w*‖", yscale="log", styles=looks,
            label="αλmax = {}",
        )  # fmt: skip
        ax.set_xlim(0, 600)
        ax.set_ylim(1e-12, 3)

    def counts(ax: Any) -> None:
        factors = np.asarray(result["c1_factor"].values, float)
        values = by_seed(result, DESCENT, "c1_sweep")
        curve = figures.Curve.from_values(factors, values, summary="geometric mean")
        figures.curves_with_bands(
            ax, {"measured": curve}, xlabel="αλmax", ylabel="updates to ‖∇f‖ < 1e-6", yscale="log",
            styles=figures.categorical(["measured"]), label="{}, λmax exact",
        )  # fmt: skip
        ax.plot(
            list(printed.C1_ITERATIONS), list(printed.C1_ITERATIONS.values()), label="stated",
            **STATED,
        )  # fmt: skip
        kappa = float(np.nanmean(by_seed(result, DESCENT, "c1_condition")))
        figures.reference_line(ax, 2 / (1 + 1 / kappa), "fastest: 2/(1 + 1/κ)", axis="x")

    def paths(ax: Any) -> None:
        way, goal = (by_seed(result, DESCENT, name)[0] for name in ("c1_path", "c1_goal"))
        for row, step in enumerate(STEPS):
            look, part = looks[step], way[row, : 7 if step > 1.9 else None]
            ax.plot(
                part[:, 0], part[:, 1], color=look.colour, ls=look.dash, lw=1, marker=look.marker,
                ms=3.5,
            )  # fmt: skip
            for a, b in itertools.pairwise(part[:4]):
                ax.annotate(
                    "", xy=b, xytext=a,
                    arrowprops={"arrowstyle": "-|>", "color": look.colour, "lw": 0.8},
                )  # fmt: skip
        ax.plot(*goal, ls="none", marker="*", ms=9, color="#262626", label="w*", zorder=7)
        ax.set_xlabel("first principal component")
        ax.set_ylabel("second")

    draws: dict[str, Callable[[Any], None]] = {
        "error": errors,
        "updates needed": counts,
        "first updates of one data set": paths,
    }
    figure = figures.panels(
        draws, lambda ax, name: draws[name](ax), columns=3, width=2.9, height=2.6, share_x=False,
        share_y=False,
    )  # fmt: skip
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(shown) + " Paths: in the plane of the principal "
        "components of that with αλmax = 1.5.",
    )
    return figure


def draw_batches(result: xr.Dataset) -> Figure:
    """Draw norm and losses while training, for three batch sizes, by epochs, to the end."""
    looks = figures.ordered(printed.C2_BATCHES)
    names = {
        "norms": ("‖w‖ / ‖X⁺y‖", printed.C2_NORMS),
        "tests": ("test loss (label²)", printed.C2_TESTS),
        "trains": ("training loss (label²)", printed.C2_TRAINS),
    }
    epochs = np.asarray(result["c2_epoch"].values, float)
    shown: dict[Any, figures.Curve] = {}
    limit = by_seed(result, BATCHES, "c2_limit")

    def draw(ax: Any, name: str) -> None:
        label, stated = names[name]
        made: dict[Any, figures.Curve] = {}
        for batch in printed.C2_BATCHES:
            values = by_seed(result, BATCHES, f"c2_{name}", c2_batch=batch)
            if name == "norms":
                values = values / limit[:, None]
            values = np.maximum(values, ROUNDING)
            made[batch] = figures.Curve.from_values(epochs, values, summary="geometric mean")
        shown.update(made)
        figures.curves_with_bands(
            ax, made, xlabel="epochs", ylabel=label, xscale="log",
            yscale="linear" if name == "norms" else "log", styles=looks, label="B = {}",
        )  # fmt: skip
        if name == "norms":
            stated = stated / float(np.nanmean(limit))
        for batch, value in zip(printed.C2_BATCHES, stated, strict=True):
            ax.plot([100], [value], **{**STATED, "mec": looks[batch].colour, "mew": 1.4})
        ax.plot([], [], label="stated at 100 epochs", **{**STATED, "mec": "#262626"})
        if name == "trains":
            ax.set_ylim(1e-12, None)
        figures.reference_line(ax, 100, "100 epochs", axis="x")

    figure = figures.panels(
        names, draw, columns=3, width=2.9, height=2.6, share_x=False, share_y=False
    )
    _rename(figure, "norm", "test loss", "training loss")
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_adaptive(result: xr.Dataset) -> Figure:
    """Draw ‖θ‖ of descent and adaptive optimisers, gains against κ, and what the script leaves."""
    names = (GD, RMS, ROTATED, FADING, ADAM)
    looks = figures.categorical(names)
    times = np.asarray(result["c6_time"].values, float)
    shown: dict[Any, figures.Curve] = {}

    def lengths(ax: Any) -> None:
        made: dict[Any, figures.Curve] = {}
        for name in names:
            values = np.maximum(by_seed(result, CURVATURE, "c6_norm", c6_optimiser=name), FLOOR / 2)
            made[name] = figures.Curve.from_values(times, values, summary="geometric mean")
        shown.update(made)
        figures.curves_with_bands(
            ax, made, xlabel="updates t", ylabel="‖θ$_t$‖", xscale="log", yscale="log", styles=looks
        )
        ax.set_ylim(FLOOR, 300)
        figures.reference_line(ax, printed.C6_ACCURACY, "1e-7")
        ax.plot(
            [printed.C6_ALL, printed.C6_ADAPTIVE], [printed.C6_ACCURACY] * 2,
            label="stated for GD and RMSProp", **STATED,
        )  # fmt: skip

    def conditions(ax: Any) -> None:
        kappas = np.asarray(result["c6_condition"].values, float)
        curve = figures.Curve.from_values(
            kappas, by_seed(result, CURVATURE, "c6_speedup"), summary="geometric mean"
        )
        figures.curves_with_bands(
            ax, {"ratio": curve}, xlabel="condition number κ", ylabel="updates to 1e-7: GD / RMSProp",
            xscale="log", yscale="log", styles=figures.categorical(["ratio"]),
            label="measured, first time below",
        )  # fmt: skip
        ax.plot(kappas, np.log(kappas), color="#d45e03", ls=(0, (4, 2)), lw=1.1, label="ln κ")
        ax.plot([1000], [printed.C6_SPEEDUP], label="stated ratio", **STATED)

    def leftovers(ax: Any) -> None:
        curvatures = np.asarray(result["s6_direction"].values, float)
        made: dict[Any, figures.Curve] = {}
        for name in S6_OPTIMISERS:
            values = scripted(result, CURVATURE_SCRIPT, "s6_end", s6_optimiser=name)
            made[name] = figures.Curve.from_values(
                curvatures, np.maximum(values, FLOOR / 2), summary="geometric mean"
            )
        figures.curves_with_bands(
            ax, made, xlabel="curvature λ", ylabel="|θ| after 5000 updates", xscale="log",
            yscale="log", styles={name: looks[name] for name in S6_OPTIMISERS},
        )  # fmt: skip
        ax.set_ylim(FLOOR, 1)

    draws: dict[str, Callable[[Any], None]] = {"C.6: distance from the minimum": lengths}
    draws["C.6: gain against κ"] = conditions
    if has(result, CURVATURE_SCRIPT):
        draws["S.6: what is left by direction"] = leftovers
    figure = figures.panels(
        draws, lambda ax, name: draws[name](ax), columns=3, width=3.0, height=2.7, share_x=False,
        share_y=False,
    )  # fmt: skip
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown) + f" Below {FLOOR:g} nothing is drawn.")
    return figure


def draw_directions(result: xr.Dataset) -> Figure:
    """Draw each direction's component against updates as shades, for descent and RMSProp."""
    times = np.asarray(result["c6_time"].values, float)
    curvatures = np.asarray(result["c6_direction"].values, float)
    images: list[Any] = []

    def draw(ax: Any, name: str) -> None:
        logs = by_seed(result, CURVATURE, "c6_log_parts", c6_heated=name)
        seed = int(np.flatnonzero(np.isfinite(logs[:, 0, 0]))[0])
        images.append(
            ax.pcolormesh(
                times[1:], curvatures, np.clip(logs[seed][:, 1:], -10, 1), cmap="viridis", vmin=-10,
                vmax=1, shading="nearest", rasterized=True,
            )
        )  # fmt: skip
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("updates t")
        ax.set_ylabel("curvature λ")

    figure = figures.panels(HEATED, draw, columns=3, width=2.8, height=2.6)
    with figures.style():
        bar = figure.colorbar(images[0], ax=figure.axes[: len(HEATED)], pad=0.02)
        bar.set_label("log$_{10}$ |component|, −10 or less dark")
    figures.note(
        figure, "One seed. Components along eigenvectors of H, from a standard normal start."
    )
    return figure


def draw_penalties(result: xr.Dataset) -> Figure:
    """Draw losses and norm against the penalty, over a range that matters, with what the script prints."""
    wide = np.asarray(result["s5_wide"].values, float)
    penalties = np.asarray(printed.S5_PENALTIES)[1:]
    names = {
        "wide_norm": ("‖w‖", printed.S5_NORMS[1:]),
        "wide_test": ("expected test loss (label²)", printed.S5_TESTS[1:]),
        "fewer_test": ("expected test loss (label²)", None),
    }
    shown: dict[Any, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        label, said = names[name]
        values = scripted(result, RIDGE_SCRIPT, f"s5_{name}")
        curve = figures.Curve.from_values(wide, values, summary="geometric mean")
        shown[name] = curve
        figures.curves_with_bands(
            ax, {"computed": curve}, xlabel="λ", ylabel=label, xscale="log",
            yscale="linear" if name == "wide_norm" else "log",
            styles=figures.categorical(["computed"]),
        )  # fmt: skip
        if said is not None:
            ax.plot(penalties, said, label="printed", **STATED)
        ax.axvspan(
            wide[0],
            penalties[-1],
            color="#6b6b6b",
            alpha=0.12,
            lw=0,
            label="the script's penalties",
        )
        best = float(np.nanmean(scripted(result, RIDGE_SCRIPT, "s5_optimal")))
        figures.reference_line(ax, best, "nσ²/‖w$_{true}$‖²", axis="x")
        ax.set_xticks([1e-4, 1e-2, 1, 100])

    figure = figures.panels(
        names, draw, columns=3, width=2.8, height=2.5, share_x=False, share_y=False
    )
    _rename(figure, "norm, 100 examples", "loss, 100 examples", "loss, 60 examples")
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown) + " λ stands beside the sum of squared errors.")
    return figure


def _rename(figure: Figure, *titles: str) -> None:
    """Give panels titles other than the names of what they draw."""
    with figures.style():
        for ax, title in zip(figure.axes, titles, strict=True):
            ax.set_title(title, loc="left")


def draw_printed(result: xr.Dataset) -> Figure:
    """Draw what scripts compute over what they are said to print."""
    numbers = printed_numbers(result)
    figure, ax = figures.axes(6.4, 0.6 + 0.17 * len(numbers))
    with figures.style():
        for place, (_, _, said, values, _) in enumerate(numbers):
            ratios = values[np.isfinite(values)] / said
            ax.plot(
                ratios, np.full(ratios.size, place), ls="-", lw=0.8, marker="o", ms=3.5, color="#00729e",
                mec="white", mew=0.3, zorder=3, label="a seed",
            )  # fmt: skip
        ax.plot(
            np.ones(len(numbers)),
            range(len(numbers)),
            label="printed",
            **{**STATED, "ms": 4, "zorder": 2},
        )
        ax.set_xscale("log")
        ax.set_yticks(range(len(numbers)), [f"{one[0]}: {one[1]}" for one in numbers])
        ax.set_ylim(len(numbers) - 0.4, -0.6)
        ax.set_xlabel("computed / printed")
    figures.legend(figure)
    figures.note(figure, "Each point is a seed of the study: geometric mean of the script's runs.")
    return figure


SCRIPT_DRAWINGS = (
    Drawing(
        "scripts-descent", "Exercise C.1: error of gradient descent, updates it needs against its step size, "
        "and the way of its first updates.",
        draw_descent, if_run(DESCENT),
    ),
    Drawing(
        "scripts-batches", "Exercise C.2: norm and losses for three batch sizes, beyond the 100 epochs that "
        "are asked for: all end at the same solution.",
        draw_batches, if_run(BATCHES),
    ),
    Drawing(
        "scripts-adaptive", "Exercise C.6 and its script: descent and adaptive optimisers on a quadratic of "
        "condition number 1000.",
        draw_adaptive, if_run(CURVATURE),
    ),
    Drawing(
        "scripts-directions", "Exercise C.6: every direction's component, for descent, RMSProp, and RMSProp "
        "where the Hessian is not diagonal.",
        draw_directions, if_run(CURVATURE),
    ),
    Drawing(
        "scripts-penalties", "The script to C.5: ridge regression over its own penalties and over those that "
        "matter.",
        draw_penalties, if_run(RIDGE_SCRIPT),
    ),
    Drawing(
        "scripts-printed", "What the chapter's scripts compute, over what they are said to print.",
        draw_printed, if_run(DESCENT_SCRIPT, BATCH_SCRIPT, RIDGE_SCRIPT),
    ),
)  # fmt: skip
