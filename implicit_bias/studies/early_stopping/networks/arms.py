"""What the networks' part of the early-stopping study trains on the run's data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from implicit_bias import losses, optimizers
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.models import Dense
from implicit_bias.studies.early_stopping.networks.probe import ClassAccuracy
from implicit_bias.studies.early_stopping.networks.settings import Decay, Gap, Overfit
from implicit_bias.studies.refusals import check_at_most, check_classification, value_of
from implicit_bias.studies.settings import ModelSettings
from implicit_bias.training import Budget, Lane, Recipe

if TYPE_CHECKING:
    import xarray as xr

STATED = (10, 50, 100, 150, 200)
"""Epochs at which gaps are stated."""


def lanes(settings: Any, dataset: Dataset, earlier: xr.Dataset | None) -> list[Lane]:
    """Return all lanes: arms × their batch sizes and penalties × seeds.

    The optimiser is SGD with heavy-ball momentum, which is traced and 0 where a source has none, so that
    lanes of one batch size share a program. A penalty λΣ‖W‖² is a weight decay of 2λ; it falls on biases too.

    Args:
        settings: Of the study; the section ``networks`` is read.
        dataset: The run's data.
        earlier: Not used.

    Raises:
        UserError: The data are no classification, or too few.
    """
    del earlier
    check_classification(dataset, "networks.arms are trained with cross-entropy")
    for key, default in {"data.n_train": None, "data.n_valid": 0, "model": ModelSettings()}.items():
        if value_of(settings, key) != default:
            raise UserError(
                f"{key} is given, but each of networks.arms has its own; set networks.valid and, of an arm, "
                "examples and widths"
            )
    own = settings.networks
    made = []
    for arm in own.arms:
        section = getattr(own, arm)
        room = _room(settings, dataset, arm)
        for batch_size in _batch_sizes(section):
            recipe = _recipe(settings, dataset, section, batch_size, room)
            for penalty in _penalties(section):
                made += [
                    _lane(settings, dataset, arm, recipe, penalty, seed)
                    for seed in range(settings.seeds)
                ]
    return made


def network_probe(settings: Any, dataset: Dataset) -> ClassAccuracy:
    """Return what is measured while networks train: the norm of their weights, accuracy by class."""
    return ClassAccuracy(dataset.n_outputs, settings.networks.class_examples)


def probed_epochs(epochs: int, every: int) -> list[int]:
    """Return the epochs after which a lane is evaluated: 0, 1, the stated ones, every so many, the last."""
    return sorted({0, 1, *(e for e in STATED if e < epochs), *range(every, epochs, every), epochs})


def _room(settings: Any, dataset: Dataset, arm: str) -> int:
    """Return an arm's number of training examples."""
    own = settings.networks
    left = dataset.n_train - own.valid
    there = f"{dataset.name} has {dataset.n_train} training examples"
    check_at_most(settings, "networks.valid", dataset.n_train - 1, there)
    key = f"networks.{arm}.examples"
    check_at_most(settings, key, left, f"{dataset.name} has {left} examples left to train on")
    examples: int = getattr(own, arm).examples or left
    batches = "batch_sizes" if arm == "gap" else "batch_size"
    there = f"a lane of arm {arm} trains on {examples} examples"
    check_at_most(settings, f"networks.{arm}.{batches}", examples, there)
    return examples


def _batch_sizes(section: Decay | Gap | Overfit) -> tuple[int, ...]:
    return section.batch_sizes if isinstance(section, Gap) else (section.batch_size,)


def _penalties(section: Decay | Gap | Overfit) -> tuple[float, ...]:
    match section:
        case Decay():
            return section.penalties
        case Gap():
            return (0.0, section.penalty)
    return (0.0,)


def _recipe(
    settings: Any, dataset: Dataset, section: Decay | Gap | Overfit, batch_size: int, examples: int
) -> Recipe:
    return Recipe(
        model=Dense(section.widths, dataset.n_outputs),
        loss=losses.get("cross_entropy"),
        optimizer=optimizers.get("heavy_ball"),
        schedule=optimizers.Schedule(),
        batch_size=batch_size,
        n_train=examples,
        n_valid=settings.networks.valid,
        dtype=settings.dtype,
    )


def _lane(
    settings: Any, dataset: Dataset, arm: str, recipe: Recipe, penalty: float, seed: int
) -> Lane:
    section, per_epoch = getattr(settings.networks, arm), recipe.updates_per_epoch
    settings.check_epochs(recipe, f"networks.{arm}.epochs")
    traced = {
        "step_size": section.step_size,
        "momentum": section.momentum if isinstance(section, Decay) else 0.0,
        "weight_decay": 2 * penalty,
    }
    tags: dict[str, str | int | float | bool] = {
        "arm": arm,
        "penalty": penalty,
        "data_name": dataset.name,
        "tests": dataset.n_test,
        "examples": recipe.n_train,
        "inputs": math.prod(dataset.input_shape),
        "epoch_updates": per_epoch,
        "stated": (recipe.batch_size, penalty) in _stated(section),
    }
    probes = tuple(
        per_epoch * epoch for epoch in probed_epochs(section.epochs, settings.networks.probe_every)
    )
    return Lane(recipe, seed, traced, Budget(per_epoch * section.epochs), probes, tags)


def _stated(section: Decay | Gap | Overfit) -> list[tuple[int, float]]:
    """Return the batch sizes and penalties that the document itself runs; the others are controls."""
    if not isinstance(section, Gap):
        return [
            (batch, penalty) for batch in _batch_sizes(section) for penalty in _penalties(section)
        ]
    return [
        *((batch, 0.0) for batch in section.batch_sizes[:-1]),
        (section.batch_sizes[-1], section.penalty),
    ]
