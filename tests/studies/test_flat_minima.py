"""The flat-minima study: what is trained, what is refused, and a tiny run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.results import claims as claims_module
from implicit_bias.studies import runner
from implicit_bias.studies.flat_minima import STUDY
from implicit_bias.studies.flat_minima.arms import ARMS, TUNING
from implicit_bias.studies.flat_minima.experiments import guessed, measurement, poisoned
from implicit_bias.studies.flat_minima.lanes import arm_lanes, derive, tuning_lanes
from implicit_bias.studies.flat_minima.settings import FlatMinimaSettings
from tests.studies.flat_minima_toy import settings, toy


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Eighty images of five pixels."""
    return toy()


# What is trained


def tuned_result(settings: FlatMinimaSettings, dataset: Dataset) -> xr.Dataset:
    """A tuning stage: the larger step size is better at the small batch size, and worse at the other."""
    lanes = tuning_lanes(settings, dataset, None)
    size = np.array([lane.recipe.batch_size for lane in lanes])
    step = np.array([lane.settings["step_size"] for lane in lanes])
    error = np.where(size == 8, 1 - step, step)
    return xr.Dataset(
        dict.fromkeys(("log_valid_error", "log_valid_loss"), (("lane", "probe"), error[:, None])),
        {
            "arm": ("lane", np.array([lane.tags["arm"] for lane in lanes], object)),
            "seed": ("lane", np.array([lane.seed for lane in lanes])),
            "batch_size": ("lane", size), "step_size": ("lane", step),
        },
    )  # fmt: skip


def test_arms_take_their_batch_size_s_step_size(dataset: Dataset) -> None:
    # Breaks if a step size of the other batch size is used, a strength is left out, or seeds are not paired.
    own = settings(arms=list(ARMS), tasks={"few": 10}, spectrum={"large_batch_size": 40})
    assert {lane.tags["arm"] for lane in tuning_lanes(own, dataset, None)} == {TUNING}
    lanes = arm_lanes(own, dataset, tuned_result(own, dataset))
    by_arm: dict[str, list] = {}
    for lane in lanes:
        by_arm.setdefault(str(lane.tags["arm"]), []).append(lane)
    assert set(by_arm) == set(ARMS)
    for name in ("sgd", "decay", "sam", "trace-penalty", "sgd-noisy", "sgd-long"):
        for lane in by_arm[name]:
            expected = 0.05 if lane.recipe.batch_size == 8 else 0.01
            assert lane.settings["step_size"] == expected, name
    assert {lane.settings["rho"] for lane in by_arm["sam"]} == {0.05, 0.1}
    assert {lane.settings["momentum"] for lane in by_arm["fixed"]} == {0.0}
    assert by_arm["sgd-long"][0].budget.updates == by_arm["sgd"][0].budget.updates
    assert by_arm["sam-few"][0].recipe.n_train == 10
    assert by_arm["sam-few"][0].budget.updates == by_arm["sam"][0].budget.updates
    assert len(by_arm["momentum"]) == 2 * len(own.spectrum.epochs)
    assert by_arm["momentum-deep"][0].recipe.model.describe()["widths"] == [100, 100, 100]
    assert all(lane.settings["label_noise"] == 0.2 for lane in by_arm["sam-noisy"])


def test_one_lane_of_each_seed_is_compared() -> None:
    # Breaks if test data choose, a diverged lane is chosen, or lanes that are not compared enter.
    rows = [("sam", 0, 0.1, True), ("sam", 0, 0.05, True), ("sam", 0, np.nan, True),
            ("momentum", 0, 0.01, False), ("momentum", 0, 0.2, True), ("sam", 1, 0.3, True)]  # fmt: skip
    result = xr.Dataset(
        {
            "valid_error": ("lane", np.array([row[2] for row in rows])),
            "valid_loss": ("lane", np.array([row[2] for row in rows])),
        },
        {
            "arm": ("lane", np.array([row[0] for row in rows], object)),
            "stage": ("lane", np.array(["arms"] * 6, object)),
            "seed": ("lane", np.array([row[1] for row in rows])),
            "batch_size": ("lane", np.full(6, 8)),
            "compared": ("lane", np.array([row[3] for row in rows])),
        },
    )
    assert derive(result)["chosen"].values.tolist() == [False, True, False, False, True, True]


# The study


def test_a_run_leaves_tables_verdicts_and_figures(tmp_path: Path) -> None:
    # Breaks if the study's parts do not fit together.
    own = settings(arms=["sgd"], data={"n_train": 40, "n_valid": 12, "n_test": 30, "standardise": "none"},
                   measure={**settings().measure.model_dump(), "attacked": 20})  # fmt: skip
    done = runner.run(STUDY, own, tmp_path / "out", scale="custom")
    result = done.result
    # 2 seeds × (2 × 2 of tuning, sgd at two batch sizes, three trials).
    assert result.sizes["lane"] == 2 * (4 + 2 + 3)
    assert int(result["chosen"].sum()) == 2 * 2
    assert result["fgsm_wrong"].shape[1] == 20
    entries = claims_module.to_json(done.presented.findings, STUDY.claims)
    verdicts = {entry["id"]: entry["verdict"] for entry in entries}
    assert len(verdicts) == 7
    assert verdicts["ch11.S.15"] == "refuted"
    assert verdicts["ch11.W.4"] == verdicts["ch11.C.19"] == "not-decided"
    for name in ("flatness", "strength", "spectra", "attacks", "certified"):
        assert (done.out / "figures" / f"{name}.png").is_file()
    assert len(done.presented.tables) == 5


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"arms": ["sgd", "sgd"]}, "name each once"),
        ({"arms": ["sam"]}, "add 'sgd'"),
        ({"arms": ["sgd", "lion"]}, "no 'lion' .known: sgd"),
        ({"small_batch": 20}, "large_batch is 20; choose a larger large one"),
        ({"data": {"n_train": 40, "standardise": "none"}}, "n_valid"),
        ({"data": {"n_train": 40, "n_valid": 12}}, "pixel units"),
        ({"model": {"widths": [4], "activation": "gelu"}}, "certified"),
        ({"measure": {"eps": [0.2]}}, "published_eps"),
        (
            {"measure": {"eigenvalues": 20, "max_products": 20}},
            "max_products is 20 and eigenvalues is 20",
        ),
        ({"spectrum": {"epochs": [5]}}, "published_epochs"),
        ({"search": {"examples": 3}}, "even"),
        ({"search": {"guesses": 2}}, "keep is 8 and guesses is 2"),
        ({"strengths": {"sam": [0.1, 0.1]}}, "name each once"),
    ],
)
def test_bad_settings_are_refused(changes: dict, told: str) -> None:
    # Breaks if a mistake shows only after a run.
    with pytest.raises(ValueError, match=told):
        settings(**changes)


def test_more_examples_than_there_are_is_refused(dataset: Dataset) -> None:
    # Breaks if sizes are not checked against the data before anything is trained.
    with pytest.raises(UserError, match="poison"):
        poisoned(settings(poison={"examples": 70, "extra": 20}), dataset)
    with pytest.raises(UserError, match=r"search\.examples is 80"):
        guessed(settings(search={"examples": 80}), dataset)
    with pytest.raises(UserError, match="attacked is 31"):
        measurement(settings(measure={"attacked": 31}), dataset)
    with pytest.raises(UserError, match="few is 50"):
        measurement(settings(arms=["sgd", "sam-few"], tasks={"few": 50}), dataset)
