"""Centred kernel alignment: how alike two sets of features are, whatever their bases."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError
from implicit_bias.kernels.problem import real_numbers


def kernel_cka(kernel: jax.Array, other: jax.Array, *, unbiased: bool = False) -> jax.Array:
    """Return the cosine between two centred kernels: 1 for proportional ones.

    Centring takes away what a constant shift of the features would add. It is the centred kernel
    alignment of Cortes et al. and the CKA of Kornblith et al., with HSIC as the inner product.

    Args:
        kernel: Shape (n, n), symmetric.
        other: Shape (n, n), of the same examples.
        unbiased: Whether to use the unbiased HSIC, which does not grow towards 1 as there are more
            features than examples; needs n >= 4. Kernels that have nothing in common then have
            values on both sides of zero, and NaN where a kernel's own estimate is not positive.

    Returns:
        A scalar without unit; from 0 to 1 for positive semidefinite kernels, unless ``unbiased``.
        NaN where a kernel is constant.

    Raises:
        UserError: If the shapes differ, are not square, or n is too small.

    References:
        Cortes, Mohri & Rostamizadeh, *Algorithms for learning kernels based on centered alignment*
        (2012), definition 4; Kornblith et al., *Similarity of neural network representations
        revisited* (2019), section 3; Song et al., *Feature selection via dependence maximization*
        (2012), equation 5.
    """
    kernel, other = real_floats("kernel", kernel), real_floats("other", other)
    square = kernel.ndim == 2 and kernel.shape[0] == kernel.shape[1]
    if not square or kernel.shape != other.shape:
        raise UserError(
            f"the kernels have shapes {kernel.shape} and {other.shape}; "
            "give two square kernels of one probe set"
        )
    _require_examples(kernel.shape[0], 4 if unbiased else 2)
    kernel, other = of_size_one(kernel), of_size_one(other)
    if unbiased:
        return _unbiased_hsic(kernel, other) / jnp.sqrt(
            _unbiased_hsic(kernel, kernel) * _unbiased_hsic(other, other)
        )
    first, second = centred(kernel), centred(other)
    # Each is brought to length one first, as squares of small kernels may underflow.
    return jnp.sum(first / _norm(first) * (second / _norm(second)))


def linear_cka(features: jax.Array, other: jax.Array, *, unbiased: bool = False) -> jax.Array:
    """Return the CKA of two sets of features with their inner products as kernels.

    It does not change when features are rotated, scaled all together or shifted.

    Args:
        features: Shape (n, *units).
        other: Shape (n, *units), of the same examples; the units may be others.
        unbiased: As in ``kernel_cka``.

    Returns:
        A scalar without unit, as ``kernel_cka``.

    Raises:
        UserError: If the numbers of examples differ, or are too small.

    References:
        Kornblith et al., *Similarity of neural network representations revisited* (2019), section 3.

    Example:
        >>> import jax.numpy as jnp
        >>> from implicit_bias import kernels
        >>> features = jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
        >>> round(float(kernels.linear_cka(features, 3 * features[:, ::-1])), 6)  # scale does not matter
        1.0
    """
    features, other = real_floats("features", features), real_floats("other", other)
    units = all(x.ndim >= 2 and (x.size or not x.shape[0]) for x in (features, other))
    if not units or features.shape[0] != other.shape[0]:
        raise UserError(
            f"the features have shapes {features.shape} and {other.shape}; give (n, units) of the "
            "same examples"
        )
    _require_examples(features.shape[0], 4 if unbiased else 2)
    return kernel_cka(_gram(features), _gram(other), unbiased=unbiased)


def centred(kernel: jax.Array) -> jax.Array:
    """Return the kernel (n, n) of the features less their mean over the n examples."""
    rows = jnp.mean(kernel, axis=1, keepdims=True)
    columns = jnp.mean(kernel, axis=0, keepdims=True)
    return kernel - rows - columns + jnp.mean(rows)


def real_floats(name: str, values: Any) -> jax.Array:
    """Return real numbers, finite or not, as a floating array.

    Raises:
        UserError: If they are something else.
    """
    array = real_numbers(name, values, finite=False)
    floating = jnp.issubdtype(array.dtype, jnp.floating)
    return array if floating else array.astype(jnp.result_type(float))


def largest_entry(array: jax.Array) -> jax.Array:
    """Return the largest magnitude in an array, a scalar; one for an array of zeros, and for NaN."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(array)))
    return jnp.where(largest > 0, largest, jnp.ones_like(largest))


def of_size_one(array: jax.Array) -> jax.Array:
    """Return an array over its largest magnitude, so that no square overflows or vanishes."""
    return array / largest_entry(array)


def _gram(features: jax.Array) -> jax.Array:
    """Centre the features first: centring their kernel afterwards cancels where means are large."""
    flat = of_size_one(features.reshape(features.shape[0], -1))
    flat = flat - jnp.mean(flat, axis=0, keepdims=True)
    return jnp.matmul(flat, flat.T, precision=jax.lax.Precision.HIGHEST)


def _unbiased_hsic(kernel: jax.Array, other: jax.Array) -> jax.Array:
    """Estimate HSIC without bias, times n (n - 3)."""
    n = kernel.shape[0]
    diagonal = jnp.eye(n, dtype=bool)
    first, second = jnp.where(diagonal, 0, kernel), jnp.where(diagonal, 0, other)
    mixed = jnp.sum(jnp.sum(first, axis=0) * jnp.sum(second, axis=1))
    apart = jnp.sum(first) * jnp.sum(second) / ((n - 1) * (n - 2))
    return jnp.sum(first * second.T) + apart - 2 * mixed / (n - 2)


def _norm(matrix: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(jnp.square(matrix)))


def _require_examples(n: Any, least: int) -> None:
    if n < least:
        raise UserError(f"there are {n} examples; give at least {least}")
