"""Batch normalisation in the engine: whose statistics a batch has, and where running ones go."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.data import Dataset
from implicit_bias.data.batches import epoch_order
from implicit_bias.keys import role_key
from implicit_bias.models import normalised_dense
from implicit_bias.runtime import Layout
from implicit_bias.training import make_plan, train_chunk
from implicit_bias.training.lane import LaneInputs, Pool, batch_gradient
from implicit_bias.training.measurement import begin_lanes
from implicit_bias.training.slots import make_pool
from tests.training.conftest import make_lane, make_recipe

SEED = 5
NORMALISED = normalised_dense((8,), 3, "tanh")


@pytest.fixture(scope="module")
def begun(dataset: Dataset) -> tuple[Any, Any, Any]:
    """A lane's pool, examples and first state."""
    recipe = make_recipe(model=NORMALISED)
    pool = make_pool(dataset, "float32", 1)
    lanes = [make_lane(SEED, recipe=recipe)]
    examples, state = begin_lanes(recipe, dataset, pool, Layout("map", 1, 1), lanes, 1)
    arrays = (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test)
    pool = Pool(*map(jnp.asarray, arrays))
    return pool, *jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], (examples, state))


def by_hand(params: Any, state: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Gradient of the mean cross-entropy of a batch, and the new statistics, without the engine."""

    def loss(params: Any) -> tuple[jax.Array, Any]:
        outputs, new = NORMALISED.apply(params, state, x, train=True)
        log_p = jax.nn.log_softmax(outputs)
        return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1)), new

    return jax.jit(jax.grad(loss, has_aux=True))(params)


def close(found: Any, expected: Any, tolerance: float = 2e-5) -> None:
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
        found,
        expected,
    )


def test_the_last_batch_of_an_epoch_is_smaller(dataset: Dataset, begun: Any):
    # Forty examples in batches of 16: the third has 8, and 8 empty slots that repeat an example.
    # Trained by the engine, and by a loop over true batches. Broken by statistics that count them.
    pool, examples, state = begun
    recipe = make_recipe(model=NORMALISED)
    lanes = [make_lane(SEED, 4, recipe=recipe)]
    (program,) = make_plan(lanes, dataset, devices=1).programs
    trained = train_chunk(program, lanes, dataset)
    params, statistics = state.params, state.model_state
    orders = [epoch_order(role_key(SEED, "data_order"), epoch, 40) for epoch in range(2)]
    for order in (orders[0][:16], orders[0][16:32], orders[0][32:], orders[1][:16]):
        x, y = pool.x_train[examples.train[order]], examples.targets[order]
        gradient, statistics = by_hand(params, statistics, x, y)
        params = jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient)
    close(jax.tree.map(lambda leaf: leaf[0], trained.params), params)
    close(jax.tree.map(lambda leaf: leaf[0], trained.model_state), statistics)


def gradient_of(recipe: Any, begun: Any, weights: Any, indices: Any) -> tuple[Any, Any]:
    pool, examples, state = begun
    settings = {"noise_batch_size": jnp.float32(2.0)}
    inputs = LaneInputs(jnp.uint32(SEED), settings)
    run = jax.jit(
        lambda state, weights: batch_gradient(
            recipe, pool, inputs, examples, state, jnp.int32(0), indices, weights
        )
    )
    _, new, gradient = run(state, weights)
    return gradient, new


def test_injected_noise_leaves_the_statistics_alone(begun: Any):
    # Noise changes what each example counts in the gradient, below 0 too, but not in the batch's mean
    # and variance. Broken by the noisy weights passed on.
    indices, weights = jnp.arange(16), jnp.full(16, 1 / 16, jnp.float32)
    noisy = gradient_of(make_recipe(model=NORMALISED, gradient_noise=True), begun, weights, indices)
    plain = gradient_of(make_recipe(model=NORMALISED), begun, weights, indices)
    close(noisy[1], plain[1], 1e-7)
    difference = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), noisy[0], plain[0])
    assert max(jax.tree.leaves(difference)) > 1e-3


def test_micro_batches_have_their_own_statistics(begun: Any):
    # A batch of 14 in parts of 4, its last 6 slots empty: parts of 4, 4 and 0 examples, and one of
    # padding. Each is normalised by itself, as in PyTorch's accumulation; an empty one changes
    # nothing. Broken by NaN from a part without examples, or statistics of another part.
    pool, examples, state = begun
    recipe = make_recipe(model=NORMALISED, batch_size=14, micro_batch=4)
    indices = jnp.concatenate([jnp.arange(8), jnp.full(6, 7)])
    weights = jnp.where(jnp.arange(14) < 8, jnp.float32(1 / 8), jnp.float32(0))
    found, new = gradient_of(recipe, begun, weights, indices)
    statistics, total = state.model_state, None
    for rows in (jnp.arange(4), jnp.arange(4, 8)):
        x, y = pool.x_train[examples.train[rows]], examples.targets[rows]
        gradient, statistics = by_hand(state.params, statistics, x, y)
        half = jax.tree.map(lambda g: g / 2, gradient)
        total = half if total is None else jax.tree.map(jnp.add, total, half)
    close(found, total)
    close(new, statistics)
