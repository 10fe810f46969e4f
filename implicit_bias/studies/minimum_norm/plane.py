"""Two weights drawn: the flow's ways to a line of solutions, and to an ellipse of minima."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias import theory
from implicit_bias.results import figures
from implicit_bias.studies.minimum_norm.flows import AXES, ellipse_end, ellipse_nearest

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

ROW = (1.0, 2.0)
LABEL = 2.0
"""One equation for two weights: w₁ + 2w₂ = 2."""

STARTS = ((0.0, 0.0), (2.0, 1.5), (-1.0, -0.5), (1.5, -0.8))
OUTSIDE = ((4.0, 2.0), (2.0, 2.2), (4.2, 0.8))
"""Starts on the line's and on the ellipse's side."""

PATH, NEAREST, MINIMA = "#0b5fa5", "#d45e03", "0.35"


def draw_plane(result: xr.Dataset) -> Figure:
    """Draw the flow's paths, where they end, and the nearest minima, all exact."""
    del result

    def draw(ax: Any, name: str) -> None:
        if name == "½(w₁ + 2w₂ − 2)²":
            _line(ax)
        else:
            _ellipse(ax)
        ax.set_aspect("equal")
        ax.set_xlabel("w₁")
        ax.set_ylabel("w₂")

    figure = figures.panels(
        ["½(w₁ + 2w₂ − 2)²", "max(0, w₁²/9 + w₂² − 1)²"], draw, columns=2, width=3.4, height=3.0,
        share_x=False, share_y=False,
    )  # fmt: skip
    figures.legend(figure)
    figures.note(
        figure, "Exact; from zero the nearest solution is that of least norm, on the grey circle."
    )
    return figure


def _line(ax: Any) -> None:
    row = np.asarray(ROW)
    design = theory.modes(row[None])
    along = np.array([-1.6, 2.6])
    ax.plot(along, (LABEL - ROW[0] * along) / ROW[1], color=MINIMA, lw=2, label="minima")
    for number, start in enumerate(STARTS):
        path = theory.least_squares_flow(design, [LABEL], np.geomspace(1e-3, 10, 60), start)
        goal = theory.minimum_norm(design, [LABEL], start)
        _path(ax, np.vstack([start, path]), goal, number == 0)
    least = np.linalg.norm(theory.minimum_norm(design, [LABEL]))
    turn = np.linspace(0, 2 * np.pi, 200)
    ax.plot(least * np.cos(turn), least * np.sin(turn), color="0.75", lw=1, ls=(0, (4, 2)))
    ax.set_xlim(-1.6, 2.6)
    ax.set_ylim(-1.3, 2.0)


def _ellipse(ax: Any) -> None:
    turn = np.linspace(0, np.pi / 2, 300)
    ax.fill(
        np.r_[0, AXES[0] * np.cos(turn)], np.r_[0, AXES[1] * np.sin(turn)], color="0.9", zorder=0
    )
    ax.plot(AXES[0] * np.cos(turn), AXES[1] * np.sin(turn), color=MINIMA, lw=2)
    power = (AXES[0] / AXES[1]) ** 2
    for start in OUTSIDE:
        begin = np.asarray(start)
        share = np.linspace(1, ellipse_end(begin)[0] / start[0], 80)
        path = np.stack([share * start[0], share**power * start[1]], axis=1)
        _path(ax, path, ellipse_nearest(begin), False)
    ax.set_xlim(0, 4.6)
    ax.set_ylim(-0.2, 2.4)


def _path(ax: Any, path: np.ndarray, goal: np.ndarray, named: bool) -> None:
    """Draw a path, its start and end, and the nearest minimum."""

    def label(text: str) -> str:
        return text if named else "_"

    ax.plot(*path.T, color=PATH, lw=1.5, label=label("gradient flow"))
    ax.plot(*path[0], marker="o", ms=4, mfc="white", mec=PATH, ls="none", label=label("start"))
    ax.plot(*path[-1], marker="o", ms=4.5, color=PATH, ls="none", label=label("its end"))
    ax.plot(
        *goal, marker="x", ms=8, mew=2, color=NEAREST, ls="none", zorder=5, label=label("nearest minimum")
    )  # fmt: skip
