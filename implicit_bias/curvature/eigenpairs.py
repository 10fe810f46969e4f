"""The record that every eigenvalue method returns."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from implicit_bias.curvature.operators import LinearOperator
from implicit_bias.errors import UserError


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


def check_request(operator: LinearOperator, k: int, max_products: int, tol: float) -> None:
    """Refuse what no method can deliver.

    Raises:
        UserError: If ``k`` is below one or above the dimension, ``max_products`` below ``k``, or
            ``tol`` not positive.
    """
    if not 1 <= k <= operator.dimension:
        raise UserError(
            f"k is {k}, but the operator has dimension {operator.dimension}; "
            f"choose 1 <= k <= {operator.dimension}"
        )
    if max_products < k:
        raise UserError(
            f"max_products is {max_products}, too few for k = {k} eigenpairs; "
            f"choose max_products >= {k}"
        )
    if not tol > 0:
        raise UserError(f"tol is {tol}; choose tol > 0, such as 1e-3")


def inner(left: jax.Array, right: jax.Array) -> jax.Array:
    """Inner product of two real vectors in full precision."""
    return jnp.vdot(left, right, precision=jax.lax.Precision.HIGHEST)


def norm(vector: jax.Array) -> jax.Array:
    """Euclidean length of a real vector in full precision."""
    return jnp.sqrt(inner(vector, vector))
