"""Trace of an operator by random probes."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from implicit_bias.curvature.eigenpairs import inner
from implicit_bias.curvature.operators import LinearOperator
from implicit_bias.errors import UserError


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TraceEstimate:
    """A trace with its sampling error.

    Attributes:
        estimate: Mean over the probes, unbiased.
        standard_error: Of that mean: the probes' standard deviation over the root of their number.
            It is zero where the operator is diagonal, for which each probe is exact.
        n_probes: How many probes (products) were used.
    """

    estimate: jax.Array
    standard_error: jax.Array
    n_probes: jax.Array


def mean_and_standard_error(samples: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the mean of independent samples, shape (n,), and its standard error, n >= 2."""
    n = samples.shape[0]
    return jnp.mean(samples), jnp.std(samples, ddof=1) / n**0.5


def hutchinson_trace(
    operator: LinearOperator, key: jax.Array, *, n_probes: int = 32, batch_size: int = 1
) -> TraceEstimate:
    """Estimate the trace by the mean of ``z . C z`` over random signs z.

    Random signs (Rademacher) have the least variance among independent entries: 2 times the sum of
    the squared off-diagonal entries, per probe. Probe i depends on the key and i alone, so that
    more probes extend fewer.

    Args:
        operator: Symmetric, of dimension p.
        key: For the probes.
        n_probes: How many, at least two, for there to be a standard error.
        batch_size: Probes multiplied at once; memory grows with it.

    Returns:
        Estimate and standard error; NaN if the products are not finite.

    Raises:
        UserError: If ``n_probes`` is below two or ``batch_size`` below one.

    References:
        Hutchinson, *A stochastic estimator of the trace of the influence matrix*, Commun. Stat.
        Simul. 18 (1989).
    """
    if n_probes < 2:
        raise UserError(f"n_probes is {n_probes}; choose n_probes >= 2 for a standard error")
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; choose batch_size >= 1 probes at once")

    def sample(index: jax.Array) -> jax.Array:
        signs = jax.random.rademacher(
            jax.random.fold_in(key, index), (operator.dimension,), operator.dtype
        )
        return inner(signs, operator.product(signs))

    samples = jax.lax.map(sample, jnp.arange(n_probes, dtype=jnp.int32), batch_size=batch_size)
    return TraceEstimate(*mean_and_standard_error(samples), jnp.int32(n_probes))
