"""Convolutions of images with weights, by the method that a committed table chooses.

A convolution and its two gradients are three products of one trilinear form
(``models.convolution_ways``). They are one JAX primitive here, so that every derivative of one, of any
order, in either mode, is another of them, computed by a method that suits it. Nothing but operands is kept
between the passes forwards and backwards.

Under ``vmap``, images or weights that are shared by all lanes join them in one product; where none
are, lanes run one after another on CPUs and as one batched computation elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from implicit_bias.errors import UserError, unknown
from implicit_bias.models import convolution_ways as ways
from implicit_bias.models import winograd
from implicit_bias.models.convolution_table import BLOCKED, METHODS, Choice, choose, impossible
from implicit_bias.models.convolution_ways import Geometry, Way, geometry
from implicit_bias.models.layers import Conv
from implicit_bias.operations import every_equation

SLOTS = ("images", "weight", "sums")
"""What a convolution's trilinear form takes; each product makes one of the other two."""

_WAYS: dict[str, tuple[Way, Way, Way]] = {
    "native": (ways.native_images, ways.native_weight, ways.native_sums),
    "patches": (ways.patches_images, ways.patches_weight, ways.patches_sums),
    "blocks": (ways.patches_images, ways.patches_weight, ways.patches_sums),
    "rows": (ways.rows_images, ways.rows_weight, ways.rows_sums),
    "winograd": (
        winograd.winograd_images,
        winograd.winograd_weight,
        winograd.winograd_sums,
    ),
}


def convolve(
    images: jax.Array, weight: jax.Array, layer: Conv, method: str | None = None
) -> jax.Array:
    """Return the sums of a convolution, without biases.

    All methods agree but for rounding. It can be differentiated any number of times, forwards and backwards,
    and mapped.

    Args:
        images: Shape (batch, height, width, channels).
        weight: Shape (layer.channels, fan_in), the entries of a patch in the order (row, column,
            input channel).
        layer: The convolution.
        method: One of ``METHODS``, for the convolution and its gradients; by default what the table says
            for each.

    Returns:
        Shape (batch, rows, columns, layer.channels).

    Raises:
        UserError: If the method is unknown or cannot compute this convolution, or the weights do not fit
            the images.
    """
    if images.ndim != 4:
        raise UserError(
            f"a convolution is given an array of shape {images.shape}; give images (batch, height, width, "
            "channels)"
        )
    given = geometry(images.shape[1:], layer)
    if weight.shape != (given.outputs, given.fan_in):
        raise UserError(
            f"a {layer.size} by {layer.size} convolution of {given.inputs} to {given.outputs} channels has a "
            f"weight of shape {weight.shape}; give ({given.outputs}, {given.fan_in})"
        )
    if method is not None:
        if method not in METHODS:
            raise unknown("method of a convolution", method, METHODS)
        reason = impossible(method, layer)
        if reason:
            raise UserError(f"method is {method!r}, but {reason}; choose another, or leave it out")
    dtype = jnp.result_type(images, weight)
    return _bind(Product("sums", given, method), images.astype(dtype), weight.astype(dtype))


@dataclass(frozen=True)
class Product:
    """One of the three products of a convolution; static.

    Attributes:
        output: What is made, of ``SLOTS``.
        given: Shapes.
        method: How; None for what the table says where it is compiled.
        lanes: Whether both operands, and the output, have a leading axis of lanes.
    """

    output: str
    given: Geometry
    method: str | None = None
    lanes: bool = False

    @property
    def operands(self) -> tuple[str, str]:
        """The slots of the two operands, in order."""
        first, second = (slot for slot in SLOTS if slot != self.output)
        return first, second

    def __str__(self) -> str:
        """Return the product in a few words."""
        given = self.given
        step = f"/{given.stride}" if given.stride > 1 else ""
        return (
            f"{self.output} of {given.size} x {given.size}{step}, {given.inputs} to "
            f"{given.outputs} channels, {given.height} x {given.width}"
        )

    def examples(self, first: tuple[int, ...], second: tuple[int, ...]) -> int:
        """Return the examples of a lane, from the shapes of both operands."""
        return (second if self.output == "images" else first)[1 if self.lanes else 0]

    def shape(self, first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of what is made of operands of these shapes."""
        batch, given = self.examples(first, second), self.given
        made: tuple[int, ...] = {
            "images": (batch, given.height, given.width, given.inputs),
            "weight": (given.outputs, given.fan_in),
            "sums": (batch, given.rows.number, given.columns.number, given.outputs),
        }[self.output]
        return (first[0], *made) if self.lanes else made

    def operations(self, first: tuple[int, ...], second: tuple[int, ...]) -> float:
        """Return the floating-point operations of the product as it is defined."""
        examples = self.examples(first, second) * (first[0] if self.lanes else 1)
        return 2.0 * examples * self.given.places * self.given.outputs * self.given.fan_in


def computed(
    product: Product, first: jax.Array, second: jax.Array, backend: str, loops: bool = True
) -> jax.Array:
    """Compute a product with what JAX has.

    Args:
        product: What to compute.
        first: First operand.
        second: Second operand.
        backend: For the table.
        loops: Whether it may loop over examples and lanes.
    """
    if product.lanes:
        one = partial(computed, replace(product, lanes=False), backend=backend, loops=loops)
        if backend == "cpu" and loops:
            return jax.lax.map(lambda pair: one(*pair), (first, second))
        return jax.vmap(one)(first, second)
    output, given, itemsize = product.output, product.given, first.dtype.itemsize
    method = _choice(product, first.shape, second.shape, itemsize, backend).method
    way = _WAYS[method][SLOTS.index(output)]
    if method in BLOCKED and loops:
        way = ways.example_by_example(way, output, BLOCKED[method](given, itemsize))
    return way(given, first, second)


def choices(program: Any, backend: str) -> tuple[tuple[Choice, Product], ...]:
    """Return how the convolutions of a program are computed: each product once, in order.

    Args:
        program: As ``jax.make_jaxpr(function)(*shapes).jaxpr``.
        backend: Of JAX.
    """
    found: dict[tuple[Choice, Product], None] = {}
    for equation in every_equation(program):
        if equation.primitive is _product_p:
            product: Product = equation.params["product"]
            first, second = (variable.aval for variable in equation.invars)
            made = _choice(product, first.shape, second.shape, first.dtype.itemsize, backend)
            found[made, product] = None
    return tuple(found)


def _choice(
    product: Product, first: tuple[int, ...], second: tuple[int, ...], itemsize: int, backend: str
) -> Choice:
    """Return how a product is computed: as asked, or else as the table says."""
    if product.method is not None:
        return Choice(product.method, "asked for")
    batch = product.examples(first, second)
    return choose(backend, product.output, product.given, batch, itemsize)


# --- the primitive ----------------------------------------------------------------------------------

_product_p = Primitive("convolution_product")


def _bind(product: Product, first: jax.Array, second: jax.Array) -> jax.Array:
    found: jax.Array = _product_p.bind(first, second, product=product)
    return found


def _evaluated(first: jax.Array, second: jax.Array, *, product: Product) -> jax.Array:
    """Evaluate outside of compiled programs, operation by operation: loops would be compiled each time."""
    known = product if product.method else replace(product, method="patches")
    return computed(known, first, second, jax.default_backend(), loops=False)


def _abstract(first: Any, second: Any, *, product: Product) -> Any:
    return jax.core.ShapedArray(product.shape(first.shape, second.shape), first.dtype)


def _lowered(backend: str) -> Callable[..., Any]:
    def lower(first: jax.Array, second: jax.Array, *, product: Product) -> jax.Array:
        return computed(product, first, second, backend)

    return mlir.lower_fun(lower, multiple_results=False)


def _transposed(place: int) -> Callable[..., jax.Array]:
    """Return the rule for the cotangent of the operand at a place."""

    def rule(cotangent: Any, first: Any, second: Any, *, product: Product) -> jax.Array:
        slot, other = product.operands[place], product.operands[1 - place]
        arrays = {product.output: cotangent, other: (second, first)[place]}
        wanted = replace(product, output=slot)
        return _bind(wanted, *(arrays[name] for name in wanted.operands))

    return rule


def _batched(
    operands: tuple[Any, Any], axes: tuple[Any, Any], *, product: Product
) -> tuple[jax.Array, int]:
    size = next(
        array.shape[axis] for array, axis in zip(operands, axes, strict=True) if axis is not None
    )
    mapped = [axis is not None for axis in axes]
    arrays = [
        jnp.moveaxis(array, axis, 0) if on else array
        for array, axis, on in zip(operands, axes, mapped, strict=True)
    ]
    if not product.lanes:
        names = {name for name, on in zip(product.operands, mapped, strict=True) if on}
        shared = _joined(product, dict(zip(product.operands, arrays, strict=True)), names, size)
        if shared is not None:
            return shared, 0
    arrays = [
        array if on else jnp.broadcast_to(array[None], (size, *array.shape))
        for array, on in zip(arrays, mapped, strict=True)
    ]
    if not product.lanes:
        return _bind(replace(product, lanes=True), *arrays), 0
    merged = [array.reshape(-1, *array.shape[2:]) for array in arrays]
    found = _bind(product, *merged)
    return found.reshape(size, -1, *found.shape[1:]), 0


def _joined(
    product: Product, arrays: dict[str, jax.Array], mapped: set[str], size: int
) -> jax.Array | None:
    """Return one product for all lanes where one operand is shared by them, if there is such a one."""
    given, output = product.given, product.output
    (lanes,) = mapped if len(mapped) == 1 else (None,)
    if lanes in ("images", "sums") and output in ("images", "sums"):
        # Lanes are more examples.
        merged = arrays | {lanes: arrays[lanes].reshape(-1, *arrays[lanes].shape[2:])}
        found = _bind(product, *(merged[name] for name in product.operands))
        return found.reshape(size, -1, *found.shape[1:])
    wider = replace(product, given=replace(given, outputs=size * given.outputs))
    if lanes == "weight" and output == "sums":
        # Lanes are more channels.
        found = _bind(wider, arrays["images"], arrays["weight"].reshape(-1, given.fan_in))
        return jnp.moveaxis(found.reshape(*found.shape[:3], size, given.outputs), 3, 0)
    if lanes == "sums" and output == "weight":
        sums = jnp.moveaxis(arrays["sums"], 0, 3)
        sums = sums.reshape(*sums.shape[:3], size * given.outputs)
        return _bind(wider, arrays["images"], sums).reshape(size, given.outputs, given.fan_in)
    return None


_product_p.def_impl(_evaluated)
_product_p.def_abstract_eval(_abstract)
ad.defbilinear(_product_p, _transposed(0), _transposed(1))
batching.primitive_batchers[_product_p] = _batched
mlir.register_lowering(_product_p, _lowered("cpu"), platform="cpu")
mlir.register_lowering(_product_p, _lowered("accelerator"))
