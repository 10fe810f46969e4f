"""Contours of one network, and what marks them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from implicit_bias.errors import UserError
from implicit_bias.results import figures
from tests.results.figures.planes import (
    LABELS,
    A,
    B,
    assert_on_page,
    bowl,
    cells,
    entries,
    points,
    sets,
)


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
    assert "Lowest loss of the grid: 0.1000." in text
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
        (np.full((41, 31), 0.3), "log", "0.3000 at every finite point"),
        (np.full((41, 31), -0.3), "linear", "-0.3000 at every finite point"),
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
