"""Estimates from random probes: a trace with its sampling error, and what probes must be asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from implicit_bias.errors import UserError


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TraceEstimate:
    """A trace with its sampling error.

    Attributes:
        estimate: Mean over the probes, unbiased.
        standard_error: Of that mean: the probes' standard deviation over the root of their number.
            It is zero where the operator is diagonal, for which each probe is exact.
        products: How many were used: one for each probe, and in ``hutch_plus_plus`` two for each
            vector of the sketch.
        converged: Whether the standard error is at most the tolerance asked for, relative to the
            estimate; false where either is not finite.
    """

    estimate: jax.Array
    standard_error: jax.Array
    products: jax.Array
    converged: jax.Array


def mean_and_standard_error(samples: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the mean of independent samples, shape (n,), and its standard error, n >= 2."""
    n = samples.shape[0]
    return jnp.mean(samples), jnp.std(samples, ddof=1) / n**0.5


def trace_estimate(samples: jax.Array, products: int, tol: float) -> TraceEstimate:
    """Return the record of independent unbiased samples, shape (n,), n >= 2."""
    estimate, error = mean_and_standard_error(samples)
    return TraceEstimate(
        estimate, error, jnp.int32(products), within_tolerance(estimate, error, tol)
    )


def within_tolerance(estimate: jax.Array, error: jax.Array, tol: float) -> jax.Array:
    """Say whether a standard error is at most ``tol`` of the size of what it belongs to.

    Args:
        estimate: A number, or numbers whose Euclidean norms are compared.
        error: Of the same shape.
        tol: Largest ratio of the two, positive.
    """
    norms = jnp.linalg.norm(jnp.ravel(error)), jnp.linalg.norm(jnp.ravel(estimate))
    return norms[0] <= tol * norms[1]  # not where one is not a number


def check_tolerance(tol: float) -> None:
    """Refuse a relative standard error that no estimate could reach, or a traced one.

    Raises:
        UserError: If ``tol`` is not a positive number.
    """
    if isinstance(tol, bool) or not isinstance(tol, int | float) or not 0 < tol < math.inf:
        raise UserError(f"tol is {tol!r}; choose a relative standard error above 0, such as 0.1")


def check_probes(n_probes: int, batch_size: int) -> None:
    """Refuse a number of probes that gives no standard error, or no probes at once.

    Raises:
        UserError: If ``n_probes`` is below two or ``batch_size`` below one.
    """
    if n_probes < 2:
        raise UserError(f"n_probes is {n_probes}; choose n_probes >= 2 for a standard error")
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; choose batch_size >= 1 probes at once")
