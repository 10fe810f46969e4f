"""Prefix-stable draws: exact prefixes, the right distribution, and numbers that never change."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from implicit_bias.errors import UserError
from implicit_bias.keys import role_key
from implicit_bias.models.initializers import prefix_bits, prefix_normal, weight_std

KEY = role_key(3, "initialisation")
PINNED = [[2386366454, 2985046376, 2412335614], [558083657, 741460075, 1990393723]]


@functools.partial(jax.jit, static_argnums=0)
def bits(shape: tuple[int, int], key: jax.Array = KEY) -> jax.Array:
    return prefix_bits(key[None], [shape])[0]


@functools.partial(jax.jit, static_argnums=(1, 2))
def draw(key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> jax.Array:
    return prefix_normal(key[None], [shape], dtype)[0]


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (17, 33), (32, 16)])
def test_a_smaller_draw_is_the_corner_of_a_larger(shape: tuple[int, int]):
    # The whole point: broken if a JAX release makes fold_in, or erf_inv, depend on an array's
    # shape.
    whole = np.asarray(draw(KEY, (40, 40)))
    np.testing.assert_array_equal(draw(KEY, shape), whole[: shape[0], : shape[1]])


def test_arrays_drawn_together_are_those_drawn_apart():
    # A deeper network keeps its first layers. Broken by an entry that looks at its flat position.
    shapes = [(3, 5), (1, 4), (6, 2)]
    keys = jax.random.split(KEY, 3)
    together = jax.jit(lambda k: prefix_normal(k, shapes))(keys)
    for key, shape, found in zip(keys, shapes, together, strict=True):
        np.testing.assert_array_equal(found, draw(key, (40, 40))[: shape[0], : shape[1]])


def test_ordinary_draws_would_not_do():
    # The reason for this module. If this fails, JAX has prefix-stable draws and it can go.
    wide = jax.random.normal(KEY, (16, 64))
    assert (wide[:, :32] != jax.random.normal(KEY, (16, 32))).any()


def test_numbers_are_pinned():
    # Broken if a JAX release changes threefry's fold_in: every result ever made would change.
    assert np.asarray(bits((2, 3))).tolist() == PINNED


def test_global_settings_do_not_matter():
    # Broken by a draw that follows jax_threefry_partitionable.
    with jax.threefry_partitionable(False):
        assert np.asarray(bits((2, 3))).tolist() == PINNED


def test_float64_starts_from_the_same_numbers():
    # A float64 run is the twin of the float32 run, not another network.
    single, double = draw(KEY, (40, 40)), draw(KEY, (40, 40), jnp.float64)
    assert double.dtype == jnp.float64
    np.testing.assert_array_equal(np.asarray(single, np.float64), double)


def test_values_are_normal_quantiles_of_the_bits():
    # Against SciPy's quantile function. Broken by a shifted or truncated mapping.
    probability = ((np.asarray(bits((40, 40))) >> 9) + 0.5) / 2**23
    expected = scipy.stats.norm.ppf(probability)
    np.testing.assert_allclose(draw(KEY, (40, 40)), expected, rtol=3e-5, atol=1e-6)


def test_distribution():
    # Broken by a wrong variance, by correlated rows or columns, or by repeated rows.
    z = np.asarray(draw(KEY, (400, 300)), np.float64)
    assert scipy.stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    n = z.size
    bound = 4.5 / np.sqrt(n)
    assert abs(z.mean()) < bound
    assert abs((z**2).mean() - 1) < bound * np.sqrt(2)
    for other in (z[1:] * z[:-1], z[:, 1:] * z[:, :-1], z[:300] * z[:300].T):
        off = other if other.shape[0] != other.shape[1] else other - np.diag(np.diag(other))
        assert abs(off.mean()) < bound * 1.2
    assert len(np.unique(np.round(z[:100, :100], 6))) > 9900


def test_keys_give_different_draws():
    # Broken by a key that is ignored: all seeds would be one.
    assert (draw(KEY, (40, 40)) != draw(role_key(4, "initialisation"), (40, 40))).mean() > 0.999


@pytest.mark.parametrize(
    ("init", "expected"), [("he", np.sqrt(2 / 50)), ("lecun", 0.02**0.5), ("glorot", 0.1690308509)]
)
def test_spreads(init: str, expected: float):
    # He 2/fan_in, LeCun 1/fan_in, Glorot 2/(fan_in + fan_out). Fans may be traced.
    np.testing.assert_allclose(weight_std(init, 50, 20), expected, rtol=1e-9)
    traced: Any = jax.jit(lambda a, b: weight_std(init, a, b))(jnp.float64(50), jnp.float64(20))
    np.testing.assert_allclose(traced, expected, rtol=1e-9)


def test_unknown_scheme():
    # Broken by a KeyError instead of one line that names the nearest scheme.
    with pytest.raises(UserError, match="did you mean 'glorot'"):
        weight_std("glorott", 3, 4)
