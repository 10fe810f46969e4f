"""A plane through the loss as a surface in three dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.results.figures import layout
from implicit_bias.results.figures.draw import tick_text
from implicit_bias.results.figures.landscape import (
    LevelScale,
    check_scale,
    contour_levels,
    plane_arrays,
)
from implicit_bias.results.figures.style import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        elevation: Degrees above the plane from which one looks.
        azimuth: Degrees around the vertical; at −90 the first direction runs left to right.
        width: Inches.
        height: Inches, before the note.
        title: Title of the figure.

    Returns:
        The figure.

    Raises:
        UserError: A shape does not fit, a coordinate does not increase, ``scale`` is unknown, or
            ``top`` is below all values.
    """
    check_scale(scale)
    across, up, values = plane_arrays(a, b, loss)
    usable = np.isfinite(values) & ((values > 0) | (scale != "log"))
    if top is not None and usable.any() and not top > values[usable].min():
        raise UserError(
            f"top is {top:g}, but the lowest loss is {values[usable].min():.4g}; choose a higher one"
        )
    cut = int((values[usable] > top).sum()) if top is not None else 0
    kept = np.where(usable, values, np.nan)
    kept = kept if top is None else np.minimum(kept, top)
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
    text += f"; {cut} above {top:g}, drawn at that height" if cut else ""
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
    ax.set_zlabel(labels[2], labelpad=6)
    ax.tick_params(pad=1)
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
