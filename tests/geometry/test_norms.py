"""Oracles: the definitions over explicit gradients and Hessians, and the sources' closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

from implicit_bias.errors import UserError
from implicit_bias.geometry.norms import fisher_rao_norm, lambda_max_over_loss, relative_flatness
from implicit_bias.geometry.rescaling import rescale_relu
from tests.geometry.networks import LOSS, mean_loss, network


def per_example(model):
    return lambda params, batch: LOSS.per_example(model.apply(params, {}, batch[0])[0], batch[1])


def test_fisher_rao_is_the_definition():
    # Broken by: the square instead of the norm, a mean before the square, or chunks that count an
    # example twice.
    model, params, x, y = network(0, n=11)
    flat, unravel = ravel_pytree(params)
    slopes = jax.jit(jax.jacobian(lambda t: per_example(model)(unravel(t), (x, y))))
    rows = np.asarray(slopes(flat))
    fisher = rows.T @ rows / 11
    expected = np.sqrt(np.asarray(flat) @ fisher @ np.asarray(flat))
    for chunk_size in (None, 4, 50):
        found = jax.jit(
            lambda params, size=chunk_size: fisher_rao_norm(
                per_example(model), params, (x, y), chunk_size=size
            )
        )(params)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("widths", [(), (6,), (5, 4, 3)])
def test_fisher_rao_has_its_published_form(widths):
    # Broken by: another definition. Without biases the network is homogeneous of degree depth in
    # its parameters, so the derivative along them is depth times (dl/df · f).
    model, params, x, y = network(1, widths, bias=False)
    outputs = np.asarray(model.apply(params, {}, x)[0])
    chances = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    slopes = np.sum((chances - np.eye(3)[np.asarray(y)]) * outputs, axis=1)
    expected = (len(widths) + 1) * np.sqrt(np.mean(slopes**2))
    found = jax.jit(lambda params: fisher_rao_norm(per_example(model), params, (x, y)))(params)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("layer", ["layer_0", "layer_1", "layer_2"])
def test_relative_flatness_is_the_definition(layer):
    # Broken by: columns for rows, a trace over the whole layer's Hessian, or biases that join in.
    model, params, x, y = network(2)
    loss = mean_loss(model, x, y)
    weight = params[layer]["weight"]

    def own(weight):
        return loss({**params, layer: {**params[layer], "weight": weight}})

    blocks = np.asarray(jax.jit(jax.hessian(own))(weight))  # (s, i, t, j)
    rows = np.asarray(weight)
    expected = sum(
        rows[s] @ rows[t] * np.trace(blocks[s, :, t, :])
        for s in range(len(rows))
        for t in range(len(rows))
    )
    exact = jax.jit(lambda params: relative_flatness(loss, params, layer, batch_size=3))(params)
    np.testing.assert_allclose(exact.estimate, expected, rtol=1e-10)
    assert float(exact.standard_error) == 0
    assert int(exact.products) == min(weight.shape) * weight.shape[1]
    estimate = jax.jit(
        lambda key: relative_flatness(loss, params, layer, n_probes=2000, key=key, batch_size=100)
    )(jax.random.key(0))
    assert abs(estimate.estimate - expected) < 4 * estimate.standard_error
    assert estimate.standard_error < 0.2 * abs(expected)


def test_relative_flatness_of_least_squares():
    # Broken by: another definition. The source: it is ridge regression's penalty for least squares.
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(7, 4)), rng.normal(size=(1, 4))

    def loss(params):
        return jnp.mean(0.5 * jnp.square(jnp.asarray(x) @ params["layer_0"]["weight"][0] - 1))

    params = {"layer_0": {"weight": jnp.asarray(weight)}}
    found = jax.jit(lambda params: relative_flatness(loss, params, "layer_0"))(params)
    expected = np.sum(weight**2) * np.mean(np.sum(x**2, axis=1))
    np.testing.assert_allclose(found.estimate, expected, rtol=1e-12)


MODEL, _, X, Y = network(3)
FISHER_RAO = jax.jit(lambda params: fisher_rao_norm(per_example(MODEL), params, (X, Y)))
FLATNESS = jax.jit(
    lambda params: relative_flatness(mean_loss(MODEL, X, Y), params, "layer_1").estimate
)


@settings(deadline=None, max_examples=25)
@given(
    alphas=st.tuples(st.floats(0.02, 50), st.floats(0.02, 50)),
    seed=st.integers(0, 2**16),
)
def test_they_survive_rescaling(alphas, seed):
    # Broken by: a definition that is not the published one.
    params = network(seed)[1]
    rescaled = rescale_relu(params, alphas)
    np.testing.assert_allclose(FISHER_RAO(rescaled), FISHER_RAO(params), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(FLATNESS(rescaled), FLATNESS(params), rtol=1e-7, atol=1e-10)


def test_lambda_max_over_loss_does_not_survive_rescaling():
    # Broken by: calling it invariant; or a division the other way round.
    loss = mean_loss(MODEL, X, Y)

    def measure(params):
        flat, unravel = ravel_pytree(params)
        matrix = jax.jit(jax.hessian(lambda t: loss(unravel(t))))(flat)
        largest = np.linalg.eigvalsh(np.asarray(matrix))[-1]
        return lambda_max_over_loss(jnp.asarray(largest), loss(params)), largest

    params = network(3)[1]
    (before, largest), (after, _) = measure(params), measure(rescale_relu(params, (20.0, 1.0)))
    np.testing.assert_allclose(before, largest / loss(params), rtol=1e-12)
    assert after > 10 * before


def test_types():
    # Broken by: weights of the mean in another type.
    model, params, x, y = network(0, dtype="float32")

    def both(params):
        norm = fisher_rao_norm(per_example(model), params, (x, y), chunk_size=5)
        flat = relative_flatness(mean_loss(model, x, y), params, "layer_2")
        return norm, flat.estimate, flat.standard_error

    types = {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(both, params))}
    assert types == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": "layer_7"}, "no weight in layer 'layer_7' (known: layer_0, layer_1, layer_2)"),
        ({"n_probes": 1, "key": jax.random.key(0)}, "n_probes is 1"),
        ({"n_probes": 4}, "give a key"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"params": {"layer_0": {"weight": jnp.ones((1, 2, 3))}}}, "has shape (1, 2, 3)"),
    ],
)
def test_bad_requests(change, message):
    # Broken by: a check that is missing.
    arguments = {"params": network(0)[1], "layer": "layer_0"} | change
    with pytest.raises(UserError) as caught:
        relative_flatness(lambda params: jnp.float64(0), **arguments)
    assert message in str(caught.value)
