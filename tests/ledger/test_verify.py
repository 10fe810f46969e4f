"""verify: two studies whole, and a ledger that was killed five times on its way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest

from implicit_bias import ledger
from implicit_bias.cli import main

# Computes for longer than it compiles: what is compiled in a hurry takes twice as long.
pytestmark = pytest.mark.optimised

QUICK = ("stability", "mirror-descent")
"""Two studies whose smoke runs take seconds."""


@pytest.fixture(autouse=True)
def _switches() -> Iterator[None]:
    """JAX's switches as they were."""
    names = ("jax_enable_x64", "jax_compilation_cache_dir")
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_two_studies_are_verified_once_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Breaks if a study of the package does not go through the ledger, a row lacks what its kind demands,
    what smoke can decide is not, or what is finished is run again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMPLICIT_BIAS_COMPILATION_CACHE", "off")
    command = ["verify", "--study", *QUICK, "--out", "out", "--strict", "--json"]
    assert main(command) == 0
    shown = json.loads(capsys.readouterr().out)
    made = ledger.load(Path("out"))
    entries = ledger.select(studies=QUICK)
    assert [row["id"] for row in shown["rows"]] == [entry.id for entry in entries]
    for entry in entries:
        row = made[entry.id]
        assert ledger.lacking(entry, row) == ()
        assert (row.verdict == "not-decided") == (entry.decided_from != "smoke")
        assert row.run or row.reason == f"needs {entry.decided_from}"
    assert shown["missed"] == []
    runs = sorted(Path("out", "runs").iterdir())
    assert [run.name.rpartition("-")[0] for run in runs] == [
        f"{name}-smoke" for name in sorted(QUICK)
    ]
    written = [(run / "results.nc").stat().st_mtime_ns for run in runs]
    assert main(command) == 0
    assert [(run / "results.nc").stat().st_mtime_ns for run in runs] == written
    assert ledger.load(Path("out")) == made
    assert ledger.compare(made, ledger.load(Path("out"))) == ()
    assert Path("out", "ledger.html").is_file()


CHILD = """
import importlib, os, signal, sys
from pathlib import Path
import tests.conftest
import jax
import scipy.stats, matplotlib.figure
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
from implicit_bias import ledger, studies
from implicit_bias.cli import main
from implicit_bias.results import checkpoint
from implicit_bias.studies import config, runner, workbench

SMALL = {
    "edge-of-stability": [
        "seeds=2", "updates=12", "probes=10", "model={widths: [4], activation: tanh}", "arms=[gd]",
        "gd={step_sizes: [0.1]}", "data={name: digits, n_train: 40, n_test: 20}",
    ],
    "stability": [
        "seeds=2", "bounds.draws=100", "regularised.draws=2", "descent={sizes: [10, 20], updates: 20}",
        "learning.draws=100",
        "interpolation.tests=50",
    ],
}
module = importlib.import_module("implicit_bias.ledger.verify")
whole = module.load_config
def small(path):
    study, _, _ = whole(path)
    return whole(study.name, "smoke", SMALL[study.name])
module.load_config = small
workbench.CHECKPOINT_SECONDS = 0
importlib.import_module("implicit_bias.training.train").SEGMENT_SECONDS = 0
ledger.registry()

def attempt(out, kill_at):
    left = kill_at
    def die(path):
        # In place of flushing to the disk, which takes long, and is for power cuts.
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    checkpoint._flush = die
    return main(["verify", "--claim", *sys.argv[2].split(","), "--out", out])

for out, kill_at in (line.split() for line in sys.stdin):
    # Nothing of JAX has begun yet, so that a copy of this process can be made and killed.
    child = os.fork()
    if not child:
        sys.stdout = sys.stderr
        os._exit(attempt(out, int(kill_at)))
    _, status = os.waitpid(child, 0)
    print(out, status, len(list(Path(out).rglob("*"))), flush=True)
"""
"""Makes ledgers of two studies, tiny and one update at a time; dies at the n-th file that it is to write."""

CLAIMS = "dhand.sec-2.2,ch11.B.5,ch11.B.2"


def test_killed_five_times_it_is_the_same_ledger(tmp_path: Path) -> None:
    """Breaks if anything that a killed run leaves is taken for finished, or changes what comes after."""
    kills = [3, 28, 44, 30, 36]
    attempts = ["whole 0", *(f"killed {at}" for at in kills), "killed 0"]
    environment = {**os.environ, "IMPLICIT_BIAS_COMPILATION_CACHE": str(tmp_path / "xla")}
    root = Path(__file__).parents[2]
    environment["PYTHONPATH"] = os.pathsep.join([str(root), environment.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", CHILD, "-", CLAIMS], input="\n".join(attempts), text=True,
        cwd=tmp_path, env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ended = [line.split() for line in done.stdout.splitlines()]
    statuses = [int(status) for _, status, _ in ended]
    assert statuses == [0, *[signal.SIGKILL] * 5, 0], done.stderr
    files = [int(count) for folder, _, count in ended if folder == "killed"]
    assert len(set(files)) >= 5, f"killed at the same place: {files}"
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert {row.verdict for row in ledger.load(tmp_path / "killed").rows} != {"not-decided"}


def contents(out: Path) -> dict[str, Any]:
    """Return what a ledger and its runs say, byte for byte, and the names of all files."""
    told = [out / "ledger.json", out / "ledger.html", *out.rglob("claims.json")]
    said = {str(path.relative_to(out)): path.read_bytes() for path in told}
    return {**said, "files": sorted(str(path.relative_to(out)) for path in out.rglob("*"))}
