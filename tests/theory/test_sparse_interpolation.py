"""Sparse and flat interpolators against certificates of duality, scikit-learn and, where installed, CVXPY."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Lasso

from implicit_bias import theory
from implicit_bias.errors import UserError


def problem(seed: int, m: int = 8, n: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((m, n))
    return x, x @ np.abs(rng.standard_normal(n))


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_least_1_norm_is_certified_by_its_dual(seed: int, nonnegative: bool) -> None:
    # Breaks if the solution is not least: any ν with Xᵀν ≤ 1 bounds the norm from below by y·ν.
    x, y = problem(seed)
    found = theory.least_l1(x, y, nonnegative=nonnegative)
    np.testing.assert_allclose(x @ found.weights, y, atol=1e-9)
    along = found.multipliers @ x
    assert (along if nonnegative else np.abs(along)).max() <= 1 + 1e-9
    assert found.norm == pytest.approx(found.multipliers @ y, rel=1e-9)
    assert found.support.sum() <= 8
    assert not nonnegative or found.weights.min() >= 0
    assert found.least_cost > 0
    null = np.linalg.svd(x)[2][8:]
    other = found.weights + 0.1 * null[0]
    expected = np.abs(other).sum() - found.norm
    if not nonnegative:
        assert theory.l1_excess(other, x, found) == pytest.approx(expected, rel=1e-8)
    assert theory.l1_excess(found.weights, x, found) == pytest.approx(0, abs=1e-12)


def test_least_maximum_norm_is_certified_by_its_dual() -> None:
    # Breaks if a bound is one-sided. At most m − 1 weights lie inside the cube, and min ‖w‖∞ = max y·ν over
    # ‖Xᵀν‖₁ ≤ 1, here by SciPy.
    from scipy.optimize import linprog

    x, y = problem(3)
    w, norm = theory.least_linf(x, y)
    np.testing.assert_allclose(x @ w, y, atol=1e-9)
    assert np.abs(w).max() == pytest.approx(norm)
    assert (np.abs(w) < norm * (1 - 1e-9)).sum() <= 7
    m, n = x.shape
    dual = linprog(
        np.concatenate([-y, np.zeros(n)]),
        A_ub=np.block([[x.T, -np.eye(n)], [-x.T, -np.eye(n)], [np.zeros((1, m)), np.ones((1, n))]]),
        b_ub=np.append(np.zeros(2 * n), 1.0), bounds=[(None, None)] * m + [(0, None)] * n,
    )  # fmt: skip
    assert -dual.fun == pytest.approx(norm, rel=1e-8)


def test_cvxpy_agrees() -> None:
    # Breaks if a programme is another one than it says.
    cvxpy = pytest.importorskip("cvxpy")
    x, y = problem(5)
    for norm, found in (
        (cvxpy.norm1, theory.least_l1(x, y).norm),
        (cvxpy.norm_inf, theory.least_linf(x, y)[1]),
    ):
        w = cvxpy.Variable(20)
        value = cvxpy.Problem(cvxpy.Minimize(norm(w)), [x @ w == y]).solve(solver=cvxpy.CLARABEL)
        assert found == pytest.approx(value, rel=1e-6)
    w = cvxpy.Variable(20, nonneg=True)
    entropy = cvxpy.sum(cvxpy.entr(w))
    cvxpy.Problem(cvxpy.Maximize(entropy), [x @ w == y]).solve(solver=cvxpy.CLARABEL)
    highest = theory.bregman_projection(x, y, np.exp(-1.0), theory.entropy_potential()).weights
    np.testing.assert_allclose(highest, w.value, atol=1e-4)
    w = cvxpy.Variable(20)
    cvxpy.Problem(cvxpy.Minimize(cvxpy.pnorm(w, 1.5)), [x @ w == y]).solve(solver=cvxpy.CLARABEL)
    least = theory.bregman_projection(x, y, 0.0, theory.p_norm_potential(1.5)).weights
    np.testing.assert_allclose(least, w.value, atol=1e-4)


def test_the_lasso_path_is_the_lassos_and_ends_at_the_least_1_norm() -> None:
    # Breaks if penalties are per example, or the path is cut before it interpolates.
    x, y = problem(7)
    path = theory.lasso_path(x, y)
    assert path.penalties[0] == pytest.approx(np.abs(x.T @ y).max())
    assert path.norms[-1] == pytest.approx(theory.least_l1(x, y).norm, rel=1e-8)
    middle = 0.5 * (path.penalties[3] + path.penalties[4])
    sklearn = Lasso(middle / len(y), fit_intercept=False, tol=1e-12, max_iter=100_000).fit(x, y)
    norm = np.abs(sklearn.coef_).sum()
    np.testing.assert_allclose(path.at([norm])[0], sklearn.coef_, atol=1e-6)


def test_falls_are_those_of_any_weight() -> None:
    # Breaks if growth counts, or signs do: weights −1 → −3 grow, 3 → 2 falls by a fifth of the last norm 5.
    path = theory.LassoPath(np.array([2.0, 1.0, 0.0]), np.array([[0, 0], [-1, 3], [-3, 2]], float))
    assert path.fall == 0.2
    assert theory.LassoPath(np.array([1.0, 0.0]), np.array([[0, 0], [-2, 2]], float)).fall == 0
    np.testing.assert_allclose(path.at([2.0, 4.0]), [[-0.5, 1.5], [-1.0, 3.0]])


def test_what_has_no_solution_is_refused() -> None:
    # Breaks if the programme's failure reaches the user as a KeyError or as zeros.
    x = np.ones((2, 3))
    for make in (theory.least_l1, theory.least_linf):
        with pytest.raises(UserError, match="no w has Xw = y"):
            make(x, [0.0, 1.0])
    with pytest.raises(UserError, match="no w >= 0 has Xw = y"):
        theory.least_l1(np.ones((1, 3)), [-1.0], nonnegative=True)
