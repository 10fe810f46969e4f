"""Convolutions by every method, and all their derivatives, against XLA's own and plain patches."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.errors import UserError
from implicit_bias.models import convolution_table
from implicit_bias.models.convolution import Product, choices, computed, convolve
from implicit_bias.models.convolution_table import METHODS, choose, impossible
from implicit_bias.models.convolution_ways import geometry
from implicit_bias.models.layers import Conv
from implicit_bias.models.windows import along

SHAPE = (4, 7, 6, 3)
"""Odd and even, and no square."""

CONVS = (
    Conv(5),
    Conv(5, 3, 1, "VALID"),
    Conv(5, 3, 2),
    Conv(5, 3, 2, "CENTRED"),
    Conv(5, 1, 2, "CENTRED"),
    Conv(5, 2),
    Conv(5, 4, 1, "CENTRED"),
    Conv(5, 5, 3),
)


def drawn(layer: Conv, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> tuple[jax.Array, ...]:
    rng = np.random.default_rng(seed)
    fan_in = layer.size**2 * shape[-1]
    return jnp.asarray(rng.normal(size=shape)), jnp.asarray(
        rng.normal(size=(layer.channels, fan_in))
    )


def by_lax(images: jax.Array, weight: jax.Array, layer: Conv) -> jax.Array:
    """XLA's convolution, outside of the primitive."""
    kernel = weight.reshape(layer.channels, layer.size, layer.size, images.shape[3])
    around = [tuple(along(length, layer)[1:]) for length in images.shape[1:3]]
    return jax.lax.conv_general_dilated(
        images, kernel, (layer.stride,) * 2, around, dimension_numbers=("NHWC", "OHWI", "NHWC")
    )


def value(function: Any, x: jax.Array, w: jax.Array) -> jax.Array:
    """Something that is curved in both, so that second derivatives mix them."""
    return jnp.sum(jnp.sin(function(x, w) * 0.1))


def everything(function: Any, x: jax.Array, w: jax.Array) -> Any:
    """Value, gradients, and a Hessian-vector product forward over reverse."""
    gradient = jax.grad(partial(value, function), (0, 1))
    along_ones = jax.tree.map(lambda leaf: jnp.cos(leaf), (x, w))
    return function(x, w), *jax.jvp(gradient, (x, w), along_ones)


@pytest.mark.parametrize("layer", CONVS, ids=str)
def test_methods_agree_with_xla_to_second_order(layer: Conv, monkeypatch: pytest.MonkeyPatch):
    # Broken if a way places its windows otherwise, forgets an edge or an odd pixel, or takes the wrong
    # product for a derivative. In float64 sums of some tens of terms of size one agree to 1e-12. Blocks of
    # two examples, so that loops run.
    monkeypatch.setattr(convolution_table, "_examples", lambda rows, size: 2)
    x, w = drawn(layer)
    methods = [m for m in METHODS if not impossible(m, layer)]

    @jax.jit
    def run(x: jax.Array, w: jax.Array) -> Any:
        return [
            everything(function, x, w)
            for function in (
                partial(by_lax, layer=layer),
                *(partial(convolve, layer=layer, method=method) for method in methods),
            )
        ]

    expected, *found = run(x, w)
    for method, each in zip(methods, found, strict=True):
        for one, other in zip(jax.tree.leaves(each), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12, err_msg=method)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)], ids=["images", "weight", "both"])
def test_lanes_are_what_each_is_alone(axes: tuple[int | None, int | None]):
    # Broken if lanes are merged into the wrong axis in any of the three products, or in lanes of lanes.
    layer = Conv(5, 3, 2, "CENTRED")
    pairs = [drawn(layer, (2, 5, 4, 3), seed) for seed in range(4)]
    images, weights = (
        jnp.stack(part).reshape(2, 2, *part[0].shape) for part in zip(*pairs, strict=True)
    )
    function = partial(convolve, layer=layer, method="patches")

    def first(array: jax.Array, axis: int | None) -> jax.Array:
        return array if axis == 0 else array[0, 0]

    @jax.jit
    def run(x: jax.Array, w: jax.Array) -> Any:
        of = partial(everything, function)
        return jax.vmap(jax.vmap(of, axes), axes)(first(x, axes[0]), first(w, axes[1]))

    @jax.jit
    def one_by_one(x: jax.Array, w: jax.Array) -> Any:
        def of(index: jax.Array) -> Any:
            i, j = index // 2, index % 2
            return everything(
                function,
                x[i, j] if axes[0] == 0 else x[0, 0],
                w[i, j] if axes[1] == 0 else w[0, 0],
            )

        return jax.lax.map(of, jnp.arange(4))

    found, expected = run(images, weights), one_by_one(images, weights)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one.reshape(other.shape), other, rtol=1e-12, atol=1e-12)


def test_cotangents_share_images():
    # As for kernels of many outputs: broken if cotangents that are lanes join the wrong channels.
    layer = Conv(2)
    x, w = drawn(layer, (2, 4, 4, 3))
    sums = jnp.asarray(np.random.default_rng(1).normal(size=(3, 2, 4, 4, 2)))
    pull = jax.vjp(lambda x, w: convolve(x, w, layer), x, w)[1]
    found = jax.jit(jax.vmap(pull))(sums)
    each = [jax.jit(pull)(s) for s in sums]
    for place in range(2):
        expected = np.stack([one[place] for one in each])
        np.testing.assert_allclose(found[place], expected, rtol=1e-12, atol=1e-12)


def test_lanes_on_an_accelerator_are_one_batch():
    # What is compiled elsewhere, computed here: broken if its lanes run otherwise.
    layer = Conv(5)
    pairs = [drawn(layer, (2, 5, 4, 3), seed) for seed in range(2)]
    images, weights = (jnp.stack(part) for part in zip(*pairs, strict=True))
    product = Product("sums", geometry(images.shape[2:], layer), None, lanes=True)
    found = computed(product, images, weights, "gpu")
    for one, (x, w) in zip(found, pairs, strict=True):
        np.testing.assert_allclose(one, by_lax(x, w, layer), rtol=1e-12, atol=1e-12)


def test_the_table_is_stated_with_its_reasons():
    # Broken if what is said is not what is compiled, a gradient is left out, or a request is not heeded.
    wide, first = Conv(32), Conv(32)
    x, w0, w1 = (jnp.zeros(shape, np.float32) for shape in ((16, 16, 16, 3), (32, 27), (32, 288)))

    def loss(weights: Any, method: str | None) -> jax.Array:
        hidden = convolve(x, weights[0], first, method)
        return jnp.sum(jnp.square(convolve(hidden, weights[1], wide, method)))

    def found(method: str | None, backend: str = "cpu") -> dict[str, str]:
        program = jax.make_jaxpr(jax.grad(partial(loss, method=method)))((w0, w1))
        return {str(product): choice.method for choice, product in choices(program.jaxpr, backend)}

    own, wider = (f"of 3 x 3, {given} to 32 channels, 16 x 16" for given in (3, 32))
    assert found(None) == {
        f"sums {own}": "rows", f"sums {wider}": "winograd", f"images {wider}": "winograd",
        f"weight {own}": "blocks", f"weight {wider}": "blocks",
    }  # fmt: skip
    assert set(found("patches").values()) == {"patches"}
    assert set(found(None, "gpu").values()) == {"native"}
    assert "not measured" in choose("gpu", "sums", geometry((16, 16, 3), first), 16, 4).reason
    small = geometry((4, 4, 64), Conv(64))
    assert choose("cpu", "sums", small, 1, 4).method == "patches"
    assert choose("cpu", "sums", geometry((32, 32, 64), Conv(64, 1)), 64, 4).method == "patches"
    assert choose("cpu", "sums", geometry((32, 32, 64), Conv(64)), 64, 2).method == "patches"


@pytest.mark.parametrize(
    ("layer", "method", "told"),
    [
        (Conv(5), "fft", "method of a convolution 'fft'"),
        (Conv(5, 3, 2), "rows", "the stride is 2"),
        (Conv(5, 5), "winograd", "patches are 5 by 5"),
        (Conv(6), None, r"give \(6, 27\)"),
    ],
)
def test_what_cannot_be_computed_is_refused(layer: Conv, method: str | None, told: str):
    x, _ = drawn(Conv(5))
    weight = jnp.zeros((5, layer.size**2 * 3))
    with pytest.raises(UserError, match=told):
        convolve(x, weight, layer, method)
    with pytest.raises(UserError, match="give images"):
        convolve(x[0], weight, Conv(5, layer.size), None)
