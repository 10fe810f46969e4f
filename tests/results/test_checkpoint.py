"""Checkpoints: whole, exact, verified, and never at the cost of the previous one."""

from __future__ import annotations

import errno
import io
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from implicit_bias.errors import UserError
from implicit_bias.results import checkpoint

ARRAYS = {
    "keys": np.array([[0, 2**32 - 1]], np.uint32),
    "weights": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # not contiguous
    "done": np.array([True, False]),
    "count": np.array(7, np.int64),  # no dimensions
    "none": np.zeros((0, 3), np.float64),
    "names": np.array(["a", "bé"]),
    "blank": np.array([""]),
    "swapped": np.array([1.5, 2.5], ">f8"),
    "nan": np.array([np.nan, np.inf, -0.0], np.float32),
}


def assert_same(loaded: dict[str, np.ndarray], saved: dict[str, Any]) -> None:
    """Bitwise: NaN payloads and the sign of zero count."""
    assert list(loaded) == list(saved)
    for name, array in saved.items():
        assert loaded[name].dtype == array.dtype, name
        assert loaded[name].shape == array.shape, name
        assert loaded[name].tobytes() == array.tobytes(), name


def test_round_trip_is_exact(tmp_path: Path) -> None:
    # Breaks if a dtype, a shape, a memory order or an empty array is not kept.
    meta = {"step": 3, "lanes": ["x"], "nested": {"best": 0.1, "nothing": None}, "worst": np.inf}
    checkpoint.save(tmp_path / "c", ARRAYS, meta)
    arrays, read = checkpoint.load(tmp_path / "c")
    assert_same(arrays, ARRAYS)
    assert read == meta
    arrays["weights"] += 1  # resuming writes into them


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=4),
        hnp.arrays(
            st.one_of(
                hnp.integer_dtypes(),
                hnp.unsigned_integer_dtypes(),
                hnp.floating_dtypes(sizes=(16, 32, 64)),
                hnp.boolean_dtypes(),
                hnp.unicode_string_dtypes(max_len=3),
            ),
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
        ),
        max_size=4,
    )
)
def test_round_trip_of_anything(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, Any]
) -> None:
    # Breaks on any combination of names, dtypes and shapes whose offsets do not add up.
    path = tmp_path_factory.mktemp("c") / "c"
    checkpoint.save(path, arrays, {})
    assert_same(checkpoint.load(path)[0], arrays)


def test_same_content_same_bytes(tmp_path: Path) -> None:
    # Breaks if a time, a random name or a dictionary's order gets into the file.
    checkpoint.save(tmp_path / "a", ARRAYS, {"step": 1})
    checkpoint.save(tmp_path / "b", ARRAYS, {"step": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    # Breaks if some length passes for a whole file.
    path = tmp_path / "run.ckpt"
    checkpoint.save(path, {"x": np.arange(5)}, {"step": 1})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"run\.ckpt.*delete it and run"):
            checkpoint.load(path)


def test_every_altered_byte_is_refused(tmp_path: Path) -> None:
    # Breaks if some byte, of the header or the padding, is not covered by the checksum.
    path = tmp_path / "run.ckpt"
    checkpoint.save(path, {"x": np.arange(5)}, {"step": 1})
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(UserError, match=r"run\.ckpt"):
            checkpoint.load(path)


def test_missing_and_unreadable(tmp_path: Path) -> None:
    # Breaks if the operating system's exception reaches the user.
    with pytest.raises(UserError, match="no checkpoint"):
        checkpoint.load(tmp_path / "c")
    with pytest.raises(UserError, match="could not read"):
        checkpoint.load(tmp_path)


def test_unstorable_dtypes_are_refused(tmp_path: Path) -> None:
    # Breaks if objects are pickled or reduced to bytes.
    with pytest.raises(TypeError, match="'o' has dtype object"):
        checkpoint.save(tmp_path / "c", {"o": np.array([None])}, {})
    with pytest.raises(TypeError):
        checkpoint.save(tmp_path / "c", {}, {"x": object()})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "disk full .*; the previous checkpoint is intact; free space and run again"),
        (errno.EDQUOT, "disk full .*; the previous checkpoint is intact; free space and run again"),
        (errno.EACCES, "no permission .*; the previous checkpoint is intact; make .* writable"),
        (errno.EROFS, "no permission .*; the previous checkpoint is intact; make .* writable"),
        (errno.EIO, "Input/output error; the previous checkpoint is intact"),
    ],
)
@pytest.mark.parametrize("when", ["write", "flush", "rename"])
def test_failure_leaves_the_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, said: str, when: str
) -> None:
    # Breaks if the target is touched before the new file is whole, or the temporary one is left.
    path = tmp_path / "run.ckpt"
    checkpoint.save(path, {"x": np.arange(3)}, {"step": 1})

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        if when == "write":
            write, left = checkpoint._write_all, [2]

            def write_some(file: Any, data: Any) -> None:
                left[0] -= 1
                (write if left[0] > 0 else fail)(file, data)

            patch.setattr(checkpoint, "_write_all", write_some)
        else:
            patch.setattr(os, "fsync" if when == "flush" else "replace", fail)
        with pytest.raises(UserError, match=f"could not save checkpoint .*{said}.*--resume"):
            checkpoint.save(path, {"x": np.arange(4)}, {"step": 2})
    assert checkpoint.load(path)[1] == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_first_save_promises_no_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Breaks if the message speaks of a checkpoint that never was.
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(checkpoint, "_write_all", fail)
    with pytest.raises(UserError, match="disk full") as caught:
        checkpoint.save(tmp_path / "c", {}, {})
    assert "previous" not in str(caught.value)


def test_bad_targets(tmp_path: Path) -> None:
    # Breaks if a missing folder or a folder in the way is reported as something else.
    with pytest.raises(UserError, match="does not exist; create it"):
        checkpoint.save(tmp_path / "no" / "c", {}, {})
    with pytest.raises(UserError, match="folder of that name"):
        checkpoint.save(tmp_path, {}, {})


def test_interrupt_cleans_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Breaks if only OSError is cleaned up after: Ctrl-C is no OSError.
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "_write_all", interrupt)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path / "c", {}, {})
    assert list(tmp_path.iterdir()) == []


def test_flushed_before_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Breaks if the rename can reach the disk before the content: a power cut then leaves an empty
    # file.
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda f: (order.append("flush"), fsync(f))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("rename"), replace(a, b))[1])
    checkpoint.save(tmp_path / "c", {"x": np.arange(3)}, {})
    assert order == ["flush", "rename", "flush"]


def test_usual_permissions_and_links(tmp_path: Path) -> None:
    # Breaks if colleagues cannot read a result, or a link to another disk is replaced by a file.
    usual = tmp_path / "usual"
    usual.write_text("")
    (tmp_path / "real").mkdir()
    link = tmp_path / "c"
    link.symlink_to(tmp_path / "real" / "c")
    checkpoint.save(link, {}, {"step": 1})
    assert link.is_symlink()
    assert (tmp_path / "real" / "c").stat().st_mode == usual.stat().st_mode
    assert checkpoint.load(link)[1] == {"step": 1}


def test_write_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Breaks if text is not UTF-8, or if a failure harms the file that was there.
    path = tmp_path / "t"
    checkpoint.write_atomic(path, "λ\n")
    assert path.read_bytes() == "λ\n".encode()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(checkpoint, "_write_all", fail)
    with pytest.raises(UserError, match="disk full"):
        checkpoint.write_atomic(path, b"x")
    assert path.read_bytes() == "λ\n".encode()


def test_partial_writes_are_continued() -> None:
    # Breaks if a write that takes fewer bytes than given (very large ones, network disks) ends the
    # file.
    class Slow(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data[:3]))

    file = Slow()
    checkpoint._write_all(file, b"0123456789")
    assert file.getvalue() == b"0123456789"


LIMITED = """
import resource, sys
import numpy as np
from implicit_bias.errors import UserError
from implicit_bias.results import checkpoint
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    checkpoint.save(sys.argv[1], {"x": np.zeros(10**6)}, {"step": 2})
except UserError as error:
    print(error)
"""


def test_real_write_failure(tmp_path: Path) -> None:
    # Breaks if the kernel's own refusal, in the middle of a write, is not handled like a simulated
    # one.
    path = tmp_path / "run.ckpt"
    checkpoint.save(path, {"x": np.arange(3)}, {"step": 1})
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=True
    )
    assert "file-size limit" in done.stdout
    assert "previous checkpoint is intact" in done.stdout
    assert checkpoint.load(path)[1] == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


WRITER = """
import sys
import numpy as np
from implicit_bias.results import checkpoint
step = 0
while True:
    step += 1
    checkpoint.save(sys.argv[1], {"x": np.full(30_000, step)}, {"step": step})
    print(step, flush=True)
"""


def test_killed_at_random_moments(tmp_path: Path) -> None:
    # Breaks if a moment exists at which a kill leaves a half file, or loses one reported as saved.
    path = tmp_path / "run.ckpt"
    rng = random.Random(0)
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(rng.uniform(0, 0.03))
        writer.send_signal(signal.SIGKILL)
        reported = [int(line) for line in writer.stdout.read().split()]
        writer.wait()
        writer.stdout.close()
        arrays, meta = checkpoint.load(path)
        assert meta["step"] >= max(reported, default=1)
        assert (arrays["x"] == meta["step"]).all()
    checkpoint.remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_remove_partial_touches_nothing_else(tmp_path: Path) -> None:
    # Breaks if the pattern also fits files that are not ours.
    (tmp_path / "sub").mkdir()
    kept = [tmp_path / ".hidden", tmp_path / "x.partial", tmp_path / "results.nc"]
    gone = [tmp_path / ".results.nc.ab12cd34.partial", tmp_path / "sub" / ".c.00ff00ff.partial"]
    for path in (*kept, *gone):
        path.write_text("")
    assert checkpoint.remove_partial(tmp_path) == 2
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)


def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    # Breaks if a result written to a device or a pipe puts a file in its place.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UserError, match="no regular file"):
        checkpoint.write_atomic(pipe, b"content")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
