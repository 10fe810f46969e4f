"""Trials in a result: rows that are no training runs, behind those that are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from implicit_bias.training.experiment import Experiment


class Trial(NamedTuple):
    """One seed of an experiment: its stage, which is its arm too, and what is stored of it."""

    seed: int
    stage: str
    identity: str
    values: Mapping[str, np.ndarray]
    experiment: Experiment


def add_trials(
    variables: dict[str, Any],
    coords: dict[str, Any],
    units: dict[str, str],
    n_lanes: int,
    trials: Sequence[Trial],
) -> None:
    """Add rows for trials to what becomes a result.

    What lanes have and trials have not is NaN, 0, False or "" there, and what experiments measure is NaN
    for lanes and for other experiments.

    Args:
        variables: By name, ``(dims, array)`` or ``(dims, array, attributes)``; extended in place.
        coords: Likewise, or plain values along a dimension; extended in place.
        units: Of variables; extended in place.
        n_lanes: Rows there are.
        trials: Rows to add.

    Raises:
        ValueError: An experiment's variable has the name of another, or a dimension other values than
            elsewhere.
    """
    n = len(trials)
    own: dict[str, Sequence[Any]] = {
        "lane_id": [f"{trial.identity}:{trial.stage}:{trial.stage}" for trial in trials],
        "seed": [trial.seed for trial in trials],
        "stage": [trial.stage for trial in trials],
        "arm": [trial.stage for trial in trials],
    }
    coords.setdefault("arm", ("lane", np.full(n_lanes, "", object)))
    for name, entry in coords.items():
        if _by_lane(entry):
            coords[name] = _extended(entry, n, own.get(name))
    for name, entry in variables.items():
        own_values = [trial.values["diverged"] for trial in trials] if name == "diverged" else None
        if _by_lane(entry):
            variables[name] = _extended(entry, n, own_values)
    taken = set(variables)
    for experiment in dict.fromkeys(trial.experiment for trial in trials):
        rows = [index for index, trial in enumerate(trials) if trial.experiment == experiment]
        for dim, values in experiment.coordinates.items():
            if list(coords.setdefault(dim, list(values))) != list(values):
                raise ValueError(f"dimension {dim!r} has other values in another measurement")
        for name, variable in experiment.variables.items():
            if name in taken:
                raise ValueError(f"variable {name!r} is measured twice; give it another name")
            found = np.stack([np.asarray(trials[row].values[name]) for row in rows])
            whole = np.full((n_lanes + n, *found.shape[1:]), np.nan, found.dtype)
            whole[[n_lanes + row for row in rows]] = found
            attributes = {"long_name": variable.long_name}
            variables[name] = (("lane", *variable.dims), whole, attributes)
            units[name] = variable.units
        taken |= set(experiment.variables)


def _by_lane(entry: Any) -> bool:
    return isinstance(entry, tuple) and (entry[0] == "lane" or entry[0][0] == "lane")


def _extended(entry: tuple[Any, ...], n: int, values: Sequence[Any] | None) -> tuple[Any, ...]:
    dims, array, *rest = entry
    absent = {"f": np.nan, "O": "", "b": False}.get(array.dtype.kind, 0)
    tail = np.full((n, *array.shape[1:]), absent, array.dtype)
    if values is not None:
        tail[:] = np.asarray(values, array.dtype)
    return dims, np.concatenate([array, tail]), *rest
