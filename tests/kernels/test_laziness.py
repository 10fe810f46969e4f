"""Oracles: patterns by hand, NumPy, and functions whose linearisation is known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.errors import UserError
from implicit_bias.kernels import (
    feature_change,
    feature_similarity,
    linearisation_error,
    pattern_flips,
    scaling_exponent,
)
from implicit_bias.models import Dense

RNG = np.random.default_rng(5)


def test_pattern_flips():
    # Broken by: signs of zero that count on their own, or padding that counts as units.
    then = {"first": np.array([[1.0, 0.0], [-1.0, 2.0]]), "last": np.ones((2, 3, 1))}
    now = {"first": np.array([[2.0, -1.0], [1.0, 0.0]]), "last": np.ones((2, 3, 1))}

    def padded(layers):
        return {name: np.concatenate([layer, 0 * layer], 1) for name, layer in layers.items()}

    def active(layers):
        return {name: np.maximum(layer, 0) for name, layer in layers.items()}

    units = {"first": np.array([1, 1, 0, 0]), "last": np.repeat([1.0, 0.0], 3)[:, None]}
    flips = jax.jit(pattern_flips)
    assert flips(now, then) == {"first": 0.5, "last": 0.0}
    assert flips(padded(now), padded(then))["first"] == 0.25
    assert flips(padded(now), padded(then), units) == {"first": 0.5, "last": 0.0}
    # What ReLU makes of the sums tells the same.
    assert flips(active(now), active(then)) == {"first": 0.5, "last": 0.0}


def test_flips_of_a_diverged_lane():
    # Broken by: a NaN that counts as a unit that is off, or one in padding that counts at all.
    then = np.ones((2, 2))
    now = np.array([[1.0, np.nan], [1.0, 1.0]])
    assert np.isnan(pattern_flips([now], [then])[0])
    assert np.isnan(pattern_flips([then], [now])[0])
    assert pattern_flips([now], [then], [np.array([1, 0])])[0] == 0


def test_features():
    # Broken by: a change over the final features, or a similarity that sees rotations.
    then, change = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 4))
    np.testing.assert_allclose(
        feature_change(jnp.asarray(then + change), jnp.asarray(then)),
        np.linalg.norm(change) / np.linalg.norm(then),
    )
    rotation = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    now = jnp.asarray(3 * then @ rotation)
    np.testing.assert_allclose(feature_similarity(now, jnp.asarray(then)), 1)


def test_linearisation_error():
    """Of ``a² x + b`` the second order is ``Δa² x`` and all the rest is linear.

    Broken by: a slope at the final parameters, or a division by the outputs themselves.
    """
    x = jnp.array([[1.0], [2.0]])
    apply = lambda params, x: params["a"] ** 2 * x + params["b"]  # noqa: E731
    begin, end = ({"a": jnp.array(a), "b": jnp.array(0.0)} for a in (1.0, 1.5))
    np.testing.assert_allclose(linearisation_error(apply, end, begin, x), 0.25 / 1.25)
    shifted = {"a": jnp.array(1.0), "b": jnp.array(2.0)}
    assert float(linearisation_error(apply, shifted, begin, x)) == 0
    with pytest.raises(UserError, match="arrays and shapes"):
        linearisation_error(apply, end, {"a": jnp.array(1.0)}, x)


def test_linearisation_error_of_a_model():
    # Broken by: a model that is treated otherwise than its function.
    model = Dense((3,), 2)
    x = jnp.asarray(RNG.normal(size=(4, 2)))
    initial, end = (jax.jit(model.init)(jax.random.key(i), x[0])[0] for i in (0, 1))
    expected = linearisation_error(lambda p, x: model.apply(p, {}, x)[0], end, initial, x)
    np.testing.assert_allclose(linearisation_error(model, end, initial, x), expected, rtol=1e-12)


LINEAR, ONES = {"a": np.ones(2)}, np.ones((3, 2))


def linear(params, x):
    return x * params["a"][None, :]


def test_scaling_exponent():
    # Broken by: logarithms of one side alone, or a fit over seeds together.
    widths = np.array([32, 64, 256, 1024])
    y = RNG.uniform(1, 2, size=(3, 4)) * widths.astype(float) ** -0.5
    oracle = [np.polyfit(np.log(widths), np.log(row), 1)[0] for row in y]
    np.testing.assert_allclose(scaling_exponent(widths, y), oracle)
    np.testing.assert_allclose(scaling_exponent(widths, 7.0 / widths), -1)


@pytest.mark.parametrize(
    ("call", "tells"),
    [
        (lambda: pattern_flips([], []), "no layers of shape"),
        (lambda: pattern_flips([np.ones((2, 3))], [np.ones((2, 4))]), "the same layers"),
        (
            lambda: pattern_flips([np.ones((2, 3))], [np.ones((2, 3))], [np.ones(2)]),
            "1 for units that are there",
        ),
        (lambda: pattern_flips([np.ones((2, 3))], (np.ones((2, 3)),)), "the same layers"),
        (
            lambda: pattern_flips([np.ones((2, 3))], [np.ones((2, 3))], [np.zeros(3)]),
            "at least one",
        ),
        (lambda: pattern_flips([np.ones((2, 3))], [np.ones((2, 3))], [-np.ones(3)]), "negative"),
        (lambda: linearisation_error(None, LINEAR, LINEAR, ONES), "give a model, or a function"),
        (lambda: linearisation_error(lambda p: p, LINEAR, LINEAR, ONES), "with 2 arguments"),
        (
            lambda: linearisation_error(linear, {"a": np.ones(2, int)}, LINEAR, ONES),
            r"params\['a'\] is of dtype int",
        ),
        (
            lambda: linearisation_error(linear, LINEAR, {"a": np.ones(2, "float32")}, ONES),
            "both of one dtype",
        ),
        (
            lambda: linearisation_error(linear, [np.ones(2)], (np.ones(2),), ONES),
            "containers of other types",
        ),
        (lambda: linearisation_error(linear, LINEAR, LINEAR, [[1.0]]), "x is of type list"),
        (lambda: feature_change(np.ones((2, 3)), np.ones((3, 2))), "the same layer"),
        (lambda: feature_similarity(np.ones(3), np.ones(3)), "give"),
        (lambda: scaling_exponent(np.array([1, 1]), np.ones(2)), "at least two differ"),
        (lambda: scaling_exponent(np.array([0, 1]), np.ones(2)), "give positive numbers"),
        (lambda: scaling_exponent(np.array([1, 2]), np.ones(3)), "y .* give x"),
    ],
)
def test_bad_requests(call, tells):
    # Broken by: shapes that broadcast.
    with pytest.raises(UserError, match=tells) as caught:
        call()
    assert "\n" not in str(caught.value)
