"""Gradient flow on least squares, exactly: ``w(t) = w₀ + (I − e^{−XᵀXt})(X⁺y − w₀)`` in the row space.

References:
    [AKT] A. Ali, J. Z. Kolter, R. J. Tibshirani, *A continuous-time view of early stopping for least
    squares*, AISTATS 2019, lemma 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from implicit_bias.theory.checks import not_negative
from implicit_bias.theory.least_squares import Modes, labels_of, start_of


def least_squares_flow(design: Modes, y: Any, times: Any, start: Any = None) -> np.ndarray:
    """Return where the flow ``w′ = −Xᵀ(Xw − y)`` of ½‖Xw − y‖² is.

    Each mode moves by the fraction ``1 − e^{−σ²t}`` of its way; the null space does not move. At t = ∞ it is
    at the least-squares solution nearest to its start.

    Args:
        design: Modes of X.
        y: Labels, (m,).
        times: t ≥ 0, finite, any shape. Of the mean of squares, ½‖Xw − y‖²/m, the time is m times as long.
        start: w₀, (n,); 0 by default.

    Returns:
        Shape (…, n), by time.

    Raises:
        UserError: A time is negative or not finite, or a shape does not fit.

    References:
        [AKT], lemma 1.
    """
    t = not_negative("time", times)[..., None]
    labels, begin = labels_of(design, y), start_of(design, start)
    way = design.left.T @ labels / design.values - design.right.T @ begin
    # expm1 keeps the digits of short times.
    return begin + (-np.expm1(-design.curvatures * t) * way) @ design.right.T
