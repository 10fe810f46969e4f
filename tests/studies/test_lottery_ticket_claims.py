"""The lottery-ticket study's settings, and its rules on planted results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from implicit_bias.errors import UserError
from implicit_bias.results.claims import Finding, evaluate
from implicit_bias.studies.lottery_ticket import STUDY
from implicit_bias.studies.lottery_ticket.arms import lanes
from implicit_bias.studies.lottery_ticket.chosen import derive
from implicit_bias.studies.lottery_ticket.claims import CLAIMS
from implicit_bias.studies.lottery_ticket.masks import layers, schedule
from implicit_bias.studies.lottery_ticket.presentation import DRAWINGS
from implicit_bias.studies.lottery_ticket.rows import at_levels, of_arm, table_levels
from implicit_bias.studies.lottery_ticket.settings import DEFAULT_ARMS, LotterySettings
from implicit_bias.studies.lottery_ticket.tables import tables
from implicit_bias.studies.refusals import Refusal
from implicit_bias.studies.weights import Weights

SEEDS, TESTS, WEIGHTS = 6, 2000, 1000
ROUNDS = (0.5, 0.25, 0.1)
TABLE = (0.5, 0.1)


def planted(**changes: Any) -> xr.Dataset:
    """A result of given errors and eigenvalues, with a little noise.

    Keys: ``errors`` in per cent by (arm, level) or arm; ``flat`` eigenvalues likewise; ``arms``; ``escaped``
    pruned weights; ``left`` weights more than asked for.
    """
    given: dict[str, Any] = {
        "errors": {}, "flat": {}, "arms": DEFAULT_ARMS, "escaped": 0, "left": 0, **changes
    }  # fmt: skip
    rng = np.random.default_rng(0)
    cells = [("dense", 1.0)]
    for arm in given["arms"]:
        if arm != "dense":
            cells += [(arm, level) for level in (ROUNDS if arm == "ticket" else TABLE)]
    cells += [("dense-twin", 1.0), ("ticket-twin", 0.1)]
    rows = [(*cell, seed) for cell in cells for seed in range(SEEDS)]
    n = len(rows) + SEEDS
    hard = rng.random(TESTS)

    def of(what: str, arm: str, level: float, usual: float) -> float:
        return float(given[what].get((arm, level), given[what].get(arm, usual)))

    wrong = np.full((n, TESTS), np.nan)
    lane = {name: np.full(n, np.nan) for name in
            ("lambda_max", "weights_remaining", "weights_escaped", "stop_update")}  # fmt: skip
    for row, (arm, level, _) in enumerate(rows):
        rate = of("errors", arm, level, 5.0) / 100
        # Mostly the same examples for all: the hardest ones.
        wrong[row] = (hard + 0.0005 * rng.normal(size=TESTS) > 1 - rate).astype(float)
        lane["lambda_max"][row] = of("flat", arm, level, 1.0) * np.exp(0.05 * rng.normal())
        lane["weights_remaining"][row] = round(level * WEIGHTS) + (
            given["left"] if level < 1 else 0
        )
        lane["weights_escaped"][row] = given["escaped"] if level < 1 else 0
        lane["stop_update"][row] = 100 * level
    error = wrong.mean(axis=1)
    arms = [row[0] for row in rows] + ["stability"] * SEEDS
    left = np.array([[row[1], min(1.0, 2 * row[1])] for row in rows] + [[np.nan] * 2] * SEEDS)
    line = np.full((n, 2, 2, 3), np.nan)
    line[len(rows) :] = np.array([0.05, 0.08, 0.05]) + 0.001 * rng.normal(size=(SEEDS, 2, 2, 3))
    return xr.Dataset(
        {
            **{name: ("lane", values) for name, values in lane.items()},
            **dict.fromkeys(("test_error", "train_error", "stop_test_error"), ("lane", error)),
            "stop_at_end": ("lane", np.zeros(n)),
            "test_wrong": (("lane", "test_example"), wrong),
            "layer_remaining": (("lane", "layer"), left),
            "instability": (("lane", "twice", "split"), line[..., 1] - line[..., 0]),
            "line_error": (("lane", "twice", "split", "fraction"), line),
            "diverged": ("lane", np.zeros(n, bool)),
        },
        {
            "arm": ("lane", np.array(arms, object)),
            "seed": ("lane", [row[2] for row in rows] + list(range(SEEDS))),
            "level": ("lane", [row[1] for row in rows] + [np.nan] * SEEDS),
            "layer": ["layer_0", "layer_1"], "twice": ["dense", "ticket"], "split": ["train", "test"],
            "fraction": [0.0, 0.5, 1.0],
        },
    )  # fmt: skip


def found(**changes: Any) -> dict[str, Finding]:
    """All findings on a planted result, by the claim's name."""
    return {one.id: one for one in evaluate(CLAIMS, planted(**changes))}


def test_a_ticket_must_lose_less_than_what_is_published() -> None:
    # Breaks if the sign turns, another level is judged, or the boundary is not 1.15 points.
    assert found()["johannsen.lottery"].verdict == "supported"
    one = found(errors={("ticket", 0.1): 9.0})["johannsen.lottery"]
    assert one.verdict == "refuted"
    assert one.effect == pytest.approx(4.0, abs=0.5)
    assert found(errors={("ticket", 0.1): 6.15})["johannsen.lottery"].verdict == "inconclusive"
    assert found(errors={("ticket", 0.5): 9.0})["johannsen.lottery"].verdict == "supported"
    assert found(errors={("ticket", 0.1): 3.0})["johannsen.lottery"].verdict == "supported"


@pytest.mark.parametrize(
    ("claim", "arm"),
    [("random-mask", "random"), ("mag-at-init", "magnitude-at-init")],
)
def test_a_control_can_be_worse_by_less_than_what_is_published(claim: str, arm: str) -> None:
    # Breaks if being better at all, and by three points, are not told apart, or another arm is judged.
    def said(error: float) -> Finding:
        return found(errors={arm: error})[f"johannsen.ctrl.{claim}"]

    assert said(9.5).verdict == "supported"
    assert said(5.0).verdict == "refuted"
    one = said(6.5)
    assert one.verdict == "conditional"
    assert one.condition == "supported: better by what matters. Refuted: better by 3 points"
    assert one.effect == pytest.approx(1.5, abs=0.3)


def test_mask_and_start_are_told_apart() -> None:
    # Breaks if a comparison is turned over, or fresh weights are held against the wrong arm.
    mask = {"random-layerwise": 8.0, "shuffled": 8.0}
    name = "johannsen.ctrl.mask-vs-init"
    assert found(errors=mask)[name].verdict == "supported"
    # All that counts is the start: any mask will do, and fresh weights lose.
    assert found(errors={"reinit": 8.0})[name].verdict == "refuted"
    # A mask that helps its own start alone.
    one = found(errors={**mask, "reinit": 8.0})[name]
    assert one.verdict == "conditional"
    assert "Refuted: another mask against the ticket's with fresh weights" in one.condition
    rise = one.details["fresh weights in the ticket's mask: error rises by, points"]
    assert rise[0] == pytest.approx(3.0, abs=0.4)


def test_flatness_is_correlated_with_error_within_seeds() -> None:
    # Breaks if the sign turns, seeds are pooled, or an arm with too few levels is ranked.
    name = "johannsen.ext.flatness-all-regimes"
    errors = {("ticket", 0.5): 7.0, ("ticket", 0.25): 9.0, ("ticket", 0.1): 11.0}
    rising = {("ticket", 0.5): 2.0, ("ticket", 0.25): 4.0, ("ticket", 0.1): 8.0}
    falling = {key: 1 / value for key, value in rising.items()}
    arms = ("dense", "ticket")
    assert found(errors=errors, flat=rising, arms=arms)[name].verdict == "supported"
    one = found(errors=errors, flat=falling, arms=arms)[name]
    assert one.verdict == "refuted"
    assert one.effect == pytest.approx(-1.0, abs=0.05)
    # With controls at two levels and the dense network they are ranked as well.
    controls = {("random", 0.5): 0.5, ("random", 0.1): 0.1, "random": 1.0}
    mixed = found(
        errors={**errors, ("random", 0.5): 7.0, ("random", 0.1): 11.0},
        flat={**rising, **controls}, arms=(*arms, "random"),
    )[name]  # fmt: skip
    assert mixed.verdict == "conditional"
    assert mixed.condition == "supported: ticket. Refuted: random"


def test_pruned_weights_that_move_refute_the_masks() -> None:
    # Breaks if a weight too many, or one that came back, goes unnoticed.
    name = "lottery-ticket.ctrl.mask"
    assert found()[name].verdict == "supported"
    assert found(left=2)[name].verdict == "refuted"
    moved = found(escaped=1)[name]
    assert (moved.verdict, moved.reason) == ("refuted", "pruned weights moved")


def test_a_claim_whose_arms_or_level_are_missing_is_not_decided() -> None:
    # Breaks if a rule fails, or decides from what is not there.
    bare = found(arms=("dense", "ticket"))
    for name in ("random-mask", "mag-at-init", "mask-vs-init"):
        one = bare[f"johannsen.ctrl.{name}"]
        assert one.verdict == "not-decided"
        assert "was not run" in one.reason
    result = planted()
    dense = result.isel(lane=np.flatnonzero(~np.isclose(result["level"].values, 0.1)))
    one = {each.id: each for each in evaluate(CLAIMS, dense)}["johannsen.lottery"]
    assert (one.verdict, one.reason) == (
        "not-decided",
        "arm ticket was not run at 10 % of the weights",
    )


def test_rows_are_matched_by_seed_and_the_dense_network_is_where_nothing_is_pruned() -> None:
    # Breaks if rows are taken as they stand, a diverged lane counts, or twins mix with their arms.
    result = planted(errors={"dense-twin": 50.0})
    mixed = result.isel(lane=np.random.default_rng(1).permutation(result.sizes["lane"]))
    levels, values = at_levels(mixed, "ticket", "test_error")
    assert levels.tolist() == [1.0, *ROUNDS]
    np.testing.assert_array_equal(values[:, 0], of_arm(result, "dense", "test_error", 1.0))
    assert (values < 0.1).all()
    assert table_levels(mixed).tolist() == [1.0, *TABLE]
    lost = (result["arm"].values == "ticket") & (result["seed"].values == 2)
    result = result.assign(diverged=("lane", lost))
    one = {each.id: each for each in evaluate(CLAIMS, result)}["johannsen.lottery"]
    assert one.n_seeds == SEEDS - 1
    assert "3 of 96 lanes diverged" in one.reason


def test_tables_and_figures_stand_what_is_missing() -> None:
    # Breaks if a table or a figure needs a control.
    result = planted(errors={("ticket", 0.5): 4.0})
    made = tables(result)
    assert [len(table.rows) for table in made] == [7, 7, 7, 7, 7, 4, 2]
    assert made[0].columns == ("arm", "100 %", "50 %", "10 %")
    assert made[0].rows[0][0] == "dense"
    assert made[0].rows[0][2:] == ("", "")
    assert made[0].rows[1][1] == ""
    assert made[0].rows[1][2].startswith("95.")
    assert made[-1].rows[0][-1] == "no"  # three points between the ends
    for drawing in DRAWINGS:
        assert drawing.when(result)
        drawing.draw(result)
    kept = np.isin(result["arm"].values, ["dense", "ticket"])
    bare = result.isel(lane=np.flatnonzero(kept))
    assert tables(bare)[0].columns == ("arm", "100 %", "50 %", "25 %", "10 %")
    assert [one.name for one in DRAWINGS if one.when(bare)] == [one.name for one in DRAWINGS][:-1]
    for drawing in DRAWINGS[:-1]:
        drawing.draw(bare)


def test_a_run_is_judged_where_its_validation_loss_is_least() -> None:
    # Breaks if the last of equals is taken, missing probes count, or diverged lanes have a time.
    loss = np.array([[3.0, 1.0, 1.0, np.nan], [3.0, 2.0, 1.0, 0.5], [1.0, 1.0, 1.0, 1.0]])
    logs = {f"log_{name}": (("lane", "probe"), loss / 10) for name in
            ("train_error", "valid_error", "test_error")}  # fmt: skip
    result = derive(
        xr.Dataset(
            {
                "log_valid_loss": (("lane", "probe"), loss), **logs,
                "log_step": (("lane", "probe"), np.tile([0.0, 10.0, 20.0, 30.0], (3, 1))),
                "diverged": ("lane", [False, False, True]),
            }
        )
    )  # fmt: skip
    np.testing.assert_array_equal(result["stop_update"], [10, 30, np.nan])
    np.testing.assert_array_equal(result["stop_at_end"], [0, 1, np.nan])
    np.testing.assert_allclose(result["stop_test_error"], [0.1, 0.05, np.nan])


def test_rounds_are_those_of_the_paper() -> None:
    # Breaks if the output layer is not spared, or a level is passed. LeNet-300-100: 266,200 weights, of
    # which 20 % and 10 % a round leave 51.3, 21.1, 13.5 and 3.6 % after 3, 7, 9 and 15 rounds.
    settings = LotterySettings.model_validate({"levels": [0.513, 0.211, 0.1352, 0.1, 0.036]})
    assert len(schedule(settings)) == 17
    assert set(settings.levels) <= set(schedule(settings))
    ratios = np.array(schedule(settings)[1:]) / np.array(schedule(settings)[:-1])
    assert (ratios >= 0.8 - 1e-9).all()
    dataset = settings.data.load()
    assert layers(settings, dataset).rates == {"layer_0": 1.0, "layer_1": 1.0, "layer_2": 0.5}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"levels": [0.5, 1.0]}, "above 0 and below 1"),
        ({"levels": [0.0]}, "above 0 and below 1"),
        ({"levels": [0.1, 0.5]}, "give falling fractions"),
        ({"arms": ["dense", "ticket", "snipp"]}, "there is no 'snipp'; did you mean snip?"),
        ({"arms": ["dense", "random"]}, "add 'ticket', with which all others are compared"),
        ({"data": {"n_valid": 0}}, "when to stop is decided on validation data"),
        ({"stability": {"level": 0.2}}, "choose one of the levels"),
        ({"output_rate": 0.5}, "choose no more than the rate of other layers"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_used_are_refused(changes: dict[str, Any], said: str) -> None:
    # Breaks if a mistake gets through to a run, or a message does not say what to do.
    with pytest.raises((Refusal, ValueError), match=said):
        LotterySettings.model_validate(changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"model": {"widths": [4]}, "levels": [0.1, 0.005], "output_rate": None},
            r"levels: remaining is .*, but layer 'layer_1' would be emptied; choose at least",
        ),
        (
            {"arms": ["dense", "ticket", "random", "late-rewinding"], "rewind_step": 10**6},
            "rewind_step is 1000000, but a run has .* updates; choose at most",
        ),
        ({"evaluate_every": 10**6}, "evaluate_every is 1000000, but a run has"),
        ({"batch_size": 10**6}, "batch_size is 1000000, but a lane trains on"),
    ],
)
def test_what_does_not_go_with_data_or_network_is_refused_at_once(
    changes: dict[str, Any], said: str
) -> None:
    # Breaks if it is found out after hours of training.
    settings = LotterySettings.model_validate(
        {
            "evaluate_every": 20,
            "curvature": {"examples": 9},
            "stability": {"examples": 9},
            **changes,
        }
    )
    with pytest.raises(UserError, match=said) as refused:
        lanes(settings, settings.data.load(), 0, Weights(None, range(2)))
    assert "\n" not in str(refused.value)


def test_the_study_is_found_by_name() -> None:
    # Breaks if it is not registered.
    from implicit_bias import studies

    assert studies.get("lottery-ticket").claims == STUDY.claims
