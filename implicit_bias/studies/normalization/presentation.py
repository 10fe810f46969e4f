"""Figures and methods of the normalization study."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.results.statistics import mean_interval
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.normalization.arms import COMMON, TUNED
from implicit_bias.studies.normalization.invariance import CASES
from implicit_bias.studies.normalization.rows import (
    at_target,
    exact,
    networks_of,
    norms_of,
    of_norm,
    sgd,
)
from implicit_bias.studies.normalization.rules import ERRORS
from implicit_bias.studies.rows import geometric_mean, if_run, seeds_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

METHODS = """Dense ReLU networks with normalisation before each activation are trained by plain SGD on the
cross-entropy at several step sizes, until the loss over the whole training set, with running statistics,
is at a target, or a budget is spent. They are compared where they get there: at the step size that needs
the fewest updates, chosen for each normalisation and seed, and at one step size for all. Hidden layers
have no biases; those with a normalisation learn a scale and a shift of each unit.

With batch normalisation there are two losses, hence two Hessians. With statistics of the batch it is what
training minimises, here of the examples measured, normalised together; with running statistics it is the
network as it is used. Where nothing normalises over a batch they are one. Scale-invariant weights can be
made as sharp or as flat as one likes without changing what the network computes; so λmax is also taken of
each hidden layer's Hessian block times ‖W‖², which their scale does not change. Along the path it is
measured how fast gradients turn, ‖∇L(θ+δ) − ∇L(θ)‖/‖δ‖ for steps δ down the gradient of 0.3, 1 and 3 % of
‖θ‖, the largest.

Invariance is checked on small networks as drawn, dense and convolutional, in double precision: with ε = 0
weights are multiplied by 1/4 and 3, and loss, gradient and the dense Hessian block of the layer compared.
The same is done where it should fail. Updates are followed there, too: squared norms, and directions
against descent on the sphere.

Of SGD with and without weight decay every update is followed: norms, angles and gradients of each layer.
Decay is λ times every parameter, added to the gradient. The noise of statistics is what a batch's own
statistics add to the mean loss of its examples, drawn without replacement, over that with statistics of
all examples; it is that of the finished network at one step size."""

NORMS = ("none", "batch", "layer", "group")
LOOKS = figures.categorical(NORMS)


def draw_invariance(result: xr.Dataset) -> Figure:
    """Draw the errors of invariance in every case, a panel a quantity."""
    titles = ("loss", "⟨∇L, W⟩ = 0", "∇L ∝ 1/a", "λmax ∝ 1/a²")
    panels = dict(zip(titles, ERRORS, strict=True))
    names, least = networks_of(result), 1e-16
    looks = figures.categorical(names)

    def draw(ax: Any, panel: str) -> None:
        for place, network in enumerate(names):
            values = [np.nanmax(exact(result, panels[panel], network, case)) for case in CASES]
            at = np.arange(len(CASES)) + 0.12 * (place - (len(names) - 1) / 2)
            look = looks[network]
            ax.plot(
                at, np.maximum(values, least), look.marker, color=look.colour, markersize=5,
                label=network,
            )  # fmt: skip
        ax.axhspan(least / 3, 1e-6, color="0.93", zorder=0, label="exact, to 10⁻⁶")
        ax.set_yscale("log")
        ax.set_ylim(least / 3, 100)
        ax.set_xticks(range(len(CASES)), CASES, rotation=35, ha="right")
        ax.set_ylabel("largest relative error")

    figure = figures.panels(titles, draw, columns=2, width=3.4, height=2.4)
    figures.legend(figure)
    figures.note(
        figure,
        f"Largest over {seeds_of(result).size} seeds, hidden layers (or the output layer) and scales; "
        "errors below 10⁻¹⁶ are drawn there. In evaluation batch normalisation takes running "
        "statistics; layer and group normalisation have none.",
    )
    return figure


def draw_norms(result: xr.Dataset) -> Figure:
    """Draw ‖W‖ of the first hidden layer and of the output layer under SGD, by decay."""
    decays = [float(decay) for decay in result["decay"].values]
    looks = figures.ordered([f"λ = {decay:g}" for decay in decays])
    layers = {"first layer": 0, "output layer": -1}
    panels = {
        f"{norm}, {where}": (str(norm), place)
        for norm in result["sgd_norm"].values
        for where, place in layers.items()
    }
    shown: dict[Hashable, figures.Curve] = {}

    def draw(ax: Any, panel: str) -> None:
        norm, place = panels[panel]
        curves: dict[Hashable, figures.Curve] = {
            f"λ = {decay:g}": figures.Curve.from_values(
                result["sgd_time"].values + 1, sgd(result, "followed_norm", norm, decay)[:, place],
                summary="geometric mean",
            )
            for decay in decays
        }  # fmt: skip
        figures.curves_with_bands(
            ax, curves, xlabel="updates + 1", ylabel="‖W‖ (parameter)", xscale="log", yscale="log",
            styles=looks,
        )  # fmt: skip
        shown.update({f"{panel}, {name}": curve for name, curve in curves.items()})

    figure = figures.panels(list(panels), draw, columns=2, width=3.2, height=2.1, share_y=False)
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_equilibrium(result: xr.Dataset) -> Figure:
    """Draw the angle of an update in units of √(2ηλ), layer by layer."""
    decays = [float(decay) for decay in result["decay"].values][1:]
    layers = result["sgd_layer"].values
    looks = figures.ordered([f"λ = {decay:g}" for decay in decays])

    def draw(ax: Any, norm: str) -> None:
        for side, decay in enumerate(decays):
            look = looks[f"λ = {decay:g}"]
            found = [
                geometric_mean(column) for column in sgd(result, "turn_over_law", norm, decay).T
            ]
            middle = np.array([one.value for one in found])
            reach = np.array([[one.value - one.low, one.high - one.value] for one in found]).T
            ax.errorbar(
                np.arange(len(layers)) + 0.15 * (side - (len(decays) - 1) / 2), middle,
                yerr=reach if np.isfinite(reach).all() else None, fmt=look.marker, color=look.colour,
                capsize=2.5, markersize=5, ls="none", label=f"λ = {decay:g}",
            )  # fmt: skip
        ax.axhline(1.0, ls=(0, (1, 2)), color="0.4", lw=1.0, label="√(2ηλ)", zorder=1)
        words = [f"layer {layer}" for layer in layers[:-1]] + ["output layer"]
        ax.set_xticks(range(len(layers)), words, rotation=25, ha="right")
        ax.set_xlim(-0.6, len(layers) - 0.4)
        ax.set_yscale("log")
        figures.plain_log_ticks(ax.yaxis)
        ax.set_ylabel("angle of an update / √(2ηλ)")

    norms = [str(norm) for norm in result["sgd_norm"].values]
    figure = figures.panels(norms, draw, columns=len(norms), width=2.5, height=2.6)
    figures.legend(figure)
    figures.note(
        figure,
        f"Root mean square over the last half of training; geometric means over {seeds_of(result).size} "
        "seeds with 95 % t-intervals of logarithms.",
    )
    return figure


def draw_sharpness(result: xr.Dataset) -> Figure:
    """Draw λmax, in both modes, λmax·‖W‖² and updates by normalisation, at one training loss."""
    parts = {
        "λmax, statistics of the batch": ("lambda_batch", "λmax (nats/parameter²)"),
        "λmax, running statistics": ("lambda_running", "λmax (nats/parameter²)"),
        "relative to the weights": ("layer_sharpness", "λmax ‖W‖² (nats)"),
        "updates": ("updates", "updates to the target"),
    }
    norms = norms_of(result)
    looks = figures.categorical(["its own step size", "one step size"])

    def draw(ax: Any, panel: str) -> None:
        name, label = parts[panel]
        for side, (arm, words) in enumerate(
            ((TUNED, "its own step size"), (COMMON, "one step size"))
        ):
            values = [at_target(result, arm, norm, name) for norm in norms]
            values = [one.max(axis=1) if one.ndim > 1 else one for one in values]
            found = [geometric_mean(one) for one in values]
            middle = np.array([one.value for one in found])
            reach = np.array([[one.value - one.low, one.high - one.value] for one in found]).T
            look = looks[words]
            ax.errorbar(
                np.arange(len(norms)) + 0.2 * (side - 0.5), middle,
                yerr=np.where(np.isfinite(reach), reach, 0.0), fmt=look.marker, color=look.colour,
                capsize=2.5, markersize=5, ls="none", label=words, mfc=look.colour if side else "white",
            )  # fmt: skip
        ax.set_xticks(range(len(norms)), norms)
        ax.set_xlim(-0.6, len(norms) - 0.4)
        ax.set_yscale("log")
        figures.plain_log_ticks(ax.yaxis)
        ax.set_ylabel(label)

    figure = figures.panels(list(parts), draw, columns=2, width=3.2, height=2.3, share_y=False)
    figures.legend(figure)
    figures.note(
        figure,
        f"Geometric means over {seeds_of(result).size} seeds with 95 % t-intervals of logarithms, of "
        "runs that met the training loss; λmax ‖W‖² of the hidden layer where it is largest.",
    )
    return figure


def draw_path(result: xr.Dataset) -> Figure:
    """Draw how fast gradients turn, and norms, while networks train at one step size."""
    shown: dict[Hashable, figures.Curve] = {}
    parts = {
        "gradient, statistics of the batch": ("lipschitz_batch", "‖Δ∇L‖/‖δ‖ (nats/parameter²)"),
        "gradient, running statistics": ("lipschitz_running", "‖Δ∇L‖/‖δ‖ (nats/parameter²)"),
        "‖W‖ of the first layer": ("layer_norm", "‖W‖ (parameter)"),
        "training loss": ("train_loss", "training loss (nats)"),
    }

    def draw(ax: Any, panel: str) -> None:
        name, label = parts[panel]
        curves: dict[Hashable, figures.Curve] = {}
        for norm in norms_of(result, COMMON):
            steps, values = (
                of_norm(result, COMMON, norm, f"log_{part}") for part in ("step", name)
            )
            values = values[:, :, 0] if values.ndim > 2 else values
            kept = np.isfinite(values).sum(axis=0) >= max(1, len(values) / 2)
            if kept.any():
                curves[norm] = figures.Curve.from_values(
                    np.nanmax(steps[:, kept], axis=0) + 1, values[:, kept], summary="geometric mean"
                )
        figures.curves_with_bands(
            ax, curves, xlabel="updates + 1", ylabel=label, xscale="log", yscale="log", styles=LOOKS
        )
        shown.update({f"{panel}, {norm}": curve for norm, curve in curves.items()})

    figure = figures.panels(list(parts), draw, columns=2, width=3.2, height=2.3, share_y=False)
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(shown)
        + " Runs stop where they meet the target; points that half of the seeds have "
        "not reached are left out. Running statistics begin at mean 0 and variance 1.",
    )
    return figure


def draw_penalty(result: xr.Dataset) -> Figure:
    """Draw what the noise of a batch's statistics adds to the loss, against the batch size."""
    sizes = result["small_batch"].values.astype(float)
    figure, ax = figures.axes(4.6, 3.2)
    values = at_target(result, COMMON, "batch", "noise_penalty")
    curve = figures.Curve.from_values(sizes, values, summary="geometric mean")
    figures.curve_by_group(
        ax, {"batch": curve}, xlabel="batch size B", yscale="log", styles=LOOKS,
        ylabel="added to the loss by statistics\nof the batch (nats)",
    )  # fmt: skip
    ax.plot(
        sizes, curve.centre[0] * sizes[0] / sizes, ls=(0, (1, 2)), lw=1.0, color="0.4", label="∝ 1/B",
        zorder=1,
    )  # fmt: skip
    figures.legend(figure)
    loss = mean_interval(at_target(result, COMMON, "batch", "train_loss_batch")).value
    figures.note(
        figure,
        figures.count_note({"batch": curve})
        + f" The loss itself is {loss:.2g} nats on average; layer and "
        "group normalisation add nothing.",
    )
    return figure


DRAWINGS = (
    Drawing(
        "invariance", "Errors of scale invariance, where it should hold and where it should not.",
        draw_invariance, if_run("invariance"),
    ),
    Drawing(
        "norms", "Norms of weights under SGD, with and without weight decay.", draw_norms,
        if_run("equilibrium"),
    ),
    Drawing(
        "equilibrium", "Angle by which weights turn in an update once norms have settled.",
        draw_equilibrium, if_run("equilibrium"),
    ),
    Drawing(
        "sharpness", "Sharpness at one training loss, and updates to get there, by normalisation.",
        draw_sharpness, if_run(TUNED, COMMON),
    ),
    Drawing(
        "path", "How fast gradients turn while networks train, and norms of weights.", draw_path,
        if_run(COMMON),
    ),
    Drawing(
        "penalty", "What the noise of a batch's statistics adds to the loss.", draw_penalty,
        if_run(COMMON),
    ),
)  # fmt: skip
