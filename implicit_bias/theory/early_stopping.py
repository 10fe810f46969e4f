"""Gradient flow stopped at time t against ridge regression with penalty 1/t.

For least squares every estimator here shrinks X⁺y along the eigenvectors of the loss's Hessian H by a factor
of its own. With the loss ``‖y − Xw‖²/(2c)``, where c is 1 for a sum of squares and m for their mean, and s
an eigenvalue of ``H = XᵀX/c``, started from zero:

    gradient flow at t:                    1 − e^(−ts)
    ridge, loss + λ‖w‖²/2:                 s/(s + λ)
    gradient descent, T updates of η:      1 − (1 − ηs)^T

Times and penalties are those of one loss: halving the loss doubles t and halves λ. At ``λ = 1/t`` the first
two are functions of x = ts alone, ``1 − e^(−x)`` and ``x/(1 + x)``, so that what differs between them is
bounded whatever the design.

References:
    [A] A. Ali, J. Z. Kolter, R. J. Tibshirani, *A continuous-time view of early stopping for least
    squares*, AISTATS 2019 (arXiv 1810.10082): the losses' mean, c = m, and the bounds on relative risk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from implicit_bias.arguments import require_numbers
from implicit_bias.errors import UserError
from implicit_bias.theory.checks import count, counts, from_zero, not_negative, rows

SHRINKAGE_RATIO = 1.298425607525639
"""Largest (1 − e^(−x))(1 + x)/x over x > 0, at x = 1.7933; the least is 1 ([A]: 1.2985)."""

SHRINKAGE_GAP = 0.20363218879453693
"""Largest (1 − e^(−x)) − x/(1 + x) over x ≥ 0, at x = 2.5129; the least is 0."""

RISK_RATIO = SHRINKAGE_RATIO**2
"""Bound of the flow's risk over ridge's at λ = 1/t, for every truth, design, t ([A]: 1.6862)."""

TUNED_RATIO = 1.2146618408349107
"""Bound of the flow's least risk over ridge's, each at its own best, on average over truths of isotropic
prior ([A], where both are tuned: 1.2147). The least is 1."""

SEARCHED = 400
"""Times, or penalties, evenly spaced in their logarithm, between which the best is then refined."""

WIDTH = (1e-9, 1e15)
"""First and last of them, in units of the inverse of the largest and of the smallest positive eigenvalue."""


class PathRisk(NamedTuple):
    """Parts of an estimation risk E‖w − θ‖² at each point of a path.

    Attributes:
        bias: Σ θ_j²(1 − f_j)².
        variance: σ²/c Σ f_j²/s_j.
    """

    bias: np.ndarray
    variance: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Their sum."""
        return self.bias + self.variance


class Tuned(NamedTuple):
    """The best point of a path: the time or the penalty, possibly infinite, and the risk there."""

    at: float
    risk: float


def flow_shrinkage(values: Any, time: Any) -> np.ndarray:
    """Return 1 − e^(−ts), the share of X⁺y that gradient flow has found along each eigenvector.

    Args:
        values: Eigenvalues s ≥ 0 of the loss's Hessian, shape (n,).
        time: t ≥ 0, any shape; infinite is the end.

    Returns:
        Shape (*time, n); 0 where s = 0.

    Raises:
        UserError: An eigenvalue or a time is negative, or all eigenvalues are 0.
    """
    s, t = _spectrum(values), _times("time", time)
    with np.errstate(invalid="ignore"):
        exponent = t[..., None] * s
    return -np.expm1(-np.where(s > 0, exponent, 0.0))


def ridge_shrinkage(values: Any, penalty: Any) -> np.ndarray:
    """Return s/(s + λ), the share of X⁺y that ridge regression keeps along each eigenvector.

    Args:
        values: Eigenvalues s ≥ 0 of the loss's Hessian, shape (n,).
        penalty: λ ≥ 0 of loss + λ‖w‖²/2, any shape; infinite keeps nothing.

    Returns:
        Shape (*penalty, n); 0 where s = 0.

    Raises:
        UserError: An eigenvalue or a penalty is negative, or all eigenvalues are 0.
    """
    s, lam = _spectrum(values), _times("penalty", penalty)
    whole = s + lam[..., None]
    return np.where(s > 0, s / np.where(s > 0, whole, 1.0), 0.0)


def descent_shrinkage(values: Any, step_size: float, updates: Any) -> np.ndarray:
    """Return 1 − (1 − ηs)^T, the share of X⁺y after T updates of gradient descent.

    Args:
        values: Eigenvalues s ≥ 0 of the loss's Hessian, shape (n,).
        step_size: η, positive and below 2/max s, from where on descent diverges.
        updates: T ≥ 0, any shape.

    Returns:
        Shape (*updates, n); 0 where s = 0.

    Raises:
        UserError: An eigenvalue is negative, all are 0, the step size is too large or not positive, or T is
            not a whole number.
    """
    s, done = _spectrum(values), counts("updates", updates, 0)
    eta, limit = from_zero("step_size", step_size), 2 / float(s.max())
    if not 0 < eta < limit:
        raise UserError(
            f"step_size is {eta:g}, but descent converges only between 0 and 2/λmax = {limit:g}; choose one "
            "in between"
        )
    return 1 - (1 - eta * s) ** done[..., None]


def descent_ratio(updates: int, most: float = 1.0) -> float:
    """Return the largest ratio of descent's shrinkage after T updates to ridge's at λ = 1/(ηT).

    It is the supremum of ``(1 − (1 − u)^T)(1 + uT)/(uT)`` over 0 < u = ηs ≤ most: 2 for one update and
    ``most`` = 1, and :data:`SHRINKAGE_RATIO` in the limit of many.

    Args:
        updates: T ≥ 1.
        most: Largest ηs, in (0, 2].

    Raises:
        UserError: T is not a positive whole number, or ``most`` is out of range.
    """
    done, top = count("updates", updates), from_zero("most", most)
    if not 0 < top <= 2:
        raise UserError(
            f"most is {top:g}; descent converges for ηs up to 2, choose a number in (0, 2]"
        )

    def ratio(u: np.ndarray) -> np.ndarray:
        return (1 - (1 - u) ** done) * (1 + u * done) / (u * done)

    # The maximum is where uT is of order 1, or at the end where the step overshoots.
    return _largest(ratio, np.unique(np.r_[np.geomspace(1e-3 / done, top, 4000), top]))


def path_risk(values: Any, power: Any, variance: float, shrinkage: Any) -> PathRisk:
    """Return the exact estimation risk of a shrinkage of least squares, given the design.

    ``E‖w − θ‖² = Σ θ_j²(1 − f_j)² + (σ²/c) Σ f_j²/s_j`` over independent noise of variance σ². For isotropic
    test inputs it is also the excess prediction risk.

    Args:
        values: Eigenvalues s_j ≥ 0 of the loss's Hessian XᵀX/c, shape (n,).
        power: θ_j² along the eigenvectors, shape (n,); for a truth of isotropic prior its variance.
        variance: σ²/c.
        shrinkage: Factors f_j, shape (…, n), 0 where s_j = 0.

    Returns:
        The parts, shape (…).

    Raises:
        UserError: Something is negative, all eigenvalues are 0, or shapes differ.

    References:
        [A], estimation risk of gradient flow and of ridge regression.
    """
    s, squares = _spectrum(values), not_negative("power", power)
    if squares.shape != s.shape:
        raise UserError(
            f"power has shape {squares.shape} and the eigenvalues {s.shape}; give one for each eigenvalue"
        )
    v, f = from_zero("variance", variance), rows("shrinkage", shrinkage, len(s), "eigenvalues")
    bias = np.sum(squares * (1 - f) ** 2, axis=-1)
    spread = np.where(s > 0, f**2 / np.where(s > 0, s, 1.0), 0.0)
    return PathRisk(bias, v * np.sum(spread, axis=-1))


def best_time(values: Any, power: Any, variance: float) -> Tuned:
    """Return the time at which gradient flow has the least estimation risk.

    With one eigenvalue it is log(1 + θ²s/(σ²/c))/s; ridge's best penalty is then (σ²/c)/θ².

    Args:
        values: As for :func:`path_risk`, like the others.
        power: θ_j².
        variance: σ²/c.

    Returns:
        The time and the risk; infinite where running to the end is best, as without noise.

    Raises:
        UserError: As for :func:`path_risk`.
    """

    def risk(times: np.ndarray) -> np.ndarray:
        return path_risk(values, power, variance, flow_shrinkage(values, times)).total

    return _best(values, risk)


def best_penalty(values: Any, power: Any, variance: float) -> Tuned:
    """Return the penalty at which ridge regression has the least estimation risk.

    For powers that are all the same it is (σ²/c)/power, whatever the eigenvalues.

    Args:
        values: As for :func:`path_risk`, like the others.
        power: θ_j².
        variance: σ²/c.

    Returns:
        The penalty and the risk; 0 where least squares are best, infinite where nothing is to be kept.

    Raises:
        UserError: As for :func:`path_risk`.
    """

    def risk(times: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            penalties = 1 / times
        return path_risk(values, power, variance, ridge_shrinkage(values, penalties)).total

    found = _best(values, risk)
    return Tuned(
        0.0 if found.at == np.inf else np.inf if found.at == 0 else 1 / found.at, found.risk
    )


def _best(values: Any, risk: Callable[[np.ndarray], np.ndarray]) -> Tuned:
    """Minimise a risk over times from 0 to ∞: on a grid, then between the neighbours of its least."""
    s = _spectrum(values)
    kept = s[s > 0]
    grid = np.geomspace(WIDTH[0] / kept.max(), WIDTH[1] / kept.min(), SEARCHED)
    ends = risk(np.array([0.0, np.inf]))
    for _ in range(12):
        found = risk(grid)
        at = int(np.argmin(found))
        best = Tuned(float(grid[at]), float(found[at]))
        grid = np.geomspace(grid[max(at - 1, 0)], grid[min(at + 1, grid.size - 1)], 41)
    # Beyond the grid nothing changes but rounding: there the ends stand for themselves.
    for place, value in zip((np.inf, 0.0), (ends[1], ends[0]), strict=True):
        if value <= best.risk:
            best = Tuned(place, float(value))
    return best


def _largest(ratio: Callable[[np.ndarray], np.ndarray], grid: np.ndarray) -> float:
    """Maximise over a grid, then between the neighbours of its largest."""
    for _ in range(8):
        found = ratio(grid)
        at = int(np.argmax(found))
        largest = float(found[at])
        grid = np.linspace(grid[max(at - 1, 0)], grid[min(at + 1, grid.size - 1)], 201)
    return largest


def _spectrum(values: Any) -> np.ndarray:
    s = not_negative("eigenvalue", values)
    if s.ndim != 1 or not s.size:
        raise UserError(f"eigenvalues have shape {s.shape}; give a list of at least one")
    if not s.any():
        raise UserError(
            "all eigenvalues are 0: the design is zero and every weight fits alike; give a design with a "
            "non-zero entry"
        )
    return s


def _times(name: str, values: Any) -> np.ndarray:
    """Return numbers from 0 to ∞, both included."""
    require_numbers(name, values)
    array = np.asarray(values, np.float64)
    return np.where(
        array == np.inf, np.inf, not_negative(name, np.where(array == np.inf, 0.0, array))
    )
