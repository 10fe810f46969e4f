"""Rules on step sizes far apart: how sharp the ends are, and how well they do on test examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence, NotDecidable
from implicit_bias.results.statistics import Comparison, rank_correlation
from implicit_bias.studies.comparisons import below, mean_ends, near
from implicit_bias.studies.rows import along, constant, exponents, gap, require, values_of
from implicit_bias.studies.step_size.sizes import require_cifar, size_of

if TYPE_CHECKING:
    import xarray as xr

BEST = 0.1
"""Step size that is said to be best."""

SMALLEST_EXPONENT = 0.1
"""λmax ∝ η^a matters from a = −0.1 on: a fifth of it in a decade of step sizes."""

SMALLEST_CORRELATION = 0.3
"""A rank correlation matters from here on."""

SMALLEST_GAP = 0.2
"""Difference of test errors that matters, in percentage points."""

EDGE = (1.0, 2.0)
"""η λmax between these counts as slightly below the edge of stability."""

FEWEST = 3
"""Step sizes that an exponent needs."""


def as_published(result: xr.Dataset) -> Evidence:
    """Hold sharpness, test error and the best step size against what is published for CIFAR-10."""
    require_cifar(result, "steps", "laptop")
    steps = values_of(result, "steps", "step_size")
    if not np.isclose(steps, BEST).any():
        raise NotDecidable(f"needs step size {BEST:g}, which was not run")
    sharp = along(result, "steps", "lambda_max", "step_size")
    wrong = {step: _wrong(result, float(step)) for step in steps}
    best = next(step for step in steps if np.isclose(step, BEST))
    made = {
        "exponent of λmax in the step size": below(exponents(steps, sharp), -SMALLEST_EXPONENT),
        "rank correlation of λmax and test error": _correlation(result, pooled=True, direction=-1),
        f"η λmax at η = {BEST:g}": near(sharp[:, list(steps).index(best)] * best, *EDGE),
    }
    for step in steps:
        if step != best:
            made[f"test error at η = {step:g} less that at η = {best:g}"] = gap(
                wrong[step], wrong[best], SMALLEST_GAP
            )
    return Evidence(
        made, reason=size_of(result, "steps", "ResNet-18 on 50,000 images"), details=_table(result)
    )


def flatter_is_better(result: xr.Dataset) -> Evidence:
    """Ask for the sign that "flatter is better" needs: sharper networks err more."""
    require(result, "steps")
    return Evidence(
        {
            "over all step sizes": _correlation(result, pooled=True, direction=1),
            "within step sizes": _correlation(result, pooled=False, direction=1),
        },
        n_seeds=int(np.unique(result["seed"].values).size),
        reason=f"on {constant(result, 'steps', 'data_name')}; λmax ends near 2/η where training reaches the "
        "edge, so that over step sizes the correlation also holds what the step size itself does",
        details=_table(result),
    )


def flatter_at_one_loss(result: xr.Dataset) -> Evidence:
    """Ask whether larger steps are flatter where all networks have reached one training loss."""
    require(result, "matched")
    steps = values_of(result, "matched", "step_size")
    sharp = along(result, "matched", "lambda_max", "step_size")
    reached = along(result, "matched", "reached_target", "step_size") == 1
    sharp = np.where(reached, sharp, np.nan)
    whole = np.isfinite(sharp).any(axis=0) & (reached | ~np.isfinite(sharp)).all(axis=0)
    whole &= reached.sum(axis=0) >= min(2, len(reached))
    if whole.sum() < FEWEST:
        raise NotDecidable(
            f"{int(whole.sum())} step size(s) reached the training loss in every seed, and {FEWEST} are "
            "needed; give steps.max_epochs more, or a higher steps.target_loss"
        )
    left = [f"{step:g}" for step in steps[~whole]]
    found = exponents(steps[whole], sharp[:, whole])
    target = float(result["target_loss"].values[result["arm"].values == "matched"][0])
    return Evidence(
        {"exponent of λmax in the step size": below(found, -SMALLEST_EXPONENT)},
        reason=f"at a training loss of {target:g} nats, for η = "
        f"{', '.join(f'{step:g}' for step in steps[whole])}"
        + (f"; it was not reached in every seed at η = {', '.join(left)}" if left else ""),
        details={
            f"λmax, η = {step:g}": mean_ends(column)
            for step, column in zip(steps, sharp.T, strict=True)
        },
    )


def _wrong(result: xr.Dataset, step: float) -> np.ndarray:
    found = along(result, "steps", "test_wrong", "step_size", np.asarray([step]))[:, 0]
    return found.astype(float)


def _correlation(result: xr.Dataset, *, pooled: bool, direction: int) -> Comparison:
    rows = (result["arm"].values == "steps") & ~result["diverged"].values
    lanes = result.isel(lane=np.flatnonzero(rows))
    groups = lanes["step_size"].values
    return Comparison(
        rank_correlation(
            lanes["lambda_max"].values,
            lanes["test_error"].values,
            np.zeros(groups.shape) if pooled else groups,
            clusters=lanes["seed"].values,
        ),
        SMALLEST_CORRELATION,
        direction,
    )


def _table(result: xr.Dataset) -> dict[str, Any]:
    steps = values_of(result, "steps", "step_size")
    found: dict[str, Any] = {}
    for name, words, factor in (
        ("lambda_max", "λmax", 1.0), ("test_error", "test error, %", 100.0),
        ("train_loss", "training loss, nats", 1.0),
    ):  # fmt: skip
        table = along(result, "steps", name, "step_size")
        for step, column in zip(steps, table.T, strict=True):
            found[f"{words}, η = {step:g}"] = mean_ends(factor * column)
            if name == "lambda_max":
                found[f"η λmax, η = {step:g}"] = mean_ends(step * column)
    return found
