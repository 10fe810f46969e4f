"""What the attention study trains: one transformer on much data, on little, on noise, from other starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from implicit_bias import losses, optimizers
from implicit_bias.data import Dataset
from implicit_bias.studies.attention.collapse import Stacks
from implicit_bias.studies.attention.measure import Attention
from implicit_bias.studies.attention.settings import FEW, AttentionSettings
from implicit_bias.studies.planning import log_times
from implicit_bias.studies.refusals import check_at_most, check_classification
from implicit_bias.training import Budget, Lane, Recipe, epochs

if TYPE_CHECKING:
    import xarray as xr

WIDTH, FACTOR = "hidden_width", "step_factor"
"""Coordinates of lanes: their width, and their step size in units of their optimiser's own."""


def lanes(settings: AttentionSettings, dataset: Dataset, earlier: xr.Dataset | None) -> list[Lane]:
    """Return all lanes: arms × their settings × seeds.

    Raises:
        UserError: The data do not suit the arms, or are too few.
    """
    check_classification(dataset)
    settings.check_batches(dataset, "batch_size")
    asked = [arm for arm in settings.arms if arm in FEW]
    if asked:
        most = dataset.n_train - settings.data.n_valid
        check_at_most(settings, "few.n_train", most, f"{most} examples are left for training")
    return [lane for arm in settings.arms for lane in _of_arm(settings, dataset, arm)]


def _of_arm(settings: AttentionSettings, dataset: Dataset, arm: str) -> list[Lane]:
    few, classes = settings.few, dataset.n_outputs
    # Redrawn among all classes, labels say nothing.
    noise = {"label_noise": (classes - 1) / classes}
    steps = {"adam": settings.step_size, "sgd": few.sgd_step}
    # Width, optimiser, factor of its step size and traced settings of each cell of the arm.
    cells: list[tuple[int, str, float, dict[str, float]]] = []
    match arm:
        case "trained":
            cells = [(width, "adam", 1.0, {}) for width in settings.widths]
        case "gain":
            cells = [(settings.width, "adam", 1.0, {"attention_gain": g}) for g in settings.gains]
        case "shuffled":
            cells = [(settings.width, "adam", 1.0, noise)]
        case "few" | "few-sgd":
            name = "sgd" if arm == "few-sgd" else "adam"
            cells = [(few.width, name, factor, {}) for factor in few.factors]
        case "few-shuffled":
            cells = [(few.width, "adam", 1.0, noise)]
        case "few-small":
            cells = [(few.small, "adam", 1.0, {})]
    made = []
    for width, name, factor, own in cells:
        recipe = _recipe(settings, dataset, width, name, arm in FEW)
        updates = epochs(few.epochs, recipe) if arm in FEW else settings.updates
        numbers = {"step_size": factor * steps[name], **own}
        tags: dict[str, str | float] = {"arm": arm, WIDTH: width, FACTOR: factor}
        made += [
            Lane(recipe, seed, numbers, Budget(updates), log_times(updates, settings.probes), tags)
            for seed in range(settings.seeds)
        ]
    return made


def _recipe(
    settings: AttentionSettings, dataset: Dataset, width: int, optimizer: str, few: bool
) -> Recipe:
    n_train, n_valid = settings.data.sizes(dataset)
    return Recipe(
        model=settings.transformer(dataset, width),
        loss=losses.get("cross_entropy"),
        optimizer=optimizers.get(optimizer),
        schedule=optimizers.Schedule(),
        batch_size=settings.batch_size,
        n_train=settings.few.n_train if few else n_train,
        n_valid=n_valid,
        dtype=settings.dtype,
    )


def measurement(settings: AttentionSettings, dataset: Dataset) -> Attention:
    """Return what is measured of every finished lane.

    Raises:
        UserError: There are fewer test examples than the probe set has, or fewer positions than ``top``.
    """
    check_at_most(
        settings, "probe_set", dataset.n_test, f"there are {dataset.n_test} test examples"
    )
    model = settings.transformer(dataset, settings.width)
    length = model.positions(dataset.input_shape)
    check_at_most(settings, "top", length - 1, f"there are {length} positions")
    said = dataset.provenance
    return Attention(
        depth=model.depth,
        heads=model.heads,
        length=length,
        probe_set=settings.probe_set,
        top=settings.top,
        # Only of a chain is it known where to look.
        order=settings.data.order if "bayes_loss" in said else 0,
        predictions=dataset.predictions,
        classes=dataset.n_outputs,
        bayes_loss=said.get("bayes_loss"),
    )


def collapse(settings: AttentionSettings, dataset: Dataset) -> Stacks:
    """Return the untrained stacks of attention."""
    del dataset
    return Stacks(**settings.collapse.model_dump())
