"""What the step-size study trains: arms × variants × seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import jax
import numpy as np

from implicit_bias import losses, models, optimizers
from implicit_bias.data import Dataset
from implicit_bias.models import Model, parameter_count
from implicit_bias.studies.refusals import check_at_most, check_classification
from implicit_bias.studies.step_size.measure import Ending
from implicit_bias.studies.step_size.probe import Norms
from implicit_bias.studies.step_size.settings import IMAGE_ARMS, StepSizeSettings
from implicit_bias.training import Budget, Lane, Recipe

if TYPE_CHECKING:
    import xarray as xr

SGD, MOMENTUM, ADAM, ADAMW = "SGD", "momentum", "Adam", "AdamW"
STATED, DEEP, SMALL_STEPS, PENALISED, NOISY, CONNECTED = (
    "as stated", "deep", "small steps", "penalised", "noisy labels", "fully connected",
)  # fmt: skip
SMALL, LARGE, DECAYED = "small batch", "large batch", "large batch, decay"
FALLING, CONSTANT = "falling", "constant"
"""Variants of arms, as their lanes are tagged."""

FIRST = (1, 2, 3)
"""Epochs after which the speeds of momentum and SGD are compared."""

TENTH = 0.1
"""What a step size that falls is multiplied by."""


@dataclass(frozen=True)
class Cell:
    """What the lanes of one cell share, whatever their seed.

    Attributes:
        arm: Name of the arm.
        variant: Which of the arm's.
        model: Network.
        optimizer: Its name in ``optimizers``.
        batch_size: Examples in an update.
        epochs: Length of training.
        numbers: Traced settings.
        factor: Step size relative to the stated one.
        decay_every: Epochs after which the step size falls to a tenth; None: it stays.
        probed: Epochs after which it is evaluated.
        target_loss: Training loss at which it stops, if any.
        falls: Whether its program has a step size that can fall.
    """

    arm: str
    variant: str
    model: Model
    optimizer: str
    batch_size: int
    epochs: int
    numbers: Mapping[str, float]
    probed: tuple[int, ...]
    factor: float = 1.0
    decay_every: int | None = None
    target_loss: float | None = None
    falls: bool = field(default=True)


def measured_lanes(
    settings: StepSizeSettings, dataset: Dataset, earlier: xr.Dataset | None
) -> list[Lane]:
    """Return the lanes whose ends are measured: of arms optimisers, steps and matched.

    Raises:
        UserError: The data are no classification, or too few.
    """
    del earlier
    _check(settings, dataset)
    made = {"optimisers": _optimisers, "steps": _steps, "matched": _matched}
    return _lanes(settings, dataset, made)


def other_lanes(
    settings: StepSizeSettings, dataset: Dataset, earlier: xr.Dataset | None
) -> list[Lane]:
    """Return the lanes of the other arms, whose evaluations are enough.

    Raises:
        UserError: The data are no classification, or too few.
    """
    del earlier
    _check(settings, dataset)
    made = {"tuning": _tuning, "variants": _variants, "decay": _decay, "long": _long}
    return _lanes(settings, dataset, made)


def probe(settings: StepSizeSettings, dataset: Dataset) -> Norms:
    """Return what is measured while lanes train: norms."""
    del settings, dataset
    return Norms()


def measurement(settings: StepSizeSettings, dataset: Dataset) -> Ending:
    """Return what is measured of a finished lane.

    Raises:
        UserError: The Hessian is to have more examples than a lane trains on.
    """
    n_train, _ = settings.data.sizes(dataset)
    check_at_most(settings, "measure.examples", n_train, f"a lane trains on {n_train} examples")
    own = settings.measure
    return Ending(dataset.n_test, own.examples, own.tol, own.max_products, own.chunk_size)


def connected(inputs: int, outputs: int, parameters: int) -> models.Dense:
    """Return the network of two equal hidden layers with about as many parameters.

    With w units in each it has w² + (inputs + outputs + 2) w + outputs of them.

    Args:
        inputs: Numbers in an input.
        outputs: Outputs.
        parameters: Wanted.
    """
    half = (inputs + outputs + 2) / 2
    width = math.sqrt(half**2 + max(parameters - outputs, 1)) - half
    units = max(1, round(width))
    return models.Dense((units, units), outputs)


def spread_epochs(epochs: int, count: int) -> tuple[int, ...]:
    """Return epochs from 0 to the last, evenly spaced, as many as asked for after 0."""
    at = np.linspace(0, epochs, min(count, epochs) + 1).round().astype(int)
    return tuple(sorted({int(epoch) for epoch in at}))


def dense_epochs(epochs: int, until: int, every: int) -> tuple[int, ...]:
    """Return 0, each epoch up to one, every so many after it, and the last."""
    first = range(min(until, epochs) + 1)
    return tuple(sorted({*first, *range(0, epochs, every), epochs}))


def _check(settings: StepSizeSettings, dataset: Dataset) -> None:
    check_classification(dataset)
    keys = {
        "optimisers": "optimisers.batch_size", "steps": "steps.batch_size",
        "tuning": "tuning.batch_sizes", "variants": "variants.batch_size",
        "decay": "decay.batch_sizes", "long": "long.batch_size",
    }  # fmt: skip
    settings.check_batches(dataset, *(key for arm, key in keys.items() if arm in settings.arms))
    if "matched" in settings.arms:
        settings.check_target(dataset, "steps.target_loss")


def _lanes(settings: StepSizeSettings, dataset: Dataset, made: Mapping[str, object]) -> list[Lane]:
    return [
        _lane(settings, dataset, cell, seed)
        for arm, cells in made.items()
        if arm in settings.arms
        for cell in cells(settings, dataset)  # type: ignore[operator]
        for seed in range(settings.seeds)
    ]


def _optimisers(settings: StepSizeSettings, dataset: Dataset) -> Iterator[Cell]:
    own = settings.optimisers
    model = models.Dense(own.widths, dataset.n_outputs)
    probed = dense_epochs(own.epochs, own.every_epoch_until, own.probe_every)

    def cell(variant: str, step: float, factor: float, length: int = own.epochs) -> Cell:
        numbers = {"step_size": factor * step}
        if variant != ADAM:
            numbers["momentum"] = own.momentum if variant == MOMENTUM else 0.0
        optimizer = "adam" if variant == ADAM else "heavy_ball"
        return Cell(
            "optimisers", variant, model, optimizer, own.batch_size, length, numbers,
            tuple(epoch for epoch in probed if epoch <= length), factor, falls=False,
        )  # fmt: skip

    for variant, step in ((SGD, own.sgd), (MOMENTUM, own.sgd), (ADAM, own.adam)):
        for factor in own.factors:
            yield cell(variant, step, factor)
    # A control whatever the grid: momentum's effective step size without momentum.
    effective = round(1 / (1 - own.momentum), 9)
    if not any(math.isclose(effective, factor, rel_tol=1e-6) for factor in own.factors):
        yield cell(SGD, own.sgd, effective, min(own.epochs, max(FIRST)))


def _steps(settings: StepSizeSettings, dataset: Dataset) -> Iterator[Cell]:
    own = settings.steps
    model = settings.model.build(dataset.n_outputs)
    for step in own.step_sizes:
        yield Cell(
            "steps", SGD, model, "heavy_ball", own.batch_size, own.epochs,
            {"step_size": step, "momentum": 0.0}, spread_epochs(own.epochs, settings.probes),
        )  # fmt: skip


def _matched(settings: StepSizeSettings, dataset: Dataset) -> Iterator[Cell]:
    own = settings.steps
    model = settings.model.build(dataset.n_outputs)
    for step in own.step_sizes:
        yield Cell(
            "matched", SGD, model, "heavy_ball", own.batch_size, own.max_epochs,
            {"step_size": step, "momentum": 0.0}, (0,), target_loss=own.target_loss,
        )  # fmt: skip


def _tuning(settings: StepSizeSettings, dataset: Dataset) -> Iterator[Cell]:
    own = settings.tuning
    model = settings.model.build(dataset.n_outputs)
    probed = spread_epochs(own.epochs, settings.probes)
    for size, factor in itertools.product(own.batch_sizes, own.factors):
        momentum = {"step_size": factor * own.sgd, "momentum": own.momentum}
        yield Cell(
            "tuning", MOMENTUM, model, "heavy_ball", size, own.epochs, momentum, probed, factor
        )
        for decay in (0.0, *own.decays):
            numbers = {"step_size": factor * own.adam, "decoupled_weight_decay": decay}
            yield Cell(
                "tuning", ADAMW if decay else ADAM, model, "adamw", size, own.epochs, numbers,
                probed, factor,
            )  # fmt: skip


def _variants(settings: StepSizeSettings, dataset: Dataset) -> Iterator[Cell]:
    own = settings.variants
    outputs = dataset.n_outputs
    model = settings.model.build(outputs)
    rows: dict[str, tuple[Model, dict[str, float]]] = {STATED: (model, {})}
    if settings.model.name == "resnet" and own.deep is not None:
        options = {**settings.model.options, "depth": own.deep}
        rows[DEEP] = (models.get("resnet", outputs=outputs, **options), {})
    rows |= {
        SMALL_STEPS: (model, {"step_size": own.small_step_size}),
        PENALISED: (model, {"weight_decay": own.penalty}),
        NOISY: (model, {"label_noise": own.label_noise}),
        CONNECTED: (_as_large(dataset, model), {}),
    }
    for variant, (network, numbers) in rows.items():
        yield Cell(
            "variants", variant, network, "heavy_ball", own.batch_size, own.epochs,
            {"step_size": own.step_size, "momentum": own.momentum, **numbers},
            spread_epochs(own.epochs, settings.probes), decay_every=own.decay_every,
        )  # fmt: skip


def _decay(settings: StepSizeSettings, dataset: Dataset) -> Iterator[Cell]:
    own = settings.decay
    model = settings.model.build(dataset.n_outputs)
    small, large = own.batch_sizes
    for variant, size, decay in (
        (SMALL, small, 0.0), (LARGE, large, 0.0), (DECAYED, large, own.weight_decay),
    ):  # fmt: skip
        yield Cell(
            "decay", variant, model, "heavy_ball", size, own.epochs,
            {"step_size": own.step_size, "momentum": own.momentum, "weight_decay": decay},
            spread_epochs(own.epochs, settings.probes), decay_every=own.decay_every,
        )  # fmt: skip


def _long(settings: StepSizeSettings, dataset: Dataset) -> Iterator[Cell]:
    own = settings.long
    model = settings.model.build(dataset.n_outputs)
    for variant, every in ((FALLING, own.decay_every), (CONSTANT, None)):
        yield Cell(
            "long", variant, model, "heavy_ball", own.batch_size, own.epochs,
            {"step_size": own.step_size, "momentum": own.momentum},
            spread_epochs(own.epochs, own.probes), decay_every=every,
        )  # fmt: skip


def _as_large(dataset: Dataset, model: Model) -> models.Dense:
    example = jax.ShapeDtypeStruct(dataset.input_shape, np.dtype("float32"))
    key = jax.eval_shape(lambda: jax.random.key(0, impl="threefry2x32"))
    params, _ = jax.eval_shape(model.init, key, example)
    return connected(math.prod(dataset.input_shape), dataset.n_outputs, parameter_count(params))


def _lane(settings: StepSizeSettings, dataset: Dataset, cell: Cell, seed: int) -> Lane:
    n_train, n_valid = settings.data.sizes(dataset)
    recipe = Recipe(
        model=cell.model,
        loss=losses.get("cross_entropy"),
        optimizer=optimizers.get(cell.optimizer),
        schedule=optimizers.Schedule("step" if cell.falls else "constant"),
        batch_size=cell.batch_size,
        n_train=n_train,
        n_valid=n_valid,
        dtype=settings.dtype,
        augmentation=settings.data.augmented() if cell.arm in IMAGE_ARMS else None,
    )
    each = recipe.updates_per_epoch
    numbers = dict(cell.numbers)
    if cell.falls:
        # One program for step sizes that fall and those that stay.
        numbers["decay_rate"] = TENTH if cell.decay_every else 1.0
        numbers["decay_every"] = float(each * (cell.decay_every or cell.epochs))
    tags: dict[str, str | int | float | bool] = {
        "arm": cell.arm,
        "variant": cell.variant,
        "factor": cell.factor,
        "data_name": dataset.name,
        "tests": dataset.n_test,
        "examples": n_train,
        "epoch_updates": each,
        "planned_epochs": cell.epochs,
        "network": str(recipe.model.describe().get("architecture", type(recipe.model).__name__)),
    }
    budget = Budget(each * cell.epochs)
    if cell.target_loss is not None:
        budget = Budget(each * cell.epochs, cell.target_loss, each)
    probes = tuple(each * epoch for epoch in cell.probed)
    return Lane(recipe, seed, numbers, budget, probes, tags)
