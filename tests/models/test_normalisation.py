"""Normalisation layers: against NumPy in float64, and what a batch of weighted examples must mean."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import models
from implicit_bias.errors import UserError
from implicit_bias.models import Network, Scaled, conv_net, normalised_dense
from implicit_bias.models.base import uses_batch_statistics
from implicit_bias.models.computed import Computed
from implicit_bias.models.layers import (
    Activation,
    Affine,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAverage,
    GroupNorm,
    LayerNorm,
    MaxPool,
    Norm,
    Residual,
    ScalarBias,
    ScalarMultiplier,
)

from .harness import KEY, assert_close, assert_equal

RNG = np.random.default_rng(1)
TANH = Activation("tanh")


def drawn(model: Network, shape: tuple[int, ...], n: int = 5) -> tuple[Any, Any, jax.Array]:
    """Parameters and statistics that are nowhere 0 or 1, and inputs, in float64."""
    shapes = models.abstract_init(model, jnp.zeros(shape))
    params, state = jax.tree.map(
        lambda leaf: jnp.asarray(RNG.normal(size=leaf.shape) + (leaf.ndim == 1)), shapes
    )
    state = jax.tree.map(lambda leaf: jnp.abs(leaf) + 0.1, state)
    return params, state, jnp.asarray(RNG.normal(size=(n, *shape)))


def trained(model: Any) -> Any:
    """Outputs, new state and the gradient of a weighted sum, in training; compiled once."""

    def run(params: Any, state: Any, x: jax.Array, weights: jax.Array | None) -> Any:
        counts = jnp.ones(len(x)) if weights is None else weights

        def total(params: Any) -> Any:
            outputs, new = model.apply(params, state, x, train=True, example_weights=weights)
            return jnp.sum(counts[:, None] * jnp.sin(outputs)), (outputs, new)

        gradient, (outputs, new) = jax.grad(total, has_aux=True)(params)
        return outputs, new, gradient

    return jax.jit(run)


def one_norm(layer: Norm) -> Network:
    """A network of which the outputs are those of the norm."""
    return Network((layer, Flatten(), Affine(18, initial="identity", bias=False)))


# --- against NumPy -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "axes", "split"),
    [
        (GroupNorm(2, 0.1), (1, 2, 4), (5, 3, 1, 2, 3)),
        (GroupNorm(6, 0.0), (1, 2, 4), (5, 3, 1, 6, 1)),
        (GroupNorm(1), (1, 2, 4), (5, 3, 1, 1, 6)),
        (LayerNorm(1e-5), (1, 2, 4), (5, 3, 1, 1, 6)),
        (BatchNorm(0.2, 0.1), (0, 1, 2), (5, 3, 1, 6, 1)),
    ],
    ids=str,
)
def test_normalisation_against_numpy(layer: Norm, axes: tuple[int, ...], split: tuple[int, ...]):
    # Means and biased variances over the axes that each is defined by; channels in groups of
    # neighbours. Broken by groups of every other channel, or eps under another root.
    model = one_norm(layer)
    params, state, x = drawn(model, (3, 1, 6))
    params["layer_0"]["weight"] = jnp.eye(18)
    apart = np.asarray(x).reshape(split)
    mean, variance = (f(apart, axis=axes, keepdims=True) for f in (np.mean, np.var))
    normal = ((apart - mean) / np.sqrt(variance + layer.eps)).reshape(x.shape)
    own = params["norm_0"]
    expected = (normal * np.asarray(own["scale"]) + np.asarray(own["bias"])).reshape(5, 18)
    outputs, new = model.apply(params, state, x, train=True)
    np.testing.assert_allclose(outputs, expected, rtol=1e-11, atol=1e-12)
    if isinstance(layer, BatchNorm):
        # PyTorch's: the newest batch counts for momentum, with its variance over n − 1.
        values = np.asarray(x).reshape(-1, 6)
        for part, now in (("mean", values.mean(0)), ("variance", values.var(0, ddof=1))):
            np.testing.assert_allclose(
                new["norm_0"][part], 0.8 * state["norm_0"][part] + 0.2 * now, rtol=1e-12
            )
        mean, variance = (np.asarray(state["norm_0"][p]) for p in ("mean", "variance"))
        normal = (np.asarray(x) - mean) / np.sqrt(variance + 0.1)
        expected = (normal * np.asarray(own["scale"]) + np.asarray(own["bias"])).reshape(5, 18)
        np.testing.assert_allclose(model.apply(params, state, x)[0], expected, rtol=1e-11)
    else:
        assert new == state == {}


def test_pooling_scalars_and_shortcuts_against_numpy():
    # The maximum of windows, leaving out what fills none; a number for all units; a shortcut that
    # is numbered after its branch. Broken by a shortcut that is scaled, or given the branch's outputs.
    block = Residual((Affine(4), ScalarMultiplier()), 0.5, (ScalarBias(), Affine(4)))
    model = Network((MaxPool(2), Flatten(), block, Affine(2, bias=False)))
    params, _, x = drawn(model, (5, 4, 2))
    pooled = np.asarray(x)[:, :4].reshape(5, 2, 2, 2, 2, 2).max(axis=(2, 4)).reshape(5, 8)
    w = {name: jax.tree.map(np.asarray, own) for name, own in params.items()}
    branch = pooled @ w["layer_0"]["weight"].T + w["layer_0"]["bias"]
    beside = (pooled + w["scalar_1"]["bias"]) @ w["layer_1"]["weight"].T + w["layer_1"]["bias"]
    expected = (beside + 0.5 * branch * w["scalar_0"]["multiplier"]) @ w["layer_2"]["weight"].T
    assert "bias" not in w["layer_2"]
    found = model.apply(params, {}, x)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_centred_padding_against_xla():
    # PyTorch's padding=size // 2, where it differs from "SAME". Broken by zeros on one side.
    for size, stride, shape in ((3, 2, (6, 5, 2)), (5, 3, (7, 4, 1)), (2, 1, (3, 3, 2))):
        conv = Conv(3, size, stride, "CENTRED", bias=False)
        model = Network((conv, GlobalAverage(), Affine(3, initial="identity", bias=False)))
        params, _, x = drawn(model, shape)
        params["layer_1"]["weight"] = jnp.eye(3)
        weight = params["layer_0"]["weight"].reshape(3, size, size, shape[2]).transpose(1, 2, 3, 0)
        expected = jax.lax.conv_general_dilated(
            x, weight, (stride,) * 2, ((size // 2,) * 2,) * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        ).mean(axis=(1, 2))  # fmt: skip
        found = jax.jit(lambda p, x, model=model: model.apply(p, {}, x)[0])(params, x)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


# --- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (normalised_dense((4, 3), 2, "tanh"), (3,)),
        (conv_net((3,), 2, "mean", activation="tanh", norm="batch"), (3, 4, 2)),
        (Scaled(normalised_dense((4,), 2, "tanh")), (3,)),
    ],
    ids=["dense", "conv", "scaled"],
)
def test_an_empty_slot_counts_for_nothing(model: Any, shape: tuple[int, ...]):
    # A padded batch, its last slots an example of weight 0: outputs of the others, gradient and new
    # statistics are those of the batch without them. Broken by statistics over all slots.
    inner = model.model if isinstance(model, Scaled) else model
    params, state, x = drawn(inner, shape)
    if isinstance(model, Scaled):
        state = model.around(jax.tree.map(lambda leaf: leaf + 0.1, params), state, 2.0)
    padded = jnp.concatenate([x[:3], x[4:], x[4:]])
    weights = jnp.asarray([0.25, 0.25, 0.25, 0.25, 0.0])
    outputs, new, gradient = trained(model)(params, state, padded, weights)
    expected = trained(model)(params, state, padded[:4], None)
    np.testing.assert_allclose(outputs[:4], expected[0], rtol=1e-12, atol=1e-13)
    assert_close(new, expected[1], 1e-12)
    assert_close(jax.tree.map(lambda leaf: 4 * leaf, gradient), expected[2], 1e-11)


def test_weights_count_examples():
    # An example of weight 2 is the example twice, but for the running variance, whose correction
    # takes the effective number (Σ w)²/Σ w². Broken by weights that count in the mean alone.
    model = normalised_dense((4,), 2, "tanh")
    params, state, x = drawn(model, (3,), 3)
    outputs, new, _ = trained(model)(params, state, x, jnp.asarray([2.0, 1.0, 1.0]))
    expected, twice, _ = trained(model)(params, state, x[jnp.asarray([0, 1, 2, 0])], None)
    np.testing.assert_allclose(outputs, expected[:3], rtol=1e-12)
    np.testing.assert_allclose(new["norm_0"]["mean"], twice["norm_0"]["mean"], rtol=1e-12)
    moved = [s["norm_0"]["variance"] - 0.9 * state["norm_0"]["variance"] for s in (new, twice)]
    effective = 16 / 6
    np.testing.assert_allclose(moved[0] * (effective - 1) / effective, moved[1] * 3 / 4, rtol=1e-11)


def test_batches_without_a_variance():
    # One number for each channel: the channel is its bias, and the running variance stays. No
    # example at all, as in a part of an empty micro-batch: nothing changes, and nothing is NaN.
    model = normalised_dense((4,), 2, "tanh")
    params, state, x = drawn(model, (3,), 2)
    old, own = state["norm_0"], params["norm_0"]
    run = trained(model)
    outputs, new, gradient = run(params, state, x, jnp.asarray([1.0, 0.0]))
    hidden = x[0] @ params["layer_0"]["weight"].T
    np.testing.assert_allclose(new["norm_0"]["mean"], 0.9 * old["mean"] + 0.1 * hidden, rtol=1e-12)
    assert_equal(new["norm_0"]["variance"], old["variance"])
    last = params["layer_1"]
    expected = jnp.tanh(own["bias"]) @ last["weight"].T + last["bias"]
    np.testing.assert_allclose(outputs[0], expected, rtol=1e-12)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    _, new, gradient = run(params, state, x, jnp.zeros(2))
    assert_equal(new, state)
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient))


def test_low_precision_keeps_its_statistics():
    # Sums over a batch are made in float32. Broken by a mean in bfloat16 of 4096 numbers around 100,
    # which is off by far more than its last digit.
    model = one_norm(BatchNorm())
    x = jnp.asarray(100 + RNG.normal(size=(4096, 18)), jnp.bfloat16)
    shapes = models.abstract_init(model, x[0])
    params, state = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), shapes)
    params["norm_0"]["bias"] *= 0
    params["layer_0"]["weight"] = jnp.eye(18, dtype=jnp.bfloat16)
    run = jax.jit(lambda p, s, x: model.apply(p, s, x, train=True))
    outputs, new = run(params, state, x)
    assert outputs.dtype == jnp.bfloat16
    values = np.asarray(x, np.float64)
    mean, std = values.mean(0), values.std(0)
    wide = np.asarray(outputs, np.float64)
    np.testing.assert_allclose(wide, (values - mean) / std, atol=0.02)
    assert new["norm_0"]["mean"].dtype == jnp.bfloat16


def test_who_looks_at_the_batch():
    # Broken by a wrapper that hides it, whose lanes would then count empty slots.
    batch, group = normalised_dense((4,), 2), normalised_dense((4,), 2, norm="group")
    shortcut = Network((Affine(2), Residual((Affine(2),), 1.0, (BatchNorm(),)), Affine(2)))
    for model in (batch, shortcut, Scaled(batch), Computed(batch, "float32")):
        assert uses_batch_statistics(model)
    for model in (group, models.Dense((4,), 2), models.Linearised(batch), Scaled(group)):
        assert not uses_batch_statistics(model)


# --- what else knows the layers ------------------------------------------------------------------


def test_constructors_and_descriptions():
    # Layers before a norm have no biases; descriptions of old chains did not change, as lanes are
    # told apart by them. Broken by new fields that are always written.
    chain = normalised_dense((4,), 2, "tanh", "group", eps=0.1).chain()
    assert chain == (Flatten(), Affine(4, False), GroupNorm(1, 0.1), TANH, Affine(2))
    chain = conv_net((4,), 2, norm="layer").chain()
    assert chain[:2] == (Conv(4, bias=False), LayerNorm())
    described = conv_net((4,), 2).describe()["chain"]
    assert described[0] == {
        "layer": "Conv", "channels": 4, "size": 3, "stride": 1, "padding": "SAME",
    }  # fmt: skip
    block = Residual((Affine(2, bias=False),), 1.0, (BatchNorm(),))
    assert Network((Affine(2), block, Affine(2))).describe()["chain"][1] == {
        "layer": "Residual",
        "branch": [{"layer": "Affine", "outputs": 2, "bias": False}],
        "scale": 1.0,
        "shortcut": [{"layer": "BatchNorm", "momentum": 0.1, "eps": 1e-5, "initial_scale": 1.0}],
    }


def test_activations_are_those_of_evaluation():
    # Broken by the state's statistics lost on the way to a layer.
    model = normalised_dense((4, 3), 2, "tanh")
    params, state, x = drawn(model, (3,))
    own = models.layer_activations(model, params, state, x, "layer_1")
    again = models.outputs_from(model, params, state, x, "layer_1", own)
    np.testing.assert_allclose(again, model.apply(params, state, x)[0], rtol=1e-13)
    found, inputs = model.tapped(params, state, x)
    np.testing.assert_allclose(found, again, rtol=1e-13)
    np.testing.assert_allclose(inputs[1][:, 0] @ params["layer_1"]["weight"].T, own, rtol=1e-12)


@pytest.mark.parametrize(
    ("width", "groups"), [(64, 8), (100, 4), (24, 3), (20, 2), (15, 1), (4, 1)]
)
def test_groups_of_dense_layers_have_eight_units(width: int, groups: int):
    # Broken by groups of two units, whose normalised values are signs and pass no gradient on.
    found = [layer for layer in normalised_dense((width,), 2, norm="group").layers
             if isinstance(layer, GroupNorm)]  # fmt: skip
    assert [layer.groups for layer in found] == [groups]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Network((GroupNorm(0), Affine(2))), "groups of a GroupNorm is 0"),
        (lambda: started((GroupNorm(4), Affine(2)), (4,)), "1 values in each group"),
        (lambda: started((GroupNorm(4), Affine(2)), (8,)), "2 values in each group"),
        (lambda: Network((LayerNorm(float("nan")), Affine(2))), "eps of a LayerNorm is nan"),
        (lambda: Network((BatchNorm(-0.1), Affine(2))), "momentum of a BatchNorm is -0.1"),
        (lambda: Network((BatchNorm(initial_scale=float("inf")), Affine(2))), "initial_scale of a"),
        (lambda: Network((Affine(2, 1),)), "bias of a layer Affine is 1"),  # type: ignore[arg-type]
        (lambda: Network((Affine(2, initial=-1),)), "initial of a layer Affine is -1"),
        (lambda: Network((Affine(2, initial="zero"),)), "is 'zero'; choose a finite"),  # type: ignore[arg-type]
        (lambda: Network((MaxPool(0), Affine(2))), "size of a MaxPool is 0"),
        (lambda: Network((Residual((BatchNorm(),)), Affine(2))), "ends in BatchNorm"),
        (lambda: Network((Residual((Affine(2), TANH, BatchNorm())), Affine(2))), "ends in Activ"),
        (lambda: Network((Residual((Affine(2),), 1.0, 5), Affine(2))), "the chain is 5"),  # type: ignore[arg-type]
        (lambda: started((GroupNorm(2), Affine(2)), (3,)), "GroupNorm(2, 1e-05, 1.0) is given 3"),
        (lambda: started((LayerNorm(), Affine(2)), ()), "needs channels"),
        (
            lambda: started((Residual((Affine(3),), 1.0, (Affine(2),)), Affine(2)), (4,)),
            "makes shape (3,) of shape (4,), but its shortcut makes (2,)",
        ),
        (lambda: used({}, {}), "the parameters have no scale and bias in norm_0"),
        (lambda: used(None, {}), "the state has no mean and variance in norm_0"),
        (lambda: normalised_dense(3, 2), "widths is 3"),  # type: ignore[arg-type]
    ],
)
def test_bad_layers_are_refused_in_one_line(call: Any, says: str):
    # Broken by a network that is built and fails far away from the mistake.
    with pytest.raises(UserError) as caught:
        call()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def started(chain: Any, shape: tuple[int, ...]) -> Any:
    return jax.jit(Network(chain).init)(KEY, jnp.zeros(shape))


def used(params: Any, state: Any) -> Any:
    own = {"norm_0": {"scale": jnp.ones(3), "bias": jnp.ones(3)}} if params is None else params
    return Network((BatchNorm(), Affine(2))).apply(own, state, jnp.zeros((2, 3)))
