"""Rows of a result as tables by seed and what an arm sweeps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import Comparison, Estimate, paired_error_difference

if TYPE_CHECKING:
    import xarray as xr

SWEEPS: dict[str, str] = {
    "width": "hidden_width", "decay": "hidden_width", "members": "hidden_width",
    "samples": "examples", "channels": "hidden_width",
}  # fmt: skip
"""The coordinate that an arm sweeps."""


def seeds_of(result: xr.Dataset) -> np.ndarray:
    """Return all seeds, ascending."""
    return np.unique(result["seed"].values)


def has(result: xr.Dataset, arm: str) -> bool:
    """Say whether an arm, or a stage of trials, left something."""
    rows = result["arm"].values == arm
    if arm == "features":
        return bool(np.isfinite(result["feature_examples"].values[rows]).any())
    return bool(rows.any())


def require(result: xr.Dataset, *arms: str) -> None:
    """Raise ``NotDecidable`` unless all of these arms were run."""
    missing = [arm for arm in arms if not has(result, arm)]
    if missing:
        raise NotDecidable(f"needs {', '.join(missing)}, which was not run")


def values_of(result: xr.Dataset, arm: str, coordinate: str) -> np.ndarray:
    """Return the values of a coordinate in an arm, ascending; empty where it was not run."""
    rows = result["arm"].values == arm
    return np.unique(result[coordinate].values[rows].astype(float)) if rows.any() else np.empty(0)


def noises(result: xr.Dataset, arm: str = "width") -> list[float]:
    """Return the levels of label noise of an arm, ascending."""
    return [float(noise) for noise in values_of(result, arm, "label_noise")]


def at_values(
    result: xr.Dataset, arm: str, name: str, along: np.ndarray | None = None, **at: float
) -> np.ndarray:
    """Return a quantity of an arm by seed along what it sweeps.

    Args:
        result: The study's result.
        arm: The arm.
        name: The variable, of shape (lane, ...).
        along: Values of what the arm sweeps; all of them by default.
        **at: Values of further coordinates.

    Returns:
        Shape (seeds, values, ...); NaN for lanes that diverged or are missing.
    """
    require(result, arm)
    coordinate = result[SWEEPS[arm]].values.astype(float)
    if along is None:
        along = values_of(result, arm, SWEEPS[arm])
    chosen = (result["arm"].values == arm) & ~result["diverged"].values
    for other, value in at.items():
        chosen &= np.isclose(result[other].values.astype(float), value)
    seeds, values = seeds_of(result), np.asarray(result[name].values, float)
    found = np.full((seeds.size, along.size, *values.shape[1:]), np.nan)
    for row in np.flatnonzero(chosen):
        place = np.flatnonzero(np.isclose(along, coordinate[row]))
        if place.size:
            found[np.searchsorted(seeds, result["seed"].values[row]), place[0]] = values[row]
    return found


def noisiest(result: xr.Dataset, name: str, along: np.ndarray | None = None) -> np.ndarray:
    """Return a quantity of arm width at the highest label noise, shape (seeds, widths, ...)."""
    require(result, "width")
    return at_values(result, "width", name, along, label_noise=noises(result)[-1])


def controls(result: xr.Dataset) -> np.ndarray:
    """Return the control widths that were run; all widths where no control was."""
    for arm in ("decay", "members"):
        if has(result, arm):
            return values_of(result, arm, "hidden_width")
    return values_of(result, "width", "hidden_width")


def decayed(result: xr.Dataset) -> dict[str, np.ndarray]:
    """Return networks with the decay, none included, of least validation error at their end.

    Returns:
        ``test_wrong`` (seeds, widths, examples), ``test_error``, ``test_loss``, ``lambda_max`` and
        ``weight_decay`` (seeds, widths), at the control widths.
    """
    along = controls(result)
    names = ("valid_error", "valid_loss", "test_wrong", "test_error", "test_loss", "lambda_max")
    decays = [0.0, *values_of(result, "decay", "weight_decay")]
    tables = [
        {name: noisiest(result, name, along) for name in names}
        if decay == 0
        else {name: at_values(result, "decay", name, along, weight_decay=decay) for name in names}
        for decay in decays
    ]
    stacked = {name: np.stack([table[name] for table in tables]) for name in names}
    # Of equal errors the one with less loss; a lane that diverged is never chosen.
    score = stacked["valid_error"] + 1e-6 * stacked["valid_loss"]
    best = np.where(np.isfinite(score), score, np.inf).argmin(axis=0)
    seed, width = np.indices(best.shape)
    found = {name: stacked[name][best, seed, width] for name in names}
    found["weight_decay"] = np.asarray(decays)[best]
    return found


def threshold(result: xr.Dataset) -> float:
    """Return the width at which parameters equal n·K, from the lanes of arm width.

    Their true numbers of parameters are linear in the width, as K + width·(d + K + 1) is.
    """
    rows = np.flatnonzero(result["arm"].values == "width")
    widths = result["hidden_width"].values[rows].astype(float)
    counts = result["true_parameters"].values[rows].astype(float)
    last, first = int(widths.argmax()), int(widths.argmin())
    each = (counts[last] - counts[first]) / (widths[last] - widths[first])
    rest = counts[first] - each * widths[first]
    needed = result["examples"].values[rows[0]] * result["output"].size
    return float((needed - rest) / each)


def gap(
    first: np.ndarray,
    second: np.ndarray,
    smallest: float = 0.0,
    direction: int = 1,
    origin: float = 0.0,
) -> Comparison:
    """Compare test errors, first − second, in percentage points, paired by seed.

    The interval covers new seeds and new test examples, of which all share one finite set.

    Args:
        first: Whether each test example was wrong, shape (seeds, examples); NaN for a missing seed.
        second: Likewise.
        smallest: Smallest effect that matters, in percentage points.
        direction: +1 if the claim is that the difference lies above ``origin + smallest``, −1 below
            ``origin − smallest``.
        origin: In percentage points.
    """
    both = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    only_first = np.where(both, ((first == 1) & (second == 0)).sum(axis=1), np.nan)
    only_second = np.where(both, ((second == 1) & (first == 0)).sum(axis=1), np.nan)
    per_example = (first[both] - second[both]).mean(axis=0) if both.any() else None

    def estimate(level: float) -> Estimate:
        found = paired_error_difference(
            only_first, only_second, first.shape[1], level, per_example=per_example
        )
        return replace(found, value=100 * found.value, low=100 * found.low, high=100 * found.high)

    return Comparison(estimate, smallest, direction, origin)
