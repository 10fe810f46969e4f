"""Lanes of an arm's variant by seed, what they logged, and step sizes chosen on validation data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import NotDecidable
from implicit_bias.results.statistics import Comparison, Estimate, with_test_sampling_error
from implicit_bias.studies import rows
from implicit_bias.studies.rows import constant, require, values_of

if TYPE_CHECKING:
    import xarray as xr


def variants(result: xr.Dataset, arm: str) -> list[str]:
    """Return the variants of an arm in the order they were run."""
    names = result["variant"].values[result["arm"].values == arm]
    return list(dict.fromkeys(str(name) for name in names))


def of_variant(result: xr.Dataset, arm: str, variant: str) -> xr.Dataset:
    """Return a result without an arm's other variants, all other rows kept, so that seeds stay the same.

    Raises:
        NotDecidable: The arm or the variant was not run.
    """
    require(result, arm)
    if variant not in variants(result, arm):
        raise NotDecidable(f"needs {variant} of arm {arm}, which was not run")
    other = (result["arm"].values == arm) & (result["variant"].values != variant)
    return result.isel(lane=np.flatnonzero(~other))


def by_seed(result: xr.Dataset, arm: str, variant: str, name: str, **at: Any) -> np.ndarray:
    """Return a quantity of an arm's variant by seed, (seeds, …); NaN for lanes that diverged.

    Args:
        result: The study's result.
        arm: The arm.
        variant: Which of its variants.
        name: The variable, of shape (lanes, …).
        **at: Numbers of coordinates of lanes.

    Raises:
        NotDecidable: The arm or the variant was not run.
    """
    return rows.by_seed(of_variant(result, arm, variant), arm, name, **at)


def epochs(result: xr.Dataset, arm: str, variant: str, **at: Any) -> np.ndarray:
    """Return the epochs after which a variant's lanes were evaluated, (evaluations,)."""
    return rows.epochs_of(of_variant(result, arm, variant), arm, **at)


def logged(result: xr.Dataset, arm: str, variant: str, name: str, **at: Any) -> np.ndarray:
    """Return what a variant's lanes logged, (seeds, evaluations)."""
    values = by_seed(result, arm, variant, f"log_{name}", **at)
    return values[:, : epochs(result, arm, variant, **at).size]


def ended(result: xr.Dataset, arm: str, variant: str, name: str, **at: Any) -> np.ndarray:
    """Return a quantity after a variant's last epoch, (seeds,)."""
    return logged(result, arm, variant, name, **at)[:, -1]


def accuracy(
    result: xr.Dataset, arm: str, variant: str, part: str = "test", **at: Any
) -> np.ndarray:
    """Return accuracies after the last epoch, in per cent, (seeds,)."""
    return 100 * (1 - ended(result, arm, variant, f"{part}_error", **at))


def first_epoch(curves: np.ndarray, at: np.ndarray, level: float) -> np.ndarray:
    """Return the first evaluated epoch at which curves are at least a level.

    Args:
        curves: Shape (seeds, evaluations).
        at: Epochs, shape (evaluations,).
        level: What is to be reached.

    Returns:
        Shape (seeds,); infinite where it is never reached, NaN where a curve is not finite throughout.
    """
    there = curves >= level
    found = np.where(there.any(axis=1), at[there.argmax(axis=1)], np.inf)
    return np.where(np.isfinite(curves).all(axis=1), found, np.nan)


def whole_factors(result: xr.Dataset, arm: str, variant: str) -> np.ndarray:
    """Return a variant's step sizes, as factors of the stated one, but for runs shorter than the arm's."""
    own = of_variant(result, arm, variant)
    rows_of_it = own["arm"].values == arm
    lengths = own["planned_epochs"].values[rows_of_it].astype(float)
    found = own["factor"].values[rows_of_it].astype(float)
    longest: np.ndarray = np.unique(found[lengths == lengths.max()])
    return longest


def common_factors(result: xr.Dataset, arm: str, names: Sequence[str]) -> np.ndarray:
    """Return the step sizes that several variants share, as factors of the stated ones, ascending."""
    found = [whole_factors(result, arm, name).round(9) for name in names]
    shared = set(found[0]).intersection(*map(set, found[1:]))
    return np.asarray(sorted(shared))


def chosen(
    result: xr.Dataset,
    arm: str,
    variant: str,
    names: tuple[str, ...],
    factors: np.ndarray,
    **at: Any,
) -> dict[str, np.ndarray]:
    """Return quantities at the step size and decay of least validation error, of each seed.

    Of equal errors the one with less validation loss counts; a lane that diverged is never chosen.

    Args:
        result: The study's result.
        arm: The arm.
        variant: Which of its variants.
        names: Variables of shape (lanes, …); what begins with ``log_`` is taken after the last epoch.
        factors: Step sizes to choose among, as factors of the stated one.
        **at: Numbers of coordinates that are the same for all it is chosen among.

    Returns:
        By name, (seeds, …), with ``factor`` and ``decoupled_weight_decay`` beside them; NaN for a seed
        of which every lane diverged.

    Raises:
        NotDecidable: There is nothing to choose among, or no validation data.
    """
    own = of_variant(result, arm, variant)
    lanes = own["arm"].values == arm
    for key, value in at.items():
        lanes &= np.isclose(own[key].values.astype(float), value)
    own = own.isel(lane=np.flatnonzero(lanes | (own["arm"].values != arm)))
    if factors.size < 2:
        raise NotDecidable(f"needs several step sizes of {variant} in arm {arm}; one was run")
    decays: list[dict[str, float]] = [{}]
    if "decoupled_weight_decay" in own.coords:
        found = values_of(own, arm, "decoupled_weight_decay")
        decays = [{"decoupled_weight_decay": float(decay)} for decay in found] or decays

    def table(name: str) -> np.ndarray:
        cells = [
            rows.by_seed(own, arm, name, factor=float(factor), **decay)
            for factor in factors
            for decay in decays
        ]
        if name.startswith("log_"):
            cells = [_last(cell) for cell in cells]
        return np.stack(cells)

    score = table("log_valid_error") + 1e-6 * table("log_valid_loss")
    if not np.isfinite(score).any():
        raise NotDecidable(f"{variant} of arm {arm} has no finite validation error")
    score = np.where(np.isfinite(score), score, np.inf)
    best, seeds = score.argmin(axis=0), np.arange(score.shape[1])
    lost = ~np.isfinite(score).any(axis=0)
    picked: dict[str, np.ndarray] = {}
    for name in names:
        values = table(name).astype(float)[best, seeds]
        values[lost] = np.nan
        picked[name] = values
    grid = [(float(factor), decay) for factor in factors for decay in decays]
    picked["factor"] = np.where(lost, np.nan, [grid[place][0] for place in best])
    picked["decoupled_weight_decay"] = np.where(
        lost, np.nan, [grid[place][1].get("decoupled_weight_decay", np.nan) for place in best]
    )
    return picked


def accuracy_gap(
    result: xr.Dataset,
    arm: str,
    more: Sequence[np.ndarray],
    less: Sequence[np.ndarray],
    smallest: float,
) -> Comparison:
    """Ask whether test accuracies, Σ more − Σ less, exceed so many percentage points.

    The interval covers new seeds and new test examples. Which examples were mistaken was not kept, so
    that the networks' mistakes count as independent of each other: too wide where they agree.

    Args:
        result: The study's result.
        arm: The arm, for the number of its test examples.
        more: Accuracies in per cent, each (seeds,).
        less: Likewise.
        smallest: Percentage points.
    """
    tests = int(constant(result, arm, "tests"))
    difference = sum(more) - sum(less)
    both = np.isfinite(difference)
    variance = 0.0
    for one in (*more, *less):
        variance += float(np.mean(one[both] * (100 - one[both]))) if both.any() else 0.0

    def estimate(level: float) -> Estimate:
        return with_test_sampling_error(difference, variance / (tests - 1), tests, level)

    return Comparison(estimate, smallest, 1)


def _last(table: np.ndarray) -> np.ndarray:
    """Return the last finite entry of each row; NaN where there is none."""
    finite = np.isfinite(table)
    last = table.shape[1] - 1 - finite[:, ::-1].argmax(axis=1)
    return np.where(finite.any(axis=1), table[np.arange(len(table)), last], np.nan)
