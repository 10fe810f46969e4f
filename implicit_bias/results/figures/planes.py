"""A plane through the loss: what every drawing of one checks, frames, marks and counts.

A plane is a loss of shape (m, n) over a coordinate a of shape (m,), drawn across, and a coordinate b
of shape (n,), drawn upwards: ``loss[i, j]`` lies at ``(a[i], b[j])``. Points where the loss is not
finite are no error: what cannot be drawn for their sake is hatched, and they are counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.results.figures.levels import differ
from implicit_bias.results.figures.style import NEUTRAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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


def lowest_point(a: np.ndarray, b: np.ndarray, values: np.ndarray) -> tuple[float, float] | None:
    """Return where on the grid the loss is lowest, None where none is finite."""
    if not np.isfinite(values).any():
        return None
    flat = int(np.argmin(np.where(np.isfinite(values), values, np.inf)))
    return float(a[flat // len(b)]), float(b[flat % len(b)])


def frame(ax: Axes, a: np.ndarray, b: np.ndarray, xlabel: str, ylabel: str, equal: bool) -> None:
    """Label axes and limit them to a plane's coordinates (m,) and (n,), at one scale if ``equal``."""
    from matplotlib.ticker import MaxNLocator

    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.set_xlim(a[0], a[-1])
    ax.set_ylim(b[0], b[-1])
    ax.grid(visible=False)
    if equal:
        ax.set_aspect("equal", adjustable="box")


def inside(ax: Axes, at: tuple[float, float]) -> bool:
    """Say whether a point lies within the axes' limits."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    return left <= at[0] <= right and low <= at[1] <= high


def mark(ax: Axes, at: tuple[float, float], what: Literal["centre", "lowest"]) -> None:
    """Mark a point: an open ring for the centre, a cross, which fits into it, for the lowest."""
    from matplotlib.patheffects import withStroke

    marker, size = ("o", 9.0) if what == "centre" else ("P", 6.0)
    (drawn,) = ax.plot(
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
        drawn.set_path_effects([withStroke(linewidth=3.2, foreground="white")])


def say(ax: Axes, text: str) -> None:
    """Write in the middle of the axes."""
    white = {"boxstyle": "round", "fc": "white", "ec": "none"}
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", bbox=white)


def hatch(
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


def level_lines(
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
    if not within.size or not differ(float(finite.min()), float(finite.max())):
        return None
    return ax.contour(a, b, np.ma.masked_invalid(values.T), within, **drawing)
