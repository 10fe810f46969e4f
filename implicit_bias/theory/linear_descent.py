"""Gradient descent with and without momentum on least squares: every iterate in closed form, and limits.

On ½‖Xw − y‖² each singular mode is a line of its own with curvature λ = σ². Its distance from the solution
is multiplied, after t updates with step size η and momentum β, by p_t(λ):

* gradient descent: (1 − ηλ)^t;
* heavy ball, ``m ← βm + g, w ← w − ηm``: p_{t+1} = (1 + β − ηλ) p_t − β p_{t−1};
* Nesterov, ``w ← w − η(g + βm)``: p_{t+1} = (1 + β)(1 − ηλ) p_t − β(1 − ηλ) p_{t−1};

with p_0 = 1 and m = 0 at the beginning, as the optimisers of these names take them. The null space (λ = 0)
never moves, so that all three end at the solution nearest to their start, wherever they are stable.

References:
    [Po] B. T. Polyak, *Some methods of speeding up the convergence of iteration methods* (1964).
    [ORC] B. O'Donoghue, E. Candès, *Adaptive restart for accelerated gradient schemes*, Found. Comput.
    Math. 15 (2015), section 3: momentum on quadratics.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.theory.checks import counts, finite, from_zero, not_negative, positive, rows
from implicit_bias.theory.least_squares import (
    Modes,
    labels_of,
    minimum_norm,
    modes,
    row_part,
    start_of,
)

ASYMMETRY = 1e-10
"""Largest difference from its transpose, relative to its largest entry, at which a metric is symmetric."""


def step_limit(design: Modes, momentum: float = 0.0, nesterov: bool = False) -> float:
    """Return the step size from which on descent does not converge for every y.

    2/λmax; with heavy-ball momentum 2(1 + β)/λmax; with Nesterov's 2(1 + β)/((1 + 2β) λmax).

    Args:
        design: Modes of X.
        momentum: β in [0, 1).
        nesterov: Which momentum.

    Raises:
        UserError: The momentum is not in [0, 1).

    References:
        [Po]; [ORC], section 3.
    """
    beta = _momentum(momentum)
    factor = 2 * (1 + beta) / (1 + 2 * beta) if nesterov else 2 * (1 + beta)
    return factor / float(design.curvatures[0])


def check_step(
    design: Modes, step_size: float, momentum: float = 0.0, nesterov: bool = False
) -> None:
    """Refuse a step size with which descent does not converge.

    Raises:
        UserError: It is not positive, or not below the limit, which is named.
    """
    limit = step_limit(design, momentum, nesterov)
    step = positive("step_size", step_size)
    if step >= limit:
        name = (
            "2/λmax" if not momentum else
            f"2(1 + β)/((1 + 2β)λmax) with Nesterov momentum β = {momentum:g}" if nesterov else
            f"2(1 + β)/λmax with momentum β = {momentum:g}"
        )  # fmt: skip
        raise UserError(
            f"step_size is {step:.6g}, but descent on this design converges only below {name}, which is "
            f"{limit:.6g}; choose a smaller one"
        )


def mode_factors(
    curvatures: Any, updates: Any, step_size: float, momentum: float = 0.0, nesterov: bool = False
) -> np.ndarray:
    """Return p_t(λ): what is left of a mode's distance from the solution.

    By the roots of its recurrence, at a cost that does not grow with t; stable or not.

    Args:
        curvatures: λ ≥ 0, (r,).
        updates: t ≥ 0, whole, any shape.
        step_size: η > 0.
        momentum: β in [0, 1).
        nesterov: Which momentum.

    Returns:
        Shape (…, r), by update.

    Raises:
        UserError: A number is not as above.
    """
    beta, lam = _momentum(momentum), not_negative("curvature", curvatures)
    t = counts("updates", updates, 0)[..., None].astype(np.float64)
    step = from_zero("step_size", step_size)
    q = 1 - step * lam
    if beta == 0:
        with np.errstate(over="ignore"):
            return np.where(t == 0, 1.0, q**t)
    trace, product = ((1 + beta) * q, beta * q) if nesterov else (q + beta, np.full_like(q, beta))
    first = 1 - step * lam * (1 + beta) if nesterov else q
    later = first * _lucas(trace, product, t - 1) - product * _lucas(trace, product, t - 2)
    return np.where(t == 0, 1.0, np.where(t == 1, first, later))


def _lucas(trace: np.ndarray, product: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return ``(z₁ⁿ⁺¹ − z₂ⁿ⁺¹)/(z₁ − z₂)`` for the roots of z² − trace·z + product; 0 for n < 0.

    Roots that nearly agree would lose all digits in that quotient: real ones are taken as z₁ⁿ times a
    geometric sum of their ratio, complex ones by their angle.
    """
    n = np.maximum(n, -1)
    gap = trace**2 - 4 * product
    root = np.sqrt(np.abs(gap))
    with np.errstate(all="ignore"):
        # Complex: ρⁿ sin((n + 1)φ)/sin φ.
        radius, angle = np.sqrt(np.maximum(product, 0)), np.arctan2(root, trace)
        turned = np.where(
            angle == 0, n + 1, np.sin((n + 1) * angle) / np.where(angle == 0, 1, np.sin(angle))
        )
        oscillating = radius**n * turned
        # Real: the larger root without cancellation, the smaller by their product.
        large = (trace + np.where(trace < 0, -root, root)) / 2
        ratio = np.where(large == 0, 0, product / np.where(large == 0, 1, large) ** 2)
        logs = np.log(np.where(ratio > 0, ratio, 0.5))
        near = np.where(
            logs == 0, n + 1, np.expm1((n + 1) * logs) / np.where(logs == 0, 1, np.expm1(logs))
        )
        far = (1 - ratio ** (n + 1)) / (1 - np.where(ratio > 0, 0, ratio))
        monotone = large**n * np.where(ratio > 0, near, far)
    return np.where(n < 0, 0.0, np.where(gap < 0, oscillating, monotone))


def descent(
    design: Modes,
    y: Any,
    updates: Any,
    step_size: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    start: Any = None,
) -> np.ndarray:
    """Return iterates of full-batch descent on ½‖Xw − y‖², stable or not.

    Args:
        design: Modes of X.
        y: Labels, (m,).
        updates: t ≥ 0, whole, any shape.
        step_size: η > 0; of the mean of squares it would be m times as large.
        momentum: β in [0, 1).
        nesterov: Which momentum.
        start: w₀, (n,); 0 by default.

    Returns:
        Shape (…, n), by update.

    Raises:
        UserError: A number is not as above, or a shape does not fit.
    """
    labels, begin = labels_of(design, y), start_of(design, start)
    way = design.left.T @ labels / design.values - design.right.T @ begin
    left = mode_factors(design.curvatures, updates, step_size, momentum, nesterov)
    return begin + ((1 - left) * way) @ design.right.T


def descent_limit(
    design: Modes,
    y: Any,
    step_size: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    start: Any = None,
) -> np.ndarray:
    """Return where descent ends: the solution nearest to its start, whatever step size and momentum.

    Raises:
        UserError: Descent does not converge with this step size, or a shape does not fit.
    """
    check_step(design, step_size, momentum, nesterov)
    return minimum_norm(design, y, start)


def contraction(
    design: Modes, step_size: float, momentum: float = 0.0, nesterov: bool = False
) -> float:
    """Return by which factor the distance from the limit falls an update, in the long run.

    The largest modulus of a root over modes; at least 1 where descent does not converge.

    Raises:
        UserError: A number is not as in :func:`mode_factors`.
    """
    beta = _momentum(momentum)
    q = 1 - from_zero("step_size", step_size) * design.curvatures
    trace, product = ((1 + beta) * q, beta * q) if nesterov else (q + beta, beta + 0 * q)
    root = np.sqrt((trace**2 - 4 * product).astype(complex))
    return float(np.max(np.abs([(trace + root) / 2, (trace - root) / 2])))


def best_step(design: Modes) -> float:
    """Return the step size of gradient descent that converges fastest, 2/(λmin + λmax).

    The contraction is then (κ − 1)/(κ + 1), κ the condition number of XᵀX on the row space.
    """
    return 2 / float(design.curvatures[0] + design.curvatures[-1])


def best_heavy_ball(design: Modes) -> tuple[float, float]:
    """Return step size and momentum of the heavy ball that converges fastest.

    ``η = 4/(√λmax + √λmin)²`` and ``β = ((√κ − 1)/(√κ + 1))²``; the contraction is √β.

    References:
        [Po].
    """
    large, small = float(design.values[0]), float(design.values[-1])
    return 4 / (large + small) ** 2, ((large - small) / (large + small)) ** 2


def preconditioned_limit(design: Modes, y: Any, metric: Any, start: Any = None) -> np.ndarray:
    """Return where ``w ← w − ηPXᵀ(Xw − y)`` ends: the solution nearest to its start in the norm of P⁻¹.

    ``w₀ + P^(1/2)(XP^(1/2))⁺(y − Xw₀)``; P = I gives the minimum norm.

    Args:
        design: Modes of X.
        y: Labels, (m,).
        metric: P, symmetric and positive definite, (n, n), or its diagonal, (n,).
        start: w₀, (n,); 0 by default.

    Returns:
        Shape (n,).

    Raises:
        UserError: A shape does not fit, or P is not symmetric and positive definite.

    References:
        S. Gunasekar et al., *Characterizing implicit bias in terms of optimization geometry*, ICML 2018,
        section 2.
    """
    labels, begin = labels_of(design, y), start_of(design, start)
    n, given = len(begin), finite("metric", metric)
    if given.shape not in ((n,), (n, n)):
        raise UserError(f"metric has shape {given.shape}; give ({n},) or ({n}, {n})")
    if np.abs(given - given.T).max() > ASYMMETRY * np.abs(given).max():
        raise UserError("metric is not symmetric; give a symmetric one, such as (P + Pᵀ)/2")
    try:
        factor = np.linalg.cholesky(np.diag(given) if given.ndim == 1 else given)
    except np.linalg.LinAlgError:
        raise UserError("metric is not positive definite; choose one that is") from None
    x = (design.left * design.values) @ design.right.T
    return begin + factor @ minimum_norm(modes(x @ factor), labels - x @ begin)


def leaves_row_space(design: Modes, w: Any, start: Any = None) -> np.ndarray:
    """Return ``‖P_null(w − w₀)‖/‖w − w₀‖``: 0 for descent with any momentum, 1 for what X does not see.

    Args:
        design: Modes of X.
        w: Weights, (…, n).
        start: w₀, (n,); 0 by default.

    Returns:
        Shape (…,); 0 where nothing moved.

    Raises:
        UserError: A shape does not fit.
    """
    begin = start_of(design, start)
    moved = rows("weights", w, len(begin)) - begin
    outside = np.linalg.norm(moved - row_part(design, moved), axis=-1)
    length = np.linalg.norm(moved, axis=-1)
    return np.where(length > 0, outside / np.where(length > 0, length, 1), 0.0)


def _momentum(momentum: Any) -> float:
    beta = from_zero("momentum", momentum)
    if beta >= 1:
        raise UserError(f"momentum is {beta:g}; choose at least 0 and less than 1")
    return beta
