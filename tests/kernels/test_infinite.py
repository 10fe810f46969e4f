"""Infinite width against what random networks do on average, and the bookkeeping around it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from implicit_bias.errors import UserError
from implicit_bias.kernels import ARCHITECTURES, empirical_ntk, infinite_kernel
from implicit_bias.models import Dense, Network, conv_net, normalised_dense, residual_dense
from implicit_bias.models.layers import (
    Activation,
    Affine,
    AveragePool,
    Conv,
    Flatten,
    GlobalAverage,
    MaxPool,
    Residual,
    ScalarBias,
)

IMAGES = np.random.default_rng(1).normal(size=(3, 4, 4, 2))
IMAGES[0, :3] = 0  # patches that are exactly zero, as in the margins of digits
VECTORS = np.random.default_rng(2).normal(size=(3, 5))
OPTIONS: dict[str, Any] = {"parameterisation": "ntk", "bias_scale": 0.6}

K = 24

# By row of the table: networks of a width with many outputs, and their inputs.
Case = tuple[str, Callable[[int], Any], np.ndarray]
CASES: tuple[Case, ...] = (
    ("dense", lambda n: Dense((n, n), K, "relu", **OPTIONS), VECTORS),
    ("dense", lambda n: Dense((n, n), K, "erf", bias_std=0.4), VECTORS),
    ("dense", lambda n: Dense((n, n), K, "identity", "ntk", "lecun", bias=False), VECTORS),
    ("dense", lambda n: Dense((n,), K, "gelu", **OPTIONS), VECTORS),
    ("residual dense", lambda n: residual_dense(n, 1, K, "relu", 0.7, **OPTIONS), VECTORS),
    ("convolution, flattened", lambda n: conv_net((n, n), K, size=2, **OPTIONS), IMAGES),
    (
        "convolution, average pooling",
        lambda n: conv_net((n,), K, padding="VALID", size=2, pool=2, bias_std=0.5, **OPTIONS),
        IMAGES,
    ),
    (
        "convolution, mean over positions",
        lambda n: conv_net((n, n), K, "mean", stride=2, **OPTIONS),
        IMAGES,
    ),
    (
        "residual convolution",
        lambda n: Network(
            (
                Conv(n, 2),
                Residual((Activation("relu"), Conv(n, 3)), 0.8),
                Activation("relu"),
                GlobalAverage(),
                Affine(K),
            ),
            bias_std=0.3,
        ),
        IMAGES,
    ),
)
# A multiple of the batch: a rest would be compiled on its own.
NETWORKS, WIDTHS = 320, (16, 32)


def departures(model: Any, x: np.ndarray) -> np.ndarray:
    """Return (networks, 2, n, n): each one's covariance and kernel less the limits, in their units."""
    inputs = jnp.asarray(x)

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        params, state = model.init(key, inputs[0])

        def outputs(params: Any, x: jax.Array) -> jax.Array:
            return model.apply(params, state, x)[0]

        f = outputs(params, inputs)
        # Two outputs say as much of the kernel as many; of the covariance many say more.
        two = empirical_ntk(lambda params, x: outputs(params, x)[:, :2], params, inputs)
        return f @ f.T / f.shape[1], two

    keys = jax.random.split(jax.random.key(7), NETWORKS)
    found = jax.jit(functools.partial(jax.lax.map, one, batch_size=80))(keys)
    limits = infinite_kernel(model, x.shape[1:])(inputs)
    parts = []
    for values, limit in zip(found, limits, strict=True):
        units = np.sqrt(np.outer(np.diag(limit), np.diag(limit)))
        parts.append((np.asarray(values) - np.asarray(limit)) / units)
    return np.stack(parts, axis=1)


def test_random_networks_average_to_the_kernels() -> None:
    """Every architecture of the table, extrapolated to no 1/width, entry by entry.

    Broken by any difference between the network and its kernel: a forgotten multiplier, the bias's
    part, the order of pooling and weights, the derivative at zero, a fan-in.
    """
    assert {name for name, _, _ in CASES} == {row.name for row in ARCHITECTURES if row.activations}
    (low, high), upper = WIDTHS, np.triu_indices(3)
    scores: list[float] = []
    for name, build, x in CASES:
        narrow, wide = (departures(build(width), x)[:, :, *upper] for width in WIDTHS)
        # a + c/width through both means, at 1/width = 0.
        mean = (high * wide.mean(0) - low * narrow.mean(0)) / (high - low)
        spread = np.hypot(high * wide.std(0, ddof=1), low * narrow.std(0, ddof=1)) / (high - low)
        error = spread / np.sqrt(NETWORKS)
        assert np.median(error) < 0.07, name  # else the test could not see much
        scores += list(np.abs(mean / error).ravel())
    level = 0.01 / (2 * len(scores))
    assert max(scores) < stats.norm.isf(level), np.round(scores, 1)


@pytest.mark.parametrize("symmetric", [True, False])
def test_blocks_change_nothing(symmetric: bool) -> None:
    # Broken by a tile written to the wrong place, not mirrored, or missing at the edges; the budget
    # allows tiles of 7 (7 does not divide 37), and of everything.
    rng = np.random.default_rng(3)
    x = jnp.asarray(rng.normal(size=(37, 3)))
    y = None if symmetric else jnp.asarray(rng.normal(size=(10, 3)))
    kernel = infinite_kernel(Dense((8,), 1, bias_std=0.2), (3,))
    columns = 37 if y is None else 10
    small = 2 * 37 * columns * 8 + 7 * 7 * kernel.pair_bytes((3,), x.dtype)
    whole, parts = kernel(x, y), kernel(x, y, memory=small)
    for a, b in zip(whole, parts, strict=True):
        assert a.shape == (37, columns)
        np.testing.assert_allclose(a, b, rtol=1e-13)
        if symmetric:
            np.testing.assert_array_equal(b, b.T)
    if symmetric:
        for a, b in zip(whole, kernel(x, x), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_caller_may_transform_it() -> None:
    # Broken by reading a traced scale, or by leaving JAX's tracing: at scale s a network of three
    # layers without biases has s⁶ times the covariance.
    model, x = Dense((4, 4), 1, bias=False), jnp.asarray(VECTORS)
    many = jax.jit(jax.vmap(lambda s: infinite_kernel(model, scale=s)(x).nngp))
    found = many(jnp.asarray([1.0, 2.0]))
    np.testing.assert_allclose(found[1], 64 * found[0], rtol=1e-12)
    assert infinite_kernel(model)(x.astype(jnp.float32)).ntk.dtype == jnp.float32


RESNET = (Flatten(), Affine(3), Residual((Activation("tanh"), Affine(3))), Affine(1))
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "no chain": (lambda: infinite_kernel(object()), "object has no infinite-width kernel: only a"),
    "mup": (lambda: infinite_kernel(Dense((3,), 1, parameterisation="mup")), "choose 'ntk' or"),
    "tanh": (lambda: infinite_kernel(Dense((3,), 1, "tanh")), "tanh has no infinite-width"),
    "tanh inside": (lambda: infinite_kernel(Network(RESNET)), "tanh has no infinite-width"),
    "batch normalisation": (
        lambda: infinite_kernel(normalised_dense((3,), 1)),
        "BatchNorm has no infinite-width kernel here: units of one layer",
    ),
    "group normalisation": (
        lambda: infinite_kernel(conv_net((4,), 1, norm="group")),
        "GroupNorm has no infinite-width kernel here",
    ),
    "learned scalars": (
        lambda: infinite_kernel(Network((Affine(3), ScalarBias(), Affine(1)))),
        "ScalarBias has no infinite-width kernel here: one number for all units",
    ),
    "maxima": (
        lambda: infinite_kernel(Network((Conv(2), MaxPool(2), Flatten(), Affine(1)))),
        "MaxPool has no infinite-width kernel here: the Gaussian average of a maximum",
    ),
    "shortcut": (
        lambda: infinite_kernel(
            Network((Affine(3), Residual((Affine(3),), 1.0, (Affine(3),)), Affine(1)))
        ),
        "a Residual with a shortcut has no infinite-width kernel here",
    ),
    "identity": (
        lambda: infinite_kernel(Network((Affine(3, initial="identity"), Affine(1)))),
        "Affine with initial 'identity' has no infinite-width kernel here",
    ),
    "centred padding": (
        lambda: infinite_kernel(Network((Conv(3, padding="CENTRED"), Flatten(), Affine(1)))),
        "Conv with padding 'CENTRED' has no infinite-width kernel here",
    ),
    "engine": (lambda: infinite_kernel(Dense((3,), 1), engine="magic"), "choose from 'auto'"),
    "engine's layers": (
        lambda: infinite_kernel(conv_net((3,), 1), engine="closed form"),
        "choose 'neural-tangents'",
    ),
    "engine's activation": (
        lambda: infinite_kernel(Dense((3,), 1, "gelu"), engine="closed form"),
        "choose 'neural-tangents'",
    ),
    "activation of inputs": (
        lambda: infinite_kernel(Network((Activation("relu"), Affine(1)))),
        "put an Affine or a Conv before it",
    ),
    "activation of pixels": (
        lambda: infinite_kernel(Network((Conv(2), Flatten(), Activation("relu"), Affine(1)))),
        "put an Affine or a Conv before it",
    ),
    "residual of inputs": (
        lambda: infinite_kernel(Network((Residual((Affine(5),)), Affine(1)))),
        "put an Affine or a Conv before it",
    ),
    "scale": (lambda: infinite_kernel(Dense((3,), 1), scale="big"), "give a number"),
    "infinite scale": (lambda: infinite_kernel(Dense((3,), 1), scale=np.inf), "finite"),
    "shape of the network": (
        lambda: infinite_kernel(Network((Conv(2, 9, 1, "VALID"), Affine(1))), (4, 4, 1)),
        "window of 9",
    ),
    "other inputs": (lambda: infinite_kernel(Dense((3,), 1), (4,))(VECTORS), "made for"),
    "images to vectors": (
        lambda: infinite_kernel(Network((Affine(1),)))(IMAGES),
        "choose 'neural-tangents'",
    ),
    "inputs that differ": (
        lambda: infinite_kernel(Dense((3,), 1))(VECTORS, VECTORS[:, :3]),
        "inputs of one shape",
    ),
    "a list as the scale": (
        lambda: infinite_kernel(Dense((3,), 1), scale=jnp.ones(3)),
        r"scale is an array of shape \(3,\)",
    ),
    "complex scale": (lambda: infinite_kernel(Dense((3,), 1), scale=jnp.asarray(1j)), "number"),
    "scale that is none": (
        lambda: infinite_kernel(Dense((3,), 1), scale=jnp.asarray(np.nan)),
        "choose a finite number",
    ),
    "a class": (lambda: infinite_kernel(Dense), "model is the class Dense; give a network"),
    "a number as the shape": (lambda: infinite_kernel(Dense((3,), 1), 4), "input_shape is 4; give"),
    "a word as the shape": (lambda: infinite_kernel(Dense((3,), 1), "ab"), "input_shape is 'ab'"),
    "a shape of fractions": (lambda: infinite_kernel(Dense((3,), 1), (2.5,)), "whole numbers >= 1"),
    "a shape without size": (lambda: infinite_kernel(Dense((3,), 1), (0,)), "whole numbers >= 1"),
    "whole numbers": (
        lambda: infinite_kernel(Dense((3,), 1))(np.eye(3, dtype=int)),
        "x1 has type int64; give floating numbers",
    ),
    "truth values": (
        lambda: infinite_kernel(Dense((3,), 1))(VECTORS, jnp.ones((2, 5), bool)),
        "x2 has type bool",
    ),
    "objects": (
        lambda: infinite_kernel(Dense((3,), 1))(np.array([[None, 1.0]])),
        "x1 is .*; give numbers",
    ),
    "no features": (lambda: infinite_kernel(Dense((3,), 1))(np.ones((2, 0))), "at least one input"),
    "NaN": (
        lambda: infinite_kernel(Dense((3,), 1))(np.where(VECTORS > 1, np.nan, VECTORS)),
        "x1 has values that are not finite",
    ),
    "infinity": (
        lambda: infinite_kernel(Dense((3,), 1))(VECTORS, np.full((1, 5), np.inf)),
        "x2 has values that are not finite",
    ),
    "tiny": (lambda: infinite_kernel(Dense((3,), 1))(VECTORS * 1e-170), "allows zero or 1.2e-77"),
    "huge": (lambda: infinite_kernel(Dense((3,), 1))(VECTORS * 1e200), "rescale the inputs"),
    "tiny, single": (
        lambda: infinite_kernel(Dense((3,), 1))((VECTORS * 1e-25).astype(np.float32)),
        "float32 allows zero or 3.3e-10 to 4.3e",
    ),
    "one input": (lambda: infinite_kernel(Dense((3,), 1))(VECTORS[0]), "shape"),
    "no input": (lambda: infinite_kernel(Dense((3,), 1))(VECTORS[:0]), "at least one input"),
    "memory of the kernels": (
        lambda: infinite_kernel(Dense((3,), 1))(np.zeros((9000, 2)), memory=2**30),
        r"take 1.21 GiB, .* but memory is 1 GiB; give memory >=",
    ),
    "memory of a pair": (
        lambda: infinite_kernel(conv_net((3,), 1, "mean"))(np.zeros((2, 32, 32, 3)), memory=2**25),
        "a pair of inputs 128 MiB on the way",
    ),
    "memory in words": (lambda: infinite_kernel(Dense((3,), 1))(VECTORS, memory="all"), "whole"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_bad_inputs_are_one_line(name: str) -> None:
    # Broken by a page of traceback from JAX or neural_tangents, or by an answer that means nothing.
    call, message = REFUSED[name]
    with pytest.raises(UserError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_the_table_says_why() -> None:
    # Broken by a row that the code does not keep to, or that gives no reason.
    layers = {
        "Conv": Conv(2),
        "Affine": Affine(2),
        "AveragePool": AveragePool(2),
        "GlobalAverage": GlobalAverage(),
        "Flatten": Flatten(),
    }
    for row in ARCHITECTURES:
        assert row.why
        for engine, activations in row.activations.items():
            for activation in activations:
                first = layers["Conv" if "Conv" in row.layers else "Affine"]
                branch = (Residual((Activation(activation), first)),)
                chain = (first, *branch * ("Residual" in row.layers), Activation(activation))
                chain += tuple(layers[n] for n in row.layers if n in ("AveragePool", "Flatten"))
                model = Network((*chain, Affine(1)))
                assert infinite_kernel(model, engine=engine).engine == engine
