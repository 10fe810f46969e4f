"""The distribution of the risk against draws, its mean, and itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from implicit_bias import theory
from implicit_bias.errors import UserError
from tests.theory.draws import excess_risks

# At the threshold, beside it and far from it; the signal's part small, large and alike.
POINTS = [
    (10, 10, 0.5), (10, 9, 0.5), (10, 11, 0.5), (10, 11, 0.01), (10, 12, 2.0), (20, 20, 0.1),
    (15, 5, 1.0), (10, 30, 0.05), (10, 30, 0.5), (10, 30, 2.0), (1, 1, 1.0), (1, 6, 0.3), (6, 1, 0.3),
    (10, 30, 0.0),
]  # fmt: skip
DRAWS = 2000


@pytest.fixture(scope="module")
def measured() -> list[np.ndarray]:
    """Draws at each point, for a signal of power 2 along one axis."""
    rng = np.random.default_rng(3)
    return [
        excess_risks(rng, DRAWS, np.r_[np.sqrt(2), np.zeros(n - 1)], n, m, s) for m, n, s in POINTS
    ]


def test_draws_follow_the_law_at_the_threshold_too(measured: list[np.ndarray]) -> None:
    # Breaks if a number of degrees of freedom is wrong, or the two parts are not independent.
    p = [
        stats.kstest(theory.risk_cdf(risks, m, n, s, 2.0), "uniform").pvalue
        for (m, n, s), risks in zip(POINTS, measured, strict=True)
    ]
    assert min(p) > 0.05 / len(p), dict(zip(POINTS, p, strict=True))


def test_wrong_degrees_of_freedom_are_caught(measured: list[np.ndarray]) -> None:
    # Breaks if the test above has no power: n = m with n − m + 2 degrees of freedom must fail.
    for place in (0, 5):
        m, _, s = POINTS[place]
        wrong = stats.f(m, 2)
        p = stats.kstest(wrong.cdf(measured[place] / s**2 * 2 / m), "uniform").pvalue
        assert p < 1e-6


@given(
    m=st.integers(1, 80), n=st.integers(1, 80), sigma=st.floats(0.01, 5), power=st.floats(0, 20),
    level=st.floats(0.02, 0.98),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_quantiles_invert_probabilities(
    m: int, n: int, sigma: float, power: float, level: float
) -> None:
    # Breaks if the search leaves its bracket or stops early, at any size.
    at = theory.risk_quantile(level, m, n, sigma, power)
    assert np.isfinite(at)
    assert at >= 0
    assert theory.risk_cdf(at, m, n, sigma, power) == pytest.approx(level, abs=1e-6)
    assert theory.risk_quantile(level / 2, m, n, sigma, power) <= at


def test_means_of_the_law_are_the_exact_risks() -> None:
    # Breaks if risk and law disagree: E = ∫ quantile, by quadrature away from heavy tails.
    nodes, weights = np.polynomial.legendre.leggauss(60)
    for m, n, sigma in ((20, 60, 0.5), (60, 20, 0.5), (20, 60, 3.0), (20, 60, 0.05)):
        mean = theory.risk_quantile((nodes + 1) / 2, m, n, sigma) @ weights / 2
        assert mean == pytest.approx(theory.isotropic_risk(m, n, sigma).excess, rel=2e-3)


def test_without_noise_or_signal() -> None:
    # Breaks if a part that is not there divides by zero.
    assert theory.risk_quantile(0.5, 10, 5, 0.0) == 0
    assert theory.risk_cdf(0.0, 10, 5, 0.0) == 1
    assert theory.risk_cdf([-1.0, 0.5, 2.0], 10, 30, 0.0) == pytest.approx(
        stats.beta(10, 5).cdf([-1.0, 0.5, 2.0])
    )
    ratio = stats.f(10, 21)
    assert theory.risk_quantile(0.9, 10, 30, 1.0, 0.0) == pytest.approx(ratio.ppf(0.9) * 10 / 21)
    assert theory.risk_quantile(0.5, 50, 50, 0.01) == pytest.approx(
        1e-4 * 50 * stats.f(50, 1).ppf(0.5)
    )


def test_bad_inputs_get_one_line() -> None:
    with pytest.raises(UserError, match=r"^level is 1; choose numbers between 0 and 1$"):
        theory.risk_quantile(1.0, 5, 5, 1.0)
    with pytest.raises(UserError, match=r"^examples is 0; choose at least 1$"):
        theory.risk_cdf(1.0, 0, 5, 1.0)
    with pytest.raises(UserError, match=r"^sigma is -1; choose finite"):
        theory.risk_quantile(0.5, 5, 5, -1.0)
