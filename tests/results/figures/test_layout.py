"""Sheets: panels, strips that cover nothing, and files that are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.image
import numpy as np
import pytest
import xarray as xr

from implicit_bias.errors import UserError
from implicit_bias.results import figures
from implicit_bias.results.figures import Curve
from tests.results.figures.conftest import ARMS
from tests.results.figures.sheets import assert_tidy, drawn


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


def test_joint_note_says_once_what_panels_share() -> None:
    # Breaks if a sentence of one panel only is lost, or one of all is repeated.
    notes = {"λmax": "Points: 3 of 3 lanes. Rank 0.5.", "trace": "Points: 3 of 3 lanes. Rank 0.7."}
    text = figures.joint_note(notes)
    assert text == "λmax: Rank 0.5. trace: Rank 0.7. Points: 3 of 3 lanes."
    assert figures.joint_note({"a": "All.", "b": "All."}) == "All."


def test_legend_in_an_order() -> None:
    # Breaks if the entries stand as they were drawn, or those without a place are lost.
    figure, ax = figures.axes()
    for label in ("0.4", "threshold", "0.1"):
        ax.plot([0, 1], label=label)
    box = figures.legend(figure, order=["0.1", "0.4"])
    assert [text.get_text() for text in box.get_texts()] == ["0.1", "0.4", "threshold"]
