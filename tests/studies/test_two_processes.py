"""Two processes share a sweep: one is killed, the other does not notice; together they give the whole."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from implicit_bias.results import store
from implicit_bias.studies import finished
from implicit_bias.studies.base import Study
from tests.studies.runs import run_small

pytestmark = pytest.mark.usefixtures("_same_code")

CHILD = """
import importlib
import sys
from pathlib import Path
import tests.conftest
import jax
jax.config.update("jax_disable_most_optimizations", True)
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
    flush(path)
    step("saved " + path.name)

checkpoint._flush = flush_after
provenance.git_state = lambda folder: {"commit": None, "dirty": None}
workbench.CHECKPOINT_SECONDS = 0
importlib.import_module("implicit_bias.training.train").SEGMENT_SECONDS = 0
study = studies.get(sys.argv[1])
shard = int(sys.argv[3]), 2
runner.run(study, study.settings(), Path(sys.argv[2]), scale="custom", shard=shard, reporter=Reporter())
print("done", flush=True)
"""


class Process:
    """A process that runs one shard, one update at a time, and waits to be told to go on."""

    def __init__(self, study: Study, out: Path, shard: int) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-c", CHILD, study.origin, str(out), str(shard)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def next(self) -> str:
        """Return the step at which the process stands."""
        assert self.child.stdout is not None
        return self.child.stdout.readline().strip()

    def go_on(self) -> None:
        """Let it do this step."""
        assert self.child.stdin is not None
        self.child.stdin.write("\n")
        self.child.stdin.flush()


# Breaks if a killed process takes its partner along or makes it wait, leaves a lock behind, loses more
# than the work since its last checkpoint, or if what the two leave is not what one process gives.
def test_one_of_two_is_killed(
    small: Study, whole: xr.Dataset, tmp_path: Path, counted: Any
) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    one, two = (Process(small, folder, i) for i, folder in enumerate(folders, start=1))
    try:
        updates = checkpoints = 0
        while updates < 6:
            line = one.next()
            assert line not in ("done", "")
            checkpoints += line.startswith("saved .running")
            updates += line == "progress"
            if updates < 6:
                one.go_on()
        # It stands after its sixth update, of which no checkpoint is.
        one.child.kill()
        assert one.child.wait() == -signal.SIGKILL
        while (line := two.next()) != "done":
            assert line != ""
            two.go_on()
        assert two.child.wait() == 0
    finally:
        for process in (one, two):
            process.child.kill()
            process.child.communicate()
    run_small(small, folders[0], shard=(1, 2))
    assert checkpoints == 5
    assert counted.chunks[0][1] == checkpoints  # the updates that the resumed run did not do again
    merged = finished.merge(folders, tmp_path / "merged").result
    assert merged.sizes == whole.sizes
    merged.attrs = whole.attrs  # a merged result has the provenance of both
    assert merged.sortby("lane_id").identical(whole.sortby("lane_id"))
    assert store.load(tmp_path / "merged").sizes == whole.sizes
