"""How to read a figure that was drawn, and whether everything on it has its place."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from matplotlib.collections import PolyCollection


def drawn(figure: Any) -> Any:
    """Render a figure, so that its layout is final."""
    figure.canvas.draw()
    return figure.canvas.get_renderer()


def assert_tidy(figure: Any) -> None:
    """Nothing leaves the figure; legends and notes cover neither panels nor one another."""
    renderer = drawn(figure)
    page = figure.bbox
    boxes = [ax.get_tightbbox(renderer) for ax in figure.axes]
    strips = [
        artist.get_window_extent(renderer)
        for artist in (*figure.legends, *figure.artists)
        if artist.get_window_extent(renderer).width > 0
    ]
    for box in (*boxes, *strips):
        assert box.x0 >= page.x0 - 1
        assert box.x1 <= page.x1 + 1
        assert box.y0 >= page.y0 - 1
        assert box.y1 <= page.y1 + 1
    for strip, box in itertools.product(strips, boxes):
        assert not strip.overlaps(box)
    for one, other in itertools.combinations(strips, 2):
        assert not one.overlaps(other)


def bands(ax: Any) -> list[np.ndarray]:
    return [
        path.vertices
        for collection in ax.collections
        if isinstance(collection, PolyCollection)
        for path in collection.get_paths()
    ]
