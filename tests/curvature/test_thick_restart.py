"""Oracles: eigenvalues built into a matrix, NumPy's dense solver, SciPy's ARPACK."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implicit_bias.curvature.lanczos import lanczos
from implicit_bias.curvature.operators import LinearOperator, matrix_operator
from implicit_bias.curvature.thick_restart import plan_subspace, thick_restart_lanczos
from implicit_bias.errors import UserError

KEY = jax.random.key(3)
STATIC = ("k", "max_products", "subspace", "tol", "which", "copies", "verify", "check_every")


@functools.partial(jax.jit, static_argnames=STATIC)
def solve(matrix, start=None, **options):
    return thick_restart_lanczos(matrix_operator(matrix), KEY, start=start, **options)


@functools.partial(jax.jit, static_argnames=STATIC)
def solve_diagonal(diagonal, **options):
    operator = LinearOperator(lambda v: diagonal * v, diagonal.shape[0], diagonal.dtype)
    return thick_restart_lanczos(operator, KEY, **options)


def best(values: np.ndarray, k: int, which: str) -> np.ndarray:
    """Return the k best of given eigenvalues, written without our code."""
    order = {"LA": -values, "SA": values, "LM": -np.abs(values)}[which]
    return values[np.argsort(order, kind="stable")][:k]


def true_residuals(matrix: np.ndarray, found) -> np.ndarray:
    vectors = np.asarray(found.vectors, np.float64)
    images = vectors * matrix if matrix.ndim == 1 else vectors @ matrix
    return np.linalg.norm(images - np.asarray(found.values)[:, None] * vectors, axis=1)


@pytest.mark.parametrize(
    ("dtype", "which", "tol"),
    [
        ("float64", "LA", 1e-10),
        ("float64", "SA", 1e-10),
        ("float64", "LM", 1e-10),
        ("float32", "LA", 1e-5),
    ],
)
def test_prescribed_spectrum_with_restarts(spectrum, with_spectrum, which, dtype, tol):
    # Broken by: a coupling lost or misplaced at a restart, a locked pair met again or lost, copies
    # missed after a breakdown, 'LM' for 'LA', a stale row, residuals that are only estimates.
    matrix = with_spectrum(spectrum).astype(dtype)
    found = solve(jnp.asarray(matrix), k=3, subspace=8, tol=tol, which=which)
    scale, eps = np.max(np.abs(spectrum)), np.finfo(dtype).eps
    np.testing.assert_allclose(found.values, best(spectrum, 3, which), atol=tol * scale)
    assert found.values.dtype == found.vectors.dtype == found.residuals.dtype == dtype
    vectors = np.asarray(found.vectors)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=30 * eps)
    recomputed = true_residuals(matrix, found)
    np.testing.assert_allclose(found.residuals, recomputed, atol=20 * eps * scale)
    assert np.all(recomputed <= 1.01 * tol * scale + 1e-30)
    assert bool(found.converged)


@pytest.mark.parametrize(("which", "subspace"), [("LA", 8), ("SA", 24)])
def test_condition_of_1e8(with_spectrum, which, subspace):
    # Broken by: rounding that grows over restarts; orthogonality lost while the large end converges
    # and the small one, some 1e-8 apart, does not (it takes the whole space).
    values = np.logspace(-8, 0, 24)
    matrix = with_spectrum(values)
    found = solve(jnp.asarray(matrix), k=3, subspace=subspace, tol=1e-10, which=which)
    assert bool(found.converged)
    np.testing.assert_allclose(found.values, best(values, 3, which), atol=1e-14)
    assert np.all(true_residuals(matrix, found) <= np.asarray(found.residuals) + 1e-15)


def test_first_cycle_is_lanczos(with_spectrum):
    # Broken by: a process, or a stop, that differs from the one with a basis of full size.
    matrix = jnp.asarray(with_spectrum(np.linspace(0, 1, 24) ** 4))
    one = jax.jit(lambda matrix: lanczos(matrix_operator(matrix), KEY, k=2, tol=1e-4))(matrix)
    two = solve(matrix, k=2, subspace=23, tol=1e-4)
    assert int(one.products) == int(two.products)
    np.testing.assert_allclose(two.values, one.values, rtol=1e-12)
    np.testing.assert_allclose(two.residuals, one.residuals, atol=1e-12)


def hard_spectrum(p: int) -> np.ndarray:
    """Outliers close to a bulk, as the Hessian of a trained network has them."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.uniform(-0.2, 1, p - 5), [1.1, 1.15, 1.3, 1.5, 2]])


def test_no_more_products_than_arpack_at_equal_residual():
    # Broken by: a poor choice of what a restart keeps, or testing only when the basis is full.
    from scipy.sparse.linalg import LinearOperator as ScipyOperator
    from scipy.sparse.linalg import eigsh

    diagonal = hard_spectrum(1500)
    found = solve_diagonal(jnp.asarray(diagonal), k=5, subspace=20, tol=1e-6, verify="together")
    ours = true_residuals(diagonal, found)
    counted = [0]

    def product(vector):
        counted[0] += 1
        return diagonal * vector.ravel()

    operator = ScipyOperator((1500, 1500), matvec=product, dtype=float)
    start = np.random.default_rng(1).normal(size=1500)
    for tol in (1e-4, 1e-5, 1e-6, 1e-7, 1e-8):  # ARPACK's loosest that is as good as ours
        counted[0] = 0
        values, vectors = eigsh(operator, k=5, which="LA", ncv=20, tol=tol, v0=start)
        theirs = np.linalg.norm(diagonal[:, None] * vectors - vectors * values, axis=0)
        if theirs.max() <= ours.max():
            break
    assert bool(found.converged)
    assert int(found.products) <= counted[0]
    np.testing.assert_allclose(found.values, np.sort(values)[::-1], atol=1e-9)


def test_vectors_are_as_good_as_values():
    # Broken by: vectors of another basis, or mixed by a cluster that the values do not show.
    rng = np.random.default_rng(8)
    matrix = rng.normal(size=(150, 150))
    matrix = (matrix + matrix.T) / 2
    values, vectors = np.linalg.eigh(matrix)
    found = solve(jnp.asarray(matrix), k=4, subspace=14, tol=1e-8)
    np.testing.assert_allclose(found.values, values[::-1][:4], rtol=1e-12)
    cosines = np.abs(np.sum(np.asarray(found.vectors) * vectors.T[::-1][:4], axis=1))
    gaps = np.minimum(-np.diff(values[::-1])[:4], np.append(np.inf, -np.diff(values[::-1])[:3]))
    sines = np.asarray(found.residuals) / gaps  # Davis & Kahan
    assert np.all(1 - cosines**2 <= 1.1 * sines**2 + 1e-14)


def test_fifty_pairs():
    # Broken by: a basis too small for what is kept, padded rows counted as pairs.
    diagonal = np.concatenate([0.01 * np.linspace(-1, 1, 340), 1 + 0.2 * np.arange(60)])
    found = solve_diagonal(jnp.asarray(diagonal), k=50, subspace=104, tol=1e-7)
    np.testing.assert_allclose(found.values, np.sort(diagonal)[::-1][:50], rtol=1e-10)
    assert bool(found.converged)


COPIES = {"k": 3, "subspace": 24, "tol": 1e-3}  # a tolerance met before rounding brings copies in


@pytest.mark.parametrize("multiplicity", [2, 4])
def test_copies_of_an_eigenvalue(multiplicity):
    # Broken by: trusting one start vector where the caller asked not to; a chain's first small
    # residual taken for the end; or, without the request, paying for a second chain.
    bulk = np.random.default_rng(0).uniform(-0.1, 0.5, 598 - multiplicity)
    diagonal = np.concatenate([bulk, [2.5, 3.0], np.full(multiplicity, 4)])
    every = solve_diagonal(jnp.asarray(diagonal), copies=True, **COPIES)
    np.testing.assert_allclose(every.values, np.sort(diagonal)[::-1][:3], atol=1e-4)
    np.testing.assert_allclose(every.vectors @ every.vectors.T, np.eye(3), atol=1e-13)
    assert bool(every.converged)
    single = solve_diagonal(jnp.asarray(diagonal), **COPIES)
    np.testing.assert_allclose(single.values, [4, 3, 2.5], atol=1e-4)
    assert int(single.products) < int(every.products)


def test_copies_where_there_are_none():
    # Broken by: chains without end.
    found = solve_diagonal(jnp.asarray(hard_spectrum(600)), copies=True, **COPIES)
    np.testing.assert_allclose(found.values, [2, 1.5, 1.3], atol=1e-4)
    assert bool(found.converged)
    assert int(found.products) < 100


TOGETHER = {"k": 4, "subspace": 12, "tol": 1e-5}


def test_verified_together(with_spectrum):
    # Broken by: a next vector or couplings that are not those of the result; a bound that leaves
    # out rounding (nearly all of the discrepancy here is rounding).
    matrix = with_spectrum(hard_spectrum(60)).astype(np.float32)
    each = solve(jnp.asarray(matrix), **TOGETHER)
    together = solve(jnp.asarray(matrix), verify="together", **TOGETHER)
    eps = np.finfo(np.float32).eps
    assert int(each.products) - int(together.products) == 3
    np.testing.assert_allclose(together.values, each.values, rtol=100 * eps)
    true = true_residuals(matrix.astype(np.float64), together)
    assert np.all(true <= np.asarray(together.residuals))
    assert np.all(np.asarray(together.residuals) <= true + 100 * eps)
    assert bool(together.converged)


def test_verification_notices_what_the_process_does_not():
    # Broken by: a check that repeats the process's own arithmetic. An operator that is not
    # symmetric has residuals that the symmetric process does not see.
    matrix = np.diag(np.linspace(0, 1, 60)) + 0.05 * np.tri(60, k=-1)
    for verify in ({}, {"verify": "together"}):
        found = solve(jnp.asarray(matrix, jnp.float32), **TOGETHER, **verify)
        assert not bool(found.converged)
        assert np.max(found.residuals) > 1e-4


def test_budget_spent_is_not_convergence():
    # Broken by: reporting converged because the loop ended; a restart in place of the result.
    matrix = jnp.asarray(np.diag(np.linspace(0, 1, 200)))
    found = solve(matrix, k=2, max_products=9, subspace=4, tol=1e-8)
    assert not bool(found.converged)
    assert int(found.products) == 9 + 2
    assert np.all(np.asarray(found.residuals) > 1e-8)
    vectors = np.asarray(found.vectors)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(2), atol=1e-13)


@pytest.mark.parametrize("members", [(0, 1), (4,), (23,)])
def test_start_in_an_invariant_subspace(with_spectrum, members):
    # Broken by: trusting the subspace that a given start happens to span.
    values = np.linspace(-3, 4, 24)
    matrix = with_spectrum(values)
    vectors = np.linalg.eigh(matrix)[1]
    start = vectors[:, list(members)].sum(axis=1) / len(members)
    found = solve(jnp.asarray(matrix), jnp.asarray(start), k=2, subspace=9, tol=1e-9)
    np.testing.assert_allclose(found.values, [4, values[-2]], atol=1e-9)
    assert bool(found.converged)


def test_warm_start_saves_products(with_spectrum):
    # Broken by: a start that is ignored. The operator has moved a little since the vectors' time.
    values = np.linspace(-3, 4, 24) ** 3
    before, after = with_spectrum(values), with_spectrum(values) + 1e-7 * with_spectrum(values, 1)
    near = np.linalg.eigh(before)[1][:, -2:].sum(axis=1)
    far = np.random.default_rng(0).normal(size=24)
    options = {"k": 2, "subspace": 9, "tol": 1e-9}
    warm, cold = (solve(jnp.asarray(after), jnp.asarray(v), **options) for v in (near, far))
    assert bool(warm.converged)
    assert int(warm.products) < int(cold.products)
    np.testing.assert_allclose(warm.values, np.linalg.eigvalsh(after)[::-1][:2], atol=1e-9)


def test_dimension_below_the_basis():
    # Broken by: indexing past the space, or a residual at full dimension that is not zero.
    values = np.arange(9) - 2.0
    found = solve(jnp.asarray(np.diag(values)), k=9, tol=1e-9)
    np.testing.assert_allclose(found.values, values[::-1], atol=1e-12)
    assert bool(found.converged)
    assert int(found.products) == 2 * 9


def test_tests_less_often_find_the_same(with_spectrum):
    # Broken by: a missed test at a full basis, at a breakdown, or at the end of the budget.
    matrix = jnp.asarray(with_spectrum(np.linspace(0, 1, 24) ** 4))
    often = solve(matrix, k=2, subspace=9)
    seldom = solve(matrix, k=2, subspace=9, check_every=5)
    np.testing.assert_allclose(seldom.values, often.values, atol=1e-5)
    assert bool(seldom.converged)
    assert 0 <= int(seldom.products) - int(often.products) < 9


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite(bad):
    # Broken by: iterating on NaN until the budget is spent, or reporting zeros.
    matrix = np.eye(24)
    matrix[3, 3] = bad
    found = solve(jnp.asarray(matrix), k=2, subspace=9)
    assert not bool(found.converged)
    assert np.all(np.isnan(found.values))
    assert np.all(np.isnan(found.vectors))
    assert np.all(np.isnan(found.residuals))
    assert int(found.products) <= 1 + 2


def test_lanes_do_not_meet(with_spectrum):
    # Broken by: a lane's stop, restart, breakdown or NaN reaching another, under map or vmap.
    stack = np.stack(
        [
            with_spectrum(np.linspace(0, 1, 24)),
            np.full((24, 24), np.nan),
            2 * np.eye(24),
            with_spectrum(np.concatenate([np.zeros(22), [1, 7]])),
        ]
    )

    def lane(matrix):
        return thick_restart_lanczos(matrix_operator(matrix), KEY, k=2, subspace=9)

    mapped = jax.jit(lambda stack: jax.lax.map(lane, stack))(jnp.asarray(stack))
    batched = jax.jit(jax.vmap(lane))(jnp.asarray(stack))
    for index in (0, 2, 3):
        alone = solve(jnp.asarray(stack[index]), k=2, subspace=9)
        assert int(mapped.products[index]) == int(alone.products)
        for many in (mapped, batched):
            np.testing.assert_allclose(many.values[index], alone.values, atol=1e-6)
            assert bool(many.converged[index])
    for many in (mapped, batched):
        assert not bool(many.converged[1])
        assert np.all(np.isnan(many.values[1]))


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(-10, 10, width=32), min_size=12, max_size=12),
    seed=st.integers(0, 2**31 - 1),
)
def test_properties(values, seed):
    # Broken by: a state that only unusual spectra reach (zeros, copies, one outlier, tiny numbers).
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(12, 12)))[0]
    matrix = (basis * np.asarray(values)) @ basis.T
    matrix = (matrix + matrix.T) / 2
    exact, scale = np.linalg.eigvalsh(matrix), np.max(np.abs(values))
    found = solve(jnp.asarray(matrix), k=3, subspace=6, tol=1e-6, max_products=3000)
    assert bool(found.converged)
    vectors = np.asarray(found.vectors)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=1e-12)
    residuals = true_residuals(matrix, found)
    np.testing.assert_allclose(found.residuals, residuals, atol=1e-14 * (1 + scale))
    assert np.all(residuals <= 1e-6 * scale * 1.01 + 1e-300)
    nearest = np.min(np.abs(np.asarray(found.values)[:, None] - exact[None, :]), axis=1)
    assert np.all(nearest <= residuals + 1e-13 * (1 + scale))
    assert abs(float(found.values[0]) - exact[-1]) <= 1e-5 * scale + 1e-300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 4}, "k is 4, but the operator has dimension 3"),
        ({"k": 3, "max_products": 2}, "max_products is 2"),
        ({"subspace": 2}, "subspace is 2, too few vectors for k = 1"),
        ({"tol": 0.0}, "tol is 0.0"),
        ({"which": "LR"}, "unknown choice of eigenvalues 'LR'"),
        ({"verify": "none"}, "unknown way to verify 'none'"),
        ({"check_every": 0}, "check_every is 0"),
        ({"start": jnp.ones(2)}, "start has shape (2,)"),
    ],
)
def test_bad_requests(arguments, message):
    # Broken by: a check that is missing, so that the user meets an error of JAX instead.
    with pytest.raises(UserError) as caught:
        thick_restart_lanczos(matrix_operator(jnp.eye(3)), KEY, **arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_memory_is_what_the_plan_says():
    # Broken by: a basis copied by a restart or a branch, in the compiled program itself.
    p, k, budget = 200_000, 10, 40_000_000
    plan = plan_subspace(p, k, budget)
    assert plan.restarts
    assert plan.memory_bytes <= budget < plan.memory_bytes + 8 * plan.vector_bytes

    def search(diagonal):
        operator = LinearOperator(lambda v: diagonal * v, p, diagonal.dtype)
        return thick_restart_lanczos(operator, KEY, k=k, subspace=plan.subspace)

    compiled = jax.jit(search).lower(jax.ShapeDtypeStruct((p,), jnp.float32)).compile()
    memory = compiled.memory_analysis()
    assert memory.temp_size_in_bytes + memory.output_size_in_bytes <= plan.memory_bytes


def test_plan_for_eleven_million_parameters():
    # Broken by: a plan in other units, or one that forgets the result. 150 vectors are 6.7 GB.
    roomy = plan_subspace(11_200_000, 50, 12_000_000_000)
    tight = plan_subspace(11_200_000, 10, 2_000_000_000)
    assert (roomy.subspace, roomy.restarts) == (150, False)
    assert (tight.subspace, tight.restarts) == (16, True)
    assert tight.memory_bytes <= 2_000_000_000
    assert "16 basis vectors of 44.8 MB" in str(tight)
    assert "thick restarts" in str(tight)
    assert plan_subspace(11_200_000, 10, 2_000_000_000, jnp.bfloat16).subspace > 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1000, 5, 11_999), "too small for one product in dimension 1000"),
        ((1000, 5, 50_000), "too small for k = 5 eigenpairs"),
        ((1000, 0, 10**9), "k is 0"),
        ((1000, 1001, 10**9), "choose 1 <= k <= 1000"),
    ],
)
def test_plans_that_are_refused(arguments, message):
    # Broken by: a budget that fails later, inside a compiled program.
    with pytest.raises(UserError) as caught:
        plan_subspace(*arguments)
    assert message in str(caught.value)
    with pytest.raises(UserError, match="wish is 5"):
        plan_subspace(1000, 5, 10**9, wish=5)
