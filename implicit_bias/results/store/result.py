"""A result in memory: what it must hold, and what the disk can give back exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr


SCHEMA_VERSION = 1
"""Raised when a reader of the old layout could no longer read the new one."""

_JSON_ATTRIBUTES = ("settings", "provenance")


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
            "settings": to_json(settings),
            "provenance": to_json(provenance),
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
    if len(np.unique(comparable(lane_id.values))) != lane_id.size:
        raise ValueError("lane_id must differ from lane to lane")
    for name in ("study", "schema_version", *_JSON_ATTRIBUTES):
        if name not in dataset.attrs:
            raise ValueError(f"a result needs the attribute {name!r}")
    for name in _JSON_ATTRIBUTES:
        json.loads(dataset.attrs[name])
    check_storable(dataset)
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


def check_storable(dataset: xr.Dataset) -> None:
    """Refuse what netCDF would give back as something else.

    Raises:
        ValueError: A variable or an attribute is such a thing.
    """
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


def comparable(values: np.ndarray) -> np.ndarray:
    """Make text sortable and comparable whichever way it is held."""
    return values.astype(str) if values.dtype.kind == "O" else values


def to_json(record: Mapping[str, Any]) -> str:
    """Write a record as JSON, the same text for the same record.

    Raises:
        ValueError: It holds a number that JSON lacks.
    """
    return json.dumps(record, sort_keys=True, allow_nan=False)
