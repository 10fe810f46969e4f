"""Rounds: runs made from the weights of those before, whole, killed and continued, sharded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from implicit_bias import studies
from implicit_bias.results import store
from implicit_bias.studies import finished as finished_runs
from implicit_bias.studies import runner, trainer
from tests.studies.runs import run_small

pytestmark = pytest.mark.usefixtures("_same_code")

STUDY = studies.get(f"{Path(__file__).with_name('rounds_study.py')}:STUDY")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """Two rounds of two seeds, in one go; as loaded from the disk."""
    out = tmp_path_factory.mktemp("rounds")
    with pytest.MonkeyPatch.context() as patch:
        git = {"commit": None, "dirty": None}
        patch.setattr("implicit_bias.results.provenance.git_state", lambda folder: git)
        run_small(STUDY, out)
    return store.load(out)


def test_each_round_begins_where_the_one_before_ended(whole: xr.Dataset) -> None:
    # Breaks if a round gets the weights of another lane, or of its start, or its mask is lost.
    assert whole["round"].values.tolist() == [0, 0, 1, 1]
    loss = whole["log_train_loss"].values
    norms = whole["norms"].values
    assert np.isfinite(loss).all()
    for seed in (0, 1):
        rows = np.flatnonzero(whole["seed"].values == seed)
        # Half of the weights are gone, so the loss where a round begins is another, but not that of a
        # fresh network; and the norm of what is left stays below what it was with them and their growth.
        assert (loss[rows[1:], 0] < loss[rows[0], 0]).all()
        assert len(set(norms[rows, 0])) == 2
    # Masked: what a round moves is what its mask keeps.
    assert (whole["moved"].values[2:] > 0).all()


def test_a_killed_run_goes_on_to_the_same_result(
    whole: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Breaks if the weights a round was made from are lost or dropped before the last round is made.
    train_chunk, calls = trainer.train_chunk, []

    def dying(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train_chunk(*args, **options)

    monkeypatch.setattr(trainer, "train_chunk", dying)
    with pytest.raises(KeyboardInterrupt):
        run_small(STUDY, tmp_path / "killed")
    run_small(STUDY, tmp_path / "killed", resume=True)
    assert len(calls) == 3
    assert store.load(tmp_path / "killed").identical(whole)


def test_shards_of_rounds_are_the_whole(whole: xr.Dataset, tmp_path: Path) -> None:
    # Breaks if a round asks for the weights of a seed that another shard has.
    folders = [tmp_path / "one", tmp_path / "two"]
    for index, folder in enumerate(folders, start=1):
        run_small(STUDY, folder, shard=(index, 2))
    merged = finished_runs.merge(folders, tmp_path / "merged").result
    assert merged.sortby("lane_id").identical(whole.sortby("lane_id"))


def test_a_plan_shows_the_first_round() -> None:
    # Breaks if planning asks for weights that are not there yet.
    plan = runner.plan_study(STUDY, STUDY.settings())
    assert len(list(plan.lanes())) == 2
