"""A result's file: netCDF, sealed with a digest, written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.results.checkpoint import save_error, write_atomic
from implicit_bias.results.store.result import SCHEMA_VERSION, check_storable, validate

if TYPE_CHECKING:
    import xarray as xr


TIMING_GROUP = "timing"

# After the netCDF file's own end, where netCDF readers do not look: this mark and a digest of the
# file.
_SEAL = b"IBSEAL1\n"

_DIGEST_BYTES = 32


def save(
    dataset: xr.Dataset, path: str | os.PathLike[str], timing: xr.Dataset | None = None
) -> None:
    """Save a result as netCDF, atomically.

    The same result and timing give the same bytes, whenever and from whichever loaded copy they are
    saved.

    Args:
        dataset: A result (see ``validate``).
        path: The file, usually ``results.nc``.
        timing: What goes into the group ``timing``.

    Raises:
        UserError: The file cannot be written; what was there before is intact.
        ValueError: The dataset is not a result.
    """
    validate(dataset)
    if timing is not None:
        check_storable(timing)
    content = _encode(dataset, timing)
    try:
        write_atomic(path, content)
    except UserError as error:
        cause = error.__cause__
        if isinstance(cause, OSError):
            raise save_error("result", path, cause) from cause
        raise


def load(path: str | os.PathLike[str]) -> xr.Dataset:
    """Load a result into memory.

    Args:
        path: A file written by ``save``, or the folder of a run, whose ``results.nc`` is meant.

    Returns:
        The result, ``identical`` to the one saved.

    Raises:
        UserError: The file is missing, truncated, not a result, or of another schema version.
    """
    path = _result_file(path)
    dataset = _decode(path, _read(path), None)
    version = dataset.attrs.get("schema_version")
    if not isinstance(version, int):
        raise UserError(f"{path} is a netCDF file but not a result of this package")
    if version != SCHEMA_VERSION:
        which = "update the package" if version > SCHEMA_VERSION else "run the study again"
        raise UserError(
            f"{path} has schema version {version}, this package reads {SCHEMA_VERSION}; {which}"
        )
    try:
        validate(dataset)
    except ValueError as error:
        raise UserError(f"{path} is not a whole result: {error}; run the study again") from error
    return dataset


def load_timing(path: str | os.PathLike[str]) -> xr.Dataset:
    """Load the timing saved beside a result.

    Args:
        path: As for ``load``.

    Returns:
        The timing.

    Raises:
        UserError: The file is missing or truncated, or was saved without timing.
    """
    path = _result_file(path)
    return _decode(path, _read(path), TIMING_GROUP)


def _encode(dataset: xr.Dataset, timing: xr.Dataset | None) -> bytes:
    """Make the netCDF file in memory.

    HDF5 must not meet a full disk itself: it then raises on closing, and again, as a crash, when
    the process ends. Results are small beside the training that made them.
    """
    import h5netcdf
    from xarray.backends import H5NetCDFStore

    buffer = io.BytesIO(_blank([] if timing is None else [TIMING_GROUP]))
    with h5netcdf.File(buffer, "a") as file:
        groups = [(file, dataset)]
        if timing is not None:
            groups.append((file[TIMING_GROUP], timing))
        for group, content in groups:
            content = content.drop_encoding()  # what a loaded copy remembers of its file
            # Missing values are NaN themselves, not a special number that stands for them.
            unfilled = {
                name: {"_FillValue": None}
                for name, variable in content.variables.items()
                if variable.dtype.kind == "f"
            }
            content.dump_to_store(H5NetCDFStore(group), encoding=unfilled)
    return _sealed(buffer.getvalue())


def _blank(groups: list[str]) -> bytes:
    """Make an HDF5 file with nothing but groups, none of which notes when it was made.

    HDF5 before 2.0 writes the time into every group unless it is told not to, which only its own calls
    can.
    """
    from h5py import h5f, h5g, h5p

    def untimed(kind: Any) -> Any:
        properties = h5p.create(kind)
        properties.set_obj_track_times(False)
        # As netCDF asks for.
        properties.set_link_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)
        properties.set_attr_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)
        return properties

    in_memory = h5p.create(h5p.FILE_ACCESS)
    in_memory.set_fapl_core(backing_store=False)
    file = h5f.create(b"blank", h5f.ACC_TRUNC, untimed(h5p.FILE_CREATE), in_memory)
    try:
        for name in groups:
            h5g.create(file, name.encode(), gcpl=untimed(h5p.GROUP_CREATE))
        h5f.flush(file)
        content: bytes = file.get_file_image()
    finally:
        file.close()
    return content


def _sealed(content: bytes) -> bytes:
    """Append the mark and the digest."""
    return content + _SEAL + hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


def _decode(path: Path, content: bytes, group: str | None) -> xr.Dataset:
    """Read one group of a netCDF file held in memory."""
    import xarray as xr

    body = content[: -len(_SEAL) - _DIGEST_BYTES]
    # A file that another program has rewritten carries no mark, and is read on trust.
    if content[len(body) :].startswith(_SEAL) and content != _sealed(body):
        # HDF5 itself may loop forever on an altered file, so it must not be shown one.
        raise UserError(f"{path} was altered; restore it, or delete it and run again")
    try:
        with xr.open_dataset(
            io.BytesIO(content),
            engine="h5netcdf",
            group=group,
            decode_times=False,  # a variable in "seconds" is a number of seconds, not a date
            mask_and_scale=False,
        ) as opened:
            dataset = opened.load().drop_encoding()
    except Exception as error:  # whatever the layers below make of a damaged file
        if group is not None and isinstance(error, OSError | KeyError) and _opens(content):
            raise UserError(f"{path} was saved without {group}") from error
        raise UserError(
            f"{path} is truncated, damaged or not netCDF; restore it, or delete it and run again"
        ) from error
    dataset.attrs = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in dataset.attrs.items()
    }
    return dataset


def _opens(content: bytes) -> bool:
    import h5netcdf

    try:
        h5netcdf.File(io.BytesIO(content), "r").close()
    except OSError:
        return False
    return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"there is no result {path}; run the study first") from None
    except OSError as error:
        said = os.strerror(error.errno or errno.EIO)
        raise UserError(f"could not read result {path}: {said}") from error


def _result_file(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    return path / "results.nc" if path.is_dir() else path
