"""A very small batch-size study from settings to report, nothing planted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from implicit_bias.results import store
from implicit_bias.studies import runner
from implicit_bias.studies.batch_size import STUDY
from implicit_bias.studies.batch_size.settings import BatchSizeSettings

SETTINGS = BatchSizeSettings.model_validate(
    {
        "seeds": 2,
        "arms": ("epochs-fixed", "updates-fixed", "injected-noise", "tuned"),
        "data": {"n_train": 30, "n_valid": 10, "n_test": 40},
        "model": {"widths": (3,)},
        "batch_sizes": (8, 16),
        "anchor_batch_size": 8,
        "epochs": 4,
        "updates": {"batch_sizes": (8, 16), "epochs": 4},
        "tuning_step_sizes": (0.05, 0.2),
        "probes": 2,
        "curvature": {
            "directions": 2, "trace_probes": 2, "probe_set": 2, "max_products": 20,
            "noise_batches": (2, 4), "noise_draws": 2,
        },
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> runner.Run:
    return runner.run(STUDY, SETTINGS, tmp_path_factory.mktemp("run") / "out", scale="custom")


def _arm(run: runner.Run, arm: str, size: int) -> xr.Dataset:
    chosen = (run.result["arm"].values == arm) & (run.result["batch_size"].values == size)
    return run.result.isel(lane=np.flatnonzero(chosen)).sortby("seed")


# Breaks if a stage, a measurement or the presentation does not fit the others.
def test_what_it_leaves(run: runner.Run) -> None:
    assert store.load(run.out).identical(run.result)
    written = json.loads((run.out / "claims.json").read_text())
    assert [entry["id"] for entry in written] == [claim.id for claim in STUDY.claims]
    decided = {entry["id"]: entry["verdict"] for entry in written}
    assert decided["ch11.A.2"] == "not-decided"
    for name in ("hparam-table", "errorbars", "arch-report"):
        assert decided[f"johannsen.ctrl.{name}"] == "supported"
    assert decided["ch11.def.gap"] == "supported"
    for name in ("verdicts", *(drawing.name for drawing in STUDY.drawings)):
        assert (run.out / "figures" / f"{name}.png").is_file()
    report = (run.out / "report.html").read_text()
    for text in ("epochs-fixed", "johannsen.hessian", "Largest Hessian eigenvalue"):
        assert text in report


# Breaks if a row's measurement is another lane's: what training logged last must be what was measured.
def test_measurements_belong_to_their_lanes(run: runner.Run) -> None:
    lanes = run.result.isel(lane=np.flatnonzero(run.result["stage"].values == "arms"))
    assert lanes.sizes["lane"] == 2 * (2 + 2 + 1 + 2)
    for name in ("train_loss", "train_error", "valid_loss", "test_loss", "test_error"):
        last = lanes[f"log_{name}"].values[:, -1]
        np.testing.assert_allclose(lanes[name].values, last, rtol=1e-5, err_msg=name)
    wrong = lanes["test_wrong"].mean("test_example").values
    np.testing.assert_allclose(lanes["test_error"].values, wrong, rtol=1e-6)
    assert len(np.unique(lanes["lambda_max"].values)) >= 10


# Breaks if arms do not share the seed's start, equal updates are not, or noise is not injected.
def test_arms_share_what_they_should(run: runner.Run) -> None:
    for seed in (0, 1):
        starts = {
            float(_arm(run, arm, size)["log_train_loss"].values[seed, 0])
            for arm, size in (("epochs-fixed", 8), ("epochs-fixed", 16), ("tuned", 16))
        }
        assert len(starts) == 1
    updates = [
        _arm(run, arm, size)["updates"].values.tolist()
        for arm, size in (("updates-fixed", 8), ("updates-fixed", 16), ("injected-noise", 16))
    ]
    assert updates == 3 * [[16, 16]]
    plain, noisy = (_arm(run, arm, 16) for arm in ("updates-fixed", "injected-noise"))
    assert noisy["noise_batch_size"].values.tolist() == [8, 8]
    assert plain["log_train_loss"].values[0, 0] == noisy["log_train_loss"].values[0, 0]
    assert plain["log_train_loss"].values[0, -1] != noisy["log_train_loss"].values[0, -1]
    # The smallest batch size of equal epochs and of equal updates is one run, in two rows.
    one, same = _arm(run, "epochs-fixed", 8), _arm(run, "updates-fixed", 8)
    np.testing.assert_array_equal(one["lambda_max"].values, same["lambda_max"].values)


# Breaks if the study takes more than the command's plan said.
def test_every_lane_was_planned(run: runner.Run, tmp_path: Path) -> None:
    plan = runner.plan_study(STUDY, SETTINGS)
    unique = {str(name).split(":")[0] for name in run.result["lane_id"].values}
    tuned = run.result["arm"].values == "tuned"
    later = {str(name).split(":")[0] for name in run.result["lane_id"].values[tuned]}
    others = {str(name).split(":")[0] for name in run.result["lane_id"].values[~tuned]}
    assert plan.n_lanes == len(unique - (later - others))
