"""What the sharpness study trains: batch sizes × step sizes, to equal epochs and to equal loss."""

from __future__ import annotations

import itertools
import math
import zlib
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from implicit_bias import losses, optimizers
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.studies.settings import (
    Count,
    DataSettings,
    ModelSettings,
    Positive,
    Section,
    StudySettings,
)
from implicit_bias.studies.sharpness.arpack import Arpack
from implicit_bias.studies.sharpness.keskar import Keskar
from implicit_bias.studies.sharpness.measure import SWEEPS, Sharpness
from implicit_bias.studies.sharpness.points import FOUND, Point, make_points
from implicit_bias.training import Budget, Lane, Recipe
from implicit_bias.training.recipe import epochs

if TYPE_CHECKING:
    import xarray as xr

STEPS = ("small-step", "large-step")
EPOCHS, MATCHED = "epochs", "matched"


def arm(budget: str, step: str) -> str:
    """Return an arm's name: how long it trains, and with which step."""
    return f"{budget}-{step}"


ARMS = tuple(arm(budget, step) for budget in (EPOCHS, MATCHED) for step in STEPS)
"""All arms; each is run at both batch sizes."""


class Matched(Section):
    """Arms that stop at a training loss."""

    target_loss: Positive = 0.05
    max_epochs: Positive = 1000
    evaluate_every: Count = Field(5, description="updates between evaluations, at all batch sizes")


Radii = tuple[Positive, ...]


class Sweeps(Section):
    """Radii of each sharpness, increasing; a plain one and its adaptive one have as many."""

    worst_l2: Radii = Field((0.05, 0.1, 0.2, 0.4), min_length=1)
    worst_linf: Radii = Field((1e-3, 3e-3, 1e-2), min_length=1)
    average_l2: Radii = Field((0.01, 0.03, 0.1), min_length=1)
    average_linf: Radii = Field((0.02, 0.06, 0.2), min_length=1)
    adaptive_worst_l2: Radii = Field((0.25, 0.5, 1.0, 2.0), min_length=1)
    adaptive_worst_linf: Radii = Field((5e-3, 1e-2, 2e-2), min_length=1)
    adaptive_average_l2: Radii = Field((0.1, 0.2, 0.4), min_length=1)
    adaptive_average_linf: Radii = Field((0.2, 0.4, 0.8), min_length=1)

    @model_validator(mode="after")
    def _increasing(self) -> Sweeps:
        given = self.model_dump()
        for name, radii in given.items():
            if any(low >= high for low, high in itertools.pairwise(radii)):
                raise ValueError(f"radii of {name} are {list(radii)}; give them increasing")
            plain = name.removeprefix("adaptive_")
            if len(radii) != len(given[plain]):
                raise ValueError(f"{name} has {len(radii)} radii and {plain} {len(given[plain])}; "
                                 "give as many")  # fmt: skip
        return self


class Measuring(Section):
    """How finished lanes are measured."""

    examples: Count | None = Field(
        None, description="training examples that losses are means over; none: all of a lane's"
    )
    top: int = Field(5, ge=2, description="largest eigenvalues found")
    tol: Positive = Field(1e-4, description="residual of an eigenvalue relative to the largest")
    max_products: int = Field(400, ge=20, description="Hessian-vector products of a search")
    trace_probes: int = Field(16, ge=2)
    density_probes: int = Field(3, ge=2)
    density_depth: int = Field(30, ge=2)
    steps: Count = Field(10, description="ascent steps of a worst-case search, each start")
    draws: int = Field(8, ge=2, description="draws of an average case, each with both signs")


class KeskarSettings(Section):
    """How Keskar's measure is taken."""

    arms: tuple[str, ...] = Field(ARMS, min_length=1, description="whose lanes are measured")
    alphas: tuple[Positive, ...] = Field((10.0,), description="of those rescaled as well")
    epsilons: tuple[Positive, ...] = Field((1e-3, 5e-4), min_length=1)
    iterations: Count = 10
    subspace: Count = 100

    @model_validator(mode="after")
    def _known_arms(self) -> KeskarSettings:
        for name in self.arms:
            if name not in ARMS:
                raise ValueError(f"arms names {name!r}; choose among {', '.join(ARMS)}")
        if len(set(self.arms)) < len(self.arms):
            raise ValueError("arms names one twice; name each once")
        return self


class SharpnessSettings(StudySettings):
    """Settings of the sharpness study."""

    data: DataSettings = DataSettings(n_train=300)
    model: ModelSettings = ModelSettings(widths=(32,))
    dtype: Literal["float32", "float64"] = Field(
        "float64", description="floating-point type; invariance is judged to a part in a thousand"
    )
    batch_sizes: tuple[Count, Count] = Field((10, 150), description="small and large")
    step_sizes: tuple[Positive, Positive] = Field((0.02, 0.2), description="small and large")
    epochs: Positive = Field(30, description="of the arms of equal epochs")
    matched: Matched = Matched()
    alphas: tuple[Positive, ...] = Field(
        (0.25, 2.0, 10.0),
        min_length=1,
        description="factors of the first layer, undone in the last",
    )
    scales: tuple[Positive, ...] = Field(
        (2.0, 10.0), min_length=1, description="factors of all parameters: other functions"
    )
    stretch: Positive = Field(2.0, description="c of the loss ψ ↦ L(ψ/c)")
    radii: Sweeps = Sweeps()
    measuring: Measuring = Measuring()
    keskar: KeskarSettings = KeskarSettings()

    @model_validator(mode="after")
    def _usable(self) -> SharpnessSettings:
        small, large = self.batch_sizes
        if not small < large:
            raise ValueError(f"batch_sizes are {small} and {large}; give the smaller first")
        if not self.step_sizes[0] < self.step_sizes[1]:
            raise ValueError(f"step_sizes are {list(self.step_sizes)}; give the smaller first")
        if self.model.name != "dense" or not self.model.widths:
            raise ValueError(
                "model is not a dense network with a hidden layer; rescaling of layers needs one"
            )
        if self.model.activation not in ("relu", "identity"):
            raise ValueError(
                f"model.activation is {self.model.activation}; rescaling of layers keeps the function "
                "for relu and identity only"
            )
        for name, factors in (("alphas", self.alphas), ("scales", self.scales)):
            if 1.0 in factors or len(set(factors)) < len(factors):
                raise ValueError(f"{name} are {list(factors)}; give different factors other than 1")
        if self.stretch == 1.0:
            raise ValueError("stretch is 1; give another factor")
        return self

    @property
    def points(self) -> tuple[Point, ...]:
        """Where measures are taken."""
        return make_points(self.alphas, self.scales, self.stretch)


def examples(settings: SharpnessSettings, dataset: Dataset) -> int:
    """Return how many training examples losses are means over."""
    n_train, _ = settings.data.sizes(dataset)
    return min(settings.measuring.examples or n_train, n_train)


def measurement(settings: SharpnessSettings, dataset: Dataset) -> Sharpness:
    """Return what is measured of finished lanes."""
    options = settings.measuring.model_dump()
    del options["examples"]
    radii = settings.radii.model_dump()
    return Sharpness(
        points=settings.points,
        radii=tuple(tuple(radii[sweep.name]) for sweep in SWEEPS),
        last=f"layer_{len(settings.model.widths)}",
        n_test=dataset.n_test,
        examples=examples(settings, dataset),
        loss_unit=losses.get("cross_entropy").unit,
        **options,
    )


def keskar(settings: SharpnessSettings, dataset: Dataset) -> Keskar:
    """Return the published measure of the arms chosen."""
    own = settings.keskar
    points = make_points(own.alphas, (), settings.stretch)
    model = settings.model.build(dataset.n_outputs)
    count = _parameters(settings, dataset)
    if own.subspace > count:
        raise UserError(
            f"keskar.subspace is {own.subspace}, but the network has {count} parameters; choose at most so "
            f"many"
        )
    return Keskar(
        model, losses.get("cross_entropy"), own.arms, settings.batch_sizes,
        tuple(point for point in points if point.kind != "stretched"), own.epsilons, own.iterations,
        own.subspace, examples(settings, dataset),
    )  # fmt: skip


def _parameters(settings: SharpnessSettings, dataset: Dataset) -> int:
    """Return the number of the network's parameters."""
    sizes = [math.prod(dataset.input_shape), *settings.model.widths, dataset.n_outputs]
    bias = int(settings.model.bias)
    return sum((a + bias) * b for a, b in itertools.pairwise(sizes))


def arpack(settings: SharpnessSettings, dataset: Dataset) -> Arpack:
    """Return the second opinion on λmax."""
    model = settings.model.build(dataset.n_outputs)
    return Arpack(
        model, losses.get("cross_entropy"), arm(MATCHED, STEPS[-1]), settings.batch_sizes[0],
        examples(settings, dataset),
    )  # fmt: skip


def lanes(settings: SharpnessSettings, dataset: Dataset, earlier: xr.Dataset | None) -> list[Lane]:
    """Return all lanes: arms × batch sizes × seeds."""
    n_train, n_valid = settings.data.sizes(dataset)
    model, loss = settings.model.build(dataset.n_outputs), losses.get("cross_entropy")
    made: list[Lane] = []
    for size in settings.batch_sizes:
        recipe = Recipe(
            model=model,
            loss=loss,
            optimizer=optimizers.get("sgd"),
            schedule=optimizers.Schedule(),
            batch_size=size,
            n_train=n_train,
            n_valid=n_valid,
            dtype=settings.dtype,
        )
        matched = settings.matched
        budgets = {
            EPOCHS: Budget(epochs(settings.epochs, recipe)),
            MATCHED: Budget(
                epochs(matched.max_epochs, recipe),
                matched.target_loss,
                matched.evaluate_every,
            ),
        }
        for name, budget in budgets.items():
            for step, value in zip(STEPS, settings.step_sizes, strict=True):
                tags: dict[str, Any] = {"arm": arm(name, step)}
                made += [
                    Lane(recipe, seed, {"step_size": value}, budget, (), tags)
                    for seed in range(settings.seeds)
                ]
    return made


def derive(result: xr.Dataset) -> xr.Dataset:
    """Leave out eigenvalues that were not found, and add for each lane one way of writing it at random.

    ``drawn_point`` is the position of one of the points of the same network: the parameters found or
    rescaled layers, drawn for each lane, so that measures can be compared between networks that are written
    differently.
    """
    found = result["at_converged"] == 1
    names = ("at_lambda_max", "at_lambda_over_loss", "at_lambda_norm")
    changed = {name: result[name].where(found).assign_attrs(result[name].attrs) for name in names}
    same = [
        place
        for place, label in enumerate(map(str, result["point"].values))
        if label == FOUND or label.startswith("layers")
    ]
    drawn = [
        same[np.random.default_rng([int(seed), zlib.crc32(text.encode()), int(size)]).integers(len(same))]
        for seed, text, size in zip(
            result["seed"].values, map(str, result["arm"].values), result["batch_size"].values,
            strict=True,
        )
    ]  # fmt: skip
    changed["drawn_point"] = result["seed"].copy(data=np.asarray(drawn))
    changed["drawn_point"].attrs = {
        "units": "1",
        "long_name": "position of a point of the same network",
    }
    changed["drawn_point"].name = "drawn_point"
    return result.assign(changed)
