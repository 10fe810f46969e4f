"""Risk of ridge regression in the limit of many examples and features, by random-matrix theory.

The estimator is ``θ̂ = (XᵀX + α I)⁻¹Xᵀy``: the penalty α multiplies ‖θ‖² beside the *sum* of squared
errors, as in scikit-learn's ``Ridge``. [HMRT] average the errors: their λ is α/m. Laws are limits
m, n → ∞ at fixed γ = n/m and λ; means over training sets of finite size differ by O(1/m).

References:
    [HMRT] T. Hastie, A. Montanari, S. Rosset, R. Tibshirani, *Surprises in high-dimensional ridgeless least
    squares interpolation*, Ann. Statist. 50 (2022): sections 4 (general spectra) and 6 (ridge).
    [DW] E. Dobriban, S. Wager, *High-dimensional asymptotics of prediction: ridge regression and
    classification*, Ann. Statist. 46 (2018).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.theory.checks import (
    alike,
    count,
    counts,
    finite,
    from_zero,
    not_negative,
    one,
    positives,
    spectrum_of,
    squares,
)
from implicit_bias.theory.double_descent import Risk

HALVINGS = 200
"""Of the bracket of the effective penalty, in its logarithm."""


def stieltjes(ratio: Any, penalty: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the Marchenko–Pastur law's Stieltjes transform s(−λ) and its derivative s′(−λ).

    ``s(z) = ∫ dF(t)/(t − z)`` for the eigenvalues of XᵀX/m with isotropic features:
    ``s(−λ) = (−(1 − γ + λ) + √((1 − γ + λ)² + 4γλ)) / (2γλ)``.

    Args:
        ratio: γ = n/m > 0, any shape; broadcast with the other.
        penalty: λ > 0.

    Returns:
        Both, of the broadcast shape.

    Raises:
        UserError: The ratio or the penalty is not positive, or shapes do not broadcast.
    """
    gamma, lam = positives("ratio", ratio), positives("penalty", penalty)
    alike(ratio=gamma, penalty=lam)
    gamma, lam = np.broadcast_arrays(gamma, lam)
    scaled, root = _scaled(gamma, lam)
    s = scaled / lam
    # s solves γλs² + bs − 1 = 0, b = 1 − γ + λ; differentiated with respect to λ, ds/dλ = −s′(−λ).
    return s, (gamma * s**2 + s) / root


def _scaled(gamma: np.ndarray, lam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return λ s(−λ), which stays finite as λ → 0, and the root in s."""
    b = 1 - gamma + lam
    root = np.hypot(b, 2 * np.sqrt(gamma) * np.sqrt(lam))
    # −b + root loses all digits where b > 0; its conjugate does not.
    return np.where(b > 0, 2 * lam / np.where(b > 0, b + root, 1.0), (root - b) / (2 * gamma)), root


def ridge_risk(examples: Any, features: Any, sigma: Any, penalty: Any, power: Any = 1.0) -> Risk:
    """Return the limiting risk of ridge regression on isotropic features.

    With λ = α/m and γ = n/m: bias ‖θ‖² λ² s′(−λ), variance σ² γ (s(−λ) − λ s′(−λ)). At α = 0 it is the
    limit of :func:`~implicit_bias.theory.isotropic_risk`, infinite at n = m.

    Args:
        examples: m, any shape; arguments are broadcast.
        features: n.
        sigma: Standard deviation of the labels' noise.
        penalty: α ≥ 0, of ‖θ‖² beside the sum of squared errors.
        power: ‖θ‖².

    Returns:
        The parts of the risk.

    Raises:
        UserError: A count is not a positive whole number, a scale is negative, or shapes do not broadcast.

    References:
        [HMRT], section 6; [DW], theorem 2.1.
    """
    m, n = counts("examples", examples), counts("features", features)
    s2, alpha = squares("sigma", sigma), not_negative("penalty", penalty)
    signal = not_negative("power", power)
    alike(examples=m, features=n, sigma=s2, penalty=alpha, power=signal)
    m, n, s2, alpha, signal = np.broadcast_arrays(m, n, s2, alpha, signal)
    gamma, lam = n / m, alpha / m
    # With u = λs and the equation that s solves, both parts are free of differences, which as s − λs′ would
    # lose all digits for small λ: λ²s′ = u(γu + λ)/root, s − λs′ = u/((λ + γu) root).
    given = np.where(lam > 0, lam, 1.0)
    scaled, root = _scaled(gamma, given)
    bias = scaled / root * (gamma * scaled + given)
    variance = gamma * scaled / (given + gamma * scaled) / root
    with np.errstate(divide="ignore", invalid="ignore"):
        least = np.minimum(gamma, 1.0) / np.abs(gamma - 1)
    bias = np.where(lam > 0, bias, np.maximum(0.0, 1 - 1 / gamma))
    variance = np.where(lam > 0, variance, least)
    with np.errstate(invalid="ignore"):
        spread = np.where(s2 > 0, s2 * variance, 0.0)
    return Risk(signal * bias, spread, np.zeros(s2.shape), s2.copy())


def optimal_penalty(features: Any, sigma: Any, power: Any = 1.0) -> np.ndarray:
    """Return the penalty α = n σ²/‖θ‖² of least risk on isotropic features.

    It is optimal in the limit, and for every m and n on average over directions of θ, where ridge
    regression with it is the posterior mean under θ ~ N(0, ‖θ‖²/n I). With it the risk has no peak: it grows
    with n for fixed ‖θ‖².

    Args:
        features: n, any shape; arguments are broadcast.
        sigma: Standard deviation of the labels' noise.
        power: ‖θ‖² > 0.

    Raises:
        UserError: n is not a positive whole number, σ is negative, ‖θ‖² not positive, or shapes do not
            broadcast.

    References:
        [HMRT], section 6; [DW], section 2.
    """
    n, s2 = counts("features", features), squares("sigma", sigma)
    signal = not_negative("power", power)
    alike(features=n, sigma=s2, power=signal)
    if np.any(signal == 0):
        raise UserError(
            "power is 0; without a signal no penalty is large enough, choose a positive one"
        )
    return n * s2 / signal


def effective_penalty(examples: int, spectrum: Any, penalty: float = 0.0) -> float:
    """Return κ ≥ 0 that solves m − α/κ = Σ_j λ_j/(λ_j + κ): the penalty that the population sees.

    Args:
        examples: m.
        spectrum: Eigenvalues λ_j of the features' covariance, positive, shape (n,).
        penalty: α ≥ 0.

    Returns:
        κ; 0 where α = 0 and n ≤ m.

    Raises:
        UserError: m is not a positive whole number, the spectrum is none, or the penalty is negative.

    References:
        [HMRT], section 4, for α = 0; J. Simon et al., *The eigenlearning framework* (TMLR 2023), section 4.
    """
    m, eigenvalues = count("examples", examples), spectrum_of(spectrum)
    alpha = from_zero("penalty", penalty)
    if alpha == 0 and eigenvalues.size <= m:
        return 0.0
    # The left side less the right grows with κ. At (Σλ + α)/m it is not negative, as Σλ/(λ + κ) ≤ Σλ/κ.
    high = (eigenvalues.sum() + alpha) / m
    low = high * 1e-30
    for _ in range(HALVINGS):
        middle = np.sqrt(low * high)
        if m - alpha / middle < np.sum(eigenvalues / (eigenvalues + middle)):
            low = middle
        else:
            high = middle
        if high <= low * (1 + 1e-15):
            break
    return float(np.sqrt(low * high))


def anisotropic_risk(
    examples: int,
    spectrum: Any,
    sigma: float,
    coefficients: Any,
    penalty: float = 0.0,
    outside: float = 0.0,
) -> Risk:
    """Return the deterministic equivalent of the risk for features of any covariance.

    In the covariance's eigenbasis, with κ the effective penalty and d₂ = Σ λ_j²/(λ_j + κ)²: bias
    κ² Σ λ_j θ_j²/(λ_j + κ)² / (1 − d₂/m), variance σ² (d₂/m)/(1 − d₂/m). For α = 0 it is minimum-norm least
    squares; isotropic spectra give :func:`ridge_risk`.

    Args:
        examples: m.
        spectrum: Eigenvalues λ_j of the features' covariance, positive, shape (n,).
        sigma: Standard deviation of the labels' noise.
        coefficients: θ_j along the eigenvectors, shape (n,).
        penalty: α ≥ 0.
        outside: Variance of the labels from independent features that are not used.

    Returns:
        The parts of the risk, scalars; infinite where d₂ = m.

    Raises:
        UserError: m is not a positive whole number, the spectrum is none, shapes differ, a coefficient is not
            finite, or a scale is negative.

    References:
        [HMRT], sections 4 and 6; Simon et al. as in :func:`effective_penalty`.
    """
    eigenvalues, theta = spectrum_of(spectrum), finite("coefficients", coefficients)
    if theta.shape != eigenvalues.shape:
        raise UserError(
            f"coefficients have shape {theta.shape} and the spectrum {eigenvalues.shape}; give one for each "
            "eigenvalue"
        )
    s2, lost = one(squares, "sigma", sigma), from_zero("power left out", outside)
    m, kappa = count("examples", examples), effective_penalty(examples, eigenvalues, penalty)
    share = float(np.sum((eigenvalues / (eigenvalues + kappa)) ** 2)) / m
    left = 1 - share
    missed = kappa**2 * float(np.sum(eigenvalues * theta**2 / (eigenvalues + kappa) ** 2))
    tight = left <= 1e-12
    bias = np.inf if tight and missed > 0 else 0.0 if missed == 0 else missed / left
    variance = 0.0 if s2 + lost == 0 else np.inf if tight else (s2 + lost) * share / left
    return Risk(*(np.asarray(value) for value in (bias, variance, lost, s2)))
