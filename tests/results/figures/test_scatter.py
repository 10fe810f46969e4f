"""A scatter plot has a point for each lane, and says which have none."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from implicit_bias.errors import UserError
from implicit_bias.results import figures
from tests.results.figures.sheets import assert_tidy


def test_scatter_shows_each_lane_once(result: xr.Dataset) -> None:
    # Breaks if a lane is lost without a word, or drawn under a wrong marker or shade.
    figure, ax = figures.axes()
    legends, note = figures.scatter_by_group(
        ax,
        result["lambda_max"],
        100 * result["test_error"],
        result["arm"].values,
        result["batch_size"].values,
        xlabel="λmax (nats)",
        ylabel="test error (%)",
        group_title="arm",
        shade_title="batch size",
        xscale="log",
    )
    for entry in legends:
        figures.legend(figure, entry.handles, title=entry.title, side="right")
    figures.note(figure, note)
    assert_tidy(figure)
    shown = sum(len(line.get_xdata()) for line in ax.lines)
    assert shown == result.sizes["lane"] - 2
    assert "118 of 120 lanes; 2 could not be drawn" in note
    assert [entry.title for entry in legends] == ["arm", "batch size"]
    by_marker = {handle.get_label(): handle.get_marker() for handle in legends[0].handles}
    by_shade = {handle.get_label(): handle.get_markerfacecolor() for handle in legends[1].handles}
    at = int(np.flatnonzero((result["arm"] == "tuned") & (result["batch_size"] == 256))[0])
    (line,) = [one for one in ax.lines if float(result["lambda_max"][at]) in one.get_xdata()]
    assert line.get_marker() == by_marker["tuned"]
    assert line.get_markerfacecolor() == by_shade["256"]


def test_scatter_refuses_unequal_lengths() -> None:
    # Breaks if NumPy broadcasts one value over all lanes.
    _, ax = figures.axes()
    with pytest.raises(UserError, match="lengths"):
        figures.scatter_by_group(ax, [1.0, 2.0], [1.0], ["a", "b"], xlabel="x (1)", ylabel="y (1)")


def test_scatter_says_who_was_left_out() -> None:
    # Breaks if lanes that missed their target are drawn, or left out in silence.
    _, ax = figures.axes()
    missed, diverged = np.array([0, 1, 1, 0], bool), np.array([0, 0, 1, 0], bool)
    _, note = figures.scatter_by_group(
        ax, [1.0, 2, 3, np.nan], [1.0, 2, 3, 4], list("aabb"), xlabel="x (1)", ylabel="y (1)",
        dropped={"diverged": diverged, "missed the target": missed},
    )  # fmt: skip
    shown = np.concatenate([np.asarray(line.get_xdata(), float) for line in ax.lines])
    assert shown.tolist() == [1.0]
    counted = "1 diverged; 1 missed the target; 1 could not be drawn (not finite)"
    assert note == f"Points: 1 of 4 lanes; {counted}."
