"""Comparisons that the rules of the factorization study are made of."""

from __future__ import annotations

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import Comparison, mean_interval


def above(values: np.ndarray, boundary: float) -> Comparison:
    """Ask whether a mean over seeds exceeds a boundary."""
    return Comparison(lambda level: mean_interval(values, level), 0.0, 1, boundary)


def below(values: np.ndarray, boundary: float) -> Comparison:
    """Ask whether a mean over seeds stays below a boundary."""
    return Comparison(lambda level: mean_interval(values, level), 0.0, -1, boundary)


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
