"""Underdetermined least squares in its singular modes: the minimum norm, ridge, and what is never reached.

``X = U Σ Vᵀ`` with m rows and n columns, of any rank r. Everything that descent, flow and ridge do on
½‖Xw − y‖² happens mode by mode in the row space span(V); the rest of w stays where it began.

References:
    [P] R. Penrose, *A generalized inverse for matrices*, Proc. Camb. Phil. Soc. 51 (1955).
    [EHN] H. Engl, M. Hanke, A. Neubauer, *Regularization of Inverse Problems* (1996), chapters 2 and 6.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.theory.checks import LARGE, finite, from_zero, not_negative, rows


class Modes(NamedTuple):
    """A design in its singular modes, those of value zero left out.

    Attributes:
        left: Left singular vectors, (m, r).
        values: Singular values, decreasing, positive, (r,).
        right: Right singular vectors, (n, r): a basis of the row space.
    """

    left: np.ndarray
    values: np.ndarray
    right: np.ndarray

    @property
    def rank(self) -> int:
        """Number r of modes."""
        return len(self.values)

    @property
    def curvatures(self) -> np.ndarray:
        """Positive eigenvalues of XᵀX, decreasing, (r,)."""
        return self.values**2


def modes(x: Any, tolerance: float | None = None) -> Modes:
    """Return the singular modes of a design.

    Args:
        x: Design X, (m, n).
        tolerance: Singular values up to this fraction of the largest count as zero; by default rounding of
            float64 times the larger side, as in NumPy's ``matrix_rank``.

    Raises:
        UserError: The design is no matrix of finite numbers, is all zero, or too small or large to be
            squared; or the tolerance is not between 0 and 1.
    """
    matrix = finite("design", x, axes=2)
    if not matrix.any():
        raise UserError(
            f"design of shape {matrix.shape} is all zero, so that labels decide nothing; give one with an "
            "entry that is not"
        )
    if tolerance is None:
        tolerance = max(matrix.shape) * float(np.finfo(np.float64).eps)
    fraction = from_zero("tolerance", tolerance)
    if fraction >= 1:
        raise UserError(
            f"tolerance is {fraction:g}, which leaves no singular value; choose less than 1"
        )
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    if values[0] < 1 / LARGE:
        raise UserError(
            f"design has {values[0]:g} as its largest singular value, whose square is no number in double "
            "precision; multiply design and labels by a factor"
        )
    kept = values > fraction * values[0]
    return Modes(left[:, kept], values[kept], right[kept].T)


def minimum_norm(design: Modes, y: Any, start: Any = None) -> np.ndarray:
    """Return the least-squares solution nearest to a start: ``w₀ + X⁺(y − Xw₀)``.

    From 0 it is X⁺y, the solution of least norm. For any rank, and whether or not y can be fitted.

    Args:
        design: Modes of X.
        y: Labels, (m,).
        start: w₀, (n,); 0 by default.

    Returns:
        Shape (n,).

    Raises:
        UserError: A shape does not fit.

    References:
        [P]; [EHN], theorem 2.5.
    """
    labels, begin = labels_of(design, y), start_of(design, start)
    return begin + design.right @ (design.left.T @ labels / design.values - design.right.T @ begin)


def row_part(design: Modes, w: Any) -> np.ndarray:
    """Return the projection of weights onto the row space, ``X⁺Xw``; w less it is in the null space.

    Args:
        design: Modes of X.
        w: Shape (…, n).

    Raises:
        UserError: The shape does not fit, or a weight is not finite.
    """
    weights = rows("weights", w, len(design.right))
    return (weights @ design.right) @ design.right.T


def ridge_solutions(design: Modes, y: Any, penalties: Any, start: Any = None) -> np.ndarray:
    """Return ridge solutions ``argmin ‖Xw − y‖² + λ‖w − w₀‖²``: the ridge path.

    Mode by mode ``σ/(σ² + λ)`` of the labels. At λ = 0, and in the limit λ → 0, the minimum norm. The norm
    from the start falls with λ.

    Args:
        design: Modes of X.
        y: Labels, (m,).
        penalties: λ ≥ 0, any shape; it multiplies ‖w‖² beside the *sum* of squares.
        start: w₀, (n,), to which weights are drawn; 0 by default.

    Returns:
        Shape (…, n), by penalty.

    Raises:
        UserError: A penalty is negative, or a shape does not fit.

    References:
        [EHN], section 5.1.
    """
    lam = not_negative("penalty", penalties)[..., None]
    labels, begin = labels_of(design, y), start_of(design, start)
    parts = design.left.T @ labels - design.values * (design.right.T @ begin)
    return begin + (design.values / (design.curvatures + lam) * parts) @ design.right.T


def ridge_rate(design: Modes, y: Any) -> np.ndarray:
    """Return ``lim (w_λ − X⁺y)/λ`` as λ → 0: ``−Σ v σ⁻³ uᵀy``. Ridge leaves the minimum norm linearly in λ.

    Args:
        design: Modes of X.
        y: Labels, (m,).

    Returns:
        Shape (n,).

    Raises:
        UserError: A shape does not fit.
    """
    return -design.right @ (design.left.T @ labels_of(design, y) / design.values**3)


def labels_of(design: Modes, y: Any) -> np.ndarray:
    """Return labels as float64, (m,).

    Raises:
        UserError: Their shape does not fit, or one is not finite.
    """
    return _vector("labels", y, len(design.left), "examples")


def start_of(design: Modes, start: Any) -> np.ndarray:
    """Return a starting point as float64, (n,); 0 for None.

    Raises:
        UserError: Its shape does not fit, or an entry is not finite.
    """
    features = len(design.right)
    return np.zeros(features) if start is None else _vector("start", start, features, "features")


def _vector(name: str, values: Any, size: int, what: str) -> np.ndarray:
    vector = finite(name, values)
    if vector.shape != (size,):
        raise UserError(
            f"{name} has shape {vector.shape}, but there are {size} {what}; give ({size},)"
        )
    return vector
