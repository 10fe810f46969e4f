"""What the landscape study trains: end points to look at, and stations on the way to one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from implicit_bias import losses, models, optimizers
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.losses import Loss
from implicit_bias.models import Dense
from implicit_bias.studies.landscape.redrawn import Redrawn
from implicit_bias.studies.landscape.settings import LandscapeSettings
from implicit_bias.studies.schema_words import show
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
