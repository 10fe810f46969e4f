"""Planes and lines through the loss: contours, surfaces, slices, paths between networks."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import scipy.stats
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.contour import QuadContourSet

from implicit_bias.errors import UserError
from implicit_bias.results import figures

A, B = np.linspace(-1, 1, 41), np.linspace(-1.5, 1.5, 31)
"""Different in number and reach, so that a plane drawn the wrong way round cannot pass."""

LABELS = {
    "xlabel": "direction 1 (filter-normalised, relative)",
    "ylabel": "direction 2 (filter-normalised, relative)",
    "label": "training loss (nats)",
}


def bowl(a0: float = 0.0, b0: float = 0.0, base: float = 0.1) -> np.ndarray:
    """Loss base + (a − a0)² + 4 (b − b0)², shape (41, 31)."""
    return base + (A[:, None] - a0) ** 2 + 4 * (B[None, :] - b0) ** 2


def sets(ax: Any, *, filled: bool) -> list[QuadContourSet]:
    return [
        one for one in ax.collections if isinstance(one, QuadContourSet) and one.filled == filled
    ]


def hatched(ax: Any) -> list[Any]:
    return [one for one in ax.collections if isinstance(one, PolyCollection) and one.get_hatch()]


def cells(ax: Any) -> set[tuple[float, ...]]:
    """Corners (left, low, right, high) of the hatched cells."""
    paths = [path.vertices for one in hatched(ax) for path in one.get_paths()]
    return {(*corners.min(0).round(6), *corners.max(0).round(6)) for corners in paths}


def entries(ax: Any) -> list[str]:
    return ax.get_legend_handles_labels()[1]


def points(ax: Any, label: str) -> np.ndarray:
    (line,) = [one for one in ax.lines if one.get_label() == label]
    return np.column_stack([line.get_xdata(), line.get_ydata()]).astype(float)


def assert_on_page(figure: Any) -> None:
    """Nothing is clipped by the page, and no strip lies on a panel."""
    figure.canvas.draw()
    renderer, page = figure.canvas.get_renderer(), figure.bbox
    boxes = [ax.get_tightbbox(renderer) for ax in figure.axes]
    strips = [one.get_window_extent(renderer) for one in (*figure.legends, *figure.artists)]
    for box in (*boxes, *strips):
        assert box.x0 >= page.x0 - 1
        assert box.y0 >= page.y0 - 1
        assert box.x1 <= page.x1 + 1
        assert box.y1 <= page.y1 + 1
    assert not any(strip.overlaps(box) for strip in strips for box in boxes)


# ------------------------------------------------------------------------------------------ levels


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.04, 12.0, [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]),
        (1e-4, 1e2, [1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100]),
        (1e-12, 1e12, 10.0 ** np.arange(-12, 13, 3)),
    ],
)
def test_log_levels_are_round_and_within(low: float, high: float, expected: Any) -> None:
    # Breaks if decades are skipped unevenly, a level lies outside, or there are more than asked.
    np.testing.assert_allclose(figures.contour_levels([low, high]), expected, rtol=1e-12)


def test_levels_of_a_short_range_still_part_it() -> None:
    # Breaks if only 1-2-5 numbers are tried, of which [0.301, 0.302] holds none.
    levels = figures.contour_levels([0.301, 0.302])
    assert 5 <= len(levels) <= 10
    assert 0.301 <= levels[0] < levels[-1] <= 0.302
    assert (np.diff(levels) > 0).all()


def test_linear_levels_have_equal_distances_and_serve_all_planes() -> None:
    # Breaks if panels that share levels take them from the first plane alone.
    levels = figures.contour_levels([0.0, 1.0], [[3.0, np.nan], [9.9, np.inf]], scale="linear")
    assert np.ptp(np.diff(levels)) < 1e-12
    assert levels[0] >= 0
    assert 9 <= levels[-1] <= 9.9


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([np.nan], {}, "no finite positive"),
        ([-1.0, 0.0], {}, "scale='linear'"),
        ([np.inf], {"scale": "linear"}, "no finite value"),
        ([1.0, 2.0], {"count": 1}, "count >= 2"),
        ([1.0, 2.0], {"scale": "lin"}, "unknown scale"),
    ],
)
def test_no_levels_to_choose(values: Any, options: Any, message: str) -> None:
    # Breaks if an empty range ends in a NumPy error about zero-size arrays.
    with pytest.raises(UserError, match=message):
        figures.contour_levels(values, **options)


# ----------------------------------------------------------------------------------------- contour


@pytest.mark.parametrize("filled", [True, False])
def test_contours_lie_where_the_loss_has_their_level(filled: bool) -> None:
    # Breaks if the plane is transposed or mirrored: the ellipse around (0.2, −0.3) would be
    # elsewhere. Tolerance: a parabola's linear interpolation errs by its curvature · step² / 8.
    figure, ax = figures.axes(5.0, 4.2)
    levels = [0.2, 0.5, 1.0, 2.0]
    text = figures.contour(ax, A, B, bowl(0.2, -0.3), levels=levels, filled=filled, **LABELS)
    (lines,) = sets(ax, filled=False)
    assert lines.levels.tolist() == levels
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        x, y = path.vertices.T
        values = 0.1 + (x - 0.2) ** 2 + 4 * (y + 0.3) ** 2
        np.testing.assert_allclose(values, level, atol=2 * 0.05**2 / 8 + 8 * 0.1**2 / 8)
    assert [areas.levels.tolist() for areas in sets(ax, filled=True)] == [levels] * filled
    assert "41 × 31 points." in text
    assert not filled or [one.get_ylabel() for one in ax.child_axes] == [LABELS["label"]]
    assert filled or "training loss (nats), at 0.2, 0.5, 1, 2" in text
    assert_on_page(figure)


def test_plane_is_labelled_and_marked() -> None:
    # Breaks if a label is lost, the marks are swapped, or units of equal length are drawn unequal.
    figure, ax = figures.axes(5.0, 4.2)
    text = figures.contour(ax, A, B, bowl(0.2, -0.3), **LABELS)
    figures.legend(figure)
    figures.note(figure, text)
    assert_on_page(figure)
    assert (ax.get_xlabel(), ax.get_ylabel()) == (LABELS["xlabel"], LABELS["ylabel"])
    assert points(ax, "centre").tolist() == [[0.0, 0.0]]
    np.testing.assert_allclose(points(ax, "lowest point of the grid"), [[0.2, -0.3]], atol=1e-12)
    assert "Lowest loss of the grid: 0.1." in text
    box = ax.get_window_extent()
    assert box.width / 2 == pytest.approx(box.height / 3, rel=1e-6)  # pixels per unit
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1, 1), (-1.5, 1.5))
    bar = ax.child_axes[0].get_window_extent()  # without its two arrows
    assert box.y0 < bar.y0 < bar.y1 < box.y1


def test_centre_off_the_grid_is_not_marked() -> None:
    # Breaks if the mark lies on the labels beside the axes.
    _, ax = figures.axes()
    figures.contour(ax, A + 5, B, bowl(), **LABELS)
    assert "centre" not in entries(ax)


def test_fills_lighten_evenly_in_grey() -> None:
    # Breaks if shades come from a map that is not monotone in lightness.
    _, ax = figures.axes()
    figures.contour(ax, A, B, bowl(), levels=[0.2, 0.5, 1, 2, 5], **LABELS)
    (areas,) = sets(ax, filled=True)
    luminance = areas.get_facecolor()[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert len(luminance) == 6  # both ends go on beyond the levels
    assert (np.diff(luminance) > 0.03).all()


@pytest.mark.parametrize(("size", "least"), [((5.0, 4.2), 4), ((2.4, 2.6), 1)])
def test_written_levels_are_those_of_the_lines_and_apart(size: Any, least: int) -> None:
    # Breaks if a label sits on another level's line, on another label (more likely on small axes)
    # or on the frame.
    figure, ax = figures.axes(*size)
    figures.contour(ax, A, B, bowl(), **LABELS)
    figure.canvas.draw()
    texts = [text for text in ax.texts if text.get_text()]
    assert len(texts) >= least
    for text in texts:
        x, y = text.get_position()
        # Within the grid's interpolation error, as above.
        assert float(text.get_text()) == pytest.approx(0.1 + x**2 + 4 * y**2, abs=0.02)
    boxes = [text.get_window_extent() for text in texts]
    assert not any(one.overlaps(two) for i, one in enumerate(boxes) for two in boxes[:i])
    frame = ax.get_window_extent()
    assert all(frame.x0 < box.x0 and box.x1 < frame.x1 for box in boxes)


def test_points_that_are_not_finite_are_hatched_and_counted() -> None:
    # Breaks if a hole is interpolated over, hatched elsewhere, or silent: an inner point touches
    # four cells, a corner one.
    loss = bowl()
    loss[10, 20], loss[40, 30] = np.nan, np.inf
    figure, ax = figures.axes(5.0, 4.2)
    text = figures.contour(ax, A, B, loss, **LABELS)
    figures.legend(figure)
    assert_on_page(figure)
    expected = {
        tuple(np.round([A[i], B[j], A[i + 1], B[j + 1]], 6))
        for i, j in [(9, 19), (10, 19), (9, 20), (10, 20), (39, 29)]
    }
    assert cells(ax) == expected
    assert "2 of them not finite" in text
    assert "not finite" in entries(ax)
    # What is drawn keeps away from the hole itself.
    inner = np.concatenate([p.vertices for p in sets(ax, filled=True)[0].get_paths() if len(p)])
    distance = np.abs(inner - [A[10], B[20]]) / [A[1] - A[0], B[1] - B[0]]
    assert distance.sum(1).min() > 0.999


@pytest.mark.parametrize(
    ("loss", "scale", "message"),
    [
        (np.full((41, 31), np.nan), "log", "1271 of them not finite"),
        (np.full((41, 31), 0.3), "log", "0.3 at every finite point"),
        (np.full((41, 31), -0.3), "linear", "-0.3 at every finite point"),
        (np.zeros((41, 31)), "log", "1271 not positive"),
        (bowl(base=0.0), "log", "1 not positive, below the lowest level"),
        (np.where(bowl() > 2, 1e30, bowl()), "log", "41 × 31 points."),
        (1e-4 * 10 ** (2 * bowl()), "log", "41 × 31 points."),
        (bowl() - 1, "linear", "Lowest loss of the grid: -0.9"),
    ],
)
def test_planes_at_the_edge_of_what_can_be_drawn(loss: Any, scale: Any, message: str) -> None:
    # Breaks if matplotlib warns (warnings are errors here) or fails on an empty or constant plane,
    # on zeros under a logarithm, or on values over many decades.
    figure, ax = figures.axes(3.4, 2.9)
    text = figures.contour(ax, A, B, loss, scale=scale, **LABELS)
    figures.legend(figure)
    figures.note(figure, text)
    assert_on_page(figure)
    assert message in text


def test_levels_outside_of_the_values_draw_no_line() -> None:
    # Breaks if panels that share levels fail where one plane has none of them.
    _, ax = figures.axes()
    figures.contour(ax, A, B, bowl(), levels=[100, 200], **LABELS)
    assert not sets(ax, filled=False)
    assert len(sets(ax, filled=True)) == 1


def test_panels_with_one_bar_have_one_size() -> None:
    # Breaks if the bar takes its room from the panel it stands at.
    levels = figures.contour_levels(bowl())

    def draw(ax: Any, name: str) -> None:
        figures.contour(ax, A, B, bowl(), levels=levels, bar=name == "b", **LABELS)

    figure = figures.panels("ab", draw, width=3.0, height=3.6)
    assert_on_page(figure)
    one, two = (ax.get_window_extent() for ax in figure.axes)
    assert (one.width, one.height) == pytest.approx((two.width, two.height), rel=1e-3)


@pytest.mark.parametrize(
    ("a", "b", "loss", "options", "message"),
    [
        (A, B, bowl().T, {}, r"shape \(31, 41\)"),
        (A[:, None], B, bowl(), {}, "a down the rows"),
        (A[::-1], B, bowl(), {}, "coordinate a .* increasing"),
        (A, np.zeros(31), bowl(), {}, "coordinate b .* increasing"),
        (A, B[:1], bowl()[:, :1], {}, "at least two"),
        (A, np.where(B > 1, np.nan, B), bowl(), {}, "finite"),
        (A, B, bowl(), {"levels": [1.0]}, "at least two"),
        (A, B, bowl(), {"levels": [2.0, 1.0]}, "increasing order"),
        (A, B, bowl(), {"scale": "sqrt"}, "unknown scale"),
    ],
)
def test_bad_planes_are_refused(a: Any, b: Any, loss: Any, options: Any, message: str) -> None:
    # Breaks if a transposed plane is drawn, or the mistake ends in a message of matplotlib's.
    _, ax = figures.axes()
    with pytest.raises(ValueError, match=message):
        figures.contour(ax, a, b, loss, **options, **LABELS)


def test_trajectory_keeps_its_order_and_the_axes() -> None:
    # Breaks if start and end are swapped, or the path stretches the plane.
    _, ax = figures.axes()
    figures.contour(ax, A, B, bowl(), **LABELS)
    places = np.array([[3.0, 1.0], [0.5, 0.4], [0.0, 0.0]])
    figures.trajectory(ax, places, "path")
    np.testing.assert_array_equal(points(ax, "path"), places)
    np.testing.assert_array_equal(points(ax, "path: start"), places[:1])
    np.testing.assert_array_equal(points(ax, "path: end"), places[-1:])
    assert ax.get_xlim() == (-1, 1)
    with pytest.raises(UserError, match=r"shape \(t, 2\)"):
        figures.trajectory(ax, places.T)


# ----------------------------------------------------------------------------------------- overlay


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
    assert "b: grid of 41 × 31 points, 1 of them not finite" in text
    assert "c: grid of 41 × 31 points, 1271 of them not finite" in text
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


# ----------------------------------------------------------------------------------------- surface

NAMES = {"xlabel": "direction 1 (relative)", "ylabel": "direction 2 (relative)"}


def facets(figure: Any) -> np.ndarray:
    (collection,) = figure.axes[0].collections
    if hasattr(collection, "_faces"):  # newer matplotlib
        return np.asarray(collection._faces)
    return np.asarray(collection._vec)[:3].T.reshape(-1, 4, 3)


def test_surface_has_the_losses_heights() -> None:
    # Breaks if the plane is transposed, the logarithm is of another base, or cells are lost.
    figure = figures.surface(A, B, bowl(0.2, -0.3), zlabel="loss (nats)", **NAMES)
    corners = facets(figure)
    assert len(corners) == 40 * 30
    x, y, z = corners.reshape(-1, 3).T
    np.testing.assert_allclose(10**z, 0.1 + (x - 0.2) ** 2 + 4 * (y + 0.3) ** 2, rtol=1e-6)
    ax: Any = figure.axes[0]
    assert ax.get_xlabel() == NAMES["xlabel"]
    assert ax.get_ylabel() == NAMES["ylabel"]
    assert ax.get_zlabel() == "loss (nats)"
    # Ticks say the loss, not its logarithm.
    for place, text in zip(ax.get_zticks(), ax.get_zticklabels(), strict=True):
        assert float(text.get_text()) == pytest.approx(10**place, rel=1e-6)
    assert_on_page(figure)


def test_surface_with_holes_and_a_lid() -> None:
    # Breaks if a hole is drawn as zero, or values above the lid vanish uncounted.
    loss = bowl()
    loss[10, 20] = np.nan
    figure = figures.surface(
        A, B, loss, zlabel="loss (nats)", scale="linear", top=5.0, width=3.4, height=3.0, **NAMES
    )
    corners = facets(figure)
    assert len(corners) == 40 * 30 - 4
    assert corners[..., 2].max() == 5.0
    text = " ".join(one.get_text() for one in figure.artists).replace("\n", " ")
    assert "1 of them not finite" in text
    assert f"{int((bowl() > 5).sum())} above 5" in text
    assert_on_page(figure)
    figures.surface(A, B, np.full_like(loss, np.nan), zlabel="loss (nats)", **NAMES)
    figures.surface(A, B, np.ones_like(loss), zlabel="loss (nats)", **NAMES)


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        (bowl().T, {}, "shape"),
        (bowl(), {"scale": "symlog"}, "unknown scale"),
        (bowl(), {"top": 0.05}, "choose a higher one"),
    ],
)
def test_bad_surfaces_are_refused(loss: Any, options: Any, message: str) -> None:
    # Breaks if a lid below everything draws a flat plate.
    with pytest.raises(UserError, match=message):
        figures.surface(A, B, loss, zlabel="loss (nats)", **NAMES, **options)


# ------------------------------------------------------------------------------------------ slices


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


# ----------------------------------------------------------------------------------- interpolation

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
    assert "as trained: 2. Lines" in text
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
