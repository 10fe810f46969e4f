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
    [C] O. Catoni, *PAC-Bayesian supervised classification*, IMS Lecture Notes 56 (2007): the bound at a fixed
    inverse temperature.
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
from implicit_bias.theory.checks import (
    counts,
    finite,
    fractions,
    not_negative,
    positive,
    together,
)

HALVINGS = 70
"""Of an interval of length at most 1, after which it has length 10⁻²¹."""


def require_bounded(losses: Any, name: str = "losses") -> np.ndarray:
    """Return losses, or risks, as float64 if they lie in [0, 1], where bounds for them hold.

    Raises:
        UserError: One does not.
    """
    require_numbers(name, losses)
    array = np.asarray(losses, np.float64)
    together(**{name: array})
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

    Example:
        >>> float(binary_kl(0.5, 0.25).round(4))  # (ln 2 + ln 2/3)/2
        0.1438
    """
    from scipy.special import rel_entr

    a, b = _probabilities("q", q), _probabilities("p", p)
    together(q=a, p=b)
    return np.asarray(rel_entr(a, b) + rel_entr(1 - a, 1 - b))


def kl_inverse(q: Any, c: Any) -> np.ndarray:
    """Return the largest p with kl(q‖p) ≤ c, elementwise.

    Args:
        q: Empirical risks in [0, 1].
        c: Slack, at least 0, possibly infinite; broadcast with q.

    Returns:
        Upper bounds p in [q, 1], off by at most about 10⁻¹⁶ (1 + q(1 − q)/(p − q)) by rounding, and by 10⁻²¹
        by halving: a relative accuracy of 10⁻¹⁵ where p is above 10⁻⁶, and none where it is near 10⁻²¹.

    Raises:
        UserError: A risk is not in [0, 1], or a slack negative.

    Example:
        >>> from implicit_bias import theory
        >>> float(theory.kl_inverse(0.0, 0.1).round(6))  # 1 − e^(−0.1)
        0.095163
    """
    risk, slack = require_bounded(q, "risk"), _slack(c)
    together(risk=risk, kl=slack)
    risk, slack = np.broadcast_arrays(risk, slack)
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
        mean: μ, shape (d,) or a number.
        std: s ≥ 0, shape (d,) or a number.
        prior_mean: μ₀, shape (d,) or a number.
        prior_std: s₀ > 0, shape (d,) or a number.

    Raises:
        UserError: A standard deviation is negative, or the prior's is 0, a mean is not finite, or a shape is
            another than the mean's.
    """
    own, scale = not_negative("std", std), not_negative("prior_std", prior_std)
    if np.any(scale == 0):
        raise UserError("prior_std is 0; a prior that is a point mass certifies nothing else")
    centre, prior = finite("mean", mean), finite("prior_mean", prior_mean)
    for name, array in (("std", own), ("prior_mean", prior), ("prior_std", scale)):
        if array.shape not in ((), centre.shape):
            raise UserError(
                f"{name} has shape {array.shape}, but mean {centre.shape}; give one number, or as many"
            )
    if np.any(own == 0):
        return float(np.inf)
    with np.errstate(over="ignore"):  # such a divergence is infinite as far as any bound goes
        # The logarithm of the ratio, not of its square, which can be 0 in double precision.
        spread = (own / scale) ** 2 - 1 - 2 * (np.log(own) - np.log(scale))
        shift = ((centre - prior) / scale) ** 2
        return float(np.sum(np.broadcast_to(spread, centre.shape) + shift) / 2)


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
    own, size, level = _terms(kl, m, delta)
    return np.asarray((own + np.log(2 * np.sqrt(size) / level)) / size)


def kl_bound(risk: Any, kl: Any, m: Any, delta: Any) -> np.ndarray:
    """Return the inverse of kl at Maurer's slack: the tightest of the bounds here, but for a chosen β.

    Raises:
        UserError: The risk is not in [0, 1], δ not in (0, 1), or a number not as in ``maurer_slack``.
    """
    return kl_inverse(_risk(risk, kl, m, delta), maurer_slack(kl, m, delta))


def pinsker_bound(risk: Any, kl: Any, m: Any, delta: Any) -> np.ndarray:
    """Return r̂ + √((KL + ln(2√m/δ))/(2m)): Maurer's bound by Pinsker's inequality.

    Raises:
        UserError: As ``kl_bound``.
    """
    return np.asarray(_risk(risk, kl, m, delta) + np.sqrt(maurer_slack(kl, m, delta) / 2))


def quadratic_bound(risk: Any, kl: Any, m: Any, delta: Any) -> np.ndarray:
    """Return (√(r̂ + c) + √c)², c half of Maurer's slack: better than Pinsker's where risks are small.

    Raises:
        UserError: As ``kl_bound``.

    References:
        [PO]: their quadratic bound.
    """
    half = maurer_slack(kl, m, delta) / 2
    return np.asarray((np.sqrt(_risk(risk, kl, m, delta) + half) + np.sqrt(half)) ** 2)


def mcallester_bound(risk: Any, kl: Any, m: Any, delta: Any) -> np.ndarray:
    """Return r̂ + √((KL + ln(1/δ) + ln m + 2)/(2m − 1)).

    Raises:
        UserError: As ``kl_bound``.

    References:
        [McA], theorem 1.
    """
    own, size, level = _terms(kl, m, delta)
    inside = (own - np.log(level) + np.log(size) + 2) / (2 * size - 1)
    return np.asarray(_risk(risk, kl, m, delta) + np.sqrt(inside))


def catoni_bound(risk: Any, kl: Any, m: Any, delta: Any, beta: float) -> np.ndarray:
    """Return (1 − exp(−βr̂ − (KL + ln(1/δ))/m))/(1 − e^(−β)), β fixed before the sample is seen.

    For several β divide δ by their number.

    Raises:
        UserError: As ``kl_bound``, or β is not positive.

    References:
        [C].
    """
    own, size, level = _terms(kl, m, delta)
    rate = positive("beta", beta)
    inside = rate * _risk(risk, kl, m, delta) + (own - np.log(level)) / size
    return np.asarray(np.expm1(-inside) / np.expm1(-rate))


def printed_bound(risk: Any, kl: Any, m: Any, delta: Any) -> np.ndarray:
    """Return r̂ + √((2KL + ln(1/δ))/(2m)), which no theorem gives as it stands.

    It is at least ``pinsker_bound``, and so holds, where KL ≥ ln(2√m), and is Hoeffding's inequality at KL =
    0.

    Raises:
        UserError: As ``kl_bound``.
    """
    own, size, level = _terms(kl, m, delta)
    inside = (2 * own - np.log(level)) / (2 * size)
    return np.asarray(_risk(risk, kl, m, delta) + np.sqrt(inside))


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
    together(number=j)
    return np.asarray(positive("largest", largest) * np.exp(-j / positive("precision", precision)))


def prior_delta(number: Any, delta: Any) -> np.ndarray:
    """Return δ_j = 6δ/(π²j²), whose sum over all j is δ: what is left of δ for the j-th prior.

    Raises:
        UserError: δ is not in (0, 1), or a number no count.

    References:
        [DR], section 3.1.
    """
    level, j = fractions("delta", delta), counts("number", number)
    together(delta=level, number=j)
    return np.asarray(6 * level / (np.pi * j) ** 2)


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
    seen, level, number = (
        require_bounded(risk, "risk"),
        fractions("delta", delta),
        counts("draws", draws),
    )
    together(risk=seen, draws=number, delta=level)
    return kl_inverse(seen, np.log(2 / level) / number)


def _probabilities(name: str, values: Any) -> np.ndarray:
    require_numbers(name, values)
    array = np.asarray(values, np.float64)
    bad = ~((array >= 0) & (array <= 1))
    if np.any(bad):
        raise UserError(f"{name} is {array[bad].ravel()[0]:g}; give probabilities from 0 to 1")
    return array


def _terms(kl: Any, m: Any, delta: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    own, size, level = _slack(kl), counts("m", m), fractions("delta", delta)
    together(kl=own, m=size, delta=level)
    return own, size, level


def _risk(risk: Any, kl: Any, m: Any, delta: Any) -> np.ndarray:
    found = require_bounded(risk, "risk")
    together(risk=found, kl=np.asarray(kl), m=np.asarray(m), delta=np.asarray(delta))
    return found


def _slack(values: Any) -> np.ndarray:
    require_numbers("kl", values)
    array = np.asarray(values, np.float64)
    if np.any(np.isnan(array) | (array < 0)):
        raise UserError(
            f"kl is {array[np.isnan(array) | (array < 0)].ravel()[0]:g}; give at least 0"
        )
    return array
