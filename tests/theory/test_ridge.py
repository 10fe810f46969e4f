"""Limiting ridge risks against draws, scikit-learn, quadrature and exact laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from implicit_bias import theory
from implicit_bias.errors import UserError
from tests.theory.draws import excess_risks


def finite_risk(m: int, n: int, sigma: float, penalty: float, draws: int, seed: int) -> float:
    """Mean excess risk of ridge over training sets; over noise and directions of θ it is taken exactly."""
    x = np.random.default_rng(seed).standard_normal((draws, m, n))
    small = np.swapaxes(x, 1, 2) @ x if n <= m else x @ np.swapaxes(x, 1, 2)
    values = np.maximum(np.linalg.eigvalsh(small), 0)
    shrunk = values / (values + penalty) ** 2
    # E θᵀ(α/(XᵀX + α))²θ for θ uniform on the sphere; directions that are not seen are lost whole.
    lost = np.sum((penalty / (values + penalty)) ** 2, axis=1) + max(0, n - m)
    return float(np.mean(lost / n + sigma**2 * shrunk.sum(axis=1)))


@pytest.mark.parametrize(
    ("gamma", "lam", "sigma"), [(0.5, 0.3, 1.0), (2.0, 0.3, 1.0), (1.0, 0.2, 0.5)]
)
def test_error_of_the_limit_falls_as_one_over_n(gamma: float, lam: float, sigma: float) -> None:
    # Breaks if a constant is wrong: the error then tends to that mistake and does not fall.
    sizes = np.array([8, 16, 32, 64])
    errors = []
    for m, draws in zip(sizes, (20000, 8000, 2500, 700), strict=True):
        n = round(gamma * m)
        limit = theory.ridge_risk(m, n, sigma, lam * m).excess
        errors.append(abs(finite_risk(m, n, sigma, lam * m, draws, 1) - limit))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert slope == pytest.approx(-1, abs=0.3), errors


def test_without_penalty_it_is_scikit_learns_ridge() -> None:
    # Breaks if the penalty is scaled otherwise than scikit-learn's, or λ → 0 does not lead to minimum norm.
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(5)
    for m, n in ((15, 40), (40, 15)):
        x, theta = rng.standard_normal((m, n)), rng.standard_normal(n)
        y = x @ theta + 0.3 * rng.standard_normal(m)
        fitted = Ridge(alpha=1e-9, fit_intercept=False, solver="svd").fit(x, y).coef_
        assert fitted == pytest.approx(np.linalg.pinv(x) @ y, abs=1e-7)
        # With a penalty: the same weights as the normal equations of the room's convention.
        shrunk = Ridge(alpha=2.0, fit_intercept=False).fit(x, y).coef_
        assert shrunk == pytest.approx(np.linalg.solve(x.T @ x + 2 * np.eye(n), x.T @ y), abs=1e-9)
    risks = []
    for _ in range(200):
        x = rng.standard_normal((20, 60))
        y = x[:, 0] + 0.5 * rng.standard_normal(20)
        w = Ridge(alpha=1e-9, fit_intercept=False, solver="svd").fit(x, y).coef_
        risks.append(np.sum(w**2) - 2 * w[0] + 1)
    error = np.std(risks) / 200**0.5
    assert np.mean(risks) == pytest.approx(theory.isotropic_risk(20, 60, 0.5).excess, abs=4 * error)


@given(
    gamma=st.floats(0.05, 20), lam=st.floats(1e-3, 50), sigma=st.floats(0, 3), power=st.floats(0, 5)
)
@settings(deadline=None, max_examples=60)
def test_closed_form_is_the_fixed_point(
    gamma: float, lam: float, sigma: float, power: float
) -> None:
    # Breaks if either of two derivations is wrong: Marchenko–Pastur in closed form, and the general equation.
    m = 100
    n = max(1, round(gamma * m))
    closed = theory.ridge_risk(m, n, sigma, lam * m, power)
    theta = np.full(n, np.sqrt(power / n))
    general = theory.anisotropic_risk(m, np.ones(n), sigma, theta, lam * m)
    assert closed.bias == pytest.approx(general.bias, rel=1e-8, abs=1e-12)
    assert closed.variance == pytest.approx(general.variance, rel=1e-6, abs=1e-12)


def test_stieltjes_transform_is_that_of_the_density() -> None:
    # Breaks if the root of the quadratic is the other one: ∫ dF(t)/(t + λ) by quadrature.
    for gamma, lam in ((0.5, 0.1), (0.5, 3.0), (2.0, 0.1)):
        low, high = (1 - gamma**0.5) ** 2, (1 + gamma**0.5) ** 2

        def density(t: float, gamma: float = gamma, low: float = low, high: float = high) -> float:
            return np.sqrt((high - t) * (t - low)) / (2 * np.pi * gamma * t)

        whole = integrate.quad(lambda t: density(t) / (t + lam), low, high)[0]  # noqa: B023
        square = integrate.quad(lambda t: density(t) / (t + lam) ** 2, low, high)[0]  # noqa: B023
        atom = max(0.0, 1 - 1 / gamma)
        found = theory.stieltjes(gamma, lam)
        assert found[0] == pytest.approx(whole + atom / lam, rel=1e-6)
        assert found[1] == pytest.approx(square + atom / lam**2, rel=1e-6)


def test_ridgeless_limits() -> None:
    # Breaks if α = 0 is not the limit of α → 0, on either side of the threshold.
    for n in (20, 49, 51, 200):
        none, little = (theory.ridge_risk(50, n, 0.5, a).excess for a in (0.0, 1e-9))
        assert none == pytest.approx(little, rel=1e-5)
        m = 50_000
        exact = theory.isotropic_risk(m, n * 1000, 0.5).excess
        assert none == pytest.approx(exact, rel=2e-3)
    assert np.isinf(theory.ridge_risk(50, 50, 0.5, 0.0).excess)
    assert theory.ridge_risk(50, 50, 0.0, 0.0).excess == 0


@pytest.mark.parametrize("n", [25, 50, 99, 100, 101, 200, 4000])
def test_small_penalties_keep_all_digits(n: int) -> None:
    # Breaks if parts are differences of large numbers: at a penalty of 1e-14 the variance was −2, not 1.
    # Expected values solve the same equation in decimals of many digits.
    from decimal import Decimal, localcontext

    m = 100
    for penalty in (1e-300, 1e-20, 1e-14, 1e-9, 1e-4, 1.0, 1e6, 1e12):
        with localcontext() as context:
            context.prec = 700
            lam, gamma = Decimal(penalty) / m, Decimal(n) / m
            b = 1 - gamma + lam
            s = ((b**2 + 4 * gamma * lam).sqrt() - b) / (2 * gamma * lam)
            slope = (gamma * s**2 + s) / (2 * gamma * lam * s + b)
            bias, variance = float(lam**2 * slope), float(gamma * (s - lam * slope))
        risk = theory.ridge_risk(m, n, 1.0, penalty)
        assert float(risk.bias) == pytest.approx(bias, rel=1e-9, abs=0)
        assert float(risk.variance) == pytest.approx(variance, rel=1e-9, abs=0)


def test_optimal_penalty_is_best_and_has_no_peak() -> None:
    # Breaks if the penalty is scaled by examples instead of features, or the risk still has a peak.
    n = np.arange(5, 400, 5)
    for sigma in (0.1, 1.0):
        best = theory.optimal_penalty(n, sigma, 2.0)
        risk = theory.ridge_risk(50, n, sigma, best, 2.0).total
        for factor in (0.0, 0.5, 0.9, 1.1, 2.0):
            assert (theory.ridge_risk(50, n, sigma, factor * best, 2.0).total >= risk).all()
        assert (np.diff(risk) > 0).all()


def test_general_spectra_are_those_of_draws() -> None:
    # Breaks if the deterministic equivalent weighs eigenvalues wrongly; its own error is about 1/m.
    rng = np.random.default_rng(11)
    spectrum = np.arange(1, 121.0) ** -1.5
    theta = rng.standard_normal(120)
    for used, m, sigma in ((120, 30, 0.3), (80, 40, 0.1), (12, 40, 0.5)):
        risks = excess_risks(rng, 1500, theta, used, m, sigma, spectrum)
        outside = float(np.sum(spectrum[used:] * theta[used:] ** 2))
        law = theory.anisotropic_risk(m, spectrum[:used], sigma, theta[:used], outside=outside)
        assert risks.mean() == pytest.approx(float(law.excess), rel=0.05)
        kappa = theory.effective_penalty(m, spectrum[:used])
        found = np.sum(spectrum[:used] / (spectrum[:used] + kappa))
        assert found == pytest.approx(min(m, used), rel=1e-9)


def test_effective_penalty_survives_steep_spectra() -> None:
    # Breaks if the bracket starts too high: 300 orders of magnitude, all but one of them noise.
    steep = 10.0 ** -np.arange(0.0, 30.0)
    kappa = theory.effective_penalty(10, steep)
    assert np.sum(steep / (steep + kappa)) == pytest.approx(10, rel=1e-9)
    assert theory.effective_penalty(10, np.ones(4)) == 0
    assert theory.effective_penalty(10, np.ones(4), 3.0) == pytest.approx(
        np.roots([10, 10 - 3 - 4, -3]).max()
    )


def test_bad_inputs_get_one_line() -> None:
    for call, said in (
        (lambda: theory.ridge_risk(5, 5, 1.0, -1.0), "penalty is -1; choose finite"),
        (lambda: theory.ridge_risk(-5, 5, 1.0, 1.0), "examples is -5; choose at least 1"),
        (lambda: theory.stieltjes(0.0, 1.0), "ratio is 0; choose a positive one"),
        (lambda: theory.optimal_penalty(5, 1.0, 0.0), "power is 0; without a signal"),
        (lambda: theory.anisotropic_risk(5, [1.0, 0.0], 1.0, [1, 1]), "spectrum holds 0"),
        (lambda: theory.anisotropic_risk(5, [], 1.0, []), "spectrum has shape (0,)"),
        (lambda: theory.anisotropic_risk(5, [1.0], 1.0, [1, 1]), "coefficients have shape (2,)"),
        (lambda: theory.effective_penalty(0, [1.0]), "examples is 0"),
    ):
        with pytest.raises(UserError) as caught:
            call()
        assert str(caught.value).startswith(said)
