"""Rules of the laziness study on planted results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from implicit_bias.results.claims import Finding, NotDecidable, evaluate
from implicit_bias.studies.laziness.claims import CLAIMS
from implicit_bias.studies.laziness.predictions import PREDICTORS
from implicit_bias.studies.laziness.presentation import DRAWINGS
from implicit_bias.studies.laziness.rows import of_arm, slope, swept
from implicit_bias.studies.laziness.rules import (
    hierarchical_aligned_incremental,
    movement_falls_with_alpha,
)
from implicit_bias.studies.laziness.tables import tables
from implicit_bias.studies.rows import by_seed

SEEDS, TESTS = 6, 2000
ALPHAS, SCALES, WIDTHS = (0.1, 1.0, 3.0, 10.0, 30.0), (0.5, 1.0, 2.0), (10, 100, 1000)
FEATURES = ("learnt", "random", "random, best ridge")


def planted(**changes: Any) -> xr.Dataset:
    """A result of given errors, exponents and times, with a little noise.

    Keys: ``errors`` by (arm, value) or kernel, in per cent; ``exponent`` of relative movement in α;
    ``features`` at α = 1; ``rich`` kernel change at α = 0.1; ``rise`` of alignment by α; ``deep`` rises of
    two layers; ``distances`` by width; ``change`` of kernels by scale; ``modes`` times by start;
    ``target`` errors of features.
    """
    given: dict[str, Any] = {
        "errors": {}, "exponent": -1.0, "features": 0.2, "rich": 1.0, "rise": {0.1: 0.1}, "deep": (0.05, 0.2),
        "distances": (0.5, 0.1, 0.02), "change": (0.4, 0.1, 0.02),
        "modes": {"small": (1.0, 2.0, 6.0), "large": (1.0, 1.0, 1.0)}, "target": (0.05, 0.3, 0.28),
        **changes,
    }  # fmt: skip
    rng = np.random.default_rng(0)
    cells = [("alpha", value, 100) for value in ALPHAS]
    cells += [("init-scale", value, 100) for value in SCALES]
    cells += [("linearised", np.nan, 100), ("deep", np.nan, 100)]
    cells += [("width", np.nan, width) for width in WIDTHS]
    rows = [(*cell, seed) for cell in cells for seed in range(SEEDS)]
    trials = [
        (stage, seed) for stage in ("kernels", "modes", "multi-index") for seed in range(SEEDS)
    ]
    n = len(rows) + len(trials)
    hard = rng.random(TESTS)

    def noisy(value: float, share: float = 0.02) -> float:
        return float(value * np.exp(share * rng.normal()))

    def wrong(key: Any) -> np.ndarray:
        """Mostly the same examples for all: the hardest ones."""
        rate = given["errors"].get(key, 10.0) / 100
        return (hard + 0.01 * rng.normal(size=TESTS) > 1 - rate).astype(float)

    names = ("relative_movement", "absolute_movement", "kernel_change", "feature_change", "flips",
             "linearisation_error", "alignment_before", "alignment_after", "best_test_error",
             "end_test_error", "best_update", "end_train_loss")  # fmt: skip
    lane = {name: np.full(n, np.nan) for name in names}
    mistakes, layers = np.full((n, TESTS), np.nan), np.full((n, 2), np.nan)
    for row, (arm, value, width, _) in enumerate(rows):
        lane["relative_movement"][row] = noisy(
            0.1 * np.nan_to_num(value, nan=1.0) ** given["exponent"]
        )
        lane["alignment_before"][row] = 0.3
        rise = given["rise"].get(value, 0.0) if arm == "alpha" else 0.0
        lane["alignment_after"][row] = 0.3 + rise + 0.003 * rng.normal()
        feature = given["features"] if value == 1 else 0.01
        lane["feature_change"][row] = noisy(feature)
        lane["kernel_change"][row] = noisy(
            given["change"][SCALES.index(value)] if arm == "init-scale" else
            given["rich"] if value == 0.1 else 0.05
        )  # fmt: skip
        for name in (
            "absolute_movement",
            "flips",
            "linearisation_error",
            "best_update",
            "end_train_loss",
        ):
            lane[name][row] = noisy(0.1)
        mistakes[row] = wrong(
            (arm, width if arm == "width" else None if np.isnan(value) else value)
        )
        lane["best_test_error"][row] = lane["end_test_error"][row] = mistakes[row].mean()
        if arm == "deep":
            layers[row] = given["deep"] + 0.003 * rng.normal(size=2)
    predicted = np.full((n, len(PREDICTORS), TESTS), np.nan)
    distance, times = np.full((n, 3), np.nan), np.full((n, 2, 3), np.nan)
    target = np.full((n, 3), np.nan)
    for row, (stage, _) in enumerate(trials, len(rows)):
        if stage == "kernels":
            predicted[row] = [wrong(name) for name in PREDICTORS]
            distance[row] = [noisy(value) for value in given["distances"]]
        elif stage == "modes":
            for place, start in enumerate(("small", "large")):
                times[row, place] = [noisy(value) for value in given["modes"][start]]
        else:
            target[row] = [noisy(value) for value in given["target"]]
    arms = [row[0] for row in rows] + [stage for stage, _ in trials]
    nothing = [np.nan] * len(trials)
    each = ("lane", "predictor")
    return xr.Dataset(
        {
            **{name: ("lane", values) for name, values in lane.items()},
            "best_wrong": (("lane", "test_example"), mistakes),
            "end_wrong": (("lane", "test_example"), mistakes),
            "layer_alignment_before": (("lane", "hidden_layer"), np.where(layers == layers, 0.0, np.nan)),
            "layer_alignment_after": (("lane", "hidden_layer"), layers),
            "kernel_best_wrong": ((*each, "test_example"), predicted),
            "kernel_end_wrong": ((*each, "test_example"), predicted),
            **{f"kernel_{name}": (each, predicted.mean(axis=2))
               for name in ("best_error", "end_error", "limit_error", "best_update")},
            "infinite_distance": (("lane", "kernel_width"), distance),
            "mode_time": (("lane", "start", "mode"), times),
            "target_error": (("lane", "features"), target),
            "target_end_error": ("lane", target[:, 0]),
            "updates_budget": ("lane", [10] * len(rows) + [0] * len(trials)),
            "diverged": ("lane", np.zeros(n, bool)),
        },
        {
            "arm": ("lane", np.array(arms, object)), "stage": ("lane", np.array(arms, object)),
            "seed": ("lane", [row[3] for row in rows] + [seed for _, seed in trials]),
            "alpha": ("lane", [row[1] if row[0] == "alpha" else 1.0 for row in rows] + nothing),
            "init_scale": ("lane", [row[1] if row[0] == "init-scale" else 1.0 for row in rows] + nothing),
            "hidden_width": ("lane", [float(row[2]) for row in rows] + nothing),
            "predictor": list(PREDICTORS), "kernel_width": list(WIDTHS), "features": list(FEATURES),
            "start": ["small", "large"], "mode": [4.0, 2.0, 0.5],
        },
    )  # fmt: skip


def found(**changes: Any) -> dict[str, Finding]:
    """All findings on a planted result, by the end of the claim's name."""
    return {one.id: one for one in evaluate(CLAIMS, planted(**changes))}


def test_wide_against_narrow_decides_as_the_document_has_it() -> None:
    # Breaks if the sign turns, if widths near each other are compared, or kernels enter.
    narrow_better = {("width", 10): 10.0, ("width", 100): 10.0, ("width", 1000): 18.0}
    one = found(errors=narrow_better)["dhand.E3"]
    assert one.verdict == "supported"
    assert one.effect == pytest.approx(8, abs=1)
    assert list(one.details["arms"]) == ["width 1000 against 10", "width 1000 against 100"]
    wide_better = {("width", 10): 30.0, ("width", 100): 15.0, ("width", 1000): 10.0}
    assert found(errors=wide_better)["dhand.E3"].verdict == "refuted"
    mixed = {("width", 10): 30.0, ("width", 100): 5.0, ("width", 1000): 10.0}
    assert found(errors=mixed)["dhand.E3"].verdict == "conditional"


def test_lazy_against_rich_at_one_width_is_a_claim_of_its_own() -> None:
    # Breaks if it follows the widths, or takes the last layer for the kernel regime.
    lazy: dict[Any, float] = dict.fromkeys(
        ("own kernel", "infinite kernel", ("linearised", None)), 20.0
    )
    lazy[("alpha", 30.0)] = 20.0
    assert found(errors=lazy)["dhand.E3.same-width"].verdict == "supported"
    assert found(errors=lazy)["dhand.E3"].verdict == "refuted"
    assert found(errors={"last layer": 40.0})["dhand.E3.same-width"].verdict == "refuted"
    one = found(errors={"infinite kernel": 20.0})["dhand.E3.same-width"]
    assert one.verdict == "conditional"
    assert "supported: infinite kernel" in one.condition


def test_each_of_the_three_limitations_is_needed() -> None:
    # Breaks if one is left out, or a boundary is of the wrong side.
    assert found()["dhand.sec-5.3"].verdict == "supported"
    for changes, arm in (
        ({"features": 0.05}, "features of the network as it is"),
        ({"distances": (0.5, 0.5, 0.5)}, "its ratio, width 10 to 1000"),
        ({"distances": (0.02, 0.01, 0.001)}, "distance from the infinite kernel at width 10"),
        ({"change": (0.1, 0.1, 0.1)}, "kernel change, initial scale 0.5 to 2"),
    ):
        one = found(**changes)["dhand.sec-5.3"]
        assert one.verdict == "conditional"
        assert [
            name for name, said in one.details["arms"].items() if said["verdict"] == "refuted"
        ] == [arm]


def test_rich_regime_is_aligned_incremental_and_where_deep_hierarchical() -> None:
    # Breaks if the lazy control does not count, the ratio is turned over, or layers are swapped.
    one = found()["dhand.sec-6.1-claims"]
    assert one.verdict == "supported"
    assert one.details["seeds in which all modes are learnt in order, small start"] == SEEDS
    assert found(deep=(0.2, 0.05))["dhand.sec-6.1-claims"].verdict == "conditional"
    for changes in (
        {"rise": {0.1: 0.1, 30.0: 0.1}},  # rises in the lazy network as well
        {"rise": {}},
        {"modes": {"small": (1, 1, 1), "large": (1, 1, 1)}},
        {"modes": {"small": (1, 2, 6), "large": (1, 2, 6)}},  # the order is not the rich regime's
    ):
        assert found(**changes)["dhand.sec-6.1-claims"].verdict == "conditional"
    with pytest.raises(NotDecidable, match=r"is not rich: its kernel changes by 0\.10"):
        hierarchical_aligned_incremental(planted(rich=0.1))


def test_random_features_are_given_their_best_ridge() -> None:
    # Breaks if the ratio is turned over, or one of the two does not count.
    one = found()["ch11.A.17"]
    assert one.verdict == "supported"
    assert one.effect == pytest.approx(0.28 / 0.05, rel=0.05)
    assert found(target=(0.3, 0.3, 0.3))["ch11.A.17"].verdict == "refuted"
    assert found(target=(0.2, 0.3, 0.2))["ch11.A.17"].verdict == "conditional"


def test_movement_must_fall_as_one_over_alpha() -> None:
    # Breaks if the whole sweep counts, whose small values are rich, or the base of logarithms is wrong.
    good = movement_falls_with_alpha(planted())
    assert good.verdict == "supported"
    assert good.effect == pytest.approx(-1, abs=0.03)
    assert movement_falls_with_alpha(planted(exponent=-0.5)).verdict == "refuted"
    bent = planted()
    first = (bent["arm"] == "alpha") & (bent["alpha"] < 1.5)
    bent["relative_movement"] = bent["relative_movement"].where(~first, 0.1)
    assert movement_falls_with_alpha(bent).verdict == "supported"


def test_a_claim_whose_arms_are_missing_is_not_decided() -> None:
    # Breaks if a rule fails, or decides from what is not there.
    result = planted()
    bare = result.isel(lane=np.flatnonzero(np.isin(result["arm"].values, ["alpha", "linearised"])))
    verdicts = {one.id: one for one in evaluate(CLAIMS, bare)}
    for name in (
        "dhand.E3",
        "dhand.E3.same-width",
        "dhand.sec-5.3",
        "dhand.sec-6.1-claims",
        "ch11.A.17",
    ):
        assert verdicts[name].verdict == "not-decided"
        assert "was not run" in verdicts[name].reason
    assert verdicts["laziness.ctrl.alpha"].verdict == "supported"


def test_rows_are_matched_by_seed_whatever_their_order() -> None:
    # Breaks if rows are taken as they stand, or a diverged lane's numbers count.
    result = planted()
    mixed = result.isel(lane=np.random.default_rng(1).permutation(result.sizes["lane"]))
    for name in ("relative_movement", "kernel_change"):
        np.testing.assert_array_equal(swept(mixed, "alpha", name), swept(result, "alpha", name))
    np.testing.assert_array_equal(
        by_seed(mixed, "modes", "mode_time", start="large"),
        by_seed(result, "modes", "mode_time", start="large"),
    )
    lost = result["diverged"].copy(
        data=(result["arm"].values == "alpha") & (result["seed"].values == 2)
    )
    result = result.assign(diverged=lost)
    assert np.isnan(of_arm(result, "alpha", "relative_movement", 3.0)).tolist() == [
        seed == 2 for seed in range(SEEDS)
    ]
    one = {found.id: found for found in evaluate(CLAIMS, result)}["dhand.E3.same-width"]
    assert one.n_seeds == SEEDS - 1
    assert "5 of 78 lanes diverged" in one.reason


def test_a_slope_needs_its_arm() -> None:
    # Breaks if the slope of an arm that was not run is taken through nothing.
    with pytest.raises(NotDecidable, match="was not run"):
        slope(planted().isel(lane=slice(0)), "alpha", "flips", 0.95)


def test_tables_and_figures_stand_what_is_missing() -> None:
    # Breaks if a table or a figure needs an arm that was left out.
    result = planted()
    assert [len(table.rows) for table in tables(result)] == [13, 6, 16, 3, 4]
    for drawing in DRAWINGS:
        assert drawing.when(result)
    bare = result.isel(lane=np.flatnonzero(result["arm"].values == "alpha"))
    assert [len(table.rows) for table in tables(bare)] == [5, 6, 5]
    assert [drawing.name for drawing in DRAWINGS if drawing.when(bare)] == ["movement", "error"]
    for drawing in DRAWINGS[:2]:
        drawing.draw(bare)
