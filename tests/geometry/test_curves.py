"""Oracles: curves in closed form, a ring of zero loss, and SciPy's minimum of the mean loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize

from implicit_bias.errors import UserError
from implicit_bias.geometry.connectivity import barrier, interpolation_curve
from implicit_bias.geometry.curves import bezier_curve, bezier_point, fit_bezier

LEFT, RIGHT = {"x": jnp.asarray([-1.0, 0.0])}, {"x": jnp.asarray([1.0, 0.0])}
KEY = jax.random.key(0)


def ring(params):
    """Zero on the circle of radius one, one at its centre."""
    return (jnp.sum(params["x"] ** 2) - 1) ** 2


def test_a_point_of_the_curve_is_casteljau_s():
    # Broken by: wrong weights. Casteljau's construction interpolates twice.
    rng = np.random.default_rng(0)
    start, middle, end = rng.normal(size=(3, 4))
    for t in (0.0, 0.3, 1.0):
        first, second = (1 - t) * start + t * middle, (1 - t) * middle + t * end
        expected = (1 - t) * first + t * second
        found = bezier_point(*map(jnp.asarray, (start, middle, end)), jnp.asarray(t))
        np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_a_curve_around_the_hill():
    # Broken by: training that follows the wrong gradient, or moves an end. The straight line crosses
    # the ring's centre, one high. SciPy minimises the mean over t of the loss, integrated exactly.
    begun = {"x": jnp.asarray([0.0, 0.5])}
    fit = fit_bezier(
        lambda p, _: ring(p), LEFT, RIGHT, KEY, updates=4000, step_size=0.05, middle=begun
    )

    def mean(pull):
        def along(t):
            point = (1 - t) ** 2 * np.array([-1.0, 0]) + t**2 * np.array([1.0, 0])
            point = point + 2 * t * (1 - t) * pull
            return (point @ point - 1) ** 2

        return integrate.quad(along, 0, 1)[0]

    best = optimize.minimize(mean, [0.1, 1.0], method="Nelder-Mead", options={"xatol": 1e-8})
    np.testing.assert_allclose(fit.middle["x"], best.x, atol=0.03)
    assert fit.history.shape == (4000,)
    curve = bezier_curve(ring, LEFT, fit.middle, RIGHT)
    straight = barrier(interpolation_curve(ring, LEFT, RIGHT))
    assert float(straight) == pytest.approx(1)
    assert float(barrier(curve)) < 0.1
    assert float(curve.values[0]) == float(curve.values[-1]) == 0


def test_the_first_update_is_adam_s_and_begins_at_the_midpoint():
    # Broken by: another start, or a gradient that is not the middle's. Adam's first step is the step
    # size times the sign of the gradient; here the gradient of a linear loss.
    fit = fit_bezier(lambda p, _: p["x"] @ jnp.asarray([3.0, -2.0]), LEFT,
                     {"x": jnp.asarray([2.0, 4.0])}, KEY, updates=1, step_size=0.1)  # fmt: skip
    np.testing.assert_allclose(fit.middle["x"], [0.5 - 0.1, 2 + 0.1], rtol=1e-6)


def test_every_update_draws_anew():
    # Broken by: one key for all updates, of places or of batches.
    seen = fit_bezier(lambda p, key: 0 * p["x"][0] + jax.random.uniform(key, dtype="float64"),
                      LEFT, RIGHT, KEY, updates=50).history  # fmt: skip
    assert len(np.unique(seen)) == 50
    places = fit_bezier(lambda p, _: p["x"][0] + 0 * p["x"][1], LEFT, RIGHT, KEY, updates=50,
                        step_size=1e-12).history  # fmt: skip
    # On the straight line the first coordinate is 2t − 1.
    t = (np.asarray(places) + 1) / 2
    assert len(np.unique(t)) == 50
    assert 0 <= t.min() < 0.15
    assert 0.85 < t.max() <= 1


def test_lanes_and_types():
    # Broken by: fractions or a schedule of another type than the parameters.
    ends = jnp.asarray([[1.0], [2.0]], jnp.float32)

    def middle(end):
        return fit_bezier(lambda w, _: jnp.sum(w**2), -end, end, KEY, updates=3).middle

    found = jax.jit(jax.vmap(middle))(ends)
    assert found.dtype == jnp.float32
    assert found.shape == (2, 1)


def test_bad_requests():
    # Broken by: checks that are missing.
    other = {"x": jnp.ones(3)}
    with pytest.raises(UserError, match="end does not have"):
        fit_bezier(lambda p, k: 0.0, LEFT, other, KEY, updates=1)
    with pytest.raises(UserError, match="middle does not have"):
        fit_bezier(lambda p, k: 0.0, LEFT, RIGHT, KEY, updates=1, middle=other)
    with pytest.raises(UserError, match="updates is 0"):
        fit_bezier(lambda p, k: 0.0, LEFT, RIGHT, KEY, updates=0)
    with pytest.raises(UserError, match="step_size is 0"):
        fit_bezier(lambda p, k: 0.0, LEFT, RIGHT, KEY, updates=1, step_size=0.0)
    with pytest.raises(UserError, match="n_points is 2"):
        bezier_curve(ring, LEFT, LEFT, RIGHT, n_points=2)
    with pytest.raises(UserError, match="batch_size is 0"):
        bezier_curve(ring, LEFT, LEFT, RIGHT, batch_size=0)
    with pytest.raises(UserError, match="end does not have"):
        bezier_curve(ring, LEFT, LEFT, other)
