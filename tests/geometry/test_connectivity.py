"""Oracles: polynomials whose barriers are known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.errors import UserError
from implicit_bias.geometry.connectivity import barrier, instability, interpolation_curve

LEFT, RIGHT = {"x": jnp.asarray([-1.0])}, {"x": jnp.asarray([1.0])}


def test_two_valleys():
    # Broken by: a maximum over the ends only, or a grid without the middle. The hill between the
    # valleys of (x^2 - 1)^2 is one high, at the middle.
    curve = interpolation_curve(lambda p: jnp.sum((p["x"] ** 2 - 1) ** 2), LEFT, RIGHT)
    assert curve.fractions.shape == curve.values.shape == (31,)
    np.testing.assert_allclose(barrier(curve), 1, rtol=1e-12)
    np.testing.assert_allclose(instability(curve), 1, rtol=1e-12)


def test_the_two_definitions_differ_on_a_slope():
    # Broken by: one definition for the other. On a straight slope from 0 to 4 there is no barrier
    # above the chord, but the curve rises 2 above the mean of its ends. On 2 (x + 1) - c (1 - x^2)
    # it sags below the chord.
    straight = interpolation_curve(lambda p: 2 * (p["x"][0] + 1), LEFT, RIGHT)
    np.testing.assert_allclose(barrier(straight), 0, atol=1e-15)
    np.testing.assert_allclose(instability(straight), 2, rtol=1e-15)
    bowl = interpolation_curve(
        lambda p: 2 * (p["x"][0] + 1) - 3 * (1 - p["x"][0] ** 2), LEFT, RIGHT
    )
    assert float(barrier(bowl)) == 0
    hill = interpolation_curve(
        lambda p: 2 * (p["x"][0] + 1) + 3 * (1 - p["x"][0] ** 2), LEFT, RIGHT, n_points=201
    )
    np.testing.assert_allclose(barrier(hill), 3, rtol=1e-12)
    # 2 (x + 1) + 3 (1 - x^2) is highest at x = 1/3, where it is 5 + 1/3; the grid is 0.01 fine.
    np.testing.assert_allclose(instability(hill), 5 + 1 / 3 - 2, rtol=1e-4)


def test_ends_are_exact_and_values_a_tree():
    # Broken by: start + t (end - start), which misses the end by rounding; values that are mixed.
    start, end = jnp.asarray([0.1, 1e8]), jnp.asarray([0.3, 0.7])
    curve = interpolation_curve(
        lambda w: {"first": w[0], "second": w[1]}, start, end, n_points=4, batch_size=3
    )
    for name, index in (("first", 0), ("second", 1)):
        assert curve.values[name][0] == start[index]
        assert curve.values[name][-1] == end[index]
    assert set(barrier(curve)) == set(instability(curve)) == {"first", "second"}


def test_lanes_and_types():
    # Broken by: fractions of another type than the parameters.
    ends = jnp.asarray([[1.0], [2.0]], jnp.float32)
    found = jax.jit(
        jax.vmap(lambda end: barrier(interpolation_curve(lambda w: jnp.sum(-(w**2)), -end, end)))
    )(ends)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, [1, 4], rtol=1e-6)


def test_a_value_that_is_not_finite_shows():
    # Broken by: a maximum that drops a NaN, so that a broken path has no barrier.
    curve = interpolation_curve(lambda p: jnp.sqrt(p["x"][0] ** 2 - 0.5), LEFT, RIGHT)
    assert np.isnan(barrier(curve))
    assert np.isnan(instability(curve))


def test_bad_requests():
    # Broken by: checks that are missing.
    with pytest.raises(UserError, match="end does not have"):
        interpolation_curve(lambda p: 0.0, LEFT, {"x": jnp.ones(2)})
    with pytest.raises(UserError, match="n_points is 2"):
        interpolation_curve(lambda p: 0.0, LEFT, RIGHT, n_points=2)
    with pytest.raises(UserError, match="batch_size is 0"):
        interpolation_curve(lambda p: 0.0, LEFT, RIGHT, batch_size=0)
