"""Claims about the networks of the early-stopping study, judged on planted results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from implicit_bias import studies
from implicit_bias.results.claims import Finding, evaluate
from implicit_bias.studies.early_stopping.networks import NETWORK_CLAIMS, network_tables
from implicit_bias.studies.early_stopping.networks.sine import FRACTIONS, RUNS

SEEDS = 6

AS_PUBLISHED: dict[str, Any] = {
    "data": "mnist",
    "decay": {0.0: (0.35, 100, 96.5, 45), 1e-4: (0.28, 99, 97.5, 30), 1e-2: (0.45, 88, 95.8, 8)},
    "gaps": {(32, 0.0): 0.1, (128, 0.0): 0.05, (256, 0.0): 0.04, (256, 0.01): 0.02},
    "early": 0.02, "overfit": (0.35, 0.55, 0.01, 0.30, 60),
}  # fmt: skip


def planted(**changes: Any) -> xr.Dataset:
    """A result of lanes at epochs 0, 50, 200, with a little noise over seeds."""
    given, rng = {**AS_PUBLISHED, **changes}, np.random.default_rng(0)
    rows: list[dict[str, Any]] = []

    def add(arm: str, batch: int, penalty: float, data: str, **logs: list[float]) -> None:
        for seed in range(SEEDS):
            noisy = {k: np.asarray(v) + 1e-3 * rng.standard_normal(3) for k, v in logs.items()}
            rows.append(
                {
                    "arm": arm,
                    "seed": seed,
                    "batch": batch,
                    "penalty": penalty,
                    "data": data,
                    **noisy,
                }
            )

    def share(per_cent: float) -> list[float]:
        return [0.9, 1 - per_cent / 100, 1 - per_cent / 100]

    for penalty, (loss, train, test, norm) in given["decay"].items():
        add("decay", 32, penalty, given["data"], train_loss=[2, 0.1, 0.1], test_loss=[2, loss, loss],
            train_error=share(train), test_error=share(test), weight_norm=[5, norm, norm])  # fmt: skip
    for (batch, penalty), gap in given["gaps"].items():
        # At the training loss with which large batches end, .1, the small batch has the early gap.
        small = batch == 32
        train = [2, 0.1, 0.01] if small else [2, 0.5, 0.1]
        gaps = [0, given["early"] if small else gap, gap]
        add("gap", batch, penalty, given["data"], train_loss=train,
            test_loss=[t + g for t, g in zip(train, gaps, strict=True)], train_error=share(100),
            test_error=share(97), weight_norm=[5, 5, 5])  # fmt: skip
    add("gap", 128, 0.01, given["data"], train_loss=[2, 1, 1], test_loss=[2, 1, 1], train_error=share(90),
        test_error=share(90), weight_norm=[5, 5, 5])  # fmt: skip
    add("gap", 32, 0.01, given["data"], train_loss=[2, 1, 1], test_loss=[2, 1, 1], train_error=share(90),
        test_error=share(90), weight_norm=[5, 5, 5])  # fmt: skip
    least, last, middle, end, accuracy = given["overfit"]
    add("overfit", 32, 0.0, given.get("images", "cifar10"), train_loss=[2.3, least - middle, last - end],
        test_loss=[2.3, least, last], train_error=share(99), test_error=share(accuracy),
        weight_norm=[5, 5, 5])  # fmt: skip
    names = ("train_loss", "test_loss", "train_error", "test_error", "weight_norm")
    table = {
        f"log_{name}": (("lane", "probe"), np.stack([row[name] for row in rows])) for name in names
    }
    steps = np.tile([0.0, 500.0, 2000.0], (len(rows), 1))
    empty = np.full_like(steps, np.nan)

    def column(name: str) -> tuple[str, list[Any]]:
        return "lane", [row[name] for row in rows]

    return xr.Dataset(
        {
            **table, "log_step": (("lane", "probe"), steps), "log_valid_loss": (("lane", "probe"), empty),
            "log_valid_error": (("lane", "probe"), empty), "diverged": ("lane", np.zeros(len(rows), bool)),
        },
        {
            "arm": column("arm"), "seed": column("seed"), "batch_size": column("batch"),
            "penalty": column("penalty"), "data_name": column("data"),
            "epoch_updates": ("lane", np.full(len(rows), 10.0)),
            "tests": ("lane", np.full(len(rows), 10_000.0)),
            "inputs": ("lane", np.full(len(rows), 3072.0)),
        },
    )  # fmt: skip


def judged(result: xr.Dataset, *ids: str) -> dict[str, Finding]:
    """Findings of the claims about lanes, by the end of their id."""
    chosen = [claim for claim in NETWORK_CLAIMS if claim.id.removeprefix("ch11.") in ids]
    return {one.id.removeprefix("ch11."): one for one in evaluate(chosen, result)}


LANES = ("C.9", "W.10", "W.10.same-loss", "C.10", "C.10.bound")


def arms(finding: Finding) -> dict[str, str]:
    return {name: one["verdict"] for name, one in finding.details["arms"].items()}


def test_what_is_published_is_supported_where_it_is_found() -> None:
    # Breaks if a rule reads another lane, a boundary or a direction turns, or the gap has the other sign.
    found = judged(planted(), *LANES)
    assert found["C.9"].verdict == "supported"
    assert found["W.10"].verdict == "supported"
    assert found["W.10.same-loss"].verdict == "refuted"
    assert found["C.10"].verdict == "supported"
    assert found["C.10.bound"].verdict == "supported"


def test_other_curves_are_refuted() -> None:
    flat = dict.fromkeys((0.0, 0.0001, 0.01), (1.0, 100, 94.0, 20))
    same = dict.fromkeys(AS_PUBLISHED["gaps"], 0.3)
    found = judged(
        planted(decay=flat, gaps=same, early=0.3, overfit=(1.8, 4.0, 0.8, 3.9, 32)), *LANES
    )
    assert found["C.9"].verdict == "refuted"
    assert found["W.10"].verdict == "refuted"
    overfit = arms(found["C.10"])
    assert overfit.pop("rise of test loss after its least") == "supported"
    assert overfit.pop("epoch of the least test loss") == "supported"
    assert set(overfit.values()) == {"refuted"}
    assert judged(planted(early=0.3), "W.10.same-loss")["W.10.same-loss"].verdict == "supported"


def test_a_loss_too_small_for_its_error_breaks_the_bound() -> None:
    found = judged(planted(overfit=(0.35, 0.55, 0.01, 0.3, 30)), "C.10.bound")
    assert found["C.10.bound"].verdict == "refuted"
    assert found["C.10.bound"].effect == pytest.approx(0.7 * np.log(2) - 0.35, abs=5e-3)


def test_on_other_data_published_numbers_are_not_asked() -> None:
    found = judged(planted(data="digits", images="digits"), *LANES)
    assert "test accuracy at λ = 1e-4" not in arms(found["C.9"])
    assert "mnist.yaml" in found["C.9"].reason
    assert found["C.10"].verdict == "not-decided"
    assert "cifar10.yaml" in found["C.10"].reason
    missing = judged(
        planted(decay={0.0: (1, 1, 1, 1), 1e-3: (1, 1, 1, 1), 1e-2: (1, 1, 1, 1)}), "C.9"
    )
    assert missing["C.9"].verdict == "not-decided"
    assert "0.0001" in missing["C.9"].reason


@pytest.mark.parametrize("arm", ["decay", "gap", "overfit"])
def test_one_arm_alone_leaves_the_others_undecided(arm: str) -> None:
    # Breaks if a rule takes the rows of an arm that was not run for granted.
    whole = planted()
    found = judged(whole.isel(lane=whole["arm"].values == arm), *LANES)
    own = {"decay": {"C.9"}, "gap": {"W.10", "W.10.same-loss"}, "overfit": {"C.10"}}
    for others in own.keys() - {arm}:
        assert {found[name].verdict for name in own[others]} == {"not-decided"}
    assert "not-decided" not in {found[name].verdict for name in own[arm]}


def test_the_study_is_judged_without_its_trials() -> None:
    # Breaks if a rule, a table or a figure takes what ``exact: false`` leaves out for granted.
    whole, result = studies.get("early-stopping"), planted()
    decided = {one.id for one in evaluate(whole.claims, result) if one.verdict != "not-decided"}
    assert decided == {f"ch11.{name}" for name in LANES}
    drawn = {drawing.name for drawing in whole.drawings if drawing.when(result)}
    assert drawn == {"decay", "gaps", "overfit", "classes"}
    assert len(whole.tables(result)) == len(network_tables(result))
    assert {stage.name for stage in whole.wanted(whole.settings(exact=False))} == {"networks"}


def sines(
    stated: dict[str, float], longer: float, rise: float, end: float, few: float
) -> xr.Dataset:
    """A result of the sine's experiments."""
    rng = np.random.default_rng(0)
    n = 2 * SEEDS
    first, second = slice(None, SEEDS), slice(SEEDS, None)

    def noisy(values: Any, rows: slice) -> np.ndarray:
        values = np.asarray(values, float)
        whole = np.full((n, *values.shape), np.nan)
        whole[rows] = values * (1 + 1e-3 * rng.standard_normal((SEEDS, *[1] * values.ndim)))
        return whole

    logs = len(FRACTIONS)
    table = {
        name: np.stack(
            [
                np.full(logs, stated[name]), np.full(logs, stated[f"{name}_penalised"]),
                np.full(logs, np.nan),
                np.full(logs, longer if name == "train" else stated[name]),
            ]
        )
        for name in ("train", "test", "inner", "outer")
    }  # fmt: skip
    table["time"] = np.tile([[10.0], [10.0], [10.0], [1000.0]], (1, logs))
    epochs = np.full((1, 1, 201, 3), 0.018)
    epochs[..., 1] += np.abs(np.arange(201) - 60) * 1e-4
    epochs[0, 0, 200] = [end - 0.015, 0.04, end]
    epochs[0, 0, 60, 2] = end - rise
    return xr.Dataset(
        {
            **{f"sine_{k}": (("lane", "sine_run", "sine_log"), noisy(v, first)) for k, v in table.items()},
            "sine_fitted": ("lane", noisy(1e-29, first)), "sine_printed": ("lane", noisy(2.0, first)),
            "curve_loss": (
                ("lane", "curve_batch", "curve_step", "curve_epoch", "curve_part"), noisy(epochs, second)
            ),
            "few_loss": (("lane", "few_update", "curve_part"), noisy(np.ones((2, 3)), second)),
            "few_rise": ("lane", noisy(few, second)), "few_best": ("lane", noisy(50.0, second)),
            "curve_ceiling": ("lane", noisy(0.0025, second)), "diverged": ("lane", np.zeros(n, bool)),
        },
        {
            "arm": ("lane", ["sine"] * SEEDS + ["validated"] * SEEDS), "seed": ("lane", [*range(SEEDS)] * 2),
            "sine_run": list(RUNS), "sine_log": list(FRACTIONS), "curve_batch": [32], "curve_step": [0.1],
            "curve_epoch": list(range(201)), "curve_part": ["train", "valid", "test"], "few_update": [0, 9],
        },
    )  # fmt: skip


def test_sines_are_judged_in_both_directions() -> None:
    # Breaks if one quantity off its range is outvoted by others, or a penalty's ratio is upside down.
    names = ("C.4", "C.4.longer", "C.4.capacity", "C.4.gradients", "C.8", "C.8.few")
    stated = {"train": 0.0065, "test": 0.0125, "inner": 2.5, "outer": 0.4}
    less = {"train": 0.0065, "test": 0.0105, "inner": 2.0, "outer": 0.3}
    right = {**stated, **{f"{name}_penalised": value for name, value in less.items()}}
    found = judged(sines(right, 0.005, 0.017, 0.035, 1.9), *names)
    verdicts = {name: one.verdict for name, one in found.items()}
    assert verdicts == {
        "C.4": "supported", "C.4.longer": "supported", "C.4.capacity": "refuted", "C.4.gradients": "refuted",
        "C.8": "supported", "C.8.few": "supported",
    }  # fmt: skip
    off = {**right, "outer": 0.7, "inner_penalised": 2.5, "test_penalised": 0.0125}
    wrong = judged(sines(off, 0.08, 0.0, 0.018, 1.0), *names)
    assert wrong["C.4"].verdict == "refuted"
    curve = arms(wrong["C.8"])
    assert curve.pop("batch 32, step size 0.1: test − training loss at the end") == "supported"
    assert set(curve.values()) == {"refuted"}
    assert wrong["C.4.longer"].verdict == wrong["C.8.few"].verdict == "refuted"
    diverging = sines(right, 0.005, 0.017, 0.035, 1.9)
    diverging["curve_loss"][SEEDS : SEEDS + 4] = np.nan
    undecided = judged(diverging, "C.8")["C.8"]
    assert undecided.verdict == "not-decided"
    assert "step_sizes" in undecided.reason
