"""Exact risks of minimum-norm least squares against draws, limits and algebra."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from implicit_bias import theory
from implicit_bias.errors import UserError
from tests.theory.draws import excess_risks

# m, n, σ, what labels depend on: D features of θ_j ∝ j^(−decay), D = n where nothing is left out.
POINTS = [
    (30, 5, 0.5, 5, 0.0), (30, 15, 1.0, 15, 0.0), (40, 25, 0.1, 25, 1.0), (20, 4, 2.0, 4, 0.5),
    (10, 25, 0.5, 25, 0.0), (10, 60, 0.1, 60, 0.0), (15, 30, 1.0, 30, 1.0), (5, 20, 0.01, 20, 0.0),
    (30, 10, 0.3, 40, 0.0), (12, 30, 0.3, 40, 0.0), (12, 30, 0.0, 60, 1.0), (25, 8, 0.1, 50, 1.0),
    (8, 24, 1.0, 24, 2.0), (20, 45, 0.2, 60, 0.5),
]  # fmt: skip
DRAWS = 4000


@pytest.fixture(scope="module")
def measured() -> list[tuple[np.ndarray, float, float]]:
    """For each point: draws, the exact mean, and the mean with m − n in place of m − n − 1."""
    rng = np.random.default_rng(20)
    found = []
    for m, n, sigma, total, decay in POINTS:
        powers = theory.decaying_powers(total, decay)
        risks = excess_risks(rng, DRAWS, np.sqrt(powers), n, m, sigma)
        exact = theory.nested_risk(m, n, sigma, powers)
        wrong = exact.variance * (abs(n - m) - 1) / abs(n - m)
        found.append((risks, float(exact.excess), float(exact.bias + exact.left_out + wrong)))
    return found


def _p_values(measured: list[tuple[np.ndarray, float, float]], which: int) -> np.ndarray:
    return np.array([stats.ttest_1samp(one[0], one[which]).pvalue for one in measured])


def test_exact_means_are_those_of_draws(measured: list[tuple[np.ndarray, float, float]]) -> None:
    # Breaks if any constant of bias, variance or left-out signal is wrong. Bonferroni over the points.
    assert all(abs(n - m) > 10 for m, n, *_ in POINTS)
    p = _p_values(measured, 1)
    assert p.min() > 0.05 / p.size, dict(zip(POINTS, p, strict=True))


def test_a_wrong_constant_is_caught(measured: list[tuple[np.ndarray, float, float]]) -> None:
    # Breaks if the test above has no power: m/(n − m) for m/(n − m − 1) must fail it clearly.
    p = _p_values(measured, 2)
    assert (p < 0.05 / p.size).sum() >= 5


@given(
    m=st.integers(1, 400),
    n=st.integers(1, 400),
    sigma=st.just(0.0) | st.floats(1e-6, 10),
    power=st.just(0.0) | st.floats(1e-6, 100),
)
@settings(deadline=None, max_examples=200)
def test_parts_for_all_sizes(m: int, n: int, sigma: float, power: float) -> None:
    # Breaks if a part is negative, the threshold's mean is finite, or bias appears below it.
    risk = theory.isotropic_risk(m, n, sigma, power)
    assert 0 <= risk.bias <= power
    assert (risk.bias == 0) == (n <= m or power == 0)
    assert np.isinf(risk.variance) == (abs(n - m) <= 1 and sigma**2 > 0)
    assert risk.total == pytest.approx(risk.excess + sigma**2)
    # E‖X⁺‖² of a Gaussian matrix is the same for its transpose.
    assert risk.variance == theory.isotropic_risk(n, m, sigma, power).variance
    # Exactly the limit of Hastie et al., γ/(1 − γ) or 1/(γ − 1), with one example fewer.
    if abs(n - m) > 1:
        gamma = n / m
        limit = sigma**2 * min(gamma, 1) / abs(gamma - 1)
        assert risk.variance == pytest.approx(limit * abs(n - m) / (abs(n - m) - 1), rel=1e-9)


def test_features_left_out_are_noise() -> None:
    # Breaks if Belkin, Hsu & Xu's model does not average nested ones over orders, or ends elsewhere.
    powers = theory.decaying_powers(12, 1.0, 3.0)
    assert powers.sum() == pytest.approx(3)
    assert powers[0] / powers[3] == pytest.approx(16)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(powers) for _ in range(4000)]
    inside = np.array([order[:5].sum() for order in orders])
    nested = theory.misspecified_risk(20, 5, 0.3, inside, 3.0 - inside).excess.mean()
    assert nested == pytest.approx(theory.selected_risk(20, 5, 12, 0.3, 3.0).excess, rel=0.01)
    whole = theory.selected_risk(20, 60, 60, 0.3, 3.0)
    assert whole.excess == pytest.approx(theory.isotropic_risk(20, 60, 0.3, 3.0).excess)
    # As in that paper's figure 1, 40 examples of 100 features: all of them are better than few.
    every, one = (theory.selected_risk(40, p, 100, 0.2).total for p in (100, 1))
    assert every < one


def test_local_minimum_is_where_the_risk_is_least() -> None:
    # Breaks if the ratio is not the minimiser of the limit for SNR > 1, or exists below.
    for snr in (1.5, 4.0, 25.0):
        m = 20000
        at = float(theory.local_minimum(snr))
        n = np.unique((m * np.linspace(1.02, 8, 4000)).astype(int))
        risk = theory.isotropic_risk(m, n, snr**-0.5).total
        assert n[np.argmin(risk)] / m == pytest.approx(at, rel=0.01)
        assert risk[-1] > risk.min()
    assert np.isinf(theory.local_minimum([0.0, 0.5, 1.0])).all()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: theory.isotropic_risk(0, 5, 1.0), "examples is 0; choose at least 1"),
        (lambda: theory.isotropic_risk(5, -3, 1.0), "features is -3; choose at least 1"),
        (lambda: theory.isotropic_risk(5, 2.5, 1.0), "features is 2.5; give whole numbers"),
        (lambda: theory.isotropic_risk(5, [2, np.nan], 1.0), "features is nan; give whole numbers"),
        (lambda: theory.isotropic_risk(5, 5, -0.1), "sigma is -0.1; choose finite numbers of at least 0"),
        (lambda: theory.isotropic_risk(5, 5, float("nan")), "sigma is nan"),
        (lambda: theory.isotropic_risk(5, 5, "much"), "sigma is 'much'; give numbers"),
        (lambda: theory.isotropic_risk(5, 5, 1.0, -2), "power is -2"),
        (lambda: theory.selected_risk(5, 9, 8, 1.0), "features is 9, but there are 8"),
        (lambda: theory.nested_risk(5, 9, 1.0, [1.0]), "features is 9, but there are 1"),
        (lambda: theory.decaying_powers(0), "total is 0; choose at least 1"),
        (lambda: theory.local_minimum(-1), "snr is -1"),
    ],
)  # fmt: skip
def test_bad_inputs_get_one_line(call, said: str) -> None:  # type: ignore[no-untyped-def]
    # Breaks if a law is computed from what is no problem, or the message does not name it.
    with pytest.raises(UserError) as caught:
        call()
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
