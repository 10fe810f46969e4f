"""How far a kernel has moved: the measure of lazy against rich training."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError


def relative_change(kernel: jax.Array, reference: jax.Array) -> jax.Array:
    """Return ``|K - K0|_F / |K0|_F``: zero for a lazy network, sensitive to the kernel's scale.

    Args:
        kernel: Shape (n, n), after training.
        reference: Shape (n, n), at initialisation, on the same probe set.

    Returns:
        A scalar without unit.

    Raises:
        UserError: If the shapes differ or are not square.

    References:
        Lee et al., *Wide neural networks of any depth evolve as linear models* (2019).
    """
    _check(kernel, reference)
    return _norm(kernel - reference) / _norm(reference)


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
    _check(kernel, reference)
    # As half the squared distance of the unit kernels, which does not cancel where they are close.
    apart = kernel / _norm(kernel) - reference / _norm(reference)
    return jnp.sum(jnp.square(apart)) / 2


def _norm(matrix: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(jnp.square(matrix)))


def _check(kernel: jax.Array, reference: jax.Array) -> None:
    square = kernel.ndim == 2 and kernel.shape[0] == kernel.shape[1]
    if not square or kernel.shape != reference.shape:
        raise UserError(
            f"the kernels have shapes {kernel.shape} and {reference.shape}; "
            "give two square kernels of one probe set"
        )
