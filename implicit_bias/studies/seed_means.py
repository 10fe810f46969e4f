"""Means over seeds as the cells of tables: one number a seed in, finished text out."""

from __future__ import annotations

import numpy as np

from implicit_bias.results.statistics import PERCENT, UNBOUNDED, mean_interval
from implicit_bias.results.table import format_estimate
from implicit_bias.studies.rows import geometric_mean

INTERVALS = "means over seeds [95 % t-intervals]"
"""What captions call these cells."""


def mean(values: np.ndarray, bounds: tuple[float, float] = UNBOUNDED) -> str:
    """Write a mean over seeds with its 95 % t-interval.

    Args:
        values: Shape (seeds,); what is not finite is left out.
        bounds: The least and the largest value that is possible; the interval is cut there.

    Returns:
        Such as ``1.61 [1.20, 2.02]``; ``n/a`` without values.
    """
    return format_estimate(mean_interval(values, bounds=bounds))


def geometric(values: np.ndarray) -> str:
    """Write a geometric mean over seeds with the 95 % t-interval of the logarithm.

    Args:
        values: Shape (seeds,); what is not positive is left out.

    Returns:
        As :func:`mean`.
    """
    return format_estimate(geometric_mean(values))


def percent(shares: np.ndarray) -> str:
    """Write the mean over seeds of shares, from 0 to 1, in per cent, with its 95 % t-interval.

    Args:
        shares: Shape (seeds,); what is not finite is left out.

    Returns:
        As :func:`mean`, without the sign.
    """
    return mean(100 * shares, PERCENT)
