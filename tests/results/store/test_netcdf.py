"""Results on the disk: exact, whole or refused."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np
import pytest
import xarray as xr

from implicit_bias.errors import UserError
from implicit_bias.results import checkpoint, store
from tests.results.store.samples import PROVENANCE, TIMING, result


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


def test_same_bytes(tmp_path: Path) -> None:
    # Breaks if the time of saving, or what a loaded copy remembers of its file, gets into the file.
    import time

    store.save(result(), tmp_path / "a.nc", TIMING)
    time.sleep(1.01)  # HDF5 counts whole seconds
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
