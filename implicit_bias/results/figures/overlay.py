"""Contours of several networks over one another, at the same levels for all."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.results.figures.levels import LevelScale, check_scale, level_text, levels_from
from implicit_bias.results.figures.planes import (
    frame,
    hatch,
    inside,
    level_lines,
    lowest_point,
    mark,
    plane_arrays,
    plane_note,
)
from implicit_bias.results.figures.style import Style, categorical, style
from implicit_bias.results.figures.written_levels import label_places, write_levels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_OVERLAID = 4
"""The palette's first four colours are the ones that are far apart in grey."""


@style()
def overlay(
    ax: Axes,
    planes: Mapping[Hashable, tuple[Any, Any, Any]],
    *,
    xlabel: str,
    ylabel: str,
    label: str,
    scale: LevelScale = "log",
    levels: int | Sequence[float] | np.ndarray = 7,
    equal: bool = True,
    centre: tuple[float, float] | None = (0.0, 0.0),
    minimum: bool = True,
    styles: Mapping[Hashable, Style] | None = None,
) -> str:
    """Draw several networks' contours over one another, at the same levels for all.

    Networks differ in dash as well as in a colour that is another grey. Levels are written along a
    ray from each network's lowest point, away from the others', where there is room.

    Args:
        ax: The axes.
        planes: For each network its a (m,), b (n,) and loss (m, n); grids may differ.
        xlabel: The first direction, with unit.
        ylabel: The second direction, with unit.
        label: What the loss is, with unit; for the note.
        scale: How levels are spaced.
        levels: How many at most over all networks together, or the levels, increasing.
        equal: Give both coordinates the same length a unit.
        centre: Where the networks' parameters are, marked once; None for none.
        minimum: Mark each network's lowest point, in its own marker.
        styles: How each network looks; by default ``categorical``.

    Returns:
        A note that says the levels and counts points.

    Raises:
        UserError: There are no networks or more than four, none has a finite (on ``"log"``
            positive) value, or as for ``contour``.
    """
    check_scale(scale)
    if not 1 <= len(planes) <= MOST_OVERLAID:
        raise UserError(
            f"there are {len(planes)} networks to draw over one another; give 1 to "
            f"{MOST_OVERLAID}, and put more into panels"
        )
    grids = {name: plane_arrays(*plane) for name, plane in planes.items()}
    looks = styles if styles is not None else categorical(planes)
    steps = levels_from(levels, tuple(values for _, _, values in grids.values()), scale)
    reach = [np.concatenate([grid[axis] for grid in grids.values()]) for axis in (0, 1)]
    frame(ax, np.sort(reach[0]), np.sort(reach[1]), xlabel, ylabel, equal)
    lowest = {name: lowest_point(*grid) for name, grid in grids.items()}
    known = np.array([at for at in lowest.values() if at is not None])
    counted: list[str] = []
    taken: list[np.ndarray] = []
    marks = [centre] if centre is not None and inside(ax, centre) else []
    for order, (name, grid) in enumerate(grids.items()):
        look, at = looks[name], lowest[name]
        hatch(ax, *grid, look.colour)
        drawing = {"colors": look.colour, "linestyles": [look.dash], "linewidths": 1.4}
        lines = level_lines(ax, *grid, steps, drawing)
        if lines is not None and at is not None:
            away = (np.array(at) - known.mean(0)) / [np.ptp(grid[0]), np.ptp(grid[1])]
            if np.hypot(*away) < 0.02:  # all in one place: a sector each
                angle = 2 * math.pi * order / len(grids) + math.pi / 4
                away = np.array([math.cos(angle), math.sin(angle)])
            way = (float(away[0]), float(away[1]))
            write_levels(lines, label_places(ax, grid, steps, at, way, taken, marks))
        # One entry for both: the line, and the marker at the network's lowest point.
        shown = minimum and at is not None
        ax.plot(
            [at[0]] if shown and at is not None else [],
            [at[1]] if shown and at is not None else [],
            color=look.colour,
            ls=look.dash,
            marker=look.marker if shown else "",
            ms=6.5,
            mfc=look.colour,
            mec="white",
            mew=0.8,
            zorder=5,
            label=str(name),
            clip_on=False,
        )
        counted.append(plane_note(grid[2]))
    for place in marks:
        mark(ax, place, "centre")
    at_levels = ", ".join(map(level_text, steps))
    said = " Markers: each network's lowest point of the grid." if minimum else ""
    alike = len(set(counted)) == 1
    points = (
        counted[0]
        if alike
        else " ".join(f"{name}: {text}" for name, text in zip(grids, counted, strict=True))
    )
    return f"Contours: {label}, for all at {at_levels}.{said} {points}"
