"""The compiled programs of a chunk: start, segment, evaluation."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import losses, models
from implicit_bias.data import Dataset
from implicit_bias.runtime import Layout, spread
from implicit_bias.training import Evaluation, Evaluator, LaneExamples, Pool
from implicit_bias.training.programs import (
    beginning,
    draw_examples,
    drawing,
    evaluate_lanes,
    run_segment,
    start_lanes,
)
from implicit_bias.training.slots import make_pool, stack_inputs
from tests.training.conftest import MODEL, make_lane, make_recipe

RECIPE = make_recipe(n_valid=10)
LAYOUT = Layout("map", 1, 2)
LANES = [make_lane(s, recipe=RECIPE, label_noise=0.5 * (s == 1), step_size=0.1) for s in range(4)]


def network(params: dict, x: np.ndarray) -> np.ndarray:
    """The test model, written with NumPy alone."""
    first, second = params["layer_0"], params["layer_1"]
    return np.tanh(x @ first["weight"].T + first["bias"]) @ second["weight"].T + second["bias"]


def cross_entropy(outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Log of the sum of exponentials minus the output of the true class."""
    return np.log(np.exp(outputs).sum(1)) - outputs[np.arange(len(y)), y]


def random_params(seed: int) -> dict:
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda key: MODEL.init(key, jnp.zeros(6))[0], jax.random.key(0))
    return jax.tree.map(lambda s: rng.normal(size=s.shape).astype(np.float32), shapes)


# The evaluator alone


@pytest.mark.parametrize("chunk_size", [7, 40, 1000], ids=["does not divide", "one set", "larger"])
def test_an_evaluation_is_the_mean_over_each_set(dataset: Dataset, chunk_size):
    # Breaks if the last chunk's surplus counts, a mean is taken over chunks, or a set is read through
    # the wrong rows or targets.
    rng = np.random.default_rng(0)
    rows = rng.permutation(50)
    noisy = rng.integers(0, 3, 40)  # targets after label noise; no class of the pool
    examples = LaneExamples(jnp.asarray(rows[:40]), jnp.asarray(rows[40:]), jnp.asarray(noisy))
    pool = Pool(
        *map(jnp.asarray, (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test))
    )
    params = random_params(1)
    evaluate = jax.jit(Evaluator(MODEL, losses.get("cross_entropy"), chunk_size))
    found = evaluate(pool, examples, params, {})
    sets = {
        "train": (dataset.x_train[rows[:40]], noisy),
        "valid": (dataset.x_train[rows[40:]], dataset.y_train[rows[40:]]),
        "test": (dataset.x_test, dataset.y_test),
    }
    for name, (x, y) in sets.items():
        outputs = network(params, x.astype(np.float64))
        loss = getattr(found, f"{name}_loss")
        assert loss.dtype == np.float32
        np.testing.assert_allclose(loss, cross_entropy(outputs, y).mean(), rtol=1e-5)
        error = np.mean(outputs.argmax(1) != y)
        assert 0 < error < 1
        np.testing.assert_allclose(getattr(found, f"{name}_error"), error, rtol=1e-6)


def test_an_empty_set_and_one_that_was_not_asked_for_are_missing(dataset: Dataset):
    # Breaks if a lane without validation has a validation loss of zero.
    examples = LaneExamples(jnp.arange(50), jnp.zeros(0, int), jnp.asarray(dataset.y_train))
    pool = Pool(
        *map(jnp.asarray, (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test))
    )
    evaluator = Evaluator(MODEL, losses.get("cross_entropy"), 16)

    @jax.jit
    def all_three(params, train_only):
        def evaluate(**options):
            return evaluator(pool, examples, params, {}, **options)

        return evaluate(), evaluate(train_only=True), evaluate(train_only=train_only)

    whole, part, traced = all_three(random_params(2), True)
    np.testing.assert_array_equal(traced, part)
    np.testing.assert_array_equal(all_three(random_params(2), False)[2], whole)
    assert np.isnan(whole.valid_loss)
    assert np.isnan(whole.valid_error)
    assert np.isfinite([whole.train_loss, whole.train_error, whole.test_loss]).all()
    assert part.train_loss == whole.train_loss
    assert part.train_error == whole.train_error
    assert np.isnan(part[2:]).all()


def test_regression_reports_half_and_whole_squared_distances():
    # Breaks if the factor of the loss slips into the error, or targets are averaged over.
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(20, 6)), rng.normal(size=(20, 2))
    model = models.Dense((), 2, "identity", bias=False)
    params = {"layer_0": {"weight": rng.normal(size=(2, 6))}}
    evaluate = jax.jit(Evaluator(model, losses.get("squared"), 8).on_set, static_argnums=3)
    loss, error = evaluate(params, {}, jnp.asarray(x), None, jnp.asarray(y))
    squares = ((x @ params["layer_0"]["weight"].T - y) ** 2).sum(1)
    np.testing.assert_allclose(error, squares.mean(), rtol=1e-12)
    np.testing.assert_allclose(loss, squares.mean() / 2, rtol=1e-12)


# Lanes


@pytest.fixture(scope="module")
def pool(dataset: Dataset) -> Pool:
    return make_pool(dataset, "float32", 2)


@pytest.fixture(scope="module")
def inputs():
    return spread(stack_inputs(LANES), 2)


@pytest.fixture(scope="module")
def start(dataset: Dataset, pool, inputs):
    """Examples and state of four lanes, on the host: the state is donated by what uses it."""
    present = spread(np.ones(4, bool), 2)
    examples = draw_examples(**drawing(RECIPE, LAYOUT, dataset, inputs, present))
    state = start_lanes(**beginning(RECIPE, LAYOUT, pool, inputs, present))
    return jax.tree.map(np.asarray, (examples, state))


def segment(pool, inputs, start, active, first, last):
    examples, state = spread(start, 2)
    new, loss, finite = run_segment(
        recipe=RECIPE, layout=LAYOUT, pool=pool, inputs=inputs, examples=examples, state=state,
        active=spread(np.asarray(active), 2), start=jnp.int32(first), stop=jnp.int32(last),
    )  # fmt: skip
    return jax.tree.map(np.asarray, (new, loss, finite))


def equal(first, second, rows) -> bool:
    """Whether lanes agree bit for bit, NaN included."""
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(a[rows].tobytes() == b[rows].tobytes() for a, b in pairs)


def test_a_start_gives_each_seed_its_own_examples_and_weights(start, dataset: Dataset):
    # Breaks if lanes share a draw, or validation examples are trained on.
    examples, state = start
    for row in range(4):
        train, valid = set(examples.train[row].tolist()), set(examples.valid[row].tolist())
        assert len(train) == 40
        assert len(valid) == 10
        assert train | valid == set(range(50))
    assert len({row.tobytes() for row in examples.train}) == 4
    weights = state.params["layer_0"]["weight"]
    assert len({row.tobytes() for row in weights}) == 4
    changed = examples.targets != dataset.y_train[examples.train]
    assert changed[[0, 2, 3]].sum() == 0
    assert 5 < changed[1].sum() < 35  # of 40, at a rate of one half


def test_a_segment_runs_its_updates_on_active_lanes_only(start, pool, inputs):
    # Breaks if a finished lane moves, or an empty segment does.
    state = start[1]
    new, loss, finite = segment(pool, inputs, start, [True, False, True, False], 0, 3)
    assert equal(new, state, [1, 3])
    assert not equal(new, state, [0])
    assert not equal(new, state, [2])
    assert finite.all()
    assert loss[[1, 3]].tolist() == [0, 0]
    assert (loss[[0, 2]] > 0).all()
    # Breaks if a segment of no updates is one of some.
    same, _, _ = segment(pool, inputs, start, [True] * 4, 3, 3)
    assert equal(same, state, [0, 1, 2, 3])


def test_the_loss_of_a_segment_is_the_mean_over_its_batches(start, pool, inputs, dataset: Dataset):
    # Breaks if the loss shown is a sum, or that of another lane. One epoch at a negligible step size:
    # batches of 16, 16 and 8.
    small = inputs._replace(
        settings={**inputs.settings, "step_size": jnp.full(4, 1e-12, "float32")}
    )
    _, loss, _ = segment(pool, spread(small, 2), start, [True] * 4, 0, 1)
    _, whole, _ = segment(pool, spread(small, 2), start, [True] * 4, 0, 3)
    _, last, _ = segment(pool, spread(small, 2), start, [True] * 4, 2, 3)
    examples, state = start
    for row in range(4):
        params = jax.tree.map(lambda leaf, r=row: leaf[r].astype(np.float64), state.params)
        x = dataset.x_train[examples.train[row]].astype(np.float64)
        total = cross_entropy(network(params, x), examples.targets[row]).sum()
        # 3·whole is the sum of three batch means; with the last one's weight corrected, the total.
        found = 16 * (3 * whole[row] - last[row]) + 8 * last[row]
        np.testing.assert_allclose(found, total, rtol=1e-5)
        assert loss[row] != whole[row]


def test_a_lane_that_is_not_finite_is_told(start, pool, inputs):
    # Breaks if divergence is overlooked, or blamed on a neighbour.
    examples, state = start
    params = jax.tree.map(np.copy, state.params)
    params["layer_1"]["bias"][2, 0] = np.inf
    _, _, finite = segment(
        pool, inputs, (examples, state._replace(params=params)), [True] * 4, 0, 2
    )
    assert finite.tolist() == [True, True, False, True]


def test_an_empty_slot_starts_as_zeros_and_changes_no_other(start, dataset: Dataset, pool, inputs):
    # Breaks if padding is drawn, or takes the place of a lane.
    there = np.array([True, False, True, True])
    present = spread(there, 2)
    examples = draw_examples(**drawing(RECIPE, LAYOUT, dataset, inputs, present))
    state = start_lanes(**beginning(RECIPE, LAYOUT, pool, inputs, present))
    found = jax.tree.map(np.asarray, (examples, state))
    assert equal(found, start, there)
    assert not any(leaf[1].any() for leaf in jax.tree.leaves(found))


def test_recipes_that_begin_alike_share_the_programs_of_their_beginning(
    start, dataset: Dataset, pool, inputs
):
    # Breaks if the batch size, which no beginning depends on, costs a compilation.
    present = spread(np.ones(4, bool), 2)
    draws, starts = draw_examples._cache_size(), start_lanes._cache_size()
    other = dataclasses.replace(RECIPE, batch_size=3, gradient_noise=True)
    noisy = inputs._replace(settings={**inputs.settings, "noise_batch_size": inputs.seed})
    draw_examples(**drawing(other, LAYOUT, dataset, noisy, present))
    start_lanes(**beginning(other, LAYOUT, pool, noisy, present))
    assert draw_examples._cache_size() == draws
    assert start_lanes._cache_size() == starts


def test_evaluating_lanes_skips_those_not_asked_for(start, pool, dataset: Dataset):
    # Breaks if a lane is given another's loss, or a lane without a probe a number.
    examples, state = start
    evaluator = Evaluator(MODEL, RECIPE.loss, 16)
    active = np.array([True, False, True, True])
    found = evaluate_lanes(
        evaluator=evaluator, layout=Layout("vmap", 2, 2), pool=pool,
        examples=spread(examples, 2), params=spread(state.params, 2), model_state={},
        active=spread(active, 2), train_only=jnp.bool_(False),
    )  # fmt: skip
    assert isinstance(found, Evaluation)
    for name, values in found._asdict().items():
        assert np.isfinite(np.asarray(values)).tolist() == active.tolist(), name
    for row in np.flatnonzero(active):
        params = jax.tree.map(lambda leaf, r=row: leaf[r].astype(np.float64), state.params)
        outputs = network(params, dataset.x_test.astype(np.float64))
        expected = cross_entropy(outputs, dataset.y_test).mean()
        np.testing.assert_allclose(found.test_loss[row], expected, rtol=1e-5)


def test_other_numbers_do_not_compile_again(start, pool, inputs):
    # Breaks if a traced setting, a seed or a segment's length becomes part of the compiled program.
    segment(pool, inputs, start, [True] * 4, 0, 3)
    before = run_segment._cache_size()
    other = [
        dataclasses.replace(lane, seed=lane.seed + 9, settings={"step_size": 0.3, "weight_decay": 1})
        for lane in LANES
    ]  # fmt: skip
    segment(pool, spread(stack_inputs(other), 2), start, [False] * 4, 5, 60)
    assert run_segment._cache_size() == before
