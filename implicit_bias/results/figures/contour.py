"""Contours of one network's loss over a plane, and the path of training over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.results.figures.levels import (
    LevelScale,
    check_scale,
    differ,
    level_text,
    levels_from,
)
from implicit_bias.results.figures.planes import (
    frame,
    hatch,
    inside,
    level_lines,
    lowest_point,
    mark,
    plane_arrays,
    plane_note,
    say,
)
from implicit_bias.results.figures.style import style
from implicit_bias.results.figures.written_levels import label_places, write_levels
from implicit_bias.results.table import format_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DARK = "#262626"
_DARKEST = 0.28  # of viridis: below it, lines and labels do not show on the filling


@style()
def contour(
    ax: Axes,
    a: Any,
    b: Any,
    loss: Any,
    *,
    xlabel: str,
    ylabel: str,
    label: str,
    scale: LevelScale = "log",
    levels: int | Sequence[float] | np.ndarray = 10,
    filled: bool = True,
    equal: bool = True,
    centre: tuple[float, float] | None = (0.0, 0.0),
    minimum: bool = True,
    bar: bool = True,
) -> str:
    """Draw the contours of a loss over a plane, with levels written on them where there is room.

    Fills get lighter with the loss, evenly in grey. Values beyond the outermost levels keep the
    outermost shades, which the bar's arrows say.

    Args:
        ax: The axes.
        a: Coordinate along the first direction, shape (m,), increasing; across.
        b: Coordinate along the second direction, shape (n,), increasing; upwards.
        loss: Shape (m, n).
        xlabel: The first direction, with unit, such as ``"direction 1 (filter-normalised,
            relative)"``.
        ylabel: The second direction, with unit.
        label: What the loss is, with unit, such as ``"training loss (nats)"``; for the bar.
        scale: How levels are spaced. On ``"log"``, values that are not positive count as below the
            lowest level.
        levels: How many at most, or the levels, increasing (from ``contour_levels`` where several
            panels are to agree).
        filled: Fill between levels. Without, lines alone.
        equal: Give both coordinates the same length a unit; for directions in the same unit.
        centre: Where the parameters are that the plane goes through, marked where the grid has it;
            None for none.
        minimum: Mark the point of the grid with the lowest loss.
        bar: Draw a bar of the levels; panels that share levels need it once. Lines without filling
            have none, their levels are written on them.

    Returns:
        A note that counts points, and those that are not finite (or not positive).

    Raises:
        UserError: A shape does not fit, a coordinate does not increase, levels are not increasing
            or fewer than two, or ``scale`` is unknown.
    """
    across, up, values = plane_arrays(a, b, loss)
    check_scale(scale)
    frame(ax, across, up, xlabel, ylabel, equal)
    hatch(ax, across, up, values)
    finite = np.isfinite(values)
    usable = finite & (values > 0) if scale == "log" else finite
    text = plane_note(values, "below the lowest level" if scale == "log" else "")
    if not finite.any():
        say(ax, "no finite value to draw")
        return text
    if not usable.any() and np.ndim(levels) == 0:
        say(ax, "no positive value to draw")
        return text
    steps = levels_from(levels, (values,), scale)
    shown = np.ma.masked_invalid(values.T)
    if filled:
        areas = ax.contourf(across, up, shown, steps, colors=_shades(len(steps) + 1), extend="both")
        if bar:
            _bar(ax, areas, steps, label)
    # Solid below zero too: matplotlib would dash those.
    drawing = {"colors": _DARK, "linewidths": 0.6, "linestyles": "solid"}
    lines = level_lines(ax, across, up, values, steps, drawing)
    at = lowest_point(across, up, values)
    marks = [centre] if centre is not None and inside(ax, centre) else []
    if lines is not None and at is not None:
        grid = across, up, values
        write_levels(lines, label_places(ax, grid, steps, at, (0.6, 0.8), [], marks))
    if not filled:
        text = f"Contours: {label}, at {', '.join(map(level_text, steps))}. {text}"
    low, high = float(values[finite].min()), float(values[finite].max())
    if not differ(low, high):
        text += f" The loss is {format_number(low)} at every finite point: there are no contours."
    else:
        text += f" Lowest loss of the grid: {format_number(low)}."
        if minimum and at is not None:
            mark(ax, at, "lowest")
    for place in marks:
        mark(ax, place, "centre")
    return text


def _bar(ax: Axes, areas: Any, steps: np.ndarray, label: str) -> None:
    """Draw the bar of levels, as high as the axes, with as many of them written as have room."""
    from matplotlib.ticker import FixedLocator, NullLocator

    # An inset: the figure's axes stay the panels, and an equal aspect moves both together.
    place = ax.inset_axes((1.03, 0.0, 0.045, 1.0))
    bar = ax.figure.colorbar(areas, cax=place, label=label, extendfrac=0.05)
    shown = steps[:: math.ceil(len(steps) / 14)]
    place.yaxis.set_major_locator(FixedLocator(list(shown)))
    place.yaxis.set_minor_locator(NullLocator())
    place.set_yticklabels([level_text(step) for step in shown])
    place.tick_params(length=2)
    bar.outline.set_linewidth(0.6)


def _shades(count: int) -> list[Any]:
    """Colours from dark (low) to light (high), even in grey."""
    import matplotlib

    return list(matplotlib.colormaps["viridis"](np.linspace(_DARKEST, 1.0, count)))


@style()
def trajectory(ax: Axes, places: Any, label: str = "path of training") -> None:
    """Draw a path over a plane, such as iterates in the plane of their own principal components.

    Args:
        ax: Axes with a plane.
        places: Coordinates of the iterates, shape (t, 2), in their order. Rows that are not finite
            leave a gap; what lies outside of the plane does not show.
        label: Legend entry.

    Raises:
        UserError: The shape is another.
    """
    places = np.asarray(places, float)
    if places.ndim != 2 or places.shape[1] != 2 or not len(places):
        raise UserError(f"the path has shape {places.shape}; give shape (t, 2) with t >= 1")
    from matplotlib.patheffects import withStroke

    (line,) = ax.plot(*places.T, color="black", lw=1.4, label=label, zorder=4)
    line.set_path_effects([withStroke(linewidth=3.4, foreground="white")])
    ends: dict[str, Any] = {"ls": "none", "marker": "s", "mec": "black", "zorder": 5}
    ax.plot(*places[0], mfc="white", ms=5, label=f"{label}: start", **ends)
    ax.plot(*places[-1], mfc="black", ms=5, label=f"{label}: end", **ends)
