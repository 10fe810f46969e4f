"""Intervals against SciPy's own, against laws, and against simulation."""

from __future__ import annotations

import functools
import inspect
import itertools
import math
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from implicit_bias.results import statistics
from implicit_bias.results.statistics import Comparison, Estimate

RNG = np.random.default_rng(0)
A, B = RNG.normal(1, 2, 9), RNG.normal(0, 1, 9)

values = hnp.arrays(
    np.float64,
    st.integers(2, 8),
    elements=st.integers(-1000, 1000).map(lambda k: k / 8),  # exact under the laws' arithmetic
)
pairs = st.integers(2, 8).flatmap(
    lambda n: st.tuples(*[hnp.arrays(np.float64, n, elements=st.integers(-99, 99)) for _ in "ab"])
)
levels = st.floats(0.5, 0.999)
quick = settings(max_examples=50, deadline=None)


def ends(estimate: Estimate) -> tuple[float, float]:
    return estimate.low, estimate.high


@pytest.mark.parametrize("level", [0.9, 0.95, 0.999])
def test_mean_against_scipy(level: float) -> None:
    # Breaks on a wrong quantile, a wrong degree of freedom or a biased variance.
    made = statistics.mean_interval(A, level)
    expected = stats.ttest_1samp(A, 0).confidence_interval(level)
    np.testing.assert_allclose(ends(made), expected, rtol=1e-12)
    assert (made.value, made.n, made.level, made.method) == (A.mean(), 9, level, "t")


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
@given(values, levels, levels)
def test_a_higher_level_is_wider(x: np.ndarray, one: float, other: float) -> None:
    # Breaks if level and its complement are confused; `simultaneous` relies on it.
    low, high = sorted((one, other))
    narrow, wide = statistics.mean_interval(x, low), statistics.mean_interval(x, high)
    assert wide.low <= narrow.low <= narrow.value <= narrow.high <= wide.high


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


def test_one_pair_has_no_ratio_interval() -> None:
    # Breaks if transforming −inf and +inf back does not give 0 and +inf.
    made = statistics.geometric_mean_ratio([2.0], [1.0])
    assert made.value == pytest.approx(2)
    assert ends(made) == (0, math.inf)


def lanes(n: int = 30, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    x = RNG.normal(size=n)
    y = x + RNG.normal(size=n)
    return (np.round(x), np.round(y)) if ties else (x, y)


@pytest.mark.parametrize("ties", [True, False])
def test_spearman_against_scipy(ties: bool) -> None:
    # Breaks if tied ranks are not averaged, or the variance is not Bonett and Wright's.
    x, y = lanes(ties=ties)
    made = statistics.spearman(x, y, 0.9)
    assert made.value == pytest.approx(stats.spearmanr(x, y).statistic)
    z, half = np.arctanh(made.value), 1.6448536269514722 * np.sqrt((1 + made.value**2 / 2) / 27)
    np.testing.assert_allclose(ends(made), np.tanh([z - half, z + half]), rtol=1e-9)


def test_spearman_knows_ranks_only() -> None:
    # Breaks if values enter other than by their order.
    x, y = lanes(ties=False)
    made, seeds = statistics.spearman(x, y), np.arange(30) % 6
    assert statistics.spearman(np.exp(x), y**3) == made
    turned = statistics.spearman(-x, y)
    np.testing.assert_allclose((turned.value, turned.low), (-made.value, -made.high), rtol=1e-12)
    clustered = statistics.spearman(x, y, clusters=seeds)
    assert statistics.spearman(np.exp(x), y**3, clusters=seeds) == clustered


def test_perfect_correlation_has_a_width() -> None:
    # Breaks if r = 1 gets the interval [1, 1], or an infinity's NaN.
    for n in (5, 40):
        made = statistics.spearman(np.arange(n), np.arange(n))
        assert made.value == made.high == 1
        assert -1 < made.low < 1
        made = statistics.spearman(np.arange(n), -np.arange(n), clusters=np.arange(n))
        assert made.value == made.low == -1
        assert -1 < made.high < 1


@pytest.mark.parametrize(
    ("x", "y", "clusters"),
    [
        ([1, 2, 3], [1, 2, 3], None),
        ([1, 1, 1, 1, 1], [1, 2, 3, 4, 5], None),
        ([1, 2, 3, 4, np.nan], [1, np.nan, 3, 4, 5], None),
        ([], [], None),
        ([1, 2, 3, 4, 5], [1, 3, 2, 4, 5], [7] * 5),
        ([], [], []),
    ],
)
def test_correlation_that_cannot_be_told(x: list[float], y: list[float], clusters: Any) -> None:
    # Breaks if too few or constant values give a finite answer, NaN ends or a warning.
    made = statistics.spearman(x, y, clusters=clusters)
    assert ends(made) == (-1, 1)
    assert "the interval is everything" in made.note


def test_pooled_ignores_what_differs_between_arms() -> None:
    # Breaks if arms are pooled before ranking: between these arms the relation is reversed.
    arms = np.repeat([0, 1, 2], 20)
    x, y = lanes(60, ties=False)
    within = statistics.pooled_spearman(x, y, arms)
    assert within.value > 0.3
    moved = statistics.pooled_spearman(x + 100 * arms, y - 100 * arms, arms)
    assert (moved.value, *ends(moved)) == (within.value, *ends(within))
    assert statistics.spearman(x + 100 * arms, y - 100 * arms).value < -0.5
    names = np.array(["small", "medium", "large"])[arms]
    assert statistics.pooled_spearman(x, y, names).value == pytest.approx(within.value)


def test_pooled_of_one_arm_is_spearman() -> None:
    # Breaks if scaling or degrees of freedom do not reduce to the plain case.
    x, y = lanes()
    assert statistics.pooled_spearman(x, y, np.zeros(30)) == statistics.spearman(x, y)
    arms = np.array([0] * 29 + [1])
    alone = statistics.pooled_spearman(x, y, arms)
    assert alone.excluded == 1
    assert alone.value == pytest.approx(statistics.spearman(x[:29], y[:29]).value)


def test_pooled_against_regression_on_arms() -> None:
    # Oracle: with arms of one size, the correlation of residuals of ranks after removing arm means.
    arms = np.repeat([0, 1], 15)
    x, y = lanes()
    ranks = [np.concatenate([stats.rankdata(v[:15]), stats.rankdata(v[15:])]) for v in (x, y)]
    design = np.eye(2)[arms]
    left = [r - design @ np.linalg.lstsq(design, r, rcond=None)[0] for r in ranks]
    expected = stats.pearsonr(*left).statistic
    made = statistics.pooled_spearman(x, y, arms)
    assert made.value == pytest.approx(expected)
    # 30 lanes, 2 arms: one mean more than in the plain case.
    half = 1.959963984540054 * np.sqrt((1 + expected**2 / 2) / (30 - 1 - 3))
    np.testing.assert_allclose(
        ends(made), np.tanh(np.arctanh(expected) + np.array([-half, half])), rtol=1e-9
    )


def test_resampled_ranks_against_repeated_lanes() -> None:
    # Breaks if the counting formula is not what ranking the repeated lanes gives.
    x, y = lanes(12)
    times = RNG.integers(0, 4, (12, 5)).astype(float)
    made = statistics._within_arm_correlation(x, y, np.zeros(12, int), times)
    for column, r in zip(times.T, made, strict=True):
        at = np.repeat(np.arange(12), column.astype(int))
        assert r == pytest.approx(stats.spearmanr(x[at], y[at]).statistic)


def test_clustered_interval_spelled_out() -> None:
    # Breaks if lanes instead of seeds are drawn, or the small-sample factor or quantile is wrong.
    x, y = lanes(24, ties=False)
    seeds = np.arange(24) % 6
    made = statistics.spearman(x, y, clusters=seeds, rng_seed=5, n_resamples=40)
    draws = []
    for times in np.random.default_rng(5).multinomial(6, [1 / 6] * 6, size=40):
        at = np.concatenate([np.flatnonzero(seeds == s) for s in np.repeat(np.arange(6), times)])
        draws.append(np.arctanh(stats.spearmanr(x[at], y[at]).statistic))
    half = stats.t.ppf(0.975, 5) * np.std(draws, ddof=1) * np.sqrt(6 / 5)
    z = np.arctanh(stats.spearmanr(x, y).statistic)
    np.testing.assert_allclose(ends(made), np.tanh([z - half, z + half]), rtol=1e-9)
    assert made.n == 6


def test_clustered_interval_covers() -> None:
    # Breaks if lanes of one seed count as independent: Fisher's interval then covers far too
    # seldom. Ten seeds of eight lanes share an effect; x and y are unrelated, so the truth is 0.
    rng = np.random.default_rng(1)
    seeds = np.repeat(np.arange(10), 8)
    covered = np.zeros(2)
    runs = 200
    for _ in range(runs):
        x, y = (2 * rng.normal(size=10)[seeds] + rng.normal(size=80) for _ in "xy")
        for k, clusters in enumerate((None, seeds)):
            made = statistics.spearman(x, y, clusters=clusters, n_resamples=200)
            covered[k] += made.low <= 0 <= made.high
    naive, clustered = covered / runs
    assert clustered > 0.90
    assert naive < 0.75


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
