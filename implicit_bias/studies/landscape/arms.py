"""What the landscape study trains: end points to look at, and stations on the way to one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from implicit_bias import losses, models, optimizers
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.losses import Loss
from implicit_bias.models import Dense
from implicit_bias.studies.landscape.redrawn import Redrawn
from implicit_bias.studies.settings import (
    Count,
    DataSettings,
    ModelSettings,
    Positive,
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


class Planes(Section):
    """Random planes through each end point."""

    slices: int = Field(10, ge=1, description="planes of each normalisation")
    grid: int = Field(21, ge=3, description="points along each axis of a plane; odd")
    fine_grid: int = Field(51, ge=3, description="the same for the one plane that is drawn; odd")
    reach: Positive = Field(5.0, description="half a raw plane's side, in parameters")
    filter_reach: Positive = Field(
        1.0, description="half a filter-normalised plane's side, relative to each unit's weights"
    )
    examples: Count = Field(10_000, description="training examples the loss is averaged over")
    rescaling: Positive = Field(
        4.0, description="factor on the first layer of the same ReLU network, the control"
    )


class Paths(Section):
    """Ways between end points. Curves are trained as the arm ``adam`` is, and as long."""

    points: int = Field(31, ge=3, description="points along a path between two networks; odd")


class Nearby(Section):
    """Random points around the initial weights."""

    radii: tuple[Positive, ...] = Field(
        (0.01, 0.1, 0.3, 1.0), min_length=1, description="distances relative to ‖θ₀‖"
    )
    points: Count = Field(50, description="points at each distance")


class Special(Section):
    """Planes along eigenvectors and along the trajectory."""

    stations: tuple[Positive, ...] = Field(
        (0.25, 0.5, 1, 2, 5, 10), min_length=2, description="epochs at which the way is looked at"
    )
    reach: Positive = Field(
        2.0, description="half the side of the eigenvector plane, in parameters"
    )
    max_products: Count = Field(100, description="Hessian-vector products for two eigenvectors")


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
            raise ValueError(
                f"batches.small is {self.batches.small} and batches.large {self.batches.large}; "
                "choose a smaller small one"
            )
        if self.batches.scaled_step_size <= self.batches.step_size:
            raise ValueError(
                f"batches.scaled_step_size is {self.batches.scaled_step_size} and step_size "
                f"{self.batches.step_size}; choose a larger scaled one"
            )
        for name, count in (
            ("planes.grid", self.planes.grid),
            ("planes.fine_grid", self.planes.fine_grid),
            ("paths.points", self.paths.points),
        ):
            if count % 2 == 0:
                raise ValueError(
                    f"{name} is {count}; choose an odd number, so that the middle is on it"
                )
        if list(self.special.stations) != sorted(set(self.special.stations)):
            raise ValueError("special.stations must increase; give each epoch once, in order")
        if self.special.stations[-1] >= self.epochs:
            raise ValueError(
                f"special.stations goes up to {self.special.stations[-1]:g}, but training ends at "
                f"{self.epochs:g} epochs; choose earlier ones"
            )
        model = self.model
        if model.name != "dense" or not model.widths or model.parameterisation != "standard":
            raise ValueError(
                "model must be dense with hidden widths, in the standard parameterisation, as its "
                "hidden units are matched and its first layer is cut off; mend model.name, "
                "model.widths or model.parameterisation"
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
    """Return what is compared with them: other initial weights, and stations on the way of one."""
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
    if size > n_train:
        raise UserError(
            f"batches.{'large' if size == own.large else 'small'} is {size}, but a lane trains on "
            f"{n_train} examples; choose at most {n_train}"
        )
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
    updates = epochs(station or settings.epochs, recipe)
    tags: dict[str, str | float] = {"arm": arm}
    return Lane(recipe, seed, {"step_size": step}, Budget(updates), (0, updates), tags)
