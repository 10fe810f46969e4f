"""Comparisons of rules against intervals of SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from implicit_bias.results.statistics import Estimate
from implicit_bias.studies.comparisons import (
    about_zero,
    above,
    agreement,
    below,
    ends,
    larger,
    less_than,
    mean_ends,
    more_than,
    share_above,
    share_below,
)

RNG = np.random.default_rng(0)
FIRST, SECOND = np.exp(RNG.normal(1.0, 0.2, 6)), np.exp(RNG.normal(0.0, 0.2, 6))


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The t-interval of a mean."""
    found = scipy.stats.ttest_1samp(values, 0).confidence_interval(level)
    return found.low, found.high


def test_means_are_held_against_their_boundary_from_the_right_side() -> None:
    # Breaks if a sign turns, or the boundary is added to an origin that is not 0.
    for comparison, direction in ((above(FIRST, 2.0), 1), (below(FIRST, 2.0), -1)):
        assert (comparison.boundary, comparison.direction) == (2.0, direction)
        found = comparison.estimate(0.9)
        np.testing.assert_allclose(ends(found), [FIRST.mean(), *interval(FIRST, 0.9)])


def test_ratios_are_paired_geometric_means() -> None:
    # Breaks if a ratio is turned over, pairs are pulled apart, a number cannot be the second, or the boundary
    # is not that of the ratio itself.
    for second in (SECOND, 2.0):
        logs = np.log(FIRST / second)
        for comparison, boundary, direction in (
            (larger(FIRST, second, 0.25), 1.25, 1),
            (less_than(FIRST, second, 1.1), 1.1, -1),
            (more_than(FIRST, second, 0.5), 0.5, 1),
        ):
            assert (comparison.boundary, comparison.direction) == (boundary, direction)
            found = comparison.estimate(0.95)
            np.testing.assert_allclose(ends(found), np.exp([logs.mean(), *interval(logs)]))


def test_agreement_is_the_distance_of_a_mean_from_a_formula() -> None:
    # Breaks if a mean below the formula passes, an interval on both sides does not begin at 0, or its level
    # is not halved between the two sides that one end may come from.
    low, high = interval(FIRST / 5, 0.975)
    assert high < 1
    comparison = agreement(FIRST, 5.0, 0.1)
    assert (comparison.boundary, comparison.direction) == (0.1, -1)
    found = comparison.estimate(0.95)
    np.testing.assert_allclose(ends(found), [1 - FIRST.mean() / 5, 1 - high, 1 - low])
    assert found.level == 0.95
    near = agreement(FIRST, float(FIRST.mean()), 0.1).estimate(0.95)
    assert (near.value, near.low) == (pytest.approx(0, abs=1e-12), 0)


def test_a_mean_about_zero_lies_within_both_bounds() -> None:
    # Breaks if only one side is asked, or the interval is not that of agreement with another target.
    low, high = interval(FIRST, 0.975)
    comparison = about_zero(-FIRST, 0.25)
    assert (comparison.boundary, comparison.direction) == (0.25, -1)
    found = comparison.estimate(0.95)
    np.testing.assert_allclose(ends(found), [FIRST.mean(), low, high])
    assert about_zero(FIRST - FIRST.mean(), 0.25).estimate(0.95).low == 0


def test_intervals_of_shares_stay_between_0_and_1() -> None:
    # Breaks if a share's interval leaves what shares can be, or is another than a mean's inside.
    shares = np.array([0.9, 1.0, 1.0, 0.8, 1.0])
    for comparison, direction in ((share_above(shares, 0.5), 1), (share_below(shares, 0.5), -1)):
        assert (comparison.boundary, comparison.direction) == (0.5, direction)
        low, high = interval(shares, 0.99)
        assert high > 1
        np.testing.assert_allclose(ends(comparison.estimate(0.99)), [shares.mean(), low, 1.0])


def test_ends_are_value_low_and_high() -> None:
    # Breaks if the order changes, which details of claims are read by.
    assert ends(Estimate(2.0, 1.0, 4.0, 3, 0.95, "")) == [2.0, 1.0, 4.0]
    np.testing.assert_allclose(mean_ends(FIRST), [FIRST.mean(), *interval(FIRST)])
