"""Shards of a run, and how they are merged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr

from implicit_bias.errors import UserError
from implicit_bias.results import lane_store, provenance, store
from implicit_bias.studies import finished as finished_runs
from implicit_bias.studies.base import Study
from tests.studies.runs import run_small, tree

pytestmark = pytest.mark.usefixtures("_same_code")


def sorted_by_cell(result: xr.Dataset) -> list[int]:
    """Seeds of a result, those of each stage and arm in order."""
    cells: dict[tuple[str, str], list[int]] = {}
    rows = zip(result["stage"].values, result["arm"].values, result["seed"].values, strict=True)
    for stage, arm, seed in rows:
        cells.setdefault((stage, arm), []).append(int(seed))
    return [seed for seeds in cells.values() for seed in sorted(seeds)]


# Breaks if a shard's numbers depend on what the other shards run, or merging loses or mixes up lanes.
def test_shards(small: Study, whole: xr.Dataset, tmp_path: Path, counted: Any) -> None:
    keep = {"keep_params": True}
    folders = [tmp_path / "one", tmp_path / "two"]
    for index, folder in enumerate(folders, start=1):
        counted.clear()
        run_small(small, folder, shard=(index, 2), settings=keep)
        assert {lane.seed for lane in counted.lanes} == {index - 1}
        assert len(counted.lanes) == 5
    merged = finished_runs.merge(folders, tmp_path / "merged")
    assert store.load(tmp_path / "merged").identical(merged.result)
    # Lanes stand as in one run: by stage, arm and batch size, and there by seed.
    np.testing.assert_array_equal(merged.result["seed"].values, sorted_by_cell(whole))
    assert merged.note == ""
    expected = whole.assign_attrs(settings=merged.result.attrs["settings"])
    assert merged.result.sortby("lane_id").identical(expected.sortby("lane_id"))
    arms = [list(dict.fromkeys(result["arm"].values)) for result in (merged.result, whole)]
    assert arms[0][0] == arms[1][0] == "search"
    assert arms[0] == arms[1]
    backwards = finished_runs.merge(folders[::-1], tmp_path / "backwards").result
    assert backwards.sortby("lane_id").identical(merged.result.sortby("lane_id"))
    # The merged folder is a run like any other.
    trained = merged.result["updates_budget"].values > 0
    lane = str(merged.result["lane_id"].values[trained][-1])
    for mine, theirs in zip(
        jax.tree.leaves(lane_store.load_params(tmp_path / "merged", lane)),
        jax.tree.leaves(lane_store.load_params(folders[1], lane)),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, theirs)
    counted.clear()
    assert run_small(small, tmp_path / "merged", settings=keep).already_done
    assert finished_runs.report(tmp_path / "merged").result.identical(merged.result)
    more = run_small(small, tmp_path / "merged", 3, settings=keep)
    assert {lane.seed for lane in counted.lanes} == {2}
    assert len(np.unique(more.result["seed"])) == 3


# Breaks if a merge of some of the shards passes for the whole sweep.
def test_a_missing_shard_is_made_up_for(
    small: Study, whole: xr.Dataset, tmp_path: Path, counted: Any
) -> None:
    run_small(small, tmp_path / "one", shard=(1, 2))
    part = finished_runs.merge([tmp_path / "one"], tmp_path / "merged")
    assert set(part.result["seed"].values) == {0}
    assert part.note == "1 of 2 seeds: shards are missing"
    counted.clear()
    done = run_small(small, tmp_path / "merged")
    assert not done.already_done
    assert {lane.seed for lane in counted.lanes} == {1}
    assert done.result.identical(whole)


# Breaks if shards from two machines cannot be merged, or more than their provenance then differs from
# that of one run.
def test_shards_from_two_machines(
    small: Study, whole: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    collect = provenance.collect
    for index, folder in enumerate(folders, start=1):
        with monkeypatch.context() as patch:
            patch.setattr(
                provenance, "collect", lambda c, i=index: {**collect(c), "cpu": f"machine {i}"}
            )
            run_small(small, folder, shard=(index, 2))
    merged = finished_runs.merge(folders, tmp_path / "merged").result
    assert [one["cpu"] for one in store.provenance(merged)["merged"]] == ["machine 1", "machine 2"]
    differing = {name for name in whole.attrs if whole.attrs[name] != merged.attrs[name]}
    assert differing == {"provenance"}
    merged.attrs = whole.attrs
    assert merged.sortby("lane_id").identical(whole.sortby("lane_id"))


# Breaks if what does not belong together is merged, or a merge writes over something.
def test_refused_merges(small: Study, tmp_path: Path) -> None:
    run_small(small, tmp_path / "one", shard=(1, 2))
    run_small(small, tmp_path / "other", shard=(2, 2), settings={"updates": 6})
    before = tree(tmp_path)
    for folders, out, told in (
        ([], "merged", "name the folders"),
        (["one", "absent"], "merged", "no result"),
        (["one", "one"], "merged", "more than one"),
        (["one", "other"], "merged", "updates: 12 and 6"),
        (["one"], "other", "not an empty folder"),
    ):
        with pytest.raises(UserError, match=told):
            finished_runs.merge([tmp_path / name for name in folders], tmp_path / out)
    assert tree(tmp_path) == before
