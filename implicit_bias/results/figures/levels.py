"""Levels of a loss over a plane: round numbers that suit one plane or several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from implicit_bias.errors import UserError, unknown
from implicit_bias.results.figures.ticks import tick_text

LevelScale = Literal["log", "linear"]

_MANTISSAS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))


def contour_levels(*losses: Any, scale: LevelScale = "log", count: int = 10) -> np.ndarray:
    """Choose round levels that suit one or several planes, so that they can be compared.

    Args:
        *losses: Arrays of any shape; values that are not finite do not count.
        scale: ``"log"``: round numbers in about equal ratios, from values that are positive;
            ``"linear"``: round numbers at equal distances.
        count: About how many at most, two or more.

    Returns:
        Levels in increasing order, at least two, shape (levels,). Lowest and highest lie within the
        values wherever these differ.

    Raises:
        UserError: No value is finite (``"log"``: and positive), ``count`` is below two, or ``scale``
            is unknown.
    """
    check_scale(scale)
    if count < 2:
        raise UserError(f"count is {count}; choose count >= 2 levels")
    values = np.concatenate([np.ravel(np.asarray(loss, float)) for loss in losses] or [np.ones(0)])
    values = values[np.isfinite(values)]
    if scale == "log":
        values = values[values > 0]
    if not values.size:
        raise UserError(
            "the loss has no finite positive value; choose scale='linear' or give levels"
            if scale == "log"
            else "the loss has no finite value; there are no levels to choose"
        )
    low, high = float(values.min()), float(values.max())
    if not differ(low, high):  # a plane without contours still gets its colour
        edge = 0.1 * abs(low) or 0.1
        return np.array([low - edge, low + edge])
    levels = _log_levels(low, high, count) if scale == "log" else _even_levels(low, high, count)
    return levels if len(levels) > 1 else np.array([low, high])


def differ(low: float, high: float) -> bool:
    """Say whether two numbers differ by more than rounding."""
    return high - low > 1e-12 * max(abs(low), abs(high))


def _log_levels(low: float, high: float, count: int) -> np.ndarray:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))

    def within(candidates: np.ndarray) -> np.ndarray:
        return candidates[(candidates >= low) & (candidates <= high)]

    decades = 10.0 ** np.arange(first, last + 1)
    found = np.ones(0)
    for mantissas in _MANTISSAS:
        tried = within(np.outer(decades, mantissas).ravel())
        if len(tried) > count:
            break
        found = tried
    if not len(found):  # more decades than levels: every second one, or third, ...
        whole = within(decades)
        found = whole[:: max(1, math.ceil(len(whole) / count))]
    if len(found) >= min(4, count) or high / low > 100:
        return found
    # A short range holds few round numbers: equal ratios, to as many digits as tell them apart.
    ratio = (high / low) ** (1 / (count + 1))
    raw = low * ratio ** np.arange(1, count + 1)
    digits = max(2, 1 + math.ceil(-math.log10(ratio - 1)))
    return np.unique([float(f"{level:.{digits}g}") for level in raw])


def _even_levels(low: float, high: float, count: int) -> np.ndarray:
    from matplotlib.ticker import MaxNLocator

    levels = np.asarray(MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    return levels[(levels >= low) & (levels <= high)]


def check_scale(scale: str) -> None:
    """Raise a UserError unless it is ``"log"`` or ``"linear"``."""
    if scale not in ("log", "linear"):
        raise unknown("scale", scale, ("log", "linear"))


def levels_from(
    levels: int | Sequence[float] | np.ndarray, losses: tuple[np.ndarray, ...], scale: LevelScale
) -> np.ndarray:
    """Return levels that are given, or choose as many for several planes.

    Args:
        levels: How many at most, or the levels.
        losses: Arrays of any shape.
        scale: As for ``contour_levels``.

    Returns:
        Shape (levels,), increasing.

    Raises:
        UserError: Given levels are not increasing, not finite or fewer than two, or as for
            ``contour_levels``.
    """
    if np.ndim(levels) == 0:
        return contour_levels(*losses, scale=scale, count=int(levels))  # type: ignore[arg-type]
    steps = np.asarray(levels, float)
    if (
        steps.ndim != 1
        or steps.size < 2
        or not np.isfinite(steps).all()
        or not (np.diff(steps) > 0).all()
    ):
        raise UserError(f"levels are {levels}; give at least two, finite, in increasing order")
    return steps


def level_text(level: float) -> str:
    """Write a level, without the digits that rounding errors add."""
    return tick_text(float(f"{level:.6g}"))
