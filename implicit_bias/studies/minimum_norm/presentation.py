"""Figures and methods of the minimum-norm study."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.minimum_norm.adaptive import OPTIMISERS
from implicit_bias.studies.minimum_norm.judging import seen
from implicit_bias.studies.minimum_norm.plane import draw_plane
from implicit_bias.studies.rows import if_run

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

METHODS = """Every seed draws its own designs, Gaussian unless it says otherwise, in double precision.
Losses are ½‖Xw − y‖², step sizes fractions of 2/λmax(XᵀX). Descent is iterated update by update until
its slowest mode has fallen to rounding, and held against LAPACK's least-squares solutions and against
closed forms mode by mode; momentum is that of the engine's heavy ball and Nesterov's. Distances are
relative to the length of what is reached.

Ridge solutions come from normal equations; their approach to X⁺y is held against λ‖(XᵀX)⁺X⁺y‖. Risks on
isotropic Gaussian inputs are exact given the design and, on fresh examples, estimated. Mini-batches are
drawn without replacement; their step sizes are half of where the mean square diverges, found from the
largest eigenvalue of its map. Where w = u² − v², labels have no noise and a sparse
truth, and both descents share a step size.

Gradient flow is integrated (LSODA, relative tolerance 10⁻⁹). On the loss max(0, w₁²/9 + w₂² − 1)² its
path is w₂ = c w₁⁹ whatever its speed, so that the end is known; the nearest minimum is that of
Lagrange's condition.

The engine's optimisers run as they are in training; those that scale coordinates have a step size that
falls to zero as a cosine, without which they do not settle. The network has one hidden layer, tanh, and
squared errors. Descent on the study's own data has labels in one-hot code and is taken in closed form;
singular values below 10⁻⁶ of the largest count as zero.

Exact statements are judged by their error and a tolerance that a wrong constant would exceed; the
others by intervals over seeds that hold for all comparisons at once."""


def draw_descent(result: xr.Dataset) -> Figure:
    """Draw descent's distance from X⁺y: of exercise B.1, and on data."""
    shown: dict[Hashable, figures.Curve] = {}
    looks = figures.categorical(["0.75 · 2/λmax", "beyond the limit", "distance", "misfit"])

    def draw(ax: Any, name: str) -> None:
        curves: dict[Hashable, figures.Curve]
        if name == "exercise B.1":
            x = result["validation_update"].values.astype(float)
            curves = {
                label: figures.Curve.from_values(
                    x[1:],
                    np.clip(seen(result, "validation", f"validation_{key}")[:, 1:], 1e-16, 1e4),
                    summary="geometric mean",
                )
                for label, key in (("0.75 · 2/λmax", "error"), ("beyond the limit", "beyond"))
            }
        else:
            x = result["image_update"].values.astype(float)
            near = x <= 1e8
            curves = {
                label: figures.Curve.from_values(
                    x[near],
                    np.maximum(seen(result, "images", f"image_{key}")[:, near], 1e-16),
                    summary="geometric mean",
                )
                for label, key in (("distance", "left"), ("misfit", "misfit"))
            }
        figures.curves_with_bands(
            ax,
            curves,
            xlabel="updates",
            ylabel="relative to X⁺y, or to y",
            xscale="log",
            yscale="log",
            styles=looks,
        )
        ax.set_ylim(1e-16, 3e4)
        shown.update(curves)

    figure = figures.panels(
        ["exercise B.1", "the study's data"], draw, columns=2, width=3.3, height=2.7, share_x=False
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown) + " Below 10⁻¹⁶ and above 10⁴ cut off.")
    return figure


def draw_ridge(result: xr.Dataset) -> Figure:
    """Draw the ridge path's distance from X⁺y and its norm over penalties."""
    x = result["relative_penalty"].values.astype(float)
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        key = "distance" if name == "distance from X⁺y" else "norm"
        curves: dict[Hashable, figures.Curve] = {
            str(kind): figures.Curve.from_values(
                x, seen(result, "ridge", f"ridge_{key}", ridged=kind), summary="geometric mean"
            )
            for kind in result["ridged"].values
        }
        log = key == "distance"
        figures.curve_by_group(
            ax,
            curves,
            xlabel="λ / smallest positive eigenvalue of XᵀX",
            ylabel="‖w(λ) − X⁺y‖/‖X⁺y‖" if log else "‖w(λ)‖/‖X⁺y‖",
            yscale="log" if log else "linear",
        )
        if log:
            ax.plot(
                x[:6],
                4 * x[:6] * curves["full rank"].centre[0] / x[0],
                ls=(0, (4, 2)),
                lw=1.0,
                color="0.5",
                label="∝ λ",
            )
        else:
            figures.reference_line(ax, 1.0, "X⁺y")
        shown.update(curves)

    figure = figures.panels(
        ["distance from X⁺y", "norm"], draw, columns=2, width=3.3, height=2.7, share_y=False
    )
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_bound(result: xr.Dataset) -> Figure:
    """Draw the risk of X⁺y and the bound over the number of features, by the signal's strength."""
    x = result["risk_inputs"].values.astype(float)
    shown: dict[Hashable, figures.Curve] = {}
    ratios = {f"‖θ‖² = {ratio:g} σ²": ratio for ratio in result["signal_ratio"].values}

    def draw(ax: Any, name: str) -> None:
        at = {"signal_ratio": ratios[name]}
        curves: dict[Hashable, figures.Curve] = {
            label: figures.Curve.from_values(x, seen(result, "risks", key, **at))
            for label, key in (("risk", "bounded_risk"), ("bound", "bound"))
        }
        figures.curve_by_group(
            ax, curves, xlabel="features p", ylabel="squared error / σ²", yscale="log"
        )
        law = seen(result, "risks", "risk_law", **at)[0]
        ax.plot(
            x,
            law,
            ls="none",
            marker="+",
            ms=12,
            mew=1.2,
            color="k",
            zorder=6,
            label="exact law of the risk",
        )
        shown.update(curves)

    figure = figures.panels(list(ratios), draw, columns=2, width=3.1, height=2.3)
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_optimisers(result: xr.Dataset) -> Figure:
    """Draw how far outside the row space optimisers end, and how long their weights are."""
    names = list(OPTIMISERS)
    place = np.arange(len(names), dtype=float)
    panels = {
        "outside the row space": ("optimiser_outside", "part of w outside the row space"),
        "length": ("optimiser_norm", "‖w‖/‖X⁺y‖"),
    }
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        key, label = panels[name]
        values = seen(result, "optimisers", key)
        curve = figures.Curve.from_values(place, values)
        rng = np.linspace(-0.15, 0.15, len(values))
        for row, shift in zip(values, rng, strict=True):
            ax.plot(row, place + shift, ls="none", marker="o", ms=2.5, color="0.65", zorder=1)
        ax.errorbar(
            curve.centre,
            place,
            xerr=[curve.centre - curve.low, curve.high - curve.centre],
            ls="none",
            marker="D",
            ms=5,
            color="#0b5fa5",
            capsize=3,
            zorder=2,
        )
        ax.set_yticks(place, [one.replace("_", " ") for one in names])
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_xlabel(label)
        figures.reference_line(ax, 0.0 if key.endswith("outside") else 1.0, "X⁺y", axis="x")
        shown[name] = curve

    figure = figures.panels(list(panels), draw, columns=2, width=3.2, height=2.9, share_x=False)
    figures.note(
        figure,
        figures.count_note(shown) + " Grey: seeds. All begin at zero and fit the labels.",
    )
    return figure


DRAWINGS = (
    Drawing(
        "plane",
        "Gradient flow and the nearest minimum: on a line of solutions it leads there, on an "
        "ellipse of minima not.",
        draw_plane,
        if_run("flows"),
    ),
    Drawing(
        "descent",
        "Descent from zero approaches X⁺y below 2/λmax and leaves beyond it; on data it takes far longer.",
        draw_descent,
        if_run("validation", "images"),
    ),
    Drawing(
        "ridge",
        "Ridge regression leaves X⁺y in proportion to its penalty.",
        draw_ridge,
        if_run("ridge"),
    ),
    Drawing(
        "bound",
        "Risk of the minimum norm and the bound of theorem 3.3, by the strength of the signal.",
        draw_bound,
        if_run("risks"),
    ),
    Drawing(
        "optimisers",
        "Which optimisers stay in the row space, and the length of what they find.",
        draw_optimisers,
        if_run("optimisers"),
    ),
)
