"""Figures: what they show is what the data say, and nothing covers anything."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.image
import numpy as np
import pytest
import scipy.stats
import xarray as xr
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb

from implicit_bias.errors import UserError
from implicit_bias.results import figures
from implicit_bias.results.figures import Curve
from implicit_bias.results.figures.style import DASHES, MARKERS, PALETTE
from implicit_bias.results.statistics import mean_interval

ARMS = ("epochs-fixed", "epochs-linear", "updates-fixed", "tuned", "noise")
SIZES = (16, 64, 256, 1024)
SEEDS = 6


@pytest.fixture(scope="module")
def result() -> xr.Dataset:
    """A made-up sweep: arms × batch sizes × seeds, where 2 of 6 lanes of one cell diverged."""
    rng = np.random.default_rng(0)
    rows = list(itertools.product(ARMS, SIZES, range(SEEDS)))
    arm, size, seed = (np.array(column) for column in zip(*rows, strict=True))
    slope = 0.2 + 0.2 * np.array([ARMS.index(name) for name in arm])
    doublings = np.log2(size / 16)
    error = 0.04 + 0.003 * slope * doublings + rng.normal(0, 0.003, len(rows))
    sharpness = np.exp(1.5 + 0.2 * slope * doublings + rng.normal(0, 0.2, len(rows)))
    diverged = (arm == "epochs-linear") & (size == 1024) & (seed < 2)
    error[diverged], sharpness[diverged] = np.nan, 1e30
    steps = np.broadcast_to(np.arange(0, 101, 5.0), (len(rows), 21))
    loss = 2.3 * np.exp(-steps / 20) + 0.05 + 0.01 * rng.random(steps.shape)
    radii = np.array([0.01, 0.03, 0.1, 0.3, 1.0])
    rise = np.minimum(sharpness, 50)[:, None] * radii[None, :] ** 2 / 2
    return xr.Dataset(
        {
            "test_error": ("lane", error, {"units": "fraction"}),
            "lambda_max": ("lane", sharpness),
            "diverged": ("lane", diverged),
            "log_step": (("lane", "probe"), steps),
            "log_train_loss": (("lane", "probe"), loss),
            "rise": (("lane", "radius"), rise),
        },
        coords={
            "arm": ("lane", arm),
            "batch_size": ("lane", size),
            "seed": ("lane", seed),
            "radius": radii,
        },
    )


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


# --------------------------------------------------------------------------------------- summaries


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


# ---------------------------------------------------------------------------------- from a dataset


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


# ------------------------------------------------------------------------------------------- looks


def lightness(colour: str) -> float:
    linear = np.array(to_rgb(colour))
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return 116 * np.cbrt(luminance) - 16 if luminance > 0.008856 else 903.3 * luminance


def test_colours_differ_in_grey() -> None:
    # Breaks if two colours print as one grey, or one is too pale to see on white.
    greys = sorted(lightness(colour) for colour in PALETTE)
    assert min(np.diff(greys)) >= 5
    assert min(np.diff(sorted(lightness(colour) for colour in PALETTE[:4]))) >= 18
    assert greys[-1] < 76


def test_groups_are_told_apart_without_colour() -> None:
    # Breaks if marker and dash repeat before eight groups are through.
    looks = list(figures.categorical(range(len(PALETTE))).values())
    assert len({(look.marker, str(look.dash)) for look in looks}) == len(looks)
    assert math.gcd(len(PALETTE), len(MARKERS)) == 1  # so that colours repeat with other markers
    assert math.gcd(len(PALETTE), len(DASHES)) == 1


def test_ordered_shades_darken_evenly() -> None:
    # Breaks if a shade map is used that is not monotone in grey.
    greys = [lightness(look.colour) for look in figures.ordered(range(6)).values()]
    steps = np.diff(greys)
    assert (steps < -5).all()


def test_style_leaves_no_trace() -> None:
    # Breaks if importing or drawing changes the user's matplotlib settings, or obeys them.
    with matplotlib.rc_context({"font.size": 31.0, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        _, ax = figures.axes()
        figures.curve_by_group(ax, {}, xlabel="x (1)", ylabel="y (1)")
        assert ax.xaxis.label.get_size() < 12
        assert to_rgb(ax.get_facecolor()) == (1, 1, 1)
        assert dict(matplotlib.rcParams) == before


def test_import_is_light() -> None:
    # Breaks if importing the figures loads matplotlib, or drawing loads pyplot and a window system.
    code = (
        "import sys; from implicit_bias.results import figures, table, report;"
        "assert 'matplotlib' not in sys.modules;"
        "f, ax = figures.axes(); figures.image_bytes(f);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------------------------------- drawings


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


def test_panels_share_axes_and_label_the_edges(result: xr.Dataset) -> None:
    # Breaks if panels cannot be compared, a panel above an empty place loses its axis, or the
    # legend covers data.
    looks = figures.categorical(ARMS)
    curves = figures.curves(result, "test_error", x="batch_size", by="arm", factor=100)

    def draw(ax: Any, arm: str) -> None:
        figures.curve_by_group(
            ax,
            {ARMS[0]: curves[ARMS[0]], arm: curves[arm]},
            styles=looks,
            xlabel="batch size (examples)",
            ylabel="test error (%)",
        )

    figure = figures.panels(ARMS, draw, columns=3, title="Test error")
    box = figures.legend(figure)
    figures.note(figure, figures.count_note(curves))
    assert_tidy(figure)
    assert [ax.get_title(loc="left") for ax in figure.axes] == list(ARMS)
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    assert [bool(ax.get_ylabel()) for ax in figure.axes] == [True, False, False, True, False]
    assert [bool(ax.get_xlabel()) for ax in figure.axes] == [False, False, True, True, True]
    # The axis of a panel above an empty place does not push the rows apart.
    gap = figure.axes[0].get_window_extent().y0 - figure.axes[3].get_window_extent().y1
    assert gap < 0.45 * figure.dpi
    third = figure.axes[2]  # nothing below it
    assert any(tick.label1.get_visible() for tick in third.xaxis.get_major_ticks())
    assert [text.get_text() for text in box.get_texts()] == list(ARMS)  # each label once


def test_strips_leave_panels_their_size(result: xr.Dataset) -> None:
    # Breaks if a long legend squeezes the panels instead of growing the figure.
    curves = figures.curves(result, "test_error", x="batch_size", by="arm")
    sizes = []
    for strips in (False, True):
        figure, ax = figures.axes()
        figures.curve_by_group(ax, curves, xlabel="x (1)", ylabel="y (1)")
        if strips:
            figures.legend(figure)
            figures.legend(figure, title="again", side="right")
            figures.note(figure, "word " * 80)
        drawn(figure)
        box = ax.get_window_extent()
        sizes.append((box.width, box.height))
        assert_tidy(figure)
    np.testing.assert_allclose(sizes[0], sizes[1], rtol=0.02)


def test_legend_reads_row_by_row() -> None:
    # Breaks if batch sizes read 16, 256, 32, 512 because matplotlib fills columns first.
    values = np.random.default_rng(5).random((3, 2))
    curves: dict[Any, Curve] = {
        f"a rather long name {size}": Curve.from_values([1, 2], values + size) for size in range(7)
    }
    figure, ax = figures.axes(4.0, 2.5)
    figures.curve_by_group(ax, curves, xlabel="x (1)", ylabel="y (1)")
    box = figures.legend(figure)
    assert_tidy(figure)
    renderer = drawn(figure)
    places = {text.get_text(): text.get_window_extent(renderer) for text in box.get_texts()}
    read = sorted(places, key=lambda name: (-round(places[name].y0 / 8), places[name].x0))
    assert read == list(curves)


def test_reference_line_is_in_the_legend() -> None:
    # Breaks if a threshold is drawn that nothing explains.
    figure, ax = figures.axes()
    figures.reference_line(ax, 2.0, "2/η")
    box = figures.legend(figure)
    assert [text.get_text() for text in box.get_texts()] == ["2/η"]
    assert ax.lines[0].get_ydata() == [2.0, 2.0]


# ------------------------------------------------------------------------------------------ forest


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
    figure = figures.forest(
        [
            finding(effect=50.0, interval=[40.0, None]),
            finding(id="paper.identity", kind="identity", effect=1e-3, interval=[-0.1, 0.1]),
            finding(id="paper.open", verdict="not-decided", effect=None, interval=None),
        ]
    )
    assert_tidy(figure)
    assert figure.axes[0].get_xlim()[1] < 10
    notes = " ".join(artist.get_text() for artist in figure.artists)
    assert "only in the table: 2" in notes.replace("\n", " ")
    assert "Arrows" in notes
    assert_tidy(figures.forest([]))


# ------------------------------------------------------------------------------------------- files


def test_saved_files_are_whole_and_reproducible(tmp_path: Path) -> None:
    # Breaks if a picture is blank, carries a date, or leaves temporary files.
    def draw() -> Any:
        figure, ax = figures.axes()
        curve = Curve.from_values([1, 2, 4], np.arange(9.0).reshape(3, 3) + 1)
        figures.curve_by_group(ax, {"a": curve}, xlabel="x (1)", ylabel="y (1)")
        figures.legend(figure)
        figures.note(figure, "note")
        return figure

    paths = figures.save(draw(), tmp_path / "new" / "test.error", ("png", "svg", "pdf"))
    assert [path.name for path in paths] == ["test.error.png", "test.error.svg", "test.error.pdf"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(
        path.name for path in paths
    )
    again = figures.save(draw(), tmp_path / "again", ("png", "svg", "pdf"))
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]
    pixels = matplotlib.image.imread(paths[0])
    assert pixels.shape[1] == 900  # 6 inches at 150 dots
    assert np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0).shape[0] > 20
    assert (pixels[..., :3].mean(-1) < 0.5).mean() > 0.001
    assert paths[2].read_bytes().startswith(b"%PDF")
    assert b"<svg" in paths[1].read_bytes()


def test_unknown_format_writes_nothing(tmp_path: Path) -> None:
    # Breaks if half of the formats are written before the mistake is found.
    figure, _ = figures.axes()
    with pytest.raises(UserError, match="png, pdf, svg"):
        figures.save(figure, tmp_path / "a", ("png", "gif"))
    assert not list(tmp_path.iterdir())


def test_no_panels_is_refused() -> None:
    # Breaks if an empty study ends in a division by zero.
    with pytest.raises(UserError, match="no panels"):
        figures.panels([], lambda ax, name: None)
