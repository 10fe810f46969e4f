"""Oracles: the trust-region problem solved by its secular equation (SciPy), all corners of a cube,
closed forms of linear and quadratic losses, and a symmetry of ReLU networks.
"""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from implicit_bias.errors import UserError
from implicit_bias.geometry.rescaling import rescale_relu
from implicit_bias.geometry.sharpness import average_case_sharpness, worst_case_sharpness
from tests.geometry.networks import mean_loss, network

KEY = jax.random.key(3)
RADII = [0.1, 0.5, 2.0]


def quadratic(matrix, slope, centre):
    """Return ``7 + g·d + d·Hd/2`` with d the distance from a centre."""
    matrix, slope, centre = (jnp.asarray(a) for a in (matrix, slope, centre))

    def loss(theta):
        away = theta - centre
        return 7 + slope @ away + 0.5 * away @ (matrix @ away)

    return loss


def highest_in_ball(matrix, slope, radius):
    """Maximise ``g·d + d·Hd/2`` over a ball: (λ − H) d = g with λ ≥ max(0, λ_max), or inside it."""
    values, vectors = np.linalg.eigh(matrix)
    rotated = vectors.T @ slope
    if values[-1] < 0 and np.linalg.norm(rotated / values) <= radius:
        away = -rotated / values
    else:
        least = max(values[-1], 0)

        def excess(shift):
            return np.linalg.norm(rotated / (least + shift - values)) - radius

        shift = brentq(excess, 1e-13, 1e6, xtol=1e-14)
        away = rotated / (least + shift - values)
    return rotated @ away + 0.5 * away @ (values * away)


@jax.jit
def search_balls(matrix, slope, centre):
    loss = quadratic(matrix, slope, centre)
    return worst_case_sharpness(loss, centre, KEY, RADII, steps=80)


@pytest.mark.parametrize("kind", ["convex", "indefinite", "concave"])
def test_worst_case_in_balls_is_the_trust_region_maximum(kind):
    # Broken by: a search that stops short, a wrong projection, or one that stays on the boundary
    # where a concave loss has its maximum inside.
    rng = np.random.default_rng(0)
    vectors, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    values = {
        "convex": [0.1, 0.3, 0.5, 1, 2, 6],
        "indefinite": [-4, -1, -0.5, 0.2, 1, 5],
        "concave": [-4, -3, -2, -1.5, -1, -0.8],
    }[kind]
    matrix, slope = (vectors * values) @ vectors.T, rng.normal(size=6)
    centre = rng.normal(size=6)
    found = search_balls(matrix, slope, centre)
    expected = [highest_in_ball(matrix, slope, radius) for radius in RADII]
    np.testing.assert_allclose(found.rise, expected, rtol=1e-5)
    assert found.by_start.shape == (3, 2)
    assert int(found.gradients) == 1 + 3 * 2 * 81


def test_worst_case_at_a_minimum():
    # Broken by: starting only where the gradient, here zero, points.
    found = search_balls(np.diag([5.0, 1.0, 0.5, 0.1, 0.1, 0.0]), np.zeros(6), np.ones(6))
    np.testing.assert_allclose(found.rise, 0.5 * 5 * np.square(RADII), rtol=1e-6)


def test_worst_case_in_cubes_is_the_best_corner():
    # Broken by: an l2 projection or step in the cube, or one as long as the gradient,
    # which here is tiny. A convex loss has its maximum in a corner.
    rng = np.random.default_rng(5)
    factor, slope = rng.normal(size=(6, 6)), rng.normal(size=6)
    matrix = factor @ factor.T
    loss = quadratic(matrix, slope, np.zeros(6))
    found = jax.jit(
        lambda w: worst_case_sharpness(
            lambda w: 1e-6 * loss(w), w, KEY, RADII, ball="linf", n_starts=12
        )
    )(jnp.zeros(6))
    corners = np.asarray(list(itertools.product([-1.0, 1.0], repeat=6)))
    for radius, rise in zip(RADII, found.rise, strict=True):
        away = radius * corners
        heights = away @ slope + 0.5 * np.sum(away * (away @ matrix), axis=1)
        np.testing.assert_allclose(rise, 1e-6 * heights.max(), rtol=1e-9)


def test_worst_case_in_cubes_of_a_concave_loss():
    # Broken by: a search that can only reach corners. Each coordinate is for itself here.
    slope, bends = np.asarray([0.3, -2.0, 0.05]), np.asarray([1.0, 0.5, 2.0])
    loss = quadratic(np.diag(-bends), slope, np.zeros(3))
    found = jax.jit(lambda w: worst_case_sharpness(loss, w, KEY, RADII, ball="linf", steps=100))(
        jnp.zeros(3)
    )
    for radius, rise in zip(RADII, found.rise, strict=True):
        best = np.clip(slope / bends, -radius, radius)
        np.testing.assert_allclose(rise, slope @ best - 0.5 * bends @ best**2, rtol=1e-3)


@pytest.mark.parametrize(("ball", "order"), [("l2", 2), ("linf", 1)])
def test_adaptive_worst_case_of_a_linear_loss(ball, order):
    # Broken by: scales that are not |w| + eta, that are squared, or that are not in the constraint.
    # The maximum of g·(c u) over the ball is rho times the dual norm of c g.
    weights, slope = np.asarray([1.0, -2.0, 0.0, 0.5]), np.asarray([3.0, 1.0, 5.0, -2.0])

    @jax.jit
    def search(w, eta):
        options = {"ball": ball, "adaptive": True, "eta": eta, "steps": 3}
        return worst_case_sharpness(lambda w: jnp.asarray(slope) @ w, w, KEY, RADII, **options)

    for eta in (0.0, 0.3):
        expected = np.linalg.norm((np.abs(weights) + eta) * slope, order) * np.asarray(RADII)
        np.testing.assert_allclose(search(weights, eta).rise, expected, rtol=1e-10)


def test_masked_parameters_do_not_change():
    # Broken by: a mask on the gradient only, so that random starts disturb pruned weights; a ball
    # of more dimensions than are alive.
    mask = {"w": jnp.asarray([1.0, 0.0, 1.0])}
    params = {"w": jnp.asarray([1.0, 2.0, 3.0])}

    def loss(params):
        steep = jnp.asarray([1.0, 100.0, 2.0]) * (params["w"] - jnp.asarray([1.0, 2.0, 3.0]))
        return jnp.sum(jnp.square(steep))

    for ball, expected in (("l2", 4.0), ("linf", 5.0)):
        found = jax.jit(
            lambda p, b=ball: worst_case_sharpness(loss, p, KEY, [1.0], ball=b, mask=mask, steps=40)
        )(params)
        np.testing.assert_allclose(found.rise, [expected], rtol=1e-8)
    for law, expected in (("gaussian", 5.0), ("l2", 5 / 4)):
        mean = jax.jit(
            lambda p, n=law: average_case_sharpness(
                loss, p, KEY, [1.0], law=n, mask=mask, n_draws=4000
            )
        )(params)
        assert abs(mean.rise[0] - expected) < 4 * mean.standard_error[0]


@pytest.mark.parametrize(
    ("law", "factor", "eta"),
    [
        ("gaussian", 0.5, None),
        ("gaussian", 0.5, 0.25),
        ("l2", 0.5 / 8, 0.25),
        ("linf", 1 / 6, None),
    ],
)
def test_average_case_of_a_quadratic(law, factor, eta):
    # Broken by: a variance for a standard deviation, a sphere for a ball, a radius per coordinate
    # for one of all, or scales that are not |w| + eta.
    rng = np.random.default_rng(4)
    matrix = rng.normal(size=(6, 6))
    matrix, slope = matrix + matrix.T + 8 * np.eye(6), rng.normal(size=6)
    centre = rng.normal(size=6)
    found = jax.jit(
        lambda key: average_case_sharpness(
            quadratic(matrix, slope, centre),
            jnp.asarray(centre),
            key,
            RADII,
            law=law,
            adaptive=eta is not None,
            eta=eta or 0.0,
            n_draws=4000,
        )
    )(KEY)
    scale = np.ones(6) if eta is None else np.abs(centre) + eta
    expected = factor * np.square(RADII) * np.sum(scale**2 * np.diag(matrix))
    assert np.all(np.abs(found.rise - expected) < 4 * found.standard_error)
    assert np.all(found.standard_error < 0.05 * expected)
    assert int(found.n_draws) == 4000


def test_average_case_of_a_slope_is_zero_and_losses_may_be_many():
    # Broken by: draws without their opposites, whose mean a slope of any size moves.
    params = {"w": jnp.asarray([1.0, 2.0])}
    found = average_case_sharpness(
        lambda p: {"loss": 1e6 * p["w"].sum(), "bowl": jnp.sum((p["w"] - 1) ** 2)},
        params,
        KEY,
        [0.5],
        n_draws=3,
    )
    np.testing.assert_allclose(found.rise["loss"], 0, atol=1e-8)
    assert found.rise["bowl"].shape == found.standard_error["bowl"].shape == (1,)
    assert found.rise["bowl"][0] > 0


CASES = [("worst", "l2"), ("worst", "linf"), ("average", "gaussian")]


@functools.lru_cache
def measure(kind, name, adaptive, eta=0.0):
    """Return a compiled measure of the network below (one compilation for all examples)."""
    model, _, x, y = network(1)

    def run(params):
        options = {"adaptive": adaptive, "eta": eta}
        radii = [0.05, 0.3]
        loss = mean_loss(model, x, y)
        if kind == "worst":
            found = worst_case_sharpness(loss, params, KEY, radii, ball=name, steps=8, **options)
        else:
            found = average_case_sharpness(loss, params, KEY, radii, law=name, n_draws=4, **options)
        return found.rise

    return jax.jit(run)


@settings(deadline=None, max_examples=25)
@given(
    alphas=st.tuples(st.floats(0.02, 50), st.floats(0.02, 50)),
    case=st.sampled_from(CASES),
    seed=st.integers(0, 2**16),
)
def test_adaptive_measures_survive_rescaling(alphas, case, seed):
    # Broken by: a projection or step in the weights' own units, or eta that is not zero by default.
    params = network(seed)[1]
    before = measure(*case, True)(params)
    after = measure(*case, True)(rescale_relu(params, alphas))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-10)


@pytest.mark.parametrize(
    ("case", "options"),
    [*((case, (False,)) for case in CASES), (CASES[0], (True, 0.5))],
)
def test_other_measures_do_not_survive_rescaling(case, options):
    # Broken by: a test above that passes because nothing is measured.
    params = network(1)[1]
    before = np.asarray(measure(*case, *options)(params))
    after = np.asarray(measure(*case, *options)(rescale_relu(params, (20.0, 10.0))))
    assert np.all(np.abs(after / before - 1) > 0.1)


def test_the_rise_does_not_fall_with_the_radius_whatever_their_order():
    # Broken by: a search that does worse in a larger ball, a sort that is not undone. Beyond its
    # crater this loss is flat, so that larger balls are harder to search.
    def loss(theta):
        return jnp.sum(jnp.exp(-50 * jnp.square(theta - 0.3)))

    radii = [3.0, 0.3, 1.0, 0.05]
    found = jax.jit(lambda w: worst_case_sharpness(loss, w, KEY, radii, steps=5))(jnp.zeros(4))
    order = np.argsort(radii)
    assert np.all(np.diff(np.asarray(found.rise)[order]) >= 0)
    np.testing.assert_array_equal(found.radii, radii)
    assert np.all(np.asarray(found.rise) >= np.asarray(found.by_start).max(axis=1))


def test_lanes_and_types():
    # Broken by: a check that looks at traced parameters, a constant of another type, lanes that
    # depend on their neighbours.
    model, _, x, y = network(2, dtype="float32")
    both = [network(seed, dtype="float32")[1] for seed in (3, 4)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *both)
    radii = jnp.asarray([0.1, 0.2], jnp.float32)

    def run(params):
        loss = mean_loss(model, x, y)
        worst = worst_case_sharpness(loss, params, KEY, radii, adaptive=True, steps=4)
        mean = average_case_sharpness(loss, params, KEY, radii, law="l2", n_draws=3)
        return worst.rise, mean.rise, mean.standard_error

    lanes = jax.jit(lambda params: jax.lax.map(run, params))
    mapped = lanes(stacked)
    turned = lanes(jax.tree.map(lambda leaf: leaf[::-1], stacked))
    assert {leaf.dtype for leaf in mapped} == {jnp.dtype("float32")}
    for one, other in zip(mapped, turned, strict=True):
        assert np.all(np.asarray(one) > 0)
        np.testing.assert_array_equal(one, other[::-1])


def test_draws_are_a_prefix_and_a_loss_that_is_not_finite_shows():
    # Broken by: draws that depend on how many there are; a NaN that a maximum drops.
    few = average_case_sharpness(lambda w: jnp.sum(w**4), jnp.ones(3), KEY, [0.5], n_draws=2)
    many = average_case_sharpness(lambda w: jnp.sum(w**4), jnp.ones(3), KEY, [0.5], n_draws=3)
    # Two draws lie one standard error of their mean to either side of it.
    low, high = few.rise - few.standard_error, few.rise + few.standard_error
    third = 3 * many.rise - 2 * few.rise
    np.testing.assert_allclose(
        many.standard_error, np.std([*low, *high, *third], ddof=1) / 3**0.5, rtol=1e-6
    )
    broken = worst_case_sharpness(lambda w: jnp.log(w[0] - 2), jnp.ones(1), KEY, [0.5])
    assert np.all(np.isnan(broken.rise))


@pytest.mark.parametrize("measure_function", [worst_case_sharpness, average_case_sharpness])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radii": [0.0]}, "a radius is 0"),
        ({"radii": [0.1, -1.0]}, "a radius is -1"),
        ({"radii": []}, "at least one radius"),
        ({"adaptive": True, "eta": -1.0}, "eta is -1.0"),
        ({"eta": 0.1}, "only the adaptive"),
        ({"mask": jnp.ones(3)}, "mask does not have"),
        ({"params": jnp.asarray([1.0, jnp.nan])}, "1 of the parameters are not finite"),
        ({"params": {}}, "no parameters"),
        ({"params": jnp.arange(3)}, "give floating-point parameters"),
    ],
)
def test_bad_requests_of_both(measure_function, change, message):
    # Broken by: a check that is missing, so that a curve of zeros or NaN is drawn.
    arguments = {"params": jnp.ones(2), "radii": [0.1], "key": KEY} | change
    with pytest.raises(UserError) as caught:
        measure_function(lambda w: jnp.sum(w), **arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("measure_function", "change", "message"),
    [
        (worst_case_sharpness, {"ball": "l1"}, "unknown ball 'l1'"),
        (worst_case_sharpness, {"steps": 0}, "steps is 0"),
        (worst_case_sharpness, {"n_starts": 1}, "n_starts is 1"),
        (average_case_sharpness, {"law": "gauss"}, "did you mean 'gaussian'"),
        (average_case_sharpness, {"n_draws": 1}, "n_draws is 1"),
    ],
)
def test_bad_requests_of_one(measure_function, change, message):
    # Broken by: as above.
    with pytest.raises(UserError) as caught:
        measure_function(lambda w: jnp.sum(w), jnp.ones(2), KEY, [0.1], **change)
    assert message in str(caught.value)
