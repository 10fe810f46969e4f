"""Frobenius norm of an operator by random probes."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from implicit_bias.curvature.operators import LinearOperator
from implicit_bias.curvature.probes import check_probing
from implicit_bias.random_probes import mean_and_standard_error, within_tolerance


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FrobeniusEstimate:
    """A Frobenius norm with its sampling error.

    Attributes:
        squared: Estimate of the squared norm, unbiased: the sum of the squared eigenvalues.
        squared_standard_error: Of that estimate.
        norm: Its root, biased downwards by about ``standard_error**2 / (2 norm)``.
        standard_error: Of the root, to first order: ``squared_standard_error / (2 norm)``.
        products: How many were used, one for each probe.
        converged: Whether the norm's standard error is at most ``tol`` of the norm.
    """

    squared: jax.Array
    squared_standard_error: jax.Array
    norm: jax.Array
    standard_error: jax.Array
    products: jax.Array
    converged: jax.Array


def frobenius_norm(
    operator: LinearOperator,
    key: jax.Array,
    *,
    n_probes: int = 32,
    batch_size: int = 1,
    tol: float = 0.1,
) -> FrobeniusEstimate:
    """Estimate the Frobenius norm from the mean of ``|C z|**2`` over random signs z.

    This is the Hutchinson estimate of the trace of ``C^T C``. Probe i depends on the key and i
    alone, so that more probes extend fewer. The error is zero where the columns of C are orthogonal
    (a diagonal operator).

    Args:
        operator: Of dimension p; it need not be symmetric.
        key: For the probes.
        n_probes: How many, at least two, for there to be a standard error.
        batch_size: Probes multiplied at once; memory grows with it.
        tol: Relative standard error up to which the estimate counts as converged.

    Returns:
        The squared norm, the norm, and their standard errors; NaN if the products are not finite.

    Raises:
        UserError: If ``n_probes`` is below two, ``batch_size`` below one, ``tol`` not positive, ``key`` is
            not one key, or there is no operator.

    References:
        Avron & Toledo, *Randomized algorithms for estimating the trace of an implicit symmetric
        positive semi-definite matrix*, J. ACM 58 (2011), for the estimate of a trace.
    """
    check_probing(operator, key, n_probes=n_probes, batch_size=batch_size, tol=tol)

    def sample(index: jax.Array) -> jax.Array:
        signs = jax.random.rademacher(
            jax.random.fold_in(key, index), (operator.dimension,), operator.dtype
        )
        return jnp.sum(jnp.square(operator.product(signs)))

    samples = jax.lax.map(sample, jnp.arange(n_probes, dtype=jnp.int32), batch_size=batch_size)
    squared, error = mean_and_standard_error(samples)
    length = jnp.sqrt(squared)
    divisor = jnp.where(length == 0, jnp.ones_like(length), 2 * length)
    own_error = error / divisor
    converged = within_tolerance(length, own_error, tol)
    return FrobeniusEstimate(squared, error, length, own_error, jnp.int32(n_probes), converged)
