"""Many extreme eigenpairs in the memory of a few vectors: Lanczos with thick restarts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from implicit_bias.curvature.eigenpairs import Eigenpairs, check_request, inner, norm
from implicit_bias.curvature.lanczos import BLOCK, Which, orthogonalise
from implicit_bias.curvature.operators import LinearOperator
from implicit_bias.errors import UserError, unknown

Verify = Literal["each", "together"]

_COLUMNS = 8192  # of the basis, rotated at once: in place, and near a core
_CONVINCING = 0.1  # residual, relative to a chain's own scale, from which its best value is trusted
_WORK = 11  # vectors held beside the basis and the result: mostly a block of the basis


class _State(NamedTuple):
    """What the loops carry.

    The rows of the basis are, in this order: locked vectors (of earlier chains), Ritz vectors kept
    at the last restart, Lanczos vectors. The latter two belong to the current chain. ``matrix`` is
    the operator's projection on the basis; no entry couples a locked row with another.
    """

    vector: jax.Array  # (p,) to be multiplied next, unless a chain begins
    basis: jax.Array  # (rows, p): orthonormal rows, then zeros
    matrix: jax.Array  # (m, m), symmetric
    couplings: jax.Array  # (m,) of the rows with ``vector``
    errors: jax.Array  # (m,) residuals of the locked rows
    size: jax.Array  # rows of the basis that have been multiplied
    locked: jax.Array  # of them, those of earlier chains
    chain: jax.Array  # chains before this one
    products: jax.Array
    scale: jax.Array  # largest |C q| seen, at most the operator's norm
    chain_scale: jax.Array  # the same, in this chain
    largest: jax.Array  # largest absolute Ritz value of the last test
    settled: jax.Array  # nothing better is expected
    lock: jax.Array  # the chain has nothing more to give; begin another
    failed: jax.Array  # a number that is not finite turned up


class _Ritz(NamedTuple):
    """All pairs of the projected matrix, in no useful order."""

    values: jax.Array  # (m,)
    weights: jax.Array  # (m, m): column i holds pair i's coordinates in the basis
    residuals: jax.Array  # (m,)
    score: jax.Array  # (m,): higher is better, minus infinity where there is no pair
    in_chain: jax.Array  # (m,): not locked


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
    check_request(operator, k, max_products, tol)
    if which not in get_args(Which):
        raise unknown("choice of eigenvalues", which, get_args(Which))
    if verify not in get_args(Verify):
        raise unknown("way to verify", verify, get_args(Verify))
    if check_every < 1:
        raise UserError(f"check_every is {check_every}; choose check_every >= 1")
    p, dtype = operator.dimension, operator.dtype
    if start is not None and start.shape != (p,):
        raise UserError(f"start has shape {start.shape}; give shape ({p},)")
    least = min(k + 2, p)
    if subspace is None:
        subspace = max(40, 3 * k)
    elif subspace < least:
        raise UserError(
            f"subspace is {subspace}, too few vectors for k = {k} eigenpairs; "
            f"choose subspace >= {least}"
        )
    m = max(min(subspace, p, max_products), least)
    # What locked pairs lack adds to the residuals of those found after them.
    tolerance = jnp.asarray(0.9 * tol / (math.sqrt(k + 1) if copies else 1), dtype)
    rounding = 50 * float(jnp.finfo(dtype).eps)

    def ritz(state: _State) -> _Ritz:
        return _rayleigh_ritz(state, which)

    def fresh(basis: jax.Array, chain: jax.Array, size: jax.Array) -> jax.Array:
        vector = jax.random.normal(jax.random.fold_in(key, chain), (p,), dtype)
        vector = orthogonalise(basis, vector, size)
        return vector / norm(vector)

    def step(state: _State) -> _State:
        j, count = state.size, state.size + 1
        begins = j == state.locked
        if start is not None:
            begins = begins & (state.chain > 0)
        vector = jax.lax.cond(
            begins, lambda: fresh(state.basis, state.chain, j), lambda: state.vector
        )
        basis = jax.lax.dynamic_update_index_in_dim(state.basis, vector, j, 0)
        image = operator.product(vector)
        length = norm(image)
        scale = jnp.maximum(state.scale, length)
        chain_scale = jnp.maximum(state.chain_scale, length)
        alpha = inner(vector, image)
        rest = orthogonalise(basis, image, count)
        beta = norm(rest)
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
        largest, settled, lock = jax.lax.cond(
            ask & (count >= k) & ~failed,
            lambda: _judge(
                ritz(state),
                state,
                k=k,
                tolerance=tolerance,
                copies=copies,
                trust_first=start is None,
                complete=count == p,
            ),
            lambda: (state.largest, state.settled, state.lock),
        )
        return state._replace(largest=largest, settled=settled, lock=lock)

    def unfinished(state: _State) -> jax.Array:
        return (state.products < max_products) & ~state.settled & ~state.failed

    def cycle(state: _State) -> _State:
        state = jax.lax.while_loop(
            lambda state: unfinished(state) & (state.size < m) & ~state.lock, step, state
        )
        return _restart(
            ritz(state),
            state,
            k=k,
            allowed=tolerance * state.largest,
            stay=unfinished(state) & ~state.lock,
        )

    zero, count = jnp.zeros((), dtype), jnp.int32(0)
    basis = jnp.zeros((-(-m // BLOCK) * BLOCK, p), dtype)
    no, row = jnp.bool_(False), jnp.zeros((m,), dtype)
    state = jax.lax.while_loop(
        unfinished,
        cycle,
        _State(
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
    bad = state.failed | ~jnp.all(jnp.isfinite(residuals))
    nan = jnp.asarray(jnp.nan, dtype)
    return Eigenpairs(
        values=jnp.where(bad, nan, values),
        vectors=jnp.where(bad, nan, vectors),
        residuals=jnp.where(bad, nan, residuals),
        products=state.products + checks,
        converged=state.settled & ~bad & jnp.all(residuals <= tol * state.largest),
    )


def _rayleigh_ritz(state: _State, which: Which) -> _Ritz:
    """Find the pairs of the projected matrix: the chain's by ``eigh``, the locked as they are.

    They are kept apart because a locked value and its copy in the chain would otherwise be mixed,
    and nobody could tell which of them the chain has found.
    """
    matrix, size, locked = state.matrix, state.size, state.locked
    m = matrix.shape[0]
    index = jnp.arange(m, dtype=jnp.int32)
    chain = (index >= locked) & (index < size)
    nothing = jnp.zeros_like(matrix)
    matrix = jnp.where(chain[:, None] & chain[None, :], matrix, nothing)
    # Other rows get an eigenvalue above all of the chain (Gershgorin), so that its pairs come
    # first.
    reach = jnp.max(jnp.sum(jnp.abs(matrix), axis=1))
    above = jnp.where(reach > 0, 2 * reach, jnp.ones_like(reach))
    matrix = matrix + jnp.diag(jnp.where(chain, jnp.zeros_like(above), above))
    values, weights = jnp.linalg.eigh(matrix, symmetrize_input=False)

    in_chain = index < size - locked
    source = index - (size - locked)  # after the chain's pairs, the locked rows in their order
    there = jnp.clip(source, 0, m - 1)
    unit = (index[:, None] == source[None, :]).astype(matrix.dtype)
    weights = jnp.where(in_chain[None, :], weights, unit)
    values = jnp.where(in_chain, values, jnp.diagonal(state.matrix)[there])
    beta = state.couplings[jnp.maximum(size - 1, 0)]
    last = jnp.abs(jnp.take(weights, jnp.maximum(size - 1, 0), axis=0))
    residuals = jnp.where(in_chain, beta * last, state.errors[there])
    score = {"LA": values, "SA": -values, "LM": jnp.abs(values)}[which]
    return _Ritz(values, weights, residuals, jnp.where(index < size, score, -jnp.inf), in_chain)


def _judge(
    ritz: _Ritz,
    state: _State,
    *,
    k: int,
    tolerance: jax.Array,
    copies: bool,
    trust_first: bool,
    complete: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Say whether the search is over, or the chain.

    Args:
        ritz: All pairs.
        state: As of this product.
        k: How many pairs are wanted.
        tolerance: Largest residual accepted, relative to the largest absolute value.
        copies: Whether a first chain that did not break down needs another after it.
        trust_first: Whether the first chain started from a random vector, so that an invariant
            subspace holds the best eigenvalue.
        complete: The basis spans the whole space.

    Returns:
        Largest absolute Ritz value; whether nothing better is expected; whether to lock what there
        is and begin a new chain.
    """
    best, order = jax.lax.top_k(ritz.score, k)
    zeros = jnp.zeros_like(ritz.values)
    sizes = jnp.where(ritz.score > -jnp.inf, jnp.abs(ritz.values), zeros)
    largest = jnp.max(sizes)
    allowed = tolerance * largest
    wanted = jnp.all(ritz.residuals[order] <= allowed)

    # A later chain starts from a random vector orthogonal to what is locked, so its best value is
    # the best that was left out. It must be good on the chain's own scale: a random vector's
    # residual is small against the largest eigenvalue before anything is found.
    chain_score = jnp.where(ritz.in_chain, ritz.score, -jnp.inf)
    top = jnp.argmax(chain_score)
    chain_largest = jnp.max(jnp.where(ritz.in_chain, sizes, zeros))
    ended = state.lock
    first = state.chain == 0
    convincing = ended | (ritz.residuals[top] <= _CONVINCING * chain_largest)
    exhausted = convincing & (chain_score[top] + ritz.residuals[top] <= best[k - 1] + allowed)
    if not trust_first:
        exhausted = exhausted & ~first
    enough = exhausted | complete
    if not copies:
        enough = enough | (first & ~ended)
    contributed = chain_score[top] >= best[k - 1]
    return largest, wanted & enough, ended | (wanted & ~enough & convincing & contributed)


def _restart(ritz: _Ritz, state: _State, *, k: int, allowed: jax.Array, stay: jax.Array) -> _State:
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


def recompute(
    operator: LinearOperator, vectors: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return Rayleigh quotients, unit vectors and residuals, by one product with each vector."""

    def check(vector: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        vector = vector / norm(vector)
        image = operator.product(vector)
        value = inner(vector, image)
        return value, vector, norm(image - value * vector)

    return jax.lax.map(check, vectors)


def _check_together(
    operator: LinearOperator, state: _State, signs: jax.Array
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


@dataclass(frozen=True)
class SubspacePlan:
    """How eigenpairs are found within a memory budget.

    Attributes:
        subspace: Basis vectors to give to ``thick_restart_lanczos``.
        vector_bytes: Memory of one vector.
        memory_bytes: Memory of all vectors together: the basis, the result, and a few more. What
            the operator itself holds (data, activations) comes on top.
        restarts: Whether the basis is smaller than was wished for, so that the search restarts
            more often than it need.
    """

    subspace: int
    vector_bytes: int
    memory_bytes: int
    restarts: bool

    def __str__(self) -> str:
        """Return one line for a report."""
        how = "thick restarts" if self.restarts else "the whole basis asked for"
        return (
            f"{self.subspace} basis vectors of {self.vector_bytes / 1e6:.3g} MB, "
            f"{self.memory_bytes / 1e9:.3g} GB in all, {how}"
        )


def plan_subspace(
    dimension: int, k: int, memory_bytes: int, dtype: Any = jnp.float32, *, wish: int = 150
) -> SubspacePlan:
    """Say how many basis vectors fit in a memory budget.

    Args:
        dimension: Number of parameters p.
        k: How many eigenpairs are wanted.
        memory_bytes: What all vectors of the search may take together.
        dtype: Of the vectors.
        wish: How many basis vectors one would like; no more are planned.

    Returns:
        The plan.

    Raises:
        UserError: If the budget does not hold the three vectors of one product (the parameters, the
            vector, its image), or not the least that k pairs need; or k or wish is out of range.
    """
    if not 1 <= k <= dimension:
        raise UserError(
            f"k is {k}, but the operator has dimension {dimension}; choose 1 <= k <= {dimension}"
        )
    least = min(k + 2, dimension)
    wish = min(wish, dimension)
    if wish < least:
        raise UserError(
            f"wish is {wish}, too few vectors for k = {k} eigenpairs; choose wish >= {least}"
        )
    vector = dimension * jnp.dtype(dtype).itemsize
    if memory_bytes < 3 * vector:
        raise UserError(
            f"memory_bytes is {memory_bytes}, too small for one product in dimension {dimension}; "
            f"choose memory_bytes >= {3 * vector}"
        )

    others = k + max(k + 2, _WORK)  # the result, and during its verification a second copy

    def total(rows: int) -> int:
        return (-(-rows // BLOCK) * BLOCK + others) * vector

    if memory_bytes < total(least):
        raise UserError(
            f"memory_bytes is {memory_bytes}, too small for k = {k} eigenpairs in dimension "
            f"{dimension}; choose memory_bytes >= {total(least)}"
        )
    rows = (memory_bytes // vector - others) // BLOCK * BLOCK
    subspace = min(wish, rows)
    return SubspacePlan(subspace, vector, total(subspace), subspace < wish)
