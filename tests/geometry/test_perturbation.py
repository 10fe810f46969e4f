"""Oracles: closed forms on quadratics, normalisation by hand, and a symmetry of ReLU networks."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.errors import UserError
from implicit_bias.geometry import parameter_norm, perturbation_curve, random_direction

KEY = jax.random.key(6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_absolute_direction_has_length_one(dtype):
    # Broken by: normalising each array by itself, or leaving the biases out.
    params = {"kernel": jnp.full((3, 2), 7.0, dtype), "bias": jnp.zeros(2, dtype)}
    direction = random_direction(KEY, params)
    np.testing.assert_allclose(parameter_norm(direction), 1, rtol=1e-6)
    assert np.all(np.asarray(direction["bias"]) != 0)
    assert direction["kernel"].dtype == dtype


def test_isotropic_quadratic_rises_exactly():
    # Broken by: a radius that is not the length, or values that are not relative to the centre.
    # With H = c I and no gradient, every direction rises by c r^2 / 2.
    params = {"a": jnp.zeros((2, 3)), "b": jnp.zeros(4)}

    def loss(params):
        return {"loss": 1.5 * parameter_norm(params) ** 2 + 10, "other": jnp.sum(params["b"]) * 0}

    curve = perturbation_curve(loss, params, KEY, [0.1, 2], n_directions=5)
    assert curve["loss"].shape == (5, 2)
    np.testing.assert_allclose(curve["loss"], np.tile([1.5 * 0.01, 1.5 * 4], (5, 1)), rtol=1e-12)
    np.testing.assert_array_equal(curve["other"], 0)


def test_mean_rise_is_half_the_variance_times_the_trace():
    # Broken by: a law with lambda_max or with r^2 for r^2 / p; directions that repeat. For a
    # quadratic with gradient g, the mean over the sphere is r^2 tr H / (2 p) exactly, and each
    # direction rises and falls symmetrically by the gradient.
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(6, 6))
    matrix = jnp.asarray(matrix + matrix.T + 6 * np.eye(6))
    gradient, centre = jnp.asarray(rng.normal(size=6)), jnp.asarray(rng.normal(size=6))

    def loss(theta):
        away = theta - centre
        return gradient @ away + 0.5 * away @ matrix @ away

    curve = jax.jit(
        lambda key: perturbation_curve(loss, centre, key, [0.5, 1.0], n_directions=4000)
    )(KEY)
    for column, radius in enumerate([0.5, 1.0]):
        rises = np.asarray(curve[:, column])
        expected = radius**2 / (2 * 6) * np.trace(matrix)
        error = rises.std(ddof=1) / np.sqrt(4000)
        assert abs(rises.mean() - expected) < 4 * error
        assert error < 0.05 * expected


def test_filters_have_their_parameters_length():
    # Broken by: scaling inputs for outputs in either layout, the whole array at once, or biases.
    kernel = jnp.asarray([[3.0, 0.0, 1.0], [4.0, 0.0, 0.0]])
    image = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2, 3, 5)))
    direction = random_direction(
        KEY, {"bias": jnp.ones(3), "kernel": kernel, "image": image}, "filter", output_axis=-1
    )
    np.testing.assert_allclose(np.linalg.norm(direction["kernel"], axis=0), [5, 0, 1], rtol=1e-12)
    np.testing.assert_allclose(
        np.linalg.norm(np.asarray(direction["image"]).reshape(12, 5), axis=0),
        np.linalg.norm(np.asarray(image).reshape(12, 5), axis=0),
        rtol=1e-12,
    )
    np.testing.assert_array_equal(direction["bias"], 0)
    first = random_direction(KEY, {"weight": kernel.T, "image": image}, "filter")
    np.testing.assert_allclose(np.linalg.norm(first["weight"], axis=1), [5, 0, 1], rtol=1e-12)
    np.testing.assert_allclose(
        np.linalg.norm(np.asarray(first["image"]).reshape(2, 30), axis=1),
        np.linalg.norm(np.asarray(image).reshape(2, 30), axis=1),
        rtol=1e-12,
    )


def test_filter_curve_survives_rescaling_and_absolute_does_not():
    # Broken by: a normalisation that is not per unit. Scaling a ReLU unit's incoming weights by a
    # and its outgoing ones by 1/a changes no prediction.
    rng = np.random.default_rng(1)
    x, y = jnp.asarray(rng.normal(size=(8, 3))), jnp.asarray(rng.normal(size=(8, 2)))
    params = {
        "in": jnp.asarray(rng.normal(size=(3, 4))),
        "bias": jnp.asarray(rng.normal(size=4)),
        "out": jnp.asarray(rng.normal(size=(4, 2))),
    }
    rescaled = {"in": 10 * params["in"], "bias": 10 * params["bias"], "out": params["out"] / 10}

    def loss(params):
        hidden = jnp.maximum(x @ params["in"] + params["bias"][None, :], 0)
        return jnp.mean(jnp.square(hidden @ params["out"] - y))

    @functools.partial(jax.jit, static_argnames="kind")
    def curve(params, kind):
        return perturbation_curve(
            loss, params, KEY, [0.1, 0.5], n_directions=3, kind=kind, output_axis=-1
        )

    np.testing.assert_allclose(curve(rescaled, "filter"), curve(params, "filter"), rtol=1e-9)
    absolute = np.asarray(curve(rescaled, "absolute")) / np.asarray(curve(params, "absolute"))
    assert np.all(np.abs(absolute - 1) > 0.1)


def test_directions_are_a_prefix_and_not_finite_shows():
    # Broken by: directions that depend on how many there are, or a NaN that is dropped.
    params = jnp.arange(3.0)

    def loss(theta):
        return jnp.sum(theta**3)

    few = perturbation_curve(loss, params, KEY, [0.1], n_directions=2)
    many = perturbation_curve(loss, params, KEY, [0.1], n_directions=4)
    np.testing.assert_array_equal(few, many[:2])
    assert len(np.unique(many)) == 4
    assert np.all(np.isnan(perturbation_curve(loss, params * jnp.nan, KEY, [0.1], n_directions=2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radii": [0.1, 0.0]}, "a radius is 0"),
        ({"radii": [-1.0]}, "a radius is -1"),
        ({"radii": [float("nan")]}, "a radius is nan"),
        ({"radii": [0]}, "a radius is 0"),
        ({"radii": []}, "at least one radius"),
        ({"radii": [[0.1]]}, "at least one radius"),
        ({"n_directions": 0}, "n_directions is 0"),
        ({"kind": "filters"}, "did you mean 'filter'"),
        ({"kind": "filter", "output_axis": 2}, "output_axis is 2, but an array has 2 axes"),
        ({"params": {"bias": jnp.ones(3)}, "kind": "filter"}, "two or more axes"),
        ({"params": {}}, "at least one parameter"),
    ],
)
def test_bad_requests(change, message):
    # Broken by: a check that is missing, so that a curve of zeros or NaN is drawn.
    arguments = {"params": {"w": jnp.ones((2, 2))}, "radii": [0.1], "n_directions": 1} | change
    with pytest.raises(UserError) as caught:
        perturbation_curve(lambda params: jnp.float64(0), arguments.pop("params"), KEY, **arguments)
    assert message in str(caught.value)
