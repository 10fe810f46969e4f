"""Bregman projections: which solution of Xw = y mirror descent goes to.

For a convex potential ψ the divergence is D(w, w₀) = ψ(w) − ψ(w₀) − ∇ψ(w₀)·(w − w₀). Of all w with Xw = y,
the one with least D(w, w₀) has ∇ψ(w) − ∇ψ(w₀) in the row space of X, so that

    w(ν) = (∇ψ)⁻¹(∇ψ(w₀) + Xᵀν),    ν = argmin Σ ψ*(∇ψ(w₀) + Xᵀν) − y·ν,

a smooth convex problem with as many unknowns as there are examples, which Newton's method solves to rounding.
Mirror descent and its flow on ½‖Xw − y‖² from w₀ go to this point [G, theorem 1]. Here

    entropy   ψ = Σ w log w − w   on w > 0,   D = Σ w log(w/w₀) − w + w₀,
    p-norm    ψ = Σ |w|ᵖ/p, p > 1,            D from w₀ = 0 is ψ.

Consequences for the entropy. From w₀ = 1/e everywhere D is −H(w) up to a constant, H(w) = −Σ w log w: the
projection has the largest entropy. From w₀ = α, D = −H(w) − (1 + log α) Σw up to a constant: other α favour
small or large sums, unless Xw = y fixes Σw, as it does on the simplex; and as α → 0 the projection goes to
the least Σw = ‖w‖₁, a linear programme, with an excess of order α^c, c its least positive reduced cost [CS].

References:
    [G] S. Gunasekar, J. Lee, D. Soudry, N. Srebro, *Characterizing implicit bias in terms of optimization
    geometry*, ICML 2018.
    [CS] R. Cominetti, J. San Martín, *Asymptotic analysis of the exponential penalty trajectory in linear
    programming*, Mathematical Programming 67 (1994).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from implicit_bias.arguments import require_number
from implicit_bias.errors import UserError
from implicit_bias.theory.checks import finite, number

NEWTON_STEPS = 2000
"""Most steps of a projection; from α = 1e-300 it takes a few hundred."""

LONGEST = 2.0
"""Largest change of Xᵀν in a step where ψ* is an exponential."""

RESIDUAL = 1e-12
"""Largest |Xw − y| relative to |y| at which a projection is found."""

LEAST_POWER = 1.01
"""Exponent from which (∇ψ)⁻¹, of power 1/(p − 1), has numbers in double precision."""

POSITIVE = 1e-9
"""Weight relative to the largest from which a solution counts as positive."""


class Potential(NamedTuple):
    """A sum over weights of one convex function.

    Attributes:
        name: In words.
        dual: z = ∇ψ(w), weight by weight.
        primal: w = (∇ψ)⁻¹(z).
        conjugate: ψ*(z), weight by weight.
        slope: dw/dz.
        positive: Whether weights must be positive.
    """

    name: str
    dual: Callable[[np.ndarray], np.ndarray]
    primal: Callable[[np.ndarray], np.ndarray]
    conjugate: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]
    positive: bool


class Projection(NamedTuple):
    """A Bregman projection.

    Attributes:
        weights: w, shape (n,).
        multipliers: ν, shape (m,): ∇ψ(w) = ∇ψ(w₀) + Xᵀν.
    """

    weights: np.ndarray
    multipliers: np.ndarray


def entropy_potential() -> Potential:
    """Return ψ = Σ w log w − w."""
    return Potential("entropy", np.log, np.exp, np.exp, np.exp, True)


def p_norm_potential(p: Any) -> Potential:
    """Return ψ = Σ |w|ᵖ/p.

    Args:
        p: Exponent, from 1.01 on.

    Raises:
        UserError: It is no such number.
    """
    require_number("p", p)
    if not 1 < p < np.inf:
        raise UserError(f"p is {p:g}; choose a finite p > 1 (at 1 the potential has no inverse)")
    if p < LEAST_POWER:
        raise UserError(
            f"p is {p:g}; choose at least {LEAST_POWER:g}, as powers 1/(p − 1) leave double "
            "precision nearer to 1"
        )
    q = p / (p - 1)

    def slope(z: np.ndarray) -> np.ndarray:
        # Infinite at zero for q < 2, where a tiny z serves as well.
        size = np.maximum(np.abs(z), 1e-12 * np.max(np.abs(z), initial=1e-300))
        return np.asarray((q - 1) * size ** (q - 2))

    return Potential(
        f"{p:g}-norm",
        lambda w: np.sign(w) * np.abs(w) ** (p - 1),
        lambda z: np.sign(z) * np.abs(z) ** (q - 1),
        lambda z: np.abs(z) ** q / q,
        slope,
        False,
    )


def bregman_projection(x: Any, y: Any, start: Any, potential: Potential) -> Projection:
    """Return the solution of Xw = y that is nearest to a start.

    Args:
        x: Inputs X, shape (m, n), of any rank above 0; multipliers are unique where it is m.
        y: Labels, shape (m,).
        start: w₀, shape (n,) or one number for all weights; within the potential's domain.
        potential: What measures distance.

    Returns:
        The projection, with |Xw − y| ≤ 1e-12 |y| about.

    Raises:
        UserError: The start is outside the domain or of another shape, or no w of the domain has Xw = y.
        ArithmeticError: Rounding keeps Newton's method from finding it, as for p-norms of p near 1 or large.
    """
    x, y = linear_system(x, y)
    given = finite("start", start)
    if given.shape not in ((), x.shape[1:]):
        raise UserError(
            f"start has shape {given.shape}, but there are {x.shape[1]} features; give one number, or "
            "one for each"
        )
    w0 = np.broadcast_to(given, x.shape[1:])
    if potential.positive and w0.min() <= 0:
        raise UserError(
            f"the start holds {w0.min():g}; the {potential.name} needs positive weights to start from"
        )
    # Rows that follow from others have no multipliers of their own: an orthonormal basis of what they span.
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    u = u[:, s > s[0] * max(x.shape) * float(np.finfo(np.float64).eps)]
    deficient = u.shape[1] < len(y)
    if deficient and np.linalg.norm(u @ (u.T @ y) - y) > 1e-9 * np.linalg.norm(y):
        raise UserError("no w has Xw = y; choose fewer examples, or inputs of full rank")
    if potential.positive:
        _require_positive(x, y)
    if deficient:
        x, y = u.T @ x, u.T @ y
    z0 = potential.dual(w0)
    nu = np.zeros(len(y)) if potential.positive else _first_guess(x, y, z0, potential)
    found = _newton(x, y, z0, nu, potential)
    return Projection(found.weights, u @ found.multipliers) if deficient else found


def small_start_projection(x: Any, y: Any, log_start: float, multipliers: Any) -> Projection:
    """Return the entropy's projection of equal weights α, for α however small.

    Args:
        x: Inputs X, shape (m, n).
        y: Labels, shape (m,).
        log_start: log α, negative.
        multipliers: Of the least ‖w‖₁ among w ≥ 0, shape (m,): as α → 0, those of the projection are −log α
            times these. A vertex of m positive weights is supposed.

    Returns:
        The projection.

    Raises:
        UserError: Shapes do not fit, a number is not finite, or ``log_start`` is not negative.
        ArithmeticError: Newton's method does not get there.
    """
    x, y = linear_system(x, y)
    log = number("log_start", log_start)
    if log >= 0:
        raise UserError(
            f"log_start is {log:g}, of a start that is not small; choose a negative one, or use "
            "bregman_projection"
        )
    guess = -log * finite("multipliers", multipliers, shape=y.shape)
    return _newton(x, y, np.full(x.shape[1], log), guess, entropy_potential())


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def _newton(
    x: np.ndarray, y: np.ndarray, z0: np.ndarray, nu: np.ndarray, potential: Potential
) -> Projection:
    """Minimise Σ ψ*(z₀ + Xᵀν) − y·ν over ν."""
    # Labels that are all zero are reached to the rounding of what there is at the start.
    scale = float(np.abs(y).max()) or float(np.abs(x @ potential.primal(z0)).max()) or 1.0
    value = _dual_value(y, z0 + nu @ x, nu, potential)
    for _ in range(NEWTON_STEPS):
        z = z0 + nu @ x
        missing = y - x @ potential.primal(z)
        if np.abs(missing).max() <= RESIDUAL * scale:
            break
        curvature = (x * potential.slope(z)) @ x.T
        ridge = 1e-14 * np.trace(curvature) / len(y) * np.eye(len(y))
        try:
            step = np.linalg.solve(curvature + ridge, missing)
        except np.linalg.LinAlgError:
            break
        if potential.positive:
            step *= min(1.0, LONGEST / float(np.abs(step @ x).max()))
        gain, size = float(missing @ step), 1.0
        while size > 1e-12:
            new = nu + size * step
            tried = _dual_value(y, z0 + new @ x, new, potential)
            if tried <= value - 1e-4 * size * gain + 1e-15 * abs(value):
                break
            size /= 2
        else:
            break
        nu, value = new, tried
    w = potential.primal(z0 + nu @ x)
    if not np.abs(x @ w - y).max() <= 1e-8 * scale:
        raise ArithmeticError(
            f"the {potential.name} projection could not be found in double precision; p-norms of p from 1.05 "
            "to 4 mostly can"
        )
    return Projection(w, nu)


def simplex_projection(x: Any, y: Any, start: Any) -> Projection:
    """Return the w with Xw = y, Σw = 1, w ≥ 0 and the least Σ w log(w/w₀).

    Args:
        x: Inputs X, shape (m, n); ones are not in its row space.
        y: Labels, shape (m,).
        start: Positive w₀, shape (n,) or one for all weights, which gives the largest entropy; its sum does
            not matter.

    Returns:
        The projection; its last multiplier is that of the sum.

    Raises:
        UserError: As :func:`bregman_projection`.
        ArithmeticError: As there.
    """
    x, y = linear_system(x, y)
    return bregman_projection(
        np.concatenate([x, np.ones((1, x.shape[1]))]), np.append(y, 1.0), start, entropy_potential()
    )


def entropy(weights: Any) -> float:
    """Return H(w) = −Σ w log w of weights that are not negative, in nats.

    Args:
        weights: w ≥ 0, any shape, at least one.

    Raises:
        UserError: One is negative or not finite, or there is none.
    """
    w = finite("weights", weights)
    if w.min() < 0:
        raise UserError(f"weights hold {w.min():g}; the entropy is that of weights from 0 on")
    return float(-np.sum(w[w > 0] * np.log(w[w > 0])))


def _dual_value(y: np.ndarray, z: np.ndarray, nu: np.ndarray, potential: Potential) -> float:
    with np.errstate(over="ignore"):
        return float(np.sum(potential.conjugate(z)) - y @ nu)


def _first_guess(x: np.ndarray, y: np.ndarray, z0: np.ndarray, potential: Potential) -> np.ndarray:
    """Return the multiple of the minimum norm's multipliers with the least dual value.

    At the origin the curvature of a p-norm is zero, or infinite.
    """
    nu = np.linalg.lstsq(x @ x.T, y, rcond=None)[0]
    factors = np.geomspace(1e-6, 1e6, 241)
    values = [_dual_value(y, z0 + f * nu @ x, f * nu, potential) for f in factors]
    return np.asarray(factors[int(np.nanargmin(values))] * nu)


def _require_positive(x: np.ndarray, y: np.ndarray) -> None:
    """Refuse systems without a positive solution, by linear programming."""
    from scipy.optimize import linprog

    m, n = x.shape
    # The largest t ≤ 1 with w ≥ t: w = v + t, v ≥ 0.
    rows = np.concatenate([x, x.sum(axis=1, keepdims=True)], axis=1)
    found = linprog(
        np.append(np.zeros(n), -1.0), A_eq=rows, b_eq=y, bounds=[(0, None)] * n + [(0, 1)],
        method="highs",
    )  # fmt: skip
    if found.status == 2:
        raise UserError(
            f"no w >= 0 has Xw = y ({m} examples of {n} features): mirror descent in the entropy has no "
            "solution to go to; choose labels that positive weights make, or a p-norm"
        )
    if not found.success:
        raise ArithmeticError(f"whether a positive solution exists was not found: {found.message}")
    if found.x[-1] <= POSITIVE * max(1e-300, min(1.0, float(np.max(found.x)))):
        raise UserError(
            "w >= 0 with Xw = y exist only with some weights zero; leave out the features that must be zero"
        )


def linear_system(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and labels as float64.

    Raises:
        UserError: They are no matrix and a label for each of its rows, not finite, or inputs are all zero.
    """
    x, y = finite("inputs", x), finite("labels", y)
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise UserError(
            f"inputs have shape {x.shape} and labels {y.shape}; give a matrix and one label a row"
        )
    if not x.any():
        raise UserError("inputs are all zero, so that labels decide nothing; give others")
    return x, y
