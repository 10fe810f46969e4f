"""CNN-5, VGG and ResNet: against Flax's layers, PyTorch, and what their papers say."""

from __future__ import annotations

import functools
import importlib.util
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from implicit_bias import models
from implicit_bias.errors import UserError
from implicit_bias.models import Network, abstract_init, cnn5, parameter_count, resnet, vgg
from implicit_bias.models.dense import ACTIVATIONS
from implicit_bias.models.layers import (
    Affine,
    BatchNorm,
    Conv,
    GroupNorm,
    LayerNorm,
    MaxPool,
    Residual,
    ScalarBias,
    ScalarMultiplier,
    each_layer,
    with_weights,
)

from .harness import KEY, assert_close

COLOURS = (32, 32, 3)


def count(model: Network, shape: tuple[int, ...] = COLOURS) -> int:
    return parameter_count(abstract_init(model, jnp.zeros(shape, np.float32))[0])


# --- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (resnet(), 11_173_962),
        (resnet(34), 21_282_122),
        (resnet(50), 23_520_842),
        (resnet(20), 272_474),
        (cnn5(), 1_558_026),
        (vgg(11), 9_228_362),
        (vgg(16), 14_724_042),
    ],
    ids=["resnet-18", "resnet-34", "resnet-50", "resnet-20", "cnn-5", "vgg-11", "vgg-16"],
)
def test_parameters_are_those_that_are_published(model: Network, expected: int):
    # PyTorch's networks for CIFAR-10 without biases in convolutions that are normalised; CNN-5 of
    # Nakkiran et al. with them. Broken by a missing shortcut, stage, bias or norm.
    assert count(model) == expected


def test_parameters_by_hand():
    # Broken by another number of channels where the width is not 64.
    stem, inside = 27 * 4 + 8, (36 * 4 + 8) * 2
    stages = [
        (9 * c * 2 * c + 4 * c) + (36 * c * c + 4 * c) + (2 * c * c + 4 * c) for c in (4, 8, 16)
    ]
    assert count(resnet(10, 4)) == stem + inside + sum(stages) + 10 * 33
    assert count(resnet(10, 4, skip=False)) == count(resnet(10, 4)) - sum(
        2 * c * c + 4 * c for c in (4, 8, 16)
    )
    # Fixup: two scalars and a multiplier more for each branch of two convolutions, and so on.
    scalars = 4 * 5 + 3 * 1 + 2
    norms = 2 * 4 * 3 + sum(3 * 2 * 2 * c for c in (4, 8, 16))
    assert count(resnet(10, 4, norm="none")) == count(resnet(10, 4)) - norms + scalars
    for norm in ("group", "layer"):
        assert count(resnet(10, 4, norm=norm)) == count(resnet(10, 4))


def test_what_they_are_made_of():
    # Broken by strides, pools or norms at other places.
    strides = [
        layer.stride for layer in with_weights(resnet(18).chain()) if isinstance(layer, Conv)
    ]
    assert strides == [1] * 5 + [2, 1, 2, 1, 1] * 3
    deep = [(c.size, c.stride) for c in with_weights(resnet(50).chain()) if isinstance(c, Conv)]
    assert deep[:5] == [(3, 1), (1, 1), (3, 1), (1, 1), (1, 1)]
    assert deep[11:15] == [(1, 1), (3, 2), (1, 1), (1, 2)]
    assert len(deep) == 53
    chain = cnn5(3).chain()
    assert [layer.channels for layer in chain if isinstance(layer, Conv)] == [3, 6, 12, 24]
    assert [layer.size for layer in chain if isinstance(layer, MaxPool)] == [2, 2, 8]
    assert all(conv.bias is None for conv in with_weights(chain))
    for name, kind in (("batch", BatchNorm), ("group", GroupNorm), ("layer", LayerNorm)):
        found = [e for e in each_layer(vgg(13, 12, norm=name).chain()) if isinstance(e, kind)]
        assert len(found) == 10
    groups = [e.groups for e in vgg(11, 6, norm="group").chain() if isinstance(e, GroupNorm)]
    assert groups == [2, 4, 8, 8, 16, 16, 16, 16]
    wide = [c for c in with_weights(vgg(11, norm="none").chain()) if isinstance(c, Conv)]
    assert [c.channels for c in wide] == [64, 128, 256, 256, 512, 512, 512, 512]
    assert all(c.bias for c in wide)
    json.dumps(resnet(50, 4, norm="none").describe())
    assert models.get("resnet", depth=10, width=4, outputs=3) == resnet(10, 4, 3)


# --- the function itself -------------------------------------------------------------------------


class LinenResNet(linen.Module):
    """ResNet with basic blocks from Flax's own layers."""

    blocks: tuple[int, ...]
    width: int
    outputs: int

    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        wide = {"dtype": jnp.float64, "param_dtype": jnp.float64}
        conv = functools.partial(linen.Conv, use_bias=False, **wide)
        norm = functools.partial(
            linen.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5,
            use_fast_variance=False, force_float32_reductions=False, **wide,
        )  # fmt: skip
        x = linen.relu(norm()(conv(self.width, (3, 3), padding=1)(x)))
        for stage, number in enumerate(self.blocks):
            channels = self.width * 2**stage
            for block in range(number):
                strides = 2 if stage and not block else 1
                y = linen.relu(norm()(conv(channels, (3, 3), strides, padding=1)(x)))
                y = norm()(conv(channels, (3, 3), padding=1)(y))
                if strides > 1:
                    x = norm()(conv(channels, (1, 1), strides, padding=0)(x))
                x = linen.relu(x + y)
        return linen.Dense(self.outputs, **wide)(x.mean(axis=(1, 2)))


def as_linen(params: Any, state: Any) -> Any:
    """Our parameters and state as Flax names and lays them out."""
    last = sum(name.startswith("layer") for name in params) - 1
    found: dict[str, Any] = {}
    for index in range(last):
        weight = np.asarray(params[f"layer_{index}"]["weight"])
        side = 1 if weight.shape[1] % 9 else 3  # no shortcut of these widths is given 9 channels
        kernel = weight.reshape(len(weight), side, side, -1).transpose(1, 2, 3, 0)
        found[f"Conv_{index}"] = {"kernel": kernel}
    head = params[f"layer_{last}"]
    found["Dense_0"] = {"kernel": np.asarray(head["weight"]).T, "bias": head["bias"]}
    stats = {}
    for name, own in state.items():
        index = name.removeprefix("norm_")
        found[f"BatchNorm_{index}"] = params[name]
        stats[f"BatchNorm_{index}"] = {"mean": own["mean"], "var": own["variance"]}
    return {"params": found, "batch_stats": stats}


def ready(dtype: Any, depth: int = 10, width: int = 2) -> tuple[Network, Any, Any, Any, Any]:
    """A small network with parameters and statistics that are nowhere 0 or 1, and a batch."""
    model, rng = resnet(depth, width, 3), np.random.default_rng(0)
    shapes = abstract_init(model, jnp.zeros((16, 16, 3), dtype))
    params, state = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.3 + (leaf.ndim == 1), dtype),
        shapes,
    )
    state = jax.tree.map(lambda leaf: jnp.abs(leaf) + 0.1, state)
    x = jnp.asarray(rng.normal(size=(4, 16, 16, 3)), dtype)
    return model, params, state, x, jnp.asarray(rng.normal(size=(4, 3)), dtype)


def everything(model: Network) -> Any:
    """Outputs in evaluation and training, gradients and new statistics, compiled once."""

    def run(params: Any, state: Any, x: jax.Array, weights: jax.Array) -> Any:
        def total(params: Any) -> Any:
            outputs, new = model.apply(params, state, x, train=True)
            return jnp.sum(weights * outputs), (outputs, new)

        gradient, (outputs, new) = jax.grad(total, has_aux=True)(params)
        return model.apply(params, state, x, train=False)[0], outputs, gradient, new

    return jax.jit(run)


def test_resnet_against_flax():
    # The same weights in Flax's convolutions and norms, in float64: outputs in both modes, gradient,
    # and the statistics' update, of which Flax takes the biased variance. Broken by padding on
    # one side, a shortcut from the wrong place, or layers numbered otherwise than they run.
    model, params, state, x, weights = ready(np.float64)
    evaluated, outputs, gradient, new = everything(model)(params, state, x, weights)
    theirs = LinenResNet((1, 1, 1, 1), 2, 3)
    variables = as_linen(params, state)

    @jax.jit
    def run(variables: Any) -> Any:
        def total(params: Any) -> Any:
            given = {**variables, "params": params}
            found, updated = theirs.apply(given, x, train=True, mutable=["batch_stats"])
            return jnp.sum(weights * found), (found, updated["batch_stats"])

        gradient, (found, stats) = jax.grad(total, has_aux=True)(variables["params"])
        return theirs.apply(variables, x, train=False), found, gradient, stats

    with jax.numpy_dtype_promotion("standard"):  # Flax mixes types
        expected = run(variables)
    np.testing.assert_allclose(evaluated, expected[0], rtol=1e-11)
    np.testing.assert_allclose(outputs, expected[1], rtol=1e-10, atol=1e-11)
    assert_close(as_linen(gradient, state)["params"], expected[2], 1e-9)
    places = [16**2] * 3 + [8**2] * 3 + [4**2] * 3 + [2**2] * 3
    for index, positions in enumerate(places):
        old, ours = state[f"norm_{index}"], new[f"norm_{index}"]
        flax = expected[3][f"BatchNorm_{index}"]
        np.testing.assert_allclose(ours["mean"], flax["mean"], rtol=1e-10, atol=1e-12)
        biased = (np.asarray(flax["var"]) - 0.9 * np.asarray(old["variance"])) / 0.1
        n = 4 * positions
        unbiased = 0.9 * old["variance"] + 0.1 * biased * n / (n - 1)
        np.testing.assert_allclose(ours["variance"], unbiased, rtol=1e-9)


def test_resnet_18_against_pytorch():
    # Forward, gradient and statistics of ResNet-18, a sixteenth as wide, in float32.
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'peers')")
    path = Path(__file__).parents[2] / "scripts" / "benchmarks" / "torch_resnet.py"
    spec = importlib.util.spec_from_file_location("torch_resnet", path)
    assert spec is not None
    assert spec.loader is not None
    peer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peer)
    model, params, state, x, weights = ready(np.float32, 18, 4)
    evaluated, outputs, gradient, new = everything(model)(params, state, x, weights)
    for channels_last in (False, True):
        network = peer.torch_resnet(18, 4, 3, channels_last=channels_last)
        peer.load(network, params, state)
        given = peer.images(np.asarray(x), channels_last=channels_last)
        network.eval()
        expected = network(given).detach().numpy()
        scale = np.abs(expected).max()
        np.testing.assert_allclose(evaluated, expected, rtol=1e-4, atol=1e-4 * scale)
        network.train()
        found = network(given)
        (found * torch.from_numpy(np.array(weights))).sum().backward()
        expected = found.detach().numpy()
        np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
        for name, own in peer.gradients(network).items():
            for part, leaf in own.items():
                ours = np.asarray(gradient[name][part])
                assert np.linalg.norm(ours - leaf) <= 1e-4 * np.linalg.norm(leaf), (name, part)
        for name, own in peer.statistics(network).items():
            for part, leaf in own.items():
                np.testing.assert_allclose(new[name][part], leaf, rtol=1e-4, atol=1e-5)


def test_gradients_in_float32_are_those_of_float64_but_for_kinks(monkeypatch: pytest.MonkeyPatch):
    # A unit of ReLU whose input rounds to the other side of 0 changes the gradient at once, by 1e-3 of
    # its norm in a ResNet-18, whatever computes the convolutions (PyTorch's float32 does so, too). With
    # the units on that are on in float64 what is left is rounding. Breaks if a method has errors of its
    # own in the passes backwards.
    _, params, state, x, weights = ready(np.float64)
    model = resnet(10, 2, 3, convolution="winograd")
    on: list[jax.Array] = []

    def run(params: Any, state: Any, x: jax.Array, weights: jax.Array, on: Any) -> Any:
        units, seen = iter(on), []

        def relu(hidden: jax.Array) -> jax.Array:
            seen.append(hidden > 0)
            return hidden * (next(units) if on else seen[-1]).astype(hidden.dtype)

        def total(params: Any) -> Any:
            return jnp.sum(weights * model.apply(params, state, x, train=True)[0]), list(seen)

        monkeypatch.setitem(ACTIVATIONS, "relu", relu)
        return jax.grad(total, has_aux=True)(params)

    expected, on = jax.jit(run)(params, state, x, weights, [])
    small = jax.tree.map(lambda leaf: leaf.astype(np.float32), (params, state, x, weights))
    found, _ = jax.jit(run)(*small, on)
    for ours, exact in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.linalg.norm(np.asarray(ours) - np.asarray(exact)) <= 1e-5 * np.linalg.norm(exact)


# --- initial parameters --------------------------------------------------------------------------


def test_fixup_begins_as_published():
    # Zhang, Dauphin and Ma 2019, section 3: the last convolution of each branch, and the classifier,
    # at zero; the others N(0, 2/fan_in) times L^(−1/(2m−2)); scalars at 0 and 1. So the network's
    # outputs begin at zero, and yet each branch's last convolution has a gradient once the head moves.
    for depth, branches, inside in ((18, 8, 2), (50, 16, 3)):
        chain = resnet(depth, 2, norm="none").chain()
        scaled = branches ** (-1 / (2 * inside - 2))
        for block in chain:
            if isinstance(block, Residual):
                convs = [layer.initial for layer in block.branch if isinstance(layer, Conv)]
                assert convs == pytest.approx([scaled] * (inside - 1) + [0.0])
                assert [e.initial for e in block.shortcut if isinstance(e, Conv)] in ([], [1.0])
                kinds = [type(e) for e in block.branch[-3:]]
                assert kinds == [Conv, ScalarMultiplier, ScalarBias]
        assert chain[-1] == Affine(10, initial=0.0)
        biases = [e for e in each_layer(chain) if isinstance(e, ScalarBias)]
        shortcuts = 4 if depth == 50 else 3
        assert len(biases) == 2 * inside * branches + shortcuts + 2
    model = resnet(10, 24, 3, norm="none")
    params, state = jax.jit(model.init)(KEY, jnp.zeros((8, 8, 1)))
    assert state == {}
    first, last = params["layer_1"]["weight"], params["layer_2"]["weight"]
    assert not last.any()
    variance = 2 / (9 * 24) / 4  # L is 4, m is 2
    assert abs((first**2).mean() / variance - 1) < 5 * (2 / first.size) ** 0.5
    assert {float(p["bias"][0]) for p in params.values() if p.keys() == {"bias"}} == {0.0}
    assert {float(p["multiplier"][0]) for p in params.values() if "multiplier" in p} == {1.0}


def test_blocks_can_begin_as_their_shortcuts():
    # By the last norm's scale at zero, the network is that of its stem and shortcuts. Broken by a
    # zero in another norm, which would also silence what comes after it.
    model = resnet(10, 2, 3, zero_branches=True)
    params, state = jax.jit(model.init)(KEY, jnp.zeros((8, 8, 1)))
    zero = [name for name, own in params.items() if "scale" in own and not own["scale"].any()]
    assert sorted(zero) == ["norm_10", "norm_2", "norm_4", "norm_7"]
    without = {k: jax.tree.map(lambda w: 3 * w, p) if k in ("layer_2", "layer_4") else p
               for k, p in params.items()}  # fmt: skip
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 1)))
    run = jax.jit(lambda p: model.apply(p, state, x)[0])
    np.testing.assert_array_equal(run(params), run(without))


@pytest.mark.parametrize("parameterisation", ["standard", "ntk"])
def test_a_layer_can_begin_as_the_identity(parameterisation: Any):
    # Convolutions and affine layers that copy: the network returns what it is given. Broken by a
    # centre that is a corner, channels for rows, or a multiplier that is not undone.
    chain = (
        Conv(4, 3, initial="identity"),
        models.layers.Flatten(),
        Affine(32, initial="identity"),
    )
    model = Network(chain, parameterisation)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 3, 3)))
    params, _ = jax.jit(model.init)(KEY, x[0])
    padded = np.concatenate([x, np.zeros((2, 3, 3, 1))], axis=3).reshape(2, -1)
    np.testing.assert_allclose(model.apply(params, {}, x)[0], padded[:, :32], rtol=1e-12)
    half = Network((Affine(3, initial=0.5), Affine(3, initial=0.0)))
    plain = Network((Affine(3), Affine(3)))
    ours, theirs = (jax.jit(net.init)(KEY, jnp.zeros(4))[0] for net in (half, plain))
    np.testing.assert_allclose(ours["layer_0"]["weight"], 0.5 * theirs["layer_0"]["weight"])
    assert not ours["layer_1"]["weight"].any()


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: resnet(19), "depth is 19; choose from 10, 18"),
        (lambda: resnet(18, 0), "width is 0"),
        (lambda: resnet(10, 4, norm="instance"), "unknown norm 'instance'"),
        (lambda: resnet(10, 4, norm="none", zero_branches=True), "zero_branches is True without"),
        (lambda: resnet(10, 4, 0), "outputs of an Affine is 0"),
        (lambda: vgg(12), "depth is 12; choose from 11, 13, 16, 19"),
        (lambda: vgg(11, groups=0, norm="group"), "groups is 0"),
        (lambda: cnn5(4, pools=(2, 2)), "pools is (2, 2); give one whole number for each of 4"),
        (lambda: cnn5(4, pools=(1, 2, 2, 0)), "each of pools is 0"),
        (lambda: cnn5(4, eps=-1.0), "eps of a BatchNorm is -1.0"),
        (lambda: vgg(11, 4, convolution="fft"), "unknown convolution 'fft'"),
        (lambda: cnn5(4, momentum=1.5), "momentum of a BatchNorm is 1.5"),
        (lambda: cnn5(4).init(KEY, jnp.zeros((28, 28, 1))), "larger than its input of 7 by 7"),
        (lambda: resnet(10, 4).init(KEY, jnp.zeros(64)), "needs images"),
        (lambda: models.get("cnn5", wide=3), "model cnn5 cannot take options"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(build: Any, says: str):
    # Broken by a network that is built and fails far away from the mistake.
    with pytest.raises(UserError) as caught:
        build()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
