"""verify, explain and compare: what a user can get wrong, and how they end."""

from __future__ import annotations

import dataclasses
import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest

from implicit_bias import ledger
from implicit_bias.cli import main
from implicit_bias.errors import UserError
from implicit_bias.ledger.ledger import Ledger, Row
from implicit_bias.results.checkpoint import save_error
from implicit_bias.studies import runner

RECORD = {
    "complete": True, "scale": "smoke", "digest": "0", "version": "0", "data_checksum": "0", "seeds": 3,
    "study": "stability",
}  # fmt: skip


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder; ledgers of two sizes, and runs whose claims are spoilt."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMPLICIT_BIAS_COMPILATION_CACHE", "off")
    entry = ledger.get("ch11.A.4")
    row = Row(entry.id, entry.document, entry.study, "smoke", "supported", 0.0, (-1.0, 1.0), 3)
    for scale in ("smoke", "laptop"):
        Ledger(scale, (row,)).save(Path(scale) / "ledger.json")
    for name, claims in SPOILT.items():
        folder = Path(name)
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps(RECORD))
        if claims is not None:
            (folder / "claims.json").write_text(claims)
    Path("empty").mkdir()
    Path("file").write_text("")
    unfinished = Path("unfinished")
    unfinished.mkdir()
    (unfinished / "run.json").write_text(json.dumps({**RECORD, "complete": False}))
    jax.devices()
    float64 = jax.config.jax_enable_x64
    yield tmp_path
    jax.config.update("jax_enable_x64", float64)


SPOILT = {
    "no-claims": None,
    "half": '[{"id": "ch11.A.4"',
    "no-list": "3",
    "strings": '["ch11.A.4"]',
    "no-verdict": '[{"id": "ch11.A.4"}]',
    "odd-verdict": '[{"id": "ch11.A.4", "verdict": "true"}]',
    "odd-interval": '[{"id": "ch11.A.4", "verdict": "refuted", "interval": [1]}]',
    "odd-effect": '[{"id": "ch11.A.4", "verdict": "refuted", "effect": "large"}]',
}
"""What a run's claims.json may hold that is none."""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("verify --claim ch11.C.88", "did you mean ch11.C.8 or"),
        ("explain johansen.batch-size", "did you mean johannsen.batch-size"),
        ("verify --source ch11", "did you mean 'chapter11'?"),
        ("verify --study margins", "did you mean 'margin'?"),
        ("verify --claim dhand.E1 --source johannsen", "no claim has that source, study and id"),
        ("verify --claim dhand.E1 --out file", "folder file cannot be made or written to"),
        ("verify --claim dhand.E1 --out file/within", "name another with --out"),
        ("verify --claim ch11.A.4 --devices 99", "devices is 99, but JAX sees"),
        ("verify --merge nowhere", "nowhere holds no finished run (it does not exist)"),
        ("verify --merge empty", "it has neither run.json nor ledger.json"),
        ("verify --merge unfinished", "it is not finished"),
        ("verify --merge file", "file is no ledger"),
        *((f"verify --merge {name}", f"{name} has no readable claims.json") for name in SPOILT),
        ("explain ch11.A.4 --ledger empty", "ledger.json does not exist; make a ledger with"),
        ("compare smoke nowhere", "nowhere does not exist; make a ledger with"),
        ("compare smoke laptop", "the first ledger is of size smoke and the second of size laptop"),
        ("compare smoke", "required: DIR"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Breaks if it ends in a traceback, after minutes of work, or leaves something behind."""
    before = sorted(Path().rglob("*"))
    assert main(arguments.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("implicit-bias: error: ")
    assert said.err.count("\n") == 1
    assert told in said.err
    assert sorted(Path().rglob("*")) == before


def test_sizes_may_differ_where_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if the way out that the message names is none."""
    assert main(["compare", "smoke", "laptop", "--across"]) == 0
    assert capsys.readouterr().out == "Nothing changed in 1 claim.\n"


def refuse(*given: Any, **more: Any) -> Any:
    """Be a study whose data are not here."""
    raise UserError("no MNIST here; bring it with `implicit-bias data prepare mnist`")


@pytest.mark.parametrize("strict", [False, True])
def test_a_missed_study_is_said_and_strictly_an_error(
    strict: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Breaks if a study that was not run passes for one that decides nothing."""
    monkeypatch.setattr(runner, "run", refuse)
    arguments = ["verify", "--claim", "ch11.A.4", "dhand.E1", "--out", "out", "--json"]
    assert main([*arguments, *(["--strict"] if strict else [])]) == (2 if strict else 0)
    said = capsys.readouterr()
    content = json.loads(said.out)
    missed = "minimum-norm was not run, which leaves 2 claims not decided: no MNIST here"
    assert content["missed"][0].startswith(missed)
    assert {row["verdict"] for row in content["rows"]} == {"not-decided"}
    assert ledger.load(Path("out")).counts()["not-decided"] == 2
    assert (f"implicit-bias: error: 1 shortfall in out: {missed}" in said.err) == strict


def test_a_size_without_a_config_names_one_that_has(capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a large size is said to be too small."""
    ids = ["ch11.A.6", "dhand.prop-6.1"]  # decided from smoke, and from laptop on
    assert main(["verify", "--claim", *ids, "--scale", "full", "--out", "full", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["reason"] for row in rows} == {"no config of size full: take --scale laptop"}
    assert main(["verify", "--claim", ids[1], "--out", "small", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["reason"] == "needs laptop"


def test_a_full_disk_ends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Breaks if a disk that is full passes for studies that cannot be run here, one after the other."""

    def fill(*given: Any, **more: Any) -> Any:
        error = OSError(errno.ENOSPC, "No space left on device")
        raise save_error("checkpoint", "x.ckpt", error) from error

    monkeypatch.setattr(runner, "run", fill)
    assert main(["verify", "--claim", "ch11.A.4", "dhand.mirror", "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "disk full" in said
    assert said.endswith("what is finished is kept: see to it and give the same command again\n")
    assert not Path("out", "ledger.json").exists()


def test_explain_says_what_a_ledger_says(capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if another ledger's row is shown, or a claim that was never run fails."""
    assert main(["explain", "ch11.A.4", "--ledger", "smoke", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["row"]["verdict"] == "supported"
    assert content["entry"]["sentence"]
    assert main(["explain", "ch11.A.5", "--ledger", "smoke"]) == 0
    assert "Not run yet: implicit-bias verify --claim ch11.A.5" in capsys.readouterr().out
    assert main(["explain", "dhand.eos", "--ledger", "smoke"]) == 0
    assert "verify --claim dhand.eos --scale laptop\n" in capsys.readouterr().out
    assert main(["explain", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["claims"]) == len(ledger.registry())


def test_explain_says_where_the_verdict_of_a_studys_own_claim_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Breaks if one's own claim is called unknown, or a damaged file of a run ends in a traceback."""
    for name, content in (("mine-1", '[{"id": "my.own"}]'), ("spoilt", '[{"id": "my.own"')):
        Path("runs", name).mkdir(parents=True)
        Path("runs", name, "claims.json").write_text(content)
    assert main(["explain", "my.own"]) == 2
    said = capsys.readouterr().err
    assert "its verdict is in runs/mine-1/report.html; `implicit-bias report runs/mine-1`" in said
    assert main(["explain", "my.other"]) == 2
    assert "its verdict by `implicit-bias report DIR`" in capsys.readouterr().err


def test_merging_runs_of_a_study_of_ones_own_is_refused_or_left_out(tmp_path: Path) -> None:
    """Breaks if a run that judges none of the documents' claims ends in a traceback."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({**RECORD, "study": "my-own"}))
    (folder / "claims.json").write_text("[]")
    made = ledger.merged(ledger.select(ids=["ch11.A.4"]), [folder, Path("smoke")], tmp_path)
    assert made["ch11.A.4"].verdict == "supported"


def test_runs_are_read_as_they_were_found() -> None:
    """Breaks if a merged run is judged by anything but its findings, or loses its folder."""
    found = {
        "id": "ch11.A.4",
        "verdict": "refuted",
        "effect": 2.0,
        "interval": [-1, None],
        "n_seeds": 3,
    }
    entry = dataclasses.replace(ledger.get("ch11.A.4"), study="stability")
    Path("half", "claims.json").write_text(json.dumps([found]))
    row = ledger.merged([entry], [Path("half")], Path("elsewhere"))["ch11.A.4"]
    assert (row.verdict, row.effect, row.interval) == ("refuted", 2.0, (-1, None))
    assert row.run["path"] == "../half"
