"""PAC-Bayes bounds: what the mean risk of random predictors is at most, for most samples.

Losses lie in [0, 1]. P is a law of predictors chosen without the m examples, Q any other law, r̂ the mean over
Q of the empirical risk and r that of the true one. Every bound holds with probability 1 − δ for all Q at
once; it may exceed 1, and then says nothing. The loss itself must be bounded: a bound says nothing of an
unbounded one such as the cross-entropy.

A law without density with respect to P, such as a point mass where P is Gaussian, has infinite KL(Q‖P), and
every bound for it is infinite, or 1.

References:
    [M] A. Maurer, *A note on the PAC Bayesian theorem*, arXiv cs/0411099 (2004), theorem 5: the constant
    2√m, for m ≥ 8; smaller m by direct computation of its proof's sum.
    [McA] D. McAllester, *PAC-Bayesian model averaging*, COLT 1999, theorem 1.
    [C] O. Catoni, *PAC-Bayesian supervised classification*, IMS Lecture Notes 56 (2007), theorem 1.2.6.
    [LC] J. Langford, R. Caruana, *(Not) bounding the true error*, NIPS 2001.
    [DR] G. Dziugaite, D. Roy, *Computing nonvacuous generalization bounds for deep (stochastic) neural
    networks with many more parameters than training data*, UAI 2017.
    [PO] M. Pérez-Ortiz, O. Rivasplata, J. Shawe-Taylor, C. Szepesvári, *Tighter risk certificates for neural
    networks*, JMLR 22 (2021).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from implicit_bias.arguments import require_numbers
from implicit_bias.errors import UserError
from implicit_bias.theory.checks import counts, fractions, not_negative

HALVINGS = 70
"""Of an interval of length at most 1, after which it is one number in double precision."""


def require_bounded(losses: Any, name: str = "losses") -> np.ndarray:
    """Return losses, or risks, as float64 if they lie in [0, 1], where bounds for them hold.

    Raises:
        UserError: One does not.
    """
    require_numbers(name, losses)
    array = np.asarray(losses, np.float64)
    bad = ~((array >= 0) & (array <= 1))
    if np.any(bad):
        raise UserError(
            f"{name} is {array[bad].ravel()[0]:g}, but PAC-Bayes bounds need a loss in [0, 1]; give "
            "errors, or a loss that is clipped and divided by its largest value"
        )
    return array


def binary_kl(q: Any, p: Any) -> np.ndarray:
    """Return kl(q‖p) = q ln(q/p) + (1 − q) ln((1 − q)/(1 − p)) of coins, elementwise; infinite where it is.

    Args:
        q: Probabilities in [0, 1].
        p: Likewise; broadcast with q.

    Raises:
        UserError: A number is not a probability.
    """
    from scipy.special import rel_entr

    a, b = require_bounded(q, "q"), require_bounded(p, "p")
    return np.asarray(rel_entr(a, b) + rel_entr(1 - a, 1 - b))


def kl_inverse(q: Any, c: Any) -> np.ndarray:
    """Return the largest p with kl(q‖p) ≤ c, elementwise.

    Args:
        q: Empirical risks in [0, 1].
        c: Slack, at least 0, possibly infinite; broadcast with q.

    Returns:
        Upper bounds in [q, 1], to double precision.

    Raises:
        UserError: A risk is not in [0, 1], or a slack negative.
    """
    risk, slack = np.broadcast_arrays(require_bounded(q, "risk"), _slack(c))
    low, high = risk.copy(), np.ones(risk.shape)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        inside = binary_kl(risk, middle) <= slack
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    # Where nothing stops the search it ends at 1 itself.
    return np.asarray(np.where(binary_kl(risk, 1.0) <= slack, 1.0, low))


def gaussian_kl(mean: Any, std: Any, prior_mean: Any, prior_std: Any) -> float:
    """Return KL(N(μ, diag s²) ‖ N(μ₀, diag s₀²)), in nats; infinite for a point mass, s = 0 anywhere.

    Args:
        mean: μ, shape (d,).
        std: s ≥ 0, shape (d,) or a number.
        prior_mean: μ₀, shape (d,) or a number.
        prior_std: s₀ > 0, shape (d,) or a number.

    Raises:
        UserError: A standard deviation is negative, or the prior's is 0.
    """
    own, scale = not_negative("std", std), not_negative("prior_std", prior_std)
    if np.any(scale == 0):
        raise UserError("prior_std is 0; a prior that is a point mass certifies nothing else")
    centre = np.asarray(mean, np.float64)
    if np.any(own == 0):
        return float(np.inf)
    ratio = (own / scale) ** 2
    shift = ((centre - np.asarray(prior_mean, np.float64)) / scale) ** 2
    parts = np.broadcast_to(ratio - 1 - np.log(ratio), centre.shape) + shift
    return float(np.sum(parts) / 2)


def maurer_slack(kl: Any, m: Any, delta: Any) -> np.ndarray:
    """Return (KL + ln(2√m/δ))/m, which kl(r̂‖r) does not exceed.

    Args:
        kl: KL(Q‖P) ≥ 0 in nats, possibly infinite.
        m: Examples.
        delta: δ in (0, 1).

    Raises:
        UserError: A number is not as above.

    References:
        [M], theorem 5.
    """
    size = counts("m", m)
    return np.asarray((_slack(kl) + np.log(2 * np.sqrt(size) / fractions("delta", delta))) / size)


def kl_bound(risk: Any, kl: Any, m: Any, delta: Any) -> np.ndarray:
    """Return the inverse of kl at Maurer's slack: the tightest of the bounds here, but for a chosen β.

    Raises:
        UserError: The risk is not in [0, 1], δ not in (0, 1), or a number not as in ``maurer_slack``.
    """
    return kl_inverse(risk, maurer_slack(kl, m, delta))


def pinsker_bound(risk: Any, kl: Any, m: Any, delta: Any) -> np.ndarray:
    """Return r̂ + √((KL + ln(2√m/δ))/(2m)): Maurer's bound by Pinsker's inequality.

    Raises:
        UserError: As ``kl_bound``.
    """
    return np.asarray(require_bounded(risk, "risk") + np.sqrt(maurer_slack(kl, m, delta) / 2))


def quadratic_bound(risk: Any, kl: Any, m: Any, delta: Any) -> np.ndarray:
    """Return (√(r̂ + c) + √c)², c half of Maurer's slack: better than Pinsker's where risks are small.

    Raises:
        UserError: As ``kl_bound``.

    References:
        [PO], equation 10.
    """
    half = maurer_slack(kl, m, delta) / 2
    return np.asarray((np.sqrt(require_bounded(risk, "risk") + half) + np.sqrt(half)) ** 2)


def mcallester_bound(risk: Any, kl: Any, m: Any, delta: Any) -> np.ndarray:
    """Return r̂ + √((KL + ln(1/δ) + ln m + 2)/(2m − 1)).

    Raises:
        UserError: As ``kl_bound``.

    References:
        [McA], theorem 1.
    """
    size, level = counts("m", m), fractions("delta", delta)
    inside = (_slack(kl) - np.log(level) + np.log(size) + 2) / (2 * size - 1)
    return np.asarray(require_bounded(risk, "risk") + np.sqrt(inside))


def catoni_bound(risk: Any, kl: Any, m: Any, delta: Any, beta: float) -> np.ndarray:
    """Return (1 − exp(−βr̂ − (KL + ln(1/δ))/m))/(1 − e^(−β)), β fixed before the sample is seen.

    For several β divide δ by their number.

    Raises:
        UserError: As ``kl_bound``, or β is not positive.

    References:
        [C], theorem 1.2.6.
    """
    size, level = counts("m", m), fractions("delta", delta)
    if not_negative("beta", beta) == 0:
        raise UserError("beta is 0; choose a positive number")
    inside = beta * require_bounded(risk, "risk") + (_slack(kl) - np.log(level)) / size
    return np.asarray(np.expm1(-inside) / np.expm1(-beta))


def printed_bound(risk: Any, kl: Any, m: Any, delta: Any) -> np.ndarray:
    """Return r̂ + √((2KL + ln(1/δ))/(2m)), which no theorem gives as it stands.

    It is at least ``pinsker_bound``, and so holds, where KL ≥ ln(2√m), and is Hoeffding's inequality at KL =
    0.

    Raises:
        UserError: As ``kl_bound``.
    """
    size, level = counts("m", m), fractions("delta", delta)
    inside = (2 * _slack(kl) - np.log(level)) / (2 * size)
    return np.asarray(require_bounded(risk, "risk") + np.sqrt(inside))


def prior_variance(number: Any, largest: float, precision: float) -> np.ndarray:
    """Return λ_j = c e^(−j/b), the prior variances among which one may choose after seeing the sample.

    Args:
        number: j = 1, 2, ….
        largest: c > 0.
        precision: b > 0: variances of one factor e.

    Raises:
        UserError: A number is not as above.

    References:
        [DR], section 3.1.
    """
    j = counts("number", number)
    if not_negative("largest", largest) == 0 or not_negative("precision", precision) == 0:
        raise UserError("largest or precision is 0; choose positive numbers")
    return np.asarray(largest * np.exp(-j / precision))


def prior_delta(number: Any, delta: Any) -> np.ndarray:
    """Return δ_j = 6δ/(π²j²), whose sum over all j is δ: what is left of δ for the j-th prior.

    Raises:
        UserError: δ is not in (0, 1), or a number no count.

    References:
        [DR], section 3.1.
    """
    return np.asarray(6 * fractions("delta", delta) / (np.pi * counts("number", number)) ** 2)


def sampled_risk_bound(risk: Any, draws: Any, delta: Any) -> np.ndarray:
    """Return what r̂ is at most, with probability 1 − δ, from a mean over independent draws of predictors.

    Args:
        risk: Mean loss, in [0, 1], over draws that are independent, of means whose mean is r̂.
        draws: How many.
        delta: δ in (0, 1).

    Raises:
        UserError: A number is not as above.

    References:
        [LC]; [DR], section 3.3.
    """
    return kl_inverse(risk, np.log(2 / fractions("delta", delta)) / counts("draws", draws))


def _slack(values: Any) -> np.ndarray:
    require_numbers("kl", values)
    array = np.asarray(values, np.float64)
    if np.any(np.isnan(array) | (array < 0)):
        raise UserError(
            f"kl is {array[np.isnan(array) | (array < 0)].ravel()[0]:g}; give at least 0"
        )
    return array
