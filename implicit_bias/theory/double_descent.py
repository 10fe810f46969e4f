"""Risk of minimum-norm least squares on Gaussian features, for finitely many examples.

``y = Xθ + η`` with m rows ``x ~ N(0, I)`` of n features and noise ``η ~ N(0, σ²)``; the solution is
``θ̂ = X⁺y``. On a new example its expected squared error is ``‖θ̂ − θ‖² + σ²``. Everything here holds for
every m and n, not only in a limit.

References:
    [BHX] M. Belkin, D. Hsu, J. Xu, *Two models of double descent for weak features*, SIAM J. Math. Data Sci.
    2 (2020), theorem 1: the risk, and features that are left out.
    [HMRT] T. Hastie, A. Montanari, S. Rosset, R. Tibshirani, *Surprises in high-dimensional ridgeless least
    squares interpolation*, Ann. Statist. 50 (2022), sections 3 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.theory.checks import (
    alike,
    count,
    counts,
    from_zero,
    not_negative,
    number,
    squares,
)


@dataclass(frozen=True)
class Risk:
    """Expected squared error on a new example, in parts; units of the squared label.

    Attributes:
        bias: What of the signal in the features is not found.
        variance: What the noise of the training labels does, that of left-out features included;
            infinite where it has no mean.
        left_out: Signal in features that are not used.
        noise: σ², which no prediction avoids.
    """

    bias: np.ndarray
    variance: np.ndarray
    left_out: np.ndarray
    noise: np.ndarray

    @property
    def excess(self) -> np.ndarray:
        """Error beyond the noise."""
        return self.bias + self.variance + self.left_out

    @property
    def total(self) -> np.ndarray:
        """Error on a new noisy label: test error."""
        return self.excess + self.noise


def isotropic_risk(examples: Any, features: Any, sigma: Any, power: Any = 1.0) -> Risk:
    """Return the mean risk over training sets, exactly, for isotropic Gaussian features.

    With m examples and n features: for n < m − 1 no bias and variance σ² n/(m − n − 1); for n > m + 1 bias
    ‖θ‖²(1 − m/n) and variance σ² m/(n − m − 1). For n = m − 1, m and m + 1 the variance has an infinite mean
    unless σ = 0; its distribution is known nevertheless (:func:`~implicit_bias.theory.risk_quantile`).

    Args:
        examples: m, any shape; arguments are broadcast.
        features: n.
        sigma: Standard deviation of the labels' noise.
        power: ‖θ‖².

    Returns:
        The parts of the risk.

    Raises:
        UserError: m or n is not a positive whole number, σ or ‖θ‖² is negative, or shapes do not broadcast.

    References:
        [BHX], theorem 1; [HMRT], section 3, has its limit.

    Example:
        >>> from implicit_bias import theory
        >>> risk = theory.isotropic_risk(examples=50, features=20, sigma=1.0)  # d/(m − d − 1) = 20/29
        >>> round(float(risk.variance), 4)
        0.6897
    """
    return misspecified_risk(examples, features, sigma, power, 0.0)


def misspecified_risk(examples: Any, used: Any, sigma: Any, inside: Any, outside: Any) -> Risk:
    """Return the mean risk where the labels also depend on features that are not used.

    All features are independent standard Gaussians, so that those left out are noise of the labels, of
    variance ‖θ_out‖², to a regression on the others.

    Args:
        examples: m, any shape; arguments are broadcast.
        used: Features that the regression has.
        sigma: Standard deviation of the labels' own noise.
        inside: ‖θ‖² over the features used.
        outside: ‖θ‖² over those left out.

    Returns:
        The parts of the risk.

    Raises:
        UserError: A count is not a positive whole number, a scale is negative, or shapes do not broadcast.

    References:
        [BHX], theorem 1.
    """
    m, n = counts("examples", examples), counts("features", used)
    s2 = squares("sigma", sigma)
    signal, lost = not_negative("power", inside), not_negative("power left out", outside)
    alike(examples=m, features=n, sigma=s2, power=signal, outside=lost)
    m, n, s2, signal, lost = np.broadcast_arrays(m, n, s2, signal, lost)
    bias = signal * np.maximum(0.0, 1 - m / n)
    effective = s2 + lost
    apart = np.abs(n - m) - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(apart > 0, np.minimum(m, n) / np.maximum(apart, 0), np.inf)
        variance = np.where(effective > 0, effective * factor, 0.0)
    return Risk(bias, variance, lost.copy(), s2.copy())


def selected_risk(examples: Any, used: Any, total: Any, sigma: Any, power: Any = 1.0) -> Risk:
    """Return the mean risk where p of D features are used, chosen without looking: Belkin–Hsu–Xu's model.

    Args:
        examples: m, any shape; arguments are broadcast.
        used: p.
        total: D, of which labels depend on all.
        sigma: Standard deviation of the labels' noise.
        power: ‖θ‖² over all D features.

    Returns:
        The parts of the risk, averaged over choices.

    Raises:
        UserError: A count is not a positive whole number, p exceeds D, a scale is negative, or shapes do not
            broadcast.

    References:
        [BHX], corollary 1.
    """
    p, d = counts("features", used), counts("total", total)
    whole = not_negative("power", power)
    alike(features=p, total=d, power=whole)
    p, d = np.broadcast_arrays(p, d)
    if np.any(p > d):
        raise UserError(
            f"features is {p[p > d][0]}, but there are {d[p > d][0]}; choose at most as many"
        )
    return misspecified_risk(examples, p, sigma, whole * (p / d), whole * (1 - p / d))


def decaying_powers(total: int, exponent: float = 1.0, power: float = 1.0) -> np.ndarray:
    """Return θ_j² of a signal θ_j ∝ j^(−exponent), shape (total,), with the given sum.

    Args:
        total: Features the labels depend on.
        exponent: Of the decay; 0 spreads the signal evenly.
        power: ‖θ‖².

    Raises:
        UserError: ``total`` is not a positive whole number, the exponent is no finite number or so negative
            that powers overflow, or the power is negative.
    """
    places = np.arange(1, count("total", total) + 1, dtype=np.float64)
    with np.errstate(over="ignore"):
        shares = places ** (-2.0 * number("exponent", exponent))
        whole = shares.sum()
    if not np.isfinite(whole):
        raise UserError(f"exponent is {exponent:g}, so that powers overflow; choose a larger one")
    return from_zero("power", power) * shares / whole


def nested_risk(examples: Any, used: Any, sigma: Any, powers: Any) -> Risk:
    """Return the mean risk where the first p features are used, of labels with given θ_j².

    Args:
        examples: m, any shape; broadcast with ``used``.
        used: p, at most as many as there are powers.
        sigma: Standard deviation of the labels' noise.
        powers: θ_j², in the order in which features are taken, shape (D,).

    Returns:
        The parts of the risk.

    Raises:
        UserError: A count is not a positive whole number, p exceeds D, a scale is negative, the powers are no
            list, or shapes do not broadcast.

    References:
        [BHX], theorem 1 and section 2.2 (features taken in the order of what they carry).
    """
    p, theta = counts("features", used), np.atleast_1d(not_negative("powers", powers))
    if theta.ndim > 1:
        raise UserError(f"powers has shape {theta.shape}; give a list, one for each feature")
    if np.any(p > theta.size):
        raise UserError(
            f"features is {int(np.max(p))}, but there are {theta.size} powers; choose at most as many"
        )
    inside = np.cumsum(theta)[p - 1]
    return misspecified_risk(examples, p, sigma, inside, np.maximum(theta.sum() - inside, 0.0))


def local_minimum(snr: Any) -> np.ndarray:
    """Return the ratio n/m > 1 at which the limiting isotropic risk is least beyond the threshold.

    It is √SNR/(√SNR − 1), SNR = ‖θ‖²/σ², and infinite for SNR ≤ 1: then the risk falls all the way to that
    of predicting zero. For SNR > 1 it rises again from there on: more parameters are worse.

    Args:
        snr: Any shape.

    Raises:
        UserError: The ratio is negative.

    References:
        [HMRT], section 3.
    """
    root = np.sqrt(not_negative("snr", snr))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(root > 1, root / (root - 1), np.inf)
