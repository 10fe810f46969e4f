"""The batch-size study: what it runs, and what it refuses."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from implicit_bias.errors import UserError
from implicit_bias.studies.batch_size import arms
from implicit_bias.studies.batch_size.settings import ARMS, TUNING
from implicit_bias.studies.images import ImageSettings
from tests.studies.batch_size_planted import (
    DATASET,
    N_TEST,
    SEEDS,
    SETTINGS,
    SIZES,
    lanes_by_arm,
    make_row,
    make_settings,
    planted,
    put_together,
)

# What is run


# Breaks if an arm of the table loses a batch size or a seed, or its step size, optimiser, noise or label
# noise. The table is that of the study's documentation, written out.
def test_arms() -> None:
    fixed, root = [0.2, 0.2, 0.2], [0.1, 0.2, 0.4]
    linear, tuned, heavy = [0.05, 0.2, 0.8], [0.5, 0.5, 0.5], [0.05, 0.05, 0.05]
    table = {
        "epochs-fixed": (fixed, {}), "epochs-sqrt": (root, {}), "epochs-linear": (linear, {}),
        "updates-fixed": (fixed, {}), "updates-sqrt": (root, {}), "updates-linear": (linear, {}),
        "injected-noise": ([None, 0.2, 0.2], {"noise_batch_size": 16}),
        "matched-fixed": (fixed, {}),
        "noisy-labels": ([0.2, None, 0.2], {"label_noise": 0.3}),
        "momentum": (heavy, {"momentum": 0.8}),
        "momentum-long": ([0.05, 0.05, None], {"momentum": 0.8}),
        "momentum-matched": (heavy, {"momentum": 0.8}),
        "tuned": (tuned, {}), "matched-tuned": (tuned, {}),
    }  # fmt: skip
    found = lanes_by_arm(SETTINGS)
    assert list(found) == [TUNING, *table]
    assert set(table) == set(ARMS)
    for arm, (step_sizes, special) in table.items():
        for size, step_size in zip(SIZES, step_sizes, strict=True):
            lanes = [lane for lane in found[arm] if lane.recipe.batch_size == size]
            if step_size is None:
                assert lanes == []
                continue
            assert [lane.seed for lane in lanes] == list(range(SEEDS)), arm
            for lane in lanes:
                values = {"label_noise": 0.0, "weight_decay": 0.0, "init_scale": 1.0, **special}
                assert lane.values["step_size"] == pytest.approx(step_size), arm
                assert {name: lane.values[name] for name in values} == values, arm
                assert lane.recipe.gradient_noise == (arm == "injected-noise")
                assert lane.recipe.optimizer.name == (
                    "heavy_ball" if "momentum" in special else "sgd"
                )
                assert ("momentum" in lane.values) == ("momentum" in special)
                assert (lane.recipe.n_train, lane.recipe.n_valid) == (300, 50)
                assert lane.recipe.sampling == "epoch"
                assert lane.recipe.loss.name == "cross_entropy"
    for lane in found[TUNING]:
        assert lane.recipe.optimizer.name == "sgd"
        assert lane.recipe.n_valid == 50
    grid = {(lane.seed, lane.recipe.batch_size, lane.values["step_size"]) for lane in found[TUNING]}
    assert grid == {(s, b, e) for s in range(SEEDS) for b in SIZES for e in (0.1, 0.5, 2.0)}
    # Arms that need no validation data may do without it.
    assert TUNING not in lanes_by_arm(make_settings(arms=("epochs-fixed",)))


# Breaks if a budget is not what its arm says: equal epochs up to the last, smaller batch; equal updates
# really equal, injected noise included; a target loss looked at twice an epoch.
def test_budgets() -> None:
    found = lanes_by_arm(SETTINGS)
    per_epoch = {16: 19, 64: 5, 256: 2}

    def budgets(arm: str) -> dict[int, Any]:
        return {lane.recipe.batch_size: lane.budget for lane in found[arm]}

    for arm in (TUNING, "epochs-fixed", "epochs-sqrt", "epochs-linear", "tuned", "noisy-labels"):
        for size, budget in budgets(arm).items():
            assert (budget.updates, budget.target_loss) == (4 * per_epoch[size], None), arm
    for arm in ("updates-fixed", "updates-sqrt", "updates-linear", "injected-noise"):
        updates = {budget.updates for budget in budgets(arm).values()}
        assert updates == {3 * per_epoch[16]}, arm
    for size, budget in budgets("momentum").items():
        assert budget.updates == 2 * per_epoch[size]
    for size, budget in budgets("momentum-long").items():
        assert budget.updates == 10 * per_epoch[size]
    for arm in ("matched-fixed", "matched-tuned", "momentum-matched"):
        for size, budget in budgets(arm).items():
            every = {16: 10, 64: 2, 256: 1}[size]
            asked = (budget.updates, budget.target_loss, budget.evaluate_every)
            assert asked == (10 * per_epoch[size], 0.5, every), arm
    for lanes in found.values():
        for lane in lanes:
            if lane.budget.target_loss is not None:
                assert lane.probes == (0,)
            else:
                assert lane.probes[-1] == lane.budget.updates
                assert len(lane.probes) <= 5
                assert lane.probes[0] == (0 if lane.tags["arm"] != TUNING else lane.budget.updates)


# Breaks if equal updates may cost more than sixteen times the epochs.
def test_ratio_of_equal_updates_is_capped() -> None:
    for sizes in ((10, 160), (16, 64, 256)):
        assert make_settings(updates={"batch_sizes": sizes}).updates.batch_sizes == sizes
    for sizes in ((10, 161), (161, 10), (1, 300)):
        with pytest.raises(ValueError, match="at most 16 times"):
            make_settings(updates={"batch_sizes": sizes})


# Breaks if what cannot be compared is accepted.
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"arms": ("epochs-fixd",)}, "epochs-fixd"),
        ({"batch_sizes": (64, 64)}, "name each once"),
        ({"momentum": {"batch_sizes": (8, 8)}}, "name each once"),
        ({"data": ImageSettings(n_train=300)}, "data.n_valid is 0 .*validation"),
        ({"curvature": {"filter_radii": ()}}, "filter_radii"),
        ({"curvature": {"radii": (1.0, 1.0)}}, "radii"),
        ({"curvature": {"noise_batches": (16, 16)}}, "noise_batches"),
        ({"arms": ("epochs-fixed", "epochs-fixed")}, "name each once"),
        ({"tuning_step_sizes": (0.1, 0.1)}, "name each once"),
        ({"seeds": 0}, "seeds"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_settings_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make_settings(**changes)


# Breaks if a measurement that cannot be made is found out after training.
@pytest.mark.parametrize(
    ("curvature", "told"),
    [({"examples": 301}, "trains on 300"), ({"probe_set": 1001}, "1000 test")],
)
def test_measurement_refused(curvature: dict[str, int], told: str) -> None:
    with pytest.raises(UserError, match=told):
        arms.endpoint(make_settings(curvature=curvature), DATASET)
    regression = dataclasses.replace(
        DATASET, task="regression", n_outputs=1,
        y_train=DATASET.x_train[:, :1], y_test=DATASET.x_test[:, :1],
    )  # fmt: skip
    with pytest.raises(UserError, match="a regression, but errors are compared"):
        arms.tuning_lanes(SETTINGS, regression, None)


# Breaks if settings do not reach the measurement, or not the data they are for.
def test_endpoint_settings() -> None:
    made = arms.endpoint(
        make_settings(curvature={"examples": 50, "tol": 0.5, "directions": 3}), DATASET
    )
    assert (made.examples, made.n_test, made.tol, made.directions) == (50, N_TEST, 0.5, 3)
    assert arms.endpoint(SETTINGS, DATASET).examples == 300


# Breaks if the tuned step size is not that of the least validation error of its own seed and batch size,
# if a tie is not decided by the validation loss, or a diverged lane (NaN) wins.
def test_tuning() -> None:
    rng = np.random.default_rng(5)
    rows, expected = [], {}
    for lane in arms.tuning_lanes(SETTINGS, DATASET, None):
        key = lane.seed, lane.recipe.batch_size
        error, loss = float(rng.integers(0, 2)) / 10, float(rng.random())
        if lane.values["step_size"] == 2.0 or key == (3, 64):
            error = loss = math.nan
        rows.append(make_row(lane, TUNING, valid_error=error, valid_loss=loss))
        if not math.isnan(error):
            expected[key] = min(
                expected.get(key, (9, 9, 9)), (error, loss, lane.values["step_size"])
            )
    result = put_together(SETTINGS, rows)
    chosen = {key: best[2] for key, best in expected.items()}
    assert len(set(chosen.values())) == 2
    assert arms.tuned_step_sizes(result) == chosen
    lanes = arms.arm_lanes(SETTINGS, DATASET, result)
    for arm in ("tuned", "matched-tuned"):
        found = {(lane.seed, lane.recipe.batch_size): lane.values["step_size"]
                 for lane in lanes if lane.tags["arm"] == arm}  # fmt: skip
        # A seed whose every step size diverged has no tuned lane, instead of a made-up one.
        assert found == chosen
        assert (3, 64) not in found


# Breaks if λ · η forgets that momentum multiplies the step.
def test_derive() -> None:
    result = planted()
    for arm, factor in (("epochs-fixed", 1), ("momentum", 5)):
        lanes = result.isel(lane=np.flatnonzero(result["arm"].values == arm))
        step = factor * lanes["step_size"].values
        np.testing.assert_allclose(lanes["step_over_batch"], step / lanes["batch_size"].values)
        np.testing.assert_allclose(
            lanes["lambda_max_times_step"], step * lanes["lambda_max"].values, rtol=1e-6
        )
