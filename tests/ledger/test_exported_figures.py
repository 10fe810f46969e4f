"""The figures of a ledger's runs as files for papers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from implicit_bias import ledger, studies
from implicit_bias.errors import UserError
from implicit_bias.ledger.ledger import Ledger, Row
from implicit_bias.results import figures, store
from implicit_bias.studies.base import Drawing

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


def plotted(result: xr.Dataset) -> Figure:
    """Draw the only variable."""
    figure, ax = figures.axes(3, 2)
    ax.plot(result["x"].values)
    return figure


def kept(out: Path, numbers: list[float]) -> xr.Dataset:
    """Keep a run's result in a folder."""
    result = store.make(
        {"x": ("lane", np.array(numbers))}, {"lane_id": ("lane", np.arange(len(numbers)))},
        study="stability", settings={}, provenance={}, units={"x": "1"},
    )  # fmt: skip
    out.mkdir(parents=True)
    store.save(result, out / "results.nc")
    return result


def test_figures_of_every_run_are_drawn_once_from_its_own_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Breaks if runs get one another's figures, a run of several claims is drawn several times, what a result
    # does not hold is drawn, or a claim that no run decides fails.
    drawings = (
        Drawing("line", "a line", plotted),
        Drawing("absent", "of an arm that was not run", plotted, lambda result: False),
    )
    study = dataclasses.replace(studies.get("stability"), drawings=drawings)
    monkeypatch.setattr(studies, "get", {"stability": study}.__getitem__)
    results = {
        name: kept(tmp_path / "runs" / name, numbers)
        for name, numbers in (("one", [1.0, 3.0, 2.0]), ("two", [3.0, 1.0, 2.0]))
    }
    runs = [{"path": "runs/one"}, {"path": "runs/one"}, {"path": "runs/two"}, {}]
    rows = [
        Row(f"c.{place}", "chapter11", "stability", "smoke", "supported", run=run)
        for place, run in enumerate(runs)
    ]
    made = Ledger("smoke", tuple(rows))
    files = ledger.export_figures(made, tmp_path, "svg")
    assert [file.relative_to(tmp_path).as_posix() for file in files] == [
        "figures/one/line.svg", "figures/two/line.svg",
    ]  # fmt: skip
    for file, result in zip(files, results.values(), strict=True):
        assert file.read_bytes() == figures.image_bytes(plotted(result), "svg")
    assert files[0].read_bytes() != files[1].read_bytes()
    with pytest.raises(UserError, match="format is 'gif'"):
        ledger.export_figures(made, tmp_path, "gif")
