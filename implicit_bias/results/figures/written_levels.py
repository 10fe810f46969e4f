"""Levels written on their contours: where there is room, and how."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.figures.levels import level_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_RAYS = (0.0, 0.35, -0.35, 0.7, -0.7, 1.05, -1.05)
_APART = 13.0  # points between two labels: one and a half lines of them
_FROM_MARK = 17.0
_FROM_EDGE = 14.0  # half a label


def label_places(
    ax: Axes,
    grid: tuple[np.ndarray, np.ndarray, np.ndarray],
    steps: np.ndarray,
    start: tuple[float, float],
    towards: tuple[float, float],
    taken: list[np.ndarray],
    marks: Sequence[tuple[float, float]] = (),
) -> list[tuple[float, float]]:
    """Find where levels can be written: on a ray from a point, where it crosses them.

    Of several rays around a direction the one with most room is taken. A label that would lie on
    another one, on a marker or on the frame is left out.

    Args:
        ax: The axes, with their limits.
        grid: The plane.
        steps: The levels.
        start: The point.
        towards: The direction, in axes' widths and heights.
        taken: Places of labels, in pixels; those found are added.
        marks: Where else there are markers.

    Returns:
        Places along the axes' coordinates.
    """
    from scipy.interpolate import RegularGridInterpolator

    a, b, values = grid
    ax.apply_aspect()
    frame = ax.get_window_extent()
    point = ax.figure.dpi / 72
    known = np.where(np.isfinite(values), values, np.nan)
    loss = RegularGridInterpolator((a, b), known, bounds_error=False)
    origin = ax.transData.transform(start)
    markers = ax.transData.transform([start, *marks])
    length = math.hypot(frame.width, frame.height)
    best: list[np.ndarray] = []
    angle = math.atan2(towards[1] * frame.height, towards[0] * frame.width)
    for turn in _RAYS:
        way = np.array([math.cos(angle + turn), math.sin(angle + turn)])
        pixels = origin + np.linspace(0, length, 500)[:, None] * way
        along = loss(ax.transData.inverted().transform(pixels))
        found: list[np.ndarray] = []
        for step in steps:
            crossings = np.flatnonzero((along[:-1] < step) & (along[1:] >= step))
            for crossing in crossings[:1]:
                place = pixels[crossing]
                inner = _FROM_EDGE * point
                if not (
                    frame.x0 + inner < place[0] < frame.x1 - inner
                    and frame.y0 + inner < place[1] < frame.y1 - inner
                ):
                    continue
                free = (np.hypot(*(place - markers).T) > _FROM_MARK * point).all()
                near = [*taken, *found]
                if free and all(np.hypot(*(place - other)) > _APART * point for other in near):
                    found.append(place)
        if len(found) > len(best):
            best = found
    taken += best
    places = ax.transData.inverted().transform(np.array(best)) if best else np.zeros((0, 2))
    return [(float(x), float(y)) for x, y in places]


def write_levels(lines: Any, places: list[tuple[float, float]]) -> None:
    """Write levels on their lines at the places, on a halo that shows on every shade."""
    from matplotlib.patheffects import withStroke

    if not places:
        return
    texts = lines.axes.clabel(
        lines,
        fontsize=7,
        inline=True,
        inline_spacing=3,
        colors="black",
        fmt=level_text,
        manual=places,
    )
    for text in texts or ():
        text.set_path_effects([withStroke(linewidth=2.0, foreground="white")])
        text.set_zorder(4.5)
