"""Exported tables, read back with pandas and pyarrow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from implicit_bias.results import store
from tests.results.store.samples import result


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
