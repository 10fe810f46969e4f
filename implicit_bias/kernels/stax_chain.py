"""Infinite-width kernels by ``neural_tangents``, of the same chain and the same numbers.

Its layers know two parameterisations only, so weights are layers of our own here, built on its: the
linear map that a layer makes of a kernel (for a convolution, means over patches) is its, the numbers
are ours. Its ReLU is replaced by one that is exact where two inputs have one direction (its angle
is then the root of a rounding error), and whose derivative at zero is zero, as in our networks: it
counts patches that are exactly zero, such as those of MNIST's margins, as half active.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.kernels import _neural_tangents
from implicit_bias.kernels.closed_form import Kernels, LayerNumbers
from implicit_bias.models.base import Scalar
from implicit_bias.models.layers import (
    Activation,
    Affine,
    AveragePool,
    Chain,
    Conv,
    Flatten,
    GlobalAverage,
    Residual,
)

StaxLayer = tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]

# Relative differences below so many roundings cannot be told from none.
_ROUNDINGS = 8


def stax_kernels(
    chain: Chain, numbers: Sequence[LayerNumbers], x1: jax.Array, x2: jax.Array | None = None
) -> Kernels:
    """Compute both kernels of a chain by ``neural_tangents``.

    Pure; what it builds anew at each call is Python objects. It computes in float64 where JAX has
    it, whatever the inputs' dtype, otherwise in float32.

    Args:
        chain: Layers from input to output; what it has no kernel for must have been refused before.
        numbers: Numbers of the layers with weights, in the order in which they run.
        x1: Inputs, shape (n1, *features).
        x2: Inputs, shape (n2, *features); None for x1 again.

    Returns:
        Kernels of shape (n1, n2), of the inputs' dtype.

    Raises:
        UserError: If the ``ntk`` extra is missing.
    """
    stax = _neural_tangents.load().stax
    chain, x1, x2 = _prepared(chain, x1, x2)
    with _neural_tangents.calling():
        given = iter(numbers)
        layers = [_layer(stax, layer, given) for layer in chain]
        kernels = stax.serial(*layers)[2](x1, x2, ("nngp", "ntk"))
        return Kernels(kernels.nngp.astype(x1.dtype), kernels.ntk.astype(x1.dtype))


def kernel_positions(chain: Chain, input_shape: tuple[int, ...]) -> int:
    """Return the most numbers that a kernel holds for one pair of inputs.

    Args:
        chain: Layers from input to output.
        input_shape: Shape of one input.

    Returns:
        The positions of the image, squared where an average over positions needs all pairs; 1 for
        networks without positions.
    """
    if not chain or isinstance(chain[0], Flatten) or len(input_shape) < 2:
        return 1
    positions = math.prod(input_shape if len(input_shape) == 2 else input_shape[:-1])
    return positions**2 if _averages(chain) else positions


def _averages(chain: Chain) -> bool:
    return any(
        isinstance(layer, AveragePool | GlobalAverage)
        or (isinstance(layer, Residual) and _averages(layer.branch))
        for layer in chain
    )


def _prepared(
    chain: Chain, x1: jax.Array, x2: jax.Array | None
) -> tuple[Chain, jax.Array, jax.Array | None]:
    """Flatten inputs where the chain does so first, and give images without channels one."""

    def each(change: Callable[[jax.Array], jax.Array]) -> tuple[jax.Array, jax.Array | None]:
        return change(x1), None if x2 is None else change(x2)

    if isinstance(chain[0], Flatten):
        return chain[1:], *each(lambda x: x.reshape(x.shape[0], -1))
    if x1.ndim == 3:
        return chain, *each(lambda x: x[..., None])
    return chain, x1, x2


def _layer(stax: Any, layer: Any, numbers: Iterator[LayerNumbers]) -> StaxLayer:
    found: StaxLayer
    match layer:
        case Affine(outputs):
            found = _weights(stax, stax.Dense(outputs), next(numbers))
        case Conv(channels, size, stride, padding):
            base = stax.Conv(channels, (size, size), (stride, stride), padding)
            found = _weights(stax, base, next(numbers))
        case Activation("relu"):
            found = _relu(stax)
        case Activation("erf"):
            found = stax.Erf()
        case Activation("gelu"):
            found = stax.Gelu()
        case Activation("identity"):
            found = stax.Identity()
        case AveragePool(size):
            found = stax.AvgPool((size, size), (size, size), "VALID")
        case GlobalAverage():
            found = stax.GlobalAvgPool()
        case Flatten():
            found = stax.Flatten()
        case Residual(branch, scale):
            inner = [_layer(stax, each, numbers) for each in branch]
            both = stax.parallel(stax.Identity(), stax.serial(*inner, _scaled(stax, scale)))
            found = stax.serial(stax.FanOut(2), both, stax.FanInSum())
        case _:
            raise TypeError(f"no kernel for {layer!r}")
    return found


def _weights(stax: Any, base: StaxLayer, numbers: LayerNumbers) -> StaxLayer:
    """Give a layer of unit weights and no biases our numbers.

    Such a layer makes of a kernel its mean K over the inputs of a unit; ours makes aK + b of the
    second moment and aΘ + gK + β² of the neural tangent kernel.
    """
    a, b, g, bias_gradient = numbers
    start, apply, of_kernel = base

    def kernel(k: Any, **options: Any) -> Any:
        mean = of_kernel(k, **options)
        ntk = g * mean.nngp + bias_gradient
        if k.ntk.ndim:  # none before the first layer with weights
            ntk = ntk + a * of_kernel(k.replace(nngp=k.ntk, ntk=None), **options).nngp
        moment = {
            name: None if value is None else a * value + b
            for name, value in (("nngp", mean.nngp), ("cov1", mean.cov1), ("cov2", mean.cov2))
        }
        return mean.replace(ntk=ntk, **moment)

    return _made(stax, "Weights", start, apply, kernel)


def _scaled(stax: Any, scale: Scalar) -> StaxLayer:
    start, apply = _alike()
    return _made(stax, "Scaled", start, apply, lambda k, **options: k * scale)


def _relu(stax: Any) -> StaxLayer:
    """Cho and Saul's kernels, as in ``kernels.closed_form``; here cosines are all there is."""
    from neural_tangents._src.stax.requirements import get_diagonal_outer_prods

    def moments(
        nngp: jax.Array, product: jax.Array, ntk: jax.Array | None
    ) -> tuple[jax.Array, jax.Array | None]:
        below = product - jnp.square(nngp)  # the squared sine, times the squared norms
        least = _ROUNDINGS * float(jnp.finfo(nngp.dtype).eps) * product
        apart = below > least
        sine = jnp.where(apart, jnp.sqrt(jnp.where(apart, below, 1)), 0)
        angle = jnp.arctan2(sine, jnp.where(product > 0, nngp, 1))
        derivatives = jnp.where(product > 0, (math.pi - angle) / (2 * math.pi), 0)
        moment = sine / (2 * math.pi) + derivatives * nngp
        return moment, None if ntk is None else derivatives * ntk

    def kernel(k: Any, **options: Any) -> Any:
        products = get_diagonal_outer_prods(
            k.cov1, k.cov2, k.diagonal_batch, k.diagonal_spatial, jnp.multiply
        )
        nngp, ntk = moments(k.nngp, products[1], k.ntk)
        cov1, _ = moments(k.cov1, products[0], None)
        cov2 = None if k.cov2 is None else moments(k.cov2, products[2], None)[0]
        return k.replace(nngp=nngp, ntk=ntk, cov1=cov1, cov2=cov2, is_gaussian=False)

    start, _ = _alike()
    return _made(stax, "Relu", start, lambda params, x, **options: jnp.maximum(x, 0), kernel)


def _alike() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the two functions of a finite layer without parameters, which only give shapes."""
    return (lambda key, shape: (shape, ())), (lambda params, x, **options: x)


def _made(
    stax: Any,
    name: str,
    start: Callable[..., Any],
    apply: Callable[..., Any],
    kernel: Callable[..., Any],
) -> StaxLayer:
    """Dress three functions as a layer that needs what a convolution or an activation needs."""
    needs = stax.requires(batch_axis=0, channel_axis=-1, diagonal_spatial=stax.Diagonal())

    def build() -> StaxLayer:
        return (
            lambda key, shape: start(key, shape),
            lambda params, x, **options: apply(params, x, **options),
            needs(kernel),
        )

    build.__name__ = name
    made: StaxLayer = stax.layer(build)()
    return made
