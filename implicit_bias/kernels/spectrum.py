"""What a kernel's eigenvalues say: how fast it learns what, and how many directions it has."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.arguments import as_numbers
from implicit_bias.errors import UserError
from implicit_bias.kernels.problem import (
    eigensystem,
    flat_kernel,
    not_negative,
    problem,
    relative_cutoff,
    require_kernel,
)

Number = float | jax.Array


def eigenvalues(kernel: jax.Array, *, cutoff: Number | None = None) -> jax.Array:
    """Return a kernel's eigenvalues, descending.

    The kernel is checked: where its values are known (not traced), one that is not symmetric or not
    positive semidefinite is refused.

    Args:
        kernel: Shape (n, n), or (n, k, n, k) for one that tells outputs apart.
        cutoff: How far below zero rounding may bring an eigenvalue, as a fraction of the largest; by
            default N times the dtype's epsilon. Raise it for kernels computed in lower precision.

    Returns:
        Shape (N,), N = n or n·k, in the kernel's unit; none negative.

    Raises:
        UserError: If the kernel is not square, finite, symmetric and positive semidefinite.
    """
    return eigensystem(flat_kernel(kernel)[0], cutoff).values


def numerical_rank(values: jax.Array, *, cutoff: Number | None = None) -> jax.Array:
    """Return how many eigenvalues are told from zero: above ``cutoff`` times the largest.

    Args:
        values: Shape (N,), as ``eigenvalues`` returns.
        cutoff: By default N times the dtype's epsilon, as in NumPy's ``matrix_rank``.

    Returns:
        An integer scalar.

    Raises:
        UserError: If ``values`` is no list of eigenvalues, finite and, but for rounding,
            not negative; or the cutoff not in [0, 1).
    """
    values = _values(values)
    return jnp.sum(_in_range(values, cutoff))


def condition_number(values: jax.Array, *, cutoff: Number | None = None) -> jax.Array:
    """Return the largest over the smallest eigenvalue that is told from zero.

    Of a kernel of full numerical rank that is its condition number; otherwise, that of the kernel on
    its numerical range, which alone matters for what is learned (``numerical_rank`` says how much
    that is).

    Args:
        values: Shape (N,), as ``eigenvalues`` returns.
        cutoff: As in ``numerical_rank``; at 0, infinite for a singular kernel.

    Returns:
        A scalar without unit, at least 1; NaN for a kernel of zeros.

    Raises:
        UserError: As ``numerical_rank``.
    """
    values = _values(values)
    largest, kept = jnp.max(values), _in_range(values, cutoff)
    if cutoff is None or isinstance(cutoff, jax.core.Tracer) or cutoff > 0:
        values = jnp.where(kept, values, largest)
    return largest / jnp.min(values)


def participation_ratio(values: jax.Array) -> jax.Array:
    """Return ``(sum λ)² / sum λ²``: N for equal eigenvalues, 1 for a single one.

    Args:
        values: Shape (N,), as ``eigenvalues`` returns.

    Returns:
        A scalar without unit, from 1 to N.

    Raises:
        UserError: If ``values`` is no list of eigenvalues, finite and, but for rounding, not negative.
    """
    values = _values(values)
    shares = values / jnp.sum(values)
    return 1 / jnp.sum(jnp.square(shares))


def effective_rank(values: jax.Array) -> jax.Array:
    """Return the exponential of the entropy of the eigenvalues' shares of the trace.

    Args:
        values: Shape (N,), as ``eigenvalues`` returns.

    Returns:
        A scalar without unit, from 1 to N; at least ``participation_ratio``.

    Raises:
        UserError: If ``values`` is no list of eigenvalues, finite and, but for rounding, not negative.

    References:
        Roy & Vetterli, *The effective rank* (2007), definition 1.
    """
    values = _values(values)
    return jnp.exp(jnp.sum(jax.scipy.special.entr(values / jnp.sum(values))))


def effective_dimension(values: jax.Array, ridge: Number) -> jax.Array:
    """Return ``sum λ / (λ + ridge)``: how many directions a ridge regression fits.

    Args:
        values: Shape (N,), as ``eigenvalues`` returns.
        ridge: In the kernel's unit, as in ``ridge_regression``; at 0 the number of positive
            eigenvalues.

    Returns:
        A scalar without unit, from 0 to N.

    Raises:
        UserError: If ``values`` is no list of eigenvalues, finite and, but for rounding,
            not negative; or the ridge is negative.

    References:
        Zhang, *Learning bounds for kernel regression using effective data dimensionality* (2005).

    Example:
        >>> import jax.numpy as jnp
        >>> from implicit_bias import kernels
        >>> float(kernels.effective_dimension(jnp.array([3.0, 1.0, 0.0]), 1.0))  # 3/4 + 1/2
        1.25
    """
    values = _values(values)
    ridge = not_negative("ridge", ridge, values.dtype)
    total = values + ridge
    return jnp.sum(values / jnp.where(total > 0, total, 1))


def target_alignment(
    kernel: jax.Array, targets: jax.Array, *, cutoff: Number | None = None
) -> jax.Array:
    """Return the share of the targets within the span of the first eigenvectors, one after another.

    Entry i is ``sum_{j<=i} |v_j . y|² / |y|²``, all outputs together: targets that a kernel learns
    fast reach 1 early. Among equal eigenvalues the order of the eigenvectors, and so the entries
    between them, are arbitrary. Subtract means, or initial outputs, from the targets as wanted.

    Args:
        kernel: Shape (n, n) or (n, k, n, k).
        targets: Shape (n, k), not all zero.
        cutoff: As in ``eigenvalues``.

    Returns:
        Shape (N,), ascending to 1, in the order of descending eigenvalues; without unit.

    Raises:
        UserError: As ``eigenvalues``, or if the targets do not fit the kernel.

    References:
        Arora et al., *Fine-grained analysis of optimization and generalization* (2019), section 3.
    """
    given = problem(kernel, targets)
    _, vectors, _ = eigensystem(given.train, cutoff)
    with jax.default_matmul_precision("highest"):
        energy = jnp.sum(jnp.square(vectors.T @ given.residual), axis=1)
    return jnp.cumsum(energy) / jnp.sum(energy)


def require_positive(kernel: jax.Array, *, cutoff: Number | None = None) -> None:
    """Refuse a kernel that is not symmetric or not positive semidefinite, beyond rounding.

    Costs an eigendecomposition. Traced values cannot be looked at and pass.

    Args:
        kernel: Shape (n, n) or (n, k, n, k).
        cutoff: As in ``eigenvalues``.

    Raises:
        UserError: As ``eigenvalues``, with the smallest eigenvalue.
    """
    require_kernel(flat_kernel(kernel)[0], cutoff)


def _in_range(values: jax.Array, cutoff: Number | None) -> jax.Array:
    fraction = jnp.asarray(relative_cutoff(cutoff, values)).astype(values.dtype)
    return values > fraction * jnp.max(values)


def _values(values: Any) -> jax.Array:
    array = as_numbers("values", values)
    if array.ndim != 1 or not array.size or not jnp.issubdtype(array.dtype, jnp.floating):
        raise UserError(
            f"the eigenvalues have shape {array.shape} and type {array.dtype}; give a list (N,) of "
            "them, as eigenvalues(kernel) returns"
        )
    if not isinstance(array, jax.core.Tracer):
        known = np.asarray(array)
        if not np.all(np.isfinite(known)):
            raise UserError("the eigenvalues are not all finite; leave out what diverged")
        lowest, allowed = np.min(known), relative_cutoff(None, array) * np.max(np.abs(known))
        if lowest < -allowed:
            raise UserError(
                f"the eigenvalues go down to {lowest:.3g}, where rounding allows {-allowed:.3g}; "
                "give those of a positive semidefinite kernel, as eigenvalues(kernel) returns"
            )
    return jnp.where(array < 0, jnp.zeros_like(array), array)
