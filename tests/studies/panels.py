"""How to read a study's figure back: what is drawn, and whether every reader is told what it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from tests.results.figures.sheets import assert_tidy


def curve(figure: Any, label: str, panel: str = "", count: int = 1, which: int = 0) -> np.ndarray:
    """Points of a labelled line, shape (n, 2).

    Args:
        figure: The figure.
        label: The line's entry in the legend.
        panel: The panel's title; by default the figure's only panel.
        count: How many lines of the label the panel must have.
        which: Which of them.
    """
    (ax,) = [ax for ax in figure.axes if ax.get_title(loc="left") == panel]
    lines = [line for line in ax.lines if line.get_label() == label]
    assert len(lines) == count, (panel, label, [line.get_label() for line in ax.lines])
    return np.column_stack([lines[which].get_xdata(), lines[which].get_ydata()]).astype(float)


def assert_readable(figure: Any, bare: Collection[str]) -> None:
    """Every panel shows finite numbers on axes with names and units, and no two entries look the same.

    Args:
        figure: The figure.
        bare: Names of axes that are numbers without a unit, or whose unit is plain: all others end in
            their unit in brackets, or are one (%).
    """
    assert_tidy(figure)
    assert figure.axes
    named = {"x": set(), "y": set()}
    for ax in figure.axes:
        shown = np.concatenate(list(_points(ax)))
        assert shown.size, ax.get_title(loc="left")
        assert np.isfinite(shown).all(), ax.get_title(loc="left")
        # Shared axes carry their name at the edge alone.
        for axis, siblings in (("x", ax.get_shared_x_axes()), ("y", ax.get_shared_y_axes())):
            names = {getattr(one, f"get_{axis}label")() for one in siblings.get_siblings(ax)}
            assert names - {""}, (ax.get_title(loc="left"), axis)
            named[axis] |= names - {""}
    for name in named["x"] | named["y"]:
        assert name in bare or name.endswith((")", "%")), name
    assert set(bare) <= named["x"] | named["y"], "a name that no axis has"
    # Legends with titles are of one thing each, and may repeat the looks of another's.
    for legend in figure.legends:
        looks = [_look(handle) for handle in legend.legend_handles]
        texts = [text.get_text() for text in legend.get_texts()]
        twins = [text for text, look in zip(texts, looks, strict=True) if looks.count(look) > 1]
        assert not twins, f"these look the same: {twins}"


def _points(ax: Any) -> Iterator[np.ndarray]:
    """What is drawn as data: lines across a whole panel are not, nor edges of bands, which may be missing."""
    for line in ax.lines:
        if line.get_transform() == ax.transData and not str(line.get_label()).startswith("_"):
            yield np.column_stack([line.get_xdata(), line.get_ydata()]).astype(float)


def _look(handle: Any) -> Any:
    if not hasattr(handle, "get_marker"):
        return to_hex(handle.get_facecolor()) if hasattr(handle, "get_facecolor") else handle
    dash = handle._unscaled_dash_pattern  # no public name tells one dash from another
    return to_hex(handle.get_color()), handle.get_marker(), str(dash), handle.get_linestyle()
