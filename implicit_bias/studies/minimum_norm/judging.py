"""What the rules are made of: values of a stage by the seeds that it was run with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.studies.rows import by_seed

if TYPE_CHECKING:
    import xarray as xr


def seen(result: xr.Dataset, stage: str, name: str, **at: Any) -> np.ndarray:
    """Return what a stage left by seed, (seeds, …), without the seeds that it was not run with.

    Raises:
        NotDecidable: The stage was not run.
    """
    table = by_seed(result, stage, name, **at)
    return table[np.isfinite(table).reshape(len(table), -1).any(axis=1)]


def each(result: xr.Dataset, stage: str, name: str, dim: str, **at: Any) -> dict[str, float]:
    """Return means over seeds and all else along a dimension, for details."""
    return {
        str(label): float(np.nanmean(seen(result, stage, name, **{dim: label}, **at)))
        for label in result[dim].values
    }


def most(result: xr.Dataset, stage: str, name: str, **at: Any) -> float:
    """Return the largest value over seeds and all else, for details."""
    return float(np.nanmax(seen(result, stage, name, **at)))
