"""A result as tables for other programs: CSV and Parquet."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.checkpoint import write_atomic
from implicit_bias.results.store.result import padding

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


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
