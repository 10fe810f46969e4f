"""Planes through the loss: contours of one network, and of several over one another.

A plane is a loss of shape (m, n) over a coordinate a of shape (m,), drawn across, and a coordinate b
of shape (n,), drawn upwards: ``loss[i, j]`` lies at ``(a[i], b[j])``. Points where the loss is not
finite are no error: what cannot be drawn for their sake is hatched, and they are counted.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from implicit_bias.errors import UserError, unknown
from implicit_bias.results.figures.draw import tick_text
from implicit_bias.results.figures.style import NEUTRAL, Style, categorical, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LevelScale = Literal["log", "linear"]

MOST_OVERLAID = 4
"""The palette's first four colours are the ones that are far apart in grey."""

_DARK = "#262626"
_DARKEST = 0.28  # of viridis: below it, lines and labels do not show on the filling
_MANTISSAS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))


# --------------------------------------------------------------------------------------------------
# Levels


def contour_levels(*losses: Any, scale: LevelScale = "log", count: int = 10) -> np.ndarray:
    """Choose round levels that suit one or several planes, so that they can be compared.

    Args:
        *losses: Arrays of any shape; values that are not finite do not count.
        scale: ``"log"``: round numbers in about equal ratios, from values that are positive;
            ``"linear"``: round numbers at equal distances.
        count: About how many at most, two or more.

    Returns:
        Levels in increasing order, at least two, shape (levels,). Lowest and highest lie within the
        values wherever these differ.

    Raises:
        UserError: No value is finite (``"log"``: and positive), ``count`` is below two, or ``scale``
            is unknown.
    """
    check_scale(scale)
    if count < 2:
        raise UserError(f"count is {count}; choose count >= 2 levels")
    values = np.concatenate([np.ravel(np.asarray(loss, float)) for loss in losses] or [np.ones(0)])
    values = values[np.isfinite(values)]
    if scale == "log":
        values = values[values > 0]
    if not values.size:
        raise UserError(
            "the loss has no finite positive value; choose scale='linear' or give levels"
            if scale == "log"
            else "the loss has no finite value; there are no levels to choose"
        )
    low, high = float(values.min()), float(values.max())
    if not _spread(low, high):  # a plane without contours still gets its colour
        edge = 0.1 * abs(low) or 0.1
        return np.array([low - edge, low + edge])
    levels = _log_levels(low, high, count) if scale == "log" else _even_levels(low, high, count)
    return levels if len(levels) > 1 else np.array([low, high])


def _spread(low: float, high: float) -> bool:
    """Say whether two numbers differ by more than rounding."""
    return high - low > 1e-12 * max(abs(low), abs(high))


def _log_levels(low: float, high: float, count: int) -> np.ndarray:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))

    def within(candidates: np.ndarray) -> np.ndarray:
        return candidates[(candidates >= low) & (candidates <= high)]

    decades = 10.0 ** np.arange(first, last + 1)
    found = np.ones(0)
    for mantissas in _MANTISSAS:
        tried = within(np.outer(decades, mantissas).ravel())
        if len(tried) > count:
            break
        found = tried
    if not len(found):  # more decades than levels: every second one, or third, ...
        whole = within(decades)
        found = whole[:: max(1, math.ceil(len(whole) / count))]
    if len(found) >= min(4, count) or high / low > 100:
        return found
    # A short range holds few round numbers: equal ratios, to as many digits as tell them apart.
    ratio = (high / low) ** (1 / (count + 1))
    raw = low * ratio ** np.arange(1, count + 1)
    digits = max(2, 1 + math.ceil(-math.log10(ratio - 1)))
    return np.unique([float(f"{level:.{digits}g}") for level in raw])


def _even_levels(low: float, high: float, count: int) -> np.ndarray:
    from matplotlib.ticker import MaxNLocator

    levels = np.asarray(MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    return levels[(levels >= low) & (levels <= high)]


# --------------------------------------------------------------------------------------------------
# One network


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
    _frame(ax, across, up, xlabel, ylabel, equal)
    _hatch(ax, across, up, values)
    finite = np.isfinite(values)
    usable = finite & (values > 0) if scale == "log" else finite
    text = plane_note(values, "below the lowest level" if scale == "log" else "")
    if not finite.any():
        _say(ax, "no finite value to draw")
        return text
    if not usable.any() and np.ndim(levels) == 0:
        _say(ax, "no positive value to draw")
        return text
    steps = _levels_from(levels, (values,), scale)
    shown = np.ma.masked_invalid(values.T)
    if filled:
        areas = ax.contourf(across, up, shown, steps, colors=_shades(len(steps) + 1), extend="both")
        if bar:
            _bar(ax, areas, steps, label)
    # Solid below zero too: matplotlib would dash those.
    drawing = {"colors": _DARK, "linewidths": 0.6, "linestyles": "solid"}
    lines = _lines(ax, across, up, values, steps, drawing)
    at = lowest_point(across, up, values)
    if lines is not None and at is not None:
        _write_levels(lines, _label_places(ax, (across, up, values), steps, at, (0.6, 0.8), []))
    if not filled:
        text = f"Contours: {label}, at {', '.join(map(_level_text, steps))}. {text}"
    low, high = float(values[finite].min()), float(values[finite].max())
    if not _spread(low, high):
        text += f" The loss is {low:.4g} at every finite point: there are no contours."
    else:
        text += f" Lowest loss of the grid: {low:.4g}."
        if minimum and at is not None:
            _mark(ax, at, "lowest")
    if centre is not None and _inside(ax, centre):
        _mark(ax, centre, "centre")
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
    place.set_yticklabels([_level_text(step) for step in shown])
    place.tick_params(length=2)
    bar.outline.set_linewidth(0.6)


def _mark(ax: Axes, at: tuple[float, float], what: Literal["centre", "lowest"]) -> None:
    """Mark a point: an open ring for the centre, a cross, which fits into it, for the lowest."""
    from matplotlib.patheffects import withStroke

    marker, size = ("o", 9.0) if what == "centre" else ("P", 6.0)
    (mark,) = ax.plot(
        *at,
        ls="none",
        marker=marker,
        ms=size,
        mfc="none" if what == "centre" else "black",
        mec="black" if what == "centre" else "white",
        mew=1.3 if what == "centre" else 0.7,
        clip_on=False,
        zorder=6,
        label="centre" if what == "centre" else "lowest point of the grid",
    )
    if what == "centre":
        mark.set_path_effects([withStroke(linewidth=3.2, foreground="white")])


def _inside(ax: Axes, at: tuple[float, float]) -> bool:
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    return left <= at[0] <= right and low <= at[1] <= high


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


# --------------------------------------------------------------------------------------------------
# Several networks


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
    steps = _levels_from(levels, tuple(values for _, _, values in grids.values()), scale)
    reach = [np.concatenate([grid[axis] for grid in grids.values()]) for axis in (0, 1)]
    _frame(ax, np.sort(reach[0]), np.sort(reach[1]), xlabel, ylabel, equal)
    lowest = {name: lowest_point(*grid) for name, grid in grids.items()}
    known = np.array([at for at in lowest.values() if at is not None])
    texts: list[str] = []
    taken: list[np.ndarray] = []
    for order, (name, grid) in enumerate(grids.items()):
        look, at = looks[name], lowest[name]
        _hatch(ax, *grid, look.colour)
        drawing = {"colors": look.colour, "linestyles": [look.dash], "linewidths": 1.4}
        lines = _lines(ax, *grid, steps, drawing)
        if lines is not None and at is not None:
            away = (np.array(at) - known.mean(0)) / [np.ptp(grid[0]), np.ptp(grid[1])]
            if np.hypot(*away) < 0.02:  # all in one place: a sector each
                angle = 2 * math.pi * order / len(grids) + math.pi / 4
                away = np.array([math.cos(angle), math.sin(angle)])
            way = (float(away[0]), float(away[1]))
            _write_levels(lines, _label_places(ax, grid, steps, at, way, taken))
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
        counted = plane_note(grid[2])
        texts.append(f"{name}: {counted[0].lower()}{counted[1:-1]}")
    if centre is not None and _inside(ax, centre):
        _mark(ax, centre, "centre")
    at_levels = ", ".join(map(_level_text, steps))
    marks = " Markers: each network's lowest point of the grid." if minimum else ""
    return f"Contours: {label}, for all at {at_levels}.{marks} {'; '.join(texts)}."


def lowest_point(a: np.ndarray, b: np.ndarray, values: np.ndarray) -> tuple[float, float] | None:
    """Return where on the grid the loss is lowest, None where none is finite."""
    if not np.isfinite(values).any():
        return None
    flat = int(np.argmin(np.where(np.isfinite(values), values, np.inf)))
    return float(a[flat // len(b)]), float(b[flat % len(b)])


# --------------------------------------------------------------------------------------------------
# Shared


def plane_arrays(a: Any, b: Any, loss: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Check and convert a plane.

    Args:
        a: Shape (m,), finite, increasing, m >= 2.
        b: Shape (n,), likewise.
        loss: Shape (m, n).

    Returns:
        The three as floating arrays.

    Raises:
        UserError: Any of this does not hold.
    """
    a, b, loss = (np.asarray(part, float) for part in (a, b, loss))
    if a.ndim != 1 or b.ndim != 1 or loss.shape != (a.size, b.size):
        raise UserError(
            f"the plane's loss has shape {loss.shape} and its coordinates {a.shape} and {b.shape}; "
            "give a (m,), b (n,) and loss (m, n), a down the rows"
        )
    for name, part in (("a", a), ("b", b)):
        if part.size < 2 or not np.isfinite(part).all() or not (np.diff(part) > 0).all():
            raise UserError(
                f"the plane's coordinate {name} has {part.size} values that are not increasing and "
                "finite; give at least two, in increasing order"
                if part.size > 1
                else f"the plane's coordinate {name} has {part.size} values; give at least two"
            )
    return a, b, loss


def plane_note(values: np.ndarray, not_positive: str = "") -> str:
    """Count a plane's points, those that are not finite and (if named) those not positive."""
    lost = int((~np.isfinite(values)).sum())
    text = f"Grid of {values.shape[0]} × {values.shape[1]} points"
    text += f", {lost} of them not finite (hatched around)" if lost else ""
    below = int((values[np.isfinite(values)] <= 0).sum()) if not_positive else 0
    text += f"; {below} not positive, {not_positive}" if below else ""
    return text + "."


def check_scale(scale: str) -> None:
    """Raise a UserError unless it is ``"log"`` or ``"linear"``."""
    if scale not in ("log", "linear"):
        raise unknown("scale", scale, ("log", "linear"))


def _levels_from(
    levels: int | Sequence[float] | np.ndarray, losses: tuple[np.ndarray, ...], scale: LevelScale
) -> np.ndarray:
    if np.ndim(levels) == 0:
        return contour_levels(*losses, scale=scale, count=int(levels))  # type: ignore[arg-type]
    steps = np.asarray(levels, float)
    if (
        steps.ndim != 1
        or steps.size < 2
        or not np.isfinite(steps).all()
        or not (np.diff(steps) > 0).all()
    ):
        raise UserError(f"levels are {levels}; give at least two, finite, in increasing order")
    return steps


def _frame(ax: Axes, a: np.ndarray, b: np.ndarray, xlabel: str, ylabel: str, equal: bool) -> None:
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.set_xlim(a[0], a[-1])
    ax.set_ylim(b[0], b[-1])
    ax.grid(visible=False)
    if equal:
        ax.set_aspect("equal", adjustable="box")


def _say(ax: Axes, text: str) -> None:
    white = {"boxstyle": "round", "fc": "white", "ec": "none"}
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", bbox=white)


def _hatch(
    ax: Axes, a: np.ndarray, b: np.ndarray, values: np.ndarray, colour: str = NEUTRAL
) -> None:
    """Hatch every cell with a corner that is not finite, under what can be drawn of it."""
    from matplotlib.collections import PolyCollection

    lost = ~np.isfinite(values)
    touched = lost[:-1, :-1] | lost[1:, :-1] | lost[:-1, 1:] | lost[1:, 1:]
    if not touched.any():
        return
    cells = [
        [(a[i], b[j]), (a[i + 1], b[j]), (a[i + 1], b[j + 1]), (a[i], b[j + 1])]
        for i, j in np.argwhere(touched)
    ]
    taken = "not finite" in ax.get_legend_handles_labels()[1]
    ax.add_collection(
        PolyCollection(
            cells,
            facecolors="white",
            edgecolors=colour,
            hatch="/////",
            linewidths=0.0,
            zorder=0.8,
            label=None if taken else "not finite",
        ),
        autolim=False,
    )


def _shades(count: int) -> list[Any]:
    """Colours from dark (low) to light (high), even in grey."""
    import matplotlib

    return list(matplotlib.colormaps["viridis"](np.linspace(_DARKEST, 1.0, count)))


def _lines(
    ax: Axes,
    a: np.ndarray,
    b: np.ndarray,
    values: np.ndarray,
    steps: np.ndarray,
    drawing: Mapping[str, Any],
) -> Any:
    """Draw the levels that lie within the values; None where there are none."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    # A level at the very bottom has no line but, on a flat floor, a scribble.
    within = steps[(steps > finite.min()) & (steps < finite.max())]
    if not within.size or not _spread(float(finite.min()), float(finite.max())):
        return None
    return ax.contour(a, b, np.ma.masked_invalid(values.T), within, **drawing)


_RAYS = (0.0, 0.35, -0.35, 0.7, -0.7, 1.05, -1.05)
_APART = 13.0  # points between two labels: one and a half lines of them
_FROM_MARK = 17.0
_FROM_EDGE = 9.0


def _label_places(
    ax: Axes,
    grid: tuple[np.ndarray, np.ndarray, np.ndarray],
    steps: np.ndarray,
    start: tuple[float, float],
    towards: tuple[float, float],
    taken: list[np.ndarray],
) -> list[tuple[float, float]]:
    """Find where levels can be written: on a ray from a point, where it crosses them.

    Of several rays around a direction the one with most room is taken. A label that would lie on
    another one, on the point's marker or on the frame is left out.

    Args:
        ax: The axes, with their limits.
        grid: The plane.
        steps: The levels.
        start: The point.
        towards: The direction, in axes' widths and heights.
        taken: Places of labels, in pixels; those found are added.
    """
    from scipy.interpolate import RegularGridInterpolator

    a, b, values = grid
    ax.apply_aspect()
    frame = ax.get_window_extent()
    point = ax.figure.dpi / 72
    known = np.where(np.isfinite(values), values, np.nan)
    loss = RegularGridInterpolator((a, b), known, bounds_error=False)
    origin = ax.transData.transform(start)
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
                free = np.hypot(*(place - origin)) > _FROM_MARK * point
                near = [*taken, *found]
                if free and all(np.hypot(*(place - other)) > _APART * point for other in near):
                    found.append(place)
        if len(found) > len(best):
            best = found
    taken += best
    places = ax.transData.inverted().transform(np.array(best)) if best else np.zeros((0, 2))
    return [(float(x), float(y)) for x, y in places]


def _level_text(level: float) -> str:
    return tick_text(float(f"{level:.6g}"))


def _write_levels(lines: Any, places: list[tuple[float, float]]) -> None:
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
        fmt=_level_text,
        manual=places,
    )
    for text in texts or ():
        text.set_path_effects([withStroke(linewidth=2.0, foreground="white")])
        text.set_zorder(4.5)
