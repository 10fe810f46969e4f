"""Runs of the normalization study by seed, and what was followed of SGD."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.studies import rows
from implicit_bias.studies.normalization.arms import TUNED
from implicit_bias.studies.rows import require, seeds_of

if TYPE_CHECKING:
    import xarray as xr


def norms_of(result: xr.Dataset, arm: str = TUNED) -> list[str]:
    """Return the normalisations of an arm in the order they were run."""
    chosen = result["arm"].values == arm
    return list(dict.fromkeys(str(norm) for norm in result["norm"].values[chosen]))


def of_norm(result: xr.Dataset, arm: str, norm: str, name: str) -> np.ndarray:
    """Return a quantity by seed, (seeds, …); NaN for runs that diverged or are missing.

    Raises:
        NotDecidable: The arm was not run.
    """
    require(result, arm)
    chosen = (
        (result["arm"].values == arm) & (result["norm"].values == norm) & ~result["diverged"].values
    )
    values, seeds = result[name].values, seeds_of(result)
    found = np.full((seeds.size, *values.shape[1:]), np.nan)
    found[np.searchsorted(seeds, result["seed"].values[chosen])] = values[chosen]
    return found


def at_target(result: xr.Dataset, arm: str, norm: str, name: str) -> np.ndarray:
    """Return a quantity by seed of the runs that met the target loss; NaN for others."""
    values = of_norm(result, arm, norm, name)
    there = of_norm(result, arm, norm, "reached_target") == 1
    return np.where(there.reshape(-1, *[1] * (values.ndim - 1)), values, np.nan)


def steepest(result: xr.Dataset, arm: str, norm: str, which: str) -> np.ndarray:
    """Return the largest gradient-Lipschitz ratio along the path by seed, after the start."""
    steps, values = (
        of_norm(result, arm, norm, f"log_{part}") for part in ("step", f"lipschitz_{which}")
    )
    later = np.where((steps > 0) & np.isfinite(values), values, -np.inf).max(axis=1)
    return np.where(np.isfinite(later), later, np.nan)


def networks_of(result: xr.Dataset) -> list[str]:
    """Return the small networks that were measured exactly.

    Raises:
        NotDecidable: None was.
    """
    require(result, "invariance")
    return [str(name) for name in result["norm_network"].values]


def exact(result: xr.Dataset, name: str, network: str, case: str | None = None) -> np.ndarray:
    """Return an exact error of a small network by seed.

    Raises:
        NotDecidable: It was not measured.
    """
    at = {} if case is None else {"norm_case": case}
    return rows.by_seed(result, "invariance", name, norm_network=network, **at)


def sgd(result: xr.Dataset, name: str, norm: str, decay: float) -> np.ndarray:
    """Return what was followed of SGD by seed, (seeds, …).

    Raises:
        NotDecidable: It was not run.
    """
    return rows.by_seed(result, "equilibrium", name, sgd_norm=norm, decay=decay)
