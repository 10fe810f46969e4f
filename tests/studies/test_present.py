"""From a result to files: verdicts, tables, figures, report."""

from __future__ import annotations

import dataclasses
import html
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from implicit_bias.errors import UserError
from implicit_bias.results import figures, store
from implicit_bias.results.claims import Claim, Finding, NotDecidable
from implicit_bias.results.table import make_table
from implicit_bias.studies import StudySettings, present
from implicit_bias.studies.base import Drawing, Study


def _result(examples: int = 3) -> xr.Dataset:
    lanes = 4
    return store.make(
        {
            "loss": ("lane", np.linspace(0.1, 0.4, lanes)),
            "log_loss": (("lane", "probe"), np.arange(8.0).reshape(lanes, 2)),
            "wrong": (("lane", "example"), np.zeros((lanes, examples), bool)),
        },
        {
            "lane_id": ("lane", np.array(list("abcd"), object)),
            "seed": ("lane", [0, 0, 1, 1]),
            "arm": ("lane", np.array(["x", "y", "x", "y"], object)),
        },
        study="shown",
        settings={"step_size": 0.125, "note": "a <b> & c"},
        provenance={"python": "3.11.0"},
        units={"loss": "nats", "log_loss": "nats", "wrong": "1"},
    )


def _lower(result: xr.Dataset) -> Finding:
    return Finding("supported", float(result["loss"].mean()), (0.1, 0.4), 2)


def _absent(result: xr.Dataset) -> Finding:
    raise NotDecidable("arm z was not run")


def _draw(result: xr.Dataset) -> Any:
    figure, ax = figures.axes()
    ax.plot(result["loss"].values)
    return figure


STUDY = Study(
    name="shown",
    title="A study to show",
    settings=StudySettings,
    stages=(),
    claims=(
        Claim("shown.loss", "statistical", "a page", "Loss is low", 0.2, "below 1", _lower),
        Claim("shown.absent", "required-control", "a page", "Arm z too", None, "any", _absent),
        Claim("shown.again", "statistical", "a page", "Still low", None, "below 1", _lower),
    ),
    tables=lambda result: [make_table(["arm", "lanes"], [["x", 2], ["y", 2]], caption="Two arms")],
    drawings=(Drawing("losses", "Losses of all lanes.", _draw),),
    methods="First paragraph.\n\nSecond paragraph.",
)


# Breaks if a file is missing, is not told of, or holds something else than what is returned.
def test_files(tmp_path: Path) -> None:
    made = present.present(STUDY, _result(), tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in made.files} == {
        "claims.json", "results.csv", "results_probe.csv", "results_example.csv",
        "figures/losses.png", "report.html",
    }  # fmt: skip
    assert all(path.is_file() for path in made.files)
    assert made.files[-1].name == "report.html"
    assert [finding.verdict for finding in made.findings] == [
        "supported", "not-decided", "supported",
    ]  # fmt: skip
    assert [table.caption for table in made.tables] == ["Two arms"]
    claims = json.loads((tmp_path / "claims.json").read_text())
    assert [entry["id"] for entry in claims] == [claim.id for claim in STUDY.claims]
    assert claims[0]["effect"] == pytest.approx(0.25)
    assert claims[0]["interval"] == [0.1, 0.4]
    assert claims[1]["reason"] == "arm z was not run"
    assert claims[1]["kind"] == "required-control"
    assert (tmp_path / "figures" / "losses.png").read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(tmp_path / "results.csv")
    np.testing.assert_allclose(table["loss"], np.linspace(0.1, 0.4, 4))
    assert table["arm"].tolist() == ["x", "y", "x", "y"]


# Breaks if the report leaves out something that a reader needs, or lets a setting's text be HTML.
def test_report(tmp_path: Path) -> None:
    present.present(STUDY, _result(), tmp_path)
    page = (tmp_path / "report.html").read_text()
    shown = html.unescape(page)
    for text in (
        "A study to show", "3 claims: 2 supported, 1 not-decided.", "shown.loss", "Arm z too",
        "arm z was not run", "Two arms", "Losses of all lanes.", "First paragraph.",
        "Second paragraph.", "0.125", "3.11.0", "a <b> & c",
    ):  # fmt: skip
        assert text in shown, text
    assert "a <b> & c" not in page
    # One file that needs no other, and no network.
    assert "data:image/png;base64," in page
    assert 'src="http' not in page


# Breaks if a record of every test example fills the disk as text; results.nc has it.
def test_large_variables_are_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(present, "LARGEST_TABLE", 100)
    made = present.present(STUDY, _result(examples=26), tmp_path)
    assert "results_example.csv" not in {path.name for path in made.files}
    assert not (tmp_path / "results_example.csv").exists()
    assert (tmp_path / "results_probe.csv").is_file()


# Breaks if the same result is presented in another way the second time, or a study without tables,
# claims and figures cannot be presented.
def test_again_and_with_nothing(tmp_path: Path) -> None:
    made = present.present(STUDY, _result(), tmp_path)
    before = {path: path.read_bytes() for path in made.files}
    assert present.present(STUDY, _result(), tmp_path).files == made.files
    assert {path: path.read_bytes() for path in made.files} == before
    bare = dataclasses.replace(STUDY, claims=(), tables=lambda result: (), drawings=(), methods="")
    made = present.present(bare, _result(), tmp_path)
    assert made.findings == []
    assert json.loads((tmp_path / "claims.json").read_text()) == []


# Breaks if a folder that cannot be written to gives a traceback.
def test_unwritable(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"claims\.json"):
        present.present(STUDY, _result(), tmp_path / "absent")
    (tmp_path / "report.html").mkdir()
    with pytest.raises(UserError, match=r"report\.html"):
        present.present(STUDY, _result(), tmp_path)


def test_lanes_that_diverged_are_told_of_with_their_arms(tmp_path: Path) -> None:
    # Breaks if a comparison that lost its seeds to divergence looks like any other.
    result = _result()
    assert present.diverged_words(result) == ""
    result["diverged"] = ("lane", [False, True, False, True])
    said = "2 of 4 lanes diverged and are left out in pairs: y."
    assert present.diverged_words(result) == said
    study = Study("shown", "Shown", StudySettings, (), ())
    present.present(study, result, tmp_path)
    assert said in (tmp_path / "report.html").read_text(encoding="utf-8")
    result["diverged"] = ("lane", [False] * 4)
    assert present.diverged_words(result) == ""
