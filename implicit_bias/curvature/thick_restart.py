"""Many extreme eigenpairs in the memory of a few vectors: Lanczos with thick restarts."""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from implicit_bias.arguments import require_whole
from implicit_bias.curvature.eigenpairs import (
    Eigenpairs,
    check_choice,
    check_request,
    finished,
    norm,
    recompute,
)
from implicit_bias.curvature.krylov import Which, expand, padded, random_direction
from implicit_bias.curvature.operators import LinearOperator, require_operator
from implicit_bias.curvature.search import Ritz, State, judge, no_pairs, rayleigh_ritz
from implicit_bias.errors import UserError

Verify = Literal["each", "together"]

_COLUMNS = 8192  # of the basis, rotated at once: in place, and near a core


def thick_restart_lanczos(
    operator: LinearOperator,
    key: jax.Array,
    *,
    k: int = 1,
    max_products: int = 1000,
    subspace: int | None = None,
    tol: float = 1e-3,
    which: Which = "LA",
    start: jax.Array | None = None,
    copies: bool = False,
    verify: Verify = "each",
    check_every: int = 1,
) -> Eigenpairs:
    """Find k extreme eigenpairs with at most ``subspace`` basis vectors in memory.

    The Lanczos process with full orthogonalisation (two passes over all rows, kept and locked ones
    included), as in ``lanczos``. When the basis is full, it is replaced by its best Ritz vectors
    (the k wanted, and some others) and the process goes on from where it was: the
    kept vectors are coupled with the next one only, so the projected matrix is known without new
    products. Until the first restart this *is* ``lanczos``, product for product. After every
    product the residuals ``|beta s_ji|`` of the wanted pairs are tested, so that it stops within a
    cycle.

    What a single start vector cannot see: of a repeated eigenvalue it finds one copy, and the
    second only when rounding lets it in. When the process breaks down (an invariant subspace: low
    rank, few distinct eigenvalues), the pairs found are locked and a new chain starts from a random
    vector orthogonal to them, until a chain's best value is no better than the k-th found; then all
    copies are there. ``copies=True`` asks for such chains without a breakdown: it costs about as
    many products again, and finds repeated eigenvalues of any multiplicity. A chain's best value is
    trusted when its residual is a tenth of the chain's own largest value, so an unseen copy closer
    than that to the edge of the remaining spectrum may be missed. Merely clustered eigenvalues are
    all found, and need more products.

    Map it over lanes with ``lax.map``: under ``vmap`` every lane runs as long as the slowest, and
    the padded basis is copied in every step.

    Args:
        operator: Symmetric, of dimension p.
        key: For the start vectors.
        k: How many pairs.
        max_products: Most products spent on finding them.
        subspace: Most basis vectors, a static size of at least k + 2 (or p). More save products;
            twice k is the least that is sensible. By default 40, or 3 k where that is more;
            ``plan_subspace`` says what a memory budget allows, all vectors that are held counted.
        tol: Largest accepted residual relative to the largest absolute eigenvalue. Eigenvalues are
            much closer than that where they are isolated. A small residual proves an eigenvalue, not
            that no better one exists: a start vector that all but lacks the best one may end at the
            next, more rarely the smaller ``tol`` is. In float32 nothing below about 1e-6 is
            reached.
        which: ``"LA"`` for the algebraically largest, ``"SA"`` smallest, ``"LM"`` largest in
            magnitude.
        start: Shape (p,), instead of a random start, such as an eigenvector of an earlier iterate.
            A start that is already an eigenvector to within ``tol`` is returned as such, and
            whether it is the wanted one is then not asked; one that is much closer counts as a
            breakdown, and a random chain follows.
        copies: Look for repeated eigenvalues even if the process does not break down.
        verify: How the returned residuals come about. ``"each"``: recomputed, by one product with
            every vector. ``"together"``: the process's own residuals, plus the discrepancy found by
            one product with a random-sign sum of the vectors. That discrepancy is, in root mean
            square over the signs, the length of all errors of the own residuals together: mostly
            rounding. Values are then those of the projected matrix. It saves k - 1 products.
        check_every: Products between tests. One is best on a CPU; on a GPU, where a small ``eigh``
            may cost as much as several products, 4 or 8.

    Returns:
        The pairs, best first. If the operator's products are not finite, the loop ends at once with
        ``converged`` false and NaN in values, vectors and residuals.

    Raises:
        UserError: If k, max_products, subspace, tol, which, start, verify or check_every is out of
            range.

    References:
        Wu & Simon, *Thick-restart Lanczos method for large symmetric eigenvalue problems*, SIAM J.
        Matrix Anal. Appl. 22 (2000), section 3. Parlett, *The Symmetric Eigenvalue Problem* (1998),
        section 6.9 (twice is enough). The chains and the joint check are this module's own.
    """
    require_operator(operator)
    p, dtype = operator.dimension, operator.dtype
    check_request(operator, key, k, max_products, tol, start=start, start_shape=(p,))
    check_choice("choice of eigenvalues", which, Which)
    check_choice("way to verify", verify, Verify)
    require_whole("check_every", check_every)
    if check_every < 1:
        raise UserError(f"check_every is {check_every}; choose check_every >= 1")
    least = min(k + 2, p)
    if subspace is None:
        subspace = max(40, 3 * k, least)
    require_whole("subspace", subspace)
    if subspace < least:
        raise UserError(
            f"subspace is {subspace}, too few vectors for k = {k} eigenpairs; "
            f"choose subspace >= {least}"
        )
    if start is not None:
        start = jnp.asarray(start, dtype)
    m = max(min(subspace, p, max_products), least)
    # What locked pairs lack adds to the residuals of those found after them.
    tolerance = jnp.asarray(0.9 * tol / (math.sqrt(k + 1) if copies else 1), dtype)
    rounding = 50 * float(jnp.finfo(dtype).eps)

    def step(held: tuple[State, Ritz]) -> tuple[State, Ritz]:
        state, ritz = held
        j, count = state.size, state.size + 1
        begins = j == state.locked
        if start is not None:
            begins = begins & (state.chain > 0)
        vector = jax.lax.cond(
            begins,
            lambda: random_direction(jax.random.fold_in(key, state.chain), state.basis, j),
            lambda: state.vector,
        )
        basis, rest, alpha, beta, length = expand(operator, state.basis, vector, j)
        scale = jnp.maximum(state.scale, length)
        chain_scale = jnp.maximum(state.chain_scale, length)
        failed = ~(jnp.isfinite(scale) & jnp.isfinite(beta))
        # A coupling that is rounding, or so weak that all pairs of the chain are found.
        negligible = jnp.maximum(0.05 * tol * chain_scale, rounding * scale)
        broken = (beta <= negligible) | (count == p)
        beta = jnp.where(broken | failed, jnp.zeros_like(beta), beta)
        alpha = jnp.where(failed, jnp.zeros_like(alpha), alpha)
        row = state.couplings.at[j].set(alpha)
        matrix = state.matrix.at[j, :].set(row).at[:, j].set(row)
        state = state._replace(
            vector=rest / jnp.where(beta > 0, beta, jnp.ones_like(beta)),
            basis=basis,
            matrix=matrix,
            couplings=jnp.zeros_like(row).at[j].set(beta),
            size=count,
            products=state.products + 1,
            scale=scale,
            chain_scale=chain_scale,
            failed=failed,
            lock=broken,
        )
        due = state.products % check_every == 0
        ask = due | broken | (count == m) | (state.products == max_products)

        def look() -> tuple[jax.Array, jax.Array, jax.Array, Ritz]:
            ritz = rayleigh_ritz(state, which)
            verdict = judge(
                ritz,
                state,
                k=k,
                tolerance=tolerance,
                copies=copies,
                trust_first=start is None,
                complete=count == p,
            )
            so_far = state.largest, state.settled, state.lock
            return *jax.tree.map(partial(jnp.where, count >= k), verdict, so_far), ritz

        largest, settled, lock, ritz = jax.lax.cond(
            ask & ~failed, look, lambda: (state.largest, state.settled, state.lock, ritz)
        )
        return state._replace(largest=largest, settled=settled, lock=lock), ritz

    def unfinished(state: State) -> jax.Array:
        return (state.products < max_products) & ~state.settled & ~state.failed

    def cycle(state: State) -> State:
        # The last step of a cycle has looked at its pairs: they are not computed, or compiled, again.
        state, ritz = jax.lax.while_loop(
            lambda held: unfinished(held[0]) & (held[0].size < m) & ~held[0].lock,
            step,
            (state, no_pairs(m, dtype)),
        )
        return _restart(
            ritz,
            state,
            k=k,
            allowed=tolerance * state.largest,
            stay=unfinished(state) & ~state.lock,
        )

    zero, count = jnp.zeros((), dtype), jnp.int32(0)
    basis = jnp.zeros((padded(m), p), dtype)
    no, row = jnp.bool_(False), jnp.zeros((m,), dtype)
    state = jax.lax.while_loop(
        unfinished,
        cycle,
        State(
            vector=basis[0] if start is None else start / norm(start),
            basis=basis,
            matrix=jnp.zeros((m, m), dtype),
            couplings=row,
            errors=row,
            size=count,
            locked=count,
            chain=count,
            products=count,
            scale=zero,
            chain_scale=zero,
            largest=zero,
            settled=no,
            lock=no,
            failed=no,
        ),
    )
    if verify == "each":
        values, vectors, residuals = recompute(operator, state.basis[:k])
        checks = k
    else:
        signs = jax.random.rademacher(jax.random.fold_in(key, max_products + 1), (k,), dtype)
        values, vectors, residuals = _check_together(operator, state, signs)
        checks = 1
    return finished(
        values,
        vectors,
        residuals,
        products=state.products + checks,
        settled=state.settled,
        allowed=tol * state.largest,
        bad=state.failed | ~jnp.all(jnp.isfinite(residuals)),
    )


def _restart(ritz: Ritz, state: State, *, k: int, allowed: jax.Array, stay: jax.Array) -> State:
    """Replace the basis by its best vectors.

    Args:
        ritz: All pairs.
        state: Whose basis is full, or whose chain or search has ended.
        k: How many pairs are wanted.
        allowed: Residual at which a pair is good.
        stay: The chain goes on: keep what is locked, and of the chain the best, a third of all or,
            where that is more, k and one for each good one (up to half of the others), so that the
            search does not narrow as pairs converge. Otherwise keep the k best of all and lock
            them.

    Returns:
        The state, with zeros in the rest of the basis.
    """
    m = ritz.values.shape[0]
    index = jnp.arange(m, dtype=jnp.int32)
    length = state.size - state.locked
    good = jnp.sum(ritz.residuals[jax.lax.top_k(ritz.score, k)[1]] <= allowed, dtype=jnp.int32)
    spare = jnp.minimum(good, jnp.maximum(length - k, 0) // 2)
    more = jnp.maximum(k + spare, length // 3)
    more = state.locked + jnp.clip(more, 1, jnp.maximum(length - 1, 1))
    kept = jnp.where(stay, more, jnp.minimum(state.size, k)).astype(jnp.int32)
    is_locked = ~ritz.in_chain & (ritz.score > -jnp.inf)
    order = jnp.argsort(-jnp.where(stay & is_locked, jnp.inf, ritz.score), stable=True)
    alive = index < kept

    def take(values: jax.Array) -> jax.Array:
        return jnp.where(alive, values[order], jnp.zeros_like(values))

    weights = jnp.where(alive[None, :], ritz.weights[:, order], jnp.zeros_like(ritz.weights))
    beta = state.couplings[jnp.maximum(state.size - 1, 0)]
    last = jnp.take(ritz.weights, jnp.maximum(state.size - 1, 0), axis=0)
    couplings = take(jnp.where(ritz.in_chain, beta * last, jnp.zeros_like(last)))
    return state._replace(
        basis=_rotate(state.basis, weights),
        matrix=jnp.diag(take(ritz.values)),
        couplings=couplings,
        errors=take(ritz.residuals),
        size=kept,
        locked=jnp.where(stay, state.locked, kept),
        chain=jnp.where(stay, state.chain, state.chain + 1),
        chain_scale=jnp.where(stay, state.chain_scale, jnp.zeros_like(state.chain_scale)),
        lock=jnp.bool_(False),
    )


def _rotate(basis: jax.Array, weights: jax.Array) -> jax.Array:
    """Return ``weights.T @ basis`` in the basis' own memory, some columns at a time.

    Args:
        basis: Shape (rows, p).
        weights: Shape (m, m), m <= rows; the rows after m are zero.
    """
    rows, p = basis.shape
    spare = rows - weights.shape[0]
    mixing = jnp.pad(weights, ((0, spare), (0, spare))).T

    def rotate(basis: jax.Array, first: jax.Array, width: int) -> jax.Array:
        columns = jax.lax.dynamic_slice_in_dim(basis, first, width, axis=1)
        columns = jnp.matmul(mixing, columns, precision=jax.lax.Precision.HIGHEST)
        return jax.lax.dynamic_update_slice_in_dim(basis, columns, first, axis=1)

    whole, remainder = divmod(p, _COLUMNS)
    if whole:
        basis = jax.lax.fori_loop(
            0, whole, lambda step, basis: rotate(basis, step * _COLUMNS, _COLUMNS), basis
        )
    return rotate(basis, jnp.int32(whole * _COLUMNS), remainder) if remainder else basis


def _check_together(
    operator: LinearOperator, state: State, signs: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return Ritz values, vectors, and residuals that a product with their sum has confirmed.

    The process says ``C y_i = theta_i y_i + b_i v`` for the k pairs, v being the next vector.
    """
    highest = jax.lax.Precision.HIGHEST
    k = signs.shape[0]
    vectors = state.basis[:k]
    values = jnp.diagonal(state.matrix)[:k]
    couplings = state.couplings[:k]
    image = operator.product(jnp.matmul(signs, vectors, precision=highest))
    said = jnp.matmul(signs * values, vectors, precision=highest)
    said = said + jnp.sum(signs * couplings) * state.vector
    return values, vectors, state.errors[:k] + norm(image - said)
