"""Figures and methods of the exact part of the early-stopping study."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias import theory
from implicit_bias.results import figures
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.early_stopping.notes import WAYS
from implicit_bias.studies.early_stopping.overfitting import CONDITIONS
from implicit_bias.studies.early_stopping.paths import DESIGNS
from implicit_bias.studies.early_stopping.script_drawings import SCRIPT_DRAWINGS
from implicit_bias.studies.rows import by_seed, if_run

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

EXACT_METHODS = """The exact part is in double precision and uses nothing of the data; each seed
draws its own training sets, truths and noise.

Paths: gradient flow from zero on half the sum of squared errors, at 60 times from 0.01/λmax to
10⁶/λmax, beside ridge regression with the penalty λ‖w‖²/2, λ = 1/t, of the same loss. Both are
known along the eigenvectors of XᵀX, and so are their risks ‖w − θ‖², exactly, over the noise of the
labels. Truths have no preferred direction. The matching penalty is sought over λt. Descent with
finite steps is known in closed form as well, and is held against its own programme. The constants
of Ali, Kolter and Tibshirani are suprema over single eigenvalues, where they are sought by each
seed at random places, by formulas written out again.

Validation: linear regression on Gaussian features, whose expected test loss is ‖w − θ‖² + σ² at
every time of the path. Each training set's time is chosen on many validation sets of each size and
held against the time that is best for an independent test set, and for the expected loss.

Long training: a network with one hidden layer, He's start, stochastic gradient descent on the
squared error in all layers, for 100 epochs; targets are a sum of five sines of projections of ten
inputs, of variance 1. A seed's value is the mean over four networks with teachers, examples and
starts of their own; conditions share them. Losses around an epoch are means over five evaluations
two epochs apart, and no epoch is chosen by the loss that it is judged by.

Scripts: the chapter's solutions C.4, C.17 and C.18 as they are programmed, with other seeds, beside
what is printed for them; a seed's value is the mean over four runs. Beside these: all layers
trained from usual weights, with more test examples; both batch sizes from one start, for equal
epochs and for equal updates; and the linear model followed until it converges, and on few examples.
The linear model's epochs are in closed form, and so is its expected test loss.

Worked arithmetic: random probes of quadratics whose spectra are known, and mini-batch
gradients of least squares on 1000 examples. Notes: stochastic
gradient descent at one step size with two batch sizes, for as many epochs and for as many updates;
wide networks in tangent parameterisation beside the infinite network's kernel, after as many
updates of it."""

TIME = "time t·λmax"


def draw_paths(result: xr.Dataset) -> Figure:
    """Draw distance, ratio of risks, and the penalty that matches, along the paths."""
    times = result["path_time"].values.astype(float)
    looks = figures.categorical(list(DESIGNS))
    shown: dict[Hashable, figures.Curve] = {}
    panels = {
        "solutions": ("path_distance", "‖w(t) − w(λ)‖ / ‖w(λ)‖", "linear"),
        "risks": ("", "risk of flow / risk of ridge", "linear"),
        "penalty that matches best": ("path_matched", "λt", "log"),
    }

    def draw(ax: Any, name: str) -> None:
        variable, label, scale = panels[name]
        curves: dict[Hashable, figures.Curve] = {}
        for design in DESIGNS:
            at = {"path_design": design}
            values = (
                by_seed(result, "paths", variable, **at)
                if variable
                else by_seed(result, "paths", "path_flow", **at)
                / by_seed(result, "paths", "path_ridge", **at)
            )
            curves[design] = figures.Curve.from_values(times, values, summary="geometric mean")
        figures.curves_with_bands(
            ax, curves, xlabel=TIME, ylabel=label, xscale="log",
            yscale=scale, styles=looks,  # type: ignore[arg-type]
        )  # fmt: skip
        shown.update(curves)
        if name == "solutions":
            figures.reference_line(ax, theory.SHRINKAGE_RATIO - 1, "bound")
            ax.set_ylim(bottom=0)
        elif name == "risks":
            figures.reference_line(ax, theory.RISK_RATIO, "bound")
        else:
            ax.set_ylim(1e-3, 2)

    figure = figures.panels(
        panels, draw, columns=3, width=2.9, height=2.7, share_y=False, share_x=True
    )
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(shown) + " Ridge at λ = 1/t. Bound of solutions: at any single eigenvalue; "
        "of risks: of any design.",
    )  # fmt: skip
    return figure


def draw_risks(result: xr.Dataset) -> Figure:
    """Draw both paths' risks by design."""
    times = result["path_time"].values.astype(float)
    looks = figures.categorical(["gradient flow", "ridge, λ = 1/t"])
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, design: str) -> None:
        power = by_seed(result, "paths", "path_power", path_design=design)[:, None]
        curves: dict[Hashable, figures.Curve] = {
            label: figures.Curve.from_values(
                times,
                by_seed(result, "paths", f"path_{name}", path_design=design) / power,
                summary="geometric mean",
            )
            for label, name in (("gradient flow", "flow"), ("ridge, λ = 1/t", "ridge"))
        }
        figures.curves_with_bands(
            ax, curves, xlabel=TIME, ylabel="risk ‖w − θ‖² / ‖θ‖²", xscale="log", yscale="log",
            styles=looks,
        )  # fmt: skip
        shown.update(curves)

    figure = figures.panels(
        list(DESIGNS), draw, columns=4, width=2.3, height=2.4, share_y=False
    )  # fmt: skip
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_validation(result: xr.Dataset) -> Figure:
    """Draw one path's losses, and what a choice by validation misses and loses."""
    sizes = result["validation_size"].values.astype(float)
    times = result["stop_time"].values.astype(float)
    shown: dict[Hashable, figures.Curve] = {}
    lines = {
        "training": by_seed(result, "validation", "stop_train")[0],
        "expected test loss": by_seed(result, "validation", "stop_risk")[0],
        **{
            f"validation, {int(size)} examples": by_seed(
                result, "validation", "stop_example", validation_size=size
            )[0]
            for size in (sizes[0], sizes[-1])
        },
    }
    chosen = {
        "best time missed": {
            "missed, of a test set": "stop_missed",
            "missed, of expected loss": "stop_missed_truly",
        },
        "what it costs": {
            "test loss lost": "stop_regret",
            "optimism of validation": "stop_optimism",
        },
    }
    # One legend explains all panels: no two of its entries may look the same.
    looks = figures.categorical([*lines, *(label for panel in chosen.values() for label in panel)])

    def draw(ax: Any, name: str) -> None:
        if name not in chosen:
            for label, values in lines.items():
                look = looks[label]
                ax.plot(times, values, color=look.colour, ls=look.dash, label=label, lw=1.4)
                if label != "training":
                    at = int(np.argmin(values))
                    ax.plot(times[at], values[at], color=look.colour, marker=look.marker, ms=5)
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            ax.set_xlabel("time t (1/eigenvalue of XᵀX/m)")
            ax.set_ylabel("loss (label²)")
            return
        curves: dict[Hashable, figures.Curve] = {
            label: figures.Curve.from_values(sizes, 100 * by_seed(result, "validation", variable))
            for label, variable in chosen[name].items()
        }
        figures.curve_by_group(ax, curves, xlabel="validation examples", ylabel="%", styles=looks)
        if name == "best time missed":
            ax.set_ylim(0, 103)
        shown.update(curves)

    figure = figures.panels(
        ["one seed's path", *chosen], draw, columns=3, width=3.0, height=2.7, share_x=False, share_y=False
    )  # fmt: skip
    figures.legend(figure)
    figures.note(
        figure, figures.count_note(shown) + " Marks on the path: where each loss is least."
    )
    return figure


def draw_long(result: xr.Dataset) -> Figure:
    """Draw training and test loss of a network along its epochs, by condition."""
    epochs = result["long_epoch"].values.astype(float)
    looks = figures.categorical(["training", "test"])
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, name: str) -> None:
        curves: dict[Hashable, figures.Curve] = {
            label: figures.Curve.from_values(
                epochs[1:],
                by_seed(result, "long-training", f"long_{part}", long_condition=name)[:, 1:],
                summary="geometric mean",
            )
            for label, part in (("training", "train"), ("test", "test"))
        }
        figures.curves_with_bands(
            ax, curves, xlabel="epochs", ylabel="loss (label²)", xscale="log", yscale="log",
            styles=looks,
        )  # fmt: skip
        ax.axvline(20, color="0.45", ls=(0, (1, 2)), lw=1.2, label="epoch 20")
        shown.update(curves)

    figure = figures.panels(list(CONDITIONS), draw, columns=3, width=2.7, height=2.6)
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_kernels(result: xr.Dataset) -> Figure:
    """Draw how far wide networks are from their kernel."""
    widths = result["kernel_width"].values.astype(float)
    curves: dict[Hashable, figures.Curve] = {
        way: figures.Curve.from_values(
            widths, by_seed(result, "notes", "kernel_error", kernel_way=way), summary="geometric mean"
        )
        for way in WAYS
    }  # fmt: skip
    figure, ax = figures.axes(5.2, 3.3)
    figures.curve_by_group(
        ax, curves, xlabel="width (hidden units)", ylabel="mean squared difference (label²)", yscale="log"
    )  # fmt: skip
    figures.reference_line(ax, 0.01, "follows, by the chapter's exercise")
    figures.legend(figure)
    figures.note(figure, figures.count_note(curves))
    return figure


EXACT_DRAWINGS = (
    Drawing(
        "paths", "Gradient flow stopped at t beside ridge regression with penalty 1/t: solutions, risks, "
        "and the penalty that matches best.", draw_paths, if_run("paths"),
    ),
    Drawing(
        "risks", "Risk along both paths, by design: what stopping and what the penalty gain.", draw_risks,
        if_run("paths"),
    ),
    Drawing(
        "validation", "Stopping where validation loss is least: losses along one path, how often the best "
        "time is missed, and what that costs.", draw_validation, if_run("validation"),
    ),
    Drawing(
        "long-training", "A network trained for a hundred epochs, on few and many examples, noisy and clean.",
        draw_long, if_run("long-training"),
    ),
    *SCRIPT_DRAWINGS,
    Drawing(
        "kernels", "Wide networks beside their kernel: changes of outputs agree, outputs do not.",
        draw_kernels, if_run("notes"),
    ),
)  # fmt: skip
"""Figures of the exact part."""
