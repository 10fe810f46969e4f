"""Differences of test errors, with what a shared, finite test set adds to their variance.

References:
    [S] F. E. Satterthwaite, "An approximate distribution of estimates of variance components",
    Biometrics Bulletin 2 (1946).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from implicit_bias.results.statistics.estimate import Estimate
from implicit_bias.results.statistics.intervals import (
    NO_SPREAD,
    check_level,
    exact_mean,
    finite_values,
    t_interval,
)
from implicit_bias.results.statistics.paired import aligned


def sampling_variance_from_counts(n10: Any, n01: Any, n_test: int) -> float:
    """Bound the variance that a shared, finite test set adds to a difference of test errors.

    The model: pair s of networks (one per arm, same seed) and test example e give d[s, e] = 1{first
    wrong} − 1{second wrong}; seeds and examples are both random and crossed, because all seeds are
    tested on the same examples: Var(d) = σ²(seed) + σ²(example) + σ²(seed × example). The mean over
    S seeds and N examples has variance σ²(seed)/S + σ²(example)/N + σ²(both)/(S·N). The spread
    between seeds covers the first and the third term; a larger number of seeds does nothing against
    the second. This returns the mean over seeds of McNemar's variance, (n10 + n01)/N − d² where d =
    (n10 − n01)/N, divided by N − 1: it estimates (σ²(example) + σ²(both))/N, so it is too large by
    at most σ²(both)/N.

    Args:
        n10: Number of test examples that only the first network of each pair gets wrong, shape
            ``(seeds,)``.
        n01: Number that only the second gets wrong.
        n_test: Number of test examples, N ≥ 2.

    Returns:
        The variance of the error difference due to the test examples (errors as fractions of one).

    Raises:
        ValueError: A count is negative or two exceed ``n_test``, or ``n_test`` is below 2.
    """
    first, second = np.asarray(n10, np.float64), np.asarray(n01, np.float64)
    if n_test < 2 or (first < 0).any() or (second < 0).any() or (first + second > n_test).any():
        raise ValueError(
            "counts must be at least 0 and together at most n_test, which is at least 2"
        )
    difference = (first - second) / n_test
    return float(np.mean((first + second) / n_test - difference**2) / (n_test - 1))


def sampling_variance_from_examples(difference: Any) -> float:
    """Estimate the variance that a shared, finite test set adds, from per-example differences.

    Sharper than ``sampling_variance_from_counts`` where the examples' differences were kept: the
    variance over examples of d[e], the mean over seeds of d[s, e], divided by N, estimates
    σ²(example)/N + σ²(both)/(S·N): too large by the second term only.

    Args:
        difference: d[e], shape ``(examples,)``: over the seeds, the fraction in which the first
            network was wrong minus the fraction in which the second was.

    Returns:
        The variance of the error difference due to the test examples.

    Raises:
        ValueError: There are fewer than two examples.
    """
    values = np.asarray(difference, np.float64)
    if values.size < 2:
        raise ValueError("a variance over test examples needs at least two of them")
    return float(np.var(values, ddof=1) / values.size)


def with_test_sampling_error(
    differences: Any, test_variance: float, n_test: int, level: float = 0.95
) -> Estimate:
    """Estimate a difference of test errors for new seeds and for new test examples.

    The variance is the sum of the seeds' (s²/S, which also holds the interaction's share) and the
    test set's; the sum counts the interaction twice and errs on the wide side. Degrees of freedom
    follow Satterthwaite [S], with S − 1 for the first and N − 1 for the second.

    Args:
        differences: Error of the first minus error of the second network, per seed, shape
            ``(seeds,)``.
        test_variance: From ``sampling_variance_from_counts`` or
            ``sampling_variance_from_examples``.
        n_test: Number of test examples, N.
        level: Coverage.

    Returns:
        The mean difference; with one seed the interval is infinite.
    """
    from scipy import stats

    kept, excluded = finite_values(differences)
    method = "t, seeds and test set"
    if kept.size < 2:
        return t_interval(kept, level, method, excluded)
    check_level(level)
    seeds = 0.0 if (kept == kept[0]).all() else float(np.var(kept, ddof=1)) / kept.size
    total = seeds + test_variance
    value = exact_mean(kept)
    if total == 0:
        return Estimate(value, value, value, kept.size, level, method, excluded, NO_SPREAD)
    freedom = total**2 / (seeds**2 / (kept.size - 1) + test_variance**2 / (n_test - 1))
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(total)
    return Estimate(value, value - half, value + half, kept.size, level, method, excluded)


def paired_error_difference(
    n10: Any, n01: Any, n_test: int, level: float = 0.95, *, per_example: Any | None = None
) -> Estimate:
    """Estimate a difference of test errors from counts, test-set sampling error included.

    Args:
        n10: Number of test examples that only the first network of each pair gets wrong, shape
            ``(seeds,)``; NaN for an excluded pair.
        n01: Number that only the second gets wrong.
        n_test: Number of test examples.
        level: Coverage.
        per_example: d[e] of ``sampling_variance_from_examples``, over the same pairs, if it was
            kept.

    Returns:
        The mean of (n10 − n01)/n_test with the interval of ``with_test_sampling_error``, cut at −1
        and 1, beyond which no difference of two fractions is.

    Raises:
        ValueError: As for ``sampling_variance_from_counts``.
    """
    first, second = aligned(n10, n01)
    used = np.isfinite(first) & np.isfinite(second)
    if per_example is not None:
        variance = sampling_variance_from_examples(per_example)
    elif used.any():
        variance = sampling_variance_from_counts(first[used], second[used], n_test)
    else:
        variance = 0.0
    found = with_test_sampling_error((first - second) / n_test, variance, n_test, level)
    return found.within((-1.0, 1.0))
