"""Differences of test errors against spelled-out examples and against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from implicit_bias.results import statistics
from tests.results.statistics.samples import A, B, ends, quick, values


def test_sampling_variance_against_spelled_out_examples() -> None:
    # Oracle: write every example's difference out and let NumPy take the variance.
    n10, n01, n_test = [5, 3], [2, 0], 40
    spelled = [
        np.concatenate([np.ones(a), -np.ones(b), np.zeros(n_test - a - b)])
        for a, b in zip(n10, n01, strict=True)
    ]
    expected = np.mean([np.var(d, ddof=1) / n_test for d in spelled])
    made = statistics.sampling_variance_from_counts(n10, n01, n_test)
    assert made == pytest.approx(expected)
    both = np.mean(spelled, axis=0)
    expected = stats.sem(both) ** 2
    assert statistics.sampling_variance_from_examples(both) == pytest.approx(expected)


@pytest.mark.parametrize(("n10", "n01"), [([-1], [0]), ([30], [11]), ([0], [-2])])
def test_impossible_counts_are_refused(n10: list[int], n01: list[int]) -> None:
    # Breaks if counts that cannot be give a variance, perhaps a negative one.
    with pytest.raises(ValueError, match="at most n_test"):
        statistics.sampling_variance_from_counts(n10, n01, 40)


def test_without_test_variance_it_is_the_paired_interval() -> None:
    # Breaks if the seeds' own part is not Student's.
    made = statistics.with_test_sampling_error(A - B, 0.0, 1000)
    np.testing.assert_allclose(ends(made), ends(statistics.paired_difference(A, B)), rtol=1e-12)


@quick
@given(values.filter(lambda x: np.ptp(x) > 0), st.floats(0, 10), st.floats(0, 10))
def test_test_variance_widens(x: np.ndarray, one: float, other: float) -> None:
    # Breaks if a larger variance gives a smaller standard error. (The interval itself may shrink
    # while the degrees of freedom grow, so the half-width is taken over its quantile.)
    low, high = sorted((one, other))
    error = []
    for variance in (low, high):
        made = statistics.with_test_sampling_error(x, variance, 1000)
        seeds = stats.sem(x) ** 2
        freedom = (seeds + variance) ** 2 / (seeds**2 / (x.size - 1) + variance**2 / 999)
        error.append((made.high - made.low) / 2 / stats.t.ppf(0.975, freedom))
    np.testing.assert_allclose(error, np.sqrt(stats.sem(x) ** 2 + np.array([low, high])))


def test_error_difference_covers_for_new_seeds_and_examples() -> None:
    # Breaks if the shared test set's error is left out: seeds alone then cover far too seldom. Both
    # arms' networks are wrong on an example with a probability that depends on the example; the
    # truth is the difference over all examples there could be.
    rng = np.random.default_rng(2)
    runs, n_seeds, n_test, truth = 250, 8, 150, 0.04
    covered = np.zeros(3)
    for _ in range(runs):
        hard = rng.choice([0.0, 1.0], p=[0.9, 0.1], size=n_test)  # only the first arm's difficulty
        other = rng.choice([0.0, 1.0], p=[0.94, 0.06], size=n_test)
        tilt = rng.normal(0, 0.01, (n_seeds, 1))
        first = rng.random((n_seeds, n_test)) < 0.05 + 0.9 * hard[None, :] + tilt
        second = rng.random((n_seeds, n_test)) < 0.05 + 0.9 * other[None, :]
        n10, n01 = (first & ~second).sum(axis=1), (second & ~first).sum(axis=1)
        per_example = (first.astype(float) - second).mean(axis=0)
        made = (
            statistics.paired_difference(first.mean(axis=1), second.mean(axis=1)),
            statistics.paired_error_difference(n10, n01, n_test),
            statistics.paired_error_difference(n10, n01, n_test, per_example=per_example),
        )
        assert made[1].value == pytest.approx(made[0].value)
        for k, estimate in enumerate(made):
            covered[k] += estimate.low <= 0.9 * truth <= estimate.high
    seeds_only, counts, examples = covered / runs
    assert seeds_only < 0.75
    assert counts > 0.93
    assert examples > 0.91
    assert examples <= counts


def test_error_difference_leaves_out_excluded_pairs() -> None:
    # Breaks if an excluded pair's NaN reaches the counts.
    made = statistics.paired_error_difference([5, np.nan, 7], [1, 2, 2], 100)
    assert (made.n, made.excluded) == (2, 1)
    assert made.value == pytest.approx(0.045)
    assert math.isnan(statistics.paired_error_difference([np.nan], [1], 100).value)


def test_a_difference_of_errors_ends_at_one() -> None:
    # Breaks if an interval says that one network may err on more examples than there are.
    found = statistics.paired_error_difference([95, 100, 60], [0, 0, 0], 100)
    assert found.high == 1.0
    assert found.low < found.value
