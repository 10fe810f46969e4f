"""Oracle: the network itself, evaluated before and after."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implicit_bias.errors import UserError
from implicit_bias.geometry.rescaling import dense_layers, rescale_relu
from implicit_bias.models import Dense
from tests.geometry.networks import network


@settings(deadline=None, max_examples=25)
@given(
    alphas=st.lists(st.floats(1e-3, 1e3), min_size=0, max_size=3),
    bias=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_no_output_changes(alphas, bias, seed):
    # Broken by: a bias that is scaled like its own weight only, or a product that is not taken back.
    model, params, x, _ = network(seed, (4, 3, 5)[: len(alphas)], bias=bias)
    before, _ = model.apply(params, {}, x)
    after, _ = model.apply(rescale_relu(params, alphas), {}, x)
    np.testing.assert_allclose(after, before, rtol=1e-10, atol=1e-12)


def test_by_hand():
    # Broken by: any other distribution of the factors over the layers.
    one = jnp.ones((1, 1))
    params = {f"layer_{i}": {"weight": one, "bias": jnp.ones(1)} for i in range(3)}
    scaled = rescale_relu(params, [2.0, 4.0])
    weights = [float(scaled[f"layer_{i}"]["weight"][0, 0]) for i in range(3)]
    biases = [float(scaled[f"layer_{i}"]["bias"][0]) for i in range(3)]
    assert (weights, biases) == ([2, 4, 1 / 8], [2, 8, 1])


def test_powers_of_two_change_not_a_bit_and_the_type_stays():
    # Broken by: factors in float64 that promote the weights.
    model, params, x, _ = network(0, dtype="float32")
    scaled = jax.jit(rescale_relu)(params, jnp.asarray([0.25, 64.0], jnp.float32))
    assert {leaf.dtype for leaf in jax.tree.leaves(scaled)} == {jnp.dtype("float32")}
    np.testing.assert_array_equal(model.apply(scaled, {}, x)[0], model.apply(params, {}, x)[0])


@pytest.mark.parametrize("parameterisation", ["ntk", "mup"])
def test_forward_multipliers_do_not_matter(parameterisation):
    # Broken by: factors that take the multipliers into account.
    model = Dense((5, 4), 2, parameterisation=parameterisation, bias_std=0.5)
    x = jax.random.normal(jax.random.key(1), (6, 3))

    @jax.jit
    def both(key):
        params, state = model.init(key, x[0])
        rescaled = rescale_relu(params, [3.0, 0.1])
        return model.apply(params, state, x)[0], model.apply(rescaled, state, x)[0]

    before, after = both(jax.random.key(0))
    np.testing.assert_allclose(after, before, rtol=1e-12)


def test_layers_are_in_order_of_their_number():
    # Broken by: sorting names as text, where layer_10 comes before layer_2.
    params = network(0, (2,) * 11, 2, 2)[1]
    assert dense_layers(dict(reversed(params.items()))) == tuple(f"layer_{i}" for i in range(12))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alphas": [1.0]}, "has 2 hidden layers"),
        ({"alphas": [1.0, 0.0]}, "a factor in alphas is 0.0"),
        ({"alphas": [1.0, -2.0]}, "a factor in alphas is -2.0"),
        ({"alphas": [float("nan"), 1.0]}, "a factor in alphas is nan"),
        ({"params": {}}, "not those of a dense network"),
        ({"params": {"conv": {"weight": jnp.ones((2, 2))}}}, "not those of a dense network"),
        ({"params": {"layer_0": {"kernel": jnp.ones((2, 2))}}}, "layer_0 has arrays"),
        (
            {"params": {f"layer_{i}": {"weight": jnp.ones((2, 3))} for i in range(2)}},
            "layer_1 has arrays",
        ),
        (
            {"params": {"layer_0": {"weight": jnp.ones((2, 3)), "bias": jnp.ones(3)}}},
            "layer_0 has arrays",
        ),
    ],
)
def test_bad_requests(change, message):
    # Broken by: a check that is missing, so that the function of the network changes.
    arguments = {"params": network(0)[1], "alphas": [1.0, 2.0]} | change
    with pytest.raises(UserError) as caught:
        rescale_relu(**arguments)
    assert message in str(caught.value)
