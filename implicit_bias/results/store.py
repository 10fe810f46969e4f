"""A result on the disk: one netCDF file, rows are lanes.

A result is an ``xarray.Dataset`` with main dimension ``lane`` and a coordinate ``lane_id`` that
names each row. What was set (seed, arm, batch size …) is coordinates along ``lane``; what was
measured is variables along ``lane``, or ``lane × probe`` for logs, where a lane with fewer probes
is padded at the end (see ``padding``). Every numeric variable states its unit in ``attrs["units"]``
(``"1"`` if it has none). The dataset's attributes are ``study``, ``schema_version``, and
``settings`` and ``provenance`` as JSON text.

How long a run took is no part of its result: it goes into the file's group ``timing``, so that two
runs of the same thing are ``xarray.Dataset.identical`` once loaded, and byte for byte the same file
if saved with the same timing.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.results.checkpoint import save_error, write_atomic

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

SCHEMA_VERSION = 1
"""Raised when a reader of the old layout could no longer read the new one."""

TIMING_GROUP = "timing"

# After the netCDF file's own end, where netCDF readers do not look: this mark and a digest of the
# file.
_SEAL = b"IBSEAL1\n"
_DIGEST_BYTES = 32

_JSON_ATTRIBUTES = ("settings", "provenance")
# Shards that differ in one of these are different experiments, whatever their settings say.
_PROVENANCE_MUST_AGREE = ("data_checksum", "precision")


def make(
    variables: Mapping[str, Any],
    coords: Mapping[str, Any],
    *,
    study: str,
    settings: Mapping[str, Any],
    provenance: Mapping[str, Any],
    units: Mapping[str, str],
) -> xr.Dataset:
    """Put together a result and check that it is one.

    Args:
        variables: What was measured, as ``xarray.Dataset`` takes it: name to ``(dims, array)``.
        coords: What was set, likewise; among them ``lane_id``.
        study: The study's name.
        settings: The study's settings, JSON values. Not which shard of the lanes this is.
        provenance: What ``provenance.collect`` returns.
        units: Each numeric variable's unit; coordinates may have one too.

    Returns:
        The result, in memory.

    Raises:
        ValueError: It does not follow this module's layout, e.g. a variable without a unit.
    """
    import xarray as xr

    dataset = xr.Dataset(
        dict(variables),
        coords=dict(coords),
        attrs={
            "study": study,
            "schema_version": SCHEMA_VERSION,
            "settings": _to_json(settings),
            "provenance": _to_json(provenance),
        },
    )
    for name, unit in units.items():
        dataset[name].attrs["units"] = unit
    validate(dataset)
    return dataset


def validate(dataset: xr.Dataset) -> None:
    """Check that a dataset is a result that will come back from the disk as it is.

    Args:
        dataset: The dataset.

    Raises:
        ValueError: It lacks ``lane_id`` or an attribute, repeats a lane, has a numeric variable
            without a unit, or holds a dtype or an attribute that the file cannot give back exactly.
    """
    if "lane" not in dataset.dims or "lane_id" not in dataset.coords:
        raise ValueError("a result needs a dimension lane and a coordinate lane_id along it")
    lane_id = dataset["lane_id"]
    if lane_id.dims != ("lane",) or lane_id.dtype.kind not in "iuUO":
        raise ValueError("lane_id must be whole numbers or text, one for each lane")
    if len(np.unique(_plain(lane_id.values))) != lane_id.size:
        raise ValueError("lane_id must differ from lane to lane")
    for name in ("study", "schema_version", *_JSON_ATTRIBUTES):
        if name not in dataset.attrs:
            raise ValueError(f"a result needs the attribute {name!r}")
    for name in _JSON_ATTRIBUTES:
        json.loads(dataset.attrs[name])
    _check_storable(dataset)
    for variable_name, variable in dataset.data_vars.items():
        if variable.dtype.kind in "iuf" and "units" not in variable.attrs:
            raise ValueError(f"variable {variable_name!r} has no units; say '1' for a plain number")


def settings(dataset: xr.Dataset) -> dict[str, Any]:
    """Read a result's settings.

    Args:
        dataset: A result.

    Returns:
        The settings record.
    """
    return json.loads(dataset.attrs["settings"])


def provenance(dataset: xr.Dataset) -> dict[str, Any]:
    """Read a result's provenance.

    Args:
        dataset: A result.

    Returns:
        The provenance record; for a result combined from differing shards, ``{"merged": [record,
        …]}``.
    """
    return json.loads(dataset.attrs["provenance"])


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
        _check_storable(timing)
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


def padding(dtype: np.dtype | type) -> Any:
    """Say what fills the end of a log where a lane has fewer probes than the longest one.

    Args:
        dtype: The log's dtype.

    Returns:
        NaN for floating point, −1 for signed integers (steps are never negative), ``False`` or
        ``""``.

    Raises:
        ValueError: The dtype has no value to spare (unsigned integers).
    """
    fill = {"f": np.nan, "i": -1, "b": False, "U": "", "O": ""}
    kind = np.dtype(dtype).kind
    if kind not in fill:
        raise ValueError(f"{np.dtype(dtype)} has no value that could mean 'no probe'")
    return fill[kind]


def combine(
    datasets: Sequence[xr.Dataset],
    key: Sequence[str] = ("lane_id",),
    pad: Sequence[str] = ("probe",),
) -> xr.Dataset:
    """Put the shards of one sweep together.

    Lanes are sorted by ``key``, so the order of the shards does not matter, nor how the lanes were
    split. Provenance is kept as it is where all shards agree; otherwise the distinct records are
    listed.

    Args:
        datasets: Results with the same variables and settings, and different lanes.
        key: Coordinates along ``lane`` that together name a lane and give the order.
        pad: Dimensions along which a shard may be shorter than another; it is padded (see
            ``padding``).

    Returns:
        One result with all the lanes.

    Raises:
        UserError: There is nothing to combine; the shards differ in study, schema, settings, data,
            precision, variables or in what does not belong to a lane; or two hold the same lane.
    """
    import xarray as xr

    if not datasets:
        raise UserError("there is nothing to combine; give at least one result")
    first = datasets[0]
    for number, other in enumerate(datasets[1:], start=2):
        _refuse_difference(first, other, f"results 1 and {number}", pad)

    length = {dim: max(d.sizes.get(dim, 0) for d in datasets) for dim in pad}
    padded = [_pad(d, length) for d in datasets]
    whole = xr.concat(
        padded,
        dim="lane",
        data_vars="minimal",
        coords="minimal",
        compat="equals",
        join="exact",
        combine_attrs="override",
    )
    columns = [_plain(whole[name].values) for name in key]
    order = np.lexsort(columns[::-1])  # lexsort's last column counts first
    repeated = np.ones(max(order.size - 1, 0), bool)
    for column in columns:
        repeated &= column[order][1:] == column[order][:-1]
    if repeated.any():
        at = order[1:][repeated][0]
        lane = ", ".join(f"{name}={column[at]}" for name, column in zip(key, columns, strict=True))
        raise UserError(
            f"{repeated.sum()} lanes are in more than one result, e.g. {lane}; give each shard once"
        )
    whole = whole.isel(lane=order)
    whole.attrs = {**first.attrs, "provenance": _merge_provenance(datasets)}
    return whole


def to_csv(dataset: xr.Dataset, path: str | os.PathLike[str]) -> list[Path]:
    """Export a result as CSV: one row a lane, and one long table for the logs.

    Args:
        dataset: A result.
        path: The lanes' table, e.g. ``lanes.csv``; the logs go beside it, e.g. ``lanes_probe.csv``.

    Returns:
        The files written, the lanes' table first. Numbers are written so that they read back
        exactly.

    Raises:
        UserError: A file cannot be written.
    """
    written = []
    for suffix, frame in _tables(dataset).items():
        file = _beside(path, suffix)
        write_atomic(file, frame.to_csv(index=False, lineterminator="\n"))
        written.append(file)
    return written


def to_parquet(dataset: xr.Dataset, path: str | os.PathLike[str]) -> list[Path]:
    """Export a result as Parquet: one row a lane, and one long table for the logs.

    The tables are those of ``to_csv``, with dtypes kept, each column's unit in its field's
    metadata, and study, settings and provenance in the file's.

    Args:
        dataset: A result.
        path: The lanes' table, e.g. ``lanes.parquet``; the logs go beside it, e.g.
            ``lanes_probe.parquet``.

    Returns:
        The files written, the lanes' table first.

    Raises:
        UserError: A file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    written = []
    for suffix, frame in _tables(dataset).items():
        table = pa.Table.from_pandas(frame, preserve_index=False)
        fields = []
        for field in table.schema:
            unit = dataset[field.name].attrs.get("units")
            fields.append(field.with_metadata({"units": unit}) if unit else field)
        about = {name: str(value) for name, value in dataset.attrs.items()}
        table = table.cast(pa.schema(fields, metadata={**(table.schema.metadata or {}), **about}))
        sink = io.BytesIO()
        pq.write_table(table, sink)
        file = _beside(path, suffix)
        write_atomic(file, sink.getvalue())
        written.append(file)
    return written


def _encode(dataset: xr.Dataset, timing: xr.Dataset | None) -> bytes:
    """Make the netCDF file in memory.

    HDF5 must not meet a full disk itself: it then raises on closing, and again, as a crash, when
    the process ends. Results are small beside the training that made them.
    """
    import h5netcdf
    from xarray.backends import H5NetCDFStore

    buffer = io.BytesIO()
    with h5netcdf.File(buffer, "w") as file:
        groups = [(file, dataset)]
        if timing is not None:
            groups.append((file.create_group(TIMING_GROUP), timing))
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


def _check_storable(dataset: xr.Dataset) -> None:
    """Refuse what netCDF would give back as something else."""
    for name, variable in dataset.variables.items():
        kind = variable.dtype.kind
        text = kind == "U" or (
            kind == "O" and all(isinstance(v, str) for v in variable.values.flat)
        )
        number = kind in "biu" or variable.dtype in (np.float32, np.float64)
        if not (text or number):
            raise ValueError(
                f"variable {name!r} has dtype {variable.dtype}, which cannot be stored"
            )
        if not isinstance(name, str) or any(c in name for c in " /"):
            raise ValueError(f"variable name {name!r} must be text without spaces or slashes")
        _check_attributes(f"variable {name!r}", variable.attrs)
    _check_attributes("the dataset", dataset.attrs)


def _check_attributes(owner: str, attributes: Mapping[Any, Any]) -> None:
    for name, value in attributes.items():
        if isinstance(value, bool | np.bool_) or not isinstance(
            value, str | int | float | np.number
        ):
            raise ValueError(
                f"attribute {name!r} of {owner} is a {type(value).__name__}; "
                "it must be text or a number"
            )


def _plain(values: np.ndarray) -> np.ndarray:
    """Make text sortable and comparable whichever way it is held."""
    return values.astype(str) if values.dtype.kind == "O" else values


def _to_json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, sort_keys=True, allow_nan=False)


def _refuse_difference(a: xr.Dataset, b: xr.Dataset, who: str, pad: Sequence[str]) -> None:
    """Raise unless two results are parts of one."""
    for name in sorted({*a.attrs, *b.attrs} - {"provenance"}):
        if a.attrs.get(name) != b.attrs.get(name):
            where = _first_difference(a, b, name)
            raise UserError(f"{who} differ in {name}{where}; combine shards of one sweep only")
    for name in _PROVENANCE_MUST_AGREE:
        seen = {_to_json({"": record.get(name)}) for d in (a, b) for record in _records(d)}
        if len(seen) > 1:
            raise UserError(
                f"{who} differ in {name}; combine results on the same data and precision"
            )
    if set(a.variables) != set(b.variables):
        differing = ", ".join(sorted(map(str, set(a.variables) ^ set(b.variables))))
        raise UserError(f"{who} do not hold the same variables: only one has {differing}")
    for name in a.variables:
        one, other = a.variables[name], b.variables[name]
        if "lane" not in one.dims:
            same = one.identical(other)
        else:
            fixed = [dim for dim in one.dims if dim != "lane" and dim not in pad]
            same = (
                one.dims == other.dims
                and all(one.sizes[dim] == other.sizes[dim] for dim in fixed)
                and (one.dtype == other.dtype or {one.dtype.kind, other.dtype.kind} <= {"U", "O"})
                and one.attrs == other.attrs
            )
        if not same:
            raise UserError(f"{who} differ in {name!r} (shape, dtype, unit or shared values)")


def _first_difference(a: xr.Dataset, b: xr.Dataset, name: str) -> str:
    """Name the first setting that differs, so that nobody has to compare two JSON texts."""
    if name != "settings":
        return f" ({a.attrs.get(name)!r} and {b.attrs.get(name)!r})"
    one, other = settings(a), settings(b)
    for setting in sorted({*one, *other}):
        if one.get(setting) != other.get(setting):
            return f" ({setting}: {one.get(setting)!r} and {other.get(setting)!r})"
    return ""


def _pad(dataset: xr.Dataset, length: Mapping[str, int]) -> xr.Dataset:
    short = {
        dim: (0, size - dataset.sizes[dim])
        for dim, size in length.items()
        if dim in dataset.dims and dataset.sizes[dim] < size
    }
    if not short:
        return dataset
    indexed = [dim for dim in short if dim in dataset.coords]
    if indexed:
        raise UserError(f"cannot pad along {indexed[0]!r}, which has a coordinate of its own")
    padded = {}
    for name, variable in dataset.variables.items():
        here = {dim: width for dim, width in short.items() if dim in variable.dims}
        if here:
            padded[name] = variable.pad(
                here, mode="constant", constant_values=padding(variable.dtype), keep_attrs=True
            )
    coords = {name: v for name, v in padded.items() if name in dataset.coords}
    values = {name: v for name, v in padded.items() if name not in dataset.coords}
    return dataset.drop_vars(padded).assign_coords(coords).assign(values)


def _records(dataset: xr.Dataset) -> list[dict[str, Any]]:
    record = provenance(dataset)
    return record.get("merged", [record])


def _merge_provenance(datasets: Sequence[xr.Dataset]) -> str:
    distinct = sorted({_to_json(record) for d in datasets for record in _records(d)})
    if len(distinct) == 1:
        return distinct[0]
    return _to_json({"merged": [json.loads(text) for text in distinct]})


def _tables(dataset: xr.Dataset) -> dict[str, pd.DataFrame]:
    """Make one table of the lanes, under ``""``, and a long one per further set of dimensions."""
    groups: dict[tuple[str, ...], list[Any]] = {(): []}
    for name, variable in dataset.data_vars.items():
        if "lane" in variable.dims:
            extra = tuple(str(dim) for dim in variable.dims if dim != "lane")
            groups.setdefault(extra, []).append(name)
    tables = {}
    for extra, names in groups.items():
        if not extra:
            columns = [n for n, c in dataset.coords.items() if c.dims == ("lane",)]
            first = ["lane_id"] + [n for n in columns if n not in ("lane_id", "lane")]
            data = {n: dataset[n].values for n in [*first, *names]}
            tables[""] = _frame(data)
            continue
        shape = {dim: dataset.sizes[dim] for dim in ("lane", *extra)}
        index = dict(zip(shape, np.indices(tuple(shape.values())), strict=True))
        data = {"lane_id": dataset["lane_id"].values[index["lane"]].ravel()}
        for dim in extra:
            # A dimension without values of its own is counted from 0.
            at = dataset[dim].values if dim in dataset.coords else np.arange(dataset.sizes[dim])
            data[dim] = at[index[dim]].ravel()
        logs = {n: dataset[n].transpose(*shape).values.ravel() for n in names}
        kept = ~_is_padding(list(logs.values()))
        tables["_".join(extra)] = _frame({n: v[kept] for n, v in {**data, **logs}.items()})
    return tables


def _frame(data: Mapping[Any, np.ndarray]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {n: v.astype(object) if v.dtype.kind == "U" else v for n, v in data.items()}
    )


def _is_padding(logs: Sequence[np.ndarray]) -> np.ndarray:
    """Say which rows of a long table hold nothing: those where every log is at its padding."""
    telling = [values for values in logs if values.dtype.kind in "fiUO"]  # False and 0 are values
    empty = np.full(logs[0].shape, bool(telling))
    for values in telling:
        fill = padding(values.dtype)
        empty &= np.isnan(values) if values.dtype.kind == "f" else values == fill
    return empty


def _beside(path: str | os.PathLike[str], suffix: str) -> Path:
    path = Path(path)
    return path.with_name(f"{path.stem}_{suffix}{path.suffix}") if suffix else path
