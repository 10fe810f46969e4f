"""Networks padded to a traced width, against the narrow network computed by NumPy."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

from implicit_bias import optimizers
from implicit_bias.errors import UserError
from implicit_bias.models import Dense, Model
from implicit_bias.models.width import Padded
from tests.haste import hasty
from tests.models.harness import KEY, assert_close, assert_equal
from tests.optimizers import harness as optimizer_harness

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(5, 3)), 2 * RNG.normal(size=(5, 2))
LEFT_OUT = RNG.normal(size=(4, 3))
FULL, STEPS, MOMENTUM = 5, 4, 0.9

# One activation each, so that all are met; three of them have a slope at zero.
KINDS: dict[Any, Any] = {"standard": "gelu", "ntk": "relu", "mup": "tanh", "mup_adam": "erf"}
# Each is compiled once, for all widths, scales and step sizes.
CASES = [(1, "standard"), (2, "standard"), (2, "ntk"), (2, "mup"), (3, "mup_adam")]


def padded_network(depth: int, parameterisation: Any) -> Padded:
    kind = KINDS[parameterisation]
    init: Any = "glorot" if parameterisation == "standard" and depth == 2 else "he"
    dense = Dense((FULL,) * depth, 2, kind, parameterisation, init, bias_std=0.4, base_width=3)
    return Padded(dense)


@functools.cache
def draws() -> Any:
    """Standard normal draws of the largest network, in whose corners are those of all smaller ones."""
    dense = Dense((FULL,) * 4, 2, "relu", "ntk", bias_std=1.0)
    return jax.tree.map(np.asarray, jax.jit(lambda: dense.init(KEY, jnp.zeros(3))[0])())


@functools.cache
def program(depth: int, parameterisation: Any) -> Any:
    """All that is compared, compiled once: the width is traced."""
    model = padded_network(depth, parameterisation)
    x, y = jnp.asarray(X), jnp.asarray(Y)

    @jax.jit
    def run(width: jax.Array, scale: jax.Array, step_size: jax.Array) -> Any:
        params, state = model.init(KEY, x[0], scale=scale, width=width)
        start, unravel = ravel_pytree(params)

        def loss(flat: jax.Array) -> jax.Array:
            return 0.5 * jnp.mean(jnp.sum((model.apply(unravel(flat), state, x)[0] - y) ** 2, 1))

        def step(carry: Any, _: None) -> Any:
            flat, velocity = carry
            value, gradient = jax.value_and_grad(loss)(flat)
            velocity = MOMENTUM * velocity + gradient
            return (flat - step_size * velocity, velocity), (value, gradient)

        (flat, _), (losses, gradients) = jax.lax.scan(
            step, (start, jnp.zeros_like(start)), None, STEPS
        )
        outputs = model.apply(unravel(flat), state, jnp.asarray(LEFT_OUT))[0]
        hessian = jax.lax.map(
            lambda v: jax.jvp(jax.grad(loss), (start,), (v,))[1], jnp.eye(start.size)
        )
        return params, unravel(gradients[0]), unravel(flat), losses, outputs, hessian

    return run


def nonlinear(kind: str, z: Any) -> tuple[Any, Any]:
    """An activation and its slope, for complex numbers too."""
    if kind == "relu":
        return np.where(z.real > 0, z, 0), (z.real > 0).astype(float)
    if kind == "tanh":
        return np.tanh(z), 1 - np.tanh(z) ** 2
    if kind == "erf":
        return scipy.special.erf(z), 2 / np.sqrt(np.pi) * np.exp(-(z**2))
    normal = (1 + scipy.special.erf(z / np.sqrt(2))) / 2
    return z * normal, normal + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


class Narrow:
    """The narrow network and its gradient, written out; parameters are a list of (weight, bias)."""

    def __init__(self, dense: Dense, scale: float) -> None:
        self.kind, self.layers = dense.activation, dense.layers(3, np.float64)
        drawn, sizes = draws(), (3, *dense.widths, 2)
        self.start = []
        for i, layer in enumerate(self.layers):
            rows, columns = sizes[i + 1], sizes[i]
            weight = drawn[f"layer_{i}"]["weight"][:rows, :columns]
            bias = drawn[f"layer_{i}"]["bias"][:rows]
            self.start.append((scale * layer.weight_std * weight, layer.bias_std * bias))

    def forward(self, params: Any, x: np.ndarray) -> tuple[list[Any], list[Any], Any]:
        hidden, inputs, slopes = x, [], []
        for i, (layer, (weight, bias)) in enumerate(zip(self.layers, params, strict=True)):
            inputs.append(hidden)
            sums = layer.weight_multiplier * hidden @ weight.T + layer.bias_multiplier * bias
            hidden, slope = nonlinear(self.kind, sums) if i < len(params) - 1 else (sums, 1.0)
            slopes.append(slope)
        return inputs, slopes, hidden

    def loss_and_gradient(self, params: Any) -> tuple[Any, Any]:
        inputs, slopes, outputs = self.forward(params, X)
        delta, gradient = (outputs - Y) / len(X), []
        for i in reversed(range(len(params))):
            layer = self.layers[i]
            delta = delta * slopes[i]
            gradient.append((layer.weight_multiplier * delta.T @ inputs[i],
                             layer.bias_multiplier * delta.sum(0)))  # fmt: skip
            delta = layer.weight_multiplier * delta @ params[i][0]
        return 0.5 * np.mean(np.sum((outputs - Y) ** 2, 1)), gradient[::-1]

    def train(self, step_size: float) -> tuple[Any, list[float]]:
        params, losses = self.start, []
        velocity = [(0 * w, 0 * b) for w, b in params]
        for _ in range(STEPS):
            value, gradient = self.loss_and_gradient(params)
            velocity = [(MOMENTUM * v + g, MOMENTUM * u + h)
                        for (v, u), (g, h) in zip(velocity, gradient, strict=True)]  # fmt: skip
            params = [(w - step_size * v, b - step_size * u)
                      for (w, b), (v, u) in zip(params, velocity, strict=True)]  # fmt: skip
            losses.append(value)
        return params, losses

    def hessian(self) -> np.ndarray:
        """Derivatives of the gradient by complex steps, which have no error of differencing."""
        flat, place = np.concatenate([a.ravel() for pair in self.start for a in pair]), 1e-30
        columns = []
        for direction in np.eye(flat.size):
            moved, rest = [], flat + 1j * place * direction
            for pair in self.start:
                arrays = []
                for array in pair:
                    arrays.append(rest[: array.size].reshape(array.shape))
                    rest = rest[array.size :]
                moved.append(tuple(arrays))
            gradient = self.loss_and_gradient(moved)[1]
            columns.append(np.concatenate([a.imag.ravel() for pair in gradient for a in pair]))
        return np.stack(columns, 1) / place


def surrounded(narrow: list[tuple[np.ndarray, np.ndarray]], wide: Any) -> Any:
    """The narrow network's arrays in the corner of zeros."""
    found = jax.tree.map(lambda leaf: np.zeros(leaf.shape), wide)
    for i, (weight, bias) in enumerate(narrow):
        found[f"layer_{i}"]["weight"][: weight.shape[0], : weight.shape[1]] = weight
        found[f"layer_{i}"]["bias"][: bias.shape[0]] = bias
    return found


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    case=st.sampled_from(CASES),
    width=st.integers(1, FULL),
    scale=st.floats(0.3, 1.5),
    step_size=st.floats(0.01, 0.1),
)
def test_padding_changes_nothing(
    case: tuple[int, str], width: int, scale: float, step_size: float
) -> None:
    # Initial parameters, losses, gradient, trajectory, predictions on other inputs, and the whole
    # spectrum, against NumPy; padding is zero exactly. Broken by a fan or a multiplier that counts
    # padding, by padded units that anything leaks into, or a Hessian that sees them (as without the
    # multiplication by 0 it does, where the activation has a slope at zero).
    depth, parameterisation = case
    model = padded_network(depth, parameterisation)
    narrow = Narrow(model.narrow(width), scale)
    run = program(depth, parameterisation)
    found = run(jnp.float64(width), jnp.float64(scale), jnp.float64(step_size))
    params, gradient, trained, losses, outputs, hessian = found
    # In a hurry, XLA computes the last digit of some float32 draws otherwise, depending on the shape.
    assert_close(params, surrounded(narrow.start, params), 1e-6)
    narrow.start = [(p["weight"], p["bias"]) for p in model.unpadded(params, width).values()]
    expected, expected_losses = narrow.train(step_size)
    tolerance = 1e-11
    assert_equal(params, surrounded(narrow.start, params))
    slope = narrow.loss_and_gradient(narrow.start)[1]
    size = max(np.abs(a).max() for pair in slope for a in pair)
    assert_close(jax.tree.map(lambda g: g / size, gradient),
                 surrounded([(g / size, h / size) for g, h in slope], gradient), tolerance)  # fmt: skip
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-9)
    assert_close(trained, surrounded(expected, trained), 1e-9)
    prediction = narrow.forward(expected, LEFT_OUT)[2]
    np.testing.assert_allclose(outputs, prediction, rtol=1e-9, atol=1e-9)
    true = np.linalg.eigvalsh(narrow.hessian())
    zeros = np.zeros(hessian.shape[0] - len(true))
    np.testing.assert_allclose(
        np.linalg.eigvalsh(hessian), np.sort([*true, *zeros]), atol=tolerance * np.abs(true).max()
    )
    # Cutting the narrow network out of the wide one gives back all of it, and nothing else.
    cut = model.unpadded(trained, width)
    assert_equal(surrounded([(c["weight"], c["bias"]) for c in cut.values()], trained), trained)
    assert [c["weight"].shape[0] for c in cut.values()] == [*[width] * depth, 2]


@pytest.mark.parametrize(
    ("parameterisation", "dtype"), [("standard", "float32"), ("mup", "float64")]
)
def test_initial_parameters_are_those_of_a_narrow_network(
    parameterisation: Any, dtype: Any
) -> None:
    # Against init of the narrow network itself. Broken by draws that depend on a shape, or a spread
    # that does not take the true width.
    model, x = padded_network(1, parameterisation), jnp.zeros(3, dtype)
    with hasty(False):  # roundings of draws are the optimiser's
        params, _ = jax.jit(lambda w: model.init(KEY, x, width=w))(jnp.asarray(2, dtype))
        small, _ = jax.jit(lambda: model.narrow(2).init(KEY, x))()
    assert_close(model.unpadded(params, 2), small, 4 * np.finfo(dtype).eps)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(dtype)}


# --- optimisers ----------------------------------------------------------------------------------

RULES = {
    **{row.name: (row.name, row.settings) for row in optimizer_harness.ROWS},
    "sam": ("sam(heavy_ball)", {"rho": 0.2}),
    "asam": ("asam(sgd)", {"rho": 0.3, "eta": 0.1}),
    "gradient_flow": ("gradient_flow", {}),
    "trace_penalty": ("trace_penalty(sgd)", {"gamma": 0.05}),
    "top_penalty": ("top_penalty(sgd)", {"gamma": 0.05}),
}
COMPARED = ("heavy_ball", "adam", "sam")


def gradient_of(model: Model, state: Any) -> Any:
    x, y = jnp.asarray(X), jnp.asarray(Y)
    return jax.grad(lambda p: jnp.mean((model.apply(p, state, x, train=True)[0] - y) ** 2))


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_optimiser_leaves_padding_at_zero(name: str) -> None:
    # Exactly zero after some updates with both decays; for some, the corner is held against the narrow
    # network's own run. Broken by an update that moves a parameter without gradient, or by 0/0 there.
    model = Padded(Dense((4,), 2, "tanh"))
    spec, own = RULES[name]
    optimizer = optimizers.get(spec)
    chosen = optimizer.settings() | dict(own) | {"step_size": 0.05}
    chosen |= {k: 0.01 for k in chosen if k.endswith("weight_decay")}
    small = {
        "layer_0": {"weight": jnp.asarray(RNG.normal(size=(2, 3))), "bias": jnp.zeros(2)},
        "layer_1": {"weight": jnp.asarray(RNG.normal(size=(2, 2))), "bias": jnp.zeros(2)},
    }
    wide = {
        "layer_0": {"weight": jnp.zeros((4, 3)), "bias": jnp.zeros(4)},
        "layer_1": {"weight": jnp.zeros((2, 4)), "bias": jnp.zeros(2)},
    }
    wide = surrounded([(p["weight"], p["bias"]) for p in small.values()], wide)
    state = {"units": jnp.asarray([1.0, 1.0, 0.0, 0.0])}
    found = optimizer_harness.trajectory(
        optimizer, chosen, jax.tree.map(jnp.asarray, wide), gradient_of(model, state), 5
    )
    cut = model.unpadded(found, 2)
    assert_equal(found, surrounded([(p["weight"], p["bias"]) for p in cut.values()], found))
    assert np.abs(cut["layer_0"]["weight"] - small["layer_0"]["weight"]).max() > 1e-3
    if name in COMPARED:
        narrow = gradient_of(model.narrow(2), {})
        expected = optimizer_harness.trajectory(optimizer, chosen, small, narrow, 5)
        assert_close(cut, expected, 1e-9)


# --- what else a model has ------------------------------------------------------------------------


def test_taps_see_the_narrow_network() -> None:
    # Outputs and what each layer is given, without padding's share; padded sums lead nowhere. Broken if
    # the tapped network is the unmasked one.
    model = Padded(Dense((4, 4), 2, "tanh", "ntk"))
    rng = np.random.default_rng(0)
    small = {f"layer_{i}": {"weight": rng.normal(size=shape), "bias": rng.normal(size=shape[0])}
             for i, shape in enumerate([(3, 3), (3, 3), (2, 3)])}  # fmt: skip
    wide = {"layer_0": {"weight": np.zeros((4, 3)), "bias": np.zeros(4)},
            "layer_1": {"weight": np.zeros((4, 4)), "bias": np.zeros(4)},
            "layer_2": {"weight": np.zeros((2, 4)), "bias": np.zeros(2)}}  # fmt: skip
    wide = surrounded([(p["weight"], p["bias"]) for p in small.values()], wide)
    state = jax.jit(lambda: model.init(KEY, jnp.zeros(3), width=3)[1])()
    taps = tuple(jnp.asarray(rng.normal(size=(5, 1, n))) for n in (4, 4, 2))
    cut = (taps[0][..., :3], taps[1][..., :3], taps[2])
    assert model.chain() == model.dense.chain()
    assert model.weight_layers((3,)) == model.dense.weight_layers((3,))
    outputs, inputs = jax.jit(model.tapped)(wide, state, jnp.asarray(X), taps)
    expected, seen = jax.jit(model.narrow(3).tapped)(small, {}, jnp.asarray(X), cut)
    assert_close(outputs, expected, 1e-13)
    for found, own in zip(inputs, seen, strict=True):
        assert_close(found[..., :3], own, 1e-13)
        assert not np.asarray(found[..., 3:]).any()


def test_padded_networks_are_models() -> None:
    # Broken if two equal networks would be compiled twice, or a lane of the full width by default fails.
    model = Padded(Dense((4,), 2))
    assert model == Padded(Dense([4], 2))
    assert hash(model) == hash(Padded(Dense((4,), 2)))
    assert isinstance(model, Model)
    assert model.describe() == {"architecture": "padded dense", "dense": model.dense.describe()}
    _, state = jax.eval_shape(lambda: model.init(KEY, jnp.zeros(3, jnp.float32)))
    assert state["units"].dtype == np.float32
    (setting,) = model.traced
    assert (setting.name, setting.default) == ("width", 4)


# --- bad input -----------------------------------------------------------------------------------


def test_bad_networks_are_refused() -> None:
    # Broken if a network that cannot be padded only fails while it trains.
    for dense in (Dense((4, 3), 2), Dense((), 2)):
        with pytest.raises(UserError, match="at least one hidden layer, all of them equally wide"):
            Padded(dense)
    with pytest.raises(UserError, match="is a Padded; give a Dense network"):
        Padded(Padded(Dense((4,), 2)))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="unknown initialisation 'orthogonal'"):
        Dense((4,), 2, initialisation="orthogonal")  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [0, 5, 2.5, True, "two", float("nan"), None])
def test_bad_widths_are_refused(width: Any) -> None:
    # Broken if a lane can be made whose network is not what its width says.
    model = Padded(Dense((4,), 2))
    with pytest.raises(
        UserError, match=r"width is .*; choose a whole number from 1 to 4, to which"
    ):
        model.traced[0].check(width)
    with pytest.raises(UserError, match="choose a whole number from 1 to 4"):
        model.narrow(width)
    if width is not None:
        with pytest.raises(UserError, match="choose a whole number from 1 to 4"):
            model.init(KEY, jnp.zeros(3), width=width)


def test_a_state_without_units_is_refused() -> None:
    # Broken if padded parameters are evaluated by a network that does not know the true width.
    model = Padded(Dense((4,), 2))
    with pytest.raises(UserError, match="does not say which units"):
        model.apply({}, {}, jnp.zeros((1, 3)))
