"""Effective ranks that decide whether fitting noise exactly does harm.

References:
    [BLLT] P. Bartlett, P. Long, G. Lugosi, A. Tsigler, *Benign overfitting in linear regression*, PNAS 117
    (2020): definition 3 and theorem 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from implicit_bias.theory.checks import count, positive, spectrum_of


def effective_ranks(spectrum: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return both effective ranks of the tails of a covariance, for every k.

    ``r_k = Σ_{i>k} λ_i / λ_{k+1}`` and ``R_k = (Σ_{i>k} λ_i)² / Σ_{i>k} λ_i²``; 1 ≤ r_k, and
    r_k ≤ R_k ≤ r_k², and both are n − k where the tail is flat.

    Args:
        spectrum: Positive eigenvalues of the features' covariance, in any order, shape (n,).

    Returns:
        r and R, each of shape (n,), for k = 0, …, n − 1.

    Raises:
        UserError: The spectrum is empty or holds what is no positive number.

    References:
        [BLLT], definition 3.

    Example:
        >>> from implicit_bias import theory
        >>> r, upper = theory.effective_ranks([4.0, 2.0, 2.0])  # r₀, r₁, …; R₀, R₁, …
        >>> r.tolist(), upper.round(2).tolist()
        ([2.0, 2.0, 1.0], [2.67, 2.0, 1.0])
    """
    # Relative to the largest, so that squares neither vanish nor overflow.
    values = np.sort(spectrum_of(spectrum))[::-1]
    scaled = values / values[0]
    # Small ones first: the tail's sum is not lost in that of the head.
    tails = np.cumsum(scaled[::-1])[::-1]
    with np.errstate(under="ignore"):
        # Σλ_i² / λ_{k+1}² by steps, as squares of a steep spectrum's tail would vanish.
        ratios = (scaled[1:] / scaled[:-1]) ** 2
    squares = np.ones(scaled.size)
    for k in range(scaled.size - 2, -1, -1):
        squares[k] = 1 + ratios[k] * squares[k + 1]
    first = tails / scaled
    return first, first**2 / squares


def head_size(spectrum: Any, examples: int, constant: float = 1.0) -> int | None:
    """Return k* = min {k ≥ 0 : r_k ≥ b m}, the directions that are learnt rather than fitted; None if none.

    Args:
        spectrum: Positive eigenvalues of the features' covariance, shape (n,).
        examples: m.
        constant: b > 0, universal but not named by the theorem.

    Raises:
        UserError: The spectrum or m cannot be used, or the constant is not positive.

    References:
        [BLLT], theorem 4.
    """
    enough = effective_ranks(spectrum)[0] >= positive("constant", constant) * count(
        "examples", examples
    )
    return int(np.argmax(enough)) if enough.any() else None


def variance_order(spectrum: Any, examples: int, constant: float = 1.0) -> float:
    """Return k*/m + m/R_{k*}, to which the noise's excess risk is proportional; 1 where there is no k*.

    The excess risk from label noise is between constants times σ² times this; overfitting is benign where it
    goes to 0. Constants are not known, so that it orders designs and is no prediction of their risk; for
    that see :func:`~implicit_bias.theory.anisotropic_risk`.

    Args:
        spectrum: Positive eigenvalues of the features' covariance, shape (n,).
        examples: m.
        constant: b of :func:`head_size`.

    Raises:
        UserError: As :func:`head_size`.

    References:
        [BLLT], theorem 4.
    """
    k = head_size(spectrum, examples, constant)
    if k is None:
        return 1.0
    m = count("examples", examples)
    return min(1.0, k / m + m / float(effective_ranks(spectrum)[1][k]))
