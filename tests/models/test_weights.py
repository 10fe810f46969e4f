"""Weights from elsewhere: the loaded network computes what the original did."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, serialization

from implicit_bias.errors import UserError
from implicit_bias.models import Dense, abstract_init, from_flax, load_weights

from .harness import LinenBlock, assert_equal

RNG = np.random.default_rng(6)
X = RNG.normal(size=(5, 4)).astype(np.float32)
EXAMPLE = jnp.zeros(4, jnp.float32)
MODEL = Dense((6, 6), 3, "tanh")
SIZES = (4, 6, 6, 3)
HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed (extra 'peers')")


def arrays() -> list[dict[str, np.ndarray]]:
    """Weights (n_out, n_in) and biases of a network like MODEL."""
    return [
        {
            "weight": RNG.normal(size=(b, a)).astype(np.float32),
            "bias": RNG.normal(size=b).astype(np.float32),
        }
        for a, b in itertools.pairwise(SIZES)
    ]


def forward(layers: list[dict[str, np.ndarray]]) -> np.ndarray:
    hidden = X.astype(np.float64)
    for i, layer in enumerate(layers):
        hidden = hidden @ layer["weight"].T + layer["bias"]
        hidden = np.tanh(hidden) if i < len(layers) - 1 else hidden
    return hidden


def outputs(model: Any, loaded: tuple[Any, Any]) -> jax.Array:
    return model.apply(*loaded, jnp.asarray(X), train=False)[0]


def torch_style(layers: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """A state dict of nn.Sequential(Linear, Tanh, Linear, Tanh, Linear)."""
    state = {}
    for i, layer in enumerate(layers):
        state[f"{2 * i}.weight"] = layer["weight"]
        state[f"{2 * i}.bias"] = layer["bias"]
    return state


def own_style(layers: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    return {f"layer_{i}": layer for i, layer in enumerate(layers)}


@needs_torch
def test_a_pytorch_file_computes_the_same(tmp_path: Path):
    # Broken by a transpose, which square layers would not reveal by their shapes.
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 6),
        torch.nn.Tanh(),
        torch.nn.Linear(6, 6),
        torch.nn.Tanh(),
        torch.nn.Linear(6, 3),
    )
    path = tmp_path / "net.pt"
    torch.save(net.state_dict(), path)
    expected = net(torch.tensor(X)).detach().numpy()
    for source in (path, str(path), net.state_dict()):
        found = outputs(MODEL, load_weights(MODEL, EXAMPLE, source))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@needs_torch
def test_a_pickled_pytorch_module_is_refused(tmp_path: Path):
    # A whole module would run code when loaded. Broken by weights_only=False.
    import torch

    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pt")
    with pytest.raises(UserError, match=r"cannot be read as \.pt"):
        load_weights(MODEL, EXAMPLE, tmp_path / "net.pt")


@pytest.mark.parametrize("parameterisation", ["standard", "ntk", "mup", "mup_adam"])
def test_every_parameterisation_computes_the_same(parameterisation: Any):
    # Broken by forward multipliers that the foreign weights never had.
    model = Dense(
        (6, 6),
        3,
        "tanh",
        parameterisation,
        bias_scale=0.1 if parameterisation == "ntk" else 1.0,
        base_width=2,
    )
    layers = arrays()
    found = outputs(model, load_weights(model, EXAMPLE, torch_style(layers)))
    np.testing.assert_allclose(found, forward(layers), rtol=1e-4, atol=1e-5)


def test_our_own_layout_is_read_as_it_is(tmp_path: Path):
    # What a run saved comes back to the last bit, multipliers or not, nested or flat, as npz or a
    # dict.
    model = Dense((6, 6), 3, "tanh", "ntk")
    layers = arrays()
    nested = own_style(layers)
    flat = {f"{name}/{leaf}": v for name, layer in nested.items() for leaf, v in layer.items()}
    np.savez(tmp_path / "w.npz", **flat)
    dotted = {name.replace("/", "."): value for name, value in flat.items()}
    for source in (nested, flat, dotted, tmp_path / "w.npz", {"params": nested}):
        params, state = load_weights(model, EXAMPLE, source)
        assert_equal(params, nested)
        assert state == {}


def test_pytorch_layers_with_our_names_are_pytorchs_when_ordered():
    # Broken by an order that is ignored for names like our own: a network in another
    # parameterisation would apply its multipliers to weights that never had them.
    model = Dense((6, 6), 3, "tanh", "ntk")
    layers = arrays()
    loaded = load_weights(
        model, EXAMPLE, own_style(layers), order=("layer_0", "layer_1", "layer_2")
    )
    np.testing.assert_allclose(outputs(model, loaded), forward(layers), rtol=1e-4, atol=1e-5)


class Eleven(linen.Module):
    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(11):
            x = jnp.tanh(linen.Dense(4)(x))
        return linen.Dense(3)(x)


def test_a_flax_file_in_numerical_order(tmp_path: Path):
    # Dense_10 comes after Dense_9, not after Dense_1, and kernels are transposed: all shapes but
    # the last are equal, so only outputs can tell.
    module = Eleven()
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.asarray(X))
    variables = jax.tree.map(lambda s: RNG.normal(size=s.shape).astype(np.float32), shapes)
    expected = module.apply(jax.tree.map(jnp.asarray, variables), jnp.asarray(X))
    model = Dense((4,) * 11, 3, "tanh")
    path = tmp_path / "net.msgpack"
    path.write_bytes(serialization.msgpack_serialize(variables))
    for source in (path, variables, variables["params"]):
        found = outputs(model, load_weights(model, EXAMPLE, source))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_layers_of_nested_calls_name_their_order():
    # Flax numbers the outer of nested calls first. Broken by sending the user to widths that are right,
    # or by an order in the message that does not load.
    class Nested(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(3)(jnp.tanh(linen.Dense(6)(x)))

    net, model = Nested(), Dense((6,), 3, "tanh")
    variables = net.init(jax.random.key(0), X)
    with pytest.raises(UserError, match=r"give order=\['params/Dense_1', 'params/Dense_0'\]"):
        load_weights(model, EXAMPLE, variables)
    loaded = load_weights(model, EXAMPLE, variables, order=["params/Dense_1", "params/Dense_0"])
    np.testing.assert_allclose(outputs(model, loaded), net.apply(variables, X), rtol=1e-5)


def test_layers_in_a_given_order():
    # Names without numbers say nothing about the order. Broken by an order that is ignored.
    layers = arrays()
    named = dict(zip(("way_in", "middle", "exit"), layers, strict=True))
    expected = forward(layers)
    order = ("way_in", "middle", "exit")
    found = outputs(MODEL, load_weights(MODEL, EXAMPLE, named, order=order))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="name each layer once"):
        load_weights(MODEL, EXAMPLE, named, order=("way_in", "middle"))


def test_an_adapted_flax_network_takes_its_own_names():
    # Parameters and normalisation statistics. Broken by state that is left at its initial values.
    model = from_flax(LinenBlock())
    example = jnp.zeros(4, jnp.float32)
    variables = jax.tree.map(
        lambda s: RNG.normal(size=s.shape).astype(np.float32) ** 2, abstract_init(model, example)
    )
    params, state = load_weights(model, example, {"params": variables[0], **variables[1]})
    assert_equal((params, state), variables)
    with pytest.raises(UserError, match="part of the model's state"):
        load_weights(model, example, {"params": variables[0]})
    with pytest.raises(UserError, match="give the model's own parameter names"):
        load_weights(model, example, torch_style(arrays()))


def test_the_dtype_is_the_examples():
    # Broken by float64 weights that turn a float32 run into a float64 one.
    double = jax.tree.map(lambda a: a.astype(np.float64), own_style(arrays()))
    params, _ = load_weights(MODEL, EXAMPLE, double)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}
    params, _ = load_weights(MODEL, EXAMPLE.astype(jnp.float64), torch_style(arrays()))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float64")}


TORCH = torch_style(arrays())
BAD: list[tuple[Any, str]] = [
    ({}, "hold no arrays"),
    ({k: v for k, v in TORCH.items() if k.startswith("0")}, "have 1 layers ('0'), but the model"),
    (TORCH | {"2.weight": TORCH["2.weight"][:5]}, "'2/weight' of the weights has shape (5, 6)"),
    (TORCH | {"0.weight": TORCH["0.weight"].T}, "has shape (4, 6), but the model needs (6, 4)"),
    (TORCH | {"4.bias": np.zeros(4)}, "'4/bias' of the weights has shape (4,)"),
    ({k: v for k, v in TORCH.items() if k != "2.bias"}, "'2' of the weights has no bias"),
    ({k: v for k, v in TORCH.items() if k != "2.weight"}, "has a bias but no weight or kernel"),
    (TORCH | {"1.running_mean": np.zeros(3)}, "'1/running_mean'"),
    (TORCH | {"0.bias": np.full(6, np.nan)}, "not finite"),
    (TORCH | {"0.bias": np.array(["a"] * 6)}, "not numeric"),
    (own_style(arrays()) | {"layer_3": {"bias": np.zeros(2)}}, "'layer_3/bias', which the model"),
    ({"layer_0": own_style(arrays())["layer_1"]}, "have 1 layers"),
    ("nowhere.npz", "does not exist"),
    ("weights.h5", "has suffix '.h5'; choose one of .npz"),
]


@pytest.mark.parametrize(("source", "says"), BAD, ids=[says for _, says in BAD])
def test_what_does_not_fit_is_refused(source: Any, says: str):
    # Broken by weights that are silently dropped, transposed or left at their initial values.
    with pytest.raises(UserError) as caught:
        load_weights(MODEL, EXAMPLE, source)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_biases_a_model_does_not_have():
    # Broken by biases that are dropped: the loaded network would be another one.
    with pytest.raises(UserError, match="has a bias, but the model has none; choose bias=True"):
        load_weights(Dense((6, 6), 3, bias=False), EXAMPLE, TORCH)


@pytest.mark.parametrize("suffix", [".npz", ".msgpack", ".pt"])
def test_damaged_files_are_refused(tmp_path: Path, suffix: str):
    # Broken by the traceback of one of three libraries.
    if suffix == ".pt" and not HAS_TORCH:
        pytest.skip("PyTorch is not installed (extra 'peers')")
    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"not weights at all")
    with pytest.raises(UserError, match="net"):
        load_weights(MODEL, EXAMPLE, path)
    np.savez(tmp_path / "array.npz", np.zeros(3))
    with pytest.raises(UserError, match="'arr_0'"):
        load_weights(MODEL, EXAMPLE, tmp_path / "array.npz")
