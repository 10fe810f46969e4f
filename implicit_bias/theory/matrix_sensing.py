"""Matrices of least nuclear norm, with a certificate, and low-rank problems to seek them in.

``min ‖W‖_* subject to ⟨A_i, W⟩ = b_i`` has the dual ``max bᵀν subject to ‖Σν_iA_i‖ ≤ 1`` (spectral norm)
[RFP]. The Douglas–Rachford iteration [EB] keeps W on the constraints and its multiplier in the span of the
A_i, so that ‖W‖_* − bᵀν/max(1, ‖Σν_iA_i‖) bounds how far W is from the minimum, whatever the iteration did.

References:
    [RFP] B. Recht, M. Fazel, P. Parrilo, *Guaranteed minimum-rank solutions of linear matrix equations via
        nuclear norm minimization*, SIAM Review 52 (2010).
    [EB] J. Eckstein, D. Bertsekas, *On the Douglas–Rachford splitting method*, Math. Programming 55 (1992).
    [RC] N. Razin, N. Cohen, *Implicit regularization in deep learning may not be explainable by norms*,
        NeurIPS 2020.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.theory.checks import count, finite, from_zero, not_negative

RELAXATION = 1.7
"""Share of a step of the iteration that is made; below 2, and above 1 measured to save two fifths."""

PATIENCE = 1500
"""Iterations before smaller steps are tried."""


class NuclearMinimum(NamedTuple):
    """A matrix of least nuclear norm.

    Attributes:
        matrix: W, which meets the constraints to rounding.
        norm: ‖W‖_*.
        bound: What the multiplier proves that no matrix goes below.
        gap: (norm − bound)/norm.
        certificate: Σν_iA_i, of spectral norm at most 1.
        iterations: Done.
    """

    matrix: np.ndarray
    norm: float
    bound: float
    gap: float
    certificate: np.ndarray
    iterations: int


def nuclear_minimum(
    measurements: Any, values: Any, *, tolerance: float = 1e-8, most: int = 50_000
) -> NuclearMinimum:
    """Return the matrix of least nuclear norm that meets linear constraints.

    Args:
        measurements: A_i, shape (m, k, d).
        values: b, shape (m,).
        tolerance: Relative duality gap at which it ends.
        most: Iterations after which it ends in any case; look at ``gap``.

    Raises:
        UserError: Shapes do not fit, a number is not finite, or nothing meets the constraints.
    """
    given, wanted = finite("measurements", measurements), finite("values", values)
    tolerance, most = from_zero("tolerance", tolerance), count("most", most)
    if given.ndim != 3 or wanted.shape != given.shape[:1]:
        raise UserError(
            f"measurements have shape {given.shape} and values {wanted.shape}; give (m, k, d) and (m,)"
        )
    shape = given.shape[1:]
    # Orthonormal constraints: their projection is then one product each way.
    u, s, basis = np.linalg.svd(given.reshape(len(given), -1), full_matrices=False)
    kept = s > s[0] * 1e-12
    basis, reached = basis[kept], (u[:, kept].T @ wanted) / s[kept]
    left = wanted - u[:, kept] @ (u[:, kept].T @ wanted)
    if np.linalg.norm(left) > 1e-9 * (np.linalg.norm(wanted) or 1.0):
        raise UserError(
            f"no matrix meets all {len(given)} constraints, of which {int(kept.sum())} are "
            "independent; give values of some matrix"
        )
    z = reached @ basis
    scale = float(np.linalg.norm(z.reshape(shape), 2))
    if not scale:
        zero = np.zeros(shape)
        return NuclearMinimum(zero, 0.0, 0.0, 0.0, zero, 0)
    threshold, best = 0.1 * scale, None
    for done in range(1, most + 1):
        w = z + (reached - basis @ z) @ basis
        v = _shrunk((2 * w - z).reshape(shape), threshold).ravel()
        if done % 10 == 0 or done == most:
            found = _certified(w, z, threshold, shape, done)
            if best is None or found.gap < best.gap:
                best = found
            if best.gap <= tolerance:
                break
        z = z + RELAXATION * (v - w)
        if done % PATIENCE == 0 and threshold > 0.003 * scale:
            # Small singular values, of W or short of 1 in the multiplier, are told from none by small steps.
            z, threshold = w + (z - w) / 3, threshold / 3
    assert best is not None
    return best


def _shrunk(matrix: np.ndarray, threshold: float) -> np.ndarray:
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return (u * np.maximum(s - threshold, 0.0)) @ vt


def _certified(
    w: np.ndarray, z: np.ndarray, threshold: float, shape: tuple[int, ...], done: int
) -> NuclearMinimum:
    """Scale the multiplier to be feasible and say what it proves."""
    multiplier = ((w - z) / threshold).reshape(shape)
    multiplier = multiplier / max(1.0, float(np.linalg.norm(multiplier, 2)))
    matrix = w.reshape(shape)
    norm = float(np.linalg.norm(matrix, "nuc"))
    # The multiplier is in the span of the A_i: its product with W is bᵀν, whatever W meets them.
    bound = float(np.sum(multiplier * matrix))
    return NuclearMinimum(matrix, norm, bound, (norm - bound) / norm, multiplier, done)


def low_rank(rng: np.random.Generator, rows: int, columns: int, rank: int) -> np.ndarray:
    """Draw a matrix of known rank and spectral norm 1: the product of two Gaussian ones, scaled.

    Args:
        rng: Source of randomness.
        rows: k.
        columns: d.
        rank: Between 1 and min(k, d).

    Raises:
        UserError: The rank is above the dimension.
    """
    k, d = count("rows", rows), count("columns", columns)
    r = check_rank(rank, k, d)
    w = rng.standard_normal((k, r)) @ rng.standard_normal((r, d))
    return w / np.linalg.norm(w, 2)


def check_rank(rank: Any, rows: int, columns: int) -> int:
    """Return a rank that a matrix of a shape can have.

    Raises:
        UserError: It is no whole number from 1 on, or above the dimension.
    """
    r = count("rank", rank)
    if r > min(rows, columns):
        raise UserError(
            f"rank is {r}, above the dimension of a {rows} × {columns} matrix; choose at most "
            f"{min(rows, columns)}"
        )
    return r


def unseen_entry_bound(loss: Any) -> np.ndarray:
    """Return what the unseen entry of the 2 × 2 problem is at least, at a loss, if det W > 0.

    Seen are W₁₂ = W₂₁ = 1 and W₂₂ = 0, the loss is half the squared error. From det W > 0,
    W₁₁W₂₂ > W₁₂W₂₁, and no seen entry is off by more than e = √(2 loss): |W₁₁| ≥ (1 − e)²/e for e < 1. The
    least nuclear norm of a solution is 2, at W₁₁ = 0, where det W = −1.

    Args:
        loss: Above 0.

    Returns:
        The bound, 0 where the loss says nothing.

    Raises:
        UserError: A loss is negative or not finite.

    References:
        [RC], section 3 and theorem 1.
    """
    off = np.sqrt(2 * not_negative("loss", loss))
    with np.errstate(divide="ignore"):
        return np.where(off < 1, (1 - off) ** 2 / off, 0.0)
