"""What is a result and what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from implicit_bias.results import store
from tests.results.store.samples import result


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


def test_padding_needs_a_spare_value() -> None:
    # Breaks if counts are padded with a number that could be a count.
    with pytest.raises(ValueError, match="uint32 has no value"):
        store.padding(np.uint32)
