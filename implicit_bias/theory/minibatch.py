"""Mini-batches on least squares that can be fitted: where they go, and up to which step size.

Batches of b of m examples are drawn without replacement, independently at each update, and descend on their
mean ½(xᵢᵀw − yᵢ)². Every gradient lies in the row space and vanishes at every solution, so that noise dies
out and w ends at the solution nearest to its start, the same as that of all examples at once. Where y cannot
be fitted gradients do not vanish at the solution, and with a constant step size w keeps a variance about it.

References:
    [MBB] S. Ma, R. Bassily, M. Belkin, *The power of interpolation*, ICML 2018.
    [SV] T. Strohmer, R. Vershynin, *A randomized Kaczmarz algorithm with exponential convergence*, J. Fourier
    Anal. Appl. 15 (2009).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.theory.checks import count, from_zero
from implicit_bias.theory.least_squares import Modes, modes

Matrices = Callable[[np.ndarray], np.ndarray]

SMALL = 4
"""Ranks up to which the map is written out as a matrix."""


def safe_batch_step(x: Any) -> float:
    """Return 2/max‖xᵢ‖²: below it no batch of any size takes w further from a solution.

    Args:
        x: Design, (m, n).

    Raises:
        UserError: The design is none.

    References:
        [MBB], section 3.
    """
    modes(x)
    return 2 / float(np.max(np.sum(np.asarray(x, np.float64) ** 2, axis=1)))


def mean_square_contraction(design: Modes, batch_size: int, step_size: float) -> float:
    """Return by which factor the expected squared distance from the solution falls, in the long run.

    In the row space, with Z = UΣ, the distance's second moment S obeys
    ``S ← S − (η/m)(ΛS + SΛ) + (η/b)² ZᵀMZ``, where M is ZSZᵀ with its diagonal times b/m and the
    rest times b(b − 1)/(m(m − 1)). The factor is that symmetric map's largest eigenvalue.

    Args:
        design: Modes of X.
        batch_size: b, at most m.
        step_size: η > 0, on the batch's mean.

    Returns:
        The factor of the square; at least 1 where mini-batches do not converge in mean square.

    Raises:
        UserError: The batch is larger than the training set, or a number is not positive.

    References:
        [MBB], section 4, has bounds.
    """
    eta = from_zero("step_size", step_size)
    drift, spread = _second_moment(design, batch_size)
    return _largest(
        design.rank, lambda second: second - eta * drift * second + eta**2 * spread(second)
    )


def mean_square_limit(design: Modes, batch_size: int) -> float:
    """Return the step size from which on mini-batches do not converge in mean square.

    The map of :func:`mean_square_contraction` is I − ηA + η²B with A diagonal: it contracts as long as A − ηB
    is positive definite, η < 1/λmax(A^(−1/2) B A^(−1/2)). For all examples at once that is 2m/λmax(XᵀX), of
    their mean; for fewer it is smaller.

    Raises:
        UserError: The batch is larger than the training set, or no positive number.
    """
    drift, spread = _second_moment(design, batch_size)
    root = np.sqrt(drift)
    return 1 / _largest(design.rank, lambda second: spread(second / root) / root)


def _second_moment(design: Modes, batch_size: int) -> tuple[np.ndarray, Matrices]:
    """Return A, elementwise, and B of the second moment's map, in modes."""
    m, b = len(design.left), count("batch_size", batch_size)
    if b > m:
        raise UserError(f"batch_size is {b}, but there are {m} examples; choose at most {m}")
    scores, place = design.left * design.values, np.arange(m)
    single, pair = b / m, b * (b - 1) / (m * (m - 1)) if m > 1 else 1.0

    def spread(second: np.ndarray) -> np.ndarray:
        masked = scores @ second @ scores.T
        alone = single * masked[place, place]
        masked *= pair
        masked[place, place] = alone
        return np.asarray(scores.T @ masked @ scores / b**2)

    return (design.curvatures[:, None] + design.curvatures[None, :]) / m, spread


def _largest(rank: int, move: Matrices) -> float:
    """Return the largest eigenvalue of a symmetric map of (rank, rank) matrices.

    Its eigenvector is positive semidefinite, so that the identity has a part along it.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    def moved(flat: np.ndarray) -> np.ndarray:
        return move(flat.reshape(rank, rank)).ravel()

    if rank <= SMALL:
        rows = np.stack([moved(row) for row in np.eye(rank * rank)])
        return float(np.linalg.eigvalsh(rows)[-1])
    operator = LinearOperator((rank * rank, rank * rank), matvec=moved, dtype=np.float64)
    start = np.eye(rank).ravel()
    return float(eigsh(operator, 1, which="LA", v0=start, return_eigenvectors=False)[0])
