"""A forest of effects."""

from __future__ import annotations

from typing import Any

import numpy as np

from implicit_bias.results import figures
from tests.results.figures.sheets import assert_tidy


def finding(**more: Any) -> dict[str, Any]:
    given = {"id": "paper.claim", "kind": "statistical", "verdict": "supported", "effect": 2.0}
    return {**given, "interval": [1.0, 3.0], "smallest_effect": 0.5, **more}


def interval_drawn(ax: Any, row: int) -> tuple[float, float]:
    for line in ax.lines:
        x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
        if len(x) == 2 and (y == row).all():
            return x[0], x[1]
    raise AssertionError(f"no interval in row {row}")


def test_forest_measures_in_smallest_effects() -> None:
    # Breaks if an effect lands on the wrong side of its threshold: differences are divided, ratios
    # divided on a log scale, and an effect in the claimed (negative) direction goes right.
    arms = {
        "difference": finding(effect=1.0, interval=[0.5, 1.5], boundary=0.5, origin=0.0),
        "ratio": finding(effect=4.0, interval=[2.0, 8.0], boundary=2.0, origin=1.0),
        "downwards": finding(effect=-0.4, interval=[-0.6, -0.2], boundary=-0.2, origin=0.0),
    }
    judged = finding(verdict="conditional", details={"arms": arms, "headline": "ratio"})
    figure = figures.forest([judged], arms=True)
    ax = figure.axes[0]
    np.testing.assert_allclose(interval_drawn(ax, 1), [1, 3])
    np.testing.assert_allclose(interval_drawn(ax, 2), [1, 3])
    np.testing.assert_allclose(interval_drawn(ax, 3), [1, 3])
    names = [label.get_text().strip() for label in ax.get_yticklabels()]
    assert names == ["paper.claim", "difference", "ratio", "downwards"]
    assert_tidy(figure)
    # One row a claim: its own effect, on the scale of the arm that stands for it.
    (short,) = (figures.forest([{**judged, "effect": 4.0, "interval": [2.0, 8.0]}]).axes,)
    np.testing.assert_allclose(interval_drawn(short[0], 0), [1, 3])
    assert [label.get_text() for label in short[0].get_yticklabels()] == ["paper.claim (ratio)"]


def test_forest_knows_a_ratio_by_its_smallest_effect() -> None:
    # Breaks if, without an origin, "more than 1.25 times" is read as a difference of 1.25.
    arms = {"a": {"effect": 1.5625, "interval": [1.25, 1.953125], "boundary": 1.25}}
    ratio = finding(smallest_effect=0.25, effect=1.5625, details={"arms": arms})
    figure = figures.forest([{**ratio, "interval": [1.25, 1.953125]}])
    np.testing.assert_allclose(interval_drawn(figure.axes[0], 0), [1, 3])


def test_forest_counts_what_it_cannot_draw() -> None:
    # Breaks if undecided claims vanish, or an unbounded or far interval breaks the axis.
    far = finding(effect=50.0, interval=[40.0, None])
    without = [
        finding(id="paper.identity", kind="identity", effect=1e-3, interval=[-0.1, 0.1]),
        finding(id="paper.open", verdict="not-decided", effect=None, interval=None),
    ]
    assert figures.have_rows([*without, far])
    assert not figures.have_rows(without)
    figure = figures.forest([far, *without])
    assert_tidy(figure)
    assert figure.axes[0].get_xlim()[1] < 10
    notes = " ".join(artist.get_text() for artist in figure.artists)
    assert "only in the table: 2" in notes.replace("\n", " ")
    assert "Arrows" in notes
    assert_tidy(figures.forest([]))
