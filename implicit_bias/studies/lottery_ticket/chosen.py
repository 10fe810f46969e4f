"""The update at which a run would be stopped: that of least validation loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

CHOSEN: dict[str, tuple[str, str]] = {
    "stop_update": ("updates", "update of least validation loss among the evaluations"),
    "stop_valid_loss": ("nats", "least validation loss among the evaluations"),
    "stop_train_error": ("fraction", "training error at that update"),
    "stop_valid_error": ("fraction", "validation error at that update"),
    "stop_test_error": ("fraction", "test error at that update"),
    "stop_at_end": (
        "1",
        "whether that update is the run's last, so that it may not be the least of all",
    ),
}
"""What is added of every lane, with its unit and meaning."""


def derive(result: xr.Dataset) -> xr.Dataset:
    """Add each lane's update of least validation loss, the first of equals, and its errors there.

    Diverged lanes, and rows that trained nothing, have none (NaN).
    """
    if "log_valid_loss" not in result:
        return result
    loss, step = result["log_valid_loss"].values, result["log_step"].values
    found = {name: np.full(loss.shape[0], np.nan) for name in CHOSEN}
    for row in np.flatnonzero(~result["diverged"].values):
        there = np.flatnonzero(np.isfinite(loss[row]))
        if not there.size:
            continue
        best = there[np.argmin(loss[row, there])]
        found["stop_update"][row] = step[row, best]
        found["stop_valid_loss"][row] = loss[row, best]
        found["stop_at_end"][row] = best == there[-1]
        for name in ("train_error", "valid_error", "test_error"):
            found[f"stop_{name}"][row] = result[f"log_{name}"].values[row, best]
    return result.assign(
        {
            name: ("lane", values, {"units": CHOSEN[name][0], "long_name": CHOSEN[name][1]})
            for name, values in found.items()
        }
    )
