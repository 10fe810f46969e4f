"""The runner: stages, experiments, extension, parameters kept, and reports."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from implicit_bias.errors import UserError
from implicit_bias.results import lane_store, store
from implicit_bias.studies import finished as finished_runs
from implicit_bias.studies import runner
from implicit_bias.studies.base import Study, Trials
from implicit_bias.studies.record import How
from implicit_bias.training.measurement import Measurer
from tests.studies.runs import run_small

pytestmark = pytest.mark.usefixtures("_same_code")


# One run


# Breaks if a run leaves out a file, keeps working files, or returns something else than it saved.
def test_what_a_run_leaves(small: Study, whole: xr.Dataset, tmp_path: Path) -> None:
    run = run_small(small, tmp_path / "out")
    assert not run.already_done
    assert run.out == tmp_path / "out"
    assert run.result.identical(whole)
    assert store.load(run.out).identical(run.result)
    assert [finding.id for finding in run.presented.findings] == ["small.count"]
    assert all(path.is_file() for path in run.presented.files)
    left = {path.name for path in run.out.iterdir()}
    assert {"results.nc", "run.json", "plan.json", "claims.json", "report.html"} <= left
    kinds = {path.name.split("-")[0] for path in (run.out / "lanes").iterdir()}
    assert kinds == {"trained", "measured", "trial"}
    record = json.loads((run.out / "run.json").read_text())
    assert (record["complete"], record["seeds"], record["shard"]) == (True, 2, None)
    # How long it took stands beside the result, not in it.
    timing = store.load_timing(run.out)
    parts = {
        "wall_seconds",
        "train_search",
        "train_arms",
        "measure_arms",
        "try_between",
        "try_exact",
    }
    assert set(timing.data_vars) == parts
    # What a notebook shows of it.
    shown = f"Run({str(run.out)!r}, {whole.sizes['lane']} lanes, {run.presented!r})"
    assert repr(run) == shown


# Breaks if a later stage does not see an earlier one's results, sees another seed's, or if two arms
# that ask for one run pay twice. Oracle: the choice made again here, from the logs.
def test_stages_feed_later_ones(whole: xr.Dataset) -> None:
    search = whole.isel(lane=np.flatnonzero(whole["stage"].values == "search"))
    for arm in ("chosen", "again"):
        lanes = whole.isel(lane=np.flatnonzero(whole["arm"].values == arm))
        assert lanes["seed"].values.tolist() == [0, 1]
        for seed, step_size in zip(lanes["seed"].values, lanes["step_size"].values, strict=True):
            rows = search.isel(lane=np.flatnonzero(search["seed"].values == seed))
            least = int(rows["log_valid_loss"].values[:, 0].argmin())
            assert step_size == rows["step_size"].values[least]
    one, other = (
        whole.isel(lane=np.flatnonzero(whole["arm"].values == arm)).drop_vars(["arm", "lane_id"])
        for arm in ("chosen", "again")
    )
    assert one.identical(other)


# Breaks if diverged lanes or lanes that are not to be measured hold numbers, or others do not.
def test_what_is_measured(whole: xr.Dataset) -> None:
    should = (whole["stage"].values == "arms") & (whole["arm"].values != "hot")
    np.testing.assert_array_equal(np.isfinite(whole["moved"].values), should)
    np.testing.assert_array_equal(np.isfinite(whole["norms"].values).all(axis=1), should)
    np.testing.assert_array_equal(whole["diverged"].values, whole["arm"].values == "hot")
    path = whole["log_path"].where(whole["arm"] == "chosen", drop=True).values
    assert (path[:, 0] == 0).all()
    assert (np.diff(path, axis=1) > 0).all()
    assert whole["log_path"].attrs["units"] == "parameter"
    np.testing.assert_array_equal(whole["reached_target"].values, whole["arm"].values == "target")
    assert whole["layer"].values.tolist() == ["first", "second"]


# Breaks if an experiment sees lanes of another seed, other parameters than the last, or lanes that did not
# begin as training began them; or if rows of lanes and of other experiments hold its numbers.
def test_what_is_tried(small: Study, whole: xr.Dataset, tmp_path: Path) -> None:
    between, exact = (whole["stage"].values == name for name in ("between", "exact"))
    assert whole["seed"].values[between].tolist() == whole["seed"].values[exact].tolist() == [0, 1]
    assert (whole["arm"].values[between | exact] == whole["stage"].values[between | exact]).all()
    np.testing.assert_array_equal(np.isfinite(whole["apart"].values).all(axis=1), between)
    np.testing.assert_array_equal(np.isfinite(whole["third"].values), exact)
    assert whole["third"].dtype == np.float64
    np.testing.assert_array_equal(whole["third"].values[exact], [0, 1 / 3])
    np.testing.assert_array_equal(whole["same_start"].values[between], [1, 1])
    assert np.isnan(whole["step_size"].values[between]).all()
    assert (whole["updates_budget"].values[between] == 0).all()
    run = run_small(small, tmp_path, settings={"keep_params": True}).result
    for seed in (0, 1):
        one, other = (
            lane_store.load_params(tmp_path, str(run["lane_id"].values[row]))
            for arm in ("chosen", "target")
            for row in np.flatnonzero((run["arm"].values == arm) & (run["seed"].values == seed))
        )
        expected = [
            np.sqrt(sum(np.sum((one[layer][k] - other[layer][k]) ** 2) for k in one[layer]))
            for layer in ("layer_0", "layer_1")
        ]
        found = run["apart"].values[np.flatnonzero(between)[seed]]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


# Breaks if an experiment is tried on lanes that diverged, or what it then lacks passes for numbers.
def test_an_experiment_with_a_diverged_lane(small: Study, tmp_path: Path) -> None:
    between = small.stages[2].experiment(None, None)

    class Hot(type(between)):
        def partners(self, lanes: Any) -> Any:
            by_arm = {lane.tags["arm"]: lane for lane in lanes}
            return {"one": by_arm["chosen"], "other": by_arm["hot"]}

    for compiled in (True, False):
        stages = (*small.stages[:2], Trials("between", lambda *_, c=compiled: Hot(c)))
        study = dataclasses.replace(small, stages=stages)
        rows = run_small(study, tmp_path / str(compiled), 1).result
        tried = rows.isel(lane=np.flatnonzero(rows["stage"].values == "between"))
        assert tried["diverged"].values.all()
        assert np.isnan(tried["apart"].values).all()


# Breaks if a study without training needs a plan or a lane, or its seeds and shards behave otherwise.
def test_a_study_of_experiments_alone(small: Study, tmp_path: Path) -> None:
    study = dataclasses.replace(small, stages=small.stages[3:], measurement=None, probe=None)
    run = run_small(study, tmp_path / "one", 3)
    assert run.result["third"].values.tolist() == [0, 1 / 3, 2 / 3]
    assert "updates" not in run.result
    assert "nothing is trained" in runner.plan_study(study, small.settings()).describe()
    folders = [tmp_path / f"shard {index}" for index in (1, 2)]
    for index, folder in enumerate(folders, start=1):
        run_small(study, folder, 3, shard=(index, 2))
    merged = finished_runs.merge(folders, tmp_path / "merged").result
    assert merged.sortby("seed").identical(run.result)


# Breaks if a shared lane is trained or measured for each arm that names it.
def test_shared_lanes_run_once(
    small: Study, tmp_path: Path, counted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []
    measure = Measurer.__call__

    def counting(self: Any, lanes: Any, *rest: Any, **options: Any) -> Any:
        measured.append(len(lanes))
        return measure(self, lanes, *rest, **options)

    monkeypatch.setattr(Measurer, "__call__", counting)
    result = run_small(small, tmp_path).result
    assert (result["updates_budget"].values > 0).sum() == 12
    assert len(counted.lanes) == 10
    assert sum(measured) == 6


# Breaks if the plan counts lanes that an earlier stage must choose first, or computes something.
def test_plan_study(small: Study, counted: Any) -> None:
    plan = runner.plan_study(small, small.settings(seeds=3), How(memory=10**8))
    assert plan.n_lanes == 3 * 2 + 3 * 2
    assert plan.memory == 10**8
    assert counted.lanes == []


# Breaks if a notebook that runs a study in a thread of its own gets a signal handler's error.
def test_in_a_thread(small: Study, whole: xr.Dataset, tmp_path: Path) -> None:
    found: list[xr.Dataset] = []
    thread = threading.Thread(
        target=lambda: found.append(run_small(small, tmp_path / "out").result)
    )
    thread.start()
    thread.join()
    assert found[0].identical(whole)


# Again, and more


# Breaks if a finished run is trained again, or more seeds change or repeat what is there. Oracle: the
# same seeds in one go.
def test_more_seeds_and_fewer(
    small: Study, whole: xr.Dataset, tmp_path: Path, counted: Any
) -> None:
    first = run_small(small, tmp_path, 1).result
    assert set(first["seed"].values) == {0}
    counted.clear()
    grown = run_small(small, tmp_path, 2)
    assert not grown.already_done
    assert grown.result.identical(whole)
    assert {lane.seed for lane in counted.lanes} == {1}
    assert len(counted.lanes) == 5
    counted.clear()
    for seeds in (2, 1):
        again = run_small(small, tmp_path, seeds)
        assert again.already_done
        assert again.result.identical(whole)
    assert counted.lanes == []


# Breaks if a result that a user removed (as the message on an altered one says) is missed for ever,
# or is made by training again.
def test_a_removed_result_is_put_together_again(
    small: Study, whole: xr.Dataset, tmp_path: Path, counted: Any
) -> None:
    run_small(small, tmp_path)
    (tmp_path / "results.nc").unlink()
    counted.clear()
    assert run_small(small, tmp_path).result.identical(whole)
    assert counted.lanes == []


# Breaks if what is kept are not the final parameters, or a user who asks for them after a finished run
# is told that it is done. Oracle: the network written out in NumPy.
def test_parameters_kept(small: Study, whole: xr.Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_small(small, out)
    ids = dict(zip(whole["arm"].values, whole["lane_id"].values, strict=True))
    with pytest.raises(UserError, match="keep_params=true"):
        lane_store.load_params(out, ids["chosen"])
    kept = run_small(small, out, settings={"keep_params": True})
    assert kept.result.drop_attrs().identical(whole.drop_attrs())
    settings = small.settings()
    dataset = settings.data.load()
    for arm in ("search", "chosen", "target"):
        row = kept.result.isel(lane=np.flatnonzero(whole["lane_id"].values == ids[arm])[0])
        first, second = (
            layer for _, layer in sorted(lane_store.load_params(out, ids[arm]).items())
        )
        hidden = np.maximum(dataset.x_test @ first["weight"].T + first["bias"], 0)
        outputs = hidden @ second["weight"].T + second["bias"]
        outputs = outputs - outputs.max(axis=1, keepdims=True)
        chances = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
        loss = -np.log(chances[np.arange(dataset.n_test), dataset.y_test]).mean()
        last = {"search": 0, "chosen": 2, "target": None}[arm]
        if last is not None:
            np.testing.assert_allclose(row["log_test_loss"].values[last], loss, rtol=1e-5)
        else:  # its last log is at the start; its measurement is at the end
            norm = np.sqrt(sum((leaf**2).sum() for leaf in first.values()))
            np.testing.assert_allclose(row["norms"].values[0], norm, rtol=1e-5)
    assert run_small(small, out, settings={"keep_params": True}).already_done
    with pytest.raises(UserError, match="keeps no parameters"):
        lane_store.load_params(out, "nonsense")


# Breaks if a report reads a folder without a result, or does not write what is missing.
def test_report(small: Study, tmp_path: Path) -> None:
    run = run_small(small, tmp_path / "out")
    claims = (run.out / "claims.json").read_bytes()
    (run.out / "claims.json").unlink()
    again = finished_runs.report(run.out)
    assert again.already_done
    assert again.presented.findings == run.presented.findings
    assert (run.out / "claims.json").read_bytes() == claims
    with pytest.raises(UserError, match="no result"):
        finished_runs.report(tmp_path)
