"""Lanes that begin elsewhere: with given weights, at a later update, with another draw of their seed."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from implicit_bias import optimizers
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.keys import role_key
from implicit_bias.training import Budget, Lane, make_plan, train_chunk
from implicit_bias.training.measurement import begin_lanes
from implicit_bias.training.records import Trained
from implicit_bias.training.slots import make_pool
from tests.training.conftest import MODEL, make_lane, make_recipe

SEED, UPDATES, MIDDLE = 3, 12, 5
COSINE = optimizers.Schedule("cosine")
SETTINGS = {"decay_steps": 12.0}


def run(lanes: list[Lane], dataset: Dataset) -> Trained:
    """Train lanes of one recipe as one chunk."""
    (program,) = make_plan(lanes, dataset, devices=1).programs
    return train_chunk(program, lanes, dataset)


def of(trained: Trained, row: int) -> dict:
    """Parameters of one lane."""
    return jax.tree.map(lambda leaf: leaf[row], trained.params)


def same(first, second) -> bool:
    """Whether two pytrees are equal bit for bit."""
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def whole(dataset: Dataset) -> Trained:
    """A run in one go, and its first part; then with other draws of the seed. The step size falls."""
    recipe = make_recipe(schedule=COSINE)
    lanes = [
        make_lane(SEED, UPDATES, (MIDDLE, UPDATES), recipe, **SETTINGS),
        make_lane(SEED, MIDDLE, recipe=recipe, **SETTINGS),
        make_lane(SEED, UPDATES, recipe=recipe, replicates={"data_order": 1}, **SETTINGS),
        make_lane(SEED, MIDDLE, recipe=recipe, replicates={"initialisation": 1}, **SETTINGS),
    ]
    return run(lanes, dataset)


@pytest.fixture(scope="module")
def begun(whole: Trained, dataset: Dataset) -> tuple:
    """Examples and parameters that those lanes began with, as training drew them."""
    (program,) = make_plan(whole.lanes, dataset, devices=1).programs
    pool = make_pool(dataset, "float32", 1)
    examples, state = begin_lanes(
        program.recipe, dataset, pool, program.layout, whole.lanes, program.slots
    )
    return examples, [jax.tree.map(lambda x, r=r: np.asarray(x[r]), state.params) for r in range(4)]


@pytest.fixture(scope="module")
def later(whole: Trained, dataset: Dataset) -> Trained:
    """The second part, from the weights of the first."""
    recipe = make_recipe(schedule=COSINE, started=True, first_update=MIDDLE)
    lanes = [
        make_lane(SEED, UPDATES, (MIDDLE, UPDATES), recipe, start=start, **SETTINGS)
        for start in (of(whole, 1), of(whole, 3))
    ]
    return run(lanes, dataset)


def test_the_second_part_of_a_run_is_that_of_the_whole(whole: Trained, later: Trained):
    # Breaks if data order or schedule begin anew, an update is lost or made twice at the seam, or the
    # weights that were given are not those that are trained.
    assert same(of(later, 0), of(whole, 0))
    assert not same(of(later, 1), of(whole, 0))
    assert later.updates.tolist() == [UPDATES, UPDATES]
    for name, values in whole.logs.items():
        np.testing.assert_array_equal(values[0], later.logs[name][0])


def test_a_lane_that_begins_with_what_it_would_draw_is_the_usual_one(
    whole: Trained, begun: tuple, dataset: Dataset
):
    # Breaks if given weights are scaled, cast or masked otherwise than drawn ones.
    lane = whole.lanes[0]
    started = dataclasses.replace(lane.recipe, started=True)
    again = run([dataclasses.replace(lane, recipe=started, start=begun[1][0])], dataset)
    assert same(of(again, 0), of(whole, 0))


def test_a_replicate_is_another_draw_of_one_role(whole: Trained, begun: tuple, dataset: Dataset):
    # Breaks if a replicate of the order changes where a lane begins, one of the initialisation what it
    # sees, or neither changes anything.
    examples, (usual, _, order, init) = begun
    assert same(usual, order)
    key = jax.random.fold_in(role_key(SEED, "initialisation"), 1)
    drawn, _ = jax.jit(MODEL.init)(key, dataset.x_train[0])
    for mine, theirs in zip(jax.tree.leaves(init), jax.tree.leaves(drawn), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-7)
    train = np.asarray(examples.train)[:4]
    assert (train == train[:1]).all()
    assert not same(of(whole, 0), of(whole, 2))


def test_a_lane_has_its_old_identity_where_nothing_is_new(dataset: Dataset):
    # Breaks if finished runs are made again because lanes can begin elsewhere now, or if two lanes that
    # begin differently are taken for one.
    plain = make_lane(SEED)
    assert plain.identity("data") == make_lane(SEED, replicates={"data_order": 0}).identity("data")
    drawn, _ = MODEL.init(role_key(SEED, "initialisation"), dataset.x_train[0])
    started = make_recipe(started=True)
    others = [
        make_lane(SEED, replicates={"data_order": 1}),
        make_lane(SEED, replicates={"initialisation": 1}),
        make_lane(SEED, recipe=started, start=drawn),
        make_lane(SEED, recipe=started, start=jax.tree.map(lambda leaf: 2 * leaf, drawn)),
        make_lane(SEED, recipe=make_recipe(first_update=2)),
    ]
    names = {lane.identity("data") for lane in [plain, *others]}
    assert len(names) == 6


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: make_recipe(first_update=-1), "first_update is -1; choose at least 0"),
        (lambda: make_recipe(first_update=1.5), "first_update is 1.5; give a whole number"),
        (
            lambda: make_lane(recipe=make_recipe(first_update=12)),
            "the first update is number 12, but the lane ends at 12; begin earlier or train longer",
        ),
        (lambda: make_lane(recipe=make_recipe(started=True)), "on every lane, and only a started"),
        (lambda: make_lane(start={}), "on every lane, and only a started recipe"),
        (lambda: make_lane(replicates={"init": 1}), "unknown role of a replicate 'init'"),
        (lambda: make_lane(replicates={"data_order": -1}), "replicate of data_order is -1; choose"),
        (lambda: make_lane(replicates={"data_order": 0.5}), "give a whole number"),
    ],
)
def test_an_impossible_beginning_says_what_is_allowed(make, told: str):
    # Breaks if a mistake is found only once something is compiled, or not at all.
    with pytest.raises(UserError, match=told) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_start_of_another_network_is_refused(dataset: Dataset):
    # Breaks if parameters that happen to broadcast are taken for some of the right shape.
    drawn, _ = MODEL.init(role_key(SEED, "initialisation"), dataset.x_train[0])
    drawn = jax.tree.map(np.asarray, drawn)
    drawn["layer_1"]["weight"] = drawn["layer_1"]["weight"][:, :1]
    lane = make_lane(SEED, budget=Budget(3), recipe=make_recipe(started=True), start=drawn)
    with pytest.raises(UserError, match="the start of the lane with seed 3 is not shaped like"):
        make_plan([lane], dataset)
