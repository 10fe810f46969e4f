"""Figures of the stability study."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.studies.rows import by_seed
from implicit_bias.studies.stability.exercise import PENALTIES, PUBLISHED
from implicit_bias.studies.stability.interpolation import FITS
from implicit_bias.studies.stability.known import BOUNDS, CASES, bounds_at
from implicit_bias.studies.stability.learning import PLAYERS
from implicit_bias.studies.stability.rules import delta_of, known

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

GUIDE: dict[str, Any] = {"color": "0.45", "lw": 1.0, "ls": (0, (1.2, 1.2)), "zorder": 4}

KERNELS = {"random": "labels by coin flips", "margin": "classes with a margin"}


def draw_bounds(result: xr.Dataset) -> Figure:
    """Draw bounds against ε, and the gap's quantiles of algorithms of that ε."""
    m, delta = int(np.nanmax(known(result, "examples"))), delta_of(result)
    drawn = BOUNDS[:1] + BOUNDS[2:6]
    looks = figures.categorical([*drawn, "memoriser", "switch", "mean"])

    def draw(ax: Any, title: str) -> None:
        epsilon = np.geomspace(0.3 / m, 1.0, 60)
        curves = np.stack([bounds_at(e, m, delta) for e in epsilon])
        for bound in drawn:
            look = looks[bound]
            ax.plot(
                epsilon,
                curves[:, BOUNDS.index(bound)],
                color=look.colour,
                ls=look.dash,
                lw=1.3,
                label=bound,
            )
        for algorithm, size in (("memoriser", 10), ("switch", 5), ("mean", 6)):
            names = [case for case, (kind, _) in CASES.items() if kind == algorithm]
            x = np.asarray([known(result, "stability", case=case)[0] for case in names])
            values = np.stack([known(result, "quantile", case=case) for case in names], axis=1)
            look = looks[algorithm]
            ax.plot(x, values.mean(axis=0), look.marker, color=look.colour, mfc="none", ms=size,
                    label=f"{algorithm}: gap at {1 - delta:g}", zorder=5)  # fmt: skip
        figures.reference_line(ax, 1.0, "range of the loss: vacuous above")
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_ylim(3e-3, 30)
        ax.set_xlabel("uniform stability ε")
        ax.set_ylabel("gap, bound on the gap")

    figure = figures.panels([f"m = {m}, δ = {delta:g}"], draw, width=4.6, height=3.6)
    figures.legend(figure)
    figures.note(figure, f"Markers: means over {len(known(result, 'draws'))} seeds.")
    return figure


def draw_movement(result: xr.Dataset) -> Figure:
    """Draw how far weights move without one example, against λ."""
    penalties = result["penalty"].values.astype(float)
    words = {
        "worst": "alone in its direction",
        "most": "largest of the population",
        "moved": "mean of the population",
    }
    looks = figures.categorical(words.values())
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, title: str) -> None:
        name = title.split()[0]
        made: dict[Hashable, figures.Curve] = {
            label: figures.Curve.from_values(
                penalties, by_seed(result, name, f"{name}_{kind}")[:, -1], summary="geometric mean"
            )
            for kind, label in words.items()
        }
        figures.curve_by_group(
            ax, made, xlabel="λ", ylabel="‖w − w without one‖", xscale="log", yscale="log", styles=looks
        )  # fmt: skip
        bound = by_seed(result, name, f"{name}_bound")[0, -1]
        ax.plot(
            penalties, bound, color="black", lw=1.2, label="bound for every training set", zorder=5
        )
        shown.update({(name, key): curve for key, curve in made.items()})

    figure = figures.panels(
        ["ridge regression", "logistic regression"], draw, width=3.2, height=2.8
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown) + f" m = {int(result['size'].values[-1])}.")
    return figure


def draw_gap(result: xr.Dataset) -> Figure:
    """Draw the mean gap of ridge regression against its stability, by m along λ."""
    sizes = result["size"].values
    looks = figures.ordered([int(m) for m in sizes])

    def draw(ax: Any, title: str) -> None:
        ends = []
        for m in sizes:
            gap = by_seed(result, "ridge", "ridge_gap", size=m).mean(axis=0)
            change = by_seed(result, "ridge", "ridge_change", size=m).mean(axis=0)
            look = looks[int(m)]
            ax.plot(
                change,
                gap,
                color=look.colour,
                marker=look.marker,
                ls=look.dash,
                ms=5,
                label=f"m = {int(m)}",
            )
            ends += [change.min(), change.max()]
        line = np.asarray([min(ends), max(ends)])
        ax.plot(line, 2 * line, label="2ε", **{**GUIDE, "color": "black"})
        ax.plot(line, line, label="ε", **GUIDE)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("ε: largest change of a loss by any replacement tried")
        ax.set_ylabel("mean gap")

    figure = figures.panels(
        ["ridge regression, λ falling to the right"], draw, width=4.2, height=3.2
    )
    figures.legend(figure)
    count = len(by_seed(result, "ridge", "ridge_exact"))
    figures.note(figure, f"Means over {count} seeds.")
    return figure


def draw_descent(result: xr.Dataset) -> Figure:
    """Draw the largest change of a loss by one example of descent against m, with its bound."""
    sizes = result["descent_size"].values.astype(float)
    shown: dict[Hashable, figures.Curve] = {}
    looks = figures.categorical(result["descent_loss"].values.tolist())

    def draw(ax: Any, title: str) -> None:
        made: dict[Hashable, figures.Curve] = {
            name: figures.Curve.from_values(
                sizes,
                by_seed(result, "descent", "sgd_change", descent_loss=name),
                summary="geometric mean",
            )
            for name in result["descent_loss"].values.tolist()
        }
        figures.curve_by_group(
            ax, made, xlabel="m", ylabel="largest change of a loss", xscale="log", yscale="log", styles=looks,
            label="{} loss",
        )  # fmt: skip
        bound = by_seed(result, "descent", "sgd_bound", descent_loss="linear")[0]
        ax.plot(sizes, bound, color="black", lw=1.2, ls=(0, (4, 2)), label="2ρ²Σ η/m", zorder=5)
        shown.update(made)

    figure = figures.panels(["stochastic gradient descent"], draw, width=4.0, height=3.0)
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_interpolation(result: xr.Dataset) -> Figure:
    """Draw excess risk, complexity and instability of interpolators against m."""
    sizes = result["fit_size"].values.astype(float)
    looks = figures.categorical(FITS)
    names = {
        "excess risk": "excess",
        "complexity of the norm's ball": "ball",
        "change of a loss": "change",
    }
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, title: str) -> None:
        made: dict[Hashable, figures.Curve] = {}
        for fit in FITS:
            values = by_seed(result, "interpolation", f"fit_{names[title]}", fit=fit)
            if np.isfinite(values).any() and not (
                title == "excess risk" and fit == "low dimension"
            ):
                made[fit] = figures.Curve.from_values(sizes, values, summary="geometric mean")
        figures.curve_by_group(
            ax, made, xlabel="m", ylabel=title, xscale="log", yscale="log", styles=looks
        )  # fmt: skip
        if names[title] == "ball":
            start = made["low dimension"].centre[0]
            ax.plot(sizes, 0.6 * start * np.sqrt(sizes[0] / sizes), label="slope of 1/√m", **GUIDE)
        shown.update({(title, key): curve for key, curve in made.items()})

    figure = figures.panels(names, draw, columns=3, width=2.8, height=2.7, share_y=False)
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(shown) + " In low dimension without noise the excess risk is rounding.",
    )
    return figure


def draw_learning(result: xr.Dataset) -> Figure:
    """Draw gaps on a fair coin, and risks of a kernel, against m."""
    shown: dict[Hashable, figures.Curve] = {}
    looks = figures.categorical([*PLAYERS, *KERNELS.values()])

    def draw(ax: Any, title: str) -> None:
        made: dict[Hashable, figures.Curve] = {}
        if title == "fair coin":
            x = result["coin_size"].values.astype(float)
            for player in PLAYERS:
                values = by_seed(result, "learning", "coin_gap", player=player) * np.sqrt(x)
                made[player] = figures.Curve.from_values(x, values)
            label = "√m · |gap|"
        else:
            x = result["kernel_size"].values.astype(float)
            for name, words in KERNELS.items():
                made[words] = figures.Curve.from_values(
                    x, by_seed(result, "learning", f"kernel_{name}")
                )
            label = "risk"
        figures.curve_by_group(ax, made, xlabel="m", ylabel=label, xscale="log", styles=looks)
        if title != "fair coin":
            figures.reference_line(ax, 1 / 8, "1/8")
        ax.set_ylim(bottom=-0.02)
        shown.update({(title, key): curve for key, curve in made.items()})

    figure = figures.panels(
        ["fair coin", "Gaussian kernel"],
        draw,
        columns=2,
        width=3.2,
        height=2.7,
        share_x=False,
        share_y=False,
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_exercise(result: xr.Dataset) -> Figure:
    """Draw the gap against the movement of weights in the exercise, with what it expects."""
    looks = figures.ordered(PENALTIES)

    def draw(ax: Any, title: str) -> None:
        scaling = title.split()[-1]
        moved, gap = (
            by_seed(result, "exercise", f"image_{name}", scaling=scaling)
            for name in ("moved", "gap")
        )
        for place, lam in enumerate(PENALTIES):
            ax.plot(moved[:, place], gap[:, place], looks[lam].marker, color=looks[lam].colour, ms=5,
                    mec="black",
                    mew=0.4, ls="none", label=f"λ = {lam:g}")  # fmt: skip
            ax.plot(PUBLISHED["moved"][place], PUBLISHED["gap"][place], looks[lam].marker, mfc="none",
                    mec="#d45e03",
                    ms=9, mew=1.3, ls="none", label="expected" if not place else "_")  # fmt: skip
        ends = np.asarray([min(moved.min(), 0.02), max(moved.max(), 0.5)])
        ax.plot(ends, 2 * ends, label="twice the movement", **GUIDE)
        ax.set_xscale("log")
        ax.set_yscale("log")
        for axis in (ax.xaxis, ax.yaxis):
            figures.plain_log_ticks(axis)
        ax.set_xlabel("Δ̄ = mean ‖W − W without one‖")
        ax.set_ylabel("test less training loss")

    figure = figures.panels(
        ["λ beside the sum", "λ beside the mean"], draw, columns=2, width=3.2, height=2.9
    )
    figures.legend(figure)
    count = len(by_seed(result, "exercise", "image_features"))
    figures.note(figure, f"Points: {count} seeds. What is expected is of MNIST.")
    return figure
