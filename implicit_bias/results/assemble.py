"""From finished lanes and trials to one ``xarray.Dataset``, one row each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from implicit_bias.results import store
from implicit_bias.results.trials import Trial, add_trials

if TYPE_CHECKING:
    import xarray as xr

    from implicit_bias.training import Lane
    from implicit_bias.training.measurement import Measurement
    from implicit_bias.training.probe import Probe


class Row(NamedTuple):
    """One lane of a result: the lane, its stage, and what is stored of it."""

    lane: Lane
    stage: str
    identity: str
    trained: Mapping[str, np.ndarray]
    measured: Mapping[str, np.ndarray] | None


# A logged quantity has the unit of the quantity; losses have that of the loss.
UNITS = {
    "step_size": "squared parameters per loss unit",
    "train_error": "fraction",
    "valid_error": "fraction",
    "test_error": "fraction",
    "updates": "updates",
    "updates_budget": "updates",
    "epochs": "epochs",
    "step": "updates",
}


def assemble(
    rows: Sequence[Row],
    measurement: Measurement | None,
    *,
    trials: Sequence[Trial] = (),
    probe: Probe | None = None,
    logged: Sequence[str],
    study: str,
    settings: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> xr.Dataset:
    """Put rows together.

    Args:
        rows: One for each lane, in the order they should stand.
        measurement: What was measured; lanes without measurements hold NaN, 0 or False.
        trials: One for each seed of each experiment; they stand behind the lanes.
        probe: What was measured while lanes trained.
        logged: Names of the quantities logged at probes.
        study: The study's name.
        settings: The study's settings.
        provenance: Where the result comes from.

    Returns:
        Dimension ``lane`` with coordinates ``lane_id``, ``seed``, ``stage``, the lane's tags, its batch
        size and its traced settings; variables by lane, and ``lane × probe`` logs. Trials are
        rows of the same dimension.
    """
    lanes = [row.lane for row in rows]
    coords: dict[str, Any] = {
        "lane_id": ("lane", np.asarray([_lane_id(row) for row in rows], object)),
        "seed": ("lane", np.asarray([lane.seed for lane in lanes], np.int64)),
        "stage": ("lane", np.asarray([row.stage for row in rows], object)),
        "batch_size": ("lane", np.asarray([lane.recipe.batch_size for lane in lanes], np.int64)),
        "optimizer": ("lane", np.asarray([lane.recipe.optimizer.name for lane in lanes], object)),
    }
    for name in sorted({name for lane in lanes for name in lane.tags}):
        coords[name] = ("lane", _tag_values([lane.tags.get(name) for lane in lanes]))
    for name in sorted({name for lane in lanes for name in lane.values}):
        numbers = [lane.values.get(name, np.nan) for lane in lanes]
        coords[name] = ("lane", np.asarray(numbers, np.float64))

    units: dict[str, str] = {}
    own = {lane.recipe.loss.unit for lane in lanes}
    loss_unit = own.pop() if len(own) == 1 else "loss unit"
    variables: dict[str, Any] = {
        "diverged": ("lane", np.asarray([bool(row.trained["diverged"]) for row in rows], bool))
    }
    if rows:
        variables |= _of_training(rows, logged, probe, coords, units)
    if measurement is not None and any(row.measured for row in rows):
        filled = next(row.measured for row in rows if row.measured)
        assert filled is not None
        for name, variable in measurement.variables.items():
            example = filled[name]
            absent = np.full_like(example, np.nan if example.dtype.kind == "f" else 0)
            stacked = [row.measured[name] if row.measured else absent for row in rows]
            variables[name] = (
                ("lane", *variable.dims),
                np.stack(stacked),
                {"long_name": variable.long_name},
            )
            units[name] = variable.units
        coords |= {name: list(values) for name, values in measurement.coordinates.items()}
    for name in variables:
        quantity = name.removeprefix("log_")
        units.setdefault(
            name, loss_unit if quantity.endswith("_loss") else UNITS.get(quantity, "1")
        )
    if trials:
        add_trials(variables, coords, units, len(rows), trials)
    return store.make(
        variables,
        coords,
        study=study,
        settings=settings,
        provenance=provenance,
        units={**units, **({"step_size": UNITS["step_size"]} if "step_size" in coords else {})},
    )


def _of_training(
    rows: Sequence[Row],
    logged: Sequence[str],
    probe: Probe | None,
    coords: dict[str, Any],
    units: dict[str, str],
) -> dict[str, Any]:
    """Return what training leaves of each lane; add the probe's coordinates and units."""
    variables: dict[str, Any] = {
        "updates": ("lane", np.asarray([row.trained["updates"] for row in rows], np.int64)),
        "epochs": (
            "lane",
            np.asarray(
                [row.trained["updates"] / row.lane.recipe.updates_per_epoch for row in rows]
            ),
        ),
        "updates_budget": ("lane", np.asarray([row.lane.budget.updates for row in rows], np.int64)),
        "target_loss": (
            "lane",
            np.asarray([row.lane.budget.target_loss or np.nan for row in rows], np.float64),
        ),
        "parameters": (
            "lane",
            np.asarray([row.trained["parameters"] for row in rows], np.int64),
        ),
        "reached_target": ("lane", np.asarray([bool(row.trained["reached"]) for row in rows])),
        "stop_loss": ("lane", np.asarray([row.trained["stop_loss"] for row in rows], np.float64)),
    }
    probes = max((row.trained["log_steps"].size for row in rows), default=0)
    variables["log_step"] = (("lane", "probe"), _padded(rows, "log_steps", probes))
    for name in logged:
        variables[f"log_{name}"] = (("lane", "probe"), _padded(rows, f"log_{name}", probes))
    if probe is not None:
        for name, variable in probe.variables.items():
            variables[f"log_{name}"] = (
                ("lane", "probe", *variable.dims),
                _padded(rows, f"log_{name}", probes),
                {"long_name": variable.long_name},
            )
            units[f"log_{name}"] = variable.units
        coords |= {name: list(values) for name, values in probe.coordinates.items()}
    return variables


def _tag_values(values: Sequence[Any]) -> np.ndarray:
    """Return a tag of every lane; lanes without it hold "", False or NaN, as the others' kind is."""
    given = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in given):
        return np.asarray(["" if value is None else str(value) for value in values], object)
    if all(isinstance(value, bool | np.bool_) for value in given):
        return np.asarray([bool(value) for value in values])
    return np.asarray([np.nan if value is None else value for value in values])


def _lane_id(row: Row) -> str:
    """Identity and stage and arm: two arms may share a lane, a result has a row for each."""
    return ":".join([row.identity, row.stage, str(row.lane.tags.get("arm", ""))])


def _padded(rows: Sequence[Row], name: str, length: int) -> np.ndarray:
    """Stack what was logged, one row a lane; NaN for probes a lane does not have or did not reach."""
    found = [np.asarray(row.trained[name], np.float64) for row in rows if name in row.trained]
    table = np.full((len(rows), length, *(found[0].shape[1:] if found else ())), np.nan)
    for index, row in enumerate(rows):
        if name in row.trained:
            there = np.flatnonzero(row.trained["log_steps"] >= 0)
            table[index, there] = np.asarray(row.trained[name], np.float64)[there]
    return table
