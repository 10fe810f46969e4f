"""How far a kernel has moved: the measure of lazy against rich training."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError
from implicit_bias.kernels.cka import kernel_cka, largest_entry, of_size_one, real_floats
from implicit_bias.kernels.problem import real_numbers


def relative_change(kernel: jax.Array, reference: jax.Array) -> jax.Array:
    """Return ``|K - K0|_F / |K0|_F``: zero for a lazy network, sensitive to the kernel's scale.

    Args:
        kernel: Shape (n, n), after training.
        reference: Shape (n, n), at initialisation, on the same probe set.

    Returns:
        A scalar without unit; infinite, or NaN for no change, where the reference is zero.

    Raises:
        UserError: If the shapes differ or are not square.

    References:
        Lee et al., *Wide neural networks of any depth evolve as linear models* (2019).

    Example:
        >>> import jax.numpy as jnp
        >>> from implicit_bias import kernels
        >>> changed, kernel = jnp.diag(jnp.array([3.0, 6.5])), jnp.diag(jnp.array([3.0, 4.0]))
        >>> round(float(kernels.relative_change(changed, kernel)), 6)
        0.5
    """
    kernel, reference = _checked(kernel, reference)
    # Over the largest entries first, as squares of small or large kernels leave the range.
    start = largest_entry(reference)
    own = jnp.maximum(largest_entry(kernel), start)
    apart = _norm(kernel / own - reference / own)
    return apart / _norm(reference / start) * (own / start)


def kernel_distance(kernel: jax.Array, reference: jax.Array) -> jax.Array:
    """Return one minus the cosine between two kernels, blind to their scale.

    Zero for proportional kernels, at most one for positive semi-definite ones.

    Args:
        kernel: Shape (n, n).
        reference: Shape (n, n), on the same probe set.

    Returns:
        A scalar without unit.

    Raises:
        UserError: If the shapes differ or are not square.

    References:
        Fort et al., *Deep learning versus kernel learning* (2020).
    """
    kernel, reference = map(of_size_one, _checked(kernel, reference))
    # As half the squared distance of the unit kernels, which does not cancel where they are close.
    apart = kernel / _norm(kernel) - reference / _norm(reference)
    return jnp.sum(jnp.square(apart)) / 2


def kernel_alignment(kernel: jax.Array, reference: jax.Array) -> jax.Array:
    """Return the cosine between two kernels, blind to their scale.

    One minus ``kernel_distance``, which is more exact where the kernels are close. The centred
    alignment is ``kernel_cka``.

    Args:
        kernel: Shape (n, n).
        reference: Shape (n, n), on the same probe set.

    Returns:
        A scalar without unit; from 0 to 1 for positive semi-definite kernels.

    Raises:
        UserError: If the shapes differ or are not square.

    References:
        Cristianini et al., *On kernel-target alignment* (2001), definition 1.
    """
    kernel, reference = map(of_size_one, _checked(kernel, reference))
    return jnp.sum(kernel / _norm(kernel) * (reference / _norm(reference)))


def label_alignment(kernel: jax.Array, targets: jax.Array, *, centred: bool = True) -> jax.Array:
    """Return the cosine between a kernel and the labels' own, ``Y Yᵀ``.

    A kernel that turns towards the labels in training has learned features.

    Args:
        kernel: Shape (n, n).
        targets: Class numbers, shape (n,), integer, which count as one-hot vectors; or target
            vectors, shape (n, k), floating.
        centred: Whether both kernels are centred first, without which classes of different sizes
            and any constant kernel look aligned.

    Returns:
        A scalar without unit, from 0 to 1 for positive semi-definite kernels; NaN where a centred
        kernel vanishes, as that of one class does.

    Raises:
        UserError: If the shapes do not fit.

    References:
        Cristianini et al., *On kernel-target alignment* (2001), section 2; centred: Cortes, Mohri &
        Rostamizadeh, *Algorithms for learning kernels based on centered alignment* (2012).
    """
    kernel = real_floats("kernel", kernel)
    targets = real_numbers("targets", targets, finite=False)
    classes = jnp.issubdtype(targets.dtype, jnp.integer)
    fits = kernel.ndim == 2 and targets.ndim == (1 if classes else 2) and targets.size
    if not fits or len(targets) != len(kernel):
        raise UserError(
            f"the kernel has shape {kernel.shape} and the targets {targets.shape}; give a square "
            "kernel with class numbers (n,) or target vectors (n, k)"
        )
    if classes:
        labels = (targets[:, None] == targets[None, :]).astype(kernel.dtype)
    else:
        vectors = of_size_one(targets).astype(kernel.dtype)
        labels = jnp.matmul(vectors, vectors.T, precision=jax.lax.Precision.HIGHEST)
    return kernel_cka(kernel, labels) if centred else kernel_alignment(kernel, labels)


def _norm(matrix: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(jnp.square(matrix)))


def _checked(kernel: Any, reference: Any) -> tuple[jax.Array, jax.Array]:
    kernel, reference = real_floats("kernel", kernel), real_floats("reference", reference)
    square = kernel.size and kernel.ndim == 2 and kernel.shape[0] == kernel.shape[1]
    if not square or kernel.shape != reference.shape:
        raise UserError(
            f"the kernels have shapes {kernel.shape} and {reference.shape}; "
            "give two square kernels of one probe set"
        )
    return kernel, reference
