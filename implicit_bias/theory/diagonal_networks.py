"""Diagonal linear networks: what gradient flow from scale α converges to, exactly.

Signed: β = u^D − v^D, entry by entry, from u = v = α. Positive: β = u^D from u = α, which is also what the
eigenvalues of a product of D matrices do that starts at α^D·I and is measured by matrices that commute [G17].

On half the squared error of Xβ, with p = −D ∫Xᵀ(Xβ − y) dt, an entry of u is

    u = αe^p (D = 2),   u^{2−D} = α^{2−D} − (D − 2)p (D > 2),   and v is the same of −p.

p stays in the row space of X. So the limit is the one solution of Xβ = y with p(β) in the row space: the
minimum of the potential Q whose slope is p, and of its dual ½Σ(u² + v²) − yᵀν over p = Xᵀν [W20], theorem 1
and theorem 3. As α → 0 it tends to a solution of least ℓ1 norm, as α → ∞ of least ℓ2 norm.

References:
    [W20] B. Woodworth, S. Gunasekar et al., *Kernel and rich regimes in overparametrized models*, COLT 2020.
    [G17] S. Gunasekar, B. Woodworth, S. Bhojanapalli, B. Neyshabur, N. Srebro, *Implicit regularization in
        matrix factorization*, NeurIPS 2017.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.theory.checks import count, finite, positive

MOST_EXPONENT = 300.0
"""p beyond which e^{2p} is no number for a step of the solver. Far below 0 weights are 0: where positive
weights that fit have zeros that are forced, p has no lower bound."""


class DiagonalLimit(NamedTuple):
    """Where a diagonal network ends.

    Attributes:
        weights: β, shape (n,).
        multiplier: ν, shape (m,).
        error: ‖Xβ − y‖/‖y‖.
    """

    weights: np.ndarray
    multiplier: np.ndarray
    error: float


def diagonal_limit(
    x: Any, y: Any, alpha: float, *, depth: int = 2, signed: bool = True, tolerance: float = 1e-11
) -> DiagonalLimit:
    """Return the limit of gradient flow of a diagonal network on least squares.

    Found by Newton's method on the dual, for scales that shrink to α from where the problem is nearly linear.

    Args:
        x: Shape (m, n), of full row rank.
        y: Shape (m,).
        alpha: Scale of each layer's start, above 0.
        depth: D ≥ 2.
        signed: Whether β = u^D − v^D; otherwise β = u^D, which needs a positive solution.
        tolerance: Relative error of Xβ at which it ends.

    Raises:
        UserError: α or the depth cannot be used, shapes do not fit, or nothing fits the labels.

    References:
        [W20], theorems 1 and 3.
    """
    design, labels = finite("x", x, axes=2), finite("y", y)
    scale, power, tolerance = (
        check_alpha(alpha),
        check_depth(depth),
        positive("tolerance", tolerance),
    )
    if labels.shape != design.shape[:1]:
        raise UserError(
            f"y has shape {labels.shape}; give one label for each of {len(design)} rows"
        )
    if np.linalg.matrix_rank(design) < len(design):
        raise UserError(
            f"x has rank below its {len(design)} rows; leave out rows that follow from others"
        )
    size = float(np.linalg.norm(labels))
    if not size:
        if signed:
            return DiagonalLimit(np.zeros(design.shape[1]), np.zeros(len(design)), 0.0)
        raise UserError("y is zero, which no positive weights fit; give labels of positive weights")
    # From a scale at which the start is as large as the solution, by factors of at most two.
    typical = float((size / np.linalg.norm(design, 2)) ** (1 / power))
    begin = max(scale, 3 * typical) if signed else max(scale, typical)
    count = max(int(np.ceil(np.log2(begin / scale))), 0)
    nu = np.zeros(len(design))
    for level in np.geomspace(begin, scale, count + 1) if count else [scale]:
        nu = _start(design, nu, level, power, signed)
        nu, error = _solved(design, labels, nu, float(level), power, signed, tolerance)
    if not error <= max(1e3 * tolerance, 1e-8):
        raise UserError(
            f"no {'' if signed else 'positive '}weights were found that fit y (relative error "
            f"{error:.1g} at alpha = {scale:g}); give labels of some, or a larger alpha"
        )
    return DiagonalLimit(_weights(design.T @ nu, scale, power, signed), nu, error)


def _base(p: np.ndarray, alpha: float, depth: int) -> np.ndarray:
    """Return u of p; NaN where p is beyond what gradient flow reaches."""
    if depth == 2:
        return np.where(p < MOST_EXPONENT, alpha * np.exp(np.minimum(p, MOST_EXPONENT)), np.nan)
    root = alpha ** (2.0 - depth) - (depth - 2) * p
    return np.where(root > 0, np.where(root > 0, root, 1.0) ** (-1 / (depth - 2)), np.nan)


def _weights(p: np.ndarray, alpha: float, depth: int, signed: bool) -> np.ndarray:
    first = _base(p, alpha, depth) ** depth
    if not signed:
        return first
    if depth == 2:
        # As a hyperbolic sine small weights of a large scale keep their digits.
        return 2 * alpha**2 * np.sinh(2 * p)
    near = (depth - 2) * p * alpha ** (depth - 2.0)
    k = depth / (depth - 2)
    with np.errstate(invalid="ignore"):
        return -(alpha**depth) * np.exp(-k * np.log1p(-near)) * np.expm1(
            -k * (np.log1p(near) - np.log1p(-near))
        )  # fmt: skip


def _solved(
    x: np.ndarray, y: np.ndarray, nu: np.ndarray, alpha: float, depth: int, signed: bool,
    tolerance: float,
) -> tuple[np.ndarray, float]:  # fmt: skip
    """Minimise ½Σ(u² + v²) − yᵀν, which is convex, by Newton steps that are halved until it falls."""
    size = np.linalg.norm(y)
    best = np.inf
    for _ in range(200):
        p = x.T @ nu
        missed = y - x @ _weights(p, alpha, depth, signed)
        best = float(np.linalg.norm(missed) / size)
        if not best > tolerance:
            break
        u = _base(p, alpha, depth)
        slope = u ** (2 * depth - 2)
        if signed:
            slope = slope + _base(-p, alpha, depth) ** (2 * depth - 2)
        curve = (x * (depth * slope)) @ x.T
        step = np.linalg.lstsq(curve, missed, rcond=1e-15)[0]
        value, gain = _dual(x, y, nu, alpha, depth, signed), float(missed @ step)
        share = 1.0
        while share > 1e-12:
            tried = nu + share * step
            new = _dual(x, y, tried, alpha, depth, signed)
            if np.isfinite(new):
                if new <= value - 1e-4 * share * gain:
                    break
                # Near the minimum the value no longer tells, but its slope does.
                left = np.linalg.norm(y - x @ _weights(x.T @ tried, alpha, depth, signed))
                if left <= best * size / 2:
                    break
            share /= 2
        else:
            break
        nu = nu + share * step
    return nu, best


def _start(x: np.ndarray, nu: np.ndarray, alpha: float, depth: int, signed: bool) -> np.ndarray:
    """Shrink a multiplier, found at another scale, until gradient flow could reach it at this one."""
    while not np.isfinite(_dual(x, np.zeros(len(x)), nu, alpha, depth, signed)):
        nu = nu / 2
    return nu


def _dual(
    x: np.ndarray, y: np.ndarray, nu: np.ndarray, alpha: float, depth: int, signed: bool
) -> float:
    p = x.T @ nu
    u = _base(p, alpha, depth)
    energy = np.sum(u**2 - alpha**2)
    if signed:
        energy += np.sum(_base(-p, alpha, depth) ** 2 - alpha**2)
    return float(0.5 * energy - y @ nu)


def q_alpha(weights: Any, alpha: float) -> np.ndarray:
    """Return Woodworth's potential of two layers, ``Σ α² q(β/α²)``, q(z) = 2 − √(4 + z²) + z·arsinh(z/2).

    Its minimum over Xβ = y is the limit of u² − v² from α. For α → ∞ it is Σβ²/(4α²); for α → 0,
    log(1/α²)·Σ|β|, each to leading order.

    Args:
        weights: β, shape (…, n).
        alpha: Above 0.

    Returns:
        Shape (…).

    Raises:
        UserError: α is not positive, or a weight is not finite.

    References:
        [W20], theorem 1.
    """
    scale = check_alpha(alpha)
    z = _entries(weights) / scale**2
    # 2 − √(4 + z²) without loss of digits for small z.
    curved = -(z**2) / (2 + np.sqrt(4 + z**2))
    return scale**2 * np.sum(curved + z * np.arcsinh(z / 2), axis=-1)


def kernel_share(weights: Any, alpha: float, depth: int = 2) -> np.ndarray:
    """Return how far entries have left the kernel's regime: |β|/α^D, small where training is lazy.

    Raises:
        UserError: α or the depth cannot be used, or a weight is not finite.
    """
    return np.abs(finite("weights", weights)) / check_alpha(alpha) ** check_depth(depth)


def check_alpha(alpha: Any, name: str = "alpha") -> float:
    """Return a scale of initial weights.

    Raises:
        UserError: It is not a positive number.
    """
    value = np.asarray(alpha)
    if (
        value.ndim
        or not np.issubdtype(value.dtype, np.number)
        or not np.isfinite(value)
        or value <= 0
    ):
        raise UserError(
            f"{name} is {alpha}; choose a scale of initial weights above 0, such as 0.01"
        )
    return positive(name, value)


def check_depth(depth: Any) -> int:
    """Return a depth from 2 on.

    Raises:
        UserError: It is none.
    """
    return count("depth", depth, 2)


def _entries(weights: Any) -> np.ndarray:
    w = finite("weights", weights)
    if not w.ndim:
        raise UserError(f"weights is {w:g}; give a list of them")
    return w
