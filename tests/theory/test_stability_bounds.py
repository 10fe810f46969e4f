"""Stability constants against worst cases found by search, and bounds against exact tail probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats

from implicit_bias import theory
from implicit_bias.errors import UserError


@pytest.mark.parametrize("m", [10, 100, 1000])
@pytest.mark.parametrize("delta", [0.3, 0.05, 1e-4])
def test_the_sampling_term_holds_for_coins_and_half_of_it_does_not(m: int, delta: float) -> None:
    # Exact binomial tails. Breaks if √2 or a logarithm is lost: half the term fails more often than δ.
    term = float(theory.sampling_term(m, delta))
    assert stats.binom.cdf(np.ceil(m * (0.5 - term)) - 1, m, 0.5) <= delta
    if m >= 100 and delta <= 0.05:
        assert stats.binom.cdf(np.floor(m * (0.5 - term / 2)) - 1, m, 0.5) > delta


def test_bounds_written_out() -> None:
    # By hand at m = 100, δ = e⁻², L = 2: the sampling term is 2·√(2/200) = 0.2.
    at: tuple[Any, ...] = (0.03, 100, np.exp(-2), 2.0)
    assert float(theory.additive_bound(*at)) == pytest.approx(0.03 + 0.2)
    assert float(theory.additive_bound(*at, multiple=2.0)) == pytest.approx(0.06 + 0.2)
    # ε + (2mε + L)√(ln(1/δ)/(2m)) and 2β + (4mβ + L)√(…), √(2/200) = 0.1.
    assert float(theory.bounded_difference_bound(*at)) == pytest.approx(0.03 + (6 + 2) * 0.1)
    assert float(theory.bousquet_elisseeff_bound(*at)) == pytest.approx(0.06 + (12 + 2) * 0.1)
    wanted = 8 * 2 * np.sqrt((2 * 0.015 + 0.01) * np.log(8 * np.exp(2)))
    assert float(theory.feldman_vondrak_bound(*at)) == pytest.approx(wanted)
    wanted = np.e * (0.06 + 24 * np.sqrt(2) * 2 * 0.03 * 7 + 8 * np.sqrt(0.02))
    assert float(theory.moment_bound(*at)) == pytest.approx(wanted)
    assert theory.vacuous([0.5, 1.0, 3.0], 1.0).tolist() == [False, True, True]


def test_bounds_of_bounded_differences_are_exact_for_a_known_gap() -> None:
    # ε = 0: Hoeffding's inequality and no more. Breaks if a bound forgets or doubles the sampling term.
    for bound in (theory.bounded_difference_bound, theory.bousquet_elisseeff_bound):
        assert float(bound(0.0, 50, 0.1)) == pytest.approx(float(theory.sampling_term(50, 0.1)))


def test_linear_losses_attain_the_bound_of_regularisation() -> None:
    # Minimise −w·mean(z) + (λ/2)‖w‖² by SciPy, remove z with others kept over m. Breaks by a factor of two.
    z = np.asarray([[0.6, 0.8], [0.6, 0.8], [1.0, 0.0]])

    def least(shares: np.ndarray) -> np.ndarray:
        found = optimize.minimize(
            lambda w: -w @ (shares @ z) / 3 + 0.35 * w @ w, np.zeros(2), tol=1e-12
        )
        return np.asarray(found.x)

    moved = least(np.ones(3)) - least(np.asarray([0.0, 1.0, 1.0]))
    bound = float(theory.regularised_stability(1.0, 0.7, 3))
    assert abs(moved @ z[0]) == pytest.approx(bound, rel=1e-5)


def test_no_search_moves_ridge_weights_beyond_their_bound_and_some_come_near() -> None:
    # Random and built training sets of two to four examples. Breaks if the bound is half as large.
    rng = np.random.default_rng(0)
    shares = []
    for trial in range(600):
        m, lam = int(rng.integers(2, 5)), float(rng.choice([0.5, 1.0, 10.0]))
        x = rng.standard_normal((m, 2))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        if trial % 3 == 0:
            x[0], x[1:] = [1.0, 0.0], [0.0, 1.0]
        y = rng.choice([-1.0, 1.0], m)
        fit = theory.ridge_fit(x, y, m * lam)
        moved = theory.replaced_weights(fit, 0, [x[0]], [-y[0]])[0] - fit.weights
        shares.append(np.linalg.norm(moved) / theory.ridge_movement(lam, m))
        assert np.linalg.norm(fit.weights) <= theory.ridge_norm(lam) + 1e-12
    assert max(shares) <= 1 + 1e-12
    assert max(shares) > 0.9


def test_the_norm_of_ridge_weights_is_attained() -> None:
    # One direction, all labels one, inputs of length √λ or one: exactly the largest norm.
    for lam in (0.04, 0.25, 4.0):
        length = min(np.sqrt(lam), 1.0)
        fit = theory.ridge_fit(np.full((5, 1), length), np.ones(5), 5 * lam)
        assert fit.weights[0, 0] == pytest.approx(float(theory.ridge_norm(lam)))


def test_descent_on_linear_losses_attains_its_bound() -> None:
    # w = −η Σ z by hand: a replaced unit example moves it by 2η for each visit.
    steps = np.asarray([0.1, 0.2, 0.3, 0.4])
    moved = np.mean(
        [2 * steps[order == 0].sum() for order in (np.arange(4) % 2, (np.arange(4) + 1) % 2)]
    )
    assert theory.sgd_stability(steps, 2, 1.0, 0.0) == pytest.approx(moved)
    assert theory.sgd_stability(steps, 2, 1.0, 0.0, loss_range=0.5) == 0.5
    # Hardt et al., written out at β = c = ρ = 1: 2/(m − 1) · √2 · √T.
    assert theory.nonconvex_sgd_stability(1.0, 100, 11, 1.0, 1.0) == pytest.approx(
        0.2 * np.sqrt(200)
    )


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: theory.additive_bound(0.1, 10, 0.0), "delta is 0; choose numbers between 0 and 1"),
        (lambda: theory.bousquet_elisseeff_bound(0.1, 10, 1.0), "delta is 1"),
        (lambda: theory.feldman_vondrak_bound(-0.1, 10, 0.1), "stability is -0.1"),
        (lambda: theory.moment_bound(0.1, 1, 0.1), "choose at least 2"),
        (lambda: theory.sampling_term(10, 0.1, 0.0), "loss_range is 0"),
        (lambda: theory.sgd_stability([9.0], 10, 1.0, 0.25), "choose a smaller one"),
        (lambda: theory.regularised_stability(1.0, 0.0, 10), "penalty is 0"),
        (lambda: theory.ridge_movement(0.01, 10), "choose a larger penalty or more examples"),
        (lambda: theory.ridge_norm(0.0), "penalty is 0"),
    ],
)
def test_arguments_without_a_bound_are_refused_in_one_line(call: Any, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)
