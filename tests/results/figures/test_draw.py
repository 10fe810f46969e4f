"""What is drawn inside axes lies where the numbers are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import PolyCollection

from implicit_bias.results import figures
from implicit_bias.results.figures import Curve
from tests.results.figures.conftest import SIZES
from tests.results.figures.sheets import assert_tidy, bands, drawn


def test_bands_and_lines_are_where_the_numbers_are() -> None:
    # Breaks if the band is drawn from anything but the interval.
    x = np.array([16, 64, 256])
    curve = Curve.from_values(x, np.random.default_rng(4).normal(5, 1, (5, 3)))
    figure, ax = figures.axes()
    figures.curve_by_group(ax, {"a": curve}, xlabel="batch size (examples)", ylabel="error (%)")
    drawn(figure)
    (vertices,) = bands(ax)
    for at in range(3):
        heights = vertices[vertices[:, 0] == x[at], 1]
        np.testing.assert_allclose([heights.min(), heights.max()], [curve.low[at], curve.high[at]])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), curve.centre)
    bottom, top = ax.get_ylim()
    assert bottom <= curve.low.min()
    assert top >= curve.high.max()


def test_axes_carry_labels_and_the_batch_sizes_as_ticks(result: xr.Dataset) -> None:
    # Breaks if a label is lost, or ticks fall on numbers that are no batch size.
    curves = figures.curves(result, "test_error", x="batch_size", by="arm")
    figure, ax = figures.axes()
    figures.curve_by_group(ax, curves, xlabel="batch size (examples)", ylabel="error (fraction)")
    drawn(figure)
    assert ax.get_xlabel() == "batch size (examples)"
    assert ax.get_ylabel() == "error (fraction)"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [str(size) for size in SIZES]
    assert ax.get_xscale() == "log"


def test_lone_position_gets_an_error_bar() -> None:
    # Breaks if an interval without neighbours is a band of no width, that is, invisible.
    values = np.array([[1.0, np.nan, 2.0], [3.0, np.nan, 4.0]])
    _, ax = figures.axes()
    figures.curve_by_group(
        ax, {"a": Curve.from_values([1, 2, 4], values)}, xlabel="x (1)", ylabel="y (1)"
    )
    bars = [one for one in ax.collections if not isinstance(one, PolyCollection)]
    assert sum(len(bar.get_segments()) for bar in bars) == 2


def test_interval_that_reaches_zero_on_a_log_axis() -> None:
    # Breaks if a t-interval below zero empties the band or stretches the axis to 1e-300.
    values = np.array([[0.1, 1.0], [0.001, 2.0]])
    figure, ax = figures.axes()
    curve = Curve.from_values([1, 2], values)
    assert curve.low[0] < 0
    figures.curve_by_group(ax, {"a": curve}, xlabel="x (1)", ylabel="y (1)", yscale="log")
    drawn(figure)
    assert ax.get_ylim()[0] > 1e-3
    (vertices,) = bands(ax)
    assert vertices[:, 1].min() > 0


@pytest.mark.parametrize("scale", ["linear", "log", "symlog"])
def test_curves_over_steps(result: xr.Dataset, scale: Any) -> None:
    # Breaks if a scale fails on a log that starts at step 0, or a legend is lost.
    curves = figures.curves(result, "log_train_loss", x="log_step", by="batch_size")
    figure, ax = figures.axes()
    figures.curves_with_bands(
        ax, curves, xlabel="step (updates)", ylabel="loss (nats)", xscale=scale, yscale="log"
    )
    box = figures.legend(figure, title="batch size")
    figures.note(figure, figures.count_note(curves, label="batch size {}"))
    assert_tidy(figure)
    assert [text.get_text() for text in box.get_texts()] == [str(size) for size in SIZES]
    first = ax.lines[0].get_xdata()
    assert first.min() == (5 if scale == "log" else 0)  # no logarithm of 0
    if scale == "symlog":  # the smallest positive step is not pressed into the linear part
        assert ax.xaxis.get_transform().linthresh <= 5


def test_empty_and_wholly_lost_curves_draw() -> None:
    # Breaks if a sweep in which everything diverged cannot be reported.
    curve = Curve.from_values([16, 64], np.full((3, 2), np.nan))
    for scale in ("linear", "log"):
        figure, ax = figures.axes()
        figures.curve_by_group(
            ax,
            {"a": curve},
            xlabel="x (1)",
            ylabel="y (1)",
            yscale=scale,  # type: ignore[arg-type]
        )
        figures.legend(figure)
        figures.note(figure, figures.count_note({"a": curve}))
        assert_tidy(figure)
        assert "no value to draw" in [text.get_text() for text in ax.texts]


def test_reference_line_is_in_the_legend() -> None:
    # Breaks if a threshold is drawn that nothing explains.
    figure, ax = figures.axes()
    figures.reference_line(ax, 2.0, "2/η")
    box = figures.legend(figure)
    assert [text.get_text() for text in box.get_texts()] == ["2/η"]
    assert ax.lines[0].get_ydata() == [2.0, 2.0]
