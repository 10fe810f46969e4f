"""What the flat-minima study trains: batch sizes, penalties on curvature, and published protocols."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from implicit_bias import losses, models, optimizers
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.models import Model
from implicit_bias.studies.flat_minima.constructed import PoisonedMinima, RandomSearch
from implicit_bias.studies.flat_minima.measure import Flatness
from implicit_bias.studies.settings import (
    Count,
    DataSettings,
    NonNegative,
    Positive,
    Section,
    StudySettings,
)
from implicit_bias.training import Budget, Lane, Recipe, epochs

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Arm:
    """What is trained under one name.

    Attributes:
        optimizer: Its name.
        what: One line, for tables.
        sizes: The batch sizes: small, large or both of the study's; or of the spectrum's protocol.
        step: Tuned on validation data, or fixed.
        strength: The traced setting that is swept; the lane compared is chosen on validation data.
        long: Whether it gets as many updates as the small batch.
        task: The data it is trained on.
        gradients: Cost of an update, in gradients of a batch.
        published: A protocol of its own, with several lengths of training.
    """

    optimizer: str
    what: str
    sizes: Literal["small", "large", "both", "spectrum", "spectrum-large"] = "large"
    step: Literal["tuned", "fixed"] = "tuned"
    strength: str = ""
    long: bool = False
    task: Literal["clean", "noisy", "few"] = "clean"
    gradients: int = 1
    published: bool = False


ARMS: dict[str, Arm] = {
    "sgd": Arm("heavy_ball", "SGD with momentum, step size tuned", "both"),
    "sgd-long": Arm("heavy_ball", "SGD, as many updates as the small batch", long=True),
    "fixed": Arm("heavy_ball", "SGD without momentum, one step size", "both", "fixed"),
    "sam": Arm("sam(heavy_ball)", "SAM", strength="rho", gradients=2),
    "asam": Arm("asam(heavy_ball)", "ASAM", strength="rho", gradients=2),
    "trace-penalty": Arm("trace_penalty(heavy_ball)", "penalty on tr H", strength="gamma", gradients=3),
    "top-penalty": Arm("top_penalty(heavy_ball)", "penalty on λmax", strength="gamma", gradients=18),
    "sam-small": Arm("sam(heavy_ball)", "SAM", "small", strength="rho", gradients=2),
    "sam-large-rho": Arm("sam(heavy_ball)", "SAM with a large ρ", gradients=2),
    "sgd-noisy": Arm("heavy_ball", "SGD, noisy labels", task="noisy"),
    "sam-noisy": Arm("sam(heavy_ball)", "SAM, noisy labels", strength="rho", task="noisy", gradients=2),
    "sgd-few": Arm("heavy_ball", "SGD, few examples", task="few"),
    "sam-few": Arm("sam(heavy_ball)", "SAM, few examples", strength="rho", task="few", gradients=2),
    "decay": Arm("heavy_ball", "SGD, weight decay", "small", strength="weight_decay"),
    "momentum": Arm("heavy_ball", "published protocol A: heavy ball", "spectrum", "fixed",
                    published=True),
    "adam": Arm("adam", "published protocol B: Adam", "spectrum", "fixed", published=True),
    "momentum-large": Arm("heavy_ball", "protocol A, large batches", "spectrum-large", "fixed"),
    "momentum-decay": Arm("heavy_ball", "protocol A, weight decay", "spectrum", "fixed"),
    "momentum-deep": Arm("heavy_ball", "protocol A, three hidden layers", "spectrum", "fixed"),
}  # fmt: skip
TUNING = "tuning"
"""Arm of the lanes from which step sizes are chosen; not measured."""
PENALTIES = ("sam", "asam", "trace-penalty", "top-penalty")
"""Arms that make the minima of large batches flatter."""


class Strengths(Section):
    """What is swept in the arms that make minima flatter; chosen on validation data, seed by seed."""

    sam: tuple[Positive, ...] = Field((0.05, 0.1, 0.2, 0.5), min_length=1, description="ρ")
    asam: tuple[Positive, ...] = Field((0.5, 1.0, 2.0, 4.0), min_length=1, description="ρ")
    trace_penalty: tuple[Positive, ...] = Field(
        (1e-4, 1e-3, 1e-2), min_length=1, description="factor of the penalty"
    )
    top_penalty: tuple[Positive, ...] = Field(
        (1e-3, 1e-2, 1e-1), min_length=1, description="factor of the penalty"
    )
    weight_decay: tuple[Positive, ...] = Field(
        (1e-4, 1e-3, 1e-2), min_length=1, description="coupled, on the gradient"
    )
    step_factors: tuple[Positive, ...] = Field(
        (1.0,), min_length=1, description="step sizes tried with each, relative to SGD's tuned one"
    )
    large_rho: Positive = Field(0.5, description="ρ of the arm with a large one")

    @model_validator(mode="after")
    def _different(self) -> Strengths:
        for name, values in self:
            if isinstance(values, tuple) and len(set(values)) != len(values):
                raise ValueError(f"strengths.{name} is {values}; give different values")
        return self

    def of(self, arm: Arm) -> tuple[float, ...]:
        """Return what is swept in an arm."""
        if arm.strength == "weight_decay":
            return self.weight_decay
        values: tuple[float, ...] = getattr(self, arm.optimizer.partition("(")[0])
        return values


class Spectrum(Section):
    """The published protocols whose Hessian spectra are compared (chapter 11, example 4)."""

    widths: tuple[Count, ...] | None = Field(
        None, description="hidden widths of the protocols; none: the study's"
    )
    batch_size: Count = 32
    step_size: Positive = Field(0.1, description="of heavy ball")
    momentum: float = Field(0.9, ge=0, lt=1)
    adam_step_size: Positive = 1e-3
    epochs: tuple[Count, ...] = Field((5, 20, 50, 100), min_length=1)
    published_epochs: Count = Field(50, description="the length that is compared with the source")
    large_batch_size: Count = 512
    weight_decay: NonNegative = Field(2e-4, description="twice the source's factor of ‖θ‖²")
    deep_widths: tuple[Count, ...] = Field((100, 100, 100), min_length=2)

    @model_validator(mode="after")
    def _consistent(self) -> Spectrum:
        if self.published_epochs not in self.epochs:
            raise ValueError(
                f"spectrum.published_epochs is {self.published_epochs}, which spectrum.epochs "
                f"{self.epochs} lacks; add it"
            )
        if list(self.epochs) != sorted(set(self.epochs)):
            raise ValueError(f"spectrum.epochs is {self.epochs}; give increasing numbers")
        return self


class Tasks(Section):
    """Other data on which SAM is compared with SGD."""

    label_noise: float = Field(0.2, ge=0, lt=1, description="rate of wrong training labels")
    few: Count = Field(100, description="training examples where there are few")


class MeasureSettings(Section):
    """What is measured at the end of training."""

    examples: Count | None = Field(
        None, description="training examples for curvature; none: all of the lane's"
    )
    eigenvalues: Count = Field(20, description="eigenvalues at either end")
    tol: Positive = Field(1e-4, description="residual relative to the largest, at most")
    max_products: Count = Field(150, description="Hessian-vector products for each end, at most")
    trace_probes: int = Field(16, ge=2)
    adaptive_radii: tuple[Positive, ...] = Field((0.25, 0.5, 1.0), min_length=1)
    adaptive_steps: Count = 10
    attacked: Count | None = Field(None, description="test examples attacked; none: all")
    eps: tuple[Positive, ...] = Field(
        (0.02, 0.05, 0.1, 0.2), min_length=1, description="radii of attacks, pixels from 0 to 1"
    )
    published_eps: Positive = Field(0.1, description="the radius that is compared with the source")
    pgd_steps: Count = 10
    certified_radii: tuple[Positive, ...] = Field(
        (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5), min_length=2,
        description="Euclidean radii, pixels from 0 to 1",
    )  # fmt: skip

    @model_validator(mode="after")
    def _consistent(self) -> MeasureSettings:
        if self.published_eps not in self.eps:
            raise ValueError(
                f"measure.published_eps is {self.published_eps}, which measure.eps {self.eps} lacks; "
                "add it"
            )
        if self.max_products < self.eigenvalues + 2:
            raise ValueError(
                f"measure.max_products is {self.max_products}, too few for {self.eigenvalues} "
                f"eigenvalues; choose at least {self.eigenvalues + 2}"
            )
        for name in ("adaptive_radii", "eps", "certified_radii"):
            values = getattr(self, name)
            if list(values) != sorted(set(values)):
                raise ValueError(f"measure.{name} is {values}; give increasing numbers")
        return self


class Poison(Section):
    """Minima of gradient descent with and without wrongly labelled extra examples."""

    examples: Count = Field(300, description="clean training examples")
    extra: Count = Field(150, description="wrongly labelled ones")
    target_loss: Positive = Field(0.1, description="mean loss over the clean examples, nats")
    step_size: Positive = 0.1
    momentum: float = Field(0.9, ge=0, lt=1)
    max_updates: Count = 3000


class Search(Section):
    """Networks found by guessing against networks found by gradient descent."""

    examples: Count = Field(12, description="of the classes 0 and 1 together; an even number")
    width: Count = 8
    guesses: Count = 20_000
    keep: Count = Field(8, description="guesses compared, those of least loss")
    step_size: Positive = 0.05
    max_updates: Count = 5000

    @model_validator(mode="after")
    def _consistent(self) -> Search:
        if self.examples % 2:
            raise ValueError(
                f"search.examples is {self.examples}; choose an even number, half of each class"
            )
        if self.keep > self.guesses:
            raise ValueError(
                f"search.keep is {self.keep}, more than the {self.guesses} guesses; choose fewer"
            )
        return self


class FlatMinimaSettings(StudySettings):
    """Settings of the flat-minima study."""

    arms: tuple[str, ...] = Field(tuple(ARMS), min_length=1)
    data: DataSettings = DataSettings(n_train=800, n_valid=200, standardise="none")
    small_batch: Count = 32
    large_batch: Count = 256
    epochs: Positive = Field(20, description="budget of every arm but the published and long ones")
    step_sizes: tuple[Positive, ...] = Field(
        (0.01, 0.03, 0.1, 0.3), min_length=1, description="grid of SGD, for each batch size"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of every arm with a tuned step size")
    fixed_step_size: Positive = Field(0.1, description="of the arm fixed, without momentum")
    strengths: Strengths = Strengths()
    spectrum: Spectrum = Spectrum()
    tasks: Tasks = Tasks()
    measure: MeasureSettings = MeasureSettings()
    poison: Poison = Poison()
    search: Search = Search()

    @model_validator(mode="after")
    def _consistent(self) -> FlatMinimaSettings:
        for arm in self.arms:
            if arm not in ARMS:
                raise ValueError(f"arms names {arm!r}; choose among {', '.join(ARMS)}")
        if len(set(self.arms)) < len(self.arms):
            raise ValueError("arms names one twice; name each once")
        if "sgd" not in self.arms:
            raise ValueError("arms lacks 'sgd', against which all others are compared; add it")
        if self.small_batch >= self.large_batch:
            raise ValueError(
                f"small_batch is {self.small_batch} and large_batch {self.large_batch}; choose a larger "
                "large_batch"
            )
        if len(set(self.step_sizes)) < len(self.step_sizes):
            raise ValueError(f"step_sizes is {self.step_sizes}; give different values")
        if self.data.n_valid < 1:
            raise ValueError(
                "step sizes and strengths are chosen on validation data; set data.n_valid"
            )
        if self.data.standardise != "none":
            raise ValueError(
                f"data.standardise is {self.data.standardise!r}, but attacks are in pixel units; "
                "choose none"
            )
        if self.model.name != "dense" or self.model.activation not in ("relu", "tanh", "identity"):
            raise ValueError(
                "certified radii are known for dense networks with relu, tanh or identity; "
                "choose such a model"
            )
        return self


# What is trained


def tuning_lanes(
    settings: FlatMinimaSettings, dataset: Dataset, earlier: xr.Dataset | None
) -> list[Lane]:
    """Return SGD's grid of step sizes at both batch sizes."""
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
    widths = own.deep_widths if name == "momentum-deep" else own.widths or settings.model.widths
    model = settings.model.model_copy(update={"widths": widths}).build(dataset.n_outputs)
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


def _recipe(
    settings: FlatMinimaSettings,
    dataset: Dataset,
    optimizer: str,
    batch_size: int,
    n_train: int | None = None,
    model: Model | None = None,
) -> Recipe:
    whole, n_valid = settings.data.sizes(dataset)
    if dataset.task != "classification":
        raise UserError(
            f"the flat-minima study compares classification errors, but {dataset.name} is a "
            f"{dataset.task} dataset; choose another with data.name"
        )
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


def measurement(settings: FlatMinimaSettings, dataset: Dataset) -> Flatness:
    """Return what is measured at the end of every lane but those of the tuning grid.

    Raises:
        UserError: More examples are asked for than there are, or the inputs are not pixels.
    """
    n_train, _ = settings.data.sizes(dataset)
    few = settings.tasks.few if any(ARMS[arm].task == "few" for arm in settings.arms) else n_train
    if few > n_train:
        raise UserError(f"tasks.few is {few}, but a lane trains on {n_train}; choose at most that")
    chosen = settings.measure.model_dump()
    examples, attacked = chosen.pop("examples"), chosen.pop("attacked")
    for name, asked, there in (
        ("examples", examples, n_train),
        ("attacked", attacked, dataset.n_test),
    ):
        if asked is not None and asked > there:
            raise UserError(
                f"measure.{name} is {asked}, but there are {there}; choose at most that"
            )
    least, most = float(dataset.x_train.min()), float(dataset.x_train.max())
    if least < 0 or most > 1:
        raise UserError(
            f"the inputs of {dataset.name} lie between {least:g} and {most:g}, but attacks need pixels from "
            "0 to 1; choose images with data.name"
        )
    model = settings.model.build(dataset.n_outputs)
    assert isinstance(model, models.Dense)
    return Flatness(
        n_test=dataset.n_test,
        examples=examples or n_train,
        attacked=attacked or dataset.n_test,
        **chosen,
    )


def poisoned(settings: FlatMinimaSettings, dataset: Dataset) -> PoisonedMinima:
    """Return the experiment with mislabelled extra examples.

    Raises:
        UserError: There are too few examples.
    """
    own = settings.poison
    if own.examples + own.extra > dataset.n_train:
        raise UserError(
            f"poison.examples and poison.extra are {own.examples} and {own.extra}, but there are "
            f"{dataset.n_train} examples; choose at most that together"
        )
    model = settings.model.build(dataset.n_outputs)
    assert isinstance(model, models.Dense)
    return PoisonedMinima(
        model=model,
        n_test=dataset.n_test,
        classes=dataset.n_outputs,
        tol=settings.measure.tol,
        max_products=settings.measure.max_products,
        radii=settings.measure.adaptive_radii,
        steps=settings.measure.adaptive_steps,
        **own.model_dump(),
    )


def guessed(settings: FlatMinimaSettings, dataset: Dataset) -> RandomSearch:
    """Return the experiment with guessed networks.

    Raises:
        UserError: A class has too few examples.
    """
    fewest = min(int((dataset.y_train == label).sum()) for label in (0, 1))
    if settings.search.examples // 2 > fewest:
        raise UserError(
            f"search.examples is {settings.search.examples}, but a class has {fewest}; choose at most "
            f"{2 * fewest}"
        )
    return RandomSearch(**settings.search.model_dump())
