"""Rank correlations, over all lanes or within arms.

References:
    [BW] D. G. Bonett, T. A. Wright, "Sample size requirements for estimating Pearson, Kendall and
    Spearman correlations", Psychometrika 65 (2000).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from implicit_bias.results.statistics.estimate import Estimate
from implicit_bias.results.statistics.intervals import check_level

_BLOCK_NUMBERS = 4_000_000
"""Numbers that resampling holds at once in one array."""


def spearman(
    x: Any,
    y: Any,
    level: float = 0.95,
    *,
    clusters: Any | None = None,
    rng_seed: int = 0,
    n_resamples: int = 2000,
) -> Estimate:
    """Estimate Spearman's rank correlation.

    Without ``clusters`` the points are taken as independent: the interval is Fisher's z with the
    variance (1 + r²/2)/(n − 3) of [BW], good for |r| < 0.95 or so. Lanes that share a seed are not
    independent; with ``clusters`` whole seeds are resampled, and the interval is z ± t·s, where s
    is the bootstrap's standard deviation of z times √(G/(G − 1)) and t has G − 1 degrees of
    freedom, for G seeds. (Percentiles of so few clusters would be too narrow.)

    Args:
        x: One number per lane, shape ``(lanes,)``.
        y: Likewise.
        level: Coverage.
        clusters: Each lane's seed, shape ``(lanes,)``.
        rng_seed: Seed of the resampling.
        n_resamples: Number of resamples.

    Returns:
        The correlation; ``n`` is the number of lanes, or of seeds if ``clusters`` is given. Where
        the ranks cannot tell (constant values, three lanes or fewer, one seed) the interval is (−1,
        1), and noted.
    """
    arms = np.zeros(np.shape(x), int)
    return rank_correlation(
        x, y, arms, clusters=clusters, rng_seed=rng_seed, n_resamples=n_resamples
    )(level)


def pooled_spearman(
    x: Any,
    y: Any,
    arms: Any,
    level: float = 0.95,
    *,
    clusters: Any | None = None,
    rng_seed: int = 0,
    n_resamples: int = 2000,
) -> Estimate:
    """Estimate the rank correlation within arms, over all arms together.

    Values are ranked within their arm, and ranks centred and divided by the arm's number of lanes,
    so that differences between arms (which the arms' settings cause) count for nothing and each
    lane counts about the same. The estimate is Pearson's correlation of these scores. Each arm's
    mean costs a degree of freedom: Fisher's interval uses n − (arms − 1) in place of n.

    Args:
        x: One number per lane, shape ``(lanes,)``.
        y: Likewise.
        arms: Each lane's arm, shape ``(lanes,)``.
        level: Coverage.
        clusters: Each lane's seed, shape ``(lanes,)``; resampled as a whole over all arms, see
            ``spearman``.
        rng_seed: Seed of the resampling.
        n_resamples: Number of resamples.

    Returns:
        The correlation; lanes that are alone in their arm are counted as excluded.
    """
    return rank_correlation(
        x, y, arms, clusters=clusters, rng_seed=rng_seed, n_resamples=n_resamples
    )(level)


def rank_correlation(
    x: Any,
    y: Any,
    arms: Any,
    *,
    clusters: Any | None = None,
    rng_seed: int = 0,
    n_resamples: int = 2000,
) -> Callable[[float], Estimate]:
    """Prepare :func:`pooled_spearman` for several levels, resampling once.

    Arguments are those of :func:`pooled_spearman`.

    Returns:
        A function from a level to the estimate.

    Raises:
        ValueError: As there.
    """
    from scipy import stats

    first, second = np.asarray(x, np.float64), np.asarray(y, np.float64)
    arms = np.asarray(arms)
    groups = None if clusters is None else np.asarray(clusters)
    shapes = {
        first.shape,
        second.shape,
        arms.shape,
        first.shape if groups is None else groups.shape,
    }
    if len(shapes) != 1 or first.ndim != 1:
        raise ValueError("x, y, arms and clusters must be one-dimensional and of one length")
    usable = np.isfinite(first) & np.isfinite(second)
    arm_of = np.unique(arms, return_inverse=True)[1]
    # A lane alone in its arm has a rank of 0 whatever its value.
    company = np.bincount(arm_of[usable], minlength=arm_of.max(initial=0) + 1)
    usable &= company[arm_of] > 1
    first, second, arm_of = first[usable], second[usable], arm_of[usable]
    arm_of = np.unique(arm_of, return_inverse=True)[1]
    n_lanes, n_arms = first.size, int(arm_of.max(initial=-1)) + 1
    excluded = int((~usable).sum())
    value = float(_within_arm_correlation(first, second, arm_of, np.ones((n_lanes, 1)))[0])

    why = "too few lanes" if n_lanes < 4 else ""
    if groups is None:
        n, method = n_lanes, "Fisher z (Bonett-Wright)"
        freedom = n_lanes - (n_arms - 1) - 3
        why = why or ("too few lanes" if freedom < 1 else "")
    else:
        group_of = np.unique(groups[usable], return_inverse=True)[1]
        n, method = int(group_of.max(initial=-1)) + 1, "bootstrap of seeds, t on z scale"
        freedom = n - 1
        why = why or ("fewer than two seeds" if freedom < 1 else "")
    if math.isnan(value):
        why = "values without spread, or none"

    def everything(level: float, note: str) -> Estimate:
        check_level(level)
        note = f"{note}: the interval is everything"
        return Estimate(value, -1.0, 1.0, n, level, method, excluded, note)

    if why:
        return functools.partial(everything, note=why)

    # A perfect correlation has no z; what bounds it is the largest one that so many ranks can have
    # below.
    cap = math.atanh(1 - 12 / (n_lanes * (n_lanes**2 - 1)))
    z = _z(value, cap)
    if groups is None:
        error = math.sqrt((1 + math.tanh(z) ** 2 / 2) / freedom)
        quantile = stats.norm.ppf
    else:
        rng = np.random.default_rng(rng_seed)
        times = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).T  # (seeds, resamples)
        # Some resamples at a time: many seeds would otherwise take gigabytes.
        block = max(1, _BLOCK_NUMBERS // n_lanes)
        parts = [
            _within_arm_correlation(
                first, second, arm_of, times[group_of, start : start + block].astype(float)
            )
            for start in range(0, n_resamples, block)
        ]
        drawn = np.concatenate(parts)
        drawn = _z(drawn[np.isfinite(drawn)], cap)
        if drawn.size < 2:
            return functools.partial(everything, note="no resample has spread")
        error = float(np.std(drawn, ddof=1)) * math.sqrt(n / (n - 1))
        quantile = functools.partial(stats.t.ppf, df=freedom)

    def at(level: float) -> Estimate:
        check_level(level)
        half = float(quantile((1 + level) / 2)) * error
        low, high = math.tanh(z - half), math.tanh(z + half)
        return Estimate(value, min(low, value), max(high, value), n, level, method, excluded)

    return at


def _z(r: Any, cap: float) -> Any:
    """Apply Fisher's transformation, bounded."""
    limit = math.tanh(cap)
    return np.arctanh(np.clip(r, -limit, limit))


def _within_arm_correlation(
    x: np.ndarray, y: np.ndarray, arm_of: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """Correlate ranks within arms for many resamples at once.

    A lane drawn w times counts as w tied lanes, so its rank is the number of drawn lanes below it,
    plus half the number level with it, plus one half.

    Args:
        x: Shape ``(lanes,)``.
        y: Shape ``(lanes,)``.
        arm_of: Each lane's arm, 0, 1, ….
        times: How often each lane is drawn, shape ``(lanes, resamples)``.

    Returns:
        Correlations, shape ``(resamples,)``; NaN where there is no spread.
    """
    products = np.zeros((3, times.shape[1]))  # xx, yy, xy
    for arm in range(int(arm_of.max(initial=-1)) + 1):
        at = arm_of == arm
        counts = times[at]
        drawn = counts.sum(axis=0)
        scores = []
        for values in (x[at], y[at]):
            place = np.unique(values, return_inverse=True)[1]
            level = np.zeros((place.max(initial=-1) + 1, counts.shape[1]))
            np.add.at(level, place, counts)
            below = np.cumsum(level, axis=0) - 0.5 * level
            scores.append((below[place] - drawn / 2) / np.maximum(drawn, 1))
        for k, (i, j) in enumerate(((0, 0), (1, 1), (0, 1))):
            products[k] += (counts * scores[i] * scores[j]).sum(axis=0)
    norm = np.sqrt(products[0] * products[1])
    spread = norm > 0
    return np.where(spread, np.clip(products[2] / np.where(spread, norm, 1), -1, 1), np.nan)
