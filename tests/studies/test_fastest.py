"""Which step size of a grid is the fastest."""

from __future__ import annotations

import numpy as np
import xarray as xr

from implicit_bias.studies.fastest import fastest_steps

NAN = np.nan


def test_the_fastest_step_by_hand() -> None:
    """Breaks if another arm or a diverged run is chosen, a run that meets no target wins over one that does,
    or equal runs are told apart by their order."""
    rows = [  # arm, seed, step size, diverged, met, updates, last logged loss
        ("grid", 0, 0.4, False, True, 20, 0.2),
        ("grid", 0, 0.1, False, True, 20, 0.2),  # as fast with the smaller step
        ("grid", 0, 0.9, True, True, 5, 0.0),
        ("grid", 0, 0.2, False, False, 10, 0.0),  # stopped sooner without the target
        ("late", 0, 0.7, False, True, 1, 0.0),
        ("grid", 1, 0.1, False, False, 40, 0.6),
        ("grid", 1, 0.2, False, False, 40, 0.3),
        ("grid", 2, 0.1, True, True, 1, 0.0),
    ]
    arm, seed, step, diverged, met, updates, last = zip(*rows, strict=True)
    result = xr.Dataset(
        {
            "diverged": ("lane", list(diverged)),
            "reached_target": ("lane", list(met)),
            "updates": ("lane", list(updates)),
            "log_train_loss": (("lane", "probe"), [[2.0, loss, NAN] for loss in last]),
        },
        {"arm": ("lane", list(arm)), "step_size": ("lane", list(step))},
    )
    assert fastest_steps(result, "grid", lambda row: seed[row]) == {0: 0.1, 1: 0.2}
