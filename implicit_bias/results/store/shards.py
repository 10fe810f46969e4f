"""Shards of one sweep, put together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.results.store.result import (
    comparable,
    padding,
    provenance,
    settings,
    to_json,
)

if TYPE_CHECKING:
    import xarray as xr


# Shards that differ in one of these are different experiments, whatever their settings say.
_PROVENANCE_MUST_AGREE = ("data_checksum", "precision")


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
    columns = [comparable(whole[name].values) for name in key]
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


def _refuse_difference(a: xr.Dataset, b: xr.Dataset, who: str, pad: Sequence[str]) -> None:
    """Raise unless two results are parts of one."""
    for name in sorted({*a.attrs, *b.attrs} - {"provenance"}):
        if a.attrs.get(name) != b.attrs.get(name):
            where = _first_difference(a, b, name)
            raise UserError(f"{who} differ in {name}{where}; combine shards of one sweep only")
    for name in _PROVENANCE_MUST_AGREE:
        seen = {to_json({"": record.get(name)}) for d in (a, b) for record in _records(d)}
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
    distinct = sorted({to_json(record) for d in datasets for record in _records(d)})
    if len(distinct) == 1:
        return distinct[0]
    return to_json({"merged": [json.loads(text) for text in distinct]})
