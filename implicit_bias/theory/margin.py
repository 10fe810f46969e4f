"""Maximum margins of linear classifiers in ℓ1, ℓ2 and ℓ∞.

Examples are given signed, ``z_i = y_i x_i`` with labels y = ±1, as rows of an n × d matrix Z: a direction
classifies an example rightly where ``z·w > 0``. A bias is a constant column of Z, and counts in ‖w‖ as any
other weight; ``free`` leaves trailing columns out of the norm, as support vector machines do.

The hard-margin solution ŵ is the shortest w with Zw ≥ 1. It is ``Σ α_i z_i`` with α ≥ 0 that vanish but where
``z_i·ŵ = 1``, the support, and the margin is γ = 1/‖ŵ‖. How gradient descent comes to it is in
``theory.margin_limits``.

References:
    [LH] C. Lawson, R. Hanson, *Solving least squares problems* (1974), chapter 23: least
    distance programming.
    [G] S. Gunasekar, J. Lee, D. Soudry, N. Srebro, *Characterizing implicit bias in terms of optimization
    geometry*, ICML 2018: other norms.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from implicit_bias.errors import UserError, unknown
from implicit_bias.theory.checks import LARGE, count, finite, rows

Norm = Literal["l1", "l2", "linf"]

NORMS: dict[str, float] = {"l1": 1.0, "l2": 2.0, "linf": np.inf}
"""Norms of the weights, by name, with their exponents."""

TIGHT = 1e-9
"""Relative slack up to which an example counts as a support vector, and a margin as zero."""

CLEAR = 1e-7
"""Cosine, up to constants, that must be exceeded on all examples: linear programmes are solved to about
this."""

ACTIVE = 1e-8
"""Multiplier relative to the largest from which it counts as positive."""

STRONG = 1e3
"""How much less a free column weighs while the support is sought; it is exact once that is known."""


class HardMargin(NamedTuple):
    """The hard-margin solution.

    Attributes:
        weights: ŵ, the shortest w with Zw ≥ 1, shape (d,).
        margin: γ = 1/‖ŵ‖ (without free columns), the largest smallest distance, in the inputs' unit.
        multipliers: α, shape (n,): ŵ = Σ α_i z_i; zero outside the support. They are unique where the support
            vectors are linearly independent.
        support: Which examples have z_i·ŵ = 1, shape (n,).
    """

    weights: np.ndarray
    margin: float
    multipliers: np.ndarray
    support: np.ndarray

    @property
    def generic(self) -> bool:
        """Whether every support vector has a positive multiplier, as almost all data have."""
        least = ACTIVE * float(self.multipliers.max())
        return bool(np.all(self.multipliers[self.support] > least))


def signed_examples(inputs: Any, labels: Any, *, bias: bool = True) -> np.ndarray:
    """Return y_i x_i, with a constant column for a bias.

    Args:
        inputs: Shape (n, d).
        labels: −1 or 1, shape (n,).
        bias: Whether to append the column y_i · 1.

    Returns:
        Shape (n, d + 1), or (n, d) without a bias.

    Raises:
        UserError: Shapes do not fit, or a label is neither −1 nor 1.
    """
    x, y = finite("inputs", inputs, axes=2), finite("labels", labels)
    if y.shape != x.shape[:1]:
        raise UserError(
            f"labels have shape {y.shape}, but there are {len(x)} inputs; give one each"
        )
    odd = y[np.abs(y) != 1]
    if odd.size:
        raise UserError(f"labels hold {odd[0]:g}; give −1 and 1")
    full = np.concatenate([x, np.ones((len(x), 1))], axis=1) if bias else x
    return y[:, None] * full


def separable(signed: Any) -> bool:
    """Say whether some direction has ``z_i·w > 0`` for every example, by linear programming.

    Args:
        signed: Z, shape (n, d).

    Raises:
        UserError: It is no matrix of finite numbers whose squares are numbers as well.

    Example:
        >>> separable([[1.0, 2.0], [2.0, -1.0]]), separable([[1.0, 0.0], [-1.0, 0.0]])
        (True, False)
    """
    z = examples_of(signed)
    # Whether it exists does not depend on the rows' lengths; rounding does.
    sizes = np.abs(z).max(axis=1, keepdims=True)
    if sizes.min() == 0:
        return False
    units = z / sizes
    return _linear_margin(units / np.linalg.norm(units, axis=1, keepdims=True), "linf")[0] > CLEAR


def require_separable(signed: Any, what: str = "the examples") -> np.ndarray:
    """Return signed examples as float64, or refuse them.

    Args:
        signed: Z, shape (n, d).
        what: How the reader knows them.

    Raises:
        UserError: No direction classifies all of them rightly: they have no margin.
    """
    z = examples_of(signed)
    if not separable(z):
        raise UserError(
            f"{what} ({z.shape[0]} of {z.shape[1]} features) are not linearly separable: no weights classify "
            "all of them rightly, so that there is no margin to maximise; choose separable ones, such as "
            "fewer examples, more features or classes further apart"
        )
    return z


def hard_margin(signed: Any, free: int = 0) -> HardMargin:
    """Return the shortest weights with ``z_i·w ≥ 1`` for all examples.

    Least distance programming [LH] finds the support by non-negative least squares; ŵ then solves the linear
    system of its optimality conditions, to rounding.

    Args:
        signed: Z, shape (n, d).
        free: Trailing columns that do not count in the norm; 1 for the bias of a support vector machine.

    Returns:
        The solution.

    Raises:
        UserError: The examples are not separable.
        ArithmeticError: Rounding keeps the solution from meeting its optimality conditions.

    Example:
        >>> from implicit_bias import theory
        >>> found = theory.hard_margin([[3.0, 4.0], [6.0, 8.0]])  # inputs times their labels ±1
        >>> round(found.margin, 6), found.support.tolist()
        (5.0, [True, False])
    """
    from scipy.optimize import nnls

    z = require_separable(signed)
    if count("free", free, 0) >= z.shape[1]:
        raise UserError(
            f"free is {free}; choose 0 to {z.shape[1] - 1}, fewer than there are columns"
        )
    scale = float(np.linalg.norm(z, axis=1).max())
    counted = np.arange(z.shape[1]) < z.shape[1] - free
    # In units of the longest example: solvers compare with numbers of their own.
    z = z / scale
    scaled = z * np.where(counted, 1.0, STRONG)[None, :]
    system = np.concatenate([scaled.T, np.ones((1, len(z)))])
    target = np.append(np.zeros(z.shape[1]), 1.0)
    dual, _ = nnls(system, target, maxiter=30 * max(system.shape))
    chosen = dual > 1e-10 * dual.max()
    weights, multipliers = _tight(z, np.flatnonzero(chosen), counted)
    slack = z @ weights - 1
    if slack.min() < -1e-6 or multipliers.min() < -1e-6 * multipliers.max():
        raise ArithmeticError("the hard-margin solution could not be found in double precision")
    support = slack <= max(TIGHT, 10 * float(np.abs(slack[chosen]).max()))
    alpha = np.zeros(len(z))
    alpha[chosen] = np.maximum(multipliers, 0.0)
    margin = scale / float(np.linalg.norm(weights[counted]))
    return HardMargin(weights / scale, margin, alpha / scale**2, support)


def norm_margin(signed: Any, norm: str = "l2") -> tuple[float, np.ndarray]:
    """Return the largest smallest ``z_i·w`` over ‖w‖ ≤ 1 in a norm, and weights that have it.

    In ℓ1 and ℓ∞ it is a linear programme; its weights need not be unique, its value is.

    Args:
        signed: Z, shape (n, d).
        norm: ``l1``, ``l2`` or ``linf``.

    Returns:
        The margin, and weights of norm 1, shape (d,).

    Raises:
        UserError: The norm is unknown, or the examples are not separable.

    References:
        [G], equation 3; for ℓ1, boosting's margin.
    """
    check_norm(norm)
    z = require_separable(signed)
    if norm == "l2":
        found = hard_margin(z)
        return found.margin, found.weights * found.margin
    size = float(np.abs(z).max())
    margin, weights = _linear_margin(z / size, norm)
    return margin * size, weights


def margins_in(signed: Any, weights: Any, norm: str = "l2") -> np.ndarray:
    """Return min_i z_i·w / ‖w‖ of weights in a norm.

    Args:
        signed: Z, shape (n, d).
        weights: Shape (…, d).
        norm: ``l1``, ``l2`` or ``linf``.

    Returns:
        Shape (…); NaN where w = 0.

    Raises:
        UserError: The norm is unknown, a number is not finite, or shapes do not fit.
    """
    check_norm(norm)
    z = examples_of(signed)
    w = rows("weights", weights, z.shape[1])
    sizes = np.linalg.norm(w, NORMS[norm], axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sizes > 0, np.min(w @ z.T, axis=-1) / sizes, np.nan)


def angles_to(weights: Any, direction: Any) -> np.ndarray:
    """Return angles to a direction in radians, exact for small ones (no arc cosine).

    Args:
        weights: Shape (…, d).
        direction: Shape (d,), not zero.

    Returns:
        Shape (…); NaN where w = 0.

    Raises:
        UserError: A number is not finite, shapes do not fit, or the direction is zero.
    """
    u = finite("direction", direction, axes=1)
    w = rows("weights", weights, len(u))
    if not u.any():
        raise UserError("direction is zero, to which there is no angle; give another")
    u = u / np.abs(u).max()
    u = u / np.linalg.norm(u)
    along = w @ u
    across = np.linalg.norm(w - along[..., None] * u, axis=-1)
    return np.where(np.linalg.norm(w, axis=-1) > 0, np.arctan2(across, along), np.nan)


def _tight(z: np.ndarray, chosen: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solve for the shortest w with z_i·w = 1 on the chosen rows, and its multipliers."""
    d, k = z.shape[1], len(chosen)
    rows = z[chosen]
    system = np.zeros((d + k, d + k))
    system[:d, :d] = np.diag(counted.astype(float))
    system[:d, d:] = -rows.T
    system[d:, :d] = rows
    solved = np.linalg.lstsq(system, np.append(np.zeros(d), np.ones(k)), rcond=None)[0]
    return solved[:d], solved[d:]


def _linear_margin(z: np.ndarray, norm: str) -> tuple[float, np.ndarray]:
    """Maximise s with Zw ≥ s and ‖w‖ ≤ 1, where the norm is piecewise linear."""
    from scipy.optimize import linprog

    n, d = z.shape
    ones = np.ones((n, 1))
    bounds: list[tuple[float | None, float | None]]
    if norm == "linf":
        cost = np.append(np.zeros(d), -1.0)
        rows, right = np.concatenate([-z, ones], axis=1), np.zeros(n)
        bounds = [(-1.0, 1.0)] * d + [(None, None)]
    else:  # w = u − v with u, v ≥ 0 and Σ(u + v) ≤ 1
        cost = np.append(np.zeros(2 * d), -1.0)
        rows = np.concatenate([-z, z, ones], axis=1)
        rows = np.concatenate([rows, np.append(np.ones(2 * d), 0.0)[None, :]])
        right = np.append(np.zeros(n), 1.0)
        bounds = [(0.0, None)] * (2 * d) + [(None, None)]
    found = linprog(cost, A_ub=rows, b_ub=right, bounds=bounds, method="highs")
    if not found.success:
        raise ArithmeticError(f"the linear programme of the margin failed: {found.message}")
    weights = found.x[:d] if norm == "linf" else found.x[:d] - found.x[d : 2 * d]
    return float(found.x[-1]), weights


def examples_of(signed: Any) -> np.ndarray:
    """Return signed examples as float64, (n, d).

    Raises:
        UserError: They are no matrix of finite numbers, or, unless all are zero, too small to be squared.
    """
    z = finite("signed examples", signed, axes=2)
    largest = float(np.abs(z).max())
    if 0 < largest < 1 / LARGE:
        raise UserError(
            f"signed examples are at most {largest:g}, whose square is no number in double precision; "
            "multiply the inputs by a factor"
        )
    return z


def check_norm(norm: Any) -> None:
    """Refuse what is no name in :data:`NORMS`.

    Raises:
        UserError: It is none.
    """
    if not isinstance(norm, str) or norm not in NORMS:
        raise unknown("norm", norm, NORMS)
