"""One row per model: the same checks for all. A new model adds a row."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx

from implicit_bias.models import (
    DeepLinear,
    Dense,
    Linearised,
    Model,
    Network,
    Scaled,
    Transformer,
    conv_net,
    from_flax,
    normalised_dense,
    residual_dense,
    resnet,
)


class LinenBlock(linen.Module):
    """A user's Linen network with normalisation."""

    width: int = 6

    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = linen.Dense(self.width)(x.reshape(x.shape[0], -1))
        x = linen.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        return linen.Dense(3)(jnp.tanh(x))


class LinenDropout(linen.Module):
    """A user's Linen network that is random while training."""

    @linen.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        x = jnp.tanh(linen.Dense(6)(x))
        return linen.Dense(3)(linen.Dropout(0.5)(x, deterministic=deterministic))


class NnxBlock(nnx.Module):
    """A user's NNX network with normalisation and dropout."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.hidden = nnx.Linear(5, 6, rngs=rngs)
        self.norm = nnx.BatchNorm(6, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.out = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.out(self.dropout(jnp.tanh(self.norm(self.hidden(x)))))


KEY = jax.random.key(7)


def fixup(width: int) -> Network:
    """The first block of a network without norms, and its end."""
    chain = resnet(10, width, 3, norm="none").chain()
    return Network((*chain[:4], *chain[-3:]))


@dataclass(frozen=True)
class Row:
    """One model.

    Attributes:
        name: Label of the row.
        build: Makes the model; called twice to check that two makes are equal.
        shape: Shape of one input.
        smooth: Whether finite differences apply everywhere (not at the kinks of ReLU).
        has_state: Whether its state changes while training.
        needs_key: Whether it draws random numbers while training.
        zeros: Whether some of its weights begin at zero.
    """

    name: str
    build: Callable[[], Model]
    shape: tuple[int, ...] = (5,)
    smooth: bool = True
    has_state: bool = False
    needs_key: bool = False
    zeros: bool = False

    def ready(self, dtype: Any = np.float32) -> tuple[Model, Any, Any]:
        """The model with initial parameters and state; made once, as compiling it takes seconds."""
        return _ready(self, np.dtype(dtype))

    def example(self, dtype: Any = np.float32) -> jax.Array:
        return jnp.zeros(self.shape, dtype)

    def inputs(self, n: int = 4, dtype: Any = np.float32) -> jax.Array:
        return jnp.asarray(np.random.default_rng(0).normal(size=(n, *self.shape)), dtype)


ROWS = [
    Row("linear", lambda: Dense((), 3)),
    Row("deep-linear", lambda: Dense((4, 6), 3, activation="identity", bias=False)),
    Row("balanced", lambda: DeepLinear((4, 6), 3, alpha=0.5)),
    Row("relu", lambda: Dense((8,), 3), smooth=False),
    Row("relu-glorot", lambda: Dense((8, 4), 1, initialisation="glorot"), smooth=False),
    Row("tanh-image", lambda: Dense((6,), 2, "tanh", initialisation="lecun"), shape=(2, 3, 1)),
    Row("erf-ntk", lambda: Dense((6, 5), 3, "erf", "ntk", bias_std=1.0, bias_scale=0.1)),
    Row("gelu-mup", lambda: Dense((6, 6), 3, "gelu", "mup", base_width=2)),
    Row("tanh-mup-adam", lambda: Dense((6, 6), 3, "tanh", "mup_adam", base_width=2)),
    Row("residual", lambda: residual_dense(4, 1, 3, "tanh", 0.5, bias_std=0.3)),
    Row("conv-ntk", lambda: conv_net([3], 2, "mean", parameterisation="ntk"), (3, 4), smooth=False),
    Row("normalised", lambda: normalised_dense((4,), 3, "tanh", "group")),
    Row(
        "conv-batch",
        lambda: conv_net((2,), 3, "mean", norm="batch"),
        shape=(3, 2, 1),
        smooth=False,
        has_state=True,
    ),
    Row("fixup", lambda: fixup(1), shape=(4, 4, 1), smooth=False, zeros=True),
    Row("transformer", lambda: Transformer(3, 4, 2, 2, 2), shape=(2, 4, 2)),
    Row(
        "transformer-tokens",
        lambda: Transformer(3, 4, 1, 2, 2, vocabulary=3, causal=True, readout="every"),
        shape=(3,),
    ),
    Row("linen", lambda: from_flax(LinenBlock()), shape=(2, 3), has_state=True),
    Row("linen-dropout", lambda: from_flax(LinenDropout()), needs_key=True),
    Row("nnx", lambda: from_flax(NnxBlock), has_state=True, needs_key=True),
    Row("linearised", lambda: Linearised(Dense((6,), 3))),  # smooth, though ReLU is not
    Row("second-order", lambda: Linearised(Scaled(from_flax(LinenDropout())), 2)),
    Row("scaled", lambda: Scaled(from_flax(NnxBlock), False), has_state=True, needs_key=True),
]


@functools.cache
def _ready(row: Row, dtype: Any) -> tuple[Model, Any, Any]:
    model = row.build()
    params, state = compiled_init(model)(KEY, row.example(), jnp.float64(1))
    return model, *jax.tree.map(lambda leaf: leaf.astype(dtype), (params, state))


@functools.cache
def compiled_init(model: Model) -> Callable[..., tuple[Any, Any]]:
    """Compile a model's init, once, as a function of key, example and scale."""
    return jax.jit(lambda key, example, scale: model.init(key, example, scale=scale))


def assert_equal(a: Any, b: Any) -> None:
    jax.tree.map(lambda u, v: np.testing.assert_array_equal(np.asarray(u), np.asarray(v)), a, b)


def assert_close(a: Any, b: Any, tolerance: float) -> None:
    jax.tree.map(
        lambda u, v: np.testing.assert_allclose(
            np.asarray(u), np.asarray(v), rtol=tolerance, atol=tolerance
        ),
        a,
        b,
    )
