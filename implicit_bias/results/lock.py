"""One run per folder.

The lock is the kernel's (``flock``), so it goes with the process that holds it, however that
process ends: a file left behind by a killed run blocks nobody. POSIX only; there is no Windows
fallback.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
from pathlib import Path
from types import TracebackType

from implicit_bias.errors import UserError
from implicit_bias.results.checkpoint import remove_partial

LOCK_NAME = ".lock"
"""The lock file's name inside the run's folder. It stays there, empty, when the run ends: removing
a lock file would let a third run lock a file that a second one no longer sees."""


class RunLock:
    """Hold a folder for one run, as a context manager.

    Entering creates the folder if need be, takes the lock, writes the holder's process id and start
    time into the lock file and removes temporary files that a killed run left there. The lock is
    released on leaving, or by the kernel when the process ends. A forked child shares it until the
    child ends too.

    Attributes:
        directory: The folder.
    """

    def __init__(self, directory: str | os.PathLike[str], *, remove_leftovers: bool = True) -> None:
        """Name the folder; nothing happens before the ``with`` statement.

        Args:
            directory: The run's folder.
            remove_leftovers: Whether temporary files below it are removed. A folder that holds those of
                others, which may be at work there, must be left as it is.
        """
        self.directory = Path(directory)
        self._remove_leftovers = remove_leftovers
        self._descriptor: int | None = None

    def __enter__(self) -> RunLock:
        """Take the lock.

        Returns:
            This object.

        Raises:
            UserError: Another run holds the folder, or the folder cannot be created, written or
                locked.
        """
        import fcntl

        if self._descriptor is not None:
            raise RuntimeError("this lock is already held; make another RunLock")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.directory / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise _unusable(self.directory, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            holder = {"pid": os.getpid(), "started": _now()}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        except OSError as error:
            busy = error.errno in {errno.EWOULDBLOCK, errno.EACCES}
            refusal = (
                _busy(self.directory, descriptor) if busy else _unusable(self.directory, error)
            )
            os.close(descriptor)
            raise refusal from error
        self._descriptor = descriptor
        if self._remove_leftovers:
            remove_partial(self.directory)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release the lock; the lock file stays, empty."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)


def _busy(directory: Path, descriptor: int) -> UserError:
    """Name the holder, as far as it has introduced itself."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        who = f"process {holder['pid']}, started {holder['started']}"
    except (OSError, ValueError, KeyError, TypeError):
        # The holder has the lock and is about to write its name.
        who = "a process that has just started"
    return UserError(
        f"another run is using {directory} ({who}); wait for it, stop it, or choose another --out"
    )


def _unusable(directory: Path, error: OSError) -> UserError:
    if error.errno in {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}:
        return UserError(
            f"{directory} is on a file system without locks; choose an --out on a local disk"
        )
    if error.errno in {errno.EEXIST, errno.ENOTDIR}:
        return UserError(f"{directory} is a file or lies below one; choose a folder as --out")
    said = os.strerror(error.errno) if error.errno else str(error)
    return UserError(
        f"could not use {directory} for results: {said}; choose an --out that can be written to"
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
