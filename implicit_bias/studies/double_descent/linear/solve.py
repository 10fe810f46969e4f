"""Least squares on many training sets at once."""

from __future__ import annotations

import numpy as np


def transposed(x: np.ndarray) -> np.ndarray:
    """Return matrices with their last two axes exchanged."""
    return np.swapaxes(x, -1, -2)


def least_squares(
    x: np.ndarray, y: np.ndarray, penalty: float = 0.0, gram: np.ndarray | None = None
) -> np.ndarray:
    """Return minimum-norm least squares, or ridge regression, of many problems at once.

    Normal equations of the smaller side are solved: in double precision that loses about as many digits as
    the condition number squared has, which for Gaussian matrices leaves six or more even if they are square.

    Args:
        x: Features, shape (draws, m, n), of full rank.
        y: Labels, shape (draws, m, targets).
        penalty: Of ‖w‖² beside the sum of squared errors.
        gram: XXᵀ, shape (draws, m, m), where it is known and n ≥ m.

    Returns:
        w, shape (draws, n, targets).
    """
    m, n = x.shape[1:]
    if n == m and penalty == 0:
        return np.linalg.solve(x, y)
    if n < m:
        matrix = transposed(x) @ x
        solved: np.ndarray = np.linalg.solve(matrix + penalty * np.eye(n), transposed(x) @ y)
        return solved
    matrix = x @ transposed(x) if gram is None else gram
    found: np.ndarray = transposed(x) @ np.linalg.solve(matrix + penalty * np.eye(m), y)
    return found
