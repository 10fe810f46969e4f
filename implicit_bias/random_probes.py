"""Estimates from random probes: a trace with its sampling error, and what probes must be asked for."""

from __future__ import annotations

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
        n_probes: How many products were used: one for each probe, and in ``hutch_plus_plus`` two
            for each vector of the sketch.
    """

    estimate: jax.Array
    standard_error: jax.Array
    n_probes: jax.Array


def mean_and_standard_error(samples: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the mean of independent samples, shape (n,), and its standard error, n >= 2."""
    n = samples.shape[0]
    return jnp.mean(samples), jnp.std(samples, ddof=1) / n**0.5


def check_probes(n_probes: int, batch_size: int) -> None:
    """Refuse a number of probes that gives no standard error, or no probes at once.

    Raises:
        UserError: If ``n_probes`` is below two or ``batch_size`` below one.
    """
    if n_probes < 2:
        raise UserError(f"n_probes is {n_probes}; choose n_probes >= 2 for a standard error")
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; choose batch_size >= 1 probes at once")
