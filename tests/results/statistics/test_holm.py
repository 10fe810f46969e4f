"""Simultaneous intervals against Holm's procedure written out, and against simulation."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from implicit_bias.results import statistics
from implicit_bias.results.statistics import Comparison, Estimate
from tests.results.statistics.samples import ends, quick


@functools.cache
def quantile(level: float) -> float:
    return float(stats.norm.ppf((1 + level) / 2))


def known(x: float, error: float = 1.0) -> Any:
    """An estimate with known standard error, so that its coverage is exact."""

    def estimate(level: float) -> Estimate:
        half = quantile(level) * error
        return Estimate(x, x - half, x + half, 5, level, "z")

    return estimate


def decide(comparison: Comparison, made: Estimate) -> int:
    """+1 supported, −1 refuted, 0 neither."""
    beyond = made.above(comparison.boundary) - made.below(comparison.boundary)
    return comparison.direction * beyond


def textbook_holm(p: list[float], alpha: float) -> list[bool]:
    """Holm 1979, step by step, from p-values."""
    rejected = [False] * len(p)
    for step, k in enumerate(np.argsort(p)):
        if p[k] > alpha / (len(p) - step):
            break
        rejected[k] = True
    return rejected


@quick
@given(
    st.lists(st.integers(-40, 40).map(lambda k: k / 10), min_size=1, max_size=6),
    st.sampled_from([0.0, 0.5]),
)
def test_decisions_are_holms(xs: list[float], smallest: float) -> None:
    # Breaks if a step's level is off by one, or the bounds disagree with the test. Oracle: Holm's
    # procedure from one-sided p-values at alpha/2, once per family.
    comparisons = {
        str(k): Comparison(known(x), smallest, 1 if k % 2 else -1) for k, x in enumerate(xs)
    }
    made = statistics.simultaneous(comparisons, 0.05)
    z = [c.direction * x - smallest for c, x in zip(comparisons.values(), xs, strict=True)]
    supported = textbook_holm([stats.norm.sf(v) for v in z], 0.025)
    refuted = textbook_holm([stats.norm.cdf(v) for v in z], 0.025)
    for k, (name, comparison) in enumerate(comparisons.items()):
        assert decide(comparison, made[name]) == supported[k] - refuted[k]
        alone = comparison.estimate(0.95)
        assert made[name].low <= alone.low
        assert made[name].high >= alone.high
        bonferroni = comparison.estimate(1 - 0.05 / len(xs))
        if not (supported[k] or refuted[k]):  # never wider than without the steps
            assert made[name].low >= bonferroni.low
            assert made[name].high <= bonferroni.high


def test_all_one_way_is_two_sided_holm() -> None:
    # Breaks if splitting alpha over two families costs anything where all claims hold or fail
    # alike.
    for xs in itertools.product([1.0, 2.0, 2.2, 2.5, 3.0], repeat=3):
        comparisons = {k: Comparison(known(x), 0.0, 1) for k, x in enumerate(xs)}
        made = statistics.simultaneous(comparisons)
        p = [2 * stats.norm.sf(x) for x in xs]
        assert [decide(c, made[k]) == 1 for k, c in comparisons.items()] == textbook_holm(p, 0.05)


def test_bounds_of_rejected_comparisons() -> None:
    # Breaks if a rejected comparison's bound claims more than the theorem gives, or less.
    strong, weak = Comparison(known(9.0), 0.5, 1), Comparison(known(0.0), 0.5, 1)
    made = statistics.simultaneous({"strong": strong, "weak": weak})
    assert (made["strong"].low, made["strong"].low_open) == (0.5, True)
    assert made["weak"].low == strong.estimate(0.95).low - 9  # one left: the second step's level
    assert made["strong"].level == 0.95
    assert made["strong"].method == "z; Holm over 2"
    both = statistics.simultaneous({"a": strong, "b": Comparison(known(-9.0), 0.5, -1)})
    assert both["a"].low == strong.estimate(1 - 0.05 / 2).low  # all rejected: informative
    assert not both["a"].low_open
    assert both["b"].high == -both["a"].low
    only = statistics.simultaneous({"a": strong})
    assert ends(only["a"]) == ends(strong.estimate(0.95))
    assert statistics.simultaneous({}) == {}


@pytest.mark.parametrize("correlation", [0.0, 0.8, -0.3])
def test_simultaneous_coverage(correlation: float) -> None:
    # Breaks if the intervals together miss more often than alpha. Effects at, near and far from
    # their boundaries (where step-down procedures are weakest), claims both ways, dependent errors.
    rng = np.random.default_rng(3)
    effects = np.array([0.0, 0.0, 2.5, -3.0, 8.0])
    directions = [1, -1, 1, 1, -1]
    m, runs, alpha = len(effects), 1500, 0.1
    shared = np.full((m, m), correlation / (1 if correlation > 0 else m - 1) * 0.99)
    factor = np.linalg.cholesky(shared + np.diag(1 - np.diag(shared)))
    missed = wrong = 0
    for _ in range(runs):
        x = effects + factor @ rng.normal(size=m)
        comparisons = {k: Comparison(known(x[k]), 0.0, directions[k]) for k in range(m)}
        made = statistics.simultaneous(comparisons, alpha)
        covers = [not (made[k].above(effects[k]) or made[k].below(effects[k])) for k in range(m)]
        truth = np.sign(effects) * directions
        errs = [decide(comparisons[k], made[k]) not in (0, truth[k]) for k in range(m)]
        missed += not all(covers)
        wrong += any(errs)
        assert all(covers) <= (not any(errs))  # a wrong decision is a wrong interval
    bound = alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)
    assert missed / runs <= bound
    assert wrong / runs <= bound
    if correlation == 0:
        assert missed / runs > 0.04  # the bound is used, not wasted


def test_each_interval_level_alone_would_not_do() -> None:
    # The check on the check above: unadjusted intervals miss together far more often than alpha.
    rng = np.random.default_rng(4)
    missed = (np.abs(rng.normal(size=(1500, 5))) > quantile(0.9)).any(axis=1)
    assert missed.mean() > 0.3


def test_comparison_refuses_nonsense() -> None:
    # Breaks if a negative or infinite smallest effect turns a claim around.
    for smallest, direction in ((-1.0, 1), (math.inf, 1), (math.nan, 1), (1.0, 0)):
        with pytest.raises(ValueError, match="must be"):
            Comparison(known(0.0), smallest, direction)
    assert Comparison(known(0.0), 0.25, -1, origin=1.0).boundary == 0.75
