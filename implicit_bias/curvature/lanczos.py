"""Extreme eigenpairs by the Lanczos process."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from implicit_bias.curvature.eigenpairs import Eigenpairs, check_request, inner, norm
from implicit_bias.curvature.operators import LinearOperator
from implicit_bias.errors import UserError, unknown

Which = Literal["LA", "SA", "LM"]

BLOCK = 8  # basis vectors per step of the orthogonalisation: small, so that unused ones cost little


class _Ritz(NamedTuple):
    """The best vectors of the tridiagonal matrix."""

    weights: jax.Array  # (m, k), coordinates in the basis
    largest: jax.Array  # largest absolute eigenvalue of all
    settled: jax.Array  # nothing better is expected


class _State(NamedTuple):
    """What the loop carries. The basis is padded to a fixed size."""

    vector: jax.Array  # (p,) to be multiplied next, unless a block begins
    basis: jax.Array  # (rows, p): orthonormal rows, then zeros
    diagonal: jax.Array  # (m,) of the tridiagonal matrix
    couplings: jax.Array  # (m,) couplings[i] joins i and i + 1; zero where a block ends
    size: jax.Array  # rows of the basis that have been multiplied
    block_start: jax.Array  # first row of the current block; a breakdown ends a block
    scale: jax.Array  # largest |C q| seen, at most the operator's norm
    ritz: _Ritz  # as of the last test
    failed: jax.Array  # a number that is not finite turned up


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

    The basis is kept orthogonal by two full Gram-Schmidt passes over all earlier vectors ("twice is
    enough"), so no spurious copies appear. After every product the Ritz pairs of the small
    tridiagonal matrix are computed, and the loop ends when the residuals ``|beta_j s_ji|`` of the k
    wanted ones are at most 0.9 tol times the largest absolute Ritz value; the last tenth is left to
    rounding. The residuals that are returned are then recomputed, with k more products.

    When a product adds nothing to the basis (an invariant subspace: low rank, few distinct
    eigenvalues, an unlucky start), the coupling is set to zero and a new block starts from a random
    vector orthogonal to the basis, until the best value of a finished block is no better than the
    k-th found. Repeated eigenvalues are found that way if the process breaks down; where the wanted
    pairs converge first, only one copy is seen, as in any single-vector Lanczos (a linear model
    with several outputs has every eigenvalue once per output): power iteration with deflation finds
    them all. The largest eigenvalue itself is not affected.

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
    """
    check_request(operator, k, max_products, tol)
    if which not in get_args(Which):
        raise unknown("choice of eigenvalues", which, get_args(Which))
    if check_every < 1:
        raise UserError(f"check_every is {check_every}; choose check_every >= 1")
    p, dtype = operator.dimension, operator.dtype
    if start is not None and start.shape != (p,):
        raise UserError(f"start has shape {start.shape}; give shape ({p},)")
    m = min(max_products, p)
    tolerance = jnp.asarray(0.9 * tol, dtype)
    # Of the scale: a coupling that is rounding, or so weak that all pairs of the block are found.
    negligible = max(0.05 * tol, 50 * float(jnp.finfo(dtype).eps))

    def fresh(basis: jax.Array, count: jax.Array) -> jax.Array:
        vector = jax.random.normal(jax.random.fold_in(key, count), (p,), dtype)
        vector = orthogonalise(basis, vector, count)
        return vector / norm(vector)

    def step(state: _State) -> _State:
        j, count = state.size, state.size + 1
        begins = state.block_start == j if start is None else (state.block_start == j) & (j > 0)
        vector = jax.lax.cond(
            begins,
            lambda: fresh(state.basis, j),
            lambda: state.vector,
        )
        basis = jax.lax.dynamic_update_index_in_dim(state.basis, vector, j, 0)
        image = operator.product(vector)
        scale = jnp.maximum(state.scale, norm(image))
        alpha = inner(vector, image)
        rest = orthogonalise(basis, image, count)
        beta = norm(rest)
        failed = ~(jnp.isfinite(scale) & jnp.isfinite(beta))
        broken = (beta <= negligible * scale) | (count == p)
        beta = jnp.where(broken | failed, jnp.zeros_like(beta), beta)
        diagonal = state.diagonal.at[j].set(jnp.where(failed, jnp.zeros_like(alpha), alpha))
        couplings = state.couplings.at[j].set(beta)

        ask = (count % check_every == 0) | broken | (count == m)
        best = jax.lax.cond(
            ask & (count >= k) & ~failed,
            lambda: _ritz(
                diagonal,
                couplings,
                count,
                state.block_start,
                k=k,
                which=which,
                tolerance=tolerance,
                first_block_counts=start is None,
                complete=count == p,
            ),
            lambda: state.ritz,
        )
        return _State(
            vector=rest / jnp.where(beta > 0, beta, jnp.ones_like(beta)),
            basis=basis,
            diagonal=diagonal,
            couplings=couplings,
            size=count,
            block_start=jnp.where(broken, count, state.block_start),
            scale=scale,
            ritz=best,
            failed=failed,
        )

    zero = jnp.int32(0)
    basis = jnp.zeros((-(-m // BLOCK) * BLOCK, p), dtype)
    state = jax.lax.while_loop(
        lambda state: (state.size < m) & ~state.ritz.settled & ~state.failed,
        step,
        _State(
            vector=basis[0] if start is None else start / norm(start),
            basis=basis,
            diagonal=jnp.zeros((m,), dtype),
            couplings=jnp.zeros((m,), dtype),
            size=zero,
            block_start=zero,
            scale=jnp.zeros((), dtype),
            ritz=_Ritz(
                weights=jnp.zeros((m, k), dtype),
                largest=jnp.zeros((), dtype),
                settled=jnp.bool_(False),
            ),
            failed=jnp.bool_(False),
        ),
    )
    ritz = state.ritz
    vectors = jnp.matmul(ritz.weights.T, state.basis[:m], precision=jax.lax.Precision.HIGHEST)

    def verify(vector: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        vector = vector / norm(vector)
        image = operator.product(vector)
        value = inner(vector, image)
        return value, vector, norm(image - value * vector)

    values, vectors, residuals = jax.lax.map(verify, vectors)
    bad = state.failed | ~jnp.all(jnp.isfinite(residuals))
    nan = jnp.asarray(jnp.nan, dtype)
    return Eigenpairs(
        values=jnp.where(bad, nan, values),
        vectors=jnp.where(bad, nan, vectors),
        residuals=jnp.where(bad, nan, residuals),
        products=state.size + k,
        converged=ritz.settled & ~bad & jnp.all(residuals <= tol * ritz.largest),
    )


def orthogonalise(basis: jax.Array, vector: jax.Array, count: jax.Array) -> jax.Array:
    """Remove from a vector its components along the first rows of a basis, in two passes.

    Only blocks with used rows are read, so that the cost follows the count and not the padding; the
    unused rows of the last block are zero and take nothing away.
    """
    highest = jax.lax.Precision.HIGHEST

    def remove(step: jax.Array, vector: jax.Array) -> jax.Array:
        rows = jax.lax.dynamic_slice_in_dim(basis, step % blocks * BLOCK, BLOCK)
        along = jnp.matmul(rows, vector, precision=highest)
        return vector - jnp.matmul(along, rows, precision=highest)

    blocks = (count + BLOCK - 1) // BLOCK
    return jax.lax.fori_loop(0, 2 * blocks, remove, vector)


def _ritz(
    diagonal: jax.Array,
    couplings: jax.Array,
    count: jax.Array,
    block_start: jax.Array,
    *,
    k: int,
    which: Which,
    tolerance: jax.Array,
    first_block_counts: bool,
    complete: jax.Array,
) -> _Ritz:
    """Find the best k eigenpairs of the leading ``count`` rows of a padded tridiagonal matrix.

    Args:
        diagonal: Shape (m,).
        couplings: Shape (m,); ``couplings[count - 1]`` is the coupling to the vector that follows.
        count: How many rows are used.
        block_start: First row of the current block.
        k: How many pairs.
        which: Which pairs are best.
        tolerance: Largest residual estimate accepted, relative to the largest absolute value.
        first_block_counts: Whether the first block started from a random vector, so that an
            invariant subspace found from it holds the best eigenvector.
        complete: Whether the rows span the whole space.

    Returns:
        Their vectors, and whether they are settled.
    """
    m = diagonal.shape[0]
    index = jnp.arange(m, dtype=count.dtype)
    last = jnp.take(couplings, count - 1)
    joins = jnp.where(index < count - 1, couplings, jnp.zeros_like(couplings))[: m - 1]
    used = index < count
    # Unused rows get an eigenvalue above all others (Gershgorin), so that the used ones come first.
    reach = jnp.max(jnp.abs(diagonal)) + 2 * jnp.max(jnp.abs(couplings))
    above = jnp.where(reach > 0, 2 * reach, jnp.ones_like(reach))
    matrix = jnp.diag(jnp.where(used, diagonal, above)) + jnp.diag(joins, 1) + jnp.diag(joins, -1)
    values, vectors = jnp.linalg.eigh(matrix, symmetrize_input=False)

    score = {"LA": values, "SA": -values, "LM": jnp.abs(values)}[which]
    score = jnp.where(used, score, -jnp.inf)
    best, order = jax.lax.top_k(score, k)
    largest = jnp.max(jnp.where(used, jnp.abs(values), jnp.zeros_like(values)))
    allowed = tolerance * largest
    residuals = last * jnp.abs(jnp.take(vectors, count - 1, axis=0))
    wanted = jnp.all(residuals[order] <= allowed) & (count >= k)

    # A block begun after a breakdown holds the best eigenvalue that the earlier blocks left out.
    # Once that is found and no better than the k-th of all, the rest of the space cannot hold a
    # better one.
    in_block = jnp.sum(
        jnp.where((index >= block_start)[:, None], vectors, jnp.zeros_like(vectors)) ** 2, axis=0
    )
    block_score = jnp.where(in_block > 0.5, score, -jnp.inf)
    block_best = jnp.argmax(block_score)
    ended = last == 0
    first_block = block_start == 0
    exhausted_by_block = (residuals[block_best] <= allowed) & (
        block_score[block_best] <= best[k - 1] + allowed
    )
    if not first_block_counts:
        exhausted_by_block = exhausted_by_block & ~first_block
    settled = wanted & ((first_block & ~ended) | exhausted_by_block | complete)
    return _Ritz(vectors[:, order], largest, settled)
