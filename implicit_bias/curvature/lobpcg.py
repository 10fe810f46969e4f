"""Extreme eigenpairs by JAX's own LOBPCG: a block method, and a second opinion."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from jax.experimental.sparse.linalg import lobpcg_standard

from implicit_bias.curvature.eigenpairs import (
    Eigenpairs,
    check_choice,
    check_request,
    finished,
    recompute,
)
from implicit_bias.curvature.operators import LinearOperator, require_operator
from implicit_bias.curvature.thick_restart import thick_restart_lanczos
from implicit_bias.errors import UserError

End = Literal["LA", "SA"]

_RANGE_PRODUCTS = 12  # spent on the ends of the spectrum
_RANGE_TOL = 0.1


def lobpcg(
    operator: LinearOperator,
    key: jax.Array,
    *,
    k: int = 1,
    max_products: int = 1000,
    tol: float = 1e-3,
    which: End = "LA",
    start: jax.Array | None = None,
) -> Eigenpairs:
    """Find the k largest or smallest eigenpairs with ``jax.experimental.sparse.linalg``.

    Each iteration looks for the best k vectors in the span of the current ones, their residuals and
    the last step, by 4 k products. That is several times what a Lanczos method needs, but the block
    sees eigenvalues repeated up to k times, and on a GPU its products come k at a time. It is here
    as an independent second method, and for large k of a cheap operator.

    JAX's routine finds only largest eigenvalues, and its test passes only where they are positive.
    So it is given ``C + s I`` or ``s I - C``, where s is found by a few products (``LM`` Lanczos):
    1.1 times the length of the largest eigenvalue plus its residual. The residuals that are
    returned are those of C itself, recomputed.

    Limits: 5 k < p, which JAX's routine demands; memory for about 12 k vectors; no end by
    magnitude; in float32 the shift costs about one digit where the wanted end is the smaller one.

    Args:
        operator: Symmetric, of dimension p.
        key: For the start vectors.
        k: How many pairs.
        max_products: Most products; some are left over where 4 k does not divide them.
        tol: Largest accepted residual relative to the largest absolute eigenvalue.
        which: ``"LA"`` for the algebraically largest, ``"SA"`` smallest.
        start: Shape (k, p), linearly independent, instead of random vectors.

    Returns:
        The pairs, best first; NaN and ``converged`` false if products are not finite.

    Raises:
        UserError: If k, tol, which or start is out of range, or max_products does not suffice for
            one iteration.

    References:
        Knyazev, *Toward the optimal preconditioned eigensolver*, SIAM J. Sci. Comput. 23 (2001);
        Duersch, Shao, Yang & Gu, *A robust and efficient implementation of LOBPCG*, SIAM J. Sci.
        Comput. 40 (2018), which JAX's routine follows.
    """
    require_operator(operator)
    p, dtype = operator.dimension, operator.dtype
    check_request(operator, key, k, max_products, tol, start=start, start_shape=(k, p))
    check_choice("end of the spectrum", which, End)
    if 5 * k >= p:
        raise UserError(
            f"k is {k}, but LOBPCG needs 5 k below the dimension {p}; choose k <= {(p - 1) // 5}, "
            "or another method"
        )
    range_products = min(_RANGE_PRODUCTS, p) + 1
    iterations = (max_products - range_products - 2 * k) // (4 * k)
    if iterations < 1:
        raise UserError(
            f"max_products is {max_products}, too few for one iteration with k = {k}; "
            f"choose max_products >= {range_products + 6 * k}"
        )
    range_key, start_key = jax.random.split(key)
    ends = thick_restart_lanczos(
        operator,
        range_key,
        which="LM",
        max_products=range_products - 1,
        tol=_RANGE_TOL,
    )
    largest = jnp.abs(ends.values[0])
    # An operator of zeros still needs a shift for JAX's test to pass.
    unit = jnp.where(largest == 0, jnp.ones_like(largest), largest)
    shift = 1.1 * unit + ends.residuals[0]
    sign = 1 if which == "LA" else -1

    def columns(matrix: jax.Array) -> jax.Array:
        image = jax.lax.map(operator.product, matrix.T).T
        return sign * image + shift * matrix

    if start is None:
        start = jax.random.normal(start_key, (k, p), dtype)
    start = jnp.asarray(start, dtype)
    # JAX accepts a residual below 10 n tol (theta + |A x|), with theta at most the largest
    # eigenvalue plus the shift, and |A x| the same.
    bound = 20 * p * (unit + ends.residuals[0] + shift)
    _, vectors, used = lobpcg_standard(
        columns, start.T, m=iterations, tol=(0.9 * tol * unit / bound).astype(dtype)
    )
    values, rows, residuals = recompute(operator, vectors.T)
    order = jnp.argsort(-sign * values)
    values, rows, residuals = values[order], rows[order], residuals[order]
    scale = jnp.maximum(largest, jnp.max(jnp.abs(values)))
    return finished(
        values,
        rows,
        residuals,
        products=ends.products + (2 * k + 4 * k * used).astype(jnp.int32),
        settled=jnp.bool_(True),
        allowed=tol * scale,
        bad=~jnp.all(jnp.isfinite(residuals)) | ~jnp.isfinite(shift),
    )
