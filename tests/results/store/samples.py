"""A small result, and the timing beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from implicit_bias.results import store

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
