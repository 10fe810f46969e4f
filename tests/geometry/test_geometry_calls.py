"""Wrong calls of the room's public functions: one line each, and no page of JAX.

Broken by: a check that is missing or comes too late, after JAX has met the argument.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import geometry as g
from implicit_bias.errors import UserError
from implicit_bias.models import Dense

KEY = jax.random.key(0)
MODEL = Dense((4,), 3)
PARAMS = {
    "layer_0": {"weight": np.ones((4, 2)), "bias": np.ones(4)},
    "layer_1": {"weight": np.ones((3, 4)), "bias": np.ones(3)},
}
X, Y = np.ones((5, 2)), np.zeros(5, np.int32)
NAN = jax.tree.map(lambda leaf: leaf * np.nan, PARAMS)
FLAX = {"Dense_0": {"kernel": np.ones((2, 4)), "bias": np.ones(4)}}


def loss(params):
    return jnp.sum(params["layer_0"]["weight"] ** 2)


def vector(params):
    return params["layer_0"]["bias"]


def network(x):
    return MODEL.apply(PARAMS, {}, x)[0]


@pytest.mark.parametrize(
    "params",
    [FLAX, 3.0, "abc", None, {"layer_0": 3}, {"layer_0": None}, {"layer_0": np.ones((2, 2))},
     {"layer_0": [np.ones((2, 2))]}, {"layer_0": {"weight": [1.0, 2.0]}},
     {"layer_0": {"weight": np.ones((2, 2)), "scale": np.ones(2)}}],
)  # fmt: skip
def test_parameters_of_other_networks(params):
    for call in (
        lambda: g.weight_matching(params, params),
        lambda: g.permute_units(params, []),
        lambda: g.rescale_relu(params, []),
        lambda: g.certified_radii(MODEL, params, X, Y),
        lambda: g.skip_first_layer(MODEL, params, (), X),
    ):
        with pytest.raises(UserError) as caught:
            call()
        assert "\n" not in str(caught.value)


CALLS = [
    (lambda: g.weight_matching(PARAMS, PARAMS, seed="a"), "seed is 'a'"),
    (lambda: g.permute_units(PARAMS, 3), "permutations is of type int"),
    (lambda: g.permute_units(PARAMS, [np.arange(4.0)]), "not one of its 4 units"),
    (lambda: g.rescale_relu(PARAMS, ["a"]), "alphas is ['a']"),
    (lambda: g.worst_case_sharpness(vector, PARAMS, KEY, [0.1]), "of shape (4,)"),
    (lambda: g.worst_case_sharpness(network, PARAMS, 0, [0.1]), "key is 0"),
    (lambda: g.worst_case_sharpness(loss, PARAMS, KEY, None), "radii is None"),
    (lambda: g.worst_case_sharpness(loss, PARAMS, KEY, [0.0]), "a radius is 0"),
    (lambda: g.worst_case_sharpness(loss, PARAMS, KEY, [0.1], steps=2.5), "steps is 2.5"),
    (lambda: g.average_case_sharpness(3, PARAMS, KEY, [0.1]), "give a function loss(params)"),
    (lambda: g.average_case_sharpness(loss, {"a": "b"}, KEY, [0.1]), "the parameters hold b"),
    (lambda: g.relative_flatness(loss, NAN, "layer_0"), "not finite"),
    (lambda: g.random_direction(KEY, {"a": np.ones(3, int)}), "floating-point"),
    (lambda: g.keskar_sharpness(loss, PARAMS), "give jax.value_and_grad(loss)"),
    (lambda: g.keskar_sharpness(jax.value_and_grad(loss), PARAMS, iterations=2.5), "iterations"),
    (lambda: g.random_basis(0, 10), "key is 0"),
    (lambda: g.relative_flatness(vector, PARAMS, "layer_1"), "of shape (4,)"),
    (lambda: g.relative_flatness(loss, None, "layer_1"), "known: none"),
    (lambda: g.fisher_rao_norm(lambda p, b: loss(p), PARAMS, (X, Y)), "per_example returns"),
    (lambda: g.line(lambda p: None, PARAMS, PARAMS, [0.0]), "loss returns None"),
    (lambda: g.line(loss, PARAMS, PARAMS, None), "coordinates is None"),
    (lambda: g.plane(loss, PARAMS, None, [0.0], [0.0]), "there are 0 directions"),
    (lambda: g.interpolation_curve(loss, PARAMS, PARAMS, n_points=5.0), "n_points is 5.0"),
    (lambda: g.fit_bezier(loss, PARAMS, PARAMS, KEY, updates=2), "called with 2 arguments"),
    (lambda: g.bezier_point(PARAMS, 3, PARAMS, 0.5), "middle does not have"),
    (lambda: g.distance(PARAMS, FLAX), "reference does not have"),
    (lambda: g.parameter_norm({}), "there are no parameters"),
    (lambda: g.output_margins(None, Y), "outputs is None"),
    (lambda: g.coordinates_in(None, PARAMS, (PARAMS,)), "params does not have"),
    (lambda: g.eigenvector_directions([[1.0]], lambda v: v), "vectors is of type list"),
    (lambda: g.fgsm(lambda x: x[:, 0], X, Y, 0.1), "network returns shape (5,)"),
    (lambda: g.fgsm(network, X, Y, "a"), "radius is 'a'"),
    (lambda: g.pgd(network, X, Y, 0.1, 0), "key is 0"),
    (lambda: g.robust_accuracy(network, X, None, [0.1], KEY), "targets is None"),
    (lambda: g.robust_accuracy(network, X, Y, [0.1], KEY, scale="a"), "scale is 'a'"),
    (lambda: g.pixel_box(np.ones((0, 2))), "pixels has shape (0, 2)"),
    (lambda: MODEL.apply(PARAMS, {}, np.ones((5, 3))), "inputs have 3 features"),
    (lambda: MODEL.apply(FLAX, {}, X), "no weight and bias in layer_0"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_one_line(number):
    call, says = CALLS[number]
    with pytest.raises(UserError) as caught:
        call()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
