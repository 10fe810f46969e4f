"""The record that every eigenvalue method returns, and what all methods check and compute alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.arguments import require_key, require_number, require_whole
from implicit_bias.curvature.operators import LinearOperator, require_operator
from implicit_bias.errors import UserError, unknown


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues with vectors, and how far each is from being one.

    For a symmetric operator an eigenvalue lies within ``residuals[i]`` of ``values[i]``; where it
    is isolated by a gap g, within about ``residuals[i]**2 / g``.

    Attributes:
        values: Shape (k,), Rayleigh quotients of the vectors, best first. NaN where nothing was
            found.
        vectors: Shape (k, p), of length one, orthogonal.
        residuals: Shape (k,), ``|C v - value v|`` from a product with the vector itself, not the
            method's own estimate.
        products: How many products were used in all, those of the residuals included; an integer.
        converged: Whether the method's own test was passed and every residual is at most ``tol``
            times the largest absolute eigenvalue seen.
    """

    values: jax.Array
    vectors: jax.Array
    residuals: jax.Array
    products: jax.Array
    converged: jax.Array


def check_count(k: int, dimension: int) -> None:
    """Refuse more eigenpairs than there are, or none.

    Raises:
        UserError: If ``k`` is below one or above the dimension.
    """
    require_whole("k", k)
    if not 1 <= k <= dimension:
        raise UserError(
            f"k is {k}, but the operator has dimension {dimension}; choose 1 <= k <= {dimension}"
        )


def check_request(
    operator: LinearOperator,
    key: jax.Array,
    k: int,
    max_products: int,
    tol: float,
    *,
    start: jax.Array | None = None,
    start_shape: tuple[int, ...] = (),
) -> None:
    """Refuse what no method can deliver.

    Raises:
        UserError: If ``operator`` is none, ``key`` is not one random key, ``k`` is below one or
            above the dimension, ``max_products`` below ``k``, ``tol`` not positive, or ``start``
            given in another shape than ``start_shape``.
    """
    require_operator(operator)
    require_key(key)
    check_count(k, operator.dimension)
    require_whole("max_products", max_products)
    require_number("tol", tol)
    if max_products < k:
        raise UserError(
            f"max_products is {max_products}, too few for k = {k} eigenpairs; "
            f"choose max_products >= {k}"
        )
    if not tol > 0:
        raise UserError(f"tol is {tol}; choose tol > 0, such as 1e-3")
    if start is not None and np.shape(start) != start_shape:
        raise UserError(f"start has shape {np.shape(start)}; give shape {start_shape}")


def check_choice(kind: str, given: str, choices: Any) -> None:
    """Refuse a word that is not one of a ``Literal``'s.

    Raises:
        UserError: If it is not; ``kind`` says what it is a choice of.
    """
    if not isinstance(given, str) or given not in get_args(choices):
        raise unknown(kind, given, get_args(choices))


def recompute(
    operator: LinearOperator, vectors: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return Rayleigh quotients, unit vectors and residuals, by one product with each vector.

    Args:
        operator: Symmetric, of dimension p.
        vectors: Shape (k, p), in rows.
    """

    def check(vector: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        vector = vector / norm(vector)
        image = operator.product(vector)
        value = inner(vector, image)
        return value, vector, norm(image - value * vector)

    return jax.lax.map(check, vectors)


def finished(
    values: jax.Array,
    vectors: jax.Array,
    residuals: jax.Array,
    *,
    products: jax.Array,
    settled: jax.Array,
    allowed: jax.Array,
    bad: jax.Array,
) -> Eigenpairs:
    """Make the record: NaN where there is no pair, converged where all is well.

    Args:
        values: Shape (k,).
        vectors: Shape (k, p).
        residuals: Shape (k,).
        products: How many were used.
        settled: Whether the method expects nothing better.
        allowed: Largest residual that is accepted.
        bad: Shape () or (k,), which pairs are not there: a number was not finite, or the pair was
            not begun.
    """
    bad = jnp.broadcast_to(bad, values.shape)
    nan = jnp.asarray(jnp.nan, values.dtype)
    return Eigenpairs(
        values=jnp.where(bad, nan, values),
        vectors=jnp.where(bad[:, None], nan, vectors),
        residuals=jnp.where(bad, nan, residuals),
        products=products,
        converged=settled & ~jnp.any(bad) & jnp.all(residuals <= allowed),
    )


def inner(left: jax.Array, right: jax.Array) -> jax.Array:
    """Inner product of two real vectors in full precision."""
    return jnp.vdot(left, right, precision=jax.lax.Precision.HIGHEST)


def norm(vector: jax.Array) -> jax.Array:
    """Euclidean length of a real vector in full precision."""
    return jnp.sqrt(inner(vector, vector))
