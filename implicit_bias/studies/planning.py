"""What studies share that train along a sweep: when lanes are evaluated, and how many are planned for."""

from __future__ import annotations

import numpy as np

PLANNED_SEEDS = 5
"""Lanes of one setting as widths are cut into programs: the cut must not depend on the number of seeds,
as seeds can be added to a run."""


def log_times(updates: int, probes: int) -> tuple[int, ...]:
    """Return updates at which lanes are evaluated: 0, and evenly spaced in log time.

    Args:
        updates: The last one.
        probes: How many there are from 1 on; fewer are returned where they round to the same update.
    """
    at = np.geomspace(1, updates, probes).round().astype(int)
    return (0, *sorted({int(update) for update in at}))
