"""Oracles: ``jax.hessian`` of a network written out here; the closed form of a linear network."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from implicit_bias import losses
from implicit_bias.curvature import activation_hessian, dense, hutchinson_trace
from implicit_bias.errors import UserError
from implicit_bias.models import Dense, layer_activations, outputs_from
from tests.curvature import cases

N, WIDTHS, CLASSES, INPUTS = 5, (4, 3), 3, 2


def problem(activation="tanh"):
    rng = np.random.default_rng(7)
    sizes = (INPUTS, *WIDTHS, CLASSES)
    params = {
        f"layer_{i}": {"weight": rng.normal(size=(m, n)), "bias": rng.normal(size=m)}
        for i, (n, m) in enumerate(itertools.pairwise(sizes))
    }
    x = rng.normal(size=(N, INPUTS))
    return Dense(WIDTHS, CLASSES, activation=activation), params, x, np.arange(N) % CLASSES


def of_layer(model, params, loss, layer):
    """Return the weighted loss as a function of a layer's activations."""

    def weighted(h, batch, weights):
        x, y = batch
        outputs = outputs_from(model, params, {}, x, layer, h)
        return jnp.sum(weights * losses.get(loss).per_example(outputs, y))

    return weighted


@pytest.mark.parametrize("linearize", [True, False])
def test_equals_the_hessian_of_a_perturbed_network(linearize):
    # Broken by: activations taken after the nonlinearity or in another layer, a chunk's last rows
    # counted twice or lost, weights given to other examples, a lane that sees another's parameters.
    # The network is written out, with a change added to the second layer's sums.
    model, params, x, y = problem()
    weights = np.array([0.5, 0.0, 0.25, 1.0, 0.125])
    lanes = jax.tree.map(lambda leaf: np.stack([leaf, 0.5 * leaf]), params)

    def perturbed(change, params):
        h = x
        for index in range(3):
            layer = params[f"layer_{index}"]
            h = h @ layer["weight"].T + layer["bias"][None, :]
            h = h + change.reshape(N, WIDTHS[1]) if index == 1 else h
            h = jnp.tanh(h) if index < 2 else h
        picked = h[jnp.arange(N), y]
        return jnp.sum(weights * (jnp.log(jnp.sum(jnp.exp(h), axis=1)) - picked))

    @cases.quick
    def both(lanes):
        def one(params):
            h = layer_activations(model, params, {}, jnp.asarray(x), "layer_1")
            found = [
                dense(
                    activation_hessian(
                        of_layer(model, params, "cross_entropy", "layer_1"),
                        h,
                        (jnp.asarray(x), y),
                        chunk_size=chunk_size,
                        weights=weights,
                        linearize=linearize,
                    )[0]
                )
                for chunk_size in (None, 3)
            ]
            expected = jax.hessian(perturbed)(jnp.zeros(N * WIDTHS[1]), params)
            return [*found, expected]

        return jax.lax.map(one, lanes)

    whole, chunked, expected = (np.asarray(each) for each in both(lanes))
    scale = np.abs(expected).max()
    assert scale > 1e-2
    np.testing.assert_allclose(whole, expected, atol=1e-12 * scale)
    np.testing.assert_allclose(chunked, expected, atol=1e-12 * scale)


def test_linear_network_has_a_closed_form():
    # Half the squared distance of W h: each example's block is WᵀW/n, whatever h is, and the trace
    # is that of WᵀW. Broken by: a mean over numbers instead of examples, blocks between examples.
    model, params, x, _ = problem("identity")
    after = params["layer_2"]["weight"] @ params["layer_1"]["weight"]
    targets = np.zeros((N, CLASSES))

    @cases.quick
    def found(x):
        h = layer_activations(model, params, {}, x, "layer_0")
        loss = of_layer(model, params, "squared", "layer_0")
        operator, unravel = activation_hessian(loss, h, (x, targets))
        signs = hutchinson_trace(operator, jax.random.key(0), n_probes=64)
        return h, dense(operator), unravel(jnp.arange(1.0 * operator.dimension)), signs

    h, matrix, unravelled, trace = found(jnp.asarray(x))
    first = params["layer_0"]
    np.testing.assert_allclose(h, x @ first["weight"].T + first["bias"], rtol=1e-12)
    np.testing.assert_allclose(matrix, np.kron(np.eye(N), after.T @ after) / N, atol=1e-12)
    assert unravelled.shape == h.shape
    assert abs(trace.estimate - np.sum(after**2)) < 5 * trace.standard_error


def test_inputs_as_a_tree():
    # Broken by: activations that must be one array, or a block for the inputs of another example.
    rng = np.random.default_rng(1)
    inputs = {"left": rng.normal(size=(3, 2)), "right": rng.normal(size=(3, 1))}
    scale = rng.uniform(1, 2, 3)

    def loss(own, batch, weights):
        return jnp.sum(weights * batch * jnp.sum(own["left"], 1) ** 2 * own["right"][:, 0])

    def whole(flat):
        left, right = flat[:6].reshape(3, 2), flat[6:]
        return jnp.mean(scale * jnp.sum(left, 1) ** 2 * right)

    @cases.quick
    def both(inputs):
        operator, _ = activation_hessian(loss, inputs, scale, chunk_size=2)
        return dense(operator), jax.hessian(whole)(ravel_pytree(inputs)[0])

    np.testing.assert_allclose(*both(inputs), atol=1e-13)


def test_bad_requests():
    # Broken by: an error of JAX or Flax in place of one line.
    model, params, x, y = problem()
    loss = of_layer(model, params, "cross_entropy", "layer_1")
    h = np.zeros((N, WIDTHS[1]))
    for arguments, options, says in (
        ((loss, h[:3], (x, y)), {}, "share one leading axis"),
        ((loss, h * np.nan, (x, y)), {}, "not finite"),
        ((loss, h.astype(int), (x, y)), {}, "floating-point activations"),
        ((loss, h, (x, y)), {"chunk_size": 0}, "chunk_size is 0"),
        ((loss, h, (x, y)), {"weights": np.ones(2)}, "give shape"),
        ((lambda h, batch: 0.0, h, (x, y)), {}, "loss takes"),
        ((loss, np.zeros((N, 9)), (x, y)), {}, "give shape"),
    ):
        with pytest.raises(UserError, match=says):
            activation_hessian(*arguments, **options)
    with pytest.raises(UserError, match="unknown layer 'layer_7'"):
        layer_activations(model, params, {}, x, "layer_7")
    with pytest.raises(UserError, match="cannot be reached"):
        layer_activations(object(), params, {}, x, "layer_0")
