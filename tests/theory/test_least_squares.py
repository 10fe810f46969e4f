"""Modes of least squares against NumPy, SciPy and scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, linalg, optimize
from sklearn.linear_model import Ridge

from implicit_bias import theory
from implicit_bias.errors import UserError

SHAPES = [(5, 9, 5), (9, 5, 5), (6, 9, 3), (4, 4, 2), (1, 3, 1)]
"""Examples, features, rank."""


def problem(m: int, n: int, rank: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A design of a rank, labels that it cannot all fit, and a start."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n))
    return x, rng.standard_normal(m), rng.standard_normal(n)


@pytest.mark.parametrize(("m", "n", "rank"), SHAPES)
def test_minimum_norm_is_that_of_other_solvers(m: int, n: int, rank: int) -> None:
    # Breaks if a mode of value zero is divided by, or the start's own part in the row space stays.
    x, y, start = problem(m, n, rank)
    design = theory.modes(x)
    assert design.rank == np.linalg.matrix_rank(x) == rank
    found = theory.minimum_norm(design, y)
    np.testing.assert_allclose(found, linalg.lstsq(x, y, lapack_driver="gelsy")[0], atol=1e-10)
    np.testing.assert_allclose(found, np.linalg.pinv(x, rcond=1e-10) @ y, atol=1e-10)
    # Nearest to a start, as a program with constraints: the normal equations.
    nearest = theory.minimum_norm(design, y, start)
    normal = {"type": "eq", "fun": lambda w: x.T @ (x @ w - y), "jac": lambda w: x.T @ x}
    if rank == m:  # SLSQP wants independent constraints
        normal = {"type": "eq", "fun": lambda w: x @ w - y, "jac": lambda w: x}
        solved = optimize.minimize(
            lambda w: np.sum((w - start) ** 2), start, jac=lambda w: 2 * (w - start),
            constraints=[normal], method="SLSQP", options={"ftol": 1e-14},
        )  # fmt: skip
        np.testing.assert_allclose(nearest, solved.x, atol=1e-6)
    np.testing.assert_allclose(x.T @ (x @ nearest - y), 0, atol=1e-9)
    np.testing.assert_allclose(theory.row_part(design, nearest - start), nearest - start, atol=1e-9)
    basis = linalg.null_space(x, rcond=1e-10)
    assert basis.shape[1] == n - rank
    np.testing.assert_allclose(theory.row_part(design, basis.T), 0, atol=1e-10)


@pytest.mark.parametrize(("m", "n", "rank"), SHAPES)
def test_ridge_is_scikit_learns_and_leaves_the_minimum_norm_linearly(
    m: int, n: int, rank: int
) -> None:
    # Breaks if the penalty is halved or averaged, or the rate has another power of σ.
    x, y, start = problem(m, n, rank, 1)
    design = theory.modes(x)
    for penalty in (0.1, 3.0):
        expected = Ridge(alpha=penalty, fit_intercept=False, solver="svd").fit(x, y).coef_
        np.testing.assert_allclose(theory.ridge_solutions(design, y, penalty), expected, atol=1e-9)
        moved = Ridge(alpha=penalty, fit_intercept=False, solver="svd").fit(x, y - x @ start).coef_
        found = theory.ridge_solutions(design, y, [penalty], start)[0]
        np.testing.assert_allclose(found, start + moved, atol=1e-9)
    least, rate = theory.minimum_norm(design, y), theory.ridge_rate(design, y)
    np.testing.assert_allclose(theory.ridge_solutions(design, y, 0.0), least, atol=1e-14)
    errors = []
    for penalty in (1e-3, 1e-4):
        small = penalty * design.curvatures[-1]
        left = (theory.ridge_solutions(design, y, small) - least) / small - rate
        errors.append(np.linalg.norm(left) / np.linalg.norm(rate))
    # What is left over is itself linear in λ.
    assert errors[0] < 1e-2
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.01)


@given(seed=st.integers(0, 10_000), low=st.floats(-6, 3), more=st.floats(0.01, 3))
@settings(deadline=None, max_examples=40)
def test_norm_falls_and_misfit_grows_with_the_penalty(seed: int, low: float, more: float) -> None:
    # Breaks if the path turns anywhere: no ridge solution is longer than the minimum norm.
    x, y, _ = problem(4, 7, 4, seed)
    design = theory.modes(x)
    path = theory.ridge_solutions(design, y, [0.0, 10**low, 10 ** (low + more)])
    norms = np.linalg.norm(path, axis=1)
    misfits = np.linalg.norm(path @ x.T - y, axis=1)
    assert (np.diff(norms) < 1e-12 * norms[0]).all()
    assert (np.diff(misfits) > -1e-12).all()


@pytest.mark.parametrize(("m", "n", "rank"), SHAPES)
def test_flow_is_the_solution_of_its_equation(m: int, n: int, rank: int) -> None:
    # Breaks if time is scaled by m or by 2, or the null space moves.
    x, y, start = problem(m, n, rank, 2)
    design = theory.modes(x)
    times = np.array([0.0, 0.05, 0.6])
    solved = integrate.solve_ivp(
        lambda t, w: -x.T @ (x @ w - y), (0, 0.6), start, t_eval=times, rtol=1e-10, atol=1e-12
    )
    found = theory.least_squares_flow(design, y, times, start)
    np.testing.assert_allclose(found, solved.y.T, atol=1e-7)
    # The same with a matrix exponential: (I − e^{−XᵀXt})X⁺y.
    expected = (np.eye(n) - linalg.expm(-0.6 * x.T @ x)) @ np.linalg.pinv(x, rcond=1e-10) @ y
    np.testing.assert_allclose(theory.least_squares_flow(design, y, 0.6), expected, atol=1e-9)
    far = theory.least_squares_flow(design, y, 1e12, start)
    np.testing.assert_allclose(far, theory.minimum_norm(design, y, start), atol=1e-9)
    tiny = theory.least_squares_flow(design, y, 1e-12)
    np.testing.assert_allclose(tiny / 1e-12, x.T @ y, rtol=1e-6)


def test_bad_inputs_get_one_line() -> None:
    x, y, _ = problem(3, 5, 3)
    design = theory.modes(x)
    calls: list[tuple[Any, str]] = [
        (lambda: theory.modes(np.zeros((3, 5))), "design of shape (3, 5) is all zero"),
        (lambda: theory.modes(np.ones(3)), "design has shape (3,); give a matrix"),
        (lambda: theory.modes([[1.0, np.nan]]), "design holds nan; give finite numbers"),
        (lambda: theory.modes(x, -1.0), "tolerance is -1"),
        (lambda: theory.ridge_solutions(design, y, -0.1), "penalty is -0.1; choose finite numbers of"),
        (lambda: theory.ridge_solutions(design, y, [1.0, -2.0]), "penalty is -2"),
        (lambda: theory.minimum_norm(design, y[:2]), "labels has shape (2,), but there are 3 examples"),
        (lambda: theory.minimum_norm(design, y, y), "start has shape (3,), but there are 5 features"),
        (lambda: theory.least_squares_flow(design, y, -1.0), "time is -1"),
        (lambda: theory.row_part(design, y), "weights has shape (3,), but there are 5 features"),
    ]  # fmt: skip
    for call, said in calls:
        with pytest.raises(UserError) as caught:
            call()
        assert str(caught.value).startswith(said)
