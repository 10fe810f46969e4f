"""Contours of several networks over one another."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from implicit_bias.errors import UserError
from implicit_bias.results import figures
from tests.results.figures.planes import (
    LABELS,
    A,
    B,
    assert_on_page,
    bowl,
    entries,
    hatched,
    points,
    sets,
)


def test_overlaid_networks_share_levels_and_differ_without_colour() -> None:
    # Breaks if each network gets levels of its own, or they are told by hue alone.
    figure, ax = figures.axes(5.0, 4.2)
    small = (A[::2], B, bowl(-0.3, 0.2)[::2])  # another grid
    planes = {"small batch": small, "large batch": (A, B, 3 * bowl(0.4, -0.2))}
    levels = [0.5, 1.0, 2.0, 5.0]
    text = figures.overlay(ax, planes, levels=levels, **LABELS)
    figures.legend(figure)
    figures.note(figure, text)
    assert_on_page(figure)
    first, second = sets(ax, filled=False)
    assert first.levels.tolist() == second.levels.tolist() == levels
    for lines, a0, b0, factor in ((first, -0.3, 0.2, 1), (second, 0.4, -0.2, 3)):
        for level, path in zip(lines.levels, lines.get_paths(), strict=True):
            x, y = path.vertices.T
            values = factor * (0.1 + (x - a0) ** 2 + 4 * (y - b0) ** 2)
            np.testing.assert_allclose(values, level, atol=factor * (0.1**2 + 4 * 0.1**2) / 4)
    assert entries(ax) == ["small batch", "large batch", "centre"]
    np.testing.assert_allclose(points(ax, "large batch"), [[0.4, -0.2]], atol=1e-12)
    assert len({str(one.get_linestyle()) for one in (first, second)}) == 2
    greys = [one.get_edgecolor()[0][:3] @ [0.2126, 0.7152, 0.0722] for one in (first, second)]
    assert abs(greys[0] - greys[1]) > 0.1
    colours = {line.get_label(): to_hex(line.get_color()) for line in ax.lines}
    assert to_hex(first.get_edgecolor()[0]) == colours["small batch"]
    assert "at 0.5, 1, 2, 5" in text
    assert "training loss (nats)" in text


def test_overlay_chooses_levels_for_all_and_hatches_each() -> None:
    # Breaks if levels suit only the first network, or one network's holes pass for another's.
    loss = 50 * bowl()
    loss[0, 0] = np.nan
    nothing = np.full((41, 31), np.nan)
    planes = {"a": (A, B, bowl()), "b": (A, B, loss), "c": (A, B, nothing)}
    _, ax = figures.axes()
    text = figures.overlay(ax, planes, levels=8, **LABELS)
    low, high = (sets(ax, filled=False)[index].levels for index in (0, 1))
    assert low.max() <= bowl().max() < high.max()
    assert set(low) & set(high)
    assert "b: Grid of 41 × 31 points, 1 of them not finite" in text
    assert "c: Grid of 41 × 31 points, 1271 of them not finite" in text
    assert len(hatched(ax)) == 2
    assert entries(ax).count("not finite") == 1


def test_too_many_networks_are_refused() -> None:
    # Breaks if five overlaid networks, which cannot be told apart in grey, are drawn.
    _, ax = figures.axes()
    plane = (A, B, bowl())
    for planes in ({}, dict.fromkeys("abcde", plane)):
        with pytest.raises(UserError, match="1 to 4"):
            figures.overlay(ax, planes, **LABELS)
    with pytest.raises(UserError, match="shape"):
        figures.overlay(ax, {"a": (A, B, bowl().T)}, **LABELS)
