"""Shrinkages, bounds and best times against simulation, SciPy, scikit-learn and known special cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize
from sklearn.linear_model import Ridge

from implicit_bias import theory
from implicit_bias.errors import UserError

positive = st.floats(1e-4, 1e4)
spectra = st.lists(positive, min_size=1, max_size=6).map(np.array)


def problem(m: int = 12, n: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return a design with a rank-deficient column, targets, and eigenvalues and vectors of XᵀX."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((m, n))
    x[:, -1] = x[:, 0] + x[:, 1]
    values, vectors = np.linalg.eigh(x.T @ x)
    return x, rng.standard_normal(m), np.where(values > 1e-10, values, 0.0), vectors


def test_constants_are_the_suprema_that_are_printed() -> None:
    # Breaks if a constant is another number: each is found again by SciPy, and held to what the paper prints.
    def most(function: object, high: float) -> float:
        found = optimize.minimize_scalar(
            lambda x: -function(x),  # type: ignore[operator]
            bounds=(0.01, high),
            method="bounded",
            options={"xatol": 1e-10},
        )
        return float(-found.fun)

    ratio = most(lambda x: (1 - np.exp(-x)) * (1 + x) / x, 10)
    gap = most(lambda x: 1 - np.exp(-x) - x / (1 + x), 10)
    tuned = most(lambda x: (1 + x) * (np.exp(-2 * x) + (1 - np.exp(-x)) ** 2 / x), 20)
    assert pytest.approx(ratio, abs=1e-12) == theory.SHRINKAGE_RATIO
    assert pytest.approx(gap, abs=1e-12) == theory.SHRINKAGE_GAP
    assert pytest.approx(ratio**2, abs=1e-12) == theory.RISK_RATIO
    assert pytest.approx(tuned, abs=1e-12) == theory.TUNED_RATIO
    for exact, printed in (
        (theory.SHRINKAGE_RATIO, 1.2985), (theory.RISK_RATIO, 1.6862), (theory.TUNED_RATIO, 1.2147)
    ):  # fmt: skip
        assert 0 < printed - exact < 5e-4


def test_the_flow_is_the_solution_of_its_differential_equation() -> None:
    # Breaks if time is scaled otherwise than the loss ‖y − Xw‖²/2, or the null space moves.
    x, y, values, vectors = problem()
    ends = np.linalg.pinv(x) @ y
    times = [0.01, 0.1, 1.0]
    solved = integrate.solve_ivp(
        lambda t, w: x.T @ (y - x @ w), (0, 1), np.zeros(8), t_eval=times, rtol=1e-11, atol=1e-13
    )
    ours = vectors @ (theory.flow_shrinkage(values, times) * (vectors.T @ ends)).T
    np.testing.assert_allclose(ours, solved.y, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(
        vectors @ (theory.flow_shrinkage(values, np.inf) * (vectors.T @ ends)), ends, rtol=1e-10
    )


def test_the_penalty_is_that_of_half_a_sum_of_squares() -> None:
    # scikit-learn's penalty stands beside the sum of squares: the same λ. Breaks on a factor of 2 or of m.
    x, y, values, vectors = problem()
    w = Ridge(alpha=0.7, fit_intercept=False).fit(x, y).coef_
    ours = vectors @ (theory.ridge_shrinkage(values, 0.7) * (vectors.T @ np.linalg.pinv(x) @ y))
    np.testing.assert_allclose(ours, w, rtol=1e-9)


def test_descent_is_its_programme() -> None:
    x, y, values, vectors = problem()
    step, w = 1.9 / values.max(), np.zeros(8)
    for _ in range(7):
        w -= step * x.T @ (x @ w - y)
    found = theory.descent_shrinkage(values, step, [0, 7])
    assert found.shape == (2, 8)
    ours = vectors @ (found[1] * (vectors.T @ np.linalg.pinv(x) @ y))
    np.testing.assert_allclose(ours, w, rtol=1e-9)
    # Many small steps are the flow: the error falls with the step.
    many = theory.descent_shrinkage(values, 1e-6 / values.max(), 1_000_000)
    np.testing.assert_allclose(many, theory.flow_shrinkage(values, 1 / values.max()), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(spectra, positive, st.floats(0, 10), st.integers(0, 2**32 - 1))
def test_bounds_hold_for_every_truth_design_and_time(
    values: np.ndarray, time: float, variance: float, seed: int
) -> None:
    # Breaks if a path's risk lacks a part, or λ is another than 1/t.
    power = np.random.default_rng(seed).exponential(size=values.size)
    flow, ridge = theory.flow_shrinkage(values, time), theory.ridge_shrinkage(values, 1 / time)
    assert np.all(flow >= ridge * (1 - 1e-12))
    assert np.all(flow <= ridge * theory.SHRINKAGE_RATIO * (1 + 1e-12))
    assert np.all(flow - ridge <= theory.SHRINKAGE_GAP + 1e-12)
    risks = [theory.path_risk(values, power, variance, f) for f in (flow, ridge)]
    assert risks[0].bias <= risks[1].bias * (1 + 1e-12)
    assert risks[0].total <= risks[1].total * theory.RISK_RATIO * (1 + 1e-9)


@settings(max_examples=25, deadline=None)
@given(spectra, positive, positive)
def test_best_points_on_average_over_truths_keep_their_bounds(
    values: np.ndarray, power: float, variance: float
) -> None:
    # Ridge at variance/power is the posterior mean: nothing that is linear is better.
    same = np.full(values.size, power)
    flow, ridge = (best(values, same, variance) for best in (theory.best_time, theory.best_penalty))
    exact = theory.path_risk(
        values, same, variance, theory.ridge_shrinkage(values, variance / power)
    ).total
    assert ridge.risk == pytest.approx(float(exact), rel=1e-9)
    assert 1 - 1e-9 <= flow.risk / ridge.risk <= theory.TUNED_RATIO * (1 + 1e-9)


def test_the_tuned_bound_is_met_where_it_is_derived() -> None:
    # At t = power/variance and one eigenvalue of 3.2135 times its inverse, but not at the flow's own best.
    s = np.array([3.213563516])
    at = theory.path_risk(s, [1.0], 1.0, theory.flow_shrinkage(s, 1.0)).total
    assert at / theory.best_penalty(s, [1.0], 1.0).risk == pytest.approx(
        theory.TUNED_RATIO, rel=1e-9
    )
    assert theory.best_time(s, [1.0], 1.0).risk < at


def test_one_eigenvalue_has_its_best_in_closed_form() -> None:
    for s, power, variance in ((0.7, 2.0, 0.3), (30.0, 0.1, 5.0)):
        time = theory.best_time([s], [power], variance)
        penalty = theory.best_penalty([s], [power], variance)
        assert time.at == pytest.approx(np.log1p(power * s / variance) / s, rel=1e-6)
        assert penalty.at == pytest.approx(variance / power, rel=1e-6)
        # Both reach the same best shrinkage, so the same risk.
        assert time.risk == pytest.approx(penalty.risk, rel=1e-12)


def test_ends_of_paths_where_nothing_else_is_best() -> None:
    assert theory.best_time([1.0, 0.1], [1.0, 1.0], 0.0) == (np.inf, 0.0)
    assert theory.best_penalty([1.0, 0.1], [1.0, 1.0], 0.0) == (0.0, 0.0)
    assert theory.best_time([1.0], [0.0], 1.0) == (0.0, 0.0)
    assert theory.best_penalty([1.0], [0.0], 1.0) == (np.inf, 0.0)


def test_risks_are_those_of_draws() -> None:
    # Breaks if the noise's share is divided by another power of s, or the null space is forgotten.
    x, _, values, vectors = problem()
    theta, sigma, t = np.arange(8) / 4, 0.8, 0.05
    rng = np.random.default_rng(0)
    y = (x @ theta)[:, None] + sigma * rng.standard_normal((12, 40_000))
    w = vectors @ (theory.flow_shrinkage(values, t)[:, None] * (vectors.T @ np.linalg.pinv(x) @ y))
    power = (vectors.T @ theta) ** 2
    risk = theory.path_risk(values, power, sigma**2, theory.flow_shrinkage(values, t))
    errors = np.sum((w - theta[:, None]) ** 2, axis=0)
    assert risk.total == pytest.approx(errors.mean(), rel=0.01)
    assert risk.bias == pytest.approx(np.sum((w.mean(axis=1) - theta) ** 2), rel=0.02)


def test_few_large_steps_differ_more_from_ridge() -> None:
    assert theory.descent_ratio(1) == pytest.approx(2)
    assert theory.descent_ratio(1, 2.0) == pytest.approx(3)
    assert theory.descent_ratio(2) == pytest.approx(1.5625)  # (1 − x/4)(1 + x) at x = 3/2
    assert theory.descent_ratio(3, 2.0) == pytest.approx(7 / 3)
    assert theory.descent_ratio(100_000) == pytest.approx(theory.SHRINKAGE_RATIO, rel=1e-5)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: theory.ridge_shrinkage([1.0], -1.0), "penalty is -1"),
        (lambda: theory.flow_shrinkage([1.0], -2.0), "time is -2"),
        (lambda: theory.flow_shrinkage([-1.0], 1.0), "eigenvalue is -1"),
        (lambda: theory.flow_shrinkage([0.0, 0.0], 1.0), "the design is zero"),
        (lambda: theory.flow_shrinkage([[1.0]], 1.0), r"shape \(1, 1\)"),
        (lambda: theory.descent_shrinkage([4.0], 0.6, 3), r"2/λmax = 0.5"),
        (lambda: theory.descent_shrinkage([4.0], 0.0, 3), r"2/λmax = 0.5"),
        (lambda: theory.descent_shrinkage([4.0], 0.1, 2.5), "whole numbers"),
        (lambda: theory.descent_ratio(0), "updates is 0"),
        (lambda: theory.descent_ratio(1, 2.5), "most is 2.5"),
        (lambda: theory.path_risk([1.0], [1.0, 2.0], 1.0, [0.5]), "one for each eigenvalue"),
        (lambda: theory.path_risk([1.0], [1.0], -1.0, [0.5]), "variance is -1"),
    ],
)
def test_bad_input_is_one_line(call: object, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        call()  # type: ignore[operator]
    assert "\n" not in str(caught.value)
