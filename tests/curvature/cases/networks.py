"""Small networks of every kind, their parameters and their data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.models import Dense

N, TOKENS, FEATURES, CLASSES, LANES = 7, 3, 2, 3, 2


# Written with few primitives: tracing and compiling them is what these tests spend their time on.


def _affine(layer: Any, x: jax.Array) -> jax.Array:
    y = jax.lax.dot_general(x, layer["kernel"], (((x.ndim - 1,), (0,)), ((), ())))
    return y + jnp.broadcast_to(layer["bias"], y.shape)


def _deep_linear(params: Any, x: jax.Array) -> jax.Array:
    return _affine(params["layer_1"], _affine(params["layer_0"], x.reshape(len(x), -1)))


_DENSE = Dense((3,), CLASSES, activation="relu")


def _dense(params: Any, x: jax.Array) -> jax.Array:
    return _DENSE.apply(params, {}, x)[0]


def _residual(params: Any, x: jax.Array) -> jax.Array:
    h = _affine(params["layer_0"], x.reshape(len(x), -1))
    unit = h * jax.lax.rsqrt(jnp.sum(h * h, axis=1, keepdims=True) + 0.1)
    unit = unit * params["norm"]["scale"][None, :] + params["norm"]["bias"][None, :]
    return h + jax.lax.erf(_affine(params["layer_1"], unit))


def _convolution(params: Any, x: jax.Array) -> jax.Array:
    layer = params["layer_0"]
    h = jax.lax.conv_general_dilated(
        x, layer["kernel"], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )
    h = jnp.sum(jnp.tanh(h + layer["bias"][None, None, :]), axis=1)
    return _affine(params["layer_1"], h)


def _attention(params: Any, x: jax.Array) -> jax.Array:
    # The keys' matrix and the queries' only occur as a product: one of them is enough.
    query, value = (_affine(params["layer_0"][name], x) for name in ("query", "value"))
    weights = jnp.exp(jax.lax.dot_general(query, x, (((2,), (2,)), ((0,), (0,)))))
    mixed = jax.lax.dot_general(weights, value, (((2,), (1,)), ((0,), (0,))))
    mixed = mixed / jnp.sum(weights, axis=2, keepdims=True)
    return _affine(params["layer_1"], jnp.sum(mixed, axis=1))


def _shapes(n_in: int, n_out: int) -> dict[str, tuple[int, ...]]:
    return {"kernel": (n_in, n_out), "bias": (n_out,)}


NETWORKS: dict[str, tuple[Callable[[Any, jax.Array], jax.Array], Any]] = {
    "deep linear": (_deep_linear, {"layer_0": _shapes(6, 2), "layer_1": _shapes(2, CLASSES)}),
    "dense": (
        _dense,
        {
            "layer_0": {"weight": (3, 6), "bias": (3,)},
            "layer_1": {"weight": (CLASSES, 3), "bias": (CLASSES,)},
        },
    ),
    "residual": (
        _residual,
        {
            "layer_0": _shapes(6, CLASSES),
            "layer_1": _shapes(CLASSES, CLASSES),
            "norm": {"scale": (CLASSES,), "bias": (CLASSES,)},
        },
    ),
    "convolution": (
        _convolution,
        {"layer_0": {"kernel": (2, FEATURES, 3), "bias": (3,)}, "layer_1": _shapes(3, CLASSES)},
    ),
    "attention": (
        _attention,
        {
            "layer_0": {name: _shapes(FEATURES, 2) for name in ("query", "value")},
            "layer_1": _shapes(2, CLASSES),
        },
    ),
}


def make(network: str) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return parameters of all lanes, inputs and classes; float64, but exact in float32."""
    rng = np.random.default_rng(list(NETWORKS).index(network))

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        values = rng.normal(size=(LANES, *shape)) * (0.8 if len(shape) > 1 else 0.4)
        return values.astype(np.float32).astype(np.float64)

    params = jax.tree.map(draw, NETWORKS[network][1], is_leaf=lambda x: isinstance(x, tuple))
    x = rng.normal(size=(N, TOKENS, FEATURES)).astype(np.float32).astype(np.float64)
    return params, x, rng.integers(0, CLASSES, N).astype(np.int32)
