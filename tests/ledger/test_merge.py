"""Finished runs put together: nothing that is out of date or of another size passes for what was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest

import implicit_bias
from implicit_bias import ledger, studies
from implicit_bias.cli import main
from implicit_bias.errors import UserError
from implicit_bias.ledger.ledger import Ledger, Row
from implicit_bias.results import store
from implicit_bias.results.lock import RunLock
from implicit_bias.studies.config import config_root, load_config, sizes
from implicit_bias.studies.present import code_digest

from . import small_results

ID = "dhand.mirror"
STALE = [{"id": ID, "verdict": "supported", "effect": 99.0, "interval": [98, 100], "n_seeds": 2}]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty current folder, and JAX's switches as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMPLICIT_BIAS_COMPILATION_CACHE", "off")
    jax.devices()
    float64 = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", float64)


def make_run(name: str, claims: Any = STALE, *, result: bool = True, **record: Any) -> Path:
    """Write a finished run of mirror descent, of the settings of the laptop config."""
    folder = Path(name)
    folder.mkdir()
    _, settings, _ = load_config(str(sizes("mirror-descent")["laptop"]))
    content = {
        "complete": True, "scale": "laptop", "digest": settings.digest(), "data_checksum": "0", "seeds": 2,
        "version": implicit_bias.__version__, "study": "mirror-descent", "origin": "mirror-descent",
        "shard": None, "presented": {"code": "of yesterday", "files": []},
    } | record  # fmt: skip
    (folder / "run.json").write_text(json.dumps(content))
    (folder / "claims.json").write_text(json.dumps(claims))
    if result:
        found = small_results.read(small_results.FOLDER / "mirror-descent.npz")
        store.save(found.assign_attrs(provenance="{}"), folder / "results.nc")
    return folder


def merged(*folders: Path, **more: Any) -> Row:
    """Return the claim's row."""
    return ledger.merged(ledger.select(ids=[ID]), folders, Path("out"), **more)[ID]


def test_verdicts_of_other_code_are_made_anew() -> None:
    """Breaks if what an older rule said passes for a verdict of this version."""
    row = merged(make_run("run"))
    assert row.effect != STALE[0]["effect"]
    assert row.criterion == ledger.get(ID).criterion
    own = code_digest(studies.get("mirror-descent"))
    row = merged(make_run("today", presented={"code": own, "files": []}))
    assert (row.effect, row.interval) == (99.0, (98, 100))
    assert merged(make_run("bare", result=False)).effect == 99.0


def test_a_result_that_these_rules_cannot_read_is_refused() -> None:
    """Breaks if a run of an older study ends in a traceback."""
    folder = make_run("run")
    coords = {"lane_id": ("lane", ["a"])}
    old = store.make({}, coords, study="mirror-descent", settings={}, provenance={}, units={})
    store.save(old, folder / "results.nc")
    with pytest.raises(UserError, match="run was judged by another version") as caught:
        merged(folder)
    assert "\n" not in str(caught.value)


def test_a_shard_is_no_run() -> None:
    """Breaks if some of the seeds pass for all."""
    with pytest.raises(
        UserError, match=r"holds shard \[1, 2\] of a run.*`implicit-bias merge` first"
    ):
        merged(make_run("run", shard=[1, 2]))


def test_a_study_of_ones_own_by_a_name_of_the_package_is_left_out() -> None:
    """Breaks if a claim of the documents is judged by somebody's file of the same name."""
    row = merged(make_run("run", origin="mine.py:STUDY"))
    assert (row.verdict, row.reason) == ("not-decided", "not run: no run that judges it was given")


def test_a_size_that_is_asked_for_leaves_others_out() -> None:
    """Breaks if --scale says nothing to --merge: a small run's verdict would stand in the larger's ledger."""
    small = Row(ID, "dhand", "mirror-descent", "smoke", "supported", 1.0, (0.5, 1.5), 2)
    Ledger("smoke", (small,)).save(Path("small") / "ledger.json")
    assert merged(Path("small")).verdict == "supported"
    assert merged(Path("small"), scale="smoke").verdict == "supported"
    assert merged(Path("small"), scale="laptop").reason.startswith("not run: ")
    assert merged(Path("small"), make_run("run"), scale="smoke").effect == 1.0


def test_settings_that_are_no_config_any_more_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a ledger of other settings, another version or another criterion is taken for today's."""
    run = {"digest": "of-old", "version": "0.0.1", "seeds": 2}
    row = Row(
        ID, "dhand", "mirror-descent", "laptop", "refuted", 1.0, (0.5, 1.5), 2, run=run, criterion="above 3"
    )  # fmt: skip
    Ledger("laptop", (row,)).save(Path("old") / "ledger.json")
    assert merged(Path("old")).config == ""
    assert main(["verify", "--merge", "old", "--claim", ID, "--json"]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    said = ("run by version 0.0.1", "settings of its own", "a criterion that is worded otherwise")
    assert len(notes) == len(said)
    assert all(any(words in note for note in notes) for words in said)
    assert main(["explain", ID, "--ledger", "ledger-merged"]) == 0
    told = capsys.readouterr().out
    assert "above 3" in told
    page = Path("ledger-merged", "ledger.html").read_text()
    assert all(words in page for words in said)


def test_a_ledger_beside_a_run_or_within_one_that_is_used_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Breaks if a ledger hides the run in whose folder it lies, or two commands write one ledger."""
    make_run("run")
    assert main(["verify", "--merge", "run", "--out", "run"]) == 2
    assert "run is the folder of a run; name another with --out" in capsys.readouterr().err
    Path("run").rename("moved")
    assert main(["verify", "--merge", "moved", "--claim", "dhand.coord", ID, "--out", "out"]) == 0
    capsys.readouterr()
    assert main(["verify", "--merge", "moved", "--claim", ID, "--out", "out"]) == 0
    assert "The ledger in out had 1 claim more" in capsys.readouterr().out
    Path("out", "ledger.json").unlink()
    Path("moved").rename("run")
    with RunLock("out"):
        assert main(["verify", "--merge", "run", "--out", "out"]) == 2
    assert "another run is using out" in capsys.readouterr().err
    assert not Path("out", "ledger.json").exists()


def test_what_comes_with_the_package_is_of_this_version() -> None:
    """Breaks if a config or a criterion changes, and the kept verdicts are those of before.

    ``python scripts/keep_ledger.py RUN`` judges a run again; other settings need another run.
    """
    files = sorted(config_root().glob("*/results/*.ledger.json"))
    assert files
    entries = ledger.select()
    made = ledger.merged(entries, files, Path("out"))
    allowed = "which is not the one of any size"
    assert [line for line in ledger.remarks(made, entries) if allowed not in line] == []
    assert {row.criterion == "" for row in made.rows if row.verdict != "not-decided"} == {False}
