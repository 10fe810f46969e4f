"""Limits of diagonal networks: against integrated flow, their potential, and both ends with their rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp
from scipy.optimize import linprog, minimize

from implicit_bias import theory
from implicit_bias.errors import UserError


def drawn(seed: int, m: int = 3, n: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((m, n))
    return x, x @ rng.standard_normal(n)


@pytest.mark.parametrize(("depth", "alpha"), [(2, 0.3), (3, 0.4), (4, 0.7)])
@pytest.mark.parametrize("signed", [True, False])
def test_limit_is_that_of_integrated_flow(depth: int, alpha: float, signed: bool) -> None:
    # Breaks with a wrong law of u, a wrong potential or a wrong sign: the network's own flow, by SciPy.
    x, y = drawn(1)
    if not signed:
        y = x @ np.abs(np.random.default_rng(5).standard_normal(6))
    n = x.shape[1]

    def velocity(t: float, uv: np.ndarray) -> np.ndarray:
        u, v = uv[:n], uv[n:]
        slope = x.T @ (x @ (u**depth - signed * v**depth) - y)
        return np.concatenate(
            [-depth * u ** (depth - 1) * slope, signed * depth * v ** (depth - 1) * slope]
        )

    ends = solve_ivp(
        velocity, (0, 300), np.full(2 * n, alpha), method="LSODA", rtol=1e-10, atol=1e-12
    ).y[:, -1]
    flow = ends[:n] ** depth - signed * ends[n:] ** depth
    found = theory.diagonal_limit(x, y, alpha, depth=depth, signed=signed)
    assert found.error < 1e-9
    np.testing.assert_allclose(found.weights, flow, atol=2e-5)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.floats(0.05, 5.0))
def test_limit_minimises_the_potential(seed: int, alpha: float) -> None:
    # Woodworth's theorem 1: no step within Xβ = y lowers Q_α. Breaks with another potential or
    # constant in it.
    x, y = drawn(seed)
    w = theory.diagonal_limit(x, y, alpha).weights
    null = np.linalg.svd(x)[2][3:]
    base = theory.q_alpha(w, alpha)
    for direction in np.random.default_rng(seed).standard_normal((5, 3)) @ null:
        for size in (1e-2, 1.0):
            assert theory.q_alpha(w + size * direction, alpha) > base


def test_limit_is_a_general_solvers_minimum() -> None:
    x, y = drawn(3)
    solved = minimize(
        lambda w: float(theory.q_alpha(w, 0.5)), np.linalg.pinv(x) @ y, method="SLSQP",
        constraints={"type": "eq", "fun": lambda w: x @ w - y}, options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    np.testing.assert_allclose(theory.diagonal_limit(x, y, 0.5).weights, solved.x, atol=1e-4)


def test_potential_is_its_integral() -> None:
    # q(z) = ∫₀^z arsinh(t/2) dt, and both of its limits.
    for z in (-3.0, 0.01, 40.0):
        expected = quad(lambda t: np.arcsinh(t / 2), 0, z)[0]
        assert theory.q_alpha([z * 0.04], 0.2) == pytest.approx(0.04 * expected, rel=1e-10)
    beta = np.array([0.3, -1.2])
    assert theory.q_alpha(beta, 1e3) * 4e6 == pytest.approx(np.sum(beta**2), rel=1e-6)
    ratio = theory.q_alpha(beta, 1e-60) / np.log(1e120)
    assert ratio == pytest.approx(np.sum(np.abs(beta)), rel=0.01)


def test_large_scale_is_least_two_norm_at_its_rate() -> None:
    # The distance falls like α^{−2D}: z = β/α^D enters by its square.
    x, y = drawn(4)
    least = np.linalg.pinv(x) @ y
    for depth in (2, 3):
        off = [
            np.linalg.norm(theory.diagonal_limit(x, y, a, depth=depth).weights - least)
            for a in (4.0, 8.0)
        ]
        assert np.log2(off[0] / off[1]) == pytest.approx(2 * depth, abs=0.1)


def test_small_scale_is_least_one_norm_at_its_rate() -> None:
    # A regular linear programme: off its support weights are α^D c^{−D/(D−2)} (D > 2), α^{2(1−|aᵀν|)}
    # (D = 2).
    x, y = drawn(6)
    n = x.shape[1]
    least: Any = linprog(np.ones(2 * n), A_eq=np.hstack([x, -x]), b_eq=y, method="highs-ds")
    beta, dual = least.x[:n] - least.x[n:], least.eqlin.marginals
    off = np.abs(beta) < 1e-9
    assert off.sum() == n - len(x)
    slack = 1 - np.abs(x.T @ dual)[off]
    scales = {2: (1e-7, 1e-9), 3: (1e-3, 2e-4)}
    for depth, (first, last) in scales.items():
        small = [
            np.abs(theory.diagonal_limit(x, y, a, depth=depth).weights[off]) for a in (first, last)
        ]
        exponents = np.log(small[0] / small[1]) / np.log(first / last)
        if depth == 2:
            # Both signs are of one size where |aᵀν| is small, and nearly cancel; the larger one tells.
            np.testing.assert_allclose(exponents, 2 * slack, atol=0.05)
        else:
            np.testing.assert_allclose(exponents, 3.0, atol=0.1)
        end = theory.diagonal_limit(x, y, last, depth=depth).weights
        assert np.abs(end).sum() == pytest.approx(least.fun, rel=1e-3)


def test_forced_zeros_are_reached() -> None:
    # The only positive solution has zeros, where the dual has no minimum; flow still converges to it.
    x = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])[:2]
    found = theory.diagonal_limit(
        np.vstack([x, [0.0, 0.0, 1.0]]), [1.0, 1e-300, 2.0], 0.1, signed=False
    )
    np.testing.assert_allclose(found.weights, [1.0, 0.0, 2.0], atol=1e-8)


def test_refusals() -> None:
    x, y = drawn(0)
    for alpha in (0.0, -1.0, np.nan):
        with pytest.raises(
            UserError, match=r"alpha is .*; choose a scale of initial weights above 0"
        ):
            theory.diagonal_limit(x, y, alpha)
    with pytest.raises(UserError, match="depth is 1; choose at least 2"):
        theory.diagonal_limit(x, y, 0.1, depth=1)
    with pytest.raises(UserError, match="no positive weights were found that fit y"):
        theory.diagonal_limit(np.ones((1, 2)), [-1.0], 0.1, signed=False)
    with pytest.raises(UserError, match="x has rank below its 2 rows"):
        theory.diagonal_limit(np.ones((2, 3)), [1.0, 1.0], 0.1)
    with pytest.raises(UserError, match=r"y has shape \(1,\); give one label for each of 3 rows"):
        theory.diagonal_limit(x, [1.0], 0.1)
