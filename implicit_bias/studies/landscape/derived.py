"""What follows from the planes and paths that were measured, and ways to pick parts of a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.studies.landscape.planes import boundary_rise

if TYPE_CHECKING:
    import xarray as xr

WAYS = ("straight", "matched", "curve")
"""How two networks are joined, by the first word of what is stored."""

_AXES = {"raw": ("a", "b"), "filter": ("u", "v")}


def derive(result: xr.Dataset) -> xr.Dataset:
    """Add what planes rise by, and the barriers of paths.

    ``rise_*`` is the mean loss on a plane's boundary minus that of its middle. ``predicted_*`` is what the
    Hessian over the plane says of it: half its trace times the mean square of a coordinate there.
    ``*_barrier`` is a path's highest loss or error above the straight line between those of its ends,
    ``*_climb`` its highest loss above the higher end, ``*_swing`` its highest loss over its lowest.
    """
    import xarray as xr

    added: dict[str, Any] = {}
    for kind, (first, second) in _AXES.items():
        plane = result[f"plane_{kind}"]
        axis = np.asarray(result[first].values, float)
        rise = boundary_rise(plane.transpose(..., first, second).values)
        dims = ("lane", "split", "slice")
        added[f"rise_{kind}"] = (dims, rise, {"units": "nats"})
        trace = result[f"plane_curvature_{kind}"].sum("mode", skipna=False)
        square = boundary_rise(np.add.outer(axis**2, axis**2)) / 2
        added[f"predicted_{kind}"] = (dims, trace.values * square / 2, {"units": "nats"})
    for way in WAYS:
        for what, unit in (("loss", "nats"), ("error", "fraction")):
            if f"{way}_{what}" not in result:  # an earlier stage's result has no paths yet
                continue
            places, values = path(result, way, what)
            dims = ("lane", "pair", "split")
            added[f"{way}_{what}_barrier"] = (dims, barrier(places, values), {"units": unit})
            if what == "loss":
                climb = values.max(-1) - np.maximum(values[..., 0], values[..., -1])
                added[f"{way}_climb"] = (dims, climb, {"units": unit})
                swing = values.max(-1) / values.min(-1)
                added[f"{way}_swing"] = (dims, swing, {"units": "1"})
    return result.assign({name: xr.Variable(*parts) for name, parts in added.items()})


def barrier(places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the highest rise above the straight line between both ends.

    Args:
        places: From 0 to 1, shape (n,).
        values: Shape (..., n).

    Returns:
        Shape (...,), at least 0; what is no more than rounding is 0.
    """
    chord = (1 - places) * values[..., :1] + places * values[..., -1:]
    rise = (values - chord).max(-1)
    return np.where(rise < 1e-12 * np.abs(values).max(-1), 0.0, rise)


def path(result: xr.Dataset, way: str, what: str = "loss") -> tuple[np.ndarray, np.ndarray]:
    """Return places from 0 to 1 and values along a path, shape (lanes, pairs, splits, places)."""
    name = f"{way}_{what}"
    dim = "alpha" if way == "straight" else "fraction"
    values = result[name].transpose("lane", "pair", "split", dim).values.astype(float)
    places = np.asarray(result[dim].values, float)
    inside = (places > -1e-9) & (places < 1 + 1e-9)
    return places[inside], values[..., inside]


def trials(result: xr.Dataset, stage: str) -> xr.Dataset:
    """Return the rows of an experiment, one a seed, in order.

    Raises:
        NotDecidable: There are none.
    """
    rows = np.flatnonzero(result["stage"].values == stage)
    if not rows.size:
        raise NotDecidable(f"the experiment {stage} was not done")
    return result.isel(lane=rows[np.argsort(result["seed"].values[rows], kind="stable")])


def end_points(result: xr.Dataset, arm: str) -> xr.Dataset:
    """Return the lanes of an arm, indexed by seed.

    Raises:
        NotDecidable: There are none.
    """
    rows = np.flatnonzero(result["arm"].values == arm)
    if not rows.size:
        raise NotDecidable(f"arm {arm} was not run")
    rows = rows[np.argsort(result["seed"].values[rows], kind="stable")]
    return result.isel(lane=rows).swap_dims(lane="seed")
