"""What the tests of the data room share: tiny datasets, a private cache, and the real files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from implicit_bias.data import Dataset


@pytest.fixture(autouse=True)
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, so that no test reads or writes the user's."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("IMPLICIT_BIAS_CACHE", str(folder))
    return folder


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    """Arrays of a tiny image dataset, as a user's .npz would hold them."""
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (12, 3, 3), dtype=np.uint8),
        "y_train": np.arange(12, dtype=np.int64) % 3,
        "x_test": rng.integers(0, 256, (6, 3, 3), dtype=np.uint8),
        "y_test": np.arange(6, dtype=np.int64) % 3,
    }


@pytest.fixture
def tiny() -> Dataset:
    """A small classification dataset with a validation set and one constant feature."""
    rng = np.random.default_rng(1)
    parts = {}
    for part, n in (("train", 20), ("test", 8), ("valid", 6)):
        x = rng.normal(3, 2, (n, 4)).astype(np.float32)
        x[:, 2] = 0.1
        parts[f"x_{part}"], parts[f"y_{part}"] = x, (np.arange(n) % 3).astype(np.int32)
    return Dataset(name="tiny", task="classification", n_outputs=3, **parts)


@pytest.fixture
def real_data() -> Path:
    """The folder of real files, where this machine has one."""
    folder = os.environ.get("IMPLICIT_BIAS_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("IMPLICIT_BIAS_TEST_DATA does not name a folder with the real data files")
    return Path(folder)
