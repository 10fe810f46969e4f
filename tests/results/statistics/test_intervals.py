"""Intervals of one arm against SciPy's own and against laws."""

from __future__ import annotations

import functools
import inspect
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from implicit_bias.results import statistics
from tests.results.statistics.samples import A, B, ends, levels, quick, values


@pytest.mark.parametrize("level", [0.9, 0.95, 0.999])
def test_mean_against_scipy(level: float) -> None:
    # Breaks on a wrong quantile, a wrong degree of freedom or a biased variance.
    made = statistics.mean_interval(A, level)
    expected = stats.ttest_1samp(A, 0).confidence_interval(level)
    np.testing.assert_allclose(ends(made), expected, rtol=1e-12)
    assert (made.value, made.n, made.level, made.method) == (A.mean(), 9, level, "t")


def test_bootstrap_against_scipy() -> None:
    # Breaks if the interval is not BCa, or the generator is not the one of the seed.
    made = statistics.bootstrap_interval(A, 0.9, rng_seed=3, statistic=np.median)
    new = "rng" in inspect.signature(stats.bootstrap).parameters  # SciPy 1.15 renamed it
    expected = stats.bootstrap(
        (A,),
        np.median,
        confidence_level=0.9,
        method="BCa",
        **{"rng" if new else "random_state": np.random.default_rng(3)},
    ).confidence_interval
    np.testing.assert_allclose(ends(made), expected, rtol=1e-12)
    assert made == statistics.bootstrap_interval(A, 0.9, rng_seed=3, statistic=np.median)
    assert statistics.bootstrap_interval(A, rng_seed=3) != statistics.bootstrap_interval(
        A, rng_seed=4
    )
    paired = statistics.paired_difference(A, B, method="bootstrap", rng_seed=3)
    assert paired.method == "paired BCa bootstrap"
    assert ends(paired) == ends(statistics.bootstrap_interval(A - B, rng_seed=3))


def test_bootstrap_where_bca_is_undefined() -> None:
    # Breaks if NaN ends are returned: the median of these is the same in almost every resample.
    tied = np.array([0.0] * 30 + [1.0])
    made = statistics.bootstrap_interval(tied, rng_seed=0, statistic=np.median)
    assert not math.isnan(made.low)
    assert not math.isnan(made.high)


@quick
@given(values, st.integers(-100, 100), levels)
def test_mean_moves_with_the_data(x: np.ndarray, shift: int, level: float) -> None:
    # Breaks if anything but differences and the mean enters.
    before, after = statistics.mean_interval(x, level), statistics.mean_interval(x + shift, level)
    np.testing.assert_allclose(ends(after), np.add(ends(before), shift), rtol=1e-9, atol=1e-9)


@quick
@given(values, levels, levels)
def test_a_higher_level_is_wider(x: np.ndarray, one: float, other: float) -> None:
    # Breaks if level and its complement are confused; `simultaneous` relies on it.
    low, high = sorted((one, other))
    narrow, wide = statistics.mean_interval(x, low), statistics.mean_interval(x, high)
    assert wide.low <= narrow.low <= narrow.value <= narrow.high <= wide.high


@pytest.mark.parametrize(
    "make",
    [
        statistics.mean_interval,
        functools.partial(statistics.bootstrap_interval, rng_seed=0),
        lambda x: statistics.paired_difference(x, np.zeros(len(x))),
        lambda x: statistics.with_test_sampling_error(x, 0.0, 100),
    ],
)
def test_too_little_to_tell(make: Any) -> None:
    # Breaks if one seed gets a finite interval, or equal values a warning, NaN or a rounding's
    # width.
    for x, value in (([0.1], 0.1), ([np.nan, 0.1], 0.1), ([], math.nan)):
        made = make(np.array(x))
        np.testing.assert_equal(made.value, value)
        assert ends(made) == (-math.inf, math.inf)
        assert "the interval is infinite" in made.note
    made = make(np.full(3, 0.1))
    assert (made.value, *ends(made)) == (0.1, 0.1, 0.1)
    assert "no width" in made.note


def test_an_interval_ends_where_the_quantity_does() -> None:
    # Breaks if a mean of percentages has an interval beyond 100, if the other end moves with it, or
    # if one seed, of which nothing is known, passes for an interval from 0 to 100.
    values = [99.0, 99.5, 100.0, 99.9]
    free = statistics.mean_interval(values)
    found = statistics.mean_interval(values, bounds=(0.0, 100.0))
    assert free.high > 100.0
    assert (found.value, found.low, found.high) == (free.value, free.low, 100.0)
    assert statistics.mean_interval([3.0], bounds=(0.0, 100.0)).low == -math.inf
