"""Comparisons paired by seed. Oracle: SciPy and arithmetic, on small planted results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from implicit_bias.results.claims import NotDecidable, judge
from implicit_bias.studies import paired_cells

N_TEST = 50


def _lanes(arm: str, batch_size: int, seeds: list[int], rng_seed: int = 0, **values: Any) -> Any:
    """Return some lanes of a result; two of the same arguments are equal."""
    rng, n = np.random.default_rng([rng_seed, batch_size]), len(seeds)
    variables = {
        "diverged": np.zeros(n, bool),
        "reached_target": np.zeros(n, bool),
        "target_loss": np.full(n, np.nan),
        "value": rng.uniform(1, 2, n),
        **values,
    }
    wrong = values.pop("test_wrong", rng.random((n, N_TEST)) < 0.3)
    variables.pop("test_wrong", None)
    return xr.Dataset(
        {
            **{name: ("lane", np.asarray(column)) for name, column in variables.items()},
            "test_wrong": (("lane", "test_example"), wrong),
        },
        coords={
            "seed": ("lane", seeds),
            "arm": ("lane", np.array([arm] * n, object)),
            "batch_size": ("lane", [batch_size] * n),
        },
    )


def _cell(*arguments: Any, **values: Any) -> xr.Dataset:
    lanes = _lanes(*arguments, **values)
    return paired_cells.cell(lanes, arguments[0], arguments[1])


# Breaks if a lane that diverged or that missed its target is counted, or one without a target is not.
def test_usable() -> None:
    lanes = _lanes(
        "arm", 8, [0, 1, 2, 3],
        diverged=[False, True, False, False],
        target_loss=[np.nan, np.nan, 0.1, 0.1],
        reached_target=[False, False, False, True],
    )  # fmt: skip
    assert paired_cells.usable(lanes).values.tolist() == [True, False, False, True]


# Breaks if lanes of another arm or batch size get in, or are not in the order of their seeds.
def test_cell() -> None:
    parts = [_lanes("one", 8, [2, 0, 1]), _lanes("one", 16, [0, 1]), _lanes("two", 8, [0, 5])]
    result = xr.concat(parts, "lane")
    lanes = paired_cells.cell(result, "one", 8)
    assert lanes["seed"].values.tolist() == [0, 1, 2]
    expected = parts[0]["value"].values[[1, 2, 0]]
    np.testing.assert_array_equal(lanes["value"].values, expected)
    np.testing.assert_array_equal(lanes["value"].sel(seed=2), parts[0]["value"][0])
    with pytest.raises(NotDecidable, match="arm two was not run at batch size 16"):
        paired_cells.cell(result, "two", 16)


# Breaks if arms lose the order in which they were run, or batch sizes are not sorted as numbers.
def test_arms_and_batch_sizes() -> None:
    parts = [_lanes("z", 128, [0]), _lanes("a", 8, [0]), _lanes("z", 16, [0]), _lanes("z", 9, [0])]
    result = xr.concat(parts, "lane")
    assert paired_cells.arms(result) == ["z", "a"]
    assert paired_cells.batch_sizes(result, "z") == [9, 16, 128]
    with pytest.raises(NotDecidable, match="arm b was not run"):
        paired_cells.batch_sizes(result, "b")


def _gap_by_hand(a: np.ndarray, b: np.ndarray, level: float) -> tuple[float, float, float]:
    """Variance of seeds plus variance of test examples, Satterthwaite's degrees of freedom; in points."""
    per_seed = (a.astype(float) - b).mean(axis=1)
    per_example = (a.astype(float) - b).mean(axis=0)
    seeds = per_seed.var(ddof=1) / len(per_seed)
    examples = per_example.var(ddof=1) / N_TEST
    freedom = (seeds + examples) ** 2 / (
        seeds**2 / (len(per_seed) - 1) + examples**2 / (N_TEST - 1)
    )
    half = stats.t.ppf((1 + level) / 2, freedom) * np.sqrt(seeds + examples)
    return 100 * per_seed.mean(), 100 * (per_seed.mean() - half), 100 * (per_seed.mean() + half)


# Breaks if the gap is not first − second in percentage points, leaves out a source of variance, or pairs
# by position. The second cell lists its seeds in another order.
@pytest.mark.parametrize("level", [0.95, 0.999])
def test_error_gap(level: float) -> None:
    order = [3, 1, 0, 2]
    a, b = _lanes("x", 512, [0, 1, 2, 3]), _lanes("x", 32, order)
    comparison = paired_cells.error_gap(
        *(paired_cells.cell(lanes, "x", size) for lanes, size in ((a, 512), (b, 32))), 0.2
    )
    found = comparison.estimate(level)
    wrong_b = b["test_wrong"].values[np.argsort(order)]
    expected = _gap_by_hand(a["test_wrong"].values, wrong_b, level)
    np.testing.assert_allclose([found.value, found.low, found.high], expected, rtol=1e-12)
    assert (found.n, found.excluded) == (4, 0)
    assert (comparison.smallest_effect, comparison.direction, comparison.boundary) == (0.2, 1, 0.2)


# Breaks if a pair with a lane that diverged, missed its target or is absent is counted, even as an error
# of zero, or is left out without being counted as such.
def test_error_gap_excludes_pairs() -> None:
    first = _cell("x", 512, [0, 1, 2, 3, 4, 5], diverged=[False, True] + 4 * [False])
    second = _cell(
        "x", 32, [0, 1, 2, 3, 4, 6],
        target_loss=6 * [0.1], reached_target=[True, True, False, True, True, True],
    )  # fmt: skip
    found = paired_cells.error_gap(first, second, 0.2).estimate(0.95)
    rows = [0, 3, 4]
    expected = _gap_by_hand(
        first["test_wrong"].values[rows], second["test_wrong"].values[rows], 0.95
    )
    np.testing.assert_allclose([found.value, found.low, found.high], expected, rtol=1e-12)
    # Seeds 1 (diverged), 2 (missed), 5 and 6 (without a partner).
    assert (found.n, found.excluded) == (3, 4)


# Breaks if nothing at all to compare gives a number, or a warning.
def test_error_gap_of_nothing() -> None:
    lost = _cell("x", 512, [0, 1], diverged=[True, True])
    found = paired_cells.error_gap(lost, _cell("x", 32, [0, 1]), 0.2).estimate(0.95)
    assert np.isnan(found.value)
    assert (found.low, found.high, found.n, found.excluded) == (-np.inf, np.inf, 0, 2)


# Breaks if a sign is turned somewhere: the first errs on more examples, so the claim "first errs more"
# holds, and "first errs less" does not.
def test_signs() -> None:
    nothing = np.zeros((5, N_TEST), bool)
    some = nothing.copy()
    some[:, :25] = True
    bad = _cell("x", 512, [0, 1, 2, 3, 4], test_wrong=some, value=5 * [8.0])
    good = _cell("x", 32, [0, 1, 2, 3, 4], test_wrong=nothing, value=5 * [2.0])
    for first, second, direction, verdict in (
        (bad, good, 1, "supported"), (bad, good, -1, "refuted"),
        (good, bad, 1, "refuted"), (good, bad, -1, "supported"),
    ):  # fmt: skip
        for comparison in (
            paired_cells.error_gap(first, second, 0.2, direction),
            paired_cells.ratio(first, second, "value", 0.25, direction),
        ):
            made = comparison.estimate(0.95)
            effect, origin = comparison.smallest_effect, comparison.origin
            assert judge(made, effect, comparison.direction, origin) == verdict
    assert paired_cells.error_gap(bad, good, 0.2).estimate(0.95).value == 50
    assert paired_cells.ratio(bad, good, "value", 0.25).estimate(0.95).value == pytest.approx(4)
    assert paired_cells.ratio(good, bad, "value", 0.25).estimate(0.95).value == pytest.approx(1 / 4)
    # A ratio of 1.25 matters upwards, one of 0.75 downwards.
    assert paired_cells.ratio(bad, good, "value", 0.25).boundary == 1.25
    assert paired_cells.ratio(bad, good, "value", 0.25, -1).boundary == 0.75


# Breaks if the ratio is not the geometric mean of first / second over pairs that count.
@pytest.mark.parametrize("value", ["value", lambda lanes: lanes["value"]], ids=["name", "function"])
def test_ratio(value: Any) -> None:
    first = _cell("x", 512, [0, 1, 2, 3, 4, 5], diverged=[False, True] + 4 * [False])
    missed = {"target_loss": 6 * [0.1], "reached_target": [True, True, False, True, True, True]}
    second = _cell("x", 32, [6, 0, 1, 2, 3, 4], **missed)
    found = paired_cells.ratio(first, second, value, 0.25).estimate(0.9)
    # Missed is the row of seed 1, which diverged; seeds 5 and 6 have no partner.
    seeds = [0, 2, 3, 4]
    logs = np.log(first["value"].sel(seed=seeds).values / second["value"].sel(seed=seeds).values)
    low, high = stats.t.interval(0.9, len(seeds) - 1, logs.mean(), stats.sem(logs))
    expected = np.exp([logs.mean(), low, high])
    np.testing.assert_allclose([found.value, found.low, found.high], expected, rtol=1e-12)
    assert (found.n, found.excluded) == (4, 3)


# Breaks if lanes that do not count enter a mean, or the boundary is not the number asked for.
def test_mean_above() -> None:
    lanes = _cell("x", 8, [0, 1, 2, 3], diverged=[False, False, True, False])
    comparison = paired_cells.mean_above(lanes, "value", 0.3)
    found = comparison.estimate(0.95)
    values = lanes["value"].values[[0, 1, 3]]
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    expected = [values.mean(), low, high]
    np.testing.assert_allclose([found.value, found.low, found.high], expected, rtol=1e-12)
    assert (found.excluded, comparison.boundary, comparison.direction) == (1, 0.3, 1)
