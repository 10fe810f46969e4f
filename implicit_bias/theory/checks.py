"""What a law refuses: counts that are none, negative scales, spectra that are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from implicit_bias.arguments import require_numbers
from implicit_bias.errors import UserError

MOST = 2.0**63
"""From here on whole numbers do not fit into 64 bits."""

LARGE = 1e150
"""Magnitude whose square is still a number in double precision, with room to spare."""


def counts(name: str, values: Any, least: int = 1) -> np.ndarray:
    """Return whole numbers as 64-bit integers.

    Raises:
        UserError: One is smaller than ``least``, too large, or no whole number.
    """
    array = _array(name, values)
    broken = ~np.isfinite(array) | (array != np.round(array))
    if np.any(broken):
        raise UserError(f"{name} is {_shown(array[broken])}; give whole numbers")
    if np.any(array < least):
        raise UserError(f"{name} is {_shown(array[array < least])}; choose at least {least}")
    if np.any(array >= MOST):
        raise UserError(f"{name} is {_shown(array[array >= MOST])}; choose less than 2⁶³")
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


def squares(name: str, values: Any) -> np.ndarray:
    """Return the squares of numbers from 0 on: variances of standard deviations.

    Raises:
        UserError: One is negative, not finite, or too large to be squared.
    """
    array = not_negative(name, values)
    if np.any(array > LARGE):
        raise UserError(f"{name} is {_shown(array[array > LARGE])}; choose at most {LARGE:g}")
    return array**2


def positives(name: str, values: Any) -> np.ndarray:
    """Return positive numbers as float64.

    Raises:
        UserError: One is not positive, or not finite.
    """
    array = _array(name, values)
    if np.any(array == 0):
        raise UserError(f"{name} is 0; choose a positive one")
    bad = ~(np.isfinite(array) & (array > 0))
    if np.any(bad):
        raise UserError(f"{name} is {_shown(array[bad])}; choose finite numbers above 0")
    return array


def finite(
    name: str,
    values: Any,
    *,
    axes: int | tuple[int, ...] | None = None,
    shape: tuple[int, ...] | None = None,
) -> np.ndarray:
    """Return finite numbers as float64, at least one.

    Args:
        name: What the caller knows them by.
        values: Numbers, a list of them, or an array.
        axes: How many axes there may be; any number by default.
        shape: The one shape that there may be; any by default.

    Raises:
        UserError: A number is not finite or too large to be squared, there is none, or the shape is another.
    """
    array = _array(name, values)
    if shape is not None and array.shape != shape:
        raise UserError(f"{name} has shape {array.shape}; give {shape}")
    allowed = (axes,) if isinstance(axes, int) else axes
    if not array.size or (allowed is not None and array.ndim not in allowed):
        wanted = AXES[min(allowed)] if allowed is not None else "at least one number"
        raise UserError(f"{name} has shape {array.shape}; give {wanted}")
    bad = ~(np.abs(array) <= LARGE)
    if np.any(bad):
        limit = f" of magnitude at most {LARGE:g}" if np.isfinite(array).all() else ""
        verb, what = ("holds", "numbers") if array.ndim else ("is", "number")
        raise UserError(
            f"{name} {verb} {_shown(array[bad])}; give {'' if array.ndim else 'a '}finite {what}{limit}"
        )
    return array


AXES = ("a number", "a list of at least one number", "a matrix of at least one row and column")
"""What to give where an array of so many axes is wanted."""


def one(check: Callable[..., np.ndarray], name: str, value: Any, *rest: Any) -> float:
    """Return one number that passes a check of this module.

    Args:
        check: :func:`counts`, :func:`not_negative`, :func:`positives`, :func:`fractions` or :func:`finite`.
        name: What the caller knows it by.
        value: The number.
        *rest: Further arguments of the check.

    Raises:
        UserError: It is a list or an array with axes, or the check refuses it.
    """
    array = _array(name, value)
    if array.ndim:
        raise UserError(f"{name} has shape {array.shape}; give one number")
    return float(check(name, value, *rest))


def number(name: str, value: Any) -> float:
    """Return one finite number; raise ``UserError`` where it is none."""
    return one(finite, name, value)


def positive(name: str, value: Any) -> float:
    """Return one positive number; raise ``UserError`` where it is none."""
    return one(positives, name, value)


def from_zero(name: str, value: Any) -> float:
    """Return one finite number of at least 0; raise ``UserError`` where it is none."""
    return one(not_negative, name, value)


def count(name: str, value: Any, least: int = 1) -> int:
    """Return one whole number of at least ``least``; raise ``UserError`` where it is none."""
    return int(one(counts, name, value, least))


def together(**arrays: np.ndarray) -> None:
    """Refuse arrays that do not belong together: their shapes must broadcast.

    Raises:
        UserError: Shapes do not broadcast, or there is an array without numbers.
    """
    shapes = {name: np.shape(array) for name, array in arrays.items()}
    if any(0 in shape for shape in shapes.values()):
        said = " and ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise UserError(f"shapes are {said}; give at least one number of each")
    alike(**arrays)


def alike(**arrays: np.ndarray) -> None:
    """Refuse arrays whose shapes do not broadcast; there may be no number, as for no place of a design.

    Raises:
        UserError: They do not.
    """
    shapes = {name: np.shape(array) for name, array in arrays.items()}
    said = " and ".join(f"{name} {shape}" for name, shape in shapes.items())
    try:
        np.broadcast_shapes(*shapes.values())
    except ValueError:
        raise UserError(
            f"shapes are {said}, which do not broadcast; give numbers, or arrays of one shape"
        ) from None


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


def rows(name: str, values: Any, size: int, what: str = "features") -> np.ndarray:
    """Return finite numbers as float64, (…, size), possibly no row of them.

    Raises:
        UserError: The last axis is another one, or a number is not finite or too large to be squared.
    """
    array = _array(name, values)
    if not array.ndim or array.shape[-1] != size:
        raise UserError(
            f"{name} has shape {array.shape}, but there are {size} {what}; give as many"
        )
    return finite(name, array) if array.size else array


def _array(name: str, values: Any) -> np.ndarray:
    require_numbers(name, values)
    return np.asarray(values, np.float64)


def _shown(array: np.ndarray) -> str:
    return f"{float(np.ravel(array)[0]):g}"
