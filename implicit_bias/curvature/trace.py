"""Trace of an operator by random probes."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from implicit_bias.arguments import require_whole
from implicit_bias.curvature.eigenpairs import inner
from implicit_bias.curvature.operators import LinearOperator
from implicit_bias.curvature.probes import check_probing
from implicit_bias.errors import UserError
from implicit_bias.random_probes import (
    TraceEstimate,
    mean_and_standard_error,
    trace_estimate,
    within_tolerance,
)


def hutchinson_trace(
    operator: LinearOperator,
    key: jax.Array,
    *,
    n_probes: int = 32,
    batch_size: int = 1,
    tol: float = 0.1,
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
        tol: Relative standard error up to which the estimate counts as converged.

    Returns:
        Estimate and standard error; NaN if the products are not finite.

    Raises:
        UserError: If ``n_probes`` is below two, ``batch_size`` below one, ``tol`` not positive, ``key`` is
            not one key, or there is no operator.

    References:
        Hutchinson, *A stochastic estimator of the trace of the influence matrix*, Commun. Stat.
        Simul. 18 (1989).

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from implicit_bias import curvature
        >>> operator = curvature.matrix_operator(jnp.diag(jnp.array([1.0, 5.0, 3.0])))
        >>> found = curvature.hutchinson_trace(operator, jax.random.key(0), n_probes=4)
        >>> float(found.estimate), float(found.standard_error)  # exact on a diagonal
        (9.0, 0.0)
    """
    check_probing(operator, key, n_probes=n_probes, batch_size=batch_size, tol=tol)

    def sample(index: jax.Array) -> jax.Array:
        signs = jax.random.rademacher(
            jax.random.fold_in(key, index), (operator.dimension,), operator.dtype
        )
        return inner(signs, operator.product(signs))

    samples = jax.lax.map(sample, jnp.arange(n_probes, dtype=jnp.int32), batch_size=batch_size)
    return trace_estimate(samples, n_probes, tol)


def hutch_plus_plus(
    operator: LinearOperator,
    key: jax.Array,
    *,
    sketch: int = 16,
    n_probes: int = 16,
    batch_size: int = 1,
    tol: float = 0.1,
) -> TraceEstimate:
    """Estimate the trace exactly on a sketched subspace, and by random signs on the rest.

    ``sketch`` products with random signs give an orthonormal basis Q of about the dominant
    eigenspace; ``sum_i q_i . C q_i`` is its part of the trace without sampling error, and the mean
    of ``z' . C z'`` with ``z' = (I - Q Q^T) z`` estimates the rest. Where a few eigenvalues carry
    most of the Frobenius norm, as in a Hessian, the error is far below Hutchinson's for the same
    number of products; where all are alike, it is somewhat above.

    Given Q the estimate is unbiased, and the standard error is that of the probes.

    Args:
        operator: Symmetric, of dimension p.
        key: For sketch and probes.
        sketch: Vectors of the sketch, each costing two products and the memory of a vector or two;
            between one and p, where the estimate is exact. The authors spend a third of all
            products on each part, which is ``sketch = n_probes``.
        n_probes: How many, at least two, for there to be a standard error.
        batch_size: Vectors multiplied at once; memory grows with it.
        tol: Relative standard error up to which the estimate counts as converged.

    Returns:
        Estimate and standard error, and the products of all parts; NaN if they are not finite.

    Raises:
        UserError: If ``sketch`` is outside of one to p, ``n_probes`` below two, ``batch_size``
            below one, ``tol`` not positive, ``key`` is not one key, or there is no operator.

    References:
        Meyer, Musco, Musco & Woodruff, *Hutch++: Optimal Stochastic Trace Estimation*, SOSA 2021,
        algorithm 1.
    """
    check_probing(operator, key, n_probes=n_probes, batch_size=batch_size, tol=tol)
    p, dtype, highest = operator.dimension, operator.dtype, jax.lax.Precision.HIGHEST
    require_whole("sketch", sketch)
    if not 1 <= sketch <= p:
        raise UserError(
            f"sketch is {sketch}, but the operator has dimension {p}; choose 1 <= sketch <= {p}"
        )
    sketch_key, probe_key = jax.random.split(key)

    def sketched(index: jax.Array) -> jax.Array:
        signs = jax.random.rademacher(jax.random.fold_in(sketch_key, index), (p,), dtype)
        return operator.product(signs)

    images = jax.lax.map(sketched, jnp.arange(sketch, dtype=jnp.int32), batch_size=batch_size)
    basis = jnp.linalg.qr(images.T)[0].T
    inside = jax.lax.map(
        lambda row: inner(row, operator.product(row)), basis, batch_size=batch_size
    )

    def sample(index: jax.Array) -> jax.Array:
        signs = jax.random.rademacher(jax.random.fold_in(probe_key, index), (p,), dtype)
        along = jnp.matmul(basis, signs, precision=highest)
        outside = signs - jnp.matmul(along, basis, precision=highest)
        return inner(outside, operator.product(outside))

    samples = jax.lax.map(sample, jnp.arange(n_probes, dtype=jnp.int32), batch_size=batch_size)
    rest, error = mean_and_standard_error(samples)
    trace = jnp.sum(inside) + rest
    products = jnp.int32(2 * sketch + n_probes)
    return TraceEstimate(trace, error, products, within_tolerance(trace, error, tol))
