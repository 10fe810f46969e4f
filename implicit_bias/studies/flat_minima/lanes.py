"""The lanes of the flat-minima study: what is trained, and which of them are compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from implicit_bias import losses, optimizers
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.models import Model
from implicit_bias.studies.flat_minima.arms import ARMS, TUNING, Arm
from implicit_bias.studies.flat_minima.settings import FlatMinimaSettings
from implicit_bias.studies.refusals import check_classification, value_of
from implicit_bias.training import Budget, Lane, Recipe, epochs

if TYPE_CHECKING:
    import xarray as xr


def tuning_lanes(
    settings: FlatMinimaSettings, dataset: Dataset, earlier: xr.Dataset | None
) -> list[Lane]:
    """Return SGD's grid of step sizes at both batch sizes.

    Raises:
        UserError: The settings do not go with the data.
    """
    _check(settings, dataset)
    lanes: list[Lane] = []
    for batch_size in (settings.small_batch, settings.large_batch):
        recipe = _recipe(settings, dataset, "heavy_ball", batch_size)
        updates = epochs(settings.epochs, recipe)
        lanes += [
            Lane(recipe, seed, {"step_size": step, "momentum": settings.momentum}, Budget(updates),
                 (updates,), {"arm": TUNING})
            for seed in range(settings.seeds)
            for step in settings.step_sizes
        ]  # fmt: skip
    return lanes


def tuned_step_sizes(result: xr.Dataset) -> dict[tuple[int, int], float]:
    """Return, for each seed and batch size, the step size of least validation error, then loss."""
    tuning = result.isel(lane=np.flatnonzero(result["arm"].values == TUNING))
    best: dict[tuple[int, int], tuple[float, float, float]] = {}
    for lane in range(tuning.sizes["lane"]):
        row = tuning.isel(lane=lane)
        found = float(row["log_valid_error"][0]), float(row["log_valid_loss"][0])
        if all(map(math.isfinite, found)):
            key = int(row["seed"]), int(row["batch_size"])
            candidate = (*found, float(row["step_size"]))
            best[key] = min(best.get(key, candidate), candidate)
    return {key: value[2] for key, value in best.items()}


def arm_lanes(
    settings: FlatMinimaSettings, dataset: Dataset, earlier: xr.Dataset | None
) -> list[Lane]:
    """Return the lanes of all arms, with the step sizes of the tuning stage, seed by seed.

    Raises:
        UserError: Every lane of the tuning stage diverged, or a batch or set is larger than the data.
    """
    tuned = {} if earlier is None else tuned_step_sizes(earlier)
    if earlier is not None and not tuned:
        raise UserError(
            f"every run with step_sizes {settings.step_sizes} diverged; give smaller ones"
        )
    tried = set() if earlier is None else {int(seed) for seed in earlier["seed"].values}
    lanes: list[Lane] = []
    for name in settings.arms:
        arm = ARMS[name]
        for batch_size in _sizes(settings, arm):
            for seed in range(settings.seeds):
                if arm.step == "tuned":
                    if seed not in tried:
                        continue  # a seed of another shard
                    # Where every step size diverged, the smallest does so again, and is counted.
                    step = tuned.get((seed, batch_size), min(settings.step_sizes))
                    lanes += _tuned_lanes(settings, dataset, name, batch_size, seed, step)
                elif name == "fixed":
                    traced = {"step_size": settings.fixed_step_size, "momentum": 0.0}
                    recipe = _recipe(settings, dataset, "heavy_ball", batch_size)
                    budget = Budget(epochs(settings.epochs, recipe))
                    lanes.append(_lane(recipe, seed, traced, budget, name))
                else:
                    lanes += _spectrum_lanes(settings, dataset, name, batch_size, seed)
    return lanes


def _tuned_lanes(
    settings: FlatMinimaSettings,
    dataset: Dataset,
    name: str,
    batch_size: int,
    seed: int,
    step_size: float,
) -> list[Lane]:
    """Return one seed's lanes of an arm with a tuned step size: one for each strength."""
    arm, few = ARMS[name], settings.tasks.few
    whole = _recipe(settings, dataset, arm.optimizer, batch_size)
    recipe, length = whole, whole
    if arm.task == "few":
        recipe = _recipe(settings, dataset, arm.optimizer, min(batch_size, few), n_train=few)
    if arm.long:
        length = _recipe(settings, dataset, arm.optimizer, settings.small_batch)
    budget = Budget(epochs(settings.epochs, length))
    fixed = {"momentum": settings.momentum}
    if arm.task == "noisy":
        fixed["label_noise"] = settings.tasks.label_noise
    if name == "sam-large-rho":
        fixed["rho"] = settings.strengths.large_rho
    if not arm.strength:
        strength = fixed.get("rho", 0.0)
        return [_lane(recipe, seed, {"step_size": step_size, **fixed}, budget, name, strength)]
    return [
        _lane(recipe, seed, {"step_size": factor * step_size, arm.strength: strength, **fixed},
              budget, name, strength, factor=factor)
        for strength in settings.strengths.of(arm)
        for factor in settings.strengths.step_factors
    ]  # fmt: skip


def _spectrum_lanes(
    settings: FlatMinimaSettings, dataset: Dataset, name: str, batch_size: int, seed: int
) -> list[Lane]:
    """Return one seed's lanes of a published protocol: one for each length of training."""
    own, arm = settings.spectrum, ARMS[name]
    model = _network(settings, dataset, name)
    recipe = _recipe(settings, dataset, arm.optimizer, batch_size, model=model)
    traced = {"step_size": own.step_size, "momentum": own.momentum}
    if arm.optimizer == "adam":
        traced = {"step_size": own.adam_step_size}
    if name == "momentum-decay":
        traced["weight_decay"] = own.weight_decay
    lengths = own.epochs if arm.published else (own.published_epochs,)
    return [
        _lane(recipe, seed, traced, Budget(epochs(length, recipe)), name, 0.0,
              length == own.published_epochs)
        for length in lengths
    ]  # fmt: skip


def networks(settings: FlatMinimaSettings, dataset: Dataset) -> list[Model]:
    """Return the networks of the arms."""
    return [_network(settings, dataset, name) for name in settings.arms]


def _network(settings: FlatMinimaSettings, dataset: Dataset, name: str) -> Model:
    own, widths = settings.spectrum, settings.model.widths
    if ARMS[name].sizes in ("spectrum", "spectrum-large"):
        widths = own.deep_widths if name == "momentum-deep" else own.widths or widths
    return settings.model.model_copy(update={"widths": widths}).build(dataset.n_outputs)


def _lane(
    recipe: Recipe,
    seed: int,
    traced: Mapping[str, float],
    budget: Budget,
    arm: str,
    strength: float = 0.0,
    compared: bool = True,
    factor: float = 1.0,
) -> Lane:
    tags: dict[str, str | float | bool] = {
        "arm": arm, "strength": strength, "compared": compared, "step_factor": factor,
    }  # fmt: skip
    return Lane(recipe, seed, traced, budget, (0,), tags)


def _sizes(settings: FlatMinimaSettings, arm: Arm) -> tuple[int, ...]:
    return {
        "small": (settings.small_batch,),
        "large": (settings.large_batch,),
        "both": (settings.small_batch, settings.large_batch),
        "spectrum": (settings.spectrum.batch_size,),
        "spectrum-large": (settings.spectrum.large_batch_size,),
    }[arm.sizes]


def _check(settings: FlatMinimaSettings, dataset: Dataset) -> None:
    """Refuse settings of the arms in use that do not go with the data.

    Raises:
        UserError: They do not.
    """
    check_classification(dataset)
    settings.check_batches(dataset, "small_batch", "large_batch")
    settings.check_epochs(_recipe(settings, dataset, "heavy_ball", settings.small_batch), "epochs")
    used = {ARMS[name].sizes for name in settings.arms}
    for sizes, key in (("spectrum", "batch_size"), ("spectrum-large", "large_batch_size")):
        if sizes in used:
            settings.check_batches(dataset, f"spectrum.{key}")
            recipe = _recipe(settings, dataset, "heavy_ball", value_of(settings.spectrum, key))
            settings.check_epochs(recipe, "spectrum.epochs")


def _recipe(
    settings: FlatMinimaSettings,
    dataset: Dataset,
    optimizer: str,
    batch_size: int,
    n_train: int | None = None,
    model: Model | None = None,
) -> Recipe:
    whole, n_valid = settings.data.sizes(dataset)
    return Recipe(
        model=model or settings.model.build(dataset.n_outputs),
        loss=losses.get("cross_entropy"),
        optimizer=optimizers.get(optimizer),
        schedule=optimizers.Schedule(),
        batch_size=batch_size,
        n_train=n_train or whole,
        n_valid=n_valid,
        dtype=settings.dtype,
    )


def derive(result: xr.Dataset) -> xr.Dataset:
    """Say which lanes are compared: of each arm, batch size and seed, one.

    ``chosen`` is the lane of least validation error, then loss, of those that an arm tries (strengths and
    step sizes); of a published protocol, the one of the published length. A lane that diverged is chosen only
    where all did.
    """
    chosen = np.zeros(result.sizes["lane"], bool)
    if "valid_error" in result:
        error, loss = (
            np.where(np.isfinite(result[name].values), result[name].values, np.inf)
            for name in ("valid_error", "valid_loss")
        )
        best: dict[tuple[str, int, int], int] = {}
        arms, stages = result["arm"].values, result["stage"].values
        for lane in np.flatnonzero((stages == "arms") & result["compared"].values.astype(bool)):
            key = str(arms[lane]), int(result["batch_size"][lane]), int(result["seed"][lane])
            other = best.setdefault(key, int(lane))
            if (error[lane], loss[lane]) < (error[other], loss[other]):
                best[key] = int(lane)
        chosen[list(best.values())] = True
    words = {"units": "1", "long_name": "whether the lane is the one its arm is compared by"}
    return result.assign(chosen=("lane", chosen, words))
