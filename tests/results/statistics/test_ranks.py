"""Rank correlations against SciPy's own, against laws, and against simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from implicit_bias.results import statistics
from implicit_bias.results.statistics import ranks
from tests.results.statistics.samples import RNG, ends


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
    made = ranks._within_arm_correlation(x, y, np.zeros(12, int), times)
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
