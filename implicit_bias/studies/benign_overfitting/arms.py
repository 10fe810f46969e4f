"""What the benign-overfitting study trains and tries, from its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from implicit_bias import losses, optimizers
from implicit_bias.data import Dataset
from implicit_bias.studies.benign_overfitting.isotropic import FewExamples
from implicit_bias.studies.benign_overfitting.memorisers import Memorisers
from implicit_bias.studies.benign_overfitting.norms import InterpolatorNorms
from implicit_bias.studies.benign_overfitting.plane import Plane, Schedule
from implicit_bias.studies.benign_overfitting.ranks import EffectiveRanks
from implicit_bias.studies.benign_overfitting.relabelled import Relabelled
from implicit_bias.studies.benign_overfitting.settings import BenignSettings
from implicit_bias.studies.benign_overfitting.tails import SpikedTails
from implicit_bias.studies.refusals import check_classification
from implicit_bias.training import Budget, Lane, Recipe
from implicit_bias.training.budget import Until

if TYPE_CHECKING:
    import xarray as xr

FRACTIONS = (0.0, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
"""Of a schedule's epochs, at which networks on the plane are probed; a quarter of 200 is the stated 50."""


def lanes(settings: BenignSettings, dataset: Dataset, earlier: xr.Dataset | None) -> list[Lane]:
    """Return all lanes: arms × seeds.

    Uniform labels are label noise at rate (K − 1)/K: a label then keeps its class with probability 1/K, and
    becomes each of the others with as much.

    Raises:
        UserError: The data are no classification, or too few.
    """
    check_classification(dataset, "labels are randomised")
    settings.check_batches(dataset, "batch_size")
    made = []
    for arm in settings.arms:
        recipe = _recipe(settings, dataset, arm)
        chance = 1 / dataset.n_outputs
        traced = {
            "step_size": settings.step_size,
            "momentum": settings.momentum,
            "label_noise": 1 - chance if arm.endswith("random") else 0.0,
        }
        tags: dict[str, str | int | float | bool] = {
            "arm": arm,
            "chance": chance,
            "tests": dataset.n_test,
            "examples": recipe.n_train,
            "epoch_updates": recipe.updates_per_epoch,
            "stated_epochs": settings.stated_epochs,
        }
        budget, probes = _length(settings, recipe, arm)
        made += [Lane(recipe, seed, traced, budget, probes, tags) for seed in range(settings.seeds)]
    return made


def _recipe(settings: BenignSettings, dataset: Dataset, arm: str) -> Recipe:
    n_train, n_valid = settings.data.sizes(dataset)
    if arm.startswith("all"):
        n_train = dataset.n_train - n_valid
    return Recipe(
        model=settings.model.build(dataset.n_outputs),
        loss=losses.get("cross_entropy"),
        optimizer=optimizers.get("heavy_ball"),
        schedule=optimizers.Schedule(),
        batch_size=settings.batch_size,
        n_train=n_train,
        n_valid=n_valid,
        dtype=settings.dtype,
    )


def _length(settings: BenignSettings, recipe: Recipe, arm: str) -> tuple[Budget, tuple[int, ...]]:
    """Return when an arm ends, and the updates at which it is probed: whole epochs."""
    stated, per_epoch = settings.stated_epochs, recipe.updates_per_epoch
    if arm.startswith("all"):
        return Budget(stated * per_epoch), tuple(per_epoch * e for e in range(stated + 1))
    most = settings.epochs
    at = {0, 1, stated, most, *range(settings.probe_every, most + 1, settings.probe_every)}
    # A lane that fits all labels has nothing left to memorise.
    budget = Budget(most * per_epoch, until=(Until("train_error", 0.0),))
    return budget, tuple(per_epoch * epoch for epoch in sorted(at))


def tails(settings: BenignSettings, dataset: Dataset) -> SpikedTails:
    """Return the spiked designs."""
    return SpikedTails(**settings.tails.model_dump())


def norms(settings: BenignSettings, dataset: Dataset) -> InterpolatorNorms:
    """Return the norms of interpolators."""
    return InterpolatorNorms(**settings.norms.model_dump())


def ranks(settings: BenignSettings, dataset: Dataset) -> EffectiveRanks:
    """Return the data sets of given rank."""
    return EffectiveRanks(**settings.ranks.model_dump())


def few(settings: BenignSettings, dataset: Dataset) -> FewExamples:
    """Return the few examples of many features."""
    return FewExamples(**settings.few.model_dump())


def relabelled(settings: BenignSettings, dataset: Dataset) -> Relabelled:
    """Return the labels drawn many times."""
    return Relabelled(**settings.relabel.model_dump())


def memorisers(settings: BenignSettings, dataset: Dataset) -> Memorisers:
    """Return what memorises without training."""
    return Memorisers(dataset.n_outputs)


def plane(settings: BenignSettings, dataset: Dataset) -> Plane:
    """Return the networks on the plane: as stated, from another start, and until labels are fitted."""
    own = settings.plane
    return Plane(
        points=own.points,
        tests=own.tests,
        widths=own.widths,
        batch_size=own.batch_size,
        schedules=(
            ("as stated", Schedule("uniform", own.step_size, 0.0, own.epochs)),
            ("He start", Schedule("he", own.step_size, 0.0, own.epochs)),
            (
                "longer",
                Schedule("he", own.longer_step_size, own.longer_momentum, own.longer_epochs, True),
            ),
        ),
        fractions=FRACTIONS,
        grid=own.grid,
    )
