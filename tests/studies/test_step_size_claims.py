"""Rules of the step-size study on planted results, in both directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from implicit_bias.results.claims import evaluate
from implicit_bias.studies.step_size import STUDY
from implicit_bias.studies.step_size.arms import (
    ADAM,
    ADAMW,
    CONNECTED,
    CONSTANT,
    DECAYED,
    LARGE,
    MOMENTUM,
    NOISY,
    PENALISED,
    SGD,
    SMALL_STEPS,
    STATED,
)
from implicit_bias.studies.step_size.arms import SMALL as SMALL_BATCH
from implicit_bias.studies.step_size.claims import CLAIMS
from implicit_bias.studies.step_size.rows import accuracy_gap, chosen, first_epoch, whole_factors
from implicit_bias.studies.step_size.rules_long import turns
from implicit_bias.studies.step_size.scripts import LABELS, OPTIMISERS, WAYS
from implicit_bias.training import Lane
from tests.studies.step_size_planted import SEEDS, arms_of, judged, planted

ONLY = {"scripts": {"run": False, "full_start": False}}


def _rising(first: float, after: float, last: float) -> Any:
    """Return a curve that is low until an epoch, 95 from it on, and ends at a number."""
    return lambda epoch: last if epoch >= 40 else 95.0 if epoch >= first else 20 + after


def published(lane: Lane) -> dict[str, Any]:
    """End as the documents say."""
    tags, step = lane.tags, lane.values["step_size"]
    match tags["arm"]:
        case "optimisers":
            name = str(tags["variant"])
            last, epoch, norm = {
                SGD: (97.8, 35, 35.0), MOMENTUM: (98.2, 32, 32.0), ADAM: (97.3, 25, 50.0)
            }[name]  # fmt: skip
            fast = name != SGD or tags["factor"] == 10
            return {
                "test": _rising(epoch, 0, last), "valid": 99.0 if tags["factor"] == 1 else 90.0,
                "weight_norm": norm, "train_loss": lambda e: 2.3 / (1 + (10 if fast else 1) * e),
            }  # fmt: skip
        case "steps":
            error = {0.001: 30.0, 0.01: 20.0, 0.1: 5.0, 0.5: 10.0}[step]
            return {
                "test": 100 - error,
                "lambda_max": {0.001: 800.0, 0.01: 100.0, 0.1: 15.0, 0.5: 3.0}[step],
            }
        case "matched":
            return {"lambda_max": 10 * step**-0.5, "reached": step > 0.001}
        case "tuning":
            small = lane.recipe.batch_size == 100
            test = {MOMENTUM: 94.0 if small else 88.0, ADAM: 88.0, ADAMW: 93.0}[
                str(tags["variant"])
            ]
            return {"test": test, "valid": test if tags["factor"] == 1 else 50.0}
        case "variants":
            train = {SMALL_STEPS: 90.0, PENALISED: 95.0}.get(str(tags["variant"]), 100.0)
            test = {NOISY: 80.0, CONNECTED: 50.0}.get(str(tags["variant"]), 94.5)
            return {"train": train, "test": test}
        case "decay":
            test, norm, loss = {
                SMALL_BATCH: (95.0, 0.2, 0.05), LARGE: (88.0, 0.35, 0.01), DECAYED: (95.0, 0.15, 0.08)
            }[str(tags["variant"])]  # fmt: skip
            return {"test": test, "parameter_norm": norm, "train_loss": loss}
    turn = 120.0

    def loss(epoch: float) -> float:
        return 0.2 + abs(epoch - turn) / 500

    return {
        "test_loss": loss, "valid_loss": loss,
        "test": lambda e: 95.0 if e <= 200 else 85.0 if e <= 400 else 92.0,
    }  # fmt: skip


def opposite(lane: Lane) -> dict[str, Any]:
    """End the other way round in all that is claimed."""
    tags, step = lane.tags, lane.values["step_size"]
    match tags["arm"]:
        case "optimisers":
            name = str(tags["variant"])
            last, norm = {SGD: (95.5, 50.0), MOMENTUM: (95.2, 45.0), ADAM: (98.5, 20.0)}[name]
            epoch = {SGD: 4, MOMENTUM: 5, ADAM: 6}[name]
            return {
                "test": _rising(epoch, 0, last), "weight_norm": norm,
                "valid": 99.0 if tags["factor"] == 0.1 else 90.0,
                "train_loss": lambda e: 2.3 / (1 + (1 if name == SGD else 0.5) * e),
            }  # fmt: skip
        case "steps":
            error = {0.001: 5.0, 0.01: 10.0, 0.1: 20.0, 0.5: 30.0}[step]
            return {"test": 100 - error, "lambda_max": 100 * (1 + step)}
        case "matched":
            return {"lambda_max": 10 * step**0.5}
        case "tuning":
            small = lane.recipe.batch_size == 100
            return {
                "test": {MOMENTUM: 80.0 if small else 90.0, ADAM: 90.0, ADAMW: 80.0}[
                    str(tags["variant"])
                ]
            }
        case "variants":
            train = {STATED: 80.0, NOISY: 80.0}.get(str(tags["variant"]), 100.0)
            return {"train": train, "test": {STATED: 50.0}.get(str(tags["variant"]), 90.0)}
        case "decay":
            test, norm, loss = {
                SMALL_BATCH: (85.0, 90.0, 0.01), LARGE: (95.0, 60.0, 0.08), DECAYED: (85.0, 90.0, 0.05)
            }[str(tags["variant"])]  # fmt: skip
            return {"test": test, "parameter_norm": norm, "train_loss": loss}
    turn = 400.0 if tags["variant"] == CONSTANT else 480.0

    def loss(epoch: float) -> float:
        return 0.2 + max(turn - epoch, 0.0) / 500

    return {"test_loss": loss, "valid_loss": loss, "test": lambda e: 20 + 70 * e / 500}


@pytest.fixture(scope="module")
def right() -> xr.Dataset:
    return planted(published)


@pytest.fixture(scope="module")
def wrong() -> xr.Dataset:
    return planted(opposite)


IMAGES = (
    "dhand.E4",
    "ch11.conn.optim",
    "ch11.conn.optim.ctrl.tuned",
    "ch11.W.6",
    "ch11.W.8",
    "ch11.W.9",
)


@pytest.mark.parametrize("name", IMAGES)
def test_claims_on_images_are_judged_in_both_directions(
    right: xr.Dataset, wrong: xr.Dataset, name: str
) -> None:
    # Breaks if a difference is taken the other way round, or a comparison is left out.
    found = judged(right, name)[name]
    verdicts = arms_of(found)
    if name == "dhand.E4":
        # As written, sharper networks err less; what is planted is flatter and better but at the end.
        assert verdicts.pop("rank correlation of λmax and test error") == "refuted"
    assert set(verdicts.values()) == {"supported"}, verdicts
    against = arms_of(judged(wrong, name)[name])
    if name == "dhand.E4":
        # Of step sizes that err more and more, the one beyond the best errs more as well.
        assert against.pop("test error at η = 0.5 less that at η = 0.1") == "supported"
    assert set(against.values()) == {"refuted"}, against


def test_flatness_needs_the_other_sign_and_one_training_loss(
    right: xr.Dataset, wrong: xr.Dataset
) -> None:
    # Breaks if the control has the sign of the published correlation, or lanes that missed the loss count.
    found = judged(right, "dhand.E4.ctrl.sign", "dhand.E4.ctrl.matched")
    assert arms_of(found["dhand.E4.ctrl.sign"])["over all step sizes"] == "supported"
    matched = found["dhand.E4.ctrl.matched"]
    assert matched.verdict == "supported"
    assert matched.effect == pytest.approx(-0.5)
    assert "not reached in every seed at η = 0.001" in matched.reason
    assert judged(wrong, "dhand.E4.ctrl.matched")["dhand.E4.ctrl.matched"].verdict == "refuted"
    few = planted(lambda lane: {"reached": lane.values["step_size"] > 0.01})
    undecided = judged(few, "dhand.E4.ctrl.matched")["dhand.E4.ctrl.matched"]
    assert undecided.verdict == "not-decided"
    assert "steps.max_epochs" in undecided.reason


def test_optimisers_are_judged_in_both_directions(right: xr.Dataset) -> None:
    # Breaks if an epoch is counted from another place, or the tuned order is that at the stated steps.
    names = ("ch11.C.12", "ch11.C.12.ctrl.tuned", "ch11.C.12.ctrl.momentum")
    found = judged(planted(published, "mnist"), *names)
    for name in names:
        assert set(arms_of(found[name]).values()) == {"supported"}, (name, arms_of(found[name]))
    assert found["ch11.C.12"].effect == pytest.approx(0.0, abs=0.5)  # |35 − 35| epochs
    other = judged(planted(opposite, "mnist"), *names)
    verdicts = arms_of(other["ch11.C.12"])
    assert {
        verdicts.pop(f"test accuracy of {name} as published") for name in (SGD, MOMENTUM, ADAM)
    } == {"refuted"}
    assert set(verdicts.values()) == {"refuted"}, verdicts
    assert other["ch11.C.12.ctrl.tuned"].verdict == "refuted"
    assert other["ch11.C.12.ctrl.tuned"].details[f"{ADAM}: chosen factors"] == [0.1]
    assert other["ch11.C.12.ctrl.momentum"].verdict == "refuted"
    elsewhere = judged(right, "ch11.C.12")["ch11.C.12"]
    assert elsewhere.verdict == "not-decided"
    assert "mnist.yaml" in elsewhere.reason


def test_long_training_is_asked_where_its_best_epoch_lies(
    right: xr.Dataset, wrong: xr.Dataset
) -> None:
    names = ("ch11.W.9.ctrl.decay", "ch11.W.9.ctrl.second")
    found, other = judged(right, *names), judged(wrong, *names)
    assert {found[name].verdict for name in names} == {"supported"}
    assert other["ch11.W.9.ctrl.second"].verdict == "refuted"
    apart = planted(
        lambda lane: {
            "test_loss": lambda e: abs(e - (100 if lane.tags["variant"] == CONSTANT else 300))
        }
    )
    assert judged(apart, names[0])[names[0]].verdict == "refuted"


def test_on_other_data_published_numbers_are_not_asked() -> None:
    digits = planted(published, "digits")
    asked = {"dhand.E4", "ch11.C.12", "ch11.conn.optim", "ch11.W.6", "ch11.W.8", "ch11.W.9"}
    findings = {finding.id: finding for finding in evaluate(CLAIMS, digits)}
    for name in asked:
        assert findings[name].verdict == "not-decided"
        assert "needs" in findings[name].reason
    for name in ("dhand.E4.ctrl.sign", "ch11.C.12.ctrl.tuned", "ch11.conn.optim.ctrl.tuned"):
        assert findings[name].verdict != "not-decided"


@pytest.mark.parametrize(
    "arms", [["optimisers"], ["steps"], ["steps", "matched"], ["tuning"], ["variants"], ["decay"], ["long"]]
)  # fmt: skip
def test_some_arms_alone_leave_the_others_undecided(arms: list[str]) -> None:
    # Breaks if a rule, a table or a figure takes rows for granted that were not run.
    result = planted(published, settings={"arms": arms})
    findings = {finding.id: finding.verdict for finding in evaluate(CLAIMS, result)}
    own = {
        "optimisers": {"ch11.C.12.ctrl.tuned", "ch11.C.12.ctrl.momentum"},
        "steps": {"dhand.E4", "dhand.E4.ctrl.sign"}, "matched": {"dhand.E4.ctrl.matched"},
        "tuning": {"ch11.conn.optim", "ch11.conn.optim.ctrl.tuned"}, "variants": {"ch11.W.6"},
        "decay": {"ch11.W.8"}, "long": {"ch11.W.9", "ch11.W.9.ctrl.decay", "ch11.W.9.ctrl.second"},
    }  # fmt: skip
    decided = {name for name, verdict in findings.items() if verdict != "not-decided"}
    assert decided == set().union(*(own[arm] for arm in arms))
    assert STUDY.tables(result)
    for drawing in STUDY.drawings:
        if drawing.when(result):
            drawing.draw(result)


def test_choices_are_those_of_least_validation_error() -> None:
    # Breaks if a choice looks at test errors, at other seeds, or takes what diverged.
    def world(lane: Lane) -> dict[str, Any]:
        factor = lane.tags["factor"]
        lost = lane.tags["arm"] == "optimisers" and factor == 10 and lane.seed < 3
        return {
            "valid": 90.0 + 3 * float(factor), "valid_loss": 1.0, "test": 50 + 10 * float(factor) / 3,
            "diverged": lost,
        }  # fmt: skip

    result = planted(world, settings={"arms": ["optimisers"], "optimisers": {
        "widths": [3], "epochs": 4, "factors": [0.1, 1, 2.5]}})  # fmt: skip
    factors = whole_factors(result, "optimisers", MOMENTUM)
    np.testing.assert_array_equal(factors, [0.1, 1, 2.5])
    np.testing.assert_array_equal(whole_factors(result, "optimisers", SGD), [0.1, 1, 2.5])
    picked = chosen(result, "optimisers", MOMENTUM, ("log_test_error",), factors)
    np.testing.assert_array_equal(picked["factor"], [2.5] * SEEDS)
    np.testing.assert_allclose(picked["log_test_error"], [1 - (50 + 25 / 3) / 100] * SEEDS)
    result["diverged"][(result["factor"] == 2.5) & (result["seed"] == 1)] = True
    picked = chosen(result, "optimisers", MOMENTUM, ("log_test_error",), factors)
    assert picked["factor"][1] == 1
    tied = result.copy(deep=True)
    tied["log_valid_error"][:] = 0.1
    tied["log_valid_loss"] = tied["log_valid_loss"] + tied["factor"]
    assert set(chosen(tied, "optimisers", ADAM, (), factors)["factor"]) == {0.1}


def test_epochs_and_turns_are_those_by_hand() -> None:
    curves = np.array([[0.0, 50, 96, 94], [0, 1, 2, 3], [np.nan, 99, 99, 99]])
    found = first_epoch(curves, np.array([0, 1, 2, 5]), 95)
    np.testing.assert_array_equal(found, [2, np.inf, np.nan])
    wave = np.tile(
        np.r_[np.full(5, 30.0), np.full(5, 10.0), np.full(5, 20.0), np.full(5, 5.0)], (4, 1)
    )
    rise, fall = turns(wave)
    np.testing.assert_allclose(rise, 10)
    np.testing.assert_allclose(fall, 15)
    falling = np.tile(np.linspace(30, 5, 20), (3, 1))
    rise, fall = turns(falling)
    assert (np.minimum(rise, fall) <= 0).all()
    assert np.isnan(turns(wave[:2])[0]).all()


def test_differences_of_accuracy_hold_the_test_sets_error(right: xr.Dataset) -> None:
    # Breaks if per cent and shares are mixed, or four accuracies count as two.
    same = np.full(SEEDS, 80.0)
    two = accuracy_gap(right, "decay", [same], [same], 0.0).estimate(0.95)
    four = accuracy_gap(right, "decay", [same, same], [same, same], 0.0).estimate(0.95)
    expected = 1.961 * 100 * np.sqrt(2 * 0.8 * 0.2 / 9999)
    assert two.high == pytest.approx(expected, rel=1e-3)
    assert four.high == pytest.approx(expected * np.sqrt(2), rel=1e-3)


def scripts(train: float, test: float, norm: float, memory: dict[str, float]) -> xr.Dataset:
    """A result of the scripts, whose every draw ends alike but for a little noise."""
    rng = np.random.default_rng(0)

    def noisy(shape: tuple[int, ...], value: Any, rows: slice) -> np.ndarray:
        whole = np.full((3 * SEEDS, *shape), np.nan)
        whole[rows] = value + 1e-4 * rng.standard_normal((SEEDS, *shape))
        return whole

    first, second, third = (slice(k * SEEDS, (k + 1) * SEEDS) for k in range(3))
    way = ("script_way", "script_optimiser")
    shape = (len(WAYS), len(OPTIMISERS))
    labels = np.asarray([memory["random"], memory["true"]])
    return xr.Dataset(
        {
            "script_train": (("lane", *way, "script_epoch"), noisy((*shape, 2), train, first)),
            "script_test": (("lane", *way), noisy(shape, test, first)),
            "script_converged": (("lane", *way), noisy(shape, float(train > 0.95), first)),
            "script_norm": (("lane", *way), noisy(shape, norm, first)),
            "memory_train": (("lane", "memory_labels", "memory_epoch"),
                             noisy((2, 2), np.asarray([memory["start"], memory["fit"]]), second)),
            "memory_test": (("lane", "memory_labels"), noisy((2,), labels, second)),
            "memory_trained_train": (("lane", "memory_labels"), noisy((2,), memory["fit"], second)),
            "memory_trained_test": (("lane", "memory_labels"), noisy((2,), labels, second)),
            "start_parameters": ("lane", noisy((), memory.get("parameters", 11_173_962.0), third)),
            "start_norm": ("lane", noisy((), memory.get("norm", 112.0), third)),
            "start_weight_norm": ("lane", noisy((), 88.0, third)),
            "diverged": ("lane", np.zeros(3 * SEEDS, bool)),
        },
        {
            "arm": ("lane", ["script"] * SEEDS + ["memory"] * SEEDS + ["full-start"] * SEEDS),
            "seed": ("lane", [*range(SEEDS)] * 3), "script_way": list(WAYS),
            "script_optimiser": list(OPTIMISERS), "script_epoch": [0.0, 1.0],
            "memory_labels": list(LABELS), "memory_epoch": [0, 150],
        },
    )  # fmt: skip


def test_scripts_are_judged_in_both_directions() -> None:
    # Breaks if chance passes for what is printed, or an accuracy that never moves for one that rises.
    names = (
        "ch11.S.8",
        "ch11.S.8.ctrl.trained",
        "ch11.S.9",
        "ch11.S.9.ctrl.trained",
        "ch11.W.8.ctrl.start",
    )
    said = {
        "random": 0.1, "true": 0.75, "start": 0.1, "fit": 0.9995, "parameters": 35e6, "norm": 0.3,
    }  # fmt: skip
    found = judged(scripts(0.99, 0.9, 8.1, said), *names)
    assert {name: found[name].verdict for name in names} == {
        "ch11.S.8": "supported", "ch11.S.8.ctrl.trained": "conditional", "ch11.S.9": "supported",
        "ch11.S.9.ctrl.trained": "supported", "ch11.W.8.ctrl.start": "supported",
    }  # fmt: skip
    untrained = {"random": 0.1, "true": 0.1, "start": 0.12, "fit": 0.12}
    other = judged(scripts(0.12, 0.1, 0.4, untrained), *names)
    assert other["ch11.S.8"].verdict == "refuted"
    memory = arms_of(other["ch11.S.9"])
    assert memory.pop("random labels: test accuracy is chance") == "supported"
    assert set(memory.values()) == {"refuted"}
    assert other["ch11.W.8.ctrl.start"].verdict == "refuted"
    assert arms_of(other["ch11.S.8.ctrl.trained"])["Adam, test accuracy is chance"] == "supported"
