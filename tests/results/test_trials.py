"""Trials in a result: behind the lanes, with nothing of theirs and nothing of one another's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from implicit_bias.results.trials import Trial, add_trials
from implicit_bias.training.probe import Variable


class Experiment(SimpleNamespace):
    """What ``add_trials`` reads of an experiment; equal only to itself."""

    __hash__ = object.__hash__


CURVE = Experiment(
    variables={"curve": Variable(("radius",), "nats", "a curve")},
    coordinates={"radius": (1.0, 2.0)},
)
NUMBER = Experiment(variables={"number": Variable((), "1", "a number")}, coordinates={})


def trial(seed: int, experiment: Any, **values: Any) -> Trial:
    stage = "curve" if experiment is CURVE else "number"
    values = {"diverged": np.bool_(False), **values}
    return Trial(seed, stage, f"{stage}{seed}", values, experiment)


def lanes() -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """Two lanes with a column of every type."""
    variables: dict[str, Any] = {
        "diverged": ("lane", np.array([True, False])),
        "updates": ("lane", np.array([3, 4])),
        "log_loss": (("lane", "probe"), np.ones((2, 3)), {"long_name": "loss"}),
    }
    coords: dict[str, Any] = {
        "lane_id": ("lane", np.array(["a", "b"], object)),
        "seed": ("lane", np.array([0, 1])),
        "stage": ("lane", np.array(["arms", "arms"], object)),
        "arm": ("lane", np.array(["x", "y"], object)),
        "step_size": ("lane", np.array([0.1, 0.2])),
        "radius": [1.0, 2.0],
    }
    return variables, coords, {"log_loss": "nats"}


def test_rows_are_added_and_nothing_is_made_up() -> None:
    # Breaks if a value lands in another row, what is absent is a number, or lanes' columns change.
    variables, coords, units = lanes()
    trials = [
        trial(7, CURVE, curve=np.array([1.5, 2.5])),
        trial(8, NUMBER, number=np.float64(9), diverged=np.bool_(True)),
    ]
    add_trials(variables, coords, units, 2, trials)
    assert coords["seed"][1].tolist() == [0, 1, 7, 8]
    assert coords["arm"][1].tolist() == ["x", "y", "curve", "number"]
    assert coords["stage"][1].tolist() == ["arms", "arms", "curve", "number"]
    assert len(set(coords["lane_id"][1])) == 4
    np.testing.assert_array_equal(coords["step_size"][1], [0.1, 0.2, np.nan, np.nan])
    assert coords["radius"] == [1.0, 2.0]
    assert variables["diverged"][1].tolist() == [True, False, False, True]
    assert variables["updates"][1].tolist() == [3, 4, 0, 0]
    assert np.isnan(variables["log_loss"][1][2:]).all()
    assert variables["log_loss"][2] == {"long_name": "loss"}
    nan = np.nan
    curve = [[nan, nan], [nan, nan], [1.5, 2.5], [nan, nan]]
    np.testing.assert_array_equal(variables["curve"][1], curve)
    np.testing.assert_array_equal(variables["number"][1], [nan, nan, nan, 9])
    assert units["curve"] == "nats"


def test_names_and_dimensions_may_not_clash() -> None:
    # Breaks if one measurement overwrites another, or is read along another's radii.
    variables, coords, units = lanes()
    clash = Experiment(variables={"updates": NUMBER.variables["number"]}, coordinates={})
    with pytest.raises(ValueError, match="'updates' is measured twice"):
        add_trials(variables, coords, units, 2, [trial(0, clash, updates=np.float64(1))])
    variables, coords, units = lanes()
    coords["radius"] = [1.0, 3.0]
    with pytest.raises(ValueError, match="'radius' has other values"):
        add_trials(variables, coords, units, 2, [trial(0, CURVE, curve=np.zeros(2))])


def test_without_lanes_there_are_trials_alone() -> None:
    # Breaks if a study that trains nothing has no rows, or lacks the column of arms.
    variables: dict[str, Any] = {"diverged": ("lane", np.zeros(0, bool))}
    coords: dict[str, Any] = {name: ("lane", np.zeros(0, object)) for name in ("lane_id", "stage")}
    coords["seed"] = ("lane", np.zeros(0, np.int64))
    add_trials(variables, coords, {}, 0, [trial(2, NUMBER, number=np.float64(1))])
    assert coords["arm"][1].tolist() == ["number"]
    assert variables["number"][1].tolist() == [1.0]
