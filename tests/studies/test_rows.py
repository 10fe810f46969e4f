"""What studies share: rows as tables by seed, exponents, paired differences, refusals, times, draws."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.stats
import threadpoolctl  # type: ignore[import-untyped]
import xarray as xr

from implicit_bias.errors import UserError
from implicit_bias.results.claims import NotDecidable
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.planning import log_times
from implicit_bias.studies.refusals import check_classification
from implicit_bias.studies.rows import (
    along,
    by_seed,
    exponents,
    gap,
    geometric_mean,
    has,
    if_run,
    require,
    seeds_of,
    values_of,
)

SEEDS, WIDTHS, NOISES = (3, 5, 11), (4, 16, 64), (0.0, 0.2)


def planted() -> xr.Dataset:
    """An arm of widths × noises × seeds and a stage of trials, in any order; one lane diverged, one lost."""
    cells = [(w, p, s) for w in WIDTHS for p in NOISES for s in SEEDS if (w, p, s) != (16, 0.2, 5)]
    n = len(cells)
    pads = [np.nan] * len(SEEDS)
    result = xr.Dataset(
        {
            # Digits say where a number belongs: width, noise, seed.
            "error": ("lane", [100.0 * w + 10 * p + s / 100 for w, p, s in cells] + pads),
            "curve": (("lane", "time"), np.outer([w + p + s for w, p, s in cells] + pads, [1, 2])),
            "left": (
                ("lane", "kernel", "place"),
                np.concatenate([np.full((n, 2, 2), np.nan),
                                [[[s, s + 0.1], [-s, -s - 0.1]] for s in SEEDS]]),
            ),
            "diverged": ("lane", [cell == (64, 0.0, 11) for cell in cells] + [False] * len(SEEDS)),
        },
        {
            "arm": ("lane", np.array(["width"] * n + ["kernels"] * len(SEEDS), object)),
            "seed": ("lane", [s for _, _, s in cells] + list(SEEDS)),
            # Trials have no width: 0 where the coordinate is whole, NaN where it is not.
            "hidden_width": ("lane", [w for w, _, _ in cells] + [0] * len(SEEDS)),
            "label_noise": ("lane", [p for _, p, _ in cells] + pads),
            "kernel": ["own", "infinite"], "place": [10, 20],
        },
    )  # fmt: skip
    return result.isel(lane=np.random.default_rng(0).permutation(result.sizes["lane"]))


def test_tables_by_seed_are_those_of_pandas() -> None:
    # Breaks if rows are taken as they stand, a diverged lane counts, a missing one shifts the others, or
    # coordinates of trials become values of an arm.
    result = planted()
    frame = result[["error", "diverged"]].drop_dims("kernel", errors="ignore").to_dataframe()
    frame = frame[(frame["arm"] == "width") & (frame["label_noise"] == 0.2)]
    expected = frame.pivot_table("error", "seed", "hidden_width", dropna=False)
    found = along(result, "width", "error", "hidden_width", label_noise=0.2)
    np.testing.assert_array_equal(found, expected.to_numpy())
    assert np.isnan(found).sum() == 1
    some = along(result, "width", "error", "hidden_width", np.array([64, 5]), label_noise=0.0)
    np.testing.assert_allclose(some[:, 0], [6400.03, 6400.05, np.nan])
    assert np.isnan(some[:, 1]).all()
    curve = by_seed(result, "width", "curve", hidden_width=4, label_noise=0.2)
    np.testing.assert_allclose(curve, np.outer(4.2 + np.array(SEEDS), [1, 2]))
    assert seeds_of(result).tolist() == list(SEEDS)
    assert values_of(result, "width", "hidden_width").tolist() == list(WIDTHS)
    assert values_of(result, "width", "label_noise").tolist() == list(NOISES)
    assert values_of(result, "kernels", "label_noise").size == 0
    assert values_of(result, "deep", "hidden_width").size == 0


def test_labels_choose_places_of_what_trials_left() -> None:
    # Breaks if a label is taken for an index, or the dimension it names stays.
    result = planted()
    seeds = np.array(SEEDS, float)
    found = by_seed(result, "kernels", "left", kernel="infinite", place=20)
    np.testing.assert_allclose(found, -seeds - 0.1)
    whole = by_seed(result, "kernels", "left", place=10)
    np.testing.assert_allclose(whole, np.stack([seeds, -seeds], axis=1))


def test_what_was_not_run_is_named() -> None:
    # Breaks if one of several missing arms is not named, one that is there is, or a table is made of nothing.
    result = planted()
    assert has(result, "width", "kernels")
    assert not has(result, "width", "deep")
    assert if_run("kernels")(result)
    assert not if_run("width", "deep")(result)
    require(result, "width", "kernels")
    with pytest.raises(NotDecidable, match=r"^needs deep, modes, which was not run$"):
        require(result, "deep", "width", "modes")
    for table in (
        lambda: by_seed(result, "deep", "error"),
        lambda: along(result, "deep", "error", "hidden_width"),
    ):
        with pytest.raises(NotDecidable, match="needs deep, which"):
            table()


def test_exponents_are_the_slopes_of_scipy() -> None:
    # Breaks if the base of logarithms is not the same on both sides, or a zero, a negative number or a
    # missing one gives a slope through the others.
    rng = np.random.default_rng(0)
    x, table = np.array([1, 3, 10, 100]), np.exp(rng.normal(size=(6, 4)))
    expected = [scipy.stats.linregress(np.log(x), np.log(row)).slope for row in table]
    np.testing.assert_allclose(exponents(x, table), expected)
    table[:3, 1] = 0, -1, np.nan
    expected[:3] = [np.nan] * 3
    np.testing.assert_allclose(exponents(x, table), expected)


def test_gaps_are_paired_means_in_points_with_intervals_for_new_examples_too() -> None:
    # Breaks if a percentage, the sign, the pairing or an argument of the comparison is wrong, or if the
    # interval leaves out that all seeds share the test examples.
    rng = np.random.default_rng(0)
    hard = rng.random(50)
    first, second = ((hard + 0.3 * rng.random((5, 50)) > at).astype(float) for at in (0.7, 0.9))
    second[3] = np.nan
    used = [0, 1, 2, 4]
    differences = 100 * (first[used] - second[used]).mean(axis=1)
    comparison = gap(first, second, 1.0, -1, 2.0)
    assert (comparison.smallest_effect, comparison.direction, comparison.origin) == (1.0, -1, 2.0)
    found = comparison.estimate(0.95)
    assert found.value == pytest.approx(differences.mean())
    assert (found.n, found.excluded) == (4, 1)
    seeds_alone = scipy.stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert found.low < seeds_alone.low - 1
    assert found.high > seeds_alone.high + 1
    wider = comparison.estimate(0.99)
    assert wider.low < found.low < found.high < wider.high
    back = gap(second, first).estimate(0.95)
    np.testing.assert_allclose((back.low, back.high), (-found.high, -found.low))


def test_data_without_classes_are_refused_in_one_line() -> None:
    # Breaks if the line does not name the setting, or data with classes are refused.
    check_classification(SimpleNamespace(name="digits", task="classification"))  # type: ignore[arg-type]
    with pytest.raises(UserError) as caught:
        check_classification(SimpleNamespace(name="waves", task="regression"), "labels are drawn")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "data.name is waves, a regression, but labels are drawn; choose data with classes "
        "(targets of an integer type)"
    )


def test_times_are_even_in_log_time_and_each_once() -> None:
    # Breaks if the start or the end is left out, or small updates that round alike are named twice.
    assert log_times(1000, 4) == (0, 1, 10, 100, 1000)
    assert log_times(4, 9) == (0, 1, 2, 3, 4)


def test_geometric_means_leave_out_what_is_not_positive() -> None:
    # Breaks if a zero makes the mean zero, or the interval is not the image of that of the logarithms.
    logs = np.array([0.0, 1.0, 3.0])
    found = geometric_mean(np.array([1.0, np.e, 0.0, -1.0, np.e**3, np.nan]))
    interval = scipy.stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    expected = np.exp([logs.mean(), interval.low, interval.high])
    np.testing.assert_allclose([found.value, found.low, found.high], expected)
    assert found.n == 3
    # Breaks if the mean of equal numbers is another number, whose axis no figure can draw.
    same = geometric_mean(np.array([10.0, 10.0]))
    assert (same.value, same.low, same.high) == (10.0, 10.0, 10.0)
    # Breaks if an end of a wide interval is beyond what numbers reach.
    for ends in ((1e-30, 1e30), (1e30, 1e-30)):
        wide = geometric_mean(np.array(ends))
        assert 0.0 <= wide.low < wide.value < wide.high < np.inf
        assert wide.value == pytest.approx(1.0)
    # Breaks if one seed, which has no interval, is given one that ends.
    alone = geometric_mean(np.array([3.0]))
    assert (alone.value, alone.low, alone.high) == (3.0, 0.0, np.inf)


@dataclass(frozen=True)
class Threads(Drawn):
    """Says on how many threads it is measured."""

    @property
    def variables(self) -> dict[str, Any]:
        """None are declared."""
        return {}

    def of_seed(self, seed: int) -> dict[str, Any]:
        """Count."""
        info = [one for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"]
        return {"seed": seed, "threads": {one["num_threads"] for one in info}}


def test_experiments_on_drawn_data_see_their_seed_alone_on_one_thread() -> None:
    # Breaks if small matrices are solved on all cores, or the seed is no plain number.
    with threadpoolctl.threadpool_limits(2, "blas"):
        found = Threads()(None, np.int32(7), {})  # type: ignore[arg-type]
    assert found == {"seed": 7, "threads": {1}}
    assert type(found["seed"]) is int
