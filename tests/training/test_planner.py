"""How a plan is made: fewest programs, chunks that fit, clear refusals."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implicit_bias import losses, models, optimizers
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.runtime import Layout
from implicit_bias.training import Budget, footprint, make_plan, table, train_chunk
from tests.training.conftest import MODEL, make_lane, make_recipe

PARAMETERS = 6 * 8 + 8 + 8 * 3 + 3
"""Of a 6-8-3 network with biases, by hand."""

LANES = [make_lane(seed, 10, recipe=make_recipe(batch_size=size))
         for seed in range(5) for size in (8, 16)]  # fmt: skip


def mask_of(value: int = 1) -> dict:
    shapes = jax.eval_shape(lambda key: MODEL.init(key, jnp.zeros(6))[0], jax.random.key(0))
    return jax.tree.map(lambda leaf: np.full(leaf.shape, value, np.uint8), shapes)


# Programs


def test_what_is_traced_shares_a_program(dataset: Dataset):
    # Breaks if a number that need not be compiled in costs a compilation, or a lane is lost.
    lanes = [
        make_lane(0),
        make_lane(1),
        make_lane(0, step_size=0.7, weight_decay=1e-3, decoupled_weight_decay=0.1),
        make_lane(0, init_scale=2.0, label_noise=0.3),
        make_lane(0, 99, (0, 50)),
        make_lane(0, budget=Budget(50, 0.1, 5)),
        dataclasses.replace(make_lane(0), tags={"arm": "other"}),
        # An equal recipe is the same recipe, whoever built it.
        make_lane(0, recipe=make_recipe(model=models.Dense((8,), 3, "tanh"))),
    ]
    (program,) = make_plan(lanes, dataset).programs
    assert [id(lane) for chunk in program.chunks for lane in chunk] == [id(lane) for lane in lanes]


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 8},
        {"n_train": 41},
        {"n_valid": 2},
        {"model": models.Dense((9,), 3, "tanh")},
        {"loss": losses.get("squared")},
        {"optimizer": optimizers.get("adam")},
        {"schedule": optimizers.Schedule("cosine")},
        {"sampling": "replacement"},
        {"micro_batch": 4},
        {"dtype": "float64"},
        {"precision": "bf16"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_static_has_a_program_of_its_own(dataset: Dataset, change):
    # Breaks if lanes that need different machine code are put together.
    lanes = [make_lane(0), make_lane(0, recipe=make_recipe(**change)), make_lane(1)]
    assert [p.n_lanes for p in make_plan(lanes, dataset).programs] == [2, 1]


def test_programs_keep_the_order_of_the_sweep(dataset: Dataset):
    # Breaks if lanes() is not what runs, or a program takes another's lanes.
    plan = make_plan(LANES, dataset)
    assert plan.n_lanes == 10
    assert [program.recipe.batch_size for program in plan.programs] == [8, 16]
    expected = [lane for size in (8, 16) for lane in LANES if lane.recipe.batch_size == size]
    assert [id(lane) for lane in plan.lanes()] == [id(lane) for lane in expected]


# Chunks


@settings(max_examples=40, deadline=None)
@given(
    counts=st.tuples(st.integers(1, 90), st.integers(0, 3)),
    budget=st.floats(0.5, 200),
    layout=st.sampled_from([("map", None), ("vmap", 1), ("vmap", 3), ("vmap", 8), (None, None)]),
    devices=st.sampled_from([None, 1, 2]),
)
def test_chunks_partition_the_lanes_and_each_fits_the_budget(
    dataset: Dataset, counts, budget, layout, devices
):
    # Breaks if rounding up the number of slots is forgotten, a lane is lost or run twice at an edge,
    # or chunks are smaller than they need to be.
    recipes = make_recipe(), make_recipe(batch_size=5)
    lanes = [make_lane(seed, recipe=recipe) for recipe, n in zip(recipes, counts, strict=True)
             for seed in range(n)]  # fmt: skip
    strategy, tile = layout
    whole = make_plan(lanes, dataset, strategy=strategy, tile=tile, devices=devices).programs
    lane_bytes, working = whole[0].lane_bytes, max(program.working_bytes for program in whole)
    most = max(program.layout.devices for program in whole)
    memory = int(budget * lane_bytes) + working
    try:
        plan = make_plan(
            lanes, dataset, memory=memory, strategy=strategy, tile=tile, devices=devices
        )
    except UserError as error:
        assert "the memory budget is" in str(error)  # noqa: PT017
        least = Layout("vmap" if tile else "map", tile or 1, 1)
        assert least.granule * lane_bytes + working > memory
        return
    assert [id(lane) for lane in plan.lanes()] == [id(lane) for lane in lanes]
    for program in plan.programs:
        sizes = [len(chunk) for chunk in program.chunks]
        slots = program.slots * program.layout.devices
        assert min(sizes) >= 1
        assert max(sizes) <= slots
        beside = program.layout.devices * program.working_bytes
        assert slots * lane_bytes + beside == program.peak_bytes <= memory
        assert program.slots % program.layout.tile == 0
        assert sizes[:-1] == sizes[:1] * (len(sizes) - 1)
        if len(sizes) > 1:
            assert (sizes[0] + program.layout.granule) * lane_bytes + beside > memory
        if program.layout.devices < min(most, math.ceil(program.n_lanes / program.layout.tile)):
            more = program.layout.devices + 1
            assert more * (program.layout.tile * lane_bytes + program.working_bytes) > memory
            assert any("devices: on more" in reason for reason in plan.reasons)


def test_slots_are_of_few_kinds_where_memory_allows(dataset: Dataset):
    # Breaks if every number of lanes is compiled anew.
    counts = range(1, 300)
    slots = {make_plan([LANES[0]] * n, dataset).programs[0].slots for n in counts}
    assert len(slots) <= 9


def test_large_lanes_get_no_empty_slots(dataset: Dataset, monkeypatch: pytest.MonkeyPatch):
    # Breaks if the memory up to which slots may be empty is not kept.
    lane_bytes = make_plan(LANES[:1], dataset).programs[0].lane_bytes
    monkeypatch.setattr("implicit_bias.training.planner.PADDED_MEMORY", 11 * lane_bytes)
    slots = [make_plan([LANES[0]] * n, dataset, devices=1).programs[0].slots for n in range(1, 13)]
    assert slots == [4, 4, 4, 4, 8, 8, 8, 8, 9, 10, 11, 12]


def test_ten_thousand_lanes_are_cut_to_a_bounded_size(dataset: Dataset):
    # Breaks if memory grows with the sweep.
    lanes = [LANES[0]] * 10_000
    (program,) = make_plan(lanes, dataset).programs
    budget = program.layout.devices * program.working_bytes + 2**20
    plan = make_plan(lanes, dataset, memory=budget)
    (program,) = plan.programs
    assert len(program.chunks) > 10
    assert sum(map(len, program.chunks)) == 10_000
    assert max(map(len, program.chunks)) * program.lane_bytes <= 2**20


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
def test_a_lane_is_as_large_as_the_engine_makes_it(dataset: Dataset, masked, devices):
    # Breaks if the optimiser's state, the targets or the mask are left out of the budget, or the copy that
    # is made where devices share a memory.
    recipe = make_recipe(optimizer=optimizers.get("adam"), masked=masked, n_valid=7)
    lane = make_lane(0, 1, recipe=recipe, mask=mask_of() if masked else None)
    plan = make_plan([lane], dataset, devices=devices)
    (program,) = plan.programs
    assert program.parameters == PARAMETERS
    # Adam holds the parameters, two moments and a counter.
    state = 3 * 4 * PARAMETERS + 4
    examples = 40 * (4 + 4) + 7 * 4  # an index and a class number each; an index each
    assert program.lane_bytes == (1 + devices) * state + examples + masked * PARAMETERS
    if not masked:
        seen = []
        train_chunk(program, [lane], dataset, on_segment=lambda p: seen.append(p.snapshot()))
        leaves = jax.tree.leaves(seen[0].state)
        assert sum(leaf[0].nbytes for leaf in leaves) == state
        assert {len(leaf) for leaf in leaves} == {program.slots * program.layout.devices}


# Layouts


def test_devices_are_all_used_but_no_more_than_there_are_lanes(dataset: Dataset):
    # Breaks if cores idle, or a device is given no lane.
    def devices(n, **options):
        return make_plan(LANES[0:1] * n, dataset, **options).programs[0].layout.devices

    present = jax.device_count()
    assert devices(20) == present
    assert devices(1) == 1
    assert devices(20, devices=1) == 1
    assert devices(4, strategy="vmap", tile=4) == 1


@pytest.mark.parametrize(
    ("backend", "strategy"), [("cpu", "map"), ("gpu", "vmap"), ("tpu", "vmap"), ("new", "vmap")]
)
def test_the_committed_table_decides_and_the_plan_says_why(
    dataset: Dataset, backend, strategy, monkeypatch
):
    # Breaks if a backend has no row, or the plan does not follow the table.
    choice = table.choose(backend)
    assert choice.strategy == strategy
    assert (choice.tile == 1) == (strategy == "map")
    assert choice.gflops > 0
    monkeypatch.setattr("implicit_bias.training.planner.jax.default_backend", lambda: backend)
    plan = make_plan(LANES, dataset)
    assert {(p.layout.strategy, p.layout.tile) for p in plan.programs} == {(strategy, choice.tile)}
    assert plan.reasons == (choice.reason,)
    asked = make_plan(LANES, dataset, strategy="vmap", tile=2)
    assert {(p.layout.strategy, p.layout.tile) for p in asked.programs} == {("vmap", 2)}
    assert asked.reasons == ("asked for",)


# Refusals

REGRESSION = Dataset("line", "regression", 3, np.eye(50, 6), np.eye(50, 3), np.eye(6), np.eye(6, 3))


@pytest.mark.parametrize(
    ("lanes", "options", "told"),
    [
        ([], {}, "the sweep has no lanes; give at least one seed, step size and batch size"),
        (LANES, {"devices": 0}, r"devices is 0, but JAX sees \d+; choose 1 to \d+"),
        (LANES, {"devices": 999}, r"devices is 999, but JAX sees \d+; choose 1 to \d+"),
        (LANES, {"memory": 0}, "memory is 0 bytes; choose a positive number"),
        (LANES, {"memory": 100}, "takes .* GB, but the memory budget is 1e-07 GB; raise it"),
        (LANES, {"strategy": "pmap"}, "strategy is 'pmap'; choose 'map' or 'vmap'"),
        (LANES, {"strategy": "vmap", "tile": 0}, "tile is 0 and strategy 'vmap'; choose"),
        (LANES, {"strategy": "vmap", "tile": -4}, "tile is -4 and strategy 'vmap'; choose"),
        (LANES, {"strategy": "map", "tile": 4}, "tile is 4 and strategy 'map'; choose tile 1"),
        (
            [make_lane(recipe=make_recipe(n_train=48, n_valid=3))],
            {},
            r"n_train \+ n_valid is 51, but toy has 50 training examples; choose fewer",
        ),
        (
            [make_lane(recipe=make_recipe(model=models.Dense((8,), 4)))],
            {},
            r"outputs have shape \(4,\), but toy needs 3; build the model for that many outputs",
        ),
        (
            [make_lane(recipe=make_recipe(model=models.Dense((8,), 1), loss=losses.get("logistic")))],
            {},
            r"outputs have shape \(1,\), but toy needs 3",
        ),
        (LANES, {"dataset": REGRESSION}, "loss 'cross_entropy' cannot be used for regression"),
        (
            [make_lane(recipe=make_recipe(masked=True), mask={"layer_0": np.ones((2, 2))})],
            {},
            "the mask of the lane with seed 0 is not shaped like the parameters; give one array",
        ),
    ],
    ids=lambda value: None if isinstance(value, list) else str(value),
)  # fmt: skip
def test_an_impossible_plan_says_what_is_allowed(dataset: Dataset, lanes, options, told):
    # Breaks if a mistake is found only once something is compiled, or not at all.
    with pytest.raises(UserError, match=told) as caught:
        make_plan(lanes, **{"dataset": dataset, **options})
    assert "\n" not in str(caught.value)


def test_a_mask_of_another_network_is_refused(dataset: Dataset):
    # Breaks if a mask that happens to broadcast is taken for one of the right shape.
    mask = mask_of()
    mask["layer_1"]["weight"] = mask["layer_1"]["weight"][:, :1]
    lanes = [make_lane(0, recipe=make_recipe(masked=True), mask=m) for m in (mask_of(0), mask)]
    make_plan(lanes[:1], dataset)
    with pytest.raises(UserError, match="not shaped like the parameters"):
        make_plan(lanes, dataset)


def test_float64_needs_a_jax_that_computes_in_it(dataset: Dataset):
    # Breaks if a float64 study quietly runs in float32.
    lanes = [make_lane(recipe=make_recipe(dtype="float64"))]
    make_plan(lanes, dataset)
    with jax.enable_x64(False), pytest.raises(UserError, match=r"configure\(float64=True\)"):
        make_plan(lanes, dataset)


def test_a_network_that_fits_nowhere_is_refused_before_it_is_compiled(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
):
    # Breaks if the compiler is asked about it first: it takes minutes, or ends the process.
    width = 10**9

    def never(*given: object) -> None:
        raise AssertionError("the compiler was asked")

    monkeypatch.setattr(footprint, "compiled", never)
    recipe = make_recipe(model=models.Dense((width, width), 3))
    # Kept twice at least: the second layer's weights alone are 4 width² bytes.
    with pytest.raises(
        UserError, match=r"what lanes keep takes .* but the memory budget is 3\.221 GB"
    ):
        make_plan([make_lane(0, recipe=recipe)], dataset)
    # With a budget that nothing has, it is predicted from shapes alone.
    (program,) = make_plan([make_lane(0, recipe=recipe)], dataset, memory=10**30).programs
    assert program.lane_bytes > 2 * 4 * width**2
