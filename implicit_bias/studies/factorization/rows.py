"""Logarithms and places along a sweep, as the rules of the factorization study need them."""

from __future__ import annotations

import numpy as np

from implicit_bias.results.claims import NotDecidable


def logs(values: np.ndarray) -> np.ndarray:
    """Return decimal logarithms, NaN of what is not positive."""
    return np.log10(np.where(values > 0, values, np.nan))


def near_half(values: np.ndarray, name: str) -> tuple[int, int]:
    """Return the places of the largest number and of half of it, or the nearest to half.

    Raises:
        NotDecidable: There are not two.
    """
    if values.size < 2:
        raise NotDecidable(f"needs two values of {name}")
    half = int(np.argmin(np.abs(values[:-1] - values[-1] / 2)))
    return half, values.size - 1
