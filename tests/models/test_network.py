"""Networks from a chain: against XLA's own convolution, plain NumPy, ``Dense`` and theory."""

from __future__ import annotations

import functools
import json
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import models
from implicit_bias.errors import UserError
from implicit_bias.models import Dense, Network, conv_net, residual_dense
from implicit_bias.models.layers import (
    Activation,
    Affine,
    AveragePool,
    ChainModel,
    Conv,
    Flatten,
    GlobalAverage,
    Residual,
    with_weights,
)

from .harness import KEY, assert_close, assert_equal

RELU, TANH = Activation("relu"), Activation("tanh")


def drawn(model: Any, shape: tuple[int, ...], seed: int = 3) -> Any:
    """Parameters and inputs in float64, by NumPy: nothing to compile, and biases that are not 0."""
    rng = np.random.default_rng(seed)
    params = {
        entry.name: {
            "weight": rng.normal(size=(layer.outputs, entry.fan_in))
            if isinstance(layer, Affine)
            else rng.normal(size=(layer.channels, entry.fan_in)),
            "bias": rng.normal(size=layer.outputs if isinstance(layer, Affine) else layer.channels),
        }
        for entry, layer in zip(
            model.weight_layers(shape), with_weights(model.chain()), strict=True
        )
    }
    return jax.tree.map(jnp.asarray, params), jnp.asarray(rng.normal(size=(3, *shape)))


def outputs(model: Any, params: Any, x: Any) -> np.ndarray:
    return np.asarray(jax.jit(lambda p, x: model.apply(p, {}, x)[0])(params, x))


# --- the function itself -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dense",
    [
        Dense((5, 3), 2, "gelu", "ntk", "lecun", bias_std=0.3, bias_scale=0.1),
        Dense((4,), 3, "tanh", initialisation="glorot", bias=False),
    ],
    ids=["ntk", "glorot"],
)
def test_a_dense_network_is_its_own_chain(dense: Dense):
    # The same numbers and outputs to the last bit, on images too. Broken by keys, draws or
    # multipliers of one's own.
    network = Network(
        dense.chain(), dense.parameterisation, dense.initialisation, dense.bias,
        dense.bias_std, dense.bias_scale,
    )  # fmt: skip
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2, 3, 2)), np.float32)

    def run(model: Any) -> Any:
        @jax.jit
        def both(x: jax.Array) -> Any:
            params, state = model.init(KEY, x[0], scale=1.7)
            return params, model.apply(params, state, x)[0], model.tapped(params, state, x)

        return both(x)

    assert_equal(run(network), run(dense))
    assert network.weight_layers((2, 3, 2)) == dense.weight_layers((2, 3, 2))
    assert isinstance(network, ChainModel)
    assert isinstance(dense, ChainModel)


def by_lax(x: jax.Array, layer: Conv, params: Any, multiplier: float = 1.0) -> jax.Array:
    """XLA's convolution of weights stored as (channels, rows · columns · input channels)."""
    weight = params["weight"].reshape(layer.channels, layer.size, layer.size, x.shape[3])
    sums = jax.lax.conv_general_dilated(
        x, weight.transpose(1, 2, 3, 0), (layer.stride,) * 2, layer.padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip
    return multiplier * sums + params["bias"].reshape(1, 1, 1, -1)


@pytest.mark.parametrize(
    ("conv", "head"),
    [
        (Conv(4), "mean"),
        (Conv(4, 3, 2), "flatten"),
        (Conv(4, 2, 3), "mean"),
        (Conv(4, 4, 1, "VALID"), "flatten"),
        (Conv(4, 1, 2, "VALID"), "mean"),
    ],
    ids=str,
)
def test_convolutions_against_xla(conv: Conv, head: str):
    # An image of 7 x 6, so that nothing is a square and windows do not fit. Broken by zeros on the
    # wrong side, rows for columns, another order of a patch, a wrong fan-in, or a pool that pads.
    last = Conv(3, 2)
    tail = (GlobalAverage() if head == "mean" else Flatten(), Affine(2))
    model = Network((conv, TANH, AveragePool(2), last, *tail), "ntk")
    params, x = drawn(model, (7, 6, 2))
    hidden = np.tanh(by_lax(x, conv, params["layer_0"], (2 / (2 * conv.size**2)) ** 0.5))
    n, rows, columns, channels = hidden.shape
    pooled = np.zeros((n, rows // 2, columns // 2, channels))
    for i, j in np.ndindex(rows // 2, columns // 2):
        pooled[:, i, j] = hidden[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean(axis=(1, 2))
    hidden = np.asarray(by_lax(jnp.asarray(pooled), last, params["layer_1"], (2 / 16) ** 0.5))
    flat = hidden.mean(axis=(1, 2)) if head == "mean" else hidden.reshape(n, -1)
    weight, bias = (np.asarray(params["layer_2"][part]) for part in ("weight", "bias"))
    expected = flat @ weight.T * (2 / flat.shape[1]) ** 0.5 + bias
    np.testing.assert_allclose(outputs(model, params, x), expected, rtol=1e-12, atol=1e-13)


def test_residuals_against_numpy():
    # Branches in branches, and the numbers of layers in the order in which they run. Broken by an
    # activation of the wrong sum, or a scale on the wrong side.
    inner = Residual((TANH, Affine(4)), 0.5)
    model = Network([Affine(4), Residual([inner, RELU, Affine(4)], -2.0), TANH, Affine(2)])
    params, x = drawn(model, (3,))
    layers = jax.tree.map(np.asarray, params).values()
    w, b = [layer["weight"].T for layer in layers], [layer["bias"] for layer in layers]
    x = np.asarray(x)
    first = x @ w[0] + b[0]
    inside = first + 0.5 * (np.tanh(first) @ w[1] + b[1])
    after = first - 2.0 * (np.maximum(inside, 0) @ w[2] + b[2])
    expected = np.tanh(after) @ w[3] + b[3]
    found = outputs(model, params, jnp.asarray(x))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_what_the_constructors_make():
    # The chains as documented; a list of a configuration is hashable. Broken by a forgotten layer.
    block = Residual((RELU, Affine(4)), 0.5)
    expected = (Flatten(), Affine(4), block, block, RELU, Affine(2))
    assert models.get("residual", width=4, blocks=2, outputs=2, branch_scale=0.5) == Network(
        expected
    )
    found = models.get("conv", channels=[4, 5], outputs=2, head="mean", stride=2, pool=3)
    convs = [(Conv(n, 3, 2), RELU, AveragePool(3)) for n in (4, 5)]
    assert found.chain() == (*convs[0], *convs[1], GlobalAverage(), Affine(2))
    assert hash(found) == hash(conv_net((4, 5), 2, "mean", stride=2, pool=3))
    assert conv_net((4,), 2).chain() == (Conv(4), RELU, Flatten(), Affine(2))
    described = json.loads(json.dumps(residual_dense(4, 1, 2, bias=False).describe()))
    assert described["chain"][2] == {
        "layer": "Residual",
        "branch": [{"layer": "Activation", "name": "relu"}, {"layer": "Affine", "outputs": 4}],
        "scale": 1.0,
    }
    assert (described["depth"], described["bias"]) == (3, False)


def test_an_image_without_channels_has_one():
    # Broken by data such as MNIST's refused, or read as a vector.
    model = conv_net((2,), 2)
    params, x = drawn(model, (4, 3))
    assert_equal(outputs(model, params, x), outputs(model, params, x[..., None]))


# --- what happens inside -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Dense((4, 3), 2, "tanh", "mup", base_width=2), (2, 2)),
        (residual_dense(4, 2, 2, "tanh", 0.5, parameterisation="ntk", bias_scale=0.1), (3,)),
        (
            Network((Conv(3, 2, 2), Residual((TANH, Conv(3))), Flatten(), Affine(2)), "ntk"),
            (5, 4, 2),
        ),
    ],
    ids=["dense", "residual", "conv"],
)
def test_taps_and_inputs_make_the_gradients(model: Any, shape: tuple[int, ...]):
    # For every layer: multiplier · taps' gradient × inputs is JAX's gradient of the weights, and of
    # the biases likewise. Broken by inputs recorded after the multiplier, of another layer, with
    # another order of positions, or a tap behind the activation.
    params, x = drawn(model, shape)
    weights = jnp.asarray(np.random.default_rng(4).normal(size=(3, 2)))

    @jax.jit
    def everything(params: Any) -> Any:
        plain = model.apply(params, {}, x)[0]
        _, inputs = model.tapped(params, {}, x)
        taps = tuple(
            jnp.zeros((*a.shape[:2], p["bias"].size))
            for a, p in zip(inputs, params.values(), strict=True)
        )

        def tapped(taps: Any) -> Any:
            found, inside = model.tapped(params, {}, x, taps)
            return jnp.sum(weights * found), (found, inside)

        of_taps, (found, inputs) = jax.grad(tapped, has_aux=True)(taps)
        direct = jax.grad(lambda p: jnp.sum(weights * model.apply(p, {}, x)[0]))(params)
        return plain, found, inputs, of_taps, direct

    plain, found, inputs, of_taps, direct = everything(params)
    np.testing.assert_allclose(found, plain, rtol=1e-14)
    for entry, a, tap in zip(model.weight_layers(shape), inputs, of_taps, strict=True):
        assert a.shape[2] == entry.fan_in
        expected = {
            "weight": entry.weight_multiplier * np.einsum("npo,npi->oi", tap, a),
            "bias": entry.bias_multiplier * np.asarray(tap).sum(axis=(0, 1)),
        }
        assert_close(direct[entry.name], expected, 1e-12)


def test_activations_of_a_layer():
    # The sums of a branch's convolution, and the network from there on: what goes around the layer
    # still counts. Broken by activations replaced at another layer, or after the activation.
    conv, branch = Conv(2, 2), Conv(2, 3)
    model = Network((conv, Residual((TANH, branch)), GlobalAverage(), Affine(2)))
    params, x = drawn(model, (3, 3, 1))

    @jax.jit
    def run(params: Any) -> Any:
        own = models.layer_activations(model, params, {}, x, "layer_1")
        again = models.outputs_from(model, params, {}, x, "layer_1", own)
        return own, again, models.outputs_from(model, params, {}, x, "layer_1", 0 * own)

    own, again, without = run(params)
    hidden = by_lax(x, conv, params["layer_0"])
    np.testing.assert_allclose(own, by_lax(jnp.tanh(hidden), branch, params["layer_1"]), 1e-12)
    np.testing.assert_allclose(again, outputs(model, params, x), rtol=1e-12)
    weight, bias = (np.asarray(params["layer_2"][part]) for part in ("weight", "bias"))
    skipped = np.asarray(hidden).mean(axis=(1, 2)) @ weight.T + bias
    np.testing.assert_allclose(without, skipped, rtol=1e-12)
    with pytest.raises(UserError, match="unknown layer 'layer_3'"):
        models.outputs_from(model, params, {}, x, "layer_3", own)


# --- initialisation ------------------------------------------------------------------------------


@functools.cache
def initial(model: Network, shape: tuple[int, ...]) -> Any:
    return jax.jit(lambda: model.init(KEY, jnp.zeros(shape))[0])()


def test_channels_are_prefix_stable():
    # A network of more channels keeps the draws of the smaller one: in a patch, and after
    # flattening, each position has its own run of channels. Broken by draws in the stored order.
    numbers: Any = {"parameterisation": "ntk", "bias_std": 1.0}
    small = initial(conv_net((2, 3), 2, size=2, **numbers), (3, 2, 2))
    large = initial(conv_net((4, 5), 3, size=2, **numbers), (3, 2, 2))
    spread = {"layer_0": (4, 2, 2), "layer_1": (4, 2, 4), "layer_2": (6, 3, 5)}
    for name, (positions, narrow, wide) in spread.items():
        rows = small[name]["weight"].shape[0]
        corner = large[name]["weight"].reshape(-1, positions, wide)[:rows, :, :narrow]
        assert_equal(small[name]["weight"].reshape(-1, positions, narrow), corner)
        assert_equal(small[name]["bias"], large[name]["bias"][:rows])


def test_initial_spreads():
    # Sample variances within five standard errors. Broken by a fan-in without the patch, or
    # Glorot's fan-out without it (the convention of TensorFlow, Flax and PyTorch).
    for name, hidden, last in (
        ("he", 2 / 18, 2 / 960),
        ("glorot", 2 / (18 + 540), 2 / (960 + 40)),
    ):
        model = conv_net((60,), 40, initialisation=name)  # type: ignore[arg-type]
        params = initial(model, (4, 4, 2))
        for layer, variance in (("layer_0", hidden), ("layer_1", last)):
            weight = np.asarray(params[layer]["weight"])
            assert abs((weight**2).mean() / variance - 1) < 5 * (2 / weight.size) ** 0.5


@pytest.mark.parametrize("width", [4, 32])
def test_outputs_at_initialisation_do_not_depend_on_the_width(width: int):
    # Theory, with gain² 2: a ReLU halves the second moment and the weights double it, so that the
    # mean square of the outputs is 2 · mean x² at any width, and (1 + s²) times it for each residual
    # branch of scale s, up to 1/width. Broken by a multiplier of another fan, of a convolution's
    # channels alone, or a scale that is squared or forgotten.
    x = jnp.asarray(np.random.default_rng(1).normal(size=(1, 4, 4, 2)))
    square = float((x**2).mean())
    plain: Any = {"parameterisation": "ntk", "bias": False}
    rows = [
        (residual_dense(width, 0, 8, **plain), x, 2 * square, 0.0),
        (residual_dense(width, 2, 8, branch_scale=0.7, **plain), x, 2 * square * 1.49**2, 0.5),
        # A constant image, so that every patch has the same second moment.
        (conv_net((width,) * 2, 8, padding="VALID", size=2, **plain), 0 * x + 1, 2.0, 0.0),
    ]
    for model, inputs, expected, finite in rows:

        @jax.jit
        def squares(keys: jax.Array, model: Network = model, x: jax.Array = inputs) -> jax.Array:
            params = jax.eval_shape(lambda: model.init(KEY, x[0])[0])
            flat, unravel = jax.flatten_util.ravel_pytree(jax.tree.map(jnp.zeros_like, params))

            def one(key: jax.Array) -> jax.Array:
                # Under "ntk" every weight is a standard normal number.
                own = unravel(jax.random.normal(key, flat.shape, flat.dtype))
                return jnp.mean(model.apply(own, {}, x)[0] ** 2)

            return jax.lax.map(one, keys, batch_size=64)

        found = np.asarray(squares(jax.random.split(jax.random.key(5), 512)))
        error = found.std() / len(found) ** 0.5
        assert abs(found.mean() - expected) < 5 * error + finite * expected / width


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chain", "says"),
    [
        ((), "the chain is empty; end it in an Affine"),
        ((Affine(3), RELU), "the chain ends in Activation"),
        (5, "the chain is 5"),
        ((Flatten, Affine(3)), "which is no layer"),
        ((Affine(0),), "outputs of an Affine is 0"),
        ((Conv(2.0), Flatten(), Affine(2)), "channels of a Conv is 2.0"),  # type: ignore[arg-type]
        ((Conv(2, 0), Flatten(), Affine(2)), "size of a Conv is 0"),
        ((Conv(2, 3, -1), Flatten(), Affine(2)), "stride of a Conv is -1"),
        ((Conv(2, padding="SAMe"), Affine(2)), "did you mean 'SAME'"),  # type: ignore[arg-type]
        ((AveragePool(0), Affine(2)), "size of an AveragePool is 0"),
        ((Activation("rulu"), Affine(2)), "did you mean 'relu'"),
        ((Residual(()), Affine(2)), "the branch of a Residual is empty"),
        ((Residual((Affine(2), RELU)), Affine(2)), "the branch of a Residual ends in Activation"),
        ((Residual((Affine(2),), float("nan")), Affine(2)), "scale of a Residual is nan"),
    ],
)
def test_bad_chains_are_refused(chain: Any, says: str):
    # Broken by a network that is built and fails far away from the mistake.
    with pytest.raises(UserError) as caught:
        Network(chain)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("chain", "shape", "says"),
    [
        ((Conv(2), Flatten(), Affine(2)), (4,), "needs images, but its input has shape (4,)"),
        ((Flatten(), Conv(2), Affine(2)), (4, 4), "needs images, but its input has shape (16,)"),
        ((Conv(2), Affine(2)), (4, 3, 1), "Affine(2) needs vectors, but its input has shape (4, 3"),
        ((Affine(2),), (), "Affine(2) needs vectors"),
        ((AveragePool(4), Flatten(), Affine(2)), (4, 3, 1), "larger than its input of 4 by 3"),
        (
            (Conv(2, 5, 1, "VALID"), Flatten(), Affine(2)),
            (4, 6),
            "Conv(2, 5, 1, VALID) has a window of 5 by 5, larger than its input of 4 by 6",
        ),
        ((Residual((Affine(3),)), Affine(2)), (4,), "makes shape (3,) of shape (4,)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(chain: Any, shape: tuple[int, ...], says: str):
    # One line before anything runs, in both directions. Broken by an affine layer that acts on the
    # channels of an image, or by broadcasting in a residual.
    network = Network(chain)
    for call in (
        lambda: network.init(KEY, jnp.zeros(shape)),
        lambda: network.apply({}, {}, jnp.zeros((2, *shape))),
    ):
        with pytest.raises(UserError) as caught:
            call()
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)


def test_other_bad_arguments():
    # Broken by a parameterisation without a kernel limit, or options that are dropped.
    chain = (Affine(2),)
    for call, says in (
        (lambda: Network(chain, "mup"), "unknown parameterisation 'mup'"),  # type: ignore[arg-type]
        (lambda: Network(chain, "ntk", "glorot"), "choose 'he' or 'lecun'"),
        (lambda: Network(chain, bias_scale=0.5), "leave it at 1"),
        (lambda: conv_net((), 2), "channels is ()"),
        (lambda: conv_net((2,), 2, "max"), "unknown head 'max'"),  # type: ignore[arg-type]
        (lambda: residual_dense(0, 1, 2), "width is 0"),
        (lambda: residual_dense(2, -1, 2), "blocks is -1; choose a whole number >= 0"),
        (lambda: models.get("residual", widths=[2]), "cannot take options"),
        (lambda: Network(chain).apply({}, {}, jnp.zeros((1, 3))), "no weight and bias in layer_0"),
        (lambda: Network(chain).tapped({}, {}, jnp.zeros((1, 3)), ()), "0 taps are given for 1"),
    ):
        with pytest.raises(UserError) as caught:
            call()
        assert says in str(caught.value)
