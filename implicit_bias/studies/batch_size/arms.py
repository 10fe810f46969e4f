"""What the batch-size study trains and measures: settings, arms, lanes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from implicit_bias import losses, optimizers
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.studies.endpoint import Endpoint
from implicit_bias.studies.images import ImageSettings
from implicit_bias.studies.refusals import check_at_most, check_names, different
from implicit_bias.studies.settings import (
    Count,
    Different,
    Positive,
    Products,
    Section,
    StudySettings,
    Tolerance,
)
from implicit_bias.training import Budget, Lane, Recipe, epochs

if TYPE_CHECKING:
    import xarray as xr

UPDATE_RATIO_CAP = 16
"""Largest ratio of batch sizes, and so of epochs, within the arms of equal updates."""

DrawnBatch = Annotated[int, Field(ge=1, le=65_536)]
Rule = Literal["fixed", "sqrt", "linear"]
BudgetKind = Literal["epochs", "updates", "matched"]


@dataclass(frozen=True)
class Arm:
    """A budget and a step-size rule, applied to several batch sizes.

    Attributes:
        budget: Equal epochs, equal updates, or until a training loss is reached.
        rule: Step size fixed, ∝ √B or ∝ B from the anchor; or ``"tuned"`` on validation data.
        group: Which batch sizes: all; those of the arms of equal updates; the published momentum pair;
            the extremes.
        what: One line for tables.
        momentum: Whether the published heavy-ball protocol replaces plain SGD.
        noise: Whether the noise of the group's smallest batch is injected into the others.
        label_noise: Whether training labels are noisy.
    """

    budget: BudgetKind
    rule: Rule | Literal["tuned"]
    group: Literal["all", "updates", "momentum", "momentum-long", "extremes"]
    what: str
    momentum: bool = False
    noise: bool = False
    label_noise: bool = False


ARMS: dict[str, Arm] = {
    "epochs-fixed": Arm("epochs", "fixed", "all", "equal epochs, step size fixed"),
    "epochs-sqrt": Arm("epochs", "sqrt", "all", "equal epochs, step size ∝ √B"),
    "epochs-linear": Arm("epochs", "linear", "all", "equal epochs, step size ∝ B"),
    "updates-fixed": Arm("updates", "fixed", "updates", "equal updates, step size fixed"),
    "updates-sqrt": Arm("updates", "sqrt", "updates", "equal updates, step size ∝ √B"),
    "updates-linear": Arm("updates", "linear", "updates", "equal updates, step size ∝ B"),
    "injected-noise": Arm(
        "updates",
        "fixed",
        "updates",
        "equal updates, step size fixed, noise of the smallest batch injected into the larger",
        noise=True,
    ),
    "matched-fixed": Arm("matched", "fixed", "all", "equal training loss, step size fixed"),
    "noisy-labels": Arm(
        "epochs", "fixed", "extremes", "equal epochs, step size fixed, noisy labels",
        label_noise=True,
    ),
    "momentum": Arm(
        "epochs", "fixed", "momentum", "published protocol with momentum, equal epochs",
        momentum=True,
    ),
    "momentum-long": Arm(
        "epochs", "fixed", "momentum-long", "published protocol with momentum, five times longer",
        momentum=True,
    ),
    "momentum-matched": Arm(
        "matched", "fixed", "momentum", "published protocol with momentum, equal training loss",
        momentum=True,
    ),
    "tuned": Arm("epochs", "tuned", "all", "equal epochs, step size tuned for each B and seed"),
    "matched-tuned": Arm(
        "matched", "tuned", "all", "equal training loss, step size tuned for each B and seed"
    ),
}  # fmt: skip
TUNING = "tuning"
"""Arm of the lanes from which the tuned step sizes are chosen; not measured."""


Sizes = Annotated[tuple[Count, ...], Field(min_length=2), AfterValidator(different)]


class UpdatesSettings(Section):
    """The arms of equal updates."""

    batch_sizes: Sizes = (32, 128, 512)
    epochs: Positive = Field(20, description="epochs of the smallest batch size of these arms")

    @model_validator(mode="after")
    def _capped(self) -> UpdatesSettings:
        if max(self.batch_sizes) > UPDATE_RATIO_CAP * min(self.batch_sizes):
            raise self.refusal(
                "batch_sizes",
                advice=f"choose a largest of at most {UPDATE_RATIO_CAP} times the smallest, since equal "
                "updates cost as many times the epochs",
            )
        return self


class MatchedSettings(Section):
    """The arms of equal training loss."""

    target_loss: Positive = Field(0.05, description="mean loss over the whole training set, nats")
    max_epochs: Positive = Field(100, description="give up after so many epochs")
    evaluations_per_epoch: Positive = Field(
        2, description="evaluations of the training loss an epoch, at most one an update"
    )


class MomentumSettings(Section):
    """The published protocol with momentum (chapter 11, C.7)."""

    batch_sizes: Sizes = (32, 512)
    step_size: Positive = 0.1
    momentum: float = Field(0.9, ge=0, lt=1)
    epochs: Positive = 20


class CurvatureSettings(Section):
    """Measurement at the end of training."""

    examples: Count | None = Field(
        None, description="training examples used; none: all of the lane's"
    )
    radii: Different = (0.5, 1.0, 2.0, 4.0, 8.0)
    filter_radii: Different = (0.05, 0.1, 0.2, 0.4, 0.8)
    directions: int = Field(10, ge=2, le=10_000)
    trace_probes: int = Field(32, ge=2)
    tol: Tolerance = 1e-4
    power_tol: Tolerance = 1e-3
    max_products: Products = 100
    probe_set: Count = 32
    noise_batches: Annotated[tuple[DrawnBatch, DrawnBatch], AfterValidator(different)] = (64, 512)
    noise_draws: int = Field(64, ge=2)
    chunk_size: Count = 1000
    whole_batch: Count = Field(10_000, description="examples a Hessian product may take at once")


class BatchSizeSettings(StudySettings):
    """Settings of the batch-size study."""

    data: ImageSettings = ImageSettings()
    arms: Annotated[
        tuple[str, ...], Field(min_length=1), AfterValidator(lambda names: check_names(names, ARMS))
    ] = tuple(ARMS)
    batch_sizes: Sizes = (16, 64, 256)
    anchor_batch_size: Count = Field(
        64, description="batch size at which all step-size rules agree"
    )
    anchor_step_size: Positive = Field(0.1, description="step size there")
    epochs: Positive = Field(20, description="budget of the arms of equal epochs")
    updates: UpdatesSettings = UpdatesSettings()
    matched: MatchedSettings = MatchedSettings()
    momentum: MomentumSettings = MomentumSettings()
    tuning_step_sizes: Different = Field(
        (0.01, 0.03, 0.1, 0.3, 1.0), description="grid for the tuned arms"
    )
    label_noise: float = Field(0.2, ge=0, lt=1, description="rate in the arm with noisy labels")
    probes: int = Field(8, ge=1, le=10_000, description="evaluations during training")
    curvature: CurvatureSettings = CurvatureSettings()

    @model_validator(mode="after")
    def _consistent(self) -> BatchSizeSettings:
        self.check_resolved("curvature.tol", "curvature.power_tol")
        tuned = any(ARMS[arm].rule == "tuned" for arm in self.arms)
        if tuned and self.data.n_valid < 1:
            raise self.refusal(
                "data.n_valid",
                "arms",
                advice="tuned arms choose step sizes on validation data: hold some out, or leave out the "
                "tuned arms",
            )
        return self

    def sizes(self, group: str) -> tuple[int, ...]:
        """Return the batch sizes of a group of arms, smallest first."""
        sizes = {
            "all": self.batch_sizes,
            "extremes": (min(self.batch_sizes), max(self.batch_sizes)),
            "updates": self.updates.batch_sizes,
            "momentum": self.momentum.batch_sizes,
            "momentum-long": (min(self.momentum.batch_sizes), sorted(self.momentum.batch_sizes)[1]),
        }[group]
        return tuple(sorted(sizes))

    def step_size(self, rule: str, batch_size: int) -> float:
        """Return the step size of a rule, anchored where all rules agree."""
        power = {"fixed": 0.0, "sqrt": 0.5, "linear": 1.0}[rule]
        return self.anchor_step_size * (batch_size / self.anchor_batch_size) ** power


# What is trained


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
            f"every run with tuning_step_sizes {settings.tuning_step_sizes} diverged; "
            "give smaller ones, or leave out the tuned arms"
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
    if dataset.task != "classification":
        raise UserError(
            f"the batch-size study compares classification errors, but {dataset.name} is a "
            f"{dataset.task} dataset; choose another with data.name"
        )
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
