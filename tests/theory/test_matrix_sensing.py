"""Matrices of least nuclear norm against their dual, linear programmes, closed forms and cvxpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize_scalar

from implicit_bias import theory
from implicit_bias.errors import UserError


def certified(found: theory.NuclearMinimum, measurements: np.ndarray, values: np.ndarray) -> None:
    """Check the certificate by itself: feasible, in the span, and as large as the norm."""
    rows = measurements.reshape(len(measurements), -1)
    np.testing.assert_allclose(rows @ found.matrix.ravel(), values, atol=1e-9)
    assert np.linalg.norm(found.certificate, 2) <= 1 + 1e-12
    nu = np.linalg.lstsq(rows.T, found.certificate.ravel(), rcond=None)[0]
    np.testing.assert_allclose(rows.T @ nu, found.certificate.ravel(), atol=1e-8)
    norm = np.linalg.norm(found.matrix, "nuc")
    assert norm - values @ nu <= 1e-8 * norm


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 5))
def test_duality_gap_is_closed(seed: int, rows: int, columns: int) -> None:
    # Breaks if a threshold, a projection or the certificate's scale is wrong, for matrices that are
    # not square.
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, rows * columns))
    measurements = rng.standard_normal((count, rows, columns))
    values = rng.standard_normal(count)
    certified(theory.nuclear_minimum(measurements, values), measurements, values)


def test_known_minima() -> None:
    rng = np.random.default_rng(0)
    # Full data WX = Y: YX⁺ is of least nuclear norm.
    x, y = rng.standard_normal((4, 2)), rng.standard_normal((3, 2))
    measurements = np.einsum("kl,de->keld", np.eye(3), x).reshape(-1, 3, 4)
    found = theory.nuclear_minimum(measurements, y.ravel())
    np.testing.assert_allclose(found.matrix, y @ np.linalg.pinv(x), atol=1e-6)
    # One entry of four unseen: by search over that entry.
    seen = np.eye(4)[[0, 1, 2]].reshape(-1, 2, 2)
    values = np.array([1.0, 0.4, -0.7])
    best = minimize_scalar(
        lambda z: np.linalg.norm([[1.0, 0.4], [-0.7, z]], "nuc"), bounds=(-5, 5), method="bounded",
        options={"xatol": 1e-12},
    )  # fmt: skip
    assert theory.nuclear_minimum(seen, values).norm == pytest.approx(best.fun, rel=1e-8)
    # Diagonal measurements: a linear programme.
    a = rng.standard_normal((3, 6))
    b = a @ rng.standard_normal(6)
    least = linprog(np.ones(12), A_eq=np.hstack([a, -a]), b_eq=b)
    diagonal = np.einsum("mi,ij->mij", a, np.eye(6))
    assert theory.nuclear_minimum(diagonal, b).norm == pytest.approx(least.fun, rel=1e-7)
    assert theory.nuclear_minimum(diagonal, np.zeros(3)).norm == 0


def test_against_cvxpy() -> None:
    # A solver that shares nothing with ours.
    cp = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(2)
    truth = theory.low_rank(rng, 5, 5, 1)
    places = rng.permutation(25)[:14]
    seen = np.eye(25)[places].reshape(-1, 5, 5)
    w = cp.Variable((5, 5))
    problem = cp.Problem(
        cp.Minimize(cp.normNuc(w)),
        [w[int(p) // 5, int(p) % 5] == truth.ravel()[p] for p in places],
    )
    problem.solve(solver=cp.CLARABEL)
    found = theory.nuclear_minimum(seen, truth.ravel()[places])
    assert found.norm == pytest.approx(problem.value, rel=1e-6)


def test_truth_of_known_rank() -> None:
    found = theory.low_rank(np.random.default_rng(3), 6, 4, 2)
    s = np.linalg.svd(found, compute_uv=False)
    assert s[0] == pytest.approx(1)
    assert s[1] > 1e-3
    assert s[2] < 1e-12


def test_bound_of_the_unseen_entry() -> None:
    # Against the least |W₁₁| of random matrices with det W > 0 at their loss; and 1/√(2 loss) in the
    # limit.
    rng = np.random.default_rng(4)
    entries = np.array([[0.0, 1.0], [1.0, 0.0]])
    off = 0.2 * rng.standard_normal((4000, 2, 2))
    w = entries + off
    w[:, 0, 0] = rng.uniform(-30, 30, 4000)
    loss = 0.5 * (off[:, 0, 1] ** 2 + off[:, 1, 0] ** 2 + off[:, 1, 1] ** 2)
    kept = np.linalg.det(w) > 0
    bound = theory.unseen_entry_bound(loss[kept])
    assert (np.abs(w[kept, 0, 0]) >= bound).all()
    assert (bound > 1).any()
    assert theory.unseen_entry_bound(1e-12) * np.sqrt(2e-12) == pytest.approx(1, rel=1e-5)
    assert theory.unseen_entry_bound(2.0) == 0


def test_refusals() -> None:
    with pytest.raises(
        UserError, match=r"rank is 5, above the dimension of a 4 × 6 matrix; choose at most 4"
    ):
        theory.low_rank(np.random.default_rng(0), 4, 6, 5)
    twice = np.ones((2, 1, 1))
    with pytest.raises(
        UserError, match="no matrix meets all 2 constraints, of which 1 are independent"
    ):
        theory.nuclear_minimum(twice, [1.0, 2.0])
    with pytest.raises(UserError, match=r"give \(m, k, d\) and \(m,\)"):
        theory.nuclear_minimum(np.ones((2, 3)), [1.0, 2.0])
