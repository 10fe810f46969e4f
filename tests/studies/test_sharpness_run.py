"""The sharpness study: a whole run, and settings that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.results import claims as claims_module
from implicit_bias.studies import runner
from implicit_bias.studies.sharpness import STUDY, arms
from implicit_bias.studies.sharpness.measure import SWEEPS
from implicit_bias.studies.sharpness.points import FOUND
from implicit_bias.studies.sharpness.settings import SharpnessSettings


def test_a_run_leaves_tables_verdicts_and_figures(tmp_path: Path) -> None:
    # Breaks if the study's parts do not fit together.
    settings = SharpnessSettings.model_validate(
        {
            "seeds": 2, "epochs": 2, "model": {"widths": [3]}, "data": {"n_train": 24, "n_test": 30},
            "batch_sizes": [4, 12], "step_sizes": [0.05, 0.1],
            "matched": {"target_loss": 2.2, "max_epochs": 60},
            "alphas": [10.0], "scales": [2.0, 10.0],
            "radii": {sweep.name: [0.1] for sweep in SWEEPS},
            "measuring": {"steps": 2, "draws": 2, "top": 2, "trace_probes": 2, "density_probes": 2,
                          "density_depth": 4, "max_products": 300},
            "keskar": {"arms": ["matched-large-step"], "subspace": 5, "iterations": 2, "epsilons": [1e-3]},
        }
    )  # fmt: skip
    done = runner.run(STUDY, settings, tmp_path / "out", scale="custom")
    entries = {
        entry["id"]: entry for entry in claims_module.to_json(done.presented.findings, STUDY.claims)
    }
    assert len(entries) == 20
    assert entries["dhand.def-6.1"]["verdict"] == "supported"
    assert entries["ch11.B.11"]["verdict"] == "conditional"
    assert entries["ch11.A.15"]["verdict"] == "supported"
    verdicts = {entry["verdict"] for entry in entries.values()}
    assert "not-decided" not in verdicts
    assert len(done.presented.tables) == 5
    table = done.presented.tables[1]
    invariant = {row[0].split(" (")[0]: row[-1] for row in table.rows}
    assert invariant["λmax"] == invariant["Keskar φ"] == "no"
    assert invariant["Fisher–Rao norm"] == invariant["adaptive worst case L2"] == "yes"
    for name in ("rescaling", "rise", "spectrum", "test-error"):
        assert (done.out / "figures" / f"{name}.png").is_file()
    found = done.result.isel(lane=done.result["stage"].values == "arms")
    assert found["point"].values[0] == FOUND
    # Networks of one seed are not all rewritten alike.
    assert len(np.unique(found["drawn_point"].values)) > 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"batch_sizes": (100, 10)}, "increasing"),
        ({"step_sizes": (0.5, 0.1)}, "increasing"),
        ({"model": {"activation": "tanh"}}, "relu and identity"),
        ({"model": {"widths": ()}}, "needs a hidden one"),
        ({"alphas": (1.0, 2.0)}, "other than 1"),
        ({"scales": (2.0, 2.0)}, "each once"),
        ({"stretch": 1.0}, "another factor"),
        ({"radii": {"worst_l2": (0.2, 0.1)}}, "increasing"),
        ({"radii": {"worst_l2": (0.1,)}}, "as many"),
        ({"keskar": {"arms": ("tuned",)}}, "there is no 'tuned'"),
        ({"keskar": {"arms": ("matched-small-step",) * 2}}, "each once"),
    ],
)
def test_bad_settings_are_refused(changes: dict, told: str) -> None:
    # Breaks if a mistake shows only after a run.
    with pytest.raises(ValueError, match=told):
        SharpnessSettings.model_validate(changes)


def test_what_does_not_fit_the_data_is_refused() -> None:
    # Breaks if the subspace or a batch is not checked against the data.
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)).astype(np.float32), np.arange(20, dtype=np.int32) % 2
    dataset = Dataset("toy", "classification", 2, x, y, x, y)
    settings = SharpnessSettings.model_validate(
        {"data": {"n_train": 20}, "model": {"widths": [2]}, "keskar": {"subspace": 15}}
    )
    # (3 + 1) · 2 + (2 + 1) · 2 = 14 parameters.
    with pytest.raises(UserError, match="14 parameters"):
        arms.keskar(settings, dataset)
    with pytest.raises(UserError, match=r"batch_sizes is .10, 150."):
        arms.lanes(settings, dataset, None)
