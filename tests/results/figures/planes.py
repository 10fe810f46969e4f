"""Planes to draw, and how to read them back from what was drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.contour import QuadContourSet

A, B = np.linspace(-1, 1, 41), np.linspace(-1.5, 1.5, 31)
"""Different in number and reach, so that a plane drawn the wrong way round cannot pass."""

LABELS = {
    "xlabel": "direction 1 (filter-normalised, relative)",
    "ylabel": "direction 2 (filter-normalised, relative)",
    "label": "training loss (nats)",
}


def bowl(a0: float = 0.0, b0: float = 0.0, base: float = 0.1) -> np.ndarray:
    """Loss base + (a − a0)² + 4 (b − b0)², shape (41, 31)."""
    return base + (A[:, None] - a0) ** 2 + 4 * (B[None, :] - b0) ** 2


def sets(ax: Any, *, filled: bool) -> list[QuadContourSet]:
    return [
        one for one in ax.collections if isinstance(one, QuadContourSet) and one.filled == filled
    ]


def hatched(ax: Any) -> list[Any]:
    return [one for one in ax.collections if isinstance(one, PolyCollection) and one.get_hatch()]


def cells(ax: Any) -> set[tuple[float, ...]]:
    """Corners (left, low, right, high) of the hatched cells."""
    paths = [path.vertices for one in hatched(ax) for path in one.get_paths()]
    return {(*corners.min(0).round(6), *corners.max(0).round(6)) for corners in paths}


def entries(ax: Any) -> list[str]:
    return ax.get_legend_handles_labels()[1]


def points(ax: Any, label: str) -> np.ndarray:
    (line,) = [one for one in ax.lines if one.get_label() == label]
    return np.column_stack([line.get_xdata(), line.get_ydata()]).astype(float)


def assert_on_page(figure: Any) -> None:
    """Nothing is clipped by the page, and no strip lies on a panel."""
    figure.canvas.draw()
    renderer, page = figure.canvas.get_renderer(), figure.bbox
    boxes = [ax.get_tightbbox(renderer) for ax in figure.axes]
    strips = [one.get_window_extent(renderer) for one in (*figure.legends, *figure.artists)]
    for box in (*boxes, *strips):
        assert box.x0 >= page.x0 - 1
        assert box.y0 >= page.y0 - 1
        assert box.x1 <= page.x1 + 1
        assert box.y1 <= page.y1 + 1
    assert not any(strip.overlaps(box) for strip in strips for box in boxes)
