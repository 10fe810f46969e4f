"""Figures of the linear part."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias import theory
from implicit_bias.results import figures
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.double_descent.linear import ridge
from implicit_bias.studies.double_descent.linear.designs import (
    BHX,
    DECAYING,
    DENSE,
    FALLING,
    FIFTY,
    HUNDRED,
    LOUD,
    ONES,
    RANDOM,
    SIGNAL,
    STRONG_FIRST,
    Design,
    law,
)
from implicit_bias.studies.double_descent.linear.exercise import EXAMPLES, SIZES
from implicit_bias.studies.double_descent.linear.rows import stage_of
from implicit_bias.studies.rows import by_seed, if_run

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

PANELS: dict[str, tuple[Design, str]] = {
    f"m = 50, {DENSE}": (FIFTY, DENSE),
    f"m = 50, {LOUD}": (FIFTY, LOUD),
    f"m = 100, {RANDOM}": (HUNDRED, RANDOM),
    f"m = 100, {ONES}": (HUNDRED, ONES),
    f"m = 100, {SIGNAL}": (HUNDRED, SIGNAL),
    f"m = 50, {DECAYING}": (FIFTY, DECAYING),
    f"m = 50, {BHX}": (FIFTY, BHX),
    f"m = 50, {FALLING}": (STRONG_FIRST, FALLING),
}
"""The chapter's designs, then those that show double descent."""

LOOK = figures.categorical(["median"])
CLOUD = "#6b6b6b"


def draw_risk(result: xr.Dataset) -> Figure:
    """Draw test error against the number of features: medians, quartiles and the law."""
    counts: set[int] = set()
    seeds: set[int] = set()

    def draw(ax: Any, name: str) -> None:
        design, target = PANELS[name]
        row = design.names.index(target)
        quantiles = by_seed(result, stage_of(design), f"{design.label}_quantiles")[:, :, row]
        drawn = by_seed(result, stage_of(design), f"{design.label}_draws").sum()
        counts.add(int(drawn))
        seeds.add(len(quantiles))
        there = np.isfinite(quantiles[0, 1])
        sizes = np.asarray(design.sizes)[there]
        low, centre, high = quantiles.mean(axis=0)[:, there]
        used = np.full(sizes.shape, len(quantiles))
        curve = figures.Curve(sizes, centre, low, high, used, used, line="median", band="quartiles")
        figures.curves_with_bands(
            ax, {"median": curve}, xlabel="features n", ylabel="test error (label²)", xscale="log",
            yscale="log", styles=LOOK, label="{}, with quartiles of training sets",
        )  # fmt: skip
        x, mean, median = law_curves(design, target)
        ax.plot(x, mean, color="#d45e03", lw=1.1, ls=(0, (4, 2)), label="law: mean", zorder=5)
        ax.plot(x, median, color="#53c0fb", lw=0.9, label="law: median", zorder=4.5)
        figures.reference_line(ax, design.examples, "threshold n = m", axis="x")
        top = np.nanmax(high) * 3
        ax.set_ylim(np.nanmin(low) / 2, top)

    figure = figures.panels(
        PANELS, draw, columns=2, width=3.4, height=2.2, share_x=False, share_y=False
    )
    figures.legend(figure)
    figures.note(
        figure,
        "Lines and bands: means over seeds of each seed's median and quartiles over training sets; "
        + f"n = {min(seeds)} seeds, {' or '.join(map(str, sorted(counts)))} training sets at a size in all"
        + ". Laws are exact, but that of features 1/j beyond n = m is a limit; they run off the panel "
        "where the mean is infinite (|n − m| ≤ 1).",
    )
    return figure


def law_curves(design: Design, target: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sizes, mean and median of the law, on a grid that is fine at the threshold."""
    m, most = design.examples, design.sizes[-1]
    model = design.target(target)
    if model.signal == "even":
        most = min(most, model.total)
    near = m + np.arange(-12, 13)
    spread = np.unique(np.geomspace(design.sizes[0], most, 40).round().astype(int))
    sizes = np.unique([n for n in (*near, *spread) if design.sizes[0] <= n <= most])
    found = law(Design(design.label, m, tuple(int(n) for n in sizes), (model,), design.strength))
    return sizes, found.mean[0], found.quantiles[1, 0]


def draw_exercise(result: xr.Dataset) -> Figure:
    """Draw what exercise C.5 asks for: test loss, norm and training loss."""
    names = {
        "test loss": ("exercise_median", "test loss (label²)"),
        "norm": ("exercise_norm", "‖w‖"),
        "training loss": ("exercise_train", "training loss (label²)"),
    }
    published = {10: 0.20, 40: 0.05, 50: 0.45, 60: 0.10, 200: 0.015}
    shown: dict[Any, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        variable, label = names[name]
        values = by_seed(result, "exercise", variable)
        # Below rounding nothing is told apart.
        curve = figures.Curve.from_values(
            SIZES, np.maximum(values, 1e-30), summary="geometric mean"
        )
        figures.curves_with_bands(
            ax, {"measured": curve}, xlabel="features n", ylabel=label, xscale="log", yscale="log",
            styles=figures.categorical(["measured"]),
        )  # fmt: skip
        shown[name] = curve
        if name == "test loss":
            ax.plot(
                list(published), list(published.values()), ls="none", marker="D", ms=5, mfc="white",
                mec="#d45e03", label="published", zorder=4,
            )  # fmt: skip
        figures.reference_line(ax, EXAMPLES, "threshold n = m", axis="x")

    figure = figures.panels(
        names, draw, columns=3, width=2.7, height=2.4, share_x=False, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown) + " Test loss: median over trials of a seed.")
    return figure


def draw_ridge(result: xr.Dataset) -> Figure:
    """Draw ridge regression against the number of features, with its limiting law."""
    names = ridge.penalty_names()
    looks = figures.categorical(names)
    shown: dict[Any, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        sigma = float(name.removeprefix("σ = "))
        made: dict[Hashable, figures.Curve] = {}
        for penalty in names:
            values = by_seed(
                result, "ridge", "ridge_median", ridge_sigma=sigma, ridge_penalty=penalty
            )
            made[penalty] = figures.Curve.from_values(ridge.SIZES, values, summary="geometric mean")
        figures.curves_with_bands(
            ax, made, xlabel="features n", ylabel="median test error (label²)", xscale="log",
            yscale="log", styles=looks, label="λ = {}",
        )  # fmt: skip
        shown.update(made)
        x = np.unique(np.geomspace(ridge.SIZES[0], ridge.SIZES[-1], 80).round().astype(int))
        best = theory.ridge_risk(ridge.EXAMPLES, x, sigma, theory.optimal_penalty(x, sigma)).total
        ax.plot(
            x, best, color=CLOUD, lw=1.0, ls=(0, (1.2, 1.2)), zorder=4,
            label="law: mean at the optimal λ, limit",
        )  # fmt: skip
        figures.reference_line(ax, ridge.EXAMPLES, "threshold n = m", axis="x")

    figure = figures.panels(
        [f"σ = {sigma:g}" for sigma in ridge.SIGMAS], draw, columns=2, width=3.4, height=2.8,
        share_y=False,
    )  # fmt: skip
    figures.legend(figure)
    figures.note(
        figure, figures.count_note(shown) + " m = 50, ‖θ‖ = 1; λ beside the sum of squares."
    )
    return figure


LINEAR_DRAWINGS = (
    Drawing(
        "linear-risk", "Linear regression: test error against the number of features, in the chapter's "
        "designs and where larger models are better, with the exact law.",
        draw_risk, if_run(*(stage_of(one) for one in (FIFTY, HUNDRED, STRONG_FIRST))),
    ),
    Drawing(
        "linear-exercise", "Exercise C.5 as it is set, against what is published for it.", draw_exercise,
        if_run("exercise"),
    ),
    Drawing(
        "linear-ridge", "Ridge regression on the same training sets: what penalty removes the peak.",
        draw_ridge, if_run("ridge"),
    ),
)  # fmt: skip
