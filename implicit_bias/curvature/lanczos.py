"""Extreme eigenpairs by the Lanczos process, with a basis as large as its budget of products."""

from __future__ import annotations

import jax

from implicit_bias.curvature.eigenpairs import Eigenpairs, check_request
from implicit_bias.curvature.krylov import Which
from implicit_bias.curvature.operators import LinearOperator, require_operator
from implicit_bias.curvature.thick_restart import thick_restart_lanczos


def lanczos(
    operator: LinearOperator,
    key: jax.Array,
    *,
    k: int = 1,
    max_products: int = 100,
    tol: float = 1e-3,
    which: Which = "LA",
    start: jax.Array | None = None,
    check_every: int = 1,
) -> Eigenpairs:
    """Find k extreme eigenpairs, stopping on the residual.

    This is ``thick_restart_lanczos`` with a basis that never fills up: one row for each product it
    may use. After every product the Ritz pairs of the projected matrix are computed, and the loop ends
    when the residuals ``|beta_j s_ji|`` of the k wanted ones are at most 0.9 tol times the largest
    absolute Ritz value; the last tenth is left to rounding. The residuals that are returned are then
    recomputed, with k more products.

    When a product adds nothing to the basis (an invariant subspace: low rank, few distinct
    eigenvalues, an unlucky start), what was found is locked and a new chain starts from a random
    vector orthogonal to it, until the best value of a chain is no better than the k-th found.
    Repeated eigenvalues are found that way if the process breaks down; where the wanted pairs converge
    first, only one copy is seen, as in any single-vector Lanczos (a linear model with several outputs
    has every eigenvalue once per output): ``thick_restart_lanczos(copies=True)`` and power iteration
    find them all. The largest eigenvalue itself is not affected.

    Memory is ``max_products`` vectors and a few more. Map it over lanes with ``lax.map``: under
    ``vmap`` every lane runs as long as the slowest, and the padded basis is copied in every step.

    Args:
        operator: Symmetric, of dimension p.
        key: For the start vector and the restarts.
        k: How many pairs.
        max_products: Most products spent on the basis, a static size.
        tol: Largest accepted residual relative to the largest absolute eigenvalue. Eigenvalues are
            much closer than that where they are isolated. A small residual proves an eigenvalue, not
            that no larger one exists: a start vector with less than about tol λ / (λ₁ − λ₂) of the
            first eigenvector may end at the second, more rarely the smaller ``tol`` is. In float32
            nothing below about 1e-6 is reached.
        which: ``"LA"`` for the algebraically largest, ``"SA"`` smallest, ``"LM"`` largest in
            magnitude.
        start: Shape (p,), instead of a random start, such as an eigenvector of an earlier iterate.
            A start that is already an eigenvector to within ``tol`` is returned as such, and
            whether it belongs to the largest eigenvalue is then not asked.
        check_every: Products between tests. One is best on a CPU; on a GPU, where a small ``eigh``
            may cost as much as several products, 4 or 8.

    Returns:
        The pairs, best first. If the operator's products are not finite, the loop ends at once with
        ``converged`` false and NaN in values, vectors and residuals.

    Raises:
        UserError: If k, max_products, tol, which, start or check_every is out of range.

    References:
        Lanczos, *An iteration method for the solution of the eigenvalue problem*, J. Res. NBS 45
        (1950). Parlett, *The Symmetric Eigenvalue Problem* (1998), section 6.9 (twice is enough)
        and chapter 13 (the residual of a Ritz pair).

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from implicit_bias import curvature
        >>> operator = curvature.matrix_operator(jnp.diag(jnp.array([1.0, 5.0, 3.0])))
        >>> found = curvature.lanczos(operator, jax.random.key(0), k=2)
        >>> [round(float(value), 3) for value in found.values], bool(found.converged.all())
        ([5.0, 3.0], True)
    """
    require_operator(operator)
    p = operator.dimension
    check_request(operator, key, k, max_products, tol, start=start, start_shape=(p,))
    return thick_restart_lanczos(
        operator,
        key,
        k=k,
        max_products=max_products,
        subspace=max(max_products, min(k + 2, p)),
        tol=tol,
        which=which,
        start=start,
        check_every=check_every,
    )
