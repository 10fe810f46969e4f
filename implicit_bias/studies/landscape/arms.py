"""What the landscape study trains: end points to look at, and stations on the way to one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, model_validator

from implicit_bias import losses, models, optimizers
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.losses import Loss
from implicit_bias.models import Dense
from implicit_bias.studies.landscape.redrawn import Redrawn
from implicit_bias.studies.refusals import Refusal, increasing
from implicit_bias.studies.schema_words import show
from implicit_bias.studies.settings import (
    Count,
    DataSettings,
    Different,
    ModelSettings,
    Positive,
    Products,
    Section,
    StudySettings,
)
from implicit_bias.training import Budget, Lane, Recipe, epochs

if TYPE_CHECKING:
    import xarray as xr

LOSS = "cross_entropy"

ARMS: dict[str, str] = {
    "small": "SGD, small batches",
    "large": "SGD, large batches, the same step size",
    "scaled": "SGD, large batches, a larger step size",
    "adam": "Adam, small batches",
    "redrawn": "SGD, small batches, other initial weights",
}
"""The end points, with what they are; all of a seed but the last begin at the same weights."""

MEASURED = ("small", "large", "scaled", "adam")
STATION = "station"
"""Arm of the lanes that stop early, on the way of ``small``."""


@dataclass(frozen=True)
class Subject:
    """What loss is looked at, and on which examples; static.

    Its text says what it is, in any process: runs that go on know by it what is measured already.

    Attributes:
        model: Network.
        loss_name: Name of the loss.
        examples: Training examples, the first of the lane's own; the test set is taken whole.
    """

    model: Dense
    loss_name: str
    examples: int

    @property
    def loss(self) -> Loss:
        """The loss."""
        return losses.get(self.loss_name)


class Batches(Section):
    """Batch and step sizes."""

    small: Count = 32
    large: Count = 512
    step_size: Positive = Field(0.1, description="of SGD, for both batch sizes")
    scaled_step_size: Positive = Field(
        0.8, description="of SGD with large batches where it is larger for them"
    )
    adam_step_size: Positive = 1e-3


def odd(count: int) -> int:
    """Refuse a number of points without a middle."""
    if count % 2 == 0:
        raise Refusal({}, "choose an odd number, so that the middle is on it")
    return count


Points = Annotated[int, Field(ge=3, le=1001), AfterValidator(odd)]


class Planes(Section):
    """Random planes through each end point."""

    slices: Count = Field(10, description="planes of each normalisation")
    grid: Points = Field(21, description="points along each axis of a plane; odd")
    fine_grid: Points = Field(51, description="the same for the one plane that is drawn; odd")
    reach: Positive = Field(5.0, description="half a raw plane's side, in parameters")
    filter_reach: Positive = Field(
        1.0, description="half a filter-normalised plane's side, relative to each unit's weights"
    )
    examples: Count = Field(
        10_000, description="training examples the loss is averaged over; at most all of a lane's"
    )
    rescaling: Positive = Field(
        4.0, description="factor on the first layer of the same ReLU network, the control"
    )

    @model_validator(mode="after")
    def _rescales(self) -> Planes:
        if self.rescaling == 1:
            raise self.refusal("rescaling", advice="give another factor: this one changes nothing")
        return self


class Paths(Section):
    """Ways between end points. Curves are trained as the arm ``adam`` is, and as long."""

    points: Points = Field(31, description="points along a path between two networks; odd")


class Nearby(Section):
    """Random points around the initial weights."""

    radii: Different = Field((0.01, 0.1, 0.3, 1.0), description="distances relative to ‖θ₀‖")
    points: int = Field(50, ge=1, le=10_000, description="points at each distance")


class Special(Section):
    """Planes along eigenvectors and along the trajectory."""

    stations: Annotated[tuple[Positive, ...], Field(min_length=2), AfterValidator(increasing)] = (
        Field((0.25, 0.5, 1, 2, 5, 10), description="epochs at which the way is looked at")
    )
    reach: Positive = Field(
        2.0, description="half the side of the eigenvector plane, in parameters"
    )
    max_products: Products = Field(100, description="Hessian-vector products for two eigenvectors")


class LandscapeSettings(StudySettings):
    """Settings of the landscape study."""

    data: DataSettings = DataSettings(classes=(0, 1))
    model: ModelSettings = ModelSettings(widths=(50,))
    epochs: Positive = 20
    batches: Batches = Batches()
    planes: Planes = Planes()
    paths: Paths = Paths()
    nearby: Nearby = Nearby()
    special: Special = Special()

    @model_validator(mode="after")
    def _fits(self) -> LandscapeSettings:
        if self.batches.small >= self.batches.large:
            raise self.refusal(
                "batches.small", "batches.large", advice="choose a smaller small one"
            )
        if self.batches.scaled_step_size <= self.batches.step_size:
            raise self.refusal(
                "batches.scaled_step_size",
                "batches.step_size",
                advice="choose a larger scaled one",
            )
        if self.special.stations[-1] >= self.epochs:
            raise self.refusal(
                "special.stations", "epochs", advice="choose stations before training ends"
            )
        if self.model.name != "dense":
            raise self.refusal("model.name", advice="hidden units are matched, which needs dense")
        if not self.model.widths:
            raise self.refusal("model.widths", advice="hidden units are matched; give some")
        if self.model.parameterisation != "standard":
            raise self.refusal(
                "model.parameterisation", advice="the first layer is cut off, which needs standard"
            )
        return self


def subject(settings: LandscapeSettings, dataset: Dataset) -> Subject:
    """Return what loss is looked at."""
    n_train, _ = settings.data.sizes(dataset)
    model = settings.model.build(dataset.n_outputs)
    assert isinstance(model, models.Dense)  # the settings allow nothing else
    return Subject(model, LOSS, min(settings.planes.examples, n_train))


def lanes(settings: LandscapeSettings, dataset: Dataset, earlier: xr.Dataset | None) -> list[Lane]:
    """Return the end points that are measured: arms × seeds."""
    return [
        _lane(settings, dataset, arm, seed) for arm in MEASURED for seed in range(settings.seeds)
    ]


def partners(
    settings: LandscapeSettings, dataset: Dataset, earlier: xr.Dataset | None
) -> list[Lane]:
    """Return what is compared with them: other initial weights, and stations on the way of one.

    Raises:
        UserError: Two stations, or the last and the end, are the same update.
    """
    recipe = _lane(settings, dataset, STATION, 0).recipe
    ends = [epochs(station, recipe) for station in (*settings.special.stations, settings.epochs)]
    if len(set(ends)) < len(ends):
        raise UserError(
            f"special.stations is {show(settings.special.stations)} and epochs is "
            f"{show(settings.epochs)}, but an epoch has {recipe.updates_per_epoch} updates, so that some "
            "come after the same one; choose stations farther apart"
        )
    made = [_lane(settings, dataset, "redrawn", seed) for seed in range(settings.seeds)]
    for station in settings.special.stations:
        made += [_lane(settings, dataset, STATION, seed, station) for seed in range(settings.seeds)]
    return made


def adam_updates(settings: LandscapeSettings, dataset: Dataset) -> int:
    """Return the updates of the arm ``adam``, and of a curve."""
    return _lane(settings, dataset, "adam", 0).budget.updates


def _lane(
    settings: LandscapeSettings, dataset: Dataset, arm: str, seed: int, station: float = 0.0
) -> Lane:
    n_train, n_valid = settings.data.sizes(dataset)
    own = settings.batches
    model = settings.model.build(dataset.n_outputs)
    size = own.large if arm in ("large", "scaled") else own.small
    settings.check_batches(dataset, "batches.small", "batches.large")
    step = {"scaled": own.scaled_step_size, "adam": own.adam_step_size}.get(arm, own.step_size)
    recipe = Recipe(
        model=Redrawn(model) if arm == "redrawn" else model,
        loss=losses.get(LOSS),
        optimizer=optimizers.get("adam" if arm == "adam" else "sgd"),
        schedule=optimizers.Schedule(),
        batch_size=size,
        n_train=n_train,
        n_valid=n_valid,
        dtype=settings.dtype,
    )
    settings.check_epochs(recipe, "epochs")
    updates = epochs(station or settings.epochs, recipe)
    tags: dict[str, str | float] = {"arm": arm}
    return Lane(recipe, seed, {"step_size": step}, Budget(updates), (0, updates), tags)
