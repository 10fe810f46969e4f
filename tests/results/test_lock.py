"""One run per folder, and no lock outlives its holder."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from implicit_bias.errors import UserError
from implicit_bias.results.lock import LOCK_NAME, RunLock

HOLDER = """
import sys, time
from implicit_bias.results.lock import RunLock
with RunLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_run_is_refused_by_name(tmp_path: Path) -> None:
    # Breaks if the lock is not exclusive, or the message does not say who holds it and since when.
    with (
        RunLock(tmp_path / "run"),
        pytest.raises(UserError, match=rf"process {os.getpid()}, started 20\d\d-.*--out"),
        RunLock(tmp_path / "run"),
    ):
        pass


def test_released_on_leaving_and_on_failure(tmp_path: Path) -> None:
    # Breaks if an exception inside the run keeps the folder locked.
    lock = RunLock(tmp_path)
    for _ in range(2):
        with pytest.raises(KeyError), lock:
            raise KeyError
    with RunLock(tmp_path):
        pass


def test_same_object_twice_is_a_mistake(tmp_path: Path) -> None:
    # Breaks if the second entry replaces the descriptor: leaving would release only one of them.
    lock = RunLock(tmp_path)
    with lock, pytest.raises(RuntimeError, match="already held"), lock:
        pass


def test_killed_holder_does_not_block(tmp_path: Path) -> None:
    # Breaks if the lock is a file's existence: a killed process cannot remove it.
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"process {holder.pid},"), RunLock(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert (tmp_path / LOCK_NAME).read_text()  # it left its name behind
    with RunLock(tmp_path):
        pass


def test_nameless_holder(tmp_path: Path) -> None:
    # Breaks if a holder that has not yet written its name makes the refusal crash.
    with open(tmp_path / LOCK_NAME, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="just started"), RunLock(tmp_path):
            pass


def test_leftovers_of_a_killed_run_go(tmp_path: Path) -> None:
    # Breaks if every kill leaves a temporary checkpoint on the disk for good.
    leftover = tmp_path / ".run.ckpt.01234567.partial"
    leftover.write_text("half")
    with RunLock(tmp_path):
        assert not leftover.exists()


def test_refused_run_removes_nothing(tmp_path: Path) -> None:
    # Breaks if a second run deletes the file that the first is writing.
    with RunLock(tmp_path):
        writing = tmp_path / ".run.ckpt.01234567.partial"
        writing.write_text("half")
        with pytest.raises(UserError), RunLock(tmp_path):
            pass
        assert writing.exists()


def test_file_in_the_way(tmp_path: Path) -> None:
    # Breaks if the operating system's exception reaches the user.
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        with (
            pytest.raises(UserError, match="is a file or lies below one"),
            RunLock(tmp_path / place),
        ):
            pass


def test_unwritable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Breaks likewise; simulated, since root may write anywhere.
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UserError, match="Permission denied; choose an --out"), RunLock(tmp_path):
        pass


def test_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Breaks if a run goes on unlocked where locking is impossible.
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UserError, match="without locks"), RunLock(tmp_path):
        pass
