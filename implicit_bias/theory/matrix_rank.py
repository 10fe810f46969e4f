"""How many singular values a matrix has, where none is exactly zero.

References:
    [RV] O. Roy, M. Vetterli, *The effective rank: a measure of effective dimensionality*, EUSIPCO 2007.
    [RuV] M. Rudelson, R. Vershynin, *Sampling from large matrices*, J. ACM 54 (2007): the stable rank.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.theory.checks import not_negative


def effective_rank(singular_values: Any) -> np.ndarray:
    """Return e^H of the singular values as shares of their sum, H the entropy in nats.

    Args:
        singular_values: Shape (…, n), n ≥ 1.

    Returns:
        Shape (…): between 1 and n; NaN where all are zero.

    Raises:
        UserError: One is negative or not finite, or there is none.

    References:
        [RV], definition 1.

    Example:
        >>> from implicit_bias import theory
        >>> float(theory.effective_rank([1.0, 1.0, 1.0, 0.0]).round(6))
        3.0
    """
    s = _values(singular_values)
    total = s.sum(axis=-1, keepdims=True)
    shares = s / np.where(total > 0, total, np.nan)
    logs = np.log(np.where(shares > 0, shares, 1.0))
    return np.exp(-np.sum(shares * logs, axis=-1))


def stable_rank(singular_values: Any) -> np.ndarray:
    """Return ‖W‖²_F/‖W‖², the sum of squares over the largest.

    Args:
        singular_values: Shape (…, n), n ≥ 1.

    Returns:
        Shape (…): between 1 and n; NaN where all are zero.

    Raises:
        UserError: One is negative or not finite, or there is none.

    References:
        [RuV], remark 1.3.

    Example:
        >>> from implicit_bias import theory
        >>> float(theory.stable_rank([2.0, 1.0, 1.0]))
        1.5
    """
    s = _values(singular_values)
    top = s.max(axis=-1, keepdims=True)
    return np.sum((s / np.where(top > 0, top, np.nan)) ** 2, axis=-1)


def _values(given: Any) -> np.ndarray:
    s = not_negative("singular value", given)
    if not s.ndim or not s.shape[-1]:
        raise UserError(f"singular values have shape {s.shape}; give at least one")
    return s
