"""Figures and methods of the laziness study."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.results.statistics import mean_interval
from implicit_bias.studies.base import Drawing
from implicit_bias.studies.laziness.predictions import PREDICTORS
from implicit_bias.studies.laziness.rows import of_arm, predicted, swept, values_of
from implicit_bias.studies.rows import by_seed, has, if_run

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

METHODS = """One network with one hidden layer, in the NTK parameterisation, is made lazy or rich in three
ways: its outputs are multiplied by α, its initial weights by s, or its width is changed. The function of the
start is subtracted, so that every network begins at zero, as kernel descent does. It is trained on the
squared loss with one-hot targets, for the same number of updates everywhere; the step size is divided by α²,
or by s², so that all have the same speed to begin with, and at α = 1 it is a fraction of where descent with
the infinite-width kernel would diverge. Without biases, scale s is the same as α = s². Each seed redraws
training and validation set, initial weights and order.

Every run and every kernel is judged at the time of least validation error among the same times, and after all
updates. The linearised network is the first-order expansion of the network at α = 1 about its start, on the
same batches. Kernel descent follows gradient descent in function space, in double precision, on the examples
of the seed: with the kernel of that network's start averaged over outputs, with the infinite-width kernel,
and with the last layer's part of the first, which is training the last layer alone. Where networks are
trained on mini-batches, their noise is part of the difference. Differences of errors are paired by seed, and
their intervals cover new seeds and new test examples.

The arm deep has two hidden layers and the smallest α, the richest. Kernels, features and their
alignments are on test examples, activation patterns on the training examples; a unit and an example flip
where the unit was on and is off, or the other way. Alignments are centred (CKA with the labels). Exponents
are slopes of logarithms, one for each seed.

Deep linear networks have white inputs and a target of known singular values; they are trained by descent in
double precision from a small and from a large start that share their directions, and a mode's time is when
half of it is learnt. On a target of few directions, a small ReLU network of standard normal inputs, descent
trains both layers of a network that starts with a last layer of zero; random features are the same features
with the last layer alone trained, known in closed form at any time and for any ridge."""

PANELS: dict[str, tuple[str, str]] = {
    "parameters": ("relative_movement", "‖θ − θ₀‖ / ‖θ₀‖"),
    "kernel": ("kernel_change", "‖K − K₀‖ / ‖K₀‖"),
    "activation patterns": ("flips", "flipped units and examples"),
    "features": ("feature_change", "‖Φ − Φ₀‖ / ‖Φ₀‖"),
}
"""Variable and label of each panel of movement."""

LOOKS = figures.categorical(["α", "α = s²", *PREDICTORS, "linearised", "network"])


def draw_movement(result: xr.Dataset) -> Figure:
    """Draw movement, kernel change, flips and feature change against the factor of the outputs."""
    shown: dict[Hashable, figures.Curve] = {}
    names = [
        name for name, (variable, _) in PANELS.items() if np.isfinite(result[variable].values).any()
    ]

    def draw(ax: Any, name: str) -> None:
        variable, label = PANELS[name]
        made: dict[Hashable, figures.Curve] = {}
        for arm, key, power in (("alpha", "α", 1), ("init-scale", "α = s²", 2)):
            values = values_of(result, arm)
            if values.size:
                made[key] = figures.Curve.from_values(
                    values**power, swept(result, arm, variable), summary="geometric mean"
                )
        figures.curves_with_bands(
            ax, made, xlabel="factor of the outputs", ylabel=label, xscale="log", yscale="log",
            styles=LOOKS,
        )  # fmt: skip
        curve = made["α"]
        middle = np.exp([np.log(part).mean() for part in (curve.x, curve.centre)])
        ax.plot(
            curve.x, middle[1] * middle[0] / curve.x, ls=(0, (1, 2)), lw=1.0, color="0.4",
            label="∝ 1/α", zorder=1,
        )  # fmt: skip
        shown.update({f"{key}, {name}": one for key, one in made.items()})

    figure = figures.panels(names, draw, columns=2, width=3.2, height=2.5, share_y=False)
    figures.legend(figure)
    figures.note(figure, figures.count_note(shown))
    return figure


def draw_error(result: xr.Dataset) -> Figure:
    """Draw test error against α relative to α = 1, with what does not learn features as levels."""
    figure, ax = figures.axes(6.2, 3.8)
    alphas = values_of(result, "alpha")
    errors = swept(result, "alpha", "best_test_error")
    reference = errors[:, alphas == 1]
    curve = figures.Curve.from_values(alphas, 100 * (errors - reference))
    figures.curve_by_group(
        ax, {"network": curve}, xlabel="α, factor of the outputs", styles=LOOKS,
        ylabel="test error less the network's at α = 1\n(percentage points)",
    )  # fmt: skip
    for place, (name, values) in enumerate(_levels(result).items()):
        found, look = mean_interval(100 * (values - reference[:, 0])), LOOKS[name]
        ax.axhline(found.value, color=look.colour, ls=look.dash, lw=1.2, zorder=1.5)
        sides = [[found.value - found.low], [found.high - found.value]]
        # Intervals stand beside the axis of α, as levels do not depend on it.
        ax.errorbar(
            [alphas[-1] * 1.5 ** (place + 1)], [found.value], yerr=sides if found.n > 1 else None,
            fmt=look.marker, color=look.colour, capsize=3, markersize=5, label=name,
        )  # fmt: skip
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note({"network": curve}) + " Paired by seed; each at its own time of least "
        "validation error. Levels, with their 95 % t-intervals to the right, do not depend on α.",
    )
    return figure


def _levels(result: xr.Dataset) -> dict[str, np.ndarray]:
    """Return the errors, by seed, of what has the features of its start."""
    found = {}
    if has(result, "linearised"):
        found["linearised"] = of_arm(result, "linearised", "best_test_error")
    if has(result, "kernels"):
        found |= {name: predicted(result, "kernel_best_error", name) for name in PREDICTORS}
    return found


def draw_widths(result: xr.Dataset) -> Figure:
    """Draw test error across widths, as the document has it, beside lazy and rich at one width."""
    widths = values_of(result, "width")
    curve = figures.Curve.from_values(
        widths, 100 * swept(result, "width", "best_test_error"), bounds=(0.0, 100.0)
    )
    alphas = values_of(result, "alpha")
    groups = {
        f"α = {alpha:g}": of_arm(result, "alpha", "best_test_error", float(alpha))
        for alpha in (alphas[0], 1.0, alphas[-1])
    }
    groups |= _levels(result)

    def draw(ax: Any, name: str) -> None:
        if name == "across widths":
            figures.curve_by_group(
                ax,
                {"network": curve},
                xlabel="width (units)",
                ylabel="test error (%)",
                styles=LOOKS,
            )
            return
        for place, values in enumerate(groups.values()):
            found = mean_interval(100 * values)
            sides = [[found.value - found.low], [found.high - found.value]]
            ax.errorbar(
                [place], [found.value], yerr=sides if np.isfinite(sides).all() else None, fmt="s",
                color="0.15", capsize=3, markersize=5,
            )  # fmt: skip
        ax.set_xticks(range(len(groups)), list(groups), rotation=35, ha="right")
        ax.set_xlim(-0.6, len(groups) - 0.4)
        ax.set_ylabel("test error (%)")

    figure = figures.panels(
        ["across widths", f"at width {_width(result)}"], draw, columns=2, width=3.4, height=3.0,
        share_x=False,
    )  # fmt: skip
    figures.note(
        figure,
        figures.count_note({"network": curve})
        + " Right: means with 95 % t-intervals over the same "
        "seeds. Each at its own time of least validation error.",
    )
    return figure


def _width(result: xr.Dataset) -> int:
    return int(result["hidden_width"].values[result["arm"].values == "alpha"][0])


def draw_modes(result: xr.Dataset) -> Figure:
    """Draw when each mode of a deep linear network is learnt, relative to the strongest."""
    strengths = result["mode"].values.astype(float)
    made: dict[Hashable, figures.Curve] = {}
    for start in ("small", "large"):
        times = by_seed(result, "modes", "mode_time", start=start)
        made[f"{start} start"] = figures.Curve.from_values(
            strengths, times / times[:, :1], summary="geometric mean"
        )
    figure, ax = figures.axes(4.8, 3.4)
    figures.curve_by_group(
        ax, made, xlabel="strength of the mode (singular value)", yscale="log",
        ylabel="time to learn half of it,\nrelative to the strongest mode",
    )  # fmt: skip
    ax.plot(
        strengths, strengths[0] / strengths, ls=(0, (1, 2)), lw=1.0, color="0.4", label="∝ 1/strength",
        zorder=1,
    )  # fmt: skip
    figures.legend(figure)
    figures.note(figure, figures.count_note(made))
    return figure


DRAWINGS = (
    Drawing(
        "movement", "How far parameters, kernel, activation patterns and features moved, against the factor "
        "of the outputs.", draw_movement, if_run("alpha"),
    ),
    Drawing(
        "error", "Test error against the factor of the outputs, with the linearised network and kernel "
        "descent as levels.", draw_error, if_run("alpha"),
    ),
    Drawing(
        "widths", "Lazy against rich: across widths, as the document compares them, and at one width.",
        draw_widths, if_run("alpha", "width"),
    ),
    Drawing(
        "modes", "When deep linear networks learn the modes of their target, from a small and from a large "
        "start.", draw_modes, if_run("modes"),
    ),
)  # fmt: skip
