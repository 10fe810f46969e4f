"""Stochastic differential equations in place of SGD: moments on quadratics, densities on a line.

``dw = −∇L dt + √η C^(1/2) dW``, with time t = η·updates and C the covariance of an update's gradient: the
factor of the noise is the square root of the covariance. On a quadratic it is an Ornstein–Uhlenbeck
process. Its moments at a fixed time are those of SGD up to O(η); with the drift of L + (η/4)‖∇L‖²
instead of L, up to O(η²).

References:
    [LTE] Q. Li, C. Tai, W. E, *Stochastic modified equations and adaptive stochastic gradient algorithms*,
    ICML 2017, theorem 1.
    [G] C. Gardiner, *Handbook of Stochastic Methods* (1985), sections 4.4 and 5.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.theory.checks import finite, from_zero, positive, positives
from implicit_bias.theory.sgd_noise import covariance, curvatures_of, symmetric


def process_mean(hessian: Any, start: Any, time: float) -> np.ndarray:
    """Return the mean of the process on a quadratic: ``e^(−Ht) e₀``, from the minimum.

    Args:
        hessian: H, positive definite, (n, n).
        start: e₀ = w₀ − w*, (n,).
        time: t ≥ 0, η times updates.

    Raises:
        UserError: H is not positive definite, a shape does not fit, or the time is negative.
    """
    values, vectors = curvatures_of(hessian)
    begin = finite("start", start, shape=(len(values),))
    fall = np.exp(-from_zero("time", time) * values)
    return np.asarray(vectors @ (fall * (vectors.T @ begin)))


def process_covariance(hessian: Any, diffusion: Any, time: float | None = None) -> np.ndarray:
    """Return the covariance of ``de = −He dt + D^(1/2) dW`` from one point.

    In the eigenbasis of H: ``D_ij (1 − e^(−(λ_i + λ_j)t))/(λ_i + λ_j)``; in the long run the solution of
    ``HS + SH = D``.

    Args:
        hessian: H, positive definite, (n, n).
        diffusion: D, (n, n): ηC for SGD with noise of covariance C.
        time: t ≥ 0; None is the long run.

    Raises:
        UserError: H is not positive definite, D is no covariance, or the time is negative.

    References:
        [G], section 4.4.6.
    """
    values, vectors = curvatures_of(hessian)
    turned = vectors.T @ covariance("diffusion", diffusion, len(values)) @ vectors
    both = values[:, None] + values[None, :]
    part = 1.0 if time is None else -np.expm1(-from_zero("time", time) * both)
    return np.asarray(vectors @ (turned * part / both) @ vectors.T)


def second_order_hessian(hessian: Any, step_size: float) -> np.ndarray:
    """Return the Hessian of L + (η/4)‖∇L‖² on a quadratic: ``H + (η/2)H²``.

    Raises:
        UserError: H is not symmetric, or the step size is negative.

    References:
        [LTE], theorem 1.
    """
    matrix = symmetric("hessian", hessian)
    return np.asarray(matrix + from_zero("step_size", step_size) / 2 * matrix @ matrix)


def line_density(points: Any, slope: Any, variance: Any, step_size: float) -> np.ndarray:
    """Return the stationary density of ``dx = −L′(x) dt + √(ηc(x)) dW`` on a line, at points.

    ``p ∝ (1/c) exp(−(2/η) ∫ L′/c)``: Gibbs' law of L alone where c is one number.

    Args:
        points: Increasing, (k,), k ≥ 2; the integral is a trapezoidal sum over them.
        slope: L′ there, (k,).
        variance: c there, positive, (k,).
        step_size: η > 0.

    Returns:
        Density at the points, of integral one by the trapezoidal sum, (k,).

    Raises:
        UserError: Shapes do not fit, points do not increase, or a number is not positive.

    References:
        [G], section 5.2.2 (Itô's reading, as updates draw noise where they are).
    """
    x, force = finite("points", points, axes=1), finite("slope", slope)
    spread, step = positives("variance", variance), positive("step_size", step_size)
    if x.ndim != 1 or len(x) < 2 or force.shape != x.shape or spread.shape != x.shape:
        raise UserError(
            f"points, slope and variance have shapes {x.shape}, {force.shape} and {spread.shape}; give "
            "lists of one length, of two points at least"
        )
    if np.any(np.diff(x) <= 0):
        raise UserError(
            "points do not increase; sort them and leave out those that are there twice"
        )
    rate = force / spread
    height = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(x))])
    log = -2 / step * height - np.log(spread)
    density = np.exp(log - log.max())
    return np.asarray(density / np.trapezoid(density, x))
