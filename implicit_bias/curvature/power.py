"""Largest eigenpairs by power iteration with deflation: the slow, independent second method."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from implicit_bias.curvature.eigenpairs import Eigenpairs, check_request, finished, inner, norm
from implicit_bias.curvature.operators import LinearOperator

_WARM_UP = 10  # products from a new start before the sign of the dominant eigenvalue is judged
_POSITIVE = 0.9  # quotient over length from which the dominant eigenvalue counts as positive


class _State(NamedTuple):
    """What the loop carries. Row ``found`` of vectors and images is the pair under way."""

    vector: jax.Array  # (p,) to be multiplied next, unless a random start is due
    vectors: jax.Array  # (k, p), zeros where not begun
    images: jax.Array  # (k, p), their products
    found: jax.Array
    begun: jax.Array
    age: jax.Array  # products since the last random start; zero where one is due
    starts: jax.Array  # random starts so far
    shift: jax.Array  # the iteration multiplies by C + shift
    scale: jax.Array  # largest |C v| seen, at most the operator's norm
    products: jax.Array
    failed: jax.Array  # a number that is not finite turned up


def power_iteration(
    operator: LinearOperator,
    key: jax.Array,
    *,
    k: int = 1,
    max_products: int = 1000,
    tol: float = 1e-3,
) -> Eigenpairs:
    """Find the k algebraically largest eigenpairs by repeated multiplication.

    Each pair is found in the space orthogonal to those before it (deflation), from its own random
    vector. A pair is accepted on its residual, at 0.9 tol / sqrt(k), and not on the change between
    steps, which is small long before the eigenvalue is right.

    Plain power iteration finds the eigenvalue of largest *magnitude*. To find the algebraically
    largest where the spectrum is indefinite, the iteration multiplies by ``C + s I``. The shift s
    starts at zero, which is fastest where the largest eigenvalue dominates. Whenever, from ten
    products after a start or at convergence, the signed Rayleigh quotient of ``C + s I`` is below
    0.9 times the length of its product, a negative eigenvalue dominates or competes: s grows by
    that length, an estimate of that eigenvalue's magnitude, and the iteration starts again from a
    new random vector. Residuals do not depend on s.

    The k vectors found are combined by a last Rayleigh-Ritz step, without further products, which
    removes the error that deflation with inexact vectors causes.

    Args:
        operator: Symmetric, of dimension p.
        key: For the start vectors.
        k: How many pairs.
        max_products: Most products in all.
        tol: Largest accepted residual relative to the largest ``|C v|`` seen, an estimate from
            below of the largest absolute eigenvalue.

    Returns:
        The pairs, largest first. Where the products ran out, ``converged`` is false, the pair under
        way is reported as it stands, and those not begun are NaN. If a product is not finite, the
        loop ends and all are NaN.

    Raises:
        UserError: If k, max_products or tol is out of range.

    References:
        Golub & Van Loan, *Matrix Computations* (2013), section 8.2.1, for the method. The signed
        quotient and the growing shift are this module's own.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from implicit_bias import curvature
        >>> operator = curvature.matrix_operator(jnp.diag(jnp.array([1.0, -5.0, 3.0])))
        >>> found = curvature.power_iteration(operator, jax.random.key(0))
        >>> round(float(found.values[0]), 3)  # not −5
        3.0
    """
    check_request(operator, key, k, max_products, tol)
    p, dtype = operator.dimension, operator.dtype
    accepted = 0.9 * tol / k**0.5
    rounding = 10 * float(jnp.finfo(dtype).eps)
    rank = jnp.arange(k, dtype=jnp.int32)

    def random_start(vectors: jax.Array, starts: jax.Array) -> jax.Array:
        vector = jax.random.normal(jax.random.fold_in(key, starts), (p,), dtype)
        return _unit(_deflate(vectors, _deflate(vectors, vector)))

    def step(state: _State) -> _State:
        known = jnp.where(
            (rank < state.found)[:, None], state.vectors, jnp.zeros_like(state.vectors)
        )
        vector = jax.lax.cond(
            state.age == 0, lambda: random_start(known, state.starts), lambda: state.vector
        )
        image = operator.product(vector)
        scale = jnp.maximum(state.scale, norm(image))
        failed = ~jnp.isfinite(scale)
        age = state.age + 1

        inside = _deflate(known, image)
        quotient = inner(vector, inside)
        shifted = inside + state.shift * vector
        length = norm(shifted)
        small = norm(inside - quotient * vector) <= accepted * scale
        positive = quotient + state.shift >= _POSITIVE * length - rounding * scale
        grow = ~positive & (small | (age >= _WARM_UP))
        accept = positive & small
        vectors = jax.lax.dynamic_update_index_in_dim(state.vectors, vector, state.found, 0)
        images = jax.lax.dynamic_update_index_in_dim(state.images, image, state.found, 0)
        found = state.found + accept.astype(jnp.int32)
        restart = grow | accept
        return _State(
            # Deflated again: what rounding puts back along a dominant vector would grow.
            vector=_unit(_deflate(known, shifted)),
            vectors=vectors,
            images=images,
            found=found,
            begun=state.found + 1,
            age=jnp.where(restart, jnp.zeros_like(age), age),
            starts=state.starts + restart.astype(jnp.int32),
            shift=state.shift + jnp.where(grow, length, jnp.zeros_like(length)),
            scale=scale,
            products=state.products + 1,
            failed=failed,
        )

    zero, none = jnp.int32(0), jnp.zeros((k, p), dtype)
    state = jax.lax.while_loop(
        lambda state: (state.found < k) & (state.products < max_products) & ~state.failed,
        step,
        _State(
            vector=none[0],
            vectors=none,
            images=none,
            found=zero,
            begun=zero,
            age=zero,
            starts=zero,
            shift=jnp.zeros((), dtype),
            scale=jnp.zeros((), dtype),
            products=zero,
            failed=jnp.bool_(False),
        ),
    )
    values, vectors, residuals = _rayleigh_ritz(state.vectors, state.images, rank < state.begun)
    return finished(
        values,
        vectors,
        residuals,
        products=state.products,
        settled=state.found == k,
        allowed=tol * state.scale,
        bad=state.failed | (rank >= state.begun),
    )


def _unit(vector: jax.Array) -> jax.Array:
    """Scale a vector to length one; zero stays zero."""
    length = norm(vector)
    return vector / jnp.where(length > 0, length, jnp.ones_like(length))


def _deflate(vectors: jax.Array, vector: jax.Array) -> jax.Array:
    """Remove the components along orthonormal rows (rows of zeros remove nothing)."""
    highest = jax.lax.Precision.HIGHEST
    along = jnp.matmul(vectors, vector, precision=highest)
    return vector - jnp.matmul(along, vectors, precision=highest)


def _rayleigh_ritz(
    vectors: jax.Array, images: jax.Array, used: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the best pairs in the span of the used rows: values, vectors and residuals."""
    highest = jax.lax.Precision.HIGHEST
    small = jnp.matmul(vectors, images.T, precision=highest)
    small = (small + small.T) / 2
    below = -2 * (jnp.linalg.norm(small) + 1)  # unused rows come last
    small = small + jnp.diag(jnp.where(used, jnp.zeros_like(below), below))
    # A matrix with NaN makes some LAPACK builds complain; the caller overwrites the result anyway.
    values, rotation = jnp.linalg.eigh(jnp.nan_to_num(small), symmetrize_input=False)
    values, rotation = values[::-1], rotation[:, ::-1]
    vectors = jnp.matmul(rotation.T, vectors, precision=highest)
    images = jnp.matmul(rotation.T, images, precision=highest)
    residuals = jnp.linalg.norm(images - values[:, None] * vectors, axis=1)
    return values, vectors, residuals
