"""Lines through the loss: slices, and paths between networks."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import scipy.stats
from matplotlib.collections import LineCollection

from implicit_bias.errors import UserError
from implicit_bias.results import figures
from tests.results.figures.planes import (
    assert_on_page,
    entries,
    points,
)


def test_slice_lines_are_means_and_the_zoom_is_a_part() -> None:
    # Breaks if the zoom cuts values but not coordinates, or the shaded part is not what it shows.
    alpha = np.linspace(-1, 1, 41)
    rng = np.random.default_rng(0)
    values = {size: rng.random((5, 1)) * size * alpha**2 for size in (64, 4096)}
    values[64][0, 3] = np.nan
    names = {"xlabel": "α (relative)", "ylabel": "training loss (nats)"}
    figure, ax = figures.axes()
    text = figures.slice_lines(ax, alpha, values, marked=0.2, **names)
    figures.legend(figure, title="batch size")
    assert_on_page(figure)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("α (relative)", "training loss (nats)")
    lines = {line.get_label(): line for line in ax.lines}
    np.testing.assert_allclose(lines["4096"].get_ydata(), values[4096].mean(0))
    np.testing.assert_allclose(lines["64"].get_ydata()[3], values[64][1:, 3].mean())
    assert "64: 4 of 5" in text
    assert "enlarged" in entries(ax)
    assert ax.patches[0].get_extents().x1 == pytest.approx(
        ax.transData.transform((0.2, 0))[0], abs=1e-6
    )
    _, zoom = figures.axes()
    figures.slice_lines(zoom, alpha, values, within=0.2, **names)
    (line,) = [one for one in zoom.lines if one.get_label() == "64"]
    np.testing.assert_allclose(line.get_xdata(), alpha[np.abs(alpha) <= 0.2])
    np.testing.assert_allclose(line.get_ydata(), values[64][:, np.abs(alpha) <= 0.2].mean(0))


def test_one_seed_is_a_line_without_a_band() -> None:
    # Breaks if a vector is taken for many seeds of one point.
    _, ax = figures.axes()
    text = figures.slice_lines(
        ax, [0, 1, 2], {"a": [1, 2, 3]}, xlabel="α (1)", ylabel="loss (nats)"
    )
    assert ax.lines[0].get_ydata().tolist() == [1, 2, 3]
    assert not [one for one in ax.collections if any(len(p.vertices) for p in one.get_paths())]
    assert "n = 1" in text


@pytest.mark.parametrize(
    ("alpha", "values", "options", "message"),
    [
        ([0, 1, 2], np.ones((2, 4)), {}, r"give shape \(seeds, 3\) or \(3,\)"),
        ([0, 1, 2], np.ones((0, 3)), {}, "give shape"),
        ([0, 1, 2], np.ones((2, 3)), {"within": 0.5}, "at least two"),
        ([[0, 1, 2]], np.ones((2, 3)), {}, "at least two"),
    ],
)
def test_bad_slices_are_refused(alpha: Any, values: Any, options: Any, message: str) -> None:
    # Breaks if NumPy broadcasts a mistake into a picture.
    _, ax = figures.axes()
    with pytest.raises(UserError, match=message):
        figures.slice_lines(
            ax, alpha, {"a": values}, xlabel="α (1)", ylabel="loss (nats)", **options
        )


T = np.linspace(0, 1, 21)


def test_barrier_is_measured_from_the_line_between_the_ends() -> None:
    # Breaks if the barrier is taken above zero or above the mean of the ends: with ends 1 and 3 and
    # a parabola of height 2 on top, the rise at 1/2 is exactly 2, though the highest loss is 4.03.
    figure, ax = figures.axes()
    loss = 1 + 2 * T + 8 * T * (1 - T)
    text = figures.interpolation(ax, T, {"as trained": loss}, ylabel="loss (nats)")
    figures.legend(figure)
    figures.note(figure, text)
    assert_on_page(figure)
    np.testing.assert_allclose(points(ax, "as trained"), np.column_stack([T, loss]))
    np.testing.assert_allclose(points(ax, "straight line between the ends")[:, 1], 1 + 2 * T)
    (bar,) = [one for one in ax.collections if isinstance(one, LineCollection)]
    np.testing.assert_allclose(bar.get_segments()[0], [[0.5, 2.0], [0.5, 4.0]])
    assert "as trained: 2. A barrier" in text
    assert ax.get_ylabel() == "loss (nats)"
    assert "fraction" in ax.get_xlabel()


def test_barriers_are_each_pairs_own() -> None:
    # Breaks if the barrier of the mean curve stands for the mean of barriers: two pairs with bumps
    # at different places have a mean curve half as high. A pair that diverged has none.
    bump = (
        8
        * np.array([0.5, 0.6, 0.7, 0.0])[:, None]
        * np.maximum(0, 1 - 8 * np.abs(T[None, :] - np.array([[0.25], [0.5], [0.75], [0.5]])))
    )
    bump[3, 4] = np.nan
    _, ax = figures.axes()
    text = figures.interpolation(
        ax, T, {"as trained": bump, "matched": 0 * T}, ylabel="test error (%)"
    )
    tops = np.nanmax(bump[:3], 1)
    low, high = scipy.stats.t.interval(0.95, 2, tops.mean(), scipy.stats.sem(tops))
    found = re.search(r"as trained: (\S+) \[(\S+), (\S+)\] \(1 of 4 not finite\)", text)
    assert found
    np.testing.assert_allclose(
        [float(one.replace("−", "-")) for one in found.groups()],
        [tops.mean(), low, high],
        atol=0.06,  # two digits of the interval
    )
    assert "matched: 0" in text
    bars = [
        one for one in ax.collections if isinstance(one, LineCollection) and one.get_zorder() > 3
    ]
    assert len(bars) == 1  # no bar where nothing rises


@pytest.mark.parametrize(
    ("fractions", "values", "message"),
    [
        (T[1:], T[1:], "0 to 1"),
        (T[::-1], T, "0 to 1"),
        ([0, 1], [0, 1], "n >= 3"),
        (T, np.ones((2, 5)), r"\(seeds, 21\)"),
    ],
)
def test_bad_paths_are_refused(fractions: Any, values: Any, message: str) -> None:
    # Breaks if a path that starts beside a network is given a barrier.
    _, ax = figures.axes()
    with pytest.raises(UserError, match=message):
        figures.interpolation(ax, fractions, {"a": values}, ylabel="loss (nats)")
