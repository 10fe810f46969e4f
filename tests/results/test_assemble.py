"""From finished lanes to a dataset: nothing shifts, nothing is made up."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from implicit_bias import losses, models, optimizers
from implicit_bias.results import store
from implicit_bias.results.assemble import Row, assemble
from implicit_bias.training import Budget, Lane, Recipe
from implicit_bias.training.measurement import Variable

RECIPE = Recipe(
    model=models.Dense((4,), 2),
    loss=losses.get("cross_entropy"),
    optimizer=optimizers.get("sgd"),
    schedule=optimizers.Schedule(),
    batch_size=16,
    n_train=40,
)
HEAVY = dataclasses.replace(RECIPE, optimizer=optimizers.get("heavy_ball"), batch_size=8)
LOGGED = ("train_loss", "test_error")
MEASUREMENT = SimpleNamespace(
    variables={
        "sharpness": Variable((), "nats per squared parameter", "largest eigenvalue"),
        "curve": Variable(("radius",), "nats", "loss along a direction"),
        "products": Variable((), "products", "Hessian-vector products"),
        "converged": Variable((), "1", "whether the method converged"),
    },
    coordinates={"radius": (0.5, 1.0)},
)


def row(
    number: int,
    probes: tuple[int, ...] = (0, 6),
    *,
    reached: int | None = None,
    recipe: Recipe = RECIPE,
    budget: Budget | None = None,
    stage: str = "arms",
    measured: bool = True,
    identity: str | None = None,
    tags: Any = None,
    diverged: bool = False,
    width: int | None = None,
) -> Row:
    """A finished lane whose values are functions of its number; probes after ``reached`` are NaN."""
    budget = budget or Budget(6)
    lane = Lane(recipe, number, {"step_size": 0.1 * (number + 1)}, budget, probes, tags or {})
    updates = budget.updates if reached is None else reached
    # As the engine stores a chunk: padded to the chunk's longest list of probes.
    steps = np.full(len(probes) if width is None else width, -1)
    steps[: len(probes)] = probes
    happened = (steps >= 0) & (steps <= updates)
    trained = {
        "updates": np.int64(updates),
        "diverged": np.bool_(diverged),
        "reached": np.bool_(budget.target_loss is not None),
        "stop_loss": np.float64(0.3 if budget.target_loss else np.nan),
        "parameters": np.int64(100 + number),
        "log_steps": steps,
        "log_train_loss": np.where(happened, number + steps / 10, np.nan),
        "log_test_error": np.where(happened, number / 8, np.nan),
    }
    values = {
        "sharpness": np.float32(number),
        "curve": np.array([number, -number], np.float32),
        "products": np.int32(number + 5),
        "converged": np.bool_(True),
    }
    return Row(lane, stage, identity or f"{number:016x}", trained, values if measured else None)


def put_together(rows: list[Row], measurement: Any = MEASUREMENT) -> xr.Dataset:
    return assemble(
        rows,
        measurement,
        logged=LOGGED,
        study="demo",
        settings={"seeds": len(rows)},
        provenance={"data_checksum": "d"},
    )


def test_each_lane_keeps_its_own_numbers(tmp_path: Path) -> None:
    # Breaks if a value lands in another row, is cast, or does not come back from the disk.
    rows = [row(3), row(0, recipe=HEAVY), row(7, stage="tuning", tags={"arm": "b"})]
    result = put_together(rows)
    store.validate(result)
    assert result.sizes["lane"] == 3
    assert result["seed"].values.tolist() == [3, 0, 7]
    assert result["stage"].values.tolist() == ["arms", "arms", "tuning"]
    assert result["batch_size"].values.tolist() == [16, 8, 16]
    assert result["optimizer"].values.tolist() == ["sgd", "heavy_ball", "sgd"]
    assert result["parameters"].values.tolist() == [103, 100, 107]
    assert result["updates"].values.tolist() == [6, 6, 6]
    assert result["epochs"].values.tolist() == [2, 1.2, 2]  # 3 and 5 batches in 40 examples
    np.testing.assert_allclose(result["step_size"], [0.4, 0.1, 0.8])
    # A setting that a lane's optimiser does not have is missing, not zero.
    np.testing.assert_array_equal(result["momentum"], [np.nan, 0.9, np.nan])
    assert result["sharpness"].values.tolist() == [3, 0, 7]
    assert result["sharpness"].dtype == np.float32
    assert result["curve"].dims == ("lane", "radius")
    assert result["curve"].values.tolist() == [[3, -3], [0, 0], [7, -7]]
    assert result["radius"].values.tolist() == [0.5, 1.0]
    assert result["log_train_loss"].values.tolist() == [[3, 3.6], [0, 0.6], [7, 7.6]]
    store.save(result, tmp_path / "results.nc")
    assert store.load(tmp_path / "results.nc").identical(result)


def test_ragged_logs_are_padded_at_the_end() -> None:
    # Breaks if a short list of probes is spread over a long one's steps, or padding looks like data.
    rows = [
        row(0, (0, 3, 6)),
        row(1, (6,)),
        row(2, ()),
        row(3, (0, 6), width=5),  # its chunk had a lane with five probes
        row(4, (0, 3, 6), reached=4),  # stopped at its target before the last probe
    ]
    result = put_together(rows)
    nan = np.nan
    assert result["log_step"].dims == ("lane", "probe")
    np.testing.assert_array_equal(
        result["log_step"],
        [[0, 3, 6, nan, nan], [6] + 4 * [nan], 5 * [nan], [0, 6] + 3 * [nan], [0, 3, 6, nan, nan]],
    )
    np.testing.assert_array_equal(
        result["log_train_loss"],
        [
            [0, 0.3, 0.6, nan, nan],
            [1.6] + 4 * [nan],
            5 * [nan],
            [3, 3.6] + 3 * [nan],
            [4, 4.3, nan, nan, nan],
        ],
    )
    assert result["log_test_error"].values[4, :2].tolist() == [0.5, 0.5]


def test_lanes_without_any_probe_are_a_result_too() -> None:
    # Breaks if a study that logs nothing cannot be stored.
    result = put_together([row(0, ()), row(1, ())])
    assert result["log_step"].shape == (2, 0)


def test_stops_and_targets_are_those_of_the_budget() -> None:
    # Breaks if a lane without a target has one of zero, or the budget passes for what was run.
    result = put_together(
        [row(0), row(1, budget=Budget(9, 0.5, 3), reached=3), row(2, diverged=True)]
    )
    assert result["updates_budget"].values.tolist() == [6, 9, 6]
    assert result["updates"].values.tolist() == [6, 3, 6]
    np.testing.assert_array_equal(result["target_loss"], [np.nan, 0.5, np.nan])
    np.testing.assert_array_equal(result["stop_loss"], [np.nan, 0.3, np.nan])
    assert result["reached_target"].values.tolist() == [False, True, False]
    assert result["diverged"].values.tolist() == [False, False, True]


def test_tags_become_coordinates_of_their_own_kind(tmp_path: Path) -> None:
    # Breaks if a tag that only some lanes have cannot be stored, or its absence reads as a value.
    rows = [
        row(0, tags={"arm": "small", "anchor": 16, "matched": True, "ratio": 0.5, "mixed": 1}),
        row(1, tags={"arm": "large", "anchor": 64, "matched": False, "mixed": "one"}),
        row(2, tags={"group": "é"}),
    ]
    result = put_together(rows)
    assert result["arm"].values.tolist() == ["small", "large", ""]
    np.testing.assert_array_equal(result["anchor"], [16, 64, np.nan])
    assert result["matched"].dtype == bool
    assert result["matched"].values.tolist() == [True, False, False]
    np.testing.assert_array_equal(result["ratio"], [0.5, np.nan, np.nan])
    assert result["mixed"].values.tolist() == ["1", "one", ""]
    assert result["group"].values.tolist() == ["", "", "é"]
    whole = put_together([row(0, tags={"anchor": 16}), row(1, tags={"anchor": 64})])
    assert whole["anchor"].dtype == np.int64
    store.save(result, tmp_path / "results.nc")
    assert store.load(tmp_path / "results.nc").identical(result)


def test_arms_that_share_a_lane_have_a_row_each() -> None:
    # Breaks if one of two arms that asked for the same run is lost, or both have one name.
    same = {"identity": "f" * 16}
    result = put_together(
        [
            row(0, tags={"arm": "a"}, **same),
            row(0, tags={"arm": "b"}, **same),
            row(0, stage="later", tags={"arm": "a"}, **same),
        ]
    )
    assert result["lane_id"].values.tolist() == [
        f"{'f' * 16}:arms:a",
        f"{'f' * 16}:arms:b",
        f"{'f' * 16}:later:a",
    ]
    # Breaks if a row that stands twice is not noticed.
    with pytest.raises(ValueError, match="lane_id must differ"):
        put_together([row(0), row(0)])


def test_unmeasured_lanes_hold_nothing() -> None:
    # Breaks if a lane of an unmeasured stage has another's measurement, or a zero for a number.
    result = put_together([row(2, measured=False), row(5), row(6, measured=False)])
    np.testing.assert_array_equal(result["sharpness"], [np.nan, 5, np.nan])
    np.testing.assert_array_equal(result["curve"], [[np.nan] * 2, [5, -5], [np.nan] * 2])
    assert result["products"].values.tolist() == [0, 10, 0]
    assert result["converged"].values.tolist() == [False, True, False]
    for measurement, measured in ((None, True), (MEASUREMENT, False)):
        result = put_together([row(0, measured=measured)], measurement)
        assert not {"sharpness", "curve", "radius"} & set(result.variables)


def test_every_number_has_its_unit() -> None:
    # Breaks if an axis cannot be labelled, or carries another quantity's unit.
    result = put_together([row(0), row(1, recipe=HEAVY)])
    for name, variable in result.data_vars.items():
        if variable.dtype.kind in "iuf":
            assert variable.attrs["units"], name
    units = {name: result[name].attrs["units"] for name in (*result.data_vars, "step_size")}
    assert units["curve"] == "nats"
    assert units["sharpness"] == "nats per squared parameter"
    assert units["products"] == "products"
    assert units["log_train_loss"] == units["stop_loss"] == units["target_loss"] == "nats"
    assert units["log_test_error"] == "fraction"
    assert units["log_step"] == units["updates"] == units["updates_budget"] == "updates"
    assert units["epochs"] == "epochs"
    assert units["parameters"] == "1"
    # A step is the step size times loss units per parameter, and is a parameter.
    assert units["step_size"] == "squared parameters per loss unit"
    assert result["sharpness"].attrs["long_name"] == "largest eigenvalue"


def test_what_it_is_about_is_stored_with_it() -> None:
    # Breaks if a result cannot be traced to its settings and data.
    result = put_together([row(0)])
    assert result.attrs["study"] == "demo"
    assert store.settings(result) == {"seeds": 1}
    assert store.provenance(result) == {"data_checksum": "d"}
