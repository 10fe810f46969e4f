"""Dense networks: parameterisations against their definitions, and padding against the narrow
network."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

from implicit_bias.errors import UserError
from implicit_bias.models import Dense, abstract_init
from tests.haste import hasty

from .harness import KEY, assert_close, assert_equal

RNG = np.random.default_rng(5)
X = RNG.normal(size=(7, 4))
Y = 3 * RNG.normal(size=(7, 2))
PARAMETERISATIONS = ("standard", "ntk", "mup", "mup_adam")


@functools.cache
def ready(model: Dense, seed: int = 7, n_inputs: int = 4) -> Any:
    """Initial parameters in float64, compiled once."""
    init = jax.jit(lambda key: model.init(key, jnp.zeros(n_inputs, jnp.float64))[0])
    return init(jax.random.key(seed))


def drawn(model: Dense) -> Any:
    """Parameters as ``ready`` would draw them, but by NumPy: nothing to compile."""
    rng = np.random.default_rng(8)
    sizes = (4, *model.widths, model.outputs)
    return {
        f"layer_{i}": {
            "weight": jnp.asarray(layer.weight_std * rng.normal(size=(sizes[i + 1], sizes[i]))),
            "bias": jnp.asarray(layer.bias_std * rng.normal(size=sizes[i + 1])),
        }
        for i, layer in enumerate(model.layers(4, np.float64))
    }


def train(
    model: Dense, params: Any, state: Any, transform: optax.GradientTransformation, steps: int
) -> tuple[Any, jax.Array]:
    """Minimise the squared error; return final parameters and the losses on the way."""
    x, y = jnp.asarray(X), jnp.asarray(Y)

    def loss(p: Any) -> jax.Array:
        return 0.5 * jnp.mean(jnp.sum((model.apply(p, state, x)[0] - y) ** 2, axis=1))

    def step(carry: Any, _: None) -> tuple[Any, jax.Array]:
        p, s = carry
        value, gradient = jax.value_and_grad(loss)(p)
        with jax.numpy_dtype_promotion("standard"):
            updates, s = transform.update(gradient, s, p)
        return (optax.apply_updates(p, updates), s), value

    @jax.jit
    def run(p: Any) -> Any:
        (p, _), values = jax.lax.scan(step, (p, transform.init(p)), None, length=steps)
        return p, values

    return run(params)


# --- the function itself -------------------------------------------------------------------------

ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "erf": scipy.special.erf,
    "gelu": lambda z: z * scipy.special.ndtr(z),
    "identity": lambda z: z,
}


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_against_numpy(activation: Any):
    # Broken by a wrong activation, one after the last layer, a bias on the wrong axis, or
    # weights read the other way round.
    model = Dense((5, 3), 2, activation)
    sizes = (4, 5, 3, 2)
    params = {
        f"layer_{i}": {
            "weight": RNG.normal(size=(sizes[i + 1], sizes[i])),
            "bias": RNG.normal(size=sizes[i + 1]),
        }
        for i in range(3)
    }
    hidden = X
    for i in range(3):
        hidden = hidden @ params[f"layer_{i}"]["weight"].T + params[f"layer_{i}"]["bias"]
        hidden = ACTIVATIONS[activation](hidden) if i < 2 else hidden
    found, state = model.apply(jax.tree.map(jnp.asarray, params), {}, jnp.asarray(X))
    np.testing.assert_allclose(found, hidden, rtol=1e-12, atol=1e-14)
    assert state == {}


def test_inputs_are_flattened_in_row_order():
    # Broken by another order than NumPy's, which weights from elsewhere would not survive.
    model = Dense((), 2, bias=False)
    images = RNG.normal(size=(3, 2, 2, 1))
    weight = RNG.normal(size=(2, 4))
    found, _ = model.apply({"layer_0": {"weight": jnp.asarray(weight)}}, {}, jnp.asarray(images))
    np.testing.assert_allclose(found, images.reshape(3, 4) @ weight.T, rtol=1e-13)


def test_a_deep_linear_network_is_a_product():
    # Broken by a hidden activation or bias.
    model = Dense((3, 5), 2, activation="identity", bias=False)
    shapes, _ = abstract_init(model, jnp.zeros(4))
    assert set(shapes["layer_0"]) == {"weight"}
    params = drawn(model)
    product = functools.reduce(np.matmul, (params[f"layer_{i}"]["weight"].T for i in range(3)))
    np.testing.assert_allclose(model.apply(params, {}, jnp.asarray(X))[0], X @ product, rtol=1e-12)


# --- initialisation ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("init", "variance"),
    [
        ("he", lambda i, o: 2 / i),
        ("lecun", lambda i, o: 1 / i),
        ("glorot", lambda i, o: 2 / (i + o)),
    ],
)
def test_initial_spreads(init: Any, variance: Any):
    # Sample variances of wide layers within five standard errors. Broken by fan-in and fan-out
    # swapped.
    model = Dense((300, 100), 50, initialisation=init)
    params = ready(model, n_inputs=40)
    sizes = (40, 300, 100, 50)
    for i in range(3):
        weight = np.asarray(params[f"layer_{i}"]["weight"])
        assert weight.shape == (sizes[i + 1], sizes[i])
        expected = variance(sizes[i], sizes[i + 1])
        error = np.sqrt(2 / weight.size)
        assert abs((weight**2).mean() / expected - 1) < 5 * error
        assert not params[f"layer_{i}"]["bias"].any()


def test_width_and_depth_are_prefix_stable():
    # A wider or deeper network keeps the draws of the smaller one, up to its scale: broken by a
    # draw that depends on a shape.
    small = ready(Dense((4, 3, 5), 2, parameterisation="ntk", bias_std=1.0))
    large = ready(Dense((9, 8), 2, parameterisation="ntk", bias_std=1.0))
    for name in ("layer_0", "layer_1"):
        rows, columns = small[name]["weight"].shape
        assert_equal(small[name]["weight"], large[name]["weight"][:rows, :columns])
        assert_equal(small[name]["bias"], large[name]["bias"][:rows])


def test_weights_and_biases_are_drawn_apart():
    # Broken by one key used twice: a bias would copy a row of weights.
    params = ready(Dense((6, 6), 6, parameterisation="ntk", bias_std=1.0), n_inputs=6)
    draws = [np.asarray(leaf).ravel()[:6] for leaf in jax.tree.leaves(params)]
    assert len({tuple(draw) for draw in draws}) == len(draws)


# --- parameterisations ---------------------------------------------------------------------------


@pytest.mark.parametrize("parameterisation", ["mup", "mup_adam"])
def test_mup_is_standard_at_the_base_width(parameterisation: Any):
    # Broken by any constant in a multiplier.
    standard = Dense((6, 6), 2, "tanh", bias_std=0.5)
    mup = Dense((6, 6), 2, "tanh", parameterisation, bias_std=0.5, base_width=6)
    assert mup.layers(4, np.float64) == standard.layers(4, np.float64)
    x, params = jnp.asarray(X), drawn(mup)
    assert_equal(mup.apply(params, {}, x)[0], standard.apply(params, {}, x)[0])


# Yang et al. 2022, Table 3, written as a plain network with its own initial spread and step size
# per layer, relative to width n0: factors on (initial weight, weight step size, bias step size), r
# = n/n0.
TABLE_3 = {
    "mup": [
        lambda r: (1, r, r),
        lambda r: (1, 1, r),
        lambda r: (r**-0.5, 1 / r, 1),
    ],
    "mup_adam": [
        lambda r: (1, 1, 1),
        lambda r: (1, 1 / r, 1),
        lambda r: (r**-0.5, 1 / r, 1),
    ],
}


@pytest.mark.parametrize("parameterisation", ["mup", "mup_adam"])
def test_mup_is_the_table_of_per_layer_step_sizes(parameterisation: Any):
    # One step size and forward multipliers against a standard network with the table's step sizes:
    # the same function and the same losses at every step. Broken by one wrong exponent anywhere.
    n0, n, eta = 2, 8, 0.05
    mup = Dense((n, n), 2, "tanh", parameterisation, base_width=n0)
    standard = Dense((n, n), 2, "tanh")
    make = optax.sgd if parameterisation == "mup" else functools.partial(optax.adam, eps=1e-30)
    factors = [row(n / n0) for row in TABLE_3[parameterisation]]
    start = {
        name: {"weight": factor[0] * layer["weight"], "bias": layer["bias"]}
        for factor, (name, layer) in zip(factors, drawn(standard).items(), strict=True)
    }
    labels = {f"layer_{i}": {"weight": f"w{i}", "bias": f"b{i}"} for i in range(3)}
    rates = {f"w{i}": f[1] * eta for i, f in enumerate(factors)}
    rates |= {f"b{i}": f[2] * eta for i, f in enumerate(factors)}
    per_layer = optax.partition({k: make(rate) for k, rate in rates.items()}, labels)
    _, expected = train(standard, start, {}, per_layer, 12)
    _, found = train(mup, drawn(mup), {}, make(eta), 12)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert expected[-1] < 0.9 * expected[0]


def preactivations(model: Dense, params: Any, x: jax.Array) -> list[jax.Array]:
    """Every layer's pre-activations, each as a shallower network's outputs."""
    found = []
    layers = model.layers(x.shape[1], x.dtype)
    hidden = x
    for i, layer in enumerate(layers):
        p = params[f"layer_{i}"]
        hidden = layer[0] * (hidden @ p["weight"].T) + layer[1] * p["bias"][None, :]
        found.append(hidden)
        hidden = jnp.tanh(hidden)
    return found


def movements(parameterisation: Any, width: int, eta: float) -> np.ndarray:
    """Root mean square change of each layer's pre-activations in four steps."""
    model = Dense((width, width), 2, "tanh", parameterisation, "lecun", base_width=16)
    adam = parameterisation == "mup_adam"
    params = drawn(model)
    after, _ = train(model, params, {}, (optax.adam if adam else optax.sgd)(eta), 4)
    x = jnp.asarray(X)
    pairs = zip(preactivations(model, after, x), preactivations(model, params, x), strict=True)
    return np.array([float(jnp.sqrt(jnp.mean((b - a) ** 2))) for a, b in pairs])


def exponents(parameterisation: Any, eta: float) -> np.ndarray:
    """Slope of log movement against log width."""
    widths = np.array([64, 1024])
    moved = np.array([movements(parameterisation, int(n), eta) for n in widths])
    return np.polyfit(np.log(widths), np.log(moved), 1)[0]


def test_coordinate_check():
    # How far each layer moves, against width (Yang et al. 2022, Figure 5). Under μP every layer
    # moves by O(1), for SGD and for Adam; under NTK the hidden layers move as n^(−1/2) and the
    # output by O(1); at one step size the standard output moves ever more. Broken by a wrong
    # exponent.
    for name, eta in (("mup", 0.05), ("mup_adam", 0.02)):
        np.testing.assert_allclose(exponents(name, eta), 0.0, atol=0.15, err_msg=name)
    np.testing.assert_allclose(exponents("ntk", 0.1), [-0.5, -0.5, 0.0], atol=0.15)
    # The check can see a parameterisation that is neither.
    assert exponents("standard", 0.01)[2] > 0.4


def test_the_tangent_kernel_of_a_wide_network():
    # One hidden ReLU layer, no bias, NTK parameterisation with gain² = 2: the kernel of gradients
    # tends to |x||x'|/d · 2·(κ₁ + cos·κ₀), the arc-cosine kernels (Cho and Saul 2009; Jacot et al.
    # 2018). Broken by a forward multiplier that is missing, doubled or of the wrong fan.
    model = Dense((4096,), 1, "relu", "ntk", bias=False)
    x = X[:4]
    params = drawn(model)
    jacobian = jax.jit(jax.jacobian(lambda p: model.apply(p, {}, jnp.asarray(x))[0][:, 0]))(params)
    flat = np.hstack([np.asarray(leaf).reshape(4, -1) for leaf in jax.tree.leaves(jacobian)])
    norms = np.linalg.norm(x, axis=1)
    cosine = np.clip(x @ x.T / np.outer(norms, norms), -1, 1)
    angle = np.arccos(cosine)
    kappa_0 = (np.pi - angle) / np.pi
    kappa_1 = (np.sin(angle) + (np.pi - angle) * cosine) / np.pi
    expected = np.outer(norms, norms) / 4 * 2 * (kappa_1 + cosine * kappa_0)
    np.testing.assert_allclose(flat @ flat.T, expected, rtol=0.1, atol=0.1 * expected.max() / 4)


def test_ntk_bias_scale():
    # The bias enters as bias_scale · b. Broken by a scale that is forgotten or applied twice.
    model = Dense((), 2, parameterisation="ntk", bias_std=1.0, bias_scale=0.1)
    params = drawn(model)
    at_zero, _ = model.apply(params, {}, jnp.zeros((1, 4), jnp.float64))
    np.testing.assert_allclose(at_zero[0], 0.1 * params["layer_0"]["bias"], rtol=1e-14)


# --- padding -------------------------------------------------------------------------------------


def embed(narrow: Any, wide: Any) -> Any:
    """Put the narrow parameters into the corner of zeros."""

    def corner(small: Any, large: Any) -> np.ndarray:
        found = np.zeros(large.shape, large.dtype)
        found[tuple(slice(0, n) for n in small.shape)] = small
        return found

    return jax.tree.map(corner, narrow, wide)


@pytest.mark.parametrize("parameterisation", ["standard", "mup"])
def test_padding_a_width_changes_nothing(parameterisation: Any):
    # The widths are traced. Initial parameters to one rounding; outputs, gradients and a trajectory
    # to rounding. Broken by a fan that counts padding, or by an activation that is not zero at
    # zero.
    widths = (5, 3)

    def build(w: Sequence[int]) -> Dense:
        return Dense(tuple(w), 2, "gelu", parameterisation, bias_std=0.3, base_width=4)

    narrow, wide = build(widths), build((9, 8))
    example = jnp.zeros(4, jnp.float64)
    init = jax.jit(lambda key, w: wide.init(key, example, widths=w))
    with hasty(False):  # roundings of draws are the optimiser's
        small = ready(narrow)
        padded, state = init(KEY, [jnp.int32(w) for w in widths])
    assert_close(padded, embed(small, padded), 1e-15)

    x = jnp.asarray(X)
    found, after = wide.apply(padded, state, x)
    np.testing.assert_allclose(found, narrow.apply(small, {}, x)[0], rtol=1e-13)
    assert after is state
    inside, inputs = wide.tapped(padded, state, x)
    assert_equal(inside, found)
    assert [a.shape for a in inputs] == [(7, 1, 4), (7, 1, 9), (7, 1, 8)]

    transform = optax.sgd(0.05, momentum=0.9)
    trained_small, losses_small = train(narrow, small, {}, transform, 30)
    trained_wide, losses_wide = train(wide, padded, state, transform, 30)
    np.testing.assert_allclose(losses_wide, losses_small, rtol=1e-10)
    assert_close(trained_wide, embed(trained_small, trained_wide), 1e-9)


def test_width_mask():
    # Ones exactly where the narrow network has parameters. Broken by rows and columns swapped.
    model = Dense((4, 3), 2)
    example = jnp.zeros(5, jnp.float32)
    mask = jax.jit(lambda w: model.width_mask(example, (2, w)))(jnp.int32(1))
    small = jax.eval_shape(lambda: Dense((2, 1), 2).init(KEY, example)[0])
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), small)
    assert_equal(mask, embed(ones, mask))
    assert {leaf.dtype for leaf in jax.tree.leaves(mask)} == {np.dtype("float32")}


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"widths": 5}, "one whole number per hidden layer"),
        ({"widths": "64"}, "one whole number per hidden layer"),
        ({"widths": (5, 0)}, "a hidden width is 0; choose a whole number >= 1"),
        ({"widths": (2.5,)}, "a hidden width is 2.5"),
        ({"outputs": 0}, "outputs is 0"),
        ({"outputs": True}, "outputs is True"),
        ({"activation": "rulu"}, "unknown activation 'rulu'; did you mean 'relu'"),
        ({"parameterisation": "mu"}, "did you mean 'mup'"),
        ({"initialisation": "xavier"}, "unknown initialisation 'xavier'"),
        ({"parameterisation": "ntk", "initialisation": "glorot"}, "choose 'he' or 'lecun'"),
        ({"bias_std": -1.0}, "bias_std is -1.0"),
        ({"bias_scale": 0.0, "parameterisation": "ntk"}, "bias_scale is 0.0"),
        ({"bias_scale": 0.5}, "leave it at 1 or choose parameterisation='ntk'"),
        ({"base_width": 0}, "base_width is 0"),
    ],
)
def test_bad_fields_are_refused(arguments: Any, says: str):
    # Broken by a network that is built and fails, or trains, far away from the mistake.
    with pytest.raises(UserError) as caught:
        Dense(**({"widths": (4,), "outputs": 2} | arguments))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_number_of_true_widths():
    # Broken by zip cutting the longer one short.
    with pytest.raises(UserError, match="widths has 1 entries, but the network has 2 hidden"):
        Dense((4, 4), 2).init(KEY, jnp.zeros(3), widths=(2,))


def test_describe():
    # What the results say about the architecture, as JSON.
    assert Dense((4, 3), 2, "tanh").describe() == {
        "architecture": "dense",
        "depth": 3,
        "widths": [4, 3],
        "outputs": 2,
        "activation": "tanh",
        "parameterisation": "standard",
        "initialisation": "he",
        "bias": True,
        "bias_std": 0.0,
        "bias_scale": 1.0,
        "base_width": 64,
    }
