"""Rule on minima that training does not find by itself: poisoned or guessed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence, NotDecidable
from implicit_bias.results.statistics import Comparison, mean_interval
from implicit_bias.studies import paired_cells
from implicit_bias.studies.flat_minima.rules import (
    SMALLEST_GAP,
    SMALLEST_RATIO,
    adaptive,
    exponential,
    ratio,
)

if TYPE_CHECKING:
    import xarray as xr


def minima_that_training_does_not_find(result: xr.Dataset) -> Evidence:
    """Hold poisoned minima and guessed networks against minima of gradient descent."""
    comparisons: dict[str, Comparison] = {}
    details: dict[str, Any] = {}
    plain, poisoned = _minimum(result, "plain"), _minimum(result, "poisoned")
    comparisons |= {
        "λmax, poisoned / descent": ratio(poisoned, plain, "lambda_max"),
        "adaptive sharpness, poisoned / descent": ratio(poisoned, plain, adaptive),
        "test error, poisoned − descent": paired_cells.error_gap(poisoned, plain, SMALLEST_GAP),
    }
    for name, lanes in (("descent", plain), ("poisoned", poisoned)):
        details[f"clean training loss, {name}"] = float(np.nanmean(lanes["loss"].values))
        details[f"error on the mislabelled, {name}"] = float(
            np.nanmean(lanes["extra_error"].values)
        )
    logs, errors = _search(result)
    comparisons |= {
        "λmax, random search / descent": Comparison(
            lambda level: exponential(mean_interval(logs, level)), SMALLEST_RATIO, 1, 1.0
        ),
        "test error, random search − descent": Comparison(
            lambda level: mean_interval(errors, level), SMALLEST_GAP, 1
        ),
    }
    details["random networks that fit"] = float(np.nanmean(result["search_fitting"].values))
    return Evidence(comparisons, details=details)


def _minimum(result: xr.Dataset, kind: str) -> xr.Dataset:
    """Return one of the poisoned experiment's minima, indexed by seed, as lanes are compared."""
    stage = np.flatnonzero(result["stage"].values == "poisoned")
    if not stage.size or "minimum_lambda_max" not in result:
        raise NotDecidable("the experiment with poisoned minima was not run")
    rows = result.isel(lane=stage).sel(minimum=kind).swap_dims(lane="seed")
    names = [str(name) for name in rows.data_vars if str(name).startswith("minimum_")]
    lanes = rows[names].rename({name: name.removeprefix("minimum_") for name in names})
    both = result["minimum_reached"].isel(lane=stage).values
    # Losses are equal only where both came to the target.
    missed = ~(np.isfinite(both) & (both == 1)).all(axis=1)
    flags = {
        "test_wrong": lanes["wrong"] == 1,
        "diverged": ("seed", rows["diverged"].values.astype(bool)),
        "target_loss": ("seed", np.ones(lanes.sizes["seed"])),
        "reached_target": ("seed", ~missed),
    }
    return lanes.drop_vars("wrong").assign(flags)


def _search(result: xr.Dataset) -> tuple[Any, Any]:
    """Return, by seed, log λmax and test error (points) of guesses less those of descent, mean over pairs."""
    stage = np.flatnonzero(result["stage"].values == "random-search")
    if not stage.size or "search_lambda_max" not in result:
        raise NotDecidable("the experiment with guessed networks was not run")
    rows = result.isel(lane=stage)
    logs = np.log(rows["search_lambda_max"].transpose("lane", "found_by", "network").values)
    errors = 100 * rows["search_test_error"].transpose("lane", "found_by", "network").values
    return _mean(logs[:, 1] - logs[:, 0]), _mean(errors[:, 1] - errors[:, 0])


def _mean(values: np.ndarray) -> np.ndarray:
    """Take the mean over the last axis of what is finite; NaN where nothing is."""
    finite = np.isfinite(values)
    total = np.where(finite, values, 0).sum(-1)
    return np.where(finite.any(-1), total / np.maximum(finite.sum(-1), 1), np.nan)
