"""What the sharpness study trains: batch sizes × step sizes, to equal epochs and to equal loss."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from implicit_bias import losses, optimizers
from implicit_bias.data import Dataset
from implicit_bias.studies.refusals import (
    Refusal,
    check_at_most,
    check_names,
    different,
    increasing,
)
from implicit_bias.studies.settings import (
    Count,
    DataSettings,
    Different,
    Increasing,
    ModelSettings,
    Positive,
    Section,
    StudySettings,
    Tolerance,
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


def other_than_one(factors: tuple[float, ...]) -> tuple[float, ...]:
    """Refuse factors that change nothing, or one given twice."""
    if 1.0 in factors:
        raise Refusal({}, "give factors other than 1")
    return different(factors)


class Matched(Section):
    """Arms that stop at a training loss."""

    target_loss: Positive = 0.05
    max_epochs: Positive = 1000
    evaluate_every: Count = Field(5, description="updates between evaluations, at all batch sizes")


class Sweeps(Section):
    """Radii of each sharpness, increasing; a plain one and its adaptive one have as many."""

    worst_l2: Increasing = (0.05, 0.1, 0.2, 0.4)
    worst_linf: Increasing = (1e-3, 3e-3, 1e-2)
    average_l2: Increasing = (0.01, 0.03, 0.1)
    average_linf: Increasing = (0.02, 0.06, 0.2)
    adaptive_worst_l2: Increasing = (0.25, 0.5, 1.0, 2.0)
    adaptive_worst_linf: Increasing = (5e-3, 1e-2, 2e-2)
    adaptive_average_l2: Increasing = (0.1, 0.2, 0.4)
    adaptive_average_linf: Increasing = (0.2, 0.4, 0.8)

    @model_validator(mode="after")
    def _as_many(self) -> Sweeps:
        given = self.model_dump()
        for name in given:
            plain = name.removeprefix("adaptive_")
            if len(given[name]) != len(given[plain]):
                raise self.refusal(name, plain, advice="give as many radii of both")
        return self


class Measuring(Section):
    """How finished lanes are measured."""

    examples: Count | None = Field(
        None, description="training examples that losses are means over; none: all of a lane's"
    )
    top: int = Field(5, ge=2, description="largest eigenvalues found")
    tol: Tolerance = Field(1e-4, description="residual of an eigenvalue relative to the largest")
    max_products: int = Field(400, ge=20, description="Hessian-vector products of a search")
    trace_probes: int = Field(16, ge=2)
    density_probes: int = Field(3, ge=2)
    density_depth: int = Field(30, ge=2)
    steps: Count = Field(10, description="ascent steps of a worst-case search, each start")
    draws: int = Field(8, ge=2, description="draws of an average case, each with both signs")

    @model_validator(mode="after")
    def _enough_products(self) -> Measuring:
        if self.max_products < self.top + 2:
            raise self.refusal(
                "max_products", "top", advice="a search needs at least two products more than that"
            )
        return self


Factors = Annotated[tuple[Positive, ...], Field(min_length=1), AfterValidator(other_than_one)]


class KeskarSettings(Section):
    """How Keskar's measure is taken."""

    arms: Annotated[
        tuple[str, ...], Field(min_length=1), AfterValidator(lambda names: check_names(names, ARMS))
    ] = Field(ARMS, description="whose lanes are measured")
    alphas: Annotated[tuple[Positive, ...], AfterValidator(other_than_one)] = Field(
        (10.0,), description="of those rescaled as well"
    )
    epsilons: Different = (1e-3, 5e-4)
    iterations: Count = 10
    subspace: Count = 100


class SharpnessSettings(StudySettings):
    """Settings of the sharpness study."""

    data: DataSettings = DataSettings(n_train=300)
    model: ModelSettings = ModelSettings(widths=(32,))
    dtype: Literal["float32", "float64"] = Field(
        "float64", description="floating-point type; invariance is judged to a part in a thousand"
    )
    batch_sizes: Annotated[tuple[Count, Count], AfterValidator(increasing)] = Field(
        (10, 150), description="small and large"
    )
    step_sizes: Annotated[tuple[Positive, Positive], AfterValidator(increasing)] = Field(
        (0.02, 0.2), description="small and large"
    )
    epochs: Positive = Field(30, description="of the arms of equal epochs")
    matched: Matched = Matched()
    alphas: Factors = Field(
        (0.25, 2.0, 10.0), description="factors of the first layer, undone in the last"
    )
    scales: Factors = Field((2.0, 10.0), description="factors of all parameters: other functions")
    stretch: Positive = Field(2.0, description="c of the loss ψ ↦ L(ψ/c)")
    radii: Sweeps = Sweeps()
    measuring: Measuring = Measuring()
    keskar: KeskarSettings = KeskarSettings()

    @model_validator(mode="after")
    def _usable(self) -> SharpnessSettings:
        if self.model.name != "dense":
            raise self.refusal("model.name", advice="rescaling of layers needs dense")
        if not self.model.widths:
            raise self.refusal("model.widths", advice="rescaling of layers needs a hidden one")
        if self.model.activation not in ("relu", "identity"):
            raise self.refusal(
                "model.activation",
                advice="rescaling of layers keeps the function for relu and identity only; choose one",
            )
        if self.stretch == 1.0:
            raise self.refusal("stretch", advice="give another factor")
        self.check_resolved("measuring.tol")
        return self

    @property
    def points(self) -> tuple[Point, ...]:
        """Where measures are taken."""
        return make_points(self.alphas, self.scales, self.stretch)


def examples(settings: SharpnessSettings, dataset: Dataset) -> int:
    """Return how many training examples losses are means over.

    Raises:
        UserError: A lane has fewer.
    """
    n_train, _ = settings.data.sizes(dataset)
    check_at_most(settings, "measuring.examples", n_train, f"a lane trains on {n_train}")
    return settings.measuring.examples or n_train


def measurement(settings: SharpnessSettings, dataset: Dataset) -> Sharpness:
    """Return what is measured of finished lanes.

    Raises:
        UserError: More is asked for than there is.
    """
    count = settings.parameters(dataset)
    check_at_most(settings, "measuring.top", count, f"the network has {count} parameters")
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
    count = settings.parameters(dataset)
    check_at_most(settings, "keskar.subspace", count, f"the network has {count} parameters")
    return Keskar(
        model, losses.get("cross_entropy"), own.arms, settings.batch_sizes,
        tuple(point for point in points if point.kind != "stretched"), own.epsilons, own.iterations,
        own.subspace, examples(settings, dataset),
    )  # fmt: skip


def arpack(settings: SharpnessSettings, dataset: Dataset) -> Arpack:
    """Return the second opinion on λmax."""
    model = settings.model.build(dataset.n_outputs)
    return Arpack(
        model, losses.get("cross_entropy"), arm(MATCHED, STEPS[-1]), settings.batch_sizes[0],
        examples(settings, dataset),
    )  # fmt: skip


def lanes(settings: SharpnessSettings, dataset: Dataset, earlier: xr.Dataset | None) -> list[Lane]:
    """Return all lanes: arms × batch sizes × seeds.

    Raises:
        UserError: A batch is larger than the data, or a budget makes no sense for them.
    """
    settings.check_batches(dataset, "batch_sizes")
    settings.check_target(dataset, "matched.target_loss")
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
        settings.check_epochs(recipe, "epochs", "matched.max_epochs")
        matched = settings.matched
        longest = epochs(matched.max_epochs, recipe)
        check_at_most(settings, "matched.evaluate_every", longest,
                      f"matched.max_epochs is {longest} updates at batch size {size}")  # fmt: skip
        budgets = {
            EPOCHS: Budget(epochs(settings.epochs, recipe)),
            MATCHED: Budget(
                longest,
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
