"""What arms of the laziness study sweep, and how quantities scale along it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import Estimate, mean_interval
from implicit_bias.studies import rows
from implicit_bias.studies.laziness.settings import FEWEST
from implicit_bias.studies.rows import along, by_seed, exponents, require

if TYPE_CHECKING:
    import xarray as xr

SWEEPS: dict[str, str] = {"alpha": "alpha", "init-scale": "init_scale", "width": "hidden_width"}
"""Arms that sweep something, and the coordinate that says what."""

LAZIEST = 3
"""Ends of the sweep through which the exponent of the lazy regime is measured: its largest values."""


def values_of(result: xr.Dataset, arm: str) -> np.ndarray:
    """Return what an arm sweeps, ascending; empty where it was not run."""
    return rows.values_of(result, arm, SWEEPS[arm])


def of_arm(result: xr.Dataset, arm: str, name: str, value: float | None = None) -> np.ndarray:
    """Return a quantity of an arm by seed, shape (seeds, …); NaN for lanes that diverged or are missing.

    Args:
        result: The study's result.
        arm: The arm.
        name: The variable.
        value: Of what the arm sweeps.
    """
    return by_seed(result, arm, name, **({} if value is None else {SWEEPS[arm]: value}))


def swept(result: xr.Dataset, arm: str, name: str) -> np.ndarray:
    """Return a quantity along an arm's sweep, shape (seeds, values)."""
    return along(result, arm, name, SWEEPS[arm])


def predicted(result: xr.Dataset, name: str, predictor: str) -> np.ndarray:
    """Return what a kernel leaves by seed."""
    return by_seed(result, "kernels", name, predictor=predictor)


def slope(
    result: xr.Dataset, arm: str, name: str, level: float, last: int | None = None
) -> Estimate:
    """Estimate the mean exponent over seeds along a sweep, or along its largest values.

    Raises:
        NotDecidable: The arm was not run, has too few values, or fewer than two seeds have an exponent.
    """
    require(result, arm)
    x, table = values_of(result, arm), swept(result, arm, name)
    if last is not None:
        x, table = x[-last:], table[:, -last:]
    if x.size < FEWEST:
        raise NotDecidable(f"arm {arm} has {x.size} values, and a slope needs {FEWEST}")
    found = exponents(x, table)
    if np.isfinite(found).sum() < 2:
        raise NotDecidable(
            f"{name} of arm {arm}: {np.isfinite(found).sum()} seed(s) have a positive value all along, and "
            "2 are needed"
        )
    return mean_interval(found, level)
