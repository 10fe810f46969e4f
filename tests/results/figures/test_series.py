"""Curves: a line and its interval at each position, and who was left out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import xarray as xr

from implicit_bias.errors import UserError
from implicit_bias.results import figures
from implicit_bias.results.figures import Curve
from implicit_bias.results.statistics import mean_interval
from tests.results.figures.conftest import ARMS, SIZES


def test_mean_curve_is_scipys_t_interval() -> None:
    # Breaks if the degrees of freedom, the standard error or the quantile are wrong.
    values = np.random.default_rng(1).normal(3, 2, (7, 4))
    values[2, 1] = np.nan
    curve = Curve.from_values([1, 2, 3, 4], values, level=0.9)
    for at in range(4):
        kept = values[np.isfinite(values[:, at]), at]
        low, high = scipy.stats.t.interval(0.9, len(kept) - 1, kept.mean(), scipy.stats.sem(kept))
        np.testing.assert_allclose([curve.low[at], curve.high[at]], [low, high], rtol=1e-12)
    assert curve.used.tolist() == [7, 6, 7, 7]
    assert curve.dropped["not finite"].tolist() == [0, 1, 0, 0]


def test_curves_and_tables_use_one_interval() -> None:
    # Breaks if figures and the statistics module drift apart.
    values = np.random.default_rng(2).normal(3, 2, 9)
    curve, estimate = Curve.from_values([1], values[:, None]), mean_interval(values)
    np.testing.assert_allclose(
        [curve.centre[0], curve.low[0], curve.high[0]],
        [estimate.value, estimate.low, estimate.high],
        rtol=1e-12,
    )


def test_geometric_mean_is_the_mean_of_logarithms() -> None:
    # Breaks if the interval is not transformed back, or a value that is not positive counts.
    values = np.exp(np.random.default_rng(3).normal(0, 1, (6, 2)))
    values[0, 1] = -1.0
    curve = Curve.from_values([1, 2], values, summary="geometric mean")
    logs = np.log(values[1:, 1])
    low, high = scipy.stats.t.interval(0.95, 4, logs.mean(), scipy.stats.sem(logs))
    np.testing.assert_allclose(curve.centre[1], scipy.stats.gmean(values[1:, 1]), rtol=1e-12)
    np.testing.assert_allclose([curve.low[1], curve.high[1]], np.exp([low, high]), rtol=1e-12)
    assert curve.dropped["not positive"].tolist() == [0, 1]


def test_median_interval_covers_as_often_as_it_says() -> None:
    # Breaks if the ranks are off by one. For 8 values ranks 2 and 7 cover with 1 - 18/256 = 0.93,
    # ranks 1 and 8 with 1 - 2/256 = 0.992; for 5 values no pair reaches 0.95.
    values = np.arange(8.0)[:, None]
    at_95 = Curve.from_values([1], values, summary="median")
    assert (at_95.low[0], at_95.centre[0], at_95.high[0]) == (0.0, 3.5, 7.0)
    at_90 = Curve.from_values([1], values, summary="median", level=0.9)
    assert (at_90.low[0], at_90.high[0]) == (1.0, 6.0)
    few = Curve.from_values([1], values[:5], summary="median")
    assert few.centre[0] == 2.0
    assert math.isnan(few.low[0])


def test_one_lane_has_no_interval_and_none_has_no_line() -> None:
    # Breaks if a single seed is given a band of no width, as if it were certain.
    curve = Curve.from_values([1, 2], [[3.0, np.nan]])
    assert curve.centre[0] == 3.0
    assert np.isnan([curve.low[0], curve.high[0], curve.centre[1], curve.low[1]]).all()


def test_positions_are_sorted_with_their_values() -> None:
    # Breaks if x is sorted without its columns.
    curve = Curve.from_values([4, 1, 2], [[40.0, 10.0, 20.0], [42.0, 12.0, 22.0]])
    assert curve.x.tolist() == [1, 2, 4]
    assert curve.centre.tolist() == [11.0, 21.0, 41.0]


def test_ragged_tail_is_cut_on_request() -> None:
    # Breaks if a mean over the one lane left stands for the group.
    values = np.ones((4, 2))
    values[1:, 1] = np.nan
    assert Curve.from_values([1, 2], values).centre[1] == 1.0
    assert np.isnan(Curve.from_values([1, 2], values, least=0.5).centre[1])


@pytest.mark.parametrize(
    ("x", "values", "options", "message"),
    [
        ([1, 2], np.ones((3, 3)), {}, "shape"),
        ([1], np.ones(1), {}, "shape"),
        ([1], np.ones((2, 1)), {"summary": "mode"}, "mode"),
        ([1], np.ones((2, 1)), {"level": 95}, "between 0 and 1"),
    ],
)
def test_bad_curves_are_refused(x: Any, values: Any, options: Any, message: str) -> None:
    # Breaks if NumPy broadcasts a mistake into a picture.
    with pytest.raises(UserError, match=message):
        Curve.from_values(x, values, **options)


def test_lanes_become_curves(result: xr.Dataset) -> None:
    # Breaks if lanes go to a wrong arm or batch size, or the factor is lost.
    curves = figures.curves(result, "test_error", x="batch_size", by="arm", factor=100)
    assert list(curves) == list(ARMS)
    curve = curves["tuned"]
    assert curve.x.tolist() == list(SIZES)
    frame = result[["test_error", "arm", "batch_size"]].to_dataframe()
    expected = 100 * frame[frame["arm"] == "tuned"].groupby("batch_size")["test_error"].mean()
    np.testing.assert_allclose(curve.centre, expected.to_numpy(), rtol=1e-12)


def test_diverged_lanes_are_dropped_and_counted(result: xr.Dataset) -> None:
    # Breaks if a diverged lane's 1e30 enters the mean, or its loss is silent.
    curves = figures.curves(
        result, "lambda_max", x="batch_size", by="arm", summary="geometric mean"
    )
    curve = curves["epochs-linear"]
    assert curve.used.tolist() == [6, 6, 6, 4]
    assert curve.centre.max() < 1e3
    note = figures.count_note(curves)
    assert "n = 6 seeds, except epochs-linear: 4 of 6 at 1024 (2 diverged)." in note
    assert "geometric mean" in note
    assert "95 %" in note


def test_note_says_which_band_goes_with_which_line(result: xr.Dataset) -> None:
    # Breaks if lines and bands are two sorted lists, so that a mean seems to have intervals of logarithms.
    means = figures.curves(result, "test_error", x="batch_size", by="arm")
    ratios = figures.curves(
        result, "lambda_max", x="batch_size", by="arm", summary="geometric mean"
    )
    note = figures.count_note({"a": means["tuned"], "b": ratios["tuned"]})
    pairs = [f"{one.line} with {one.band}" for one in (ratios["tuned"], means["tuned"])]
    assert note.startswith(f"Lines with bands: {'; '.join(pairs)}; n = ")
    assert means["tuned"].band != ratios["tuned"].band


def test_note_groups_curves_that_lost_alike() -> None:
    # Breaks if thirty arms with the same loss fill the page, or a long list hides the worst.
    whole = np.ones((4, 1))
    hurt = whole.copy()
    hurt[0] = np.nan
    curves: dict[Any, Curve] = {
        size: Curve.from_values([1], hurt if size > 2 else whole) for size in range(1, 6)
    }
    assert "except B = 3, B = 4, B = 5: 3 of 4 (1 not finite)." in figures.count_note(
        curves, label="B = {}"
    )
    mixed: dict[Any, Curve] = {}
    for lost in range(1, 9):
        values = np.ones((10, 1))
        values[:lost] = np.nan
        mixed[lost] = Curve.from_values([1], values)
    assert "8 of 8 curves, at worst 8: 2 of 10 (8 not finite)" in figures.count_note(mixed)


def test_logs_with_different_steps_share_a_grid() -> None:
    # Breaks if ragged logs are averaged by column instead of by step, or padding counts as missing.
    data = xr.Dataset(
        {
            "loss": (("lane", "probe"), [[3.0, 2.0, 1.0], [5.0, 1.0, np.nan]]),
            "step": (("lane", "probe"), [[0.0, 10.0, 20.0], [0.0, 20.0, np.nan]]),
        }
    )
    curve = next(iter(figures.curves(data, "loss", x="step").values()))
    assert curve.x.tolist() == [0, 10, 20]
    assert curve.centre.tolist() == [4.0, 2.0, 1.0]
    assert curve.total.tolist() == [2, 1, 2]
    assert not curve.dropped


def test_numeric_groups_come_in_order() -> None:
    # Breaks if the legend lists batch sizes as the lanes happen to lie.
    data = xr.Dataset(
        {"y": ("lane", [1.0, 2.0, 3.0])},
        coords={"b": ("lane", [512, 8, 64]), "x": ("lane", [1, 1, 1])},
    )
    assert list(figures.curves(data, "y", x="x", by="b")) == [8, 64, 512]


def test_unknown_variable_is_named(result: xr.Dataset) -> None:
    # Breaks if a typing mistake ends in a KeyError.
    with pytest.raises(UserError, match="lambda_max"):
        figures.curves(result, "lambda_mx", x="batch_size")


def test_bands_end_where_the_quantity_does() -> None:
    # Breaks if the band of an accuracy is drawn beyond 100 %.
    values = np.array([[99.0, 50.0], [100.0, 51.0], [100.0, 52.0]])
    curve = Curve.from_values([0, 1], values, bounds=(0.0, 100.0))
    free = Curve.from_values([0, 1], values)
    assert free.high[0] > 100.0
    assert curve.high.tolist() == [100.0, free.high[1]]
    assert curve.low.tolist() == free.low.tolist()
