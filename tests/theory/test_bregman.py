"""Bregman projections against SciPy's constrained optimisers, duality, and limits in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from implicit_bias import theory
from implicit_bias.errors import UserError


def problem(seed: int, m: int = 3, n: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, labels of a point of the simplex, and a positive start."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((m, n))
    return x, x @ rng.dirichlet(np.ones(n)), rng.random(n) + 0.1


def constrained(
    value: Any, slope: Any, x: np.ndarray, y: np.ndarray, start: np.ndarray, low: float | None
) -> Any:
    """Minimise under Xw = y by SciPy's trust-region method, which knows nothing of duals here."""
    return optimize.minimize(
        value, start, jac=slope, method="SLSQP", bounds=[(low, None)] * start.size,
        constraints=[{"type": "eq", "fun": lambda w: x @ w - y, "jac": lambda w: x}],
        options={"ftol": 1e-15, "maxiter": 500},
    ).x  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_entropy_projection_is_scipys(seed: int) -> None:
    # Breaks if D has another linear part (w₀ would not be its own projection), or X enters transposed.
    x, y, w0 = problem(seed)
    found = theory.bregman_projection(x, y, w0, theory.entropy_potential())
    expected = constrained(
        lambda w: np.sum(w * np.log(w / w0) - w), lambda w: np.log(w / w0), x, y,
        np.full(7, 1 / 7), 1e-12,
    )  # fmt: skip
    np.testing.assert_allclose(found.weights, expected, atol=2e-6)
    np.testing.assert_allclose(np.log(found.weights / w0), found.multipliers @ x, atol=1e-9)
    own = theory.bregman_projection(x, x @ w0, w0, theory.entropy_potential())
    np.testing.assert_allclose(own.weights, w0, rtol=1e-9)


@pytest.mark.parametrize("p", [1.1, 1.5, 2.0, 3.0, 6.0])
def test_p_norm_projection_is_the_least_p_norm(p: float) -> None:
    # Breaks if the conjugate exponent is wrong; p = 2 is the pseudo-inverse. Optimality is checked by
    # duality, min ‖w‖_p = max y·ν over ‖Xᵀν‖_q ≤ 1, and by a solver from other starts.
    x, y, _ = problem(4)
    w = theory.bregman_projection(x, y, 0.0, theory.p_norm_potential(p)).weights
    nu = theory.bregman_projection(x, y, 0.0, theory.p_norm_potential(p)).multipliers
    q = p / (p - 1)
    dual = y @ nu / np.linalg.norm(nu @ x, q)
    assert np.linalg.norm(w, p) == pytest.approx(dual, rel=1e-8)
    np.testing.assert_allclose(x @ w, y, atol=1e-9)
    if p == 2:
        np.testing.assert_allclose(w, np.linalg.pinv(x) @ y, atol=1e-10)
    if p == 3:
        other = constrained(
            lambda v: np.sum(np.abs(v) ** 3), lambda v: 3 * v * np.abs(v), x, y, np.ones(7), None
        )
        np.testing.assert_allclose(w, other, atol=1e-4)


def test_simplex_projection_has_the_largest_entropy() -> None:
    # Breaks if the sum is not held at 1: against SciPy, and for one mean as Boltzmann's law.
    x, y, _ = problem(5)
    found = theory.simplex_projection(x, y, 3.0).weights
    rows, right = np.concatenate([x, np.ones((1, 7))]), np.append(y, 1.0)
    expected = constrained(
        lambda w: np.sum(w * np.log(w)), lambda w: np.log(w) + 1, rows, right, np.full(7, 1 / 7),
        1e-12,
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, atol=2e-6)
    levels = np.arange(6.0)
    boltzmann = theory.simplex_projection(levels[None], [1.2], 1.0).weights
    beta = optimize.brentq(
        lambda b: np.exp(-b * levels) @ levels / np.exp(-b * levels).sum() - 1.2, -5, 5
    )
    np.testing.assert_allclose(
        boltzmann, np.exp(-beta * levels) / np.exp(-beta * levels).sum(), rtol=1e-8
    )
    assert theory.entropy(np.full(8, 1 / 8)) == pytest.approx(math.log(8))
    assert theory.entropy([1.0, 0.0]) == 0


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(-9, 1))
def test_projections_are_nearest_on_random_problems(seed: int, scale: float) -> None:
    # Breaks if any feasible point is nearer (along each null direction, as far as weights stay positive), or
    # the change of log w leaves the row space: no multipliers are used here.
    x, y, w0 = problem(seed)
    w0 = w0 * 10.0**scale
    found = theory.bregman_projection(x, y, w0, theory.entropy_potential()).weights
    np.testing.assert_allclose(x @ found, y, atol=1e-9 * np.abs(y).max() + 1e-12)

    def divergence(w: np.ndarray) -> float:
        return float(np.sum(w * np.log(w / w0) - w))

    null = np.linalg.svd(x)[2][3:]
    np.testing.assert_allclose(null @ np.log(found / w0), 0, atol=1e-7)
    for direction in (*null, *-null):
        shrinks = direction < 0
        room = np.min(found[shrinks] / -direction[shrinks], initial=1.0)
        assert divergence(found + 0.5 * room * direction) >= divergence(found) - 1e-12


def test_as_the_start_goes_to_zero_the_least_1_norm_is_left_at_its_rate() -> None:
    # Breaks if the excess falls like another power of α than the least reduced cost, which SciPy's programme
    # gives: the law is exact up to α^c itself.
    x, y, _ = problem(0, 4, 12)
    solution = theory.least_l1(x, y, nonnegative=True)
    programme = optimize.linprog(np.ones(12), A_eq=x, b_eq=y)
    assert solution.norm == pytest.approx(programme.fun, rel=1e-9)
    costs = programme.lower.marginals
    assert solution.least_cost == pytest.approx(costs[costs > 1e-9].min(), rel=1e-7)
    logs = [math.log(part) / solution.least_cost for part in (1e-6, 1e-12)]
    excess = [
        theory.l1_excess(
            theory.small_start_projection(x, y, log, solution.multipliers).weights, x, solution
        )
        for log in logs
    ]
    rate = math.log(excess[1] / excess[0]) / (logs[1] - logs[0])
    assert rate == pytest.approx(solution.least_cost, rel=0.02)
    near = theory.bregman_projection(x, y, 1e-5, theory.entropy_potential()).weights
    far = theory.small_start_projection(x, y, math.log(1e-5), solution.multipliers).weights
    np.testing.assert_allclose(near, far, atol=1e-10)
    assert theory.l1_excess(near, x, solution) == pytest.approx(
        near.sum() - solution.norm, rel=1e-6
    )


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda x, y: theory.p_norm_potential(1.0), "p is 1; choose a finite p > 1"),
        (lambda x, y: theory.p_norm_potential("one"), "p is 'one'; give a number"),
        (
            lambda x, y: theory.bregman_projection(np.abs(x), -y - 9, 1.0, theory.entropy_potential()),
            "no w >= 0 has Xw = y (3 examples of 7 features)",
        ),
        (
            lambda x, y: theory.bregman_projection(
                np.eye(3, 7), [1.0, 0.0, 1.0], 1.0, theory.entropy_potential()
            ),
            "only with some weights zero",
        ),
        (
            lambda x, y: theory.bregman_projection(x, y, 0.0, theory.entropy_potential()),
            "the start holds 0; the entropy needs positive weights",
        ),
        (
            lambda x, y: theory.bregman_projection(
                np.ones((2, 7)), [0.0, 1.0], 0.0, theory.p_norm_potential(3)
            ),
            "no w has Xw = y",
        ),
        (lambda x, y: theory.simplex_projection(x, y[:2], 1.0), "give a matrix and one label a row"),
        (lambda x, y: theory.least_l1(x, y * np.nan), "labels holds nan"),
        (lambda x, y: theory.entropy([0.5, -0.1]), "weights hold -0.1"),
    ],
)  # fmt: skip
def test_what_cannot_be_projected_is_refused_in_one_line(make: Any, says: str) -> None:
    # Breaks if an infeasible problem runs into Newton's method, whose failure says nothing.
    x, y, _ = problem(0)
    with pytest.raises(UserError) as caught:
        make(x, y)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
