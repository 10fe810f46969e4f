"""A plane through the loss as a surface in three dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.results.figures import layout
from implicit_bias.results.figures.levels import LevelScale, check_scale, contour_levels
from implicit_bias.results.figures.planes import plane_arrays
from implicit_bias.results.figures.style import style
from implicit_bias.results.figures.ticks import tick_text
from implicit_bias.results.table import format_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DEEPEST, _FEW = 0.1, 0.01


def surface(
    a: Any,
    b: Any,
    loss: Any,
    *,
    xlabel: str,
    ylabel: str,
    zlabel: str,
    scale: LevelScale = "log",
    top: float | None = None,
    bottom: float | None = None,
    elevation: float = 30.0,
    azimuth: float = -58.0,
    width: float = 5.4,
    height: float = 4.4,
    title: str = "",
) -> Figure:
    """Draw a plane as a surface, one facet a cell of the grid.

    A surface hides what lies behind it: it is for the shape, ``contour`` is for reading values.
    Cells with a corner that is not finite are left out, and such points marked on the floor and
    counted in the figure's note.

    Args:
        a: Coordinate along the first direction, shape (m,), increasing.
        b: Coordinate along the second direction, shape (n,), increasing.
        loss: Shape (m, n).
        xlabel: The first direction, with unit.
        ylabel: The second direction, with unit.
        zlabel: What the loss is, with unit.
        scale: Of the height; on ``"log"`` points that are not positive are left out too.
        top: Higher values are drawn at this height, and counted; None for no limit.
        bottom: Lower values are drawn at this height, and counted. None: on ``"log"`` a tenth of the
            value that one point in a hundred stays below, so that a single minimum, which may be
            zero but for rounding, does not take the whole height; on ``"linear"`` no limit. For none
            on ``"log"``, give 0.
        elevation: Degrees above the plane from which one looks.
        azimuth: Degrees around the vertical; at −90 the first direction runs left to right.
        width: Inches.
        height: Inches, before the note.
        title: Title of the figure.

    Returns:
        The figure.

    Raises:
        UserError: A shape does not fit, a coordinate does not increase, ``scale`` is unknown, or
            ``top`` is not above the lowest value and ``bottom``.
    """
    check_scale(scale)
    across, up, values = plane_arrays(a, b, loss)
    usable = np.isfinite(values) & ((values > 0) | (scale != "log"))
    known = values[usable]
    if bottom is None:
        bottom = (
            _DEEPEST * float(np.quantile(known, _FEW)) if scale == "log" and known.size else -np.inf
        )
    lid = np.inf if top is None else top
    if known.size and not lid > max(known.min(), bottom):
        raise UserError(
            f"top is {lid:g}, but the lowest loss is {known.min():.4g} and bottom {bottom:.4g}; choose a "
            "higher top"
        )
    kept = np.clip(np.where(usable, values, np.nan), bottom, lid)
    heights = np.log10(kept) if scale == "log" else kept
    figure, flat = layout.axes(width, height, title=title)
    flat.remove()
    with style():
        ax: Any = figure.add_subplot(projection="3d")
        _facets(ax, across, up, heights)
        _axes(ax, across, up, heights, (xlabel, ylabel, zlabel), scale)
        ax.view_init(elevation, azimuth)
        lost = np.argwhere(~usable)
        if len(lost):
            ax.plot(
                across[lost[:, 0]],
                up[lost[:, 1]],
                np.full(len(lost), ax.get_zlim()[0]),
                ls="none",
                marker="x",
                ms=2.5,
                mew=0.5,
                color="black",
                label="not drawn",
            )
            layout.legend(figure)
    text = f"Grid of {values.shape[0]} × {values.shape[1]} points"
    if len(lost):
        why = "not finite" + (" or not positive" if scale == "log" else "")
        text += f", {len(lost)} of them {why} (crosses on the floor)"
    for count, side, limit in (
        (int((known > lid).sum()), "above", lid),
        (int((known < bottom).sum()), "below", bottom),
    ):
        text += (
            f"; {count} {side} {format_number(limit, digits=3)}, drawn at that height"
            if count
            else ""
        )
    layout.note(figure, text + ".")
    return figure


def _facets(ax: Any, a: np.ndarray, b: np.ndarray, heights: np.ndarray) -> None:
    import matplotlib
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection  # type: ignore[import-untyped]

    x, y = np.meshgrid(a, b, indexing="ij")
    points = np.stack([x, y, heights], axis=-1)
    corners = [points[:-1, :-1], points[1:, :-1], points[1:, 1:], points[:-1, 1:]]
    cells = np.stack(corners, axis=2).reshape(-1, 4, 3)
    cells = cells[np.isfinite(cells).all((1, 2))]
    if not len(cells):
        ax.text2D(0.5, 0.5, "no cell to draw", transform=ax.transAxes, ha="center")
        return
    middle = cells[:, :, 2].mean(1)
    span = np.ptp(middle) or 1.0
    colours = matplotlib.colormaps["viridis"](0.15 + 0.85 * (middle - middle.min()) / span)
    # Thin lines on fine grids: the mesh gives the shape in grey, but must not blacken it.
    mesh = min(0.5, 12 / max(heights.shape))
    ax.add_collection3d(
        Poly3DCollection(cells, facecolors=colours, edgecolors="#262626", linewidths=mesh)
    )


def _axes(
    ax: Any,
    a: np.ndarray,
    b: np.ndarray,
    heights: np.ndarray,
    labels: tuple[str, str, str],
    scale: LevelScale,
) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_xlim(a[0], a[-1])
    ax.set_ylim(b[0], b[-1])
    known = heights[np.isfinite(heights)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    edge = 0.05 * (high - low) or 0.1
    ax.set_zlim(low - edge, high + edge)
    ax.set_xlabel(labels[0], labelpad=4)
    ax.set_ylabel(labels[1], labelpad=4)
    ax.set_zlabel(labels[2], labelpad=13)
    ax.tick_params(pad=1)
    ax.tick_params(axis="z", pad=6)  # its labels are wide, and centred on where they stand
    for axis in (ax.xaxis, ax.yaxis):  # the ends of two axes meet in a corner: no labels there
        axis.set_major_locator(MaxNLocator(4, prune="both"))
    if scale == "log":
        places = _log_places(low, high)
        ax.set_zticks(np.log10(places), [tick_text(float(f"{place:.3g}")) for place in places])
    # Labels do not shrink with the figure: they need the same inches around any box.
    ax.set_box_aspect((1, 1, 0.75), zoom=max(0.4, 1 - 0.75 / min(ax.figure.get_size_inches())))


def _log_places(low: float, high: float) -> np.ndarray:
    """Choose ticks between two exponents of ten: decades, or round numbers of a short range."""
    return contour_levels(10.0 ** np.array([low, high]), scale="log", count=6)
