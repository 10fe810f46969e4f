"""Figures of the networks on the plane: accuracies, and where they decide."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results import figures
from implicit_bias.studies.rows import by_seed, seeds_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

KINDS = {"labels fitted": "plane_train", "test accuracy": "plane_own"}
"""What is drawn against epochs, and its variable."""

LEVELS = np.linspace(0, 1, 11)
"""Probabilities between which shades change."""


def draw_plane(result: xr.Dataset) -> Figure:
    """Draw labels fitted and test accuracy against epochs, a panel for each schedule."""
    shown: dict[Hashable, figures.Curve] = {}
    looks = figures.categorical(
        f"{labels} labels, {kind}" for labels in result["plane_labels"].values for kind in KINDS
    )

    def draw(ax: Any, schedule: str) -> None:
        epochs = by_seed(result, "plane", "plane_epoch", schedule=schedule)[0]
        curves: dict[Hashable, figures.Curve] = {
            f"{labels} labels, {kind}": figures.Curve.from_values(
                epochs,
                100 * by_seed(result, "plane", variable, schedule=schedule, plane_labels=labels),
                bounds=(0.0, 100.0),
            )
            for labels in result["plane_labels"].values
            for kind, variable in KINDS.items()
        }
        figures.curves_with_bands(ax, curves, xlabel="epochs", ylabel="%", styles=looks)
        ax.set_ylim(0, 103)
        shown.update(curves)

    figure = figures.panels(
        [str(name) for name in result["schedule"].values], draw, columns=3, width=2.6, height=2.5,
        share_x=False,
    )  # fmt: skip
    figures.legend(figure)
    figures.note(
        figure,
        figures.count_note(shown)
        + " Test labels are drawn as training labels are: by the rule, or coins.",
    )
    return figure


def draw_regions(result: xr.Dataset) -> Figure:
    """Draw the probability of class 1 over the square, by schedule and labels, for the first seed."""
    across, up = result["horizontal"].values, result["vertical"].values
    names = [
        f"{schedule}, {labels}"
        for schedule in result["schedule"].values
        for labels in result["plane_labels"].values
    ]
    confidence = by_seed(result, "plane", "plane_confidence")[0].reshape(
        len(names), len(up), len(across)
    )
    points = by_seed(result, "plane", "plane_points")[0]
    drawn = by_seed(result, "plane", "plane_labels_drawn")[0]
    areas: list[Any] = []

    def draw(ax: Any, name: str) -> None:
        place = names.index(name)
        areas.append(
            ax.contourf(across, up, confidence[place], LEVELS, cmap="cividis", extend="neither")
        )
        if confidence[place].min() < 0.5 < confidence[place].max():
            ax.contour(across, up, confidence[place], [0.5], colors="w", linewidths=1.4)
        for label, marker, colour in ((0, "v", "black"), (1, "o", "white")):
            of = drawn[place % drawn.shape[0]] == label
            ax.plot(
                *points[of].T, marker, ms=4, mfc=colour, mec="white" if label == 0 else "black", mew=0.6,
                label=f"training point of class {label}", ls="none",
            )  # fmt: skip
        ax.set_aspect("equal")
        ax.grid(visible=False)
        ax.set_xlabel("first coordinate")
        ax.set_ylabel("second coordinate")

    figure = figures.panels(names, draw, columns=2, width=2.6, height=2.3)
    bar = figure.colorbar(areas[0], ax=figure.axes, shrink=0.6)
    bar.set_label("probability of class 1")
    figures.legend(figure)
    figures.note(
        figure,
        f"Seed {seeds_of(result)[0]}. White line: where the prediction changes. Labels are true on the "
        "left and random on the right.",
    )
    return figure
