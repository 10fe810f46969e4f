"""A made-up sweep, for the tests of this folder."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import xarray as xr

ARMS = ("epochs-fixed", "epochs-linear", "updates-fixed", "tuned", "noise")
SIZES = (16, 64, 256, 1024)
SEEDS = 6


@pytest.fixture(scope="module")
def result() -> xr.Dataset:
    """A made-up sweep: arms × batch sizes × seeds, where 2 of 6 lanes of one cell diverged."""
    rng = np.random.default_rng(0)
    rows = list(itertools.product(ARMS, SIZES, range(SEEDS)))
    arm, size, seed = (np.array(column) for column in zip(*rows, strict=True))
    slope = 0.2 + 0.2 * np.array([ARMS.index(name) for name in arm])
    doublings = np.log2(size / 16)
    error = 0.04 + 0.003 * slope * doublings + rng.normal(0, 0.003, len(rows))
    sharpness = np.exp(1.5 + 0.2 * slope * doublings + rng.normal(0, 0.2, len(rows)))
    diverged = (arm == "epochs-linear") & (size == 1024) & (seed < 2)
    error[diverged], sharpness[diverged] = np.nan, 1e30
    steps = np.broadcast_to(np.arange(0, 101, 5.0), (len(rows), 21))
    loss = 2.3 * np.exp(-steps / 20) + 0.05 + 0.01 * rng.random(steps.shape)
    radii = np.array([0.01, 0.03, 0.1, 0.3, 1.0])
    rise = np.minimum(sharpness, 50)[:, None] * radii[None, :] ** 2 / 2
    return xr.Dataset(
        {
            "test_error": ("lane", error, {"units": "fraction"}),
            "lambda_max": ("lane", sharpness),
            "diverged": ("lane", diverged),
            "log_step": (("lane", "probe"), steps),
            "log_train_loss": (("lane", "probe"), loss),
            "rise": (("lane", "radius"), rise),
        },
        coords={
            "arm": ("lane", arm),
            "batch_size": ("lane", size),
            "seed": ("lane", seed),
            "radius": radii,
        },
    )
