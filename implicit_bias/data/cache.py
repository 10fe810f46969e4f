"""Prepared datasets on disk: plain arrays with checksums, written whole or not at all.

One dataset is one uncompressed ``.npz`` file. Beside the arrays it holds ``header``, a JSON text
with the task, the source and, for each array, shape, type and SHA-256. Reading verifies all of it,
so a truncated or altered file is refused by name instead of being trained on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile

from implicit_bias.data.raw import RawData
from implicit_bias.errors import UserError

VARIABLE = "IMPLICIT_BIAS_CACHE"
"""Environment variable that names the cache folder."""

FORMAT = 1
"""Version of the file's layout."""


def directory(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder that prepared datasets live in; it may not exist yet.

    Args:
        cache_dir: A folder given by the caller; otherwise ``$IMPLICIT_BIAS_CACHE``, otherwise
            ``implicit_bias`` in the user's cache folder (``~/.cache`` on Linux).
    """
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE]).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "implicit_bias"
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    base = os.environ.get(variable)
    return (Path(base) if base else Path.home() / ".cache") / "implicit_bias"


def path(name: str, cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the file of a dataset, whether or not it exists.

    Args:
        name: Letters, digits, ``_``, ``-`` and ``.``, not starting with a dot.
        cache_dir: See :func:`directory`.

    Raises:
        UserError: The name cannot be a file's.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}", name):
        raise UserError(
            f"the dataset name {name!r} cannot be used; choose letters, digits, '_', '-' and '.'"
        )
    return directory(cache_dir) / f"{name}.npz"


def names(cache_dir: str | os.PathLike[str] | None = None) -> list[str]:
    """Return the names of all prepared datasets, sorted.

    Args:
        cache_dir: See :func:`directory`.
    """
    try:
        return sorted(p.stem for p in directory(cache_dir).glob("*.npz") if p.is_file())
    except OSError:
        return []


def save(
    name: str,
    raw: RawData,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    given: str | None = None,
) -> Path:
    """Write a dataset; a reader sees the old file or the new one, never a part of one.

    Args:
        name: Name to load it by.
        raw: The arrays and what is known about them.
        cache_dir: See :func:`directory`.
        given: What the user pointed at, to recognise the same request later.

    Returns:
        The file.

    Raises:
        UserError: The folder cannot be written to, or the disk is full; an earlier file stays as it
            was.
    """
    target = path(name, cache_dir)
    header = {
        "name": raw.name,
        "title": raw.title,
        "task": raw.task,
        "n_outputs": raw.n_outputs,
        "classes": raw.classes,
        "source": dict(raw.source),
        "given": given,
    }
    write_arrays(target, raw.arrays, header)
    return target


def write_arrays(
    target: Path, arrays: Mapping[str, npt.NDArray[Any]], header: Mapping[str, Any]
) -> None:
    """Write arrays with their checksums; a reader sees the old file or the new one, never a part.

    Args:
        target: The file; its folder is made where it is missing.
        arrays: The arrays by name.
        header: What is known about them, as JSON can hold it.

    Raises:
        UserError: The folder cannot be written to, or the disk is full; an earlier file stays as it
            was.
    """
    plain: dict[str, Any] = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
    described = {
        key: {"shape": value.shape, "dtype": value.dtype.str, "sha256": _sha256(value)}
        for key, value in plain.items()
    }
    full = {"format": FORMAT, **header, "arrays": described}
    text = np.frombuffer(json.dumps(full, indent=1).encode(), np.uint8)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder: only within one file system is a replacement atomic.
        temporary = target.with_name(f".saving-{os.getpid()}-{secrets.token_hex(4)}")
        with open(temporary, "xb") as file:
            np.savez(file, **plain, header=text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        temporary = None
        _sync_folder(target.parent)
    except OSError as error:
        raise UserError(
            f"cannot save {target} ({error.strerror or error}); free some space or set {VARIABLE} "
            "to a folder that can be written to"
        ) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def read_arrays(file: Path) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Read what :func:`write_arrays` wrote and verify every array against its checksum.

    Args:
        file: The file.

    Returns:
        The header and the arrays, read-only.

    Raises:
        FileNotFoundError: There is no such file.
        Exception: One of ``UNREADABLE``: it is truncated, altered or of another layout.
    """
    with open_npz(file) as stored:
        header = _header(stored)
        arrays = {}
        for key, expected in header["arrays"].items():
            array = stored[key]
            if list(array.shape) != expected["shape"] or array.dtype.str != expected["dtype"]:
                raise ValueError(f"array {key} has another shape or type than when it was saved")
            if _sha256(array) != expected["sha256"]:
                raise ValueError(f"array {key} does not have the checksum it was saved with")
            array.flags.writeable = False
            arrays[key] = array
    return header, arrays


def read_header(name: str, cache_dir: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Return the header of a prepared dataset without reading its arrays.

    Args:
        name: Name of the dataset.
        cache_dir: See :func:`directory`.

    Raises:
        UserError: The file is missing, or is not one that :func:`save` wrote.
    """
    file = path(name, cache_dir)
    try:
        with open_npz(file) as stored:
            return _header(stored)
    except FileNotFoundError as error:
        raise UserError(f"there is no prepared dataset {name!r} ({file})") from error
    except UNREADABLE as error:
        raise _refused(name, file, error) from error


def load(name: str, cache_dir: str | os.PathLike[str] | None = None) -> RawData:
    """Read a prepared dataset and verify every array against its checksum.

    Args:
        name: Name of the dataset.
        cache_dir: See :func:`directory`.

    Raises:
        UserError: The file is missing, truncated, altered or of another layout; the message names
            it and says how to rebuild it.
    """
    file = path(name, cache_dir)
    try:
        header, arrays = read_arrays(file)
        return RawData(
            name=header["name"],
            title=header["title"],
            task=header["task"],
            n_outputs=header["n_outputs"],
            arrays=arrays,
            source=header["source"],
            classes=None if header["classes"] is None else tuple(header["classes"]),
        )
    except FileNotFoundError as error:
        raise UserError(f"there is no prepared dataset {name!r} ({file})") from error
    except UNREADABLE as error:
        raise _refused(name, file, error) from error


@contextlib.contextmanager
def open_npz(file: Path) -> Iterator[NpzFile]:
    """Open an ``.npz`` file without Python objects, and close it even where NumPy would not.

    Args:
        file: The file.

    Raises:
        ValueError: It is a NumPy file of another kind.
    """
    # On a damaged file, `np.load` leaves a file that it has opened itself to the garbage collector.
    with open(file, "rb") as handle:
        stored = np.load(handle, allow_pickle=False)
        if not isinstance(stored, NpzFile):
            raise ValueError("it holds one bare array")
        with stored:
            yield stored


# What NumPy, zipfile and json raise on damaged files, as far as damage can reach.
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    OverflowError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
)


def _header(stored: Any) -> dict[str, Any]:
    header = json.loads(bytes(stored["header"]).decode())
    if header["format"] != FORMAT:
        raise ValueError(f"its layout has version {header['format']}, this program reads {FORMAT}")
    found: dict[str, Any] = header
    return found


def _refused(name: str, file: Path, error: BaseException) -> UserError:
    from implicit_bias.data.prepare import PUBLIC

    lines = str(error).strip().splitlines() or [type(error).__name__]
    # NumPy's advice for what it takes for a pickle is no advice here.
    said = "it is no such file" if "allow_pickle" in lines[0] else lines[0]
    again = name if name in PUBLIC else f"FILE --name {name}"
    return UserError(
        f"the prepared dataset {file} is damaged or cannot be read ({said}); rebuild it with "
        f"`implicit-bias data prepare {again} --force`"
    )


def _sha256(array: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself survive a power cut, where the system can do that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
