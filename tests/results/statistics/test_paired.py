"""Paired arms against SciPy's own, against laws, and what cannot be paired."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from implicit_bias.results import statistics
from tests.results.statistics.samples import A, B, ends, levels, quick

pairs = st.integers(2, 8).flatmap(
    lambda n: st.tuples(*[hnp.arrays(np.float64, n, elements=st.integers(-99, 99)) for _ in "ab"])
)


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_paired_difference_against_scipy(level: float) -> None:
    # Breaks if the samples are treated as independent, or b − a is returned.
    made = statistics.paired_difference(A, B, level)
    expected = stats.ttest_rel(A, B).confidence_interval(level)
    np.testing.assert_allclose(ends(made), expected, rtol=1e-12)
    assert made.value == pytest.approx(A.mean() - B.mean())


def test_ratio_against_scipy() -> None:
    # Breaks if the arithmetic mean of ratios is taken, or the interval is not made for the logs.
    a, b = np.exp(A), np.exp(B)
    made = statistics.geometric_mean_ratio(a, b)
    assert made.value == pytest.approx(stats.gmean(a / b))
    expected = stats.ttest_rel(np.log(a), np.log(b)).confidence_interval(0.95)
    np.testing.assert_allclose(ends(made), np.exp(expected), rtol=1e-12)


@quick
@given(pairs, levels)
def test_difference_is_antisymmetric(ab: tuple[np.ndarray, np.ndarray], level: float) -> None:
    # Breaks if the two arms are treated differently.
    there = statistics.paired_difference(*ab, level)
    back = statistics.paired_difference(*ab[::-1], level)
    assert (back.value, *ends(back)) == (-there.value, -there.high, -there.low)


@quick
@given(pairs, levels)
def test_ratio_is_reciprocal(ab: tuple[np.ndarray, np.ndarray], level: float) -> None:
    # Breaks if the two arms are treated differently.
    a, b = (np.exp(x / 50) for x in ab)
    there = statistics.geometric_mean_ratio(a, b, level)
    back = statistics.geometric_mean_ratio(b, a, level)
    np.testing.assert_allclose(ends(back), 1 / np.array(ends(there))[::-1], rtol=1e-9)


@quick
@given(pairs, st.randoms(use_true_random=False))
def test_order_of_seeds_does_not_matter(ab: tuple[np.ndarray, np.ndarray], random: Any) -> None:
    # Breaks if pairing is lost when seeds arrive in another order, as they do from shards.
    a, b = ab
    seeds = np.arange(a.size)
    shuffled = random.sample(range(a.size), a.size)
    one = xr.DataArray(a, dims="lane", coords={"seed": ("lane", seeds)})
    other = xr.DataArray(b, dims="lane", coords={"seed": ("lane", seeds)}).isel(lane=shuffled)
    by_seed, by_place = (
        statistics.paired_difference(one, other),
        statistics.paired_difference(a, b),
    )
    assert by_seed.value == by_place.value
    np.testing.assert_allclose(ends(by_seed), ends(by_place), rtol=1e-12)


def test_missing_partners_are_left_out_and_counted() -> None:
    # Breaks if a diverged lane's partner stays in, or the loss is not told.
    a = np.array([1.0, np.nan, 3.0, np.inf, 7.0])
    b = np.array([0.0, 1.0, np.nan, 1.0, 2.0])
    made = statistics.paired_difference(a, b)
    assert (made.value, made.n, made.excluded) == (3.0, 2, 3)
    one = xr.DataArray([1.0, 2.0, 4.0], dims="lane", coords={"seed": ("lane", [0, 1, 2])})
    other = xr.DataArray([0.0, 0.0, 9.0], dims="lane", coords={"seed": ("lane", [2, 1, 5])})
    made = statistics.paired_difference(one, other)
    assert (made.value, made.n, made.excluded) == (3.0, 2, 2)
    ratio = statistics.geometric_mean_ratio(
        [4.0, 1.0, -1.0, 4.0, np.inf], [1.0, 1.0, 1.0, np.nan, np.inf]
    )
    assert (ratio.value, ratio.n, ratio.excluded) == (2.0, 2, 3)
    assert "1 pairs left out: a value was not positive" in ratio.note


def test_pairing_mistakes_are_refused() -> None:
    # Breaks if arrays of unequal length broadcast, or an arm's seeds are doubled.
    seeded = xr.DataArray([1.0, 2.0], dims="lane", coords={"seed": ("lane", [0, 0])})
    with pytest.raises(ValueError, match="pair by seed"):
        statistics.paired_difference([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="each seed must have one value"):
        statistics.paired_difference(seeded, seeded)
    with pytest.raises(ValueError, match="only one of the paired values"):
        statistics.paired_difference(seeded, [1.0, 2.0])
    with pytest.raises(ValueError, match="one number per seed"):
        statistics.mean_interval([[1.0]])
    with pytest.raises(ValueError, match="must be 't' or 'bootstrap'"):
        statistics.paired_difference([1.0], [2.0], method="z")  # type: ignore[arg-type]
    for level in (0, 1, 95):
        with pytest.raises(ValueError, match="between 0 and 1"):
            statistics.mean_interval([1.0, 2.0], level)


def test_one_pair_has_no_ratio_interval() -> None:
    # Breaks if transforming −inf and +inf back does not give 0 and +inf.
    made = statistics.geometric_mean_ratio([2.0], [1.0])
    assert made.value == pytest.approx(2)
    assert ends(made) == (0, math.inf)
