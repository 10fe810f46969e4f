"""Tuning: every layout of every program, timed by a clock that the tests own."""

from __future__ import annotations

import types

import numpy as np
import pytest

from implicit_bias.data import Dataset
from implicit_bias.training import Budget, make_plan
from implicit_bias.training.tune import TILES, Row, tune
from tests.training.conftest import make_lane, make_recipe

PARAMETERS = 6 * 8 + 8 + 8 * 3 + 3


@pytest.fixture
def machine(monkeypatch):
    """A machine whose speed is known: starting a chunk takes 3 s, an update what its tile says.

    Returns:
        The calls made, as (layout, batch size, updates of each lane).
    """
    now = 0.0
    calls = []
    seconds = {("map", 1): 0.02, ("vmap", 4): 0.005, ("vmap", 16): 0.04, ("vmap", 64): 0.01}

    def train_chunk(program, lanes, dataset, **options):
        nonlocal now
        layout = program.layout
        (updates,) = {lane.budget.updates for lane in lanes}
        now += 3.0 + seconds[layout.strategy, layout.tile] * updates
        calls.append((layout, program.recipe.batch_size, updates, lanes))

    monkeypatch.setattr(
        "implicit_bias.training.tune.time", types.SimpleNamespace(perf_counter=lambda: now)
    )
    monkeypatch.setattr("implicit_bias.training.tune.train_chunk", train_chunk)
    monkeypatch.setattr("implicit_bias.training.tune.SECONDS", 40.0)
    monkeypatch.setattr("implicit_bias.training.tune.make_pool", lambda *_: None)
    return types.SimpleNamespace(calls=calls, seconds=seconds)


def test_a_row_for_each_layout_with_one_fastest_of_each_program(machine, dataset: Dataset):
    # Breaks if a layout is left out, the start of a chunk counts as training, or the fastest is not.
    lanes = [make_lane(s, recipe=make_recipe(batch_size=b)) for b in (8, 16) for s in range(20)]
    plan = make_plan(lanes, dataset, devices=2)
    shown: list[Row] = []
    rows = tune(plan, on_row=shown.append)
    layouts = [("map", 1), ("vmap", 4), ("vmap", 16)]  # two tiles of 64 would be half empty
    assert [(r.program, r.batch_size, r.strategy, r.tile) for r in rows] == [
        (i, b, *layout) for i, b in enumerate((8, 16)) for layout in layouts
    ]
    assert {(row.lanes, row.devices) for row in rows} == {(20, 2)}
    for row in rows:
        work = 6e-9 * PARAMETERS * row.batch_size * 20
        seconds = machine.seconds[row.strategy, row.tile]
        np.testing.assert_allclose(row.gflops, work / seconds, rtol=1e-6)
    assert [row.tile for row in rows if row.fastest] == [4, 4]
    # Each is shown as soon as it is known, before the fastest is.
    assert [(r.program, r.tile, r.gflops) for r in shown] == [
        (r.program, r.tile, r.gflops) for r in rows
    ]
    assert not any(row.fastest for row in shown)


def test_what_is_timed_is_training_and_nothing_else(machine, dataset: Dataset):
    # Breaks if probes, evaluations or the budgets' ends are timed too, or compiling is.
    lanes = [make_lane(s, budget=Budget(5 + s, 0.1, 2), probes=(0, 3)) for s in range(4)]
    rows = tune(make_plan(lanes, dataset, devices=1))
    assert [row.tile for row in rows] == [1, 4]
    for layout in {call[0] for call in machine.calls}:
        updates = [call[2] for call in machine.calls if call[0] == layout]
        assert updates[0] == 1  # compiles
        assert max(updates) > 1
    for *_, timed in machine.calls:
        assert all(lane.probes == () and lane.budget.target_loss is None for lane in timed)
        assert [lane.seed for lane in timed] == [0, 1, 2, 3]


def test_a_row_tells_the_devices_that_were_used(machine, dataset: Dataset):
    # Breaks if a tile that takes all lanes on one device is booked as a run on two.
    rows = tune(make_plan([make_lane(s) for s in range(4)], dataset, devices=2))
    assert [(row.strategy, row.tile, row.devices) for row in rows] == [
        ("map", 1, 2),
        ("vmap", 4, 1),
    ]
    assert {call[0].devices for call in machine.calls if call[0].tile == 4} == {1}


@pytest.mark.parametrize("n", [1, 2, 8, 128])
def test_tiles_that_no_lane_would_fill_are_not_tried(machine, dataset: Dataset, n):
    # Breaks if a machine is measured on padding, or a tile that fits is not tried.
    plan = make_plan([make_lane(0)] * n, dataset, devices=1)
    tiles = [row.tile for row in tune(plan) if row.strategy == "vmap"]
    assert tiles == [tile for tile in TILES if tile <= 2 * n]


def test_it_runs(dataset: Dataset, monkeypatch):
    # Breaks if what is timed does not train. No time is asserted.
    monkeypatch.setattr("implicit_bias.training.tune.SECONDS", 0.0)
    rows = tune(make_plan([make_lane(s) for s in range(2)], dataset, devices=1))
    assert [(row.strategy, row.tile) for row in rows] == [("map", 1), ("vmap", 4)]
    assert sum(row.fastest for row in rows) == 1
    assert all(row.gflops > 0 for row in rows)
