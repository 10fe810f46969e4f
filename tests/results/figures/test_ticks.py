"""Ticks of logarithmic axes."""

from __future__ import annotations

import numpy as np
import pytest

from implicit_bias.results.figures import Curve, curves_with_bands
from implicit_bias.results.figures.ticks import plain_log_ticks


@pytest.mark.parametrize(
    ("low", "high"), [(10.87, 11.31), (0.52, 0.57), (1.02, 1.9), (6e-4, 3e-3), (1, 4), (0.8, 3e6)]
)
def test_every_range_has_two_labels(low: float, high: float) -> None:
    # Breaks if a range without multiples of a power of ten has no number on it, or a long one a crowd.
    from matplotlib.figure import Figure

    figure = Figure()
    axis = figure.subplots()
    axis.set_yscale("log")
    axis.set_ylim(low, high)
    plain_log_ticks(axis.yaxis)
    figure.draw_without_rendering()
    labels = axis.yaxis.get_majorticklabels() + axis.yaxis.get_minorticklabels()
    shown = {
        one.get_text() for one in labels if low <= one.get_position()[1] <= high and one.get_text()
    }
    assert 2 <= len(shown) <= 12


@pytest.mark.parametrize("last", [3, 16, 2000])
def test_counts_have_no_ticks_between_them(last: int) -> None:
    # Breaks if there is a block 2.5.
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    x = np.linspace(1, last, 3).round()
    values = np.random.default_rng(0).uniform(size=(4, 3))
    curves_with_bands(axes, {"a": Curve.from_values(x, values)}, xlabel="block", ylabel="y")
    assert all(tick == round(tick) for tick in axes.get_xticks())
