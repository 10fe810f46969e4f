"""What the batch-size study trains and measures: its lanes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from implicit_bias import losses, optimizers
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.studies.batch_size.settings import ARMS, TUNING, Arm, BatchSizeSettings
from implicit_bias.studies.endpoint import Endpoint
from implicit_bias.studies.refusals import check_at_most, check_classification
from implicit_bias.training import Budget, Lane, Recipe, epochs

if TYPE_CHECKING:
    import xarray as xr


def tuning_lanes(
    settings: BatchSizeSettings, dataset: Dataset, earlier: xr.Dataset | None
) -> list[Lane]:
    """Return the grid of step sizes from which the tuned arms choose, or no lanes."""
    _check(settings, dataset)
    if not any(ARMS[arm].rule == "tuned" for arm in settings.arms):
        return []
    lanes: list[Lane] = []
    for seed in range(settings.seeds):
        for batch_size in settings.sizes("all"):
            recipe = _recipe(settings, dataset, batch_size, "sgd")
            updates = epochs(settings.epochs, recipe)
            lanes += [
                Lane(
                    recipe,
                    seed,
                    {"step_size": step_size},
                    Budget(updates),
                    (updates,),
                    {"arm": TUNING},
                )
                for step_size in settings.tuning_step_sizes
            ]
    return lanes


def arm_lanes(
    settings: BatchSizeSettings, dataset: Dataset, earlier: xr.Dataset | None
) -> list[Lane]:
    """Return the lanes of all arms; tuned step sizes come from the tuning stage, seed by seed.

    Raises:
        UserError: There is nothing to choose from, as every lane of the tuning stage diverged; or the
            settings do not go with the data.
    """
    _check(settings, dataset)
    tuned = {} if earlier is None else tuned_step_sizes(earlier)
    if earlier is not None and not tuned:
        raise UserError(
            f"every run with tuning_step_sizes {settings.tuning_step_sizes} diverged; give smaller "
            "ones, or leave out the tuned arms"
        )
    lanes: list[Lane] = []
    for name in settings.arms:
        arm = ARMS[name]
        sizes = settings.sizes(arm.group)
        for batch_size in sizes:
            if arm.noise and batch_size == sizes[0]:
                continue
            optimizer = "heavy_ball" if arm.momentum else "sgd"
            recipe = _recipe(settings, dataset, batch_size, optimizer, arm.noise)
            for seed in range(settings.seeds):
                traced: dict[str, float] = {}
                if arm.rule == "tuned":
                    if (seed, batch_size) not in tuned:
                        continue  # a seed of another shard, or one whose every step size diverged
                    traced["step_size"] = tuned[seed, batch_size]
                elif arm.momentum:
                    traced["step_size"] = settings.momentum.step_size
                    traced["momentum"] = settings.momentum.momentum
                else:
                    traced["step_size"] = settings.step_size(arm.rule, batch_size)
                if arm.noise:
                    traced["noise_batch_size"] = sizes[0]
                if arm.label_noise:
                    traced["label_noise"] = settings.label_noise
                budget = _budget(settings, arm, recipe, dataset)
                lanes.append(
                    Lane(recipe, seed, traced, budget, _probes(settings, budget), {"arm": name})
                )
    return lanes


def tuned_step_sizes(result: xr.Dataset) -> dict[tuple[int, int], float]:
    """Return, for each seed and batch size, the step size of least validation error.

    Tuning is part of the procedure that a seed repeats, so its variation is in every interval. Ties go
    to the smaller validation loss.
    """
    tuning = result.isel(lane=np.flatnonzero(result["arm"].values == TUNING))
    best: dict[tuple[int, int], tuple[float, float, float]] = {}
    for lane in range(tuning.sizes["lane"]):
        row = tuning.isel(lane=lane)
        error = float(row["log_valid_error"][0])
        loss = float(row["log_valid_loss"][0])
        if not (math.isfinite(error) and math.isfinite(loss)):
            continue
        key = int(row["seed"]), int(row["batch_size"])
        candidate = (error, loss, float(row["step_size"]))
        best[key] = min(best.get(key, candidate), candidate)
    return {key: value[2] for key, value in best.items()}


def _check(settings: BatchSizeSettings, dataset: Dataset) -> None:
    """Refuse settings of the arms in use that do not go with the data.

    Raises:
        UserError: They do not.
    """
    check_classification(dataset)
    used = [ARMS[name] for name in settings.arms]
    keys = {
        "updates": "updates.batch_sizes",
        "momentum": "momentum.batch_sizes",
        "momentum-long": "momentum.batch_sizes",
    }
    for key in dict.fromkeys(keys.get(arm.group, "batch_sizes") for arm in used):
        settings.check_batches(dataset, key)
    budgets = {arm.budget for arm in used}
    if "matched" in budgets:
        settings.check_target(dataset, "matched.target_loss")
    smallest = _recipe(settings, dataset, 1, "sgd")
    settings.check_epochs(
        smallest, "epochs", "updates.epochs", "matched.max_epochs", "momentum.epochs"
    )


def _recipe(
    settings: BatchSizeSettings,
    dataset: Dataset,
    batch_size: int,
    optimizer: str,
    gradient_noise: bool = False,
) -> Recipe:
    n_train, n_valid = settings.data.sizes(dataset)
    return Recipe(
        model=settings.model.build(dataset.n_outputs),
        loss=losses.get("cross_entropy"),
        optimizer=optimizers.get(optimizer),
        schedule=optimizers.Schedule(),
        batch_size=batch_size,
        n_train=n_train,
        n_valid=n_valid,
        gradient_noise=gradient_noise,
        dtype=settings.dtype,
        augmentation=settings.data.augmented(),
    )


def _budget(settings: BatchSizeSettings, arm: Arm, recipe: Recipe, dataset: Dataset) -> Budget:
    if arm.budget == "matched":
        matched = settings.matched
        every = max(1, round(recipe.updates_per_epoch / matched.evaluations_per_epoch))
        return Budget(epochs(matched.max_epochs, recipe), matched.target_loss, every)
    if arm.budget == "updates":
        smallest = _recipe(settings, dataset, min(settings.updates.batch_sizes), "sgd")
        return Budget(epochs(settings.updates.epochs, smallest))
    if arm.momentum:
        length = settings.momentum.epochs * (5 if arm.group == "momentum-long" else 1)
        return Budget(epochs(length, recipe))
    return Budget(epochs(settings.epochs, recipe))


def _probes(settings: BatchSizeSettings, budget: Budget) -> tuple[int, ...]:
    """Spread evaluations evenly from 0 to the end; matched arms are evaluated at their ends only."""
    if budget.target_loss is not None:
        return (0,)
    steps = np.linspace(0, budget.updates, settings.probes + 1).round().astype(int)
    return tuple(sorted({int(step) for step in steps}))


def derive(result: xr.Dataset) -> xr.Dataset:
    """Add λmax · η and η / B, with η divided by 1 − momentum where there is momentum."""
    step = result["step_size"]
    if "momentum" in result.coords:
        step = step / (1 - result["momentum"].fillna(0))
    added = {"step_over_batch": step / result["batch_size"]}
    if "lambda_max" in result:
        added["lambda_max_times_step"] = result["lambda_max"] * step
    for values in added.values():
        values.attrs = {"units": "1"}
    return result.assign(added)


def endpoint(settings: BatchSizeSettings, dataset: Dataset) -> Endpoint:
    """Return what is measured at the end of every lane but those of the tuning grid.

    Raises:
        UserError: More examples are asked for than there are.
    """
    n_train, _ = settings.data.sizes(dataset)
    check_at_most(settings, "curvature.examples", n_train, f"a lane trains on {n_train}")
    check_at_most(
        settings, "curvature.probe_set", dataset.n_test, f"there are {dataset.n_test} test examples"
    )
    chosen = settings.curvature.model_dump()
    examples = chosen.pop("examples") or n_train
    return Endpoint(n_test=dataset.n_test, examples=examples, **chosen)
