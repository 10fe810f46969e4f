"""Injected gradient noise: its mean and covariance, counted against what they stand for."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.data import Dataset
from implicit_bias.keys import role_key
from implicit_bias.training import make_plan, train
from implicit_bias.training.lane import LaneInputs, batch_gradient, initial_state, lane_examples
from implicit_bias.training.noise import noisy_weights
from implicit_bias.training.slots import make_pool
from tests.training.conftest import make_lane, make_recipe

SLOTS = 12
DRAWS = 40_000
GRADIENTS = np.random.default_rng(3).normal(size=(SLOTS, 3)) * [1.0, 0.3, 2.0] + [5.0, 0.0, -1.0]


def batch_weights(present: int, dtype=np.float64) -> jax.Array:
    """Weights of a batch with some of its slots empty."""
    return jnp.asarray(np.where(np.arange(SLOTS) < present, 1 / present, 0), dtype)


@jax.jit
def draw(keys: jax.Array, weights: jax.Array, small_batch: jax.Array) -> jax.Array:
    return jax.vmap(lambda key: noisy_weights(key, weights, small_batch))(keys)


def draws(present: int, small: int) -> np.ndarray:
    """Weights (draws, slots)."""
    keys = jax.random.split(jax.random.key(present * 100 + small), DRAWS)
    return np.asarray(draw(keys, batch_weights(present), jnp.float64(small)))


def assert_covariance(samples: np.ndarray, expected: np.ndarray) -> None:
    """Within 4.5 standard errors: those of a Gaussian sample's covariance (Wishart)."""
    found = np.cov(samples.T)
    variances = np.diag(expected)
    error = np.sqrt((np.outer(variances, variances) + expected**2) / len(samples))
    assert (np.abs(found - expected) <= 4.5 * error).all(), (found, expected)
    # The test has to tell B from B − 1, and 1/b from 1/b − 1/B.
    assert (4.5 * np.diag(error) < 0.05 * variances).all()


@pytest.mark.parametrize(
    ("present", "small"), [(12, 3), (12, 1), (7, 2)], ids=["full", "b = 1", "last batch of 7"]
)
def test_the_noise_has_the_mean_and_covariance_of_a_smaller_batch(present, small):
    # Breaks if the scale confuses B with B − 1 or b, counts empty slots, or the noise is not centred.
    samples = draws(present, small) @ GRADIENTS
    inside = GRADIENTS[:present]
    expected = (1 / small - 1 / present) * np.cov(inside.T)
    assert_covariance(samples, expected)
    error = np.sqrt(np.diag(expected) / DRAWS)
    assert (np.abs(samples.mean(0) - inside.mean(0)) <= 4.5 * error).all()


def test_it_is_the_noise_of_drawing_a_smaller_batch_without_replacement():
    # Breaks if the documented formula is not what subsampling does: all subsets are counted.
    inside = GRADIENTS[:6]
    means = np.array([inside[list(rows)].mean(0) for rows in itertools.combinations(range(6), 2)])
    assert_covariance(draws(6, 2) @ GRADIENTS, np.cov(means.T, bias=True))


def test_every_weight_has_its_own_mean():
    # Breaks if the noise shifts weight from some examples to others.
    weights = draws(12, 3)
    error = weights.std(0) / np.sqrt(DRAWS)
    assert (np.abs(weights.mean(0) - 1 / 12) <= 4.5 * error).all()
    assert (error > 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("present", [12, 7, 2])
def test_the_sum_of_the_weights_stays(dtype, present):
    # Breaks if noise changes the size of the step along what all examples agree on, or the dtype.
    weights = batch_weights(present, dtype)
    for seed in range(20):
        noisy = noisy_weights(jax.random.key(seed), weights, jnp.asarray(1, dtype))
        assert noisy.dtype == dtype
        noisy = np.asarray(noisy, np.float64)
        assert np.abs(noisy - np.asarray(weights))[:present].max() > 1e-3
        assert abs(noisy.sum() - 1) <= 4 * np.finfo(dtype).eps * np.abs(noisy).sum()
        assert (noisy[present:] == 0).all()  # an empty slot stays empty


@pytest.mark.parametrize(
    ("present", "small"),
    [(12, 12), (7, 7), (7, 12), (1, 1), (1, 12), (0, 3)],
    ids=["b = B", "b = B, last batch", "b above the last batch", "one example", "one of B", "none"],
)
def test_there_is_no_noise_where_the_batch_is_not_larger(present, small):
    # Breaks if b = B leaves rounding behind, or a small last batch gives a root of a negative number.
    weights = batch_weights(present) if present else jnp.zeros(SLOTS)
    noisy = noisy_weights(jax.random.key(0), weights, jnp.float64(small))
    assert (np.asarray(noisy) == np.asarray(weights)).all()


def test_the_key_decides():
    # Breaks if draws repeat, or depend on anything but the key.
    weights, small = batch_weights(12), jnp.float64(2)
    first, again, other = (noisy_weights(jax.random.key(k), weights, small) for k in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).all()


# In the engine


SEED, UPDATE, SMALL = 5, 7, 4


def engine(micro_batch, pool, dataset):
    """The engine's start, and one gradient of a last batch of 10."""
    recipe = make_recipe(gradient_noise=True, micro_batch=micro_batch, dtype="float64")
    settings = {name: np.float64(value) for name, value in recipe.setting_defaults().items()}
    inputs = LaneInputs(np.uint32(SEED), {**settings, "noise_batch_size": np.float64(SMALL)})
    indices = jnp.arange(16, dtype=jnp.int32) + 3
    weights = jnp.asarray(np.where(np.arange(16) < 10, 0.1, 0))

    @jax.jit
    def run(pool):
        examples = lane_examples(dataset, 40, 0, inputs)
        state = initial_state(recipe, pool.x_train[0], inputs)
        value, _, gradient = batch_gradient(
            recipe, pool, inputs, examples, state, jnp.int32(UPDATE), indices, weights
        )
        x, y = pool.x_train[examples.train[indices]], examples.targets[indices]
        return state.params, x, y, value, gradient

    return recipe, weights, run(pool)


@pytest.mark.parametrize("micro_batch", [None, 5], ids=["whole", "micro-batches"])
def test_the_engine_weights_each_examples_gradient(dataset: Dataset, micro_batch):
    # Breaks if the noise enters the reported loss, is drawn anew for each micro-batch, or its key is
    # not the seed's and the update's.
    pool = make_pool(dataset, "float64", 1)
    recipe, weights, (params, x, y, value, gradient) = engine(micro_batch, pool, dataset)

    @jax.jit
    def each(params, x, y):
        def loss(params, x, y):
            return recipe.loss.per_example(
                recipe.model.apply(params, {}, x[None], train=True)[0], y[None]
            )[0]

        return jax.vmap(jax.value_and_grad(loss), (None, 0, 0))(params, x, y)

    losses, gradients = each(params, x, y)
    np.testing.assert_allclose(value, np.mean(losses[:10]), rtol=1e-12)
    key = jax.random.fold_in(role_key(SEED, "gradient_noise"), UPDATE)
    noisy = np.asarray(noisy_weights(key, weights, jnp.float64(SMALL)))
    assert np.abs(noisy - np.asarray(weights)).max() > 0.01
    jax.tree.map(
        lambda got, one: np.testing.assert_allclose(
            got, np.tensordot(noisy, np.asarray(one), 1), rtol=1e-10, atol=1e-12
        ),
        gradient,
        gradients,
    )


def test_the_small_batch_size_is_traced_and_its_largest_value_is_no_noise(dataset: Dataset):
    # Breaks if b = B trains another network than the same recipe without noise, or b recompiles.
    recipe = make_recipe(gradient_noise=True)
    noisy = [make_lane(1, 5, recipe=recipe, noise_batch_size=b) for b in (16, 2)]
    plan = make_plan([*noisy, make_lane(1, 5)], dataset, devices=1)
    assert [program.n_lanes for program in plan.programs] == [2, 1]
    with_noise, plain = train(plan)
    got, other = with_noise.params["layer_0"]["weight"]
    expected = plain.params["layer_0"]["weight"][0]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert np.isfinite(other).all()
    assert np.abs(other - expected).max() > 1e-3
