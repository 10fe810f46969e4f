"""Results on the disk: exact, whole, mergeable, exportable."""

from __future__ import annotations

import errno
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray as xr

from implicit_bias.errors import UserError
from implicit_bias.results import checkpoint, store

PROVENANCE = {"data_checksum": "d", "precision": {"float64_enabled": False}, "cpu": "A"}


def result(
    lanes: list[int] | None = None, *, probes: int = 3, text: type | str = str, **settings: Any
) -> xr.Dataset:
    """A result whose values are functions of the lane's number, with lanes named a0, a1, …."""
    lanes = list(range(4)) if lanes is None else lanes
    number = np.array(lanes, np.int64)
    log = number[:, None] + np.arange(3.0)[None, :]
    log[number % 2 == 1, 2] = np.nan  # odd lanes have two probes only
    step = np.where(np.isnan(log), -1, 10 * np.arange(3)[None, :]).astype(np.int32)
    return store.make(
        {
            "test_error": ("lane", (number / 7).astype(np.float32)),
            "wall": ("lane", number * 1.5),
            "updates": ("lane", number.astype(np.int32)),
            "diverged": ("lane", number == 2),
            "reason": ("lane", np.array([["", "diverged é"][n == 2] for n in lanes], text)),
            "loss": (("lane", "probe"), log[:, :probes]),
            "step": (("lane", "probe"), step[:, :probes]),
            "rise": (("lane", "radius"), np.stack([number * 0.1, number * 0.2], axis=1)),
            "curvature_chunk": ((), np.int64(512)),
        },
        {
            "lane_id": ("lane", np.array([f"a{n}" for n in lanes], text)),
            "seed": ("lane", number.astype(np.uint32)),
            "arm": ("lane", np.array([["equal epochs", "tuned"][n % 2] for n in lanes], text)),
            "batch_size": ("lane", number * 16),
            "matched": ("lane", number > 1),
            "radius": ("radius", [0.5, 1.0]),
        },
        study="demo",
        settings={"seeds": 4, "model": {"widths": [3]}} | settings,
        provenance=PROVENANCE,
        units={
            # xarray would read a unit of time as a date or a duration
            "wall": "seconds",
            "test_error": "1",
            "updates": "updates",
            "loss": "nats",
            "step": "days since 2000-01-01",
            "rise": "nats",
            "curvature_chunk": "1",
        },
    )


TIMING = xr.Dataset({"wall_seconds": ((), 2.5, {"units": "s"})}, attrs={"started": "2026"})


@pytest.mark.parametrize("text", [str, object])
def test_round_trip_is_identical(tmp_path: Path, text: Any) -> None:
    # Breaks if booleans, text (either way of holding it), small integers, NaN, units that look like
    # times, scalars or attributes come back as something else.
    saved = result(text=text)
    store.save(saved, tmp_path / "results.nc", TIMING)
    loaded = store.load(tmp_path / "results.nc")
    xr.testing.assert_identical(loaded, saved)
    for name, variable in saved.variables.items():
        if variable.dtype.kind != "O":
            assert loaded[name].dtype == variable.dtype, name
    assert {name: type(v) for name, v in loaded.attrs.items()} == {
        name: type(v) for name, v in saved.attrs.items()
    }
    xr.testing.assert_identical(store.load_timing(tmp_path / "results.nc"), TIMING)
    xr.testing.assert_identical(store.load(tmp_path), saved)  # the run's folder will do
    assert store.settings(loaded) == {"seeds": 4, "model": {"widths": [3]}}
    assert store.provenance(loaded) == PROVENANCE


def test_no_lanes(tmp_path: Path) -> None:
    # Breaks if a shard without lanes cannot be saved.
    saved = result([])
    store.save(saved, tmp_path / "r.nc")
    xr.testing.assert_identical(store.load(tmp_path / "r.nc"), saved)


def test_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Breaks if the time of saving, or what a loaded copy remembers of its file, gets into the file.
    import time

    later = time.time() + 1e6
    store.save(result(), tmp_path / "a.nc", TIMING)
    monkeypatch.setattr(time, "time", lambda: later)
    store.save(store.load(tmp_path / "a.nc"), tmp_path / "b.nc", TIMING)
    assert (tmp_path / "a.nc").read_bytes() == (tmp_path / "b.nc").read_bytes()


def test_timing_is_no_part_of_the_result(tmp_path: Path) -> None:
    # Breaks if two runs that differ only in how long they took are not identical.
    store.save(result(), tmp_path / "a.nc", TIMING)
    store.save(result(), tmp_path / "b.nc", TIMING * 2)
    assert store.load(tmp_path / "a.nc").identical(store.load(tmp_path / "b.nc"))


def test_others_can_read_it(tmp_path: Path) -> None:
    # Breaks if the file is netCDF for us only.
    store.save(result(), tmp_path / "r.nc", TIMING)
    with h5netcdf.File(tmp_path / "r.nc", "r") as file:
        assert file.attrs["schema_version"] == store.SCHEMA_VERSION
        np.testing.assert_array_equal(file["test_error"][...], result()["test_error"].values)
        assert file["timing"]["wall_seconds"][...] == 2.5


def test_missing(tmp_path: Path) -> None:
    # Breaks if an exception of the layers below reaches the user.
    with pytest.raises(UserError, match=r"there is no result .*results\.nc; run the study first"):
        store.load(tmp_path)
    store.save(result(), tmp_path / "r.nc")
    with pytest.raises(UserError, match="saved without timing"):
        store.load_timing(tmp_path / "r.nc")


def test_truncated(tmp_path: Path) -> None:
    # Breaks if a file cut at any of these places is taken for a result, or crashes.
    path = tmp_path / "results.nc"
    store.save(result(), path, TIMING)
    whole = path.read_bytes()
    end = len(whole) - 40  # of the netCDF file; our digest follows
    for length in [0, 1, 7, 8, 9, 100, *range(500, end, end // 20), end - 1]:
        path.write_bytes(whole[:length])
        for read in (store.load, store.load_timing):
            with pytest.raises(UserError, match=r"results\.nc is truncated"):
                read(path)
    for length in range(end, len(whole)):  # nothing of the result is lost
        path.write_bytes(whole[:length])
        assert store.load(path).identical(result())


def test_altered(tmp_path: Path) -> None:
    # Breaks if a changed byte passes, or is shown to HDF5, which may then never return.
    path = tmp_path / "results.nc"
    store.save(result(), path)
    whole = path.read_bytes()
    for at in np.random.default_rng(0).integers(len(whole) - 40, size=200):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(UserError, match=r"results\.nc was altered; restore it, or delete it"):
            store.load(path)


def test_rewritten_by_another_program(tmp_path: Path) -> None:
    # Breaks if an annotated copy, which has no digest of ours, cannot be read.
    path = tmp_path / "results.nc"
    store.save(result(), path)
    result().assign_attrs(note="checked").to_netcdf(path, engine="h5netcdf")
    assert store.load(path).attrs["note"] == "checked"


def test_wrong_schema(tmp_path: Path) -> None:
    # Breaks if another version's file, or somebody else's, is read as ours.
    path = tmp_path / "r.nc"
    later = result().assign_attrs(schema_version=store.SCHEMA_VERSION + 1)
    store.save(later, path)
    with pytest.raises(UserError, match=r"schema version 2, this package reads 1; update"):
        store.load(path)
    store.save(result().assign_attrs(schema_version=0), path)
    with pytest.raises(UserError, match=r"schema version 0.*run the study again"):
        store.load(path)
    xr.Dataset({"x": ((), 1.0)}).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(UserError, match="netCDF file but not a result"):
        store.load(path)
    lacking = result().drop_vars("lane_id")
    lacking.to_netcdf(path, engine="h5netcdf")
    with pytest.raises(UserError, match="not a whole result"):
        store.load(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.drop_vars("lane_id"), "coordinate lane_id"),
        (
            lambda d: d.assign_coords(lane_id=("lane", [1.0, 2.0, 3.0, 4.0])),
            "whole numbers or text",
        ),
        (lambda d: d.assign_coords(lane_id=("lane", [1, 2, 3, 3])), "differ from lane to lane"),
        (lambda d: d.assign(x=("lane", np.zeros(4))), "'x' has no units"),
        (lambda d: d.assign(x=("lane", np.array([None] * 4))), "dtype object"),
        (lambda d: d.assign(x=("lane", np.zeros(4, complex))), "dtype complex128"),
        (lambda d: d.assign(x=("lane", np.zeros(4, np.float16))), "dtype float16"),
        (lambda d: d.assign(x=("lane", np.zeros(4, "M8[ns]"))), "dtype datetime64"),
        (lambda d: d.assign({"a b": ("lane", np.zeros(4, bool))}), "without spaces"),
        (lambda d: d.assign_attrs(x=[1.0]), "'x' of the dataset is a list"),
        (lambda d: d.assign_attrs(x=True), "'x' of the dataset is a bool"),
        (lambda d: d.drop_attrs().assign_attrs(study="s"), "needs the attribute 'schema_version'"),
    ],
)
def test_what_would_not_come_back_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    # Breaks if a dataset is written that loads as a different one.
    with pytest.raises(ValueError, match=said):
        store.save(change(result()), tmp_path / "r.nc")
    assert list(tmp_path.iterdir()) == []


def test_settings_must_be_json() -> None:
    # Breaks if NaN, which is no JSON, gets into the settings.
    with pytest.raises(ValueError, match="JSON"):
        result(target=float("nan"))


def test_failure_leaves_the_previous_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Breaks if a full disk costs the result that was there, or leaves a temporary file.
    path = tmp_path / "r.nc"
    store.save(result(), path)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "_write_all", fail)
    with pytest.raises(UserError, match=r"save result .*disk full.*previous result is intact"):
        store.save(result([1, 2]), path)
    assert store.load(path).identical(result())
    assert list(tmp_path.iterdir()) == [path]


LIMITED = """
import resource, sys
import numpy as np
from implicit_bias.errors import UserError
from implicit_bias.results import store
n = 20_000
dataset = store.make(
    {"x": ("lane", np.zeros(n))}, {"lane_id": ("lane", np.arange(n))},
    study="s", settings={}, provenance={}, units={"x": "1"},
)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.save(dataset, sys.argv[1])
except UserError as error:
    print(error)
"""


def test_real_write_failure(tmp_path: Path) -> None:
    # Breaks if HDF5 itself meets the full disk: the process then crashes when it ends.
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path / "r.nc"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "file-size limit" in done.stdout
    assert list(tmp_path.iterdir()) == []


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


def test_padding_needs_a_spare_value() -> None:
    # Breaks if counts are padded with a number that could be a count.
    with pytest.raises(ValueError, match="uint32 has no value"):
        store.padding(np.uint32)


def test_csv(tmp_path: Path) -> None:
    # Breaks if a row, a column or a digit is lost, or padding appears as data. Read back with
    # pandas.
    dataset = result()
    files = store.to_csv(dataset, tmp_path / "lanes.csv")
    assert [f.name for f in files] == ["lanes.csv", "lanes_probe.csv", "lanes_radius.csv"]
    lanes = pd.read_csv(files[0], keep_default_na=False)
    assert lanes.columns[0] == "lane_id"
    assert set(lanes.columns) == {
        *("lane_id", "seed", "arm", "batch_size", "matched"),
        *("test_error", "wall", "updates", "diverged", "reason"),
    }
    np.testing.assert_array_equal(
        lanes["test_error"].astype(np.float32), dataset["test_error"].values
    )
    assert lanes["reason"].tolist() == dataset["reason"].values.tolist()
    logs = pd.read_csv(files[1])
    assert len(logs) == 3 + 2 + 3 + 2  # odd lanes have two probes
    one = logs[logs["lane_id"] == "a1"]
    assert one["probe"].tolist() == [0, 1]
    assert one["step"].tolist() == [0, 10]
    assert one["loss"].tolist() == [1.0, 2.0]
    curves = pd.read_csv(files[2], dtype={"rise": str})  # old pandas rounds
    assert curves["radius"].tolist() == [0.5, 1.0] * 4
    np.testing.assert_array_equal(curves["rise"].map(float), dataset["rise"].values.ravel())


def test_a_diverged_probe_is_not_padding(tmp_path: Path) -> None:
    # Breaks if a lane's NaN loss at a real step disappears from the table.
    dataset = result()
    dataset["loss"][0, 1] = np.nan
    logs = pd.read_csv(store.to_csv(dataset, tmp_path / "lanes.csv")[1])
    assert len(logs) == 10
    assert np.isnan(logs["loss"][1])


def test_parquet(tmp_path: Path) -> None:
    # Breaks if dtypes, units or settings are lost. Read back with pyarrow.
    dataset = result()
    files = store.to_parquet(dataset, tmp_path / "lanes.parquet")
    lanes = pq.read_table(files[0])
    frame = lanes.to_pandas()
    for name in ("test_error", "updates", "diverged", "seed", "matched"):
        assert frame[name].dtype == dataset[name].dtype
        np.testing.assert_array_equal(frame[name], dataset[name].values)
    assert frame["arm"].tolist() == dataset["arm"].values.tolist()
    assert lanes.schema.field("wall").metadata == {b"units": b"seconds"}
    assert lanes.schema.metadata[b"settings"].decode() == dataset.attrs["settings"]
    logs = pq.read_table(files[1]).to_pandas()
    assert logs["step"].dtype == np.int32
    assert len(logs) == 10
