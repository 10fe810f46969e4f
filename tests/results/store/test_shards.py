"""Shards put together, in any order, or refused."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from implicit_bias.errors import UserError
from implicit_bias.results import store
from tests.results.store.samples import PROVENANCE, result


def test_combine_any_order(tmp_path: Path) -> None:
    # Breaks if the shards' order or sizes show in the merged result, on the disk included.
    whole = result(list(range(6)))
    shards = [result([4, 0]), result([3]), result([]), result([5, 1, 2])]
    for number, shard in enumerate(shards):
        store.save(shard, tmp_path / f"{number}.nc")
    loaded = [store.load(tmp_path / f"{number}.nc") for number in range(4)]
    for order in itertools.permutations(loaded):
        merged = store.combine(order)
        xr.testing.assert_identical(merged, whole)
    store.save(merged, tmp_path / "merged.nc")
    assert store.load(tmp_path / "merged.nc").identical(whole)
    xr.testing.assert_identical(store.combine([result([2, 0, 1, 3])]), result())


def test_combine_by_other_coordinates() -> None:
    # Breaks if the key's first coordinate is not the first to sort by, or a pair counts as repeated
    # when only one of its coordinates is.
    merged = store.combine([result([3, 0]), result([2, 1])], key=("arm", "seed"))
    assert merged["arm"].values.tolist() == ["equal epochs"] * 2 + ["tuned"] * 2
    assert merged["seed"].values.tolist() == [0, 2, 1, 3]


def test_combine_pads_logs() -> None:
    # Breaks if a shard whose lanes all have fewer probes changes dtypes or shifts values.
    short = result([1, 3], probes=2)
    merged = store.combine([short, result([0, 2])])
    xr.testing.assert_identical(merged, result())
    assert merged["step"].dtype == np.int32


def test_combine_keeps_differing_provenance() -> None:
    # Breaks if a machine's record is lost, or if merging in two goes differs from merging in one.
    shards = []
    for lane, cpu in enumerate("ABA"):
        shard = result([lane])
        shard.attrs["provenance"] = json.dumps(PROVENANCE | {"cpu": cpu}, sort_keys=True)
        shards.append(shard)
    at_once = store.combine(shards)
    assert [r["cpu"] for r in store.provenance(at_once)["merged"]] == ["A", "B"]
    stepwise = store.combine([shards[2], store.combine(shards[1::-1])])
    xr.testing.assert_identical(stepwise, at_once)


def change_provenance(**changes: Any) -> xr.Dataset:
    other = result([9])
    other.attrs["provenance"] = json.dumps(PROVENANCE | changes)
    return other


def change_wall(dtype: type = np.float64, units: str = "seconds") -> xr.Dataset:
    other = result([9])
    return other.assign(wall=("lane", other["wall"].values.astype(dtype), {"units": units}))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda: result([1, 9]), "1 lanes are in more than one result, e.g. lane_id=a1"),
        (lambda: result([9], seeds=5), r"differ in settings \(seeds: 4 and 5\)"),
        (lambda: result([9]).assign_attrs(study="x"), r"differ in study \('demo' and 'x'\)"),
        (lambda: result([9]).assign_attrs(schema_version=2), "differ in schema_version"),
        (lambda: change_provenance(data_checksum="other"), "differ in data_checksum"),
        (lambda: change_provenance(precision={}), "differ in precision"),
        (lambda: result([9]).drop_vars("loss"), "only one has loss"),
        (lambda: result([9]).assign_coords(radius=[1.0, 2.0]), "differ in 'radius'"),
        (lambda: result([9]).assign(curvature_chunk=((), 1, {"units": "1"})), "curvature_chunk"),
        (lambda: change_wall(dtype=np.float32), "differ in 'wall'"),
        (lambda: change_wall(units="minutes"), "differ in 'wall'"),
    ],
)
def test_combine_refuses(other: Any, said: str) -> None:
    # Breaks if what is not one sweep is merged without a word.
    with pytest.raises(UserError, match=said):
        store.combine([result(), other()])
    with pytest.raises(UserError, match="result"):
        store.combine([other(), result()])


def test_combine_nothing() -> None:
    # Breaks if an empty list gives an empty result.
    with pytest.raises(UserError, match="nothing to combine"):
        store.combine([])
