"""The whole distribution of the risk over training sets, at the interpolation threshold too.

For isotropic Gaussian features the excess risk ``‖X⁺y − θ‖²`` of one training set is distributed as

    n ≤ m:  σ² χ²_n / χ²_{m−n+1}
    n > m:  ‖θ‖² Beta((n−m)/2, m/2) + σ² χ²_m / χ²_{n−m+1}

with all variables independent. Reasons: (a) with z the noise within the span of the features, standard normal
and independent of the Gram matrix W, a Wishart matrix, the second part is ``zᵀW⁻¹z = ‖z‖² · (1/χ²)``: for
every fixed direction a, ``aᵀa / aᵀW⁻¹a`` is χ² with as many degrees of freedom as W has, less its size, plus
one; (b) the part of θ that is orthogonal to a uniformly distributed m-dimensional row space has a
Beta-distributed squared length; (c) row space and Gram matrix of a Gaussian matrix are independent, and
the two errors orthogonal. Means are those of :func:`~implicit_bias.theory.isotropic_risk`; at |n − m| ≤ 1
the last denominator has one or two degrees of freedom, so that the mean is infinite and quantiles are finite.

References:
    R. J. Muirhead, *Aspects of Multivariate Statistical Theory* (1982), theorems 3.2.12 (Wishart) and 1.5.7
    (row space and Gram matrix).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from implicit_bias.arguments import require_numbers
from implicit_bias.errors import UserError
from implicit_bias.theory.checks import alike, counts, fractions, not_negative, squares

NODES = 96
"""Of the quadrature over the narrower of the two parts."""

STEPS = 24
"""Of the search for a quantile, within a bracket whose width is at most ‖θ‖²."""


class _Law(NamedTuple):
    m: np.ndarray
    n: np.ndarray
    noise: np.ndarray
    signal: np.ndarray


def risk_cdf(excess: Any, examples: Any, features: Any, sigma: Any, power: Any = 1.0) -> np.ndarray:
    """Return the probability that the excess risk of a training set is at most a value.

    Args:
        excess: ‖X⁺y − θ‖², any shape; arguments are broadcast.
        examples: m.
        features: n.
        sigma: Standard deviation of the labels' noise; with features left out, the root of σ² + ‖θ_out‖².
        power: ‖θ‖² over the features used.

    Returns:
        Probabilities, to 1e-3 absolutely or better.

    Raises:
        UserError: m or n is not a positive whole number, a scale is negative or not finite, the excess is no
            number, or shapes do not broadcast.
    """
    require_numbers("excess", excess)
    value = np.asarray(excess, np.float64)
    if np.isnan(value).any():
        raise UserError("excess is nan; give numbers, possibly infinite")
    law, (t,) = _broadcast("excess", value, examples, features, sigma, power)
    return _cdf(t.ravel(), _flat(law)).reshape(t.shape)


def risk_quantile(
    level: Any, examples: Any, features: Any, sigma: Any, power: Any = 1.0
) -> np.ndarray:
    """Return quantiles of the excess risk over training sets; level 0.5 is the median.

    Args:
        level: Between 0 and 1, any shape; arguments are broadcast.
        examples: m.
        features: n.
        sigma: As for :func:`risk_cdf`.
        power: ‖θ‖² over the features used.

    Returns:
        Quantiles, finite everywhere.

    Raises:
        UserError: A level is not between 0 and 1, or as :func:`risk_cdf`.
    """
    given, (q,) = _broadcast("level", fractions("level", level), examples, features, sigma, power)
    law, wanted = _flat(given), q.ravel()
    of_noise = law.noise * _ratio_quantile(wanted, law)
    of_signal = law.signal * _share_quantile(wanted, law)
    # Neither part is negative and the share is at most one: that brackets the quantile of the sum.
    low, high = np.maximum(of_noise, of_signal), of_noise + np.where(law.n > law.m, law.signal, 0)
    both = (law.signal > 0) & (law.noise > 0) & (law.n > law.m)
    found = np.where(both, 0.0, low)
    if both.any():
        part = _Law(*(values[both] for values in law))
        nodes, level_of = _narrow(part), wanted[both]
        found[both] = _root(lambda t: _sum(t, part, nodes) - level_of, low[both], high[both])
    return found.reshape(q.shape)


def _root(
    rising: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Find where rising functions are zero, each within its bracket: regula falsi, Illinois variant."""
    f_low, f_high = rising(low), rising(high)
    for step in range(STEPS):
        with np.errstate(divide="ignore", invalid="ignore"):
            guess = (low * f_high - high * f_low) / (f_high - f_low)
        # Every fourth step halves, so that flat stretches cannot hold it up.
        usable = np.isfinite(guess) & (guess > low) & (guess < high) & (step % 4 != 3)
        middle = np.where(usable, guess, (low + high) / 2)
        value = rising(middle)
        up = value < 0
        f_low, f_high = (
            np.where(up, value, f_low / 2),
            np.where(up, f_high / 2, value),
        )
        low, high = np.where(up, middle, low), np.where(up, high, middle)
    return (low + high) / 2


def _broadcast(
    name: str, value: np.ndarray, examples: Any, features: Any, sigma: Any, power: Any
) -> tuple[_Law, tuple[np.ndarray]]:
    m, n = counts("examples", examples), counts("features", features)
    noise, signal = squares("sigma", sigma), not_negative("power", power)
    alike(**{name: value}, examples=m, features=n, sigma=noise, power=signal)
    *law, value = np.broadcast_arrays(m, n, noise, signal, value)
    return _Law(*law), (value,)


def _flat(law: _Law) -> _Law:
    return _Law(*(values.ravel() for values in law))


def _ratio_cdf(x: np.ndarray, law: _Law) -> np.ndarray:
    """Return P(χ²_a / χ²_b ≤ x), a = min(m, n), b = |m − n| + 1."""
    from scipy.special import betainc

    a, b = _degrees(law)
    x = np.maximum(x, 0.0)
    with np.errstate(invalid="ignore"):
        inside = np.where(np.isfinite(x), x / (1 + x), 1.0)
    found: np.ndarray = betainc(a / 2, b / 2, inside)
    return found


def _ratio_quantile(q: np.ndarray, law: _Law) -> np.ndarray:
    from scipy.special import betaincinv

    a, b = _degrees(law)
    # The other tail keeps digits where the ratio is huge.
    rest: np.ndarray = betaincinv(b / 2, a / 2, 1 - q)
    return (1 - rest) / np.maximum(rest, np.finfo(float).tiny)


def _share_cdf(x: np.ndarray, law: _Law) -> np.ndarray:
    """Return P(Beta((n − m)/2, m/2) ≤ x) where n > m."""
    from scipy.special import betainc

    found: np.ndarray = betainc(np.maximum(law.n - law.m, 1) / 2, law.m / 2, np.clip(x, 0.0, 1.0))
    return found


def _share_quantile(q: np.ndarray, law: _Law) -> np.ndarray:
    """Return the quantile of the share of the signal that is lost; 0 where none is."""
    from scipy.special import betaincinv

    found = betaincinv(np.maximum(law.n - law.m, 1) / 2, law.m / 2, q)
    return np.where(law.n > law.m, found, 0.0)


def _degrees(law: _Law) -> tuple[np.ndarray, np.ndarray]:
    return np.minimum(law.m, law.n), np.abs(law.m - law.n) + 1


def _cdf(t: np.ndarray, law: _Law) -> np.ndarray:
    found = np.empty(t.shape)
    lossless = (law.n <= law.m) | (law.signal == 0)
    for rows, one in (
        (lossless, _noise_only),
        (~lossless & (law.noise == 0), _signal_only),
        (~lossless & (law.noise > 0), _sum),
    ):
        if rows.any():
            found[rows] = one(t[rows], _Law(*(values[rows] for values in law)))
    return found


def _noise_only(t: np.ndarray, law: _Law) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(law.noise > 0, t / law.noise, np.where(t >= 0, np.inf, -1.0))
    return np.where(t < 0, 0.0, _ratio_cdf(scaled, law))


def _signal_only(t: np.ndarray, law: _Law) -> np.ndarray:
    return _share_cdf(t / law.signal, law)


class _Narrow(NamedTuple):
    """Quantiles of the part that varies less: the other's distribution is smooth on its scale.

    Attributes:
        is_noise: Whether that part is the noise's, shape (entries, 1).
        places: Its quantiles at the quadrature's levels, shape (entries, nodes).
        weights: Of the quadrature, shape (nodes,).
    """

    is_noise: np.ndarray
    places: np.ndarray
    weights: np.ndarray


def _narrow(law: _Law) -> _Narrow:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    quarter, three = np.full(law.m.shape, 0.25), np.full(law.m.shape, 0.75)
    of_noise = law.noise * (_ratio_quantile(three, law) - _ratio_quantile(quarter, law))
    of_signal = law.signal * (_share_quantile(three, law) - _share_quantile(quarter, law))
    is_noise = of_noise < of_signal
    places = np.empty((law.m.size, NODES))
    for rows, quantile, unit in (
        (is_noise, _ratio_quantile, law.noise),
        (~is_noise, _share_quantile, law.signal),
    ):
        part = _Law(*(values[rows, None] for values in law))
        levels = np.broadcast_to((nodes + 1) / 2, (int(rows.sum()), NODES))
        places[rows] = unit[rows, None] * quantile(levels, part)
    return _Narrow(is_noise, places, weights / 2)


def _sum(t: np.ndarray, law: _Law, narrow: _Narrow | None = None) -> np.ndarray:
    """Average the wider part's distribution over quantiles of the narrower."""
    narrow = narrow or _narrow(law)
    left = t[:, None] - narrow.places
    found = np.zeros(left.shape)
    for rows, cdf, unit in (
        (narrow.is_noise, _share_cdf, law.signal),
        (~narrow.is_noise, _ratio_cdf, law.noise),
    ):
        part = _Law(*(values[rows, None] for values in law))
        scaled = left[rows] / unit[rows, None]
        found[rows] = np.where(scaled > 0, cdf(scaled, part), 0.0)
    averaged: np.ndarray = found @ narrow.weights
    return averaged
