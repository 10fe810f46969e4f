"""What a law refuses: counts that are none, negative scales, spectra that are none."""

from __future__ import annotations

from typing import Any

import numpy as np

from implicit_bias.arguments import require_numbers
from implicit_bias.errors import UserError


def counts(name: str, values: Any, least: int = 1) -> np.ndarray:
    """Return whole numbers as 64-bit integers.

    Raises:
        UserError: One is smaller than ``least``, or no whole number.
    """
    array = _array(name, values)
    broken = ~np.isfinite(array) | (array != np.round(array))
    if np.any(broken):
        raise UserError(f"{name} is {_shown(array[broken])}; give whole numbers")
    if np.any(array < least):
        raise UserError(f"{name} is {_shown(array[array < least])}; choose at least {least}")
    return array.astype(np.int64)


def not_negative(name: str, values: Any) -> np.ndarray:
    """Return numbers from 0 on as float64.

    Raises:
        UserError: One is negative or not finite.
    """
    array = _array(name, values)
    bad = ~(np.isfinite(array) & (array >= 0))
    if np.any(bad):
        raise UserError(f"{name} is {_shown(array[bad])}; choose finite numbers of at least 0")
    return array


def fractions(name: str, values: Any) -> np.ndarray:
    """Return numbers strictly between 0 and 1 as float64.

    Raises:
        UserError: One is not.
    """
    array = _array(name, values)
    bad = ~((array > 0) & (array < 1))
    if np.any(bad):
        raise UserError(f"{name} is {_shown(array[bad])}; choose numbers between 0 and 1")
    return array


def spectrum_of(values: Any) -> np.ndarray:
    """Return eigenvalues of a covariance as float64, in the given order.

    Raises:
        UserError: They are no list, there is none, or one is not a positive number.
    """
    array = _array("spectrum", values)
    if array.ndim != 1 or not array.size:
        raise UserError(f"spectrum has shape {array.shape}; give a list of at least one eigenvalue")
    bad = ~(np.isfinite(array) & (array > 0))
    if np.any(bad):
        raise UserError(f"spectrum holds {_shown(array[bad])}; give positive eigenvalues")
    return array


def _array(name: str, values: Any) -> np.ndarray:
    require_numbers(name, values)
    return np.asarray(values, np.float64)


def _shown(array: np.ndarray) -> str:
    return f"{float(np.ravel(array)[0]):g}"
