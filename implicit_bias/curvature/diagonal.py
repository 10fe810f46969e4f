"""Diagonal of an operator, and its sum of squares, by random probes."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from implicit_bias.arguments import require_whole
from implicit_bias.curvature.eigenpairs import inner
from implicit_bias.curvature.operators import LinearOperator
from implicit_bias.curvature.probes import check_probing
from implicit_bias.errors import UserError
from implicit_bias.random_probes import TraceEstimate, trace_estimate, within_tolerance


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DiagonalEstimate:
    """A diagonal with its sampling error.

    Attributes:
        estimate: Shape (p,), mean over the probes, unbiased.
        standard_error: Shape (p,), of each mean.
        products: How many were used, one for each probe.
        converged: Whether the Euclidean norm of the standard errors is at most ``tol`` of the
            estimate's.
    """

    estimate: jax.Array
    standard_error: jax.Array
    products: jax.Array
    converged: jax.Array


def hutchinson_diagonal(
    operator: LinearOperator, key: jax.Array, *, n_probes: int = 32, tol: float = 0.1
) -> DiagonalEstimate:
    """Estimate the diagonal by the mean of ``z * C z`` over random signs z.

    Entry i of one probe has the variance ``sum_{j != i} C_ij**2``. The probes are those of
    ``hutchinson_trace`` with the same key: the estimates' sum is that trace. Mean and spread are
    accumulated (Welford), so memory is a few vectors for any number of probes.

    Args:
        operator: Of dimension p.
        key: For the probes.
        n_probes: How many, at least two, for there to be a standard error.
        tol: Relative standard error up to which the estimate counts as converged.

    Returns:
        Estimate and standard error of every entry; NaN where the products are not finite.

    Raises:
        UserError: If ``n_probes`` is below two, ``tol`` not positive, ``key`` is not one key, or there
            is no operator.

    References:
        Bekas, Kokiopoulou & Saad, *An estimator for the diagonal of a matrix*, Appl. Numer. Math.
        57 (2007), equation (1); for random signs the divisor there is constant.
    """
    check_probing(operator, key, n_probes=n_probes, tol=tol)
    p, dtype = operator.dimension, operator.dtype

    def add(index: jax.Array, so_far: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        mean, squares = so_far
        sample = _probe(operator, key, index)
        change = sample - mean
        mean = mean + change / (index + 1).astype(dtype)
        return mean, squares + change * (sample - mean)

    start = jnp.zeros((p,), dtype)
    mean, squares = jax.lax.fori_loop(0, n_probes, add, (start, start))
    error = jnp.sqrt(squares / (n_probes * (n_probes - 1)))
    converged = within_tolerance(mean, error, tol)
    return DiagonalEstimate(mean, error, jnp.int32(n_probes), converged)


def squared_diagonal_sum(
    operator: LinearOperator, key: jax.Array, *, n_pairs: int = 16, tol: float = 0.1
) -> TraceEstimate:
    """Estimate the sum of the squared diagonal entries, without bias.

    Squaring an estimated diagonal adds its variance, p times over. The product of two *independent*
    estimates adds nothing: a pair of probes gives ``sum_i (z_i (C z)_i) (w_i (C w)_i)``. A sample
    may be negative.

    Args:
        operator: Of dimension p.
        key: For the probes.
        n_pairs: How many pairs of probes, at least two, for there to be a standard error.
        tol: Relative standard error up to which the estimate counts as converged.

    Returns:
        Estimate and standard error; two products for every pair.

    Raises:
        UserError: If ``n_pairs`` is below two, ``tol`` not positive, ``key`` is not one key, or there
            is no operator.
    """
    check_probing(operator, key, tol=tol)
    require_whole("n_pairs", n_pairs)
    if n_pairs < 2:
        raise UserError(f"n_pairs is {n_pairs}; choose n_pairs >= 2 for a standard error")

    def sample(index: jax.Array) -> jax.Array:
        return inner(
            _probe(operator, key, 2 * index),
            _probe(operator, key, 2 * index + 1),
        )

    samples = jax.lax.map(sample, jnp.arange(n_pairs, dtype=jnp.int32))
    return trace_estimate(samples, 2 * n_pairs, tol)


def _probe(operator: LinearOperator, key: jax.Array, index: jax.Array) -> jax.Array:
    """Return one unbiased sample of the diagonal, shape (p,)."""
    signs = jax.random.rademacher(
        jax.random.fold_in(key, index), (operator.dimension,), operator.dtype
    )
    return signs * operator.product(signs)
