"""Reading ledgers: what is damaged is refused as a whole, in one line."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from implicit_bias import ledger
from implicit_bias.errors import UserError
from implicit_bias.ledger.ledger import SCHEMA, Row

ROW = asdict(
    Row(
        "ch11.A.4", "chapter11", "minimum-norm", "laptop", "conditional", 0.5, (0.4, None), 5, condition="so",
        arms={"a": {"verdict": "supported", "effect": 0.5, "interval": [0.4, 0.6], "n": 5}},
        run={"path": "runs/x"}, follow_ups={"ch11.A.4.own": "refuted"},
    )
)  # fmt: skip


def write(file: Path, *rows: Any) -> Path:
    """Write a ledger as its JSON would be, NaN and infinities in Python's words."""
    file.write_text(json.dumps({"schema": SCHEMA, "scale": "laptop", "rows": list(rows)}))
    return file


def test_a_whole_row_is_read(tmp_path: Path) -> None:
    """Breaks if the checks refuse what ``Ledger.save`` writes."""
    found = ledger.load(write(tmp_path / "ledger.json", ROW))["ch11.A.4"]
    assert found.interval == (0.4, None)
    assert found.arms["a"]["n"] == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": 3}, "the id 3 is no text"),
        ({"verdict": "true"}, "'ch11.A.4' has the verdict 'true'"),
        ({"document": "chapter12"}, "is of the document 'chapter12'"),
        ({"effect": float("nan")}, "NaN is no number in JSON"),
        ({"effect": "large"}, "effect and interval of ch11.A.4 are 'large'"),
        ({"effect": True}, "effect and interval of ch11.A.4 are True"),
        ({"interval": [float("-inf"), 1]}, "-Infinity is no number in JSON"),
        ({"interval": [1, 2, 3]}, "effect and interval of ch11.A.4"),
        ({"interval": "ab"}, "effect and interval of ch11.A.4"),
        ({"interval": ["a", "b"]}, "effect and interval of ch11.A.4"),
        ({"n_seeds": "5"}, "number of seeds of ch11.A.4 is '5'"),
        ({"n_seeds": -1}, "number of seeds of ch11.A.4 is -1"),
        ({"condition": None}, "condition of ch11.A.4 is None"),
        ({"run": []}, "run of ch11.A.4 is no record"),
        ({"run": {"path": 3}}, "has a path that is no text"),
        ({"arms": {"a": 3}}, "comparison 'a' of ch11.A.4 has no verdict"),
        ({"arms": {"a": {"verdict": "supported", "effect": "x"}}}, "of ch11.A.4, a are 'x'"),
        ({"follow_ups": [1]}, "follow_ups of ch11.A.4 is no record"),
        ({"follow_ups": {"own": "yes"}}, "'own', which follows from ch11.A.4"),
    ],
)
def test_a_damaged_row_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    """Breaks if what is no number or text comes as far as the page, or to a comparison."""
    file = write(tmp_path / "ledger.json", {**ROW, **change})
    with pytest.raises(UserError) as caught:
        ledger.load(file)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_rows_of_a_claim_are_refused(tmp_path: Path) -> None:
    """Breaks if one of two verdicts is taken, and nobody says which."""
    with pytest.raises(UserError, match=r"it has two rows of ch11\.A\.4"):
        ledger.load(write(tmp_path / "ledger.json", ROW, {**ROW, "verdict": "supported"}))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"schema": 1, "scale": [], "rows": []}',
        '{"schema": 1, "scale": "x", "rows": {}}',
        "",
    ],
)
def test_what_is_no_ledger_at_all_is_refused(tmp_path: Path, text: str) -> None:
    """Breaks if it ends in a traceback, or is taken for an empty ledger."""
    (tmp_path / "ledger.json").write_text(text)
    with pytest.raises(UserError, match="is no ledger"):
        ledger.load(tmp_path)


def test_commands_that_are_told_can_be_copied(tmp_path: Path) -> None:
    """Breaks if the folder of a run, or one without a ledger, is named as no shell would take it."""
    folder = tmp_path / "my run"
    folder.mkdir()
    with pytest.raises(UserError, match=re.escape(f"verify --out '{folder}'`")):
        ledger.load(folder)
    (folder / "results.nc").touch()
    with pytest.raises(UserError, match=re.escape(f"verify --merge '{folder}'`")):
        ledger.load(folder)
