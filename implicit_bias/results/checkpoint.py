"""Files that are either the old one or the new one, never half of each.

``atomic_path`` is the way every file of a run is written: beside its target, flushed to the disk,
then renamed over it. A checkpoint is one such file holding named arrays, a JSON record and a
checksum.

The file is, in this order: eight magic bytes, the length of the header (eight bytes, little
endian), the header (JSON: each array's name, dtype, shape and offset, and the caller's record), the
arrays as raw bytes each starting at a multiple of 64, and a 32-byte BLAKE2b digest of all that
precedes. Nothing is compressed: saving runs between training segments and should cost no more than
the disk does.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from implicit_bias.errors import UserError

_MAGIC = b"IBCKPT1\n"
_ALIGN = 64
_DIGEST_BYTES = 32
_STORABLE_KINDS = "biufcUS"
_PARTIAL_SUFFIX = ".partial"


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path`` and rename it over ``path`` when the block ends well.

    The temporary file exists (empty) when the block starts. On leaving it is flushed to the disk
    before the rename, so that a power cut leaves one whole version too. If the block raises,
    whatever it raises, the temporary file is removed and ``path`` is what it was. A process killed
    in the middle leaves the temporary file behind: see ``remove_partial``.

    Args:
        path: The file to write. A symbolic link is followed, not replaced.

    Yields:
        The path to write to, in the same folder (a rename is atomic only within a file system).

    Raises:
        OSError: The folder does not exist or cannot be written to, or the disk is full.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        # Found out now rather than by the rename, after the work of writing.
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if target.exists() and not target.is_file():
        # The rename would put a file in the place of a device or a pipe.
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_PARTIAL_SUFFIX}")
    # Not tempfile: its files are private to the user, and a result should have the usual
    # permissions.
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield partial
        _flush(partial)
        os.replace(partial, target)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    # The rename itself reaches the disk with the folder. Some file systems refuse this; the new
    # file is in place and whole by now, so that is no failure.
    with contextlib.suppress(OSError):
        _flush(target.parent)


def write_atomic(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write a whole file atomically.

    Args:
        path: The file to write.
        content: Its bytes, or text to be stored as UTF-8.

    Raises:
        UserError: The file cannot be written (disk full, no permission, no such folder); what was
            there before is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        with atomic_path(path) as partial, open(partial, "wb") as file:
            _write_all(file, data)
    except OSError as error:
        raise save_error("file", path, error, "run again") from error


def remove_partial(directory: str | os.PathLike[str]) -> int:
    """Remove the temporary files that killed processes left in a folder and the folders below it.

    Only the one process that may write there should call this: a run does, once it holds the lock.

    Args:
        directory: The run's folder.

    Returns:
        The number of files removed.
    """
    removed = 0
    for leftover in Path(directory).rglob(f".*{_PARTIAL_SUFFIX}"):
        with contextlib.suppress(OSError):
            leftover.unlink()
            removed += 1
    return removed


def save_error(
    what: str, path: str | os.PathLike[str], error: OSError, remedy: str = "run again with --resume"
) -> UserError:
    """Explain in one line why a file could not be saved and what to do about it.

    Args:
        what: What the file is, e.g. ``"checkpoint"``.
        path: Where it was to go.
        error: What the operating system said.
        remedy: What to do once the cause is gone.

    Returns:
        An error ready to be raised.
    """
    full = {errno.ENOSPC, errno.EDQUOT}
    denied = {errno.EACCES, errno.EPERM, errno.EROFS}
    said = error.strerror or str(error)
    if error.errno in full:
        cause, action = f"disk full ({said})", "free space"
    elif error.errno == errno.EFBIG:
        cause, action = f"file-size limit reached ({said})", "raise the limit (ulimit -f)"
    elif error.errno in denied:
        cause, action = f"no permission ({said})", f"make {_parent(path)} writable"
    elif error.errno == errno.ENOENT:
        cause, action = f"its folder {_parent(path)} does not exist", "create it"
    elif error.errno == errno.EISDIR:
        cause, action = "there is a folder of that name", "choose another name"
    else:
        cause, action = said, "see to the disk"
    earlier = f"; the previous {what} is intact" if os.path.isfile(path) else ""
    return UserError(f"could not save {what} {path}: {cause}{earlier}; {action} and {remedy}")


def save(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]
) -> None:
    """Save named arrays and a record as one checkpoint.

    Args:
        path: The file to write; an earlier checkpoint there is replaced only once the new one is on
            the disk.
        arrays: Arrays of any shape whose dtype is boolean, integer, floating, complex or
            fixed-width text or bytes; dtype and shape come back exactly.
        meta: A record of JSON values with string keys; tuples come back as lists.

    Raises:
        UserError: The file cannot be written; an earlier checkpoint is intact.
        TypeError: An array's dtype cannot be stored, or ``meta`` is not JSON.
    """
    blocks: list[np.ndarray] = []
    entries: dict[str, dict[str, Any]] = {}
    offset = 0
    for name, given in arrays.items():
        array = np.asarray(given, order="C")
        if array.dtype.kind not in _STORABLE_KINDS:
            raise TypeError(
                f"array {name!r} has dtype {array.dtype}, which a checkpoint cannot hold"
            )
        entries[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "offset": offset}
        blocks.append(array)
        offset += -(-array.nbytes // _ALIGN) * _ALIGN
    header = json.dumps({"arrays": entries, "meta": dict(meta)}).encode()
    lead = _MAGIC + len(header).to_bytes(8, "little") + header
    lead += b"\0" * (-len(lead) % _ALIGN)

    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    try:
        with atomic_path(path) as partial, open(partial, "wb", buffering=0) as file:
            for piece in _pieces(lead, blocks):
                digest.update(piece)
                _write_all(file, piece)
            _write_all(file, digest.digest())
    except OSError as error:
        raise save_error("checkpoint", path, error) from error


def load(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Load a checkpoint and verify that it is what was saved.

    Args:
        path: A file written by ``save``.

    Returns:
        The arrays by name (writable, in the order saved) and the record.

    Raises:
        UserError: The file is missing, unreadable, not a checkpoint, truncated or altered.
    """
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}; run without --resume") from None
    except OSError as error:
        raise UserError(
            f"could not read checkpoint {path}: {os.strerror(error.errno or 0)}"
        ) from error

    start = len(_MAGIC) + 8
    if bytes(content[: len(_MAGIC)]) != _MAGIC:
        raise _damaged(path, "is not a checkpoint of this version")
    if content.size < start + _DIGEST_BYTES:
        raise _damaged(path, "is truncated")
    body, stored = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    # Before anything else is believed: the header's own numbers are covered too.
    if hashlib.blake2b(body.data, digest_size=_DIGEST_BYTES).digest() != bytes(stored):
        raise _damaged(path, "is truncated or altered (its checksum does not match)")

    length = int.from_bytes(bytes(body[len(_MAGIC) : start]), "little")
    header = json.loads(bytes(body[start : start + length]))
    first = -(-(start + length) // _ALIGN) * _ALIGN
    arrays = {}
    for name, entry in header["arrays"].items():
        dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
        # The arrays share the one buffer that was read, instead of being copied out of it.
        arrays[name] = (
            np.ndarray(shape, dtype, buffer=body.data, offset=first + entry["offset"])
            if dtype.itemsize and 0 not in shape
            else np.empty(shape, dtype)
        )
    return arrays, header["meta"]


def _pieces(lead: bytes, blocks: list[np.ndarray]) -> Iterator[bytes | memoryview]:
    """Yield the checkpoint's body in order, without copying the arrays."""
    yield lead
    for array in blocks:
        if array.nbytes:
            # Through uint8, because text and big-endian dtypes have no buffer that hashlib accepts.
            yield array.reshape(-1).view(np.uint8).data
        yield b"\0" * (-array.nbytes % _ALIGN)


def _write_all(file: BinaryIO | Any, data: bytes | memoryview) -> None:
    """Write every byte: an unbuffered file may take fewer than it is given."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _flush(path: Path) -> None:
    """Ask the operating system to put a file or a folder onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damaged(path: str | os.PathLike[str], how: str) -> UserError:
    return UserError(
        f"checkpoint {path} {how}; delete it and run the same command again: "
        "what it held is computed anew"
    )


def _parent(path: str | os.PathLike[str]) -> str:
    return os.path.dirname(os.fspath(path)) or "."
