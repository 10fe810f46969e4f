"""Intervals for one number per seed: Student's t, and the bootstrap.

References:
    [E] B. Efron, "Better bootstrap confidence intervals", JASA 82 (1987): BCa.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from implicit_bias.results.statistics.estimate import UNBOUNDED, Estimate

NO_SPREAD = "no spread between the values: the interval has no width"


def mean_interval(
    values: Any, level: float = 0.95, *, bounds: tuple[float, float] = UNBOUNDED
) -> Estimate:
    """Estimate a mean with Student's t interval.

    Args:
        values: One number per seed, shape ``(seeds,)``.
        level: Coverage.
        bounds: The least and the largest value that is possible, such as 0 and 100 for a proportion
            in per cent. The interval is cut there; see :meth:`Estimate.within`.

    Returns:
        The mean. With one value the interval is infinite; with equal values it has no width; both
        are noted.
    """
    kept, excluded = finite_values(values)
    return t_interval(kept, level, "t", excluded).within(bounds)


def bootstrap_interval(
    values: Any,
    level: float = 0.95,
    *,
    rng_seed: int,
    statistic: Callable[..., Any] = np.mean,
    n_resamples: int = 9999,
) -> Estimate:
    """Estimate a statistic with a bias-corrected and accelerated bootstrap interval [E].

    Below ten or so values it covers less often than it says; prefer ``mean_interval`` there.

    Args:
        values: One number per seed, shape ``(seeds,)``.
        level: Coverage.
        rng_seed: Seed of the resampling; the same seed gives the same interval.
        statistic: A function of ``(array, axis)``.
        n_resamples: Number of resamples.

    Returns:
        The statistic. Where the correction is not defined, percentiles are used and ``method`` says
        so.
    """
    check_level(level)
    kept, excluded = finite_values(values)
    if statistic is np.mean:
        value = exact_mean(kept)
    else:
        value = float(statistic(kept, axis=-1)) if kept.size else math.nan
    short = _too_few(kept, value, level, "BCa bootstrap", excluded)
    if short is not None:
        return short
    for method in ("BCa", "percentile"):
        low, high = _scipy_bootstrap(kept, statistic, level, rng_seed, n_resamples, method)
        if math.isfinite(low) and math.isfinite(high):
            return Estimate(value, low, high, kept.size, level, f"{method} bootstrap", excluded)
    note = "the statistic is not defined on every resample: the interval is infinite"
    return Estimate(
        value, -math.inf, math.inf, kept.size, level, "percentile bootstrap", excluded, note
    )


def t_interval(kept: np.ndarray, level: float, method: str, excluded: int) -> Estimate:
    """Make Student's t interval of values known to be finite.

    Args:
        kept: Finite numbers, shape ``(seeds,)``.
        level: Coverage.
        method: What ``Estimate.method`` is to say.
        excluded: How many values were left out before.

    Returns:
        The mean, as ``mean_interval`` describes it.

    Raises:
        ValueError: The level is not between 0 and 1.
    """
    from scipy import stats

    check_level(level)
    value = exact_mean(kept)
    short = _too_few(kept, value, level, method, excluded)
    if short is not None:
        return short
    error = float(np.std(kept, ddof=1)) / math.sqrt(kept.size)
    half = float(stats.t.ppf((1 + level) / 2, kept.size - 1)) * error
    return Estimate(value, value - half, value + half, kept.size, level, method, excluded)


def exact_mean(kept: np.ndarray) -> float:
    """Take the mean, exactly where all values are equal (a sum of tenths is not a whole)."""
    if not kept.size:
        return math.nan
    return float(kept[0] if (kept == kept[0]).all() else kept.mean())


def _too_few(
    kept: np.ndarray, value: float, level: float, method: str, excluded: int
) -> Estimate | None:
    """Handle what has no spread to build an interval on."""
    if kept.size < 2:
        found = "one value" if kept.size else "no value"
        note = f"{found}: no spread can be estimated, the interval is infinite"
        return Estimate(value, -math.inf, math.inf, kept.size, level, method, excluded, note)
    if (kept == kept[0]).all():
        # Compared, and not through the variance, whose rounding would make a spread out of nothing.
        return Estimate(value, value, value, kept.size, level, method, excluded, NO_SPREAD)
    return None


def _scipy_bootstrap(
    values: np.ndarray,
    statistic: Callable[..., Any],
    level: float,
    rng_seed: int,
    n_resamples: int,
    method: str,
) -> tuple[float, float]:
    import warnings

    from scipy import stats

    # SciPy renamed the argument in 1.15.
    names = inspect.signature(stats.bootstrap).parameters
    generator = {"rng" if "rng" in names else "random_state": np.random.default_rng(rng_seed)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a degenerate resampling shows in the ends, as NaN
        interval = stats.bootstrap(
            (values,),
            statistic,
            n_resamples=n_resamples,
            batch=max(1, 2_000_000 // values.size),  # bounds memory at 16 MB
            confidence_level=level,
            method=method,
            vectorized=True,
            **generator,
        ).confidence_interval
    return float(interval.low), float(interval.high)


def finite_values(values: Any) -> tuple[np.ndarray, int]:
    """Leave out what is not finite.

    Args:
        values: One number per seed, shape ``(seeds,)``.

    Returns:
        The finite values, and how many are not.

    Raises:
        ValueError: There is more than one axis.
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 1:
        raise ValueError(f"values have shape {array.shape}; one number per seed is needed")
    finite = np.isfinite(array)
    return array[finite], int((~finite).sum())


def check_level(level: float) -> None:
    """Refuse a coverage outside of 0 to 1.

    Raises:
        ValueError: It is one, such as a percentage.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1")
