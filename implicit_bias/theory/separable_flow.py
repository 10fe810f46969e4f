"""Gradient flow on separable data in logarithmic time: from t = 0 to 10⁹, or to 10¹⁰⁰⁰, at constant cost.

The losses are sums over examples of exp(−m), or of log(1 + exp(−m)), of margins m = z·w of signed examples.
With τ = log(1 + t) the flow reads

    dw/dτ = Σ_i exp(τ + log(−ℓ′(m_i))) z_i,

whose right side stays of order one: on the path, −ℓ′ falls like 1/t. So does its Jacobian, so that the number
of steps grows with log t and, as the path straightens, much less. No exponential overflows: τ and m cancel
before one is taken. Plain steps of size η are this flow in t = η·steps up to O(η), and what they differ by
early is forgotten within the span of the support vectors, since the right side contracts there at rate 1/t;
outside that span it stays, of order η, while weights grow like log t.

References:
    D. Soudry et al., *The implicit bias of gradient descent on separable data*, JMLR 19 (2018).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from implicit_bias.arguments import require_numbers
from implicit_bias.errors import UserError, unknown
from implicit_bias.theory.checks import finite, positive, rows
from implicit_bias.theory.margin import examples_of, require_separable

FlowLoss = Literal["logistic", "exponential"]
LOSSES = ("logistic", "exponential")
METHODS = ("LSODA", "Radau", "BDF", "DOP853")

MOST_MARGIN = 600.0
"""Largest −m of a start under the exponential loss: its gradient must be a number."""


def log_slopes(margins: np.ndarray, loss: str) -> np.ndarray:
    """Return log(−ℓ′(m)): −m for the exponential loss, −log(1 + e^m) for the logistic."""
    return -np.logaddexp(0.0, margins) if loss == "logistic" else -margins


def log_losses(margins: np.ndarray, loss: str) -> np.ndarray:
    """Return log ℓ(m), exact where ℓ is far below the smallest number.

    Args:
        margins: Any shape.
        loss: ``logistic`` or ``exponential``.
    """
    if loss == "exponential":
        return -margins
    m = np.asarray(margins, np.float64)
    # log(1 + e^(−m)) is e^(−m) (1 − e^(−m)/2) to the last digit from m = 20 on.
    large = np.maximum(m, 20.0)
    return np.where(
        m > 20, -large - 0.5 * np.exp(-large), np.log(np.logaddexp(0.0, -np.minimum(m, 20.0)))
    )


def log_loss(signed: Any, weights: Any, loss: str = "logistic") -> np.ndarray:
    """Return the logarithm of the sum of losses.

    Args:
        signed: Z, shape (n, d).
        weights: Shape (…, d).
        loss: ``logistic`` or ``exponential``.

    Returns:
        Shape (…).

    Raises:
        UserError: The loss is unknown, a number is not finite, or shapes do not fit.
    """
    if loss not in LOSSES:
        raise unknown("loss", loss, LOSSES)
    z = examples_of(signed)
    terms = log_losses(rows("weights", weights, z.shape[1]) @ z.T, loss)
    return np.logaddexp.reduce(terms, axis=-1)


def flow_path(
    signed: Any,
    log_times: Any,
    loss: str = "logistic",
    start: Any = None,
    *,
    tolerance: float = 1e-10,
    method: str = "LSODA",
) -> np.ndarray:
    """Return the weights of gradient flow on the sum of losses at given times.

    For the mean of the losses, time passes n times as fast: t on the mean is t/n here.

    Args:
        signed: Z, shape (n, d), separable.
        log_times: log t, natural logarithms, increasing, shape (k,); −inf is the start.
        loss: ``logistic`` or ``exponential``.
        start: w(0), shape (d,); zero by default.
        tolerance: Local error of the integration, relative; absolute ones are a hundredth of it.
        method: SciPy's ``LSODA`` (variable order, switches to an implicit method where that pays), or
            ``Radau``, ``BDF``, ``DOP853``.

    Returns:
        w(t), shape (k, d).

    Raises:
        UserError: The examples are not separable, times do not increase, a name is unknown, or the start has
            another shape or is so far on the wrong side that the exponential loss overflows.
        ArithmeticError: The integration failed.
    """
    from scipy.integrate import solve_ivp

    z = require_separable(signed)
    for kind, given, known in (("loss", loss, LOSSES), ("method", method, METHODS)):
        if given not in known:
            raise unknown(kind, given, known)
    w0 = np.zeros(z.shape[1]) if start is None else finite("start", start)
    if w0.shape != (z.shape[1],):
        raise UserError(f"start has shape {w0.shape}, but there are {z.shape[1]} features")
    if loss == "exponential" and -(z @ w0).min() > MOST_MARGIN:
        raise UserError(
            f"start has a margin of {(z @ w0).min():.3g}, where the exponential loss overflows; start at one "
            f"of at least {-MOST_MARGIN:g}"
        )
    tolerance = positive("tolerance", tolerance)
    require_numbers("log_times", log_times)
    logs = np.atleast_1d(np.asarray(log_times, np.float64))
    taus = np.logaddexp(0.0, np.where(np.isnan(logs), np.inf, logs))
    if taus.ndim != 1 or not taus.size or not np.isfinite(taus).all() or np.any(np.diff(taus) <= 0):
        raise UserError("log_times must be increasing finite numbers, or begin with −inf")

    def velocity(tau: float, w: np.ndarray) -> np.ndarray:
        return np.exp(tau + log_slopes(z @ w, loss)) @ z

    def jacobian(tau: float, w: np.ndarray) -> np.ndarray:
        m = z @ w
        bend = tau + log_slopes(m, loss)
        if loss == "logistic":  # −ℓ′ = σ(−m), whose derivative is −σ(−m)σ(m)
            bend = bend - np.logaddexp(0.0, -m)
        return -(z.T * np.exp(bend)[None, :]) @ z

    options = {} if method == "DOP853" else {"jac": jacobian}
    solved = solve_ivp(
        velocity, (0.0, float(taus[-1])), w0, method=method, t_eval=taus, rtol=tolerance,
        atol=tolerance / 100, **options,
    )  # fmt: skip
    if not solved.success or solved.y.shape[1] != taus.size:
        raise ArithmeticError(f"gradient flow could not be integrated: {solved.message}")
    path: np.ndarray = solved.y.T
    return path
