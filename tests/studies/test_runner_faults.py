"""Runs that are interrupted, killed, doubled or out of disk: what is left, and what a resumed run gives.

Every result is compared, bit for bit, with that of a run in one go.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr
from jax.experimental.compilation_cache import compilation_cache

from implicit_bias.errors import UserError
from implicit_bias.results import checkpoint, store
from implicit_bias.studies import finished, runner, workbench
from implicit_bias.studies.base import Study
from implicit_bias.studies.reporter import Silent
from implicit_bias.training.experiment import Experimenter

pytestmark = pytest.mark.usefixtures("_same_code")


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every segment one update long, so that there are many moments to interrupt at."""
    loop = importlib.import_module("implicit_bias.training.train")
    monkeypatch.setattr(loop, "SEGMENT_SECONDS", 0.0)


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of compiled programs, so that the processes that are killed need not compile."""
    folder = tmp_path_factory.mktemp("xla")
    options = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0,
    }
    before = {name: getattr(jax.config, name) for name in options}
    for values in (options, before):
        for name, value in values.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        if values is options:
            yield folder


def _run(study: Study, out: Path, reporter: Any = None, seeds: int = 2, **keep: bool) -> xr.Dataset:
    settings = study.settings(seeds=seeds, **keep)
    return runner.run(study, settings, out, scale="custom", reporter=reporter).result


class At(Silent):
    """A reporter that does something at the n-th report of progress, counted from 1."""

    def __init__(self, n: int, act: Callable[[], object], stage: str = "") -> None:
        self.left, self.act, self.stage = n, act, stage
        self.label, self.said = "", [""]

    def begin(self, label: str, total: float, unit: str) -> None:
        self.label = label

    def advance(self, done: float, note: str = "") -> None:
        if self.label.startswith(self.stage):
            self.left -= 1
            if self.left == 0:
                self.act()

    def say(self, line: str) -> None:
        self.said.append(line)


def _raise() -> None:
    raise KeyboardInterrupt


def _ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def _left(out: Path) -> set[str]:
    return {path.name.split("-")[0] for path in (out / "lanes").iterdir()}


# Interrupted


# Breaks if anything that decides a lane's numbers is not in the checkpoint, or a checkpoint is resumed
# by other lanes than its own.
@pytest.mark.usefixtures("_always_save")
@pytest.mark.parametrize("rng_seed", [0, 1])
def test_interrupted_again_and_again(
    small: Study, whole: xr.Dataset, tmp_path: Path, rng_seed: int
) -> None:
    rng = np.random.default_rng(rng_seed)
    interrupted, result = 0, None
    while result is None:
        assert interrupted < 100, "the run does not come forward"
        try:
            result = _run(small, tmp_path, At(int(rng.integers(1, 9)), _raise))
        except KeyboardInterrupt:
            interrupted += 1
    assert interrupted >= 3
    assert result.identical(whole)
    assert store.load(tmp_path).identical(whole)
    assert _left(tmp_path) == {"trained", "measured", "trial"}
    assert not list(tmp_path.rglob("*.partial"))


# Breaks if Ctrl-C leaves no checkpoint because the last one is recent, if a resumed run does not use it,
# or if Ctrl-C stays without effect after the run.
@pytest.mark.parametrize(
    ("stage", "report", "kind"),
    [("search: training", 2, "running"), ("arms: training", 7, "running"),
     ("arms: measuring", 1, "measured")],
)  # fmt: skip
def test_ctrl_c_saves(
    small: Study, whole: xr.Dataset, tmp_path: Path, counted: Any, monkeypatch: pytest.MonkeyPatch,
    stage: str, report: int, kind: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(workbench, "CHECKPOINT_SECONDS", float("inf"))
    handler = signal.getsignal(signal.SIGINT)
    reporter = At(report, _ctrl_c, stage)
    with pytest.raises(KeyboardInterrupt):
        _run(small, tmp_path, reporter)
    assert signal.getsignal(signal.SIGINT) is handler
    assert reporter.said[-1] == "stopping after this segment; once more to stop at once"
    assert kind in _left(tmp_path)
    assert not json.loads((tmp_path / "run.json").read_text())["complete"]
    counted.clear()
    assert _run(small, tmp_path).identical(whole)
    if kind == "running":
        assert counted.chunks[0][1] > 0, "it began anew"
    else:
        assert counted.chunks == []


# Breaks if somebody who presses Ctrl-C twice has to wait for a segment.
def test_ctrl_c_twice(small: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbench, "CHECKPOINT_SECONDS", float("inf"))

    def twice() -> None:
        _ctrl_c()
        _ctrl_c()
        raise AssertionError("it went on")

    with pytest.raises(KeyboardInterrupt):
        _run(small, tmp_path, At(2, twice))
    assert not (tmp_path / "lanes").exists()


# Breaks if an experiment of minutes is waited for, or the seeds before it are lost.
def test_ctrl_c_within_an_experiment(
    small: Study, whole: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbench, "CHECKPOINT_SECONDS", float("inf"))
    plain, calls = Experimenter._call_python, []

    def interrupted(*given: Any) -> Any:
        calls.append(given[1])
        if len(calls) == 2:
            _ctrl_c()
            raise AssertionError("it went on")
        return plain(*given)

    with monkeypatch.context() as patched:
        patched.setattr(Experimenter, "_call_python", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _run(small, tmp_path)
    assert "trial" in _left(tmp_path)
    calls.clear()
    monkeypatch.setattr(
        Experimenter, "_call_python", lambda *given: (calls.append(given[1]), plain(*given))[1]
    )
    assert _run(small, tmp_path).identical(whole)
    assert len(calls) == 1


# Breaks if an interrupted extension loses the result there was, or recomputes it.
@pytest.mark.usefixtures("_always_save")
def test_interrupted_extension(
    small: Study, whole: xr.Dataset, tmp_path: Path, counted: Any
) -> None:
    first = _run(small, tmp_path, seeds=1)
    counted.clear()
    with pytest.raises(KeyboardInterrupt):
        _run(small, tmp_path, At(4, _raise))
    assert store.load(tmp_path).identical(first)
    assert _run(small, tmp_path).identical(whole)
    assert {lane.seed for lane in counted.lanes} == {1}


# Killed


CHILD = """
import importlib
import sys
from pathlib import Path
import tests.conftest
import jax
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_compilation_cache_dir", sys.argv[3])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
from implicit_bias import studies
from implicit_bias.results import checkpoint, provenance
from implicit_bias.studies import reporter, runner, workbench

def step(what):
    print(what, flush=True)
    assert sys.stdin.readline()

class Reporter(reporter.Silent):
    def advance(self, done, note=""):
        step("progress")

flush = checkpoint._flush
def flush_after(path):
    step("saving " + path.name)
    flush(path)

checkpoint._flush = flush_after
provenance.git_state = lambda folder: {"commit": None, "dirty": None}
workbench.CHECKPOINT_SECONDS = 0
importlib.import_module("implicit_bias.training.train").SEGMENT_SECONDS = 0
study = studies.get(sys.argv[1])
runner.run(study, study.settings(), Path(sys.argv[2]), scale="custom", reporter=Reporter())
print("done", flush=True)
"""


def _killed(study: Study, out: Path, cache: Path, steps: int, at: str) -> str:
    """Start a process and kill it after some steps, at a step that begins so; say where it was."""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, study.origin, str(out), str(cache)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root,
    ) as child:  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        for number, line in enumerate(child.stdout):
            assert line != "done\n"
            # The process stands still in the middle of this step until it is answered.
            if number >= steps and line.startswith(at):
                child.kill()
                child.wait()
                assert child.returncode == -signal.SIGKILL
                return line
            child.stdin.write("\n")
            child.stdin.flush()
    raise AssertionError(f"the process ended after {number} steps, with {child.returncode}")


# Breaks if a file can be half-written, a lock outlives its process, or a file that is there before
# another misleads the run that follows. Real processes, really killed, the last while its result is
# on the way to the disk.
def test_killed(small: Study, whole: xr.Dataset, tmp_path: Path, compiled: Path) -> None:
    out, rng = tmp_path / "out", np.random.default_rng()
    steps = int(rng.integers(1, 40))
    told = [
        _killed(small, out, compiled, steps, "progress"),
        _killed(small, out, compiled, int(rng.integers(1, 12)), "saving .running"),
        _killed(small, out, compiled, 0, "saving .results.nc"),
    ]
    assert (out / ".lock").read_text(), f"{told}: no lock was left behind"
    assert list(out.rglob("*.partial")), f"{told}: nothing was half-written"
    assert not (out / "results.nc").exists()
    assert _run(small, out).identical(whole), told
    assert not list(out.rglob("*.partial"))
    assert (out / ".lock").read_text() == ""


# Breaks if a run that was killed while it wrote its very first file blocks its own folder.
def test_killed_at_once(small: Study, tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text('{"pid": 1')
    (tmp_path / ".run.json.0a1b2c3d.partial").write_text('{"stu')
    with pytest.raises(KeyboardInterrupt):
        _run(small, tmp_path, At(1, _raise))
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "run.json", "plan.json"}


# Breaks if two runs write into one folder, or the second harms the first.
def test_two_at_once(small: Study, whole: xr.Dataset, tmp_path: Path) -> None:
    refused: list[str] = []

    def second() -> None:
        for attempt in (lambda: _run(small, tmp_path), lambda: finished.report(tmp_path)):
            with pytest.raises(UserError) as error:
                attempt()
            refused.append(str(error.value))

    result = _run(small, tmp_path, At(3, second))
    assert f"another run is using {tmp_path} (process {os.getpid()}, " in refused[0]
    assert "no result" in refused[1]
    assert result.identical(whole)


# Out of disk


# Breaks if a full disk costs the previous checkpoint or result, gives a traceback, or if the run does
# not go on once there is space.
@pytest.mark.usefixtures("_always_save")
@pytest.mark.parametrize(
    ("kind", "nth", "before"),
    [("running-", 3, "running-*"), ("trained-", 1, ""), ("params-", 1, ""),
     ("measured-", 1, ""), ("results.nc", 1, "results.nc"), ("plan.json", 2, "plan.json"),
     ("run.json", 2, "run.json"), ("report.html", 1, "report.html")],
)  # fmt: skip
def test_disk_full(
    small: Study, whole: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    kind: str, nth: int, before: str,
) -> None:  # fmt: skip
    if kind in ("results.nc", "report.html"):
        _run(small, tmp_path, seeds=1)
    write, seen, kept = checkpoint._write_all, [0], {}

    def failing(file: Any, data: Any) -> None:
        name = Path(file.name).name
        if name.startswith(f".{kind}"):
            # A checkpoint is written in several pieces; its first counts.
            seen[0] += file.tell() == 0
            if seen[0] == nth:
                kept.update({p: p.read_bytes() for p in tmp_path.rglob(before) if before})
                write(file, bytes(data)[: len(data) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_write_all", failing)
        with pytest.raises(UserError, match=r"could not save .*disk full.*free space") as error:
            _run(small, tmp_path)
    assert "\n" not in str(error.value)
    assert bool(kept) == bool(before)
    assert ("is intact" in str(error.value)) == bool(before)
    assert {path: path.read_bytes() for path in kept} == kept
    assert not list(tmp_path.rglob("*.partial"))
    assert _run(small, tmp_path).identical(whole)


# Breaks if a checkpoint that the disk altered is resumed from, or cannot be got rid of as the message
# says.
@pytest.mark.usefixtures("_always_save")
def test_damaged_checkpoint(small: Study, whole: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(small, tmp_path, At(3, _raise))
    (file,) = (tmp_path / "lanes").glob("running-*")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"altered .*; delete it and run the same command again"):
        _run(small, tmp_path)
    file.unlink()
    assert _run(small, tmp_path).identical(whole)
