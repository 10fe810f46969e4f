"""What the double-descent study trains: networks below, at and beyond the interpolation threshold."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from implicit_bias import losses, models, optimizers
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.models import Dense, Model
from implicit_bias.studies.double_descent.features import RandomFeatures
from implicit_bias.studies.double_descent.measure import Ending
from implicit_bias.studies.double_descent.settings import DoubleDescentSettings
from implicit_bias.studies.planning import PLANNED_SEEDS, log_times
from implicit_bias.studies.refusals import check_at_most, check_classification
from implicit_bias.studies.schema_words import show
from implicit_bias.training import Budget, Lane, Recipe
from implicit_bias.training.recipe import epochs
from implicit_bias.training.widths import WidthPlan, bucketed

if TYPE_CHECKING:
    import xarray as xr

WIDTH, MEMBER, SIZE, DEPTH, CAPACITY = (
    "hidden_width", "member", "examples", "depth", "true_parameters",
)  # fmt: skip
"""Coordinates of lanes: hidden width (or channels), which of an ensemble, training examples, hidden layers
and parameters, padding left out."""


MOST_NUMBERS = 2**30
"""Random features of all examples: 8 GiB in double precision."""


def lanes(
    settings: DoubleDescentSettings, dataset: Dataset, earlier: xr.Dataset | None
) -> list[Lane]:
    """Return all lanes: arms × their settings × seeds.

    Raises:
        UserError: The data are no classification, or too few.
    """
    check_classification(dataset)
    settings.check_batches(dataset, "batch_size")
    made = []
    for arm in settings.arms:
        match arm:
            case "width" | "decay" | "members":
                made += _by_width(settings, dataset, arm)
            case "samples":
                made += _by_size(settings, dataset)
            case "scaling":
                made += _by_batch(settings, dataset)
            case "channels":
                made += _by_channels(settings, dataset)
    return made


def network(
    settings: DoubleDescentSettings, dataset: Dataset, width: int, hidden_layers: int = 1
) -> Dense:
    """Return the network of a width."""
    return settings.model.dense((width,) * hidden_layers, dataset.n_outputs)


def width_plan(settings: DoubleDescentSettings, dataset: Dataset) -> WidthPlan:
    """Return which widths share a program."""
    whole = settings.data.sizes(dataset)[0]
    extra = ("decay" in settings.arms) * len(settings.decays)
    extra += ("members" in settings.arms) * (settings.members - 1)
    return bucketed(
        network(settings, dataset, 1),
        settings.widths,
        inputs=math.prod(dataset.input_shape),
        lanes={
            width: PLANNED_SEEDS
            * (len(settings.label_noises) + (width in settings.control_widths) * extra)
            for width in settings.widths
        },
        updates=settings.updates,
        batch_size=settings.batch_size or whole,
    )


def _by_width(settings: DoubleDescentSettings, dataset: Dataset, arm: str) -> list[Lane]:
    plan, size = width_plan(settings, dataset), settings.data.sizes(dataset)[0]
    noisy = {"label_noise": settings.noisy}
    # Widths, and for each cell its traced settings and which member of an ensemble it is.
    cells: list[tuple[dict[str, float], int]]
    match arm:
        case "width":
            widths, cells = (
                settings.widths,
                [({"label_noise": p}, 0) for p in settings.label_noises],
            )
        case "decay":
            widths = settings.control_widths
            cells = [({**noisy, "weight_decay": decay}, 0) for decay in settings.decays]
        case _:
            widths = settings.control_widths
            cells = [(noisy, member) for member in range(1, settings.members)]
    return [
        Lane(
            _recipe(settings, dataset, plan.model(width), size),
            seed,
            {**_steps(settings), **plan.settings(width), **own},
            Budget(settings.updates),
            log_times(settings.updates, settings.probes),
            {**_tags(settings, dataset, arm, width, size), MEMBER: member},
            replicates={"initialisation": member} if member else {},
        )
        for width in widths
        for own, member in cells
        for seed in range(settings.seeds)
    ]


def _by_size(settings: DoubleDescentSettings, dataset: Dataset) -> list[Lane]:
    own = settings.samples
    room = dataset.n_train - settings.data.n_valid
    check_at_most(
        settings, "samples.sizes", room, f"{dataset.name} has {room} examples left to train on"
    )
    model = network(settings, dataset, own.width)
    return [
        Lane(
            _recipe(settings, dataset, model, size),
            seed,
            {**_steps(settings), "label_noise": settings.noisy},
            Budget(settings.updates),
            log_times(settings.updates, settings.probes),
            {**_tags(settings, dataset, "samples", own.width, size), MEMBER: 0},
        )
        for size in own.sizes
        for seed in range(settings.seeds)
    ]


def _by_batch(settings: DoubleDescentSettings, dataset: Dataset) -> list[Lane]:
    own, size = settings.scaling, settings.data.sizes(dataset)[0]
    settings.check_batches(dataset, "scaling.batch_sizes")
    made = []
    for depth in own.depths:
        for width in own.widths:
            for batch in own.batch_sizes:
                recipe = dataclasses.replace(
                    _recipe(settings, dataset, network(settings, dataset, width, depth), size),
                    optimizer=optimizers.get("sgd"),
                    schedule=optimizers.Schedule(),
                    batch_size=batch,
                )
                updates = epochs(own.epochs, recipe)
                tags = {**_tags(settings, dataset, "scaling", width, size), DEPTH: depth}
                tags[CAPACITY] = settings.parameters(dataset, recipe.model)
                made += [
                    Lane(recipe, seed, {"step_size": own.step_size}, Budget(updates),
                         (updates,), tags)
                    for seed in range(settings.seeds)
                ]  # fmt: skip
    return made


def _by_channels(settings: DoubleDescentSettings, dataset: Dataset) -> list[Lane]:
    own, size = settings.channels, settings.data.sizes(dataset)[0]
    settings.check_batches(dataset, "channels.batch_size")
    made = []
    for channels in own.sizes:
        model = models.conv_net((channels, 2 * channels), dataset.n_outputs, pool=2)
        recipe = Recipe(
            model=model,
            loss=losses.get(own.loss),
            optimizer=optimizers.get("sgd"),
            schedule=optimizers.Schedule("inverse_sqrt"),
            batch_size=own.batch_size,
            n_train=size,
            n_valid=settings.data.n_valid,
            dtype=settings.dtype,
            augmentation=settings.data.augmented(),
        )
        tags: dict[str, str | int | float | bool] = {
            "arm": "channels", WIDTH: channels, SIZE: size, MEMBER: 0, DEPTH: 2,
            CAPACITY: settings.parameters(dataset, model),
        }  # fmt: skip
        made += [
            Lane(recipe, seed, {"step_size": own.step_size, "decay_every": 512.0, "label_noise": noise},
                 Budget(own.updates), log_times(own.updates, settings.probes), tags)
            for noise in settings.label_noises
            for seed in range(settings.seeds)
        ]  # fmt: skip
    return made


def parameters(width: int, inputs: int, outputs: int, bias: bool) -> int:
    """Return the parameters of a network with one hidden layer, without building it for every lane.

    Args:
        width: Hidden units.
        inputs: Features of one input, d.
        outputs: Outputs, K.
        bias: Whether both layers have biases.
    """
    return width * (inputs + outputs + bias) + outputs * bias


def _steps(settings: DoubleDescentSettings) -> dict[str, float]:
    return {"step_size": settings.step_size, "decay_steps": float(settings.updates)}


def _tags(
    settings: DoubleDescentSettings, dataset: Dataset, arm: str, width: int, size: int
) -> dict[str, str | int | float | bool]:
    inputs, outputs = math.prod(dataset.input_shape), dataset.n_outputs
    return {
        "arm": arm, WIDTH: width, SIZE: size, DEPTH: 1,
        CAPACITY: parameters(width, inputs, outputs, settings.model.bias),
    }  # fmt: skip


def _recipe(settings: DoubleDescentSettings, dataset: Dataset, model: Model, size: int) -> Recipe:
    return Recipe(
        model=model,
        loss=losses.get("squared"),
        optimizer=optimizers.get("adam"),
        schedule=optimizers.Schedule("cosine"),
        batch_size=min(settings.batch_size or size, size),
        n_train=size,
        n_valid=settings.data.n_valid,
        dtype=settings.dtype,
        augmentation=settings.data.augmented(),
    )


def measurement(settings: DoubleDescentSettings, dataset: Dataset) -> Ending:
    """Return what is measured of every finished lane.

    Raises:
        UserError: A lane trains on fewer examples than the Hessian is to have.
    """
    sizes = [settings.data.sizes(dataset)[0]]
    if "samples" in settings.arms:
        sizes += settings.samples.sizes
    check_at_most(
        settings, "measure.examples", min(sizes), f"a lane trains on {min(sizes)} examples"
    )
    own = settings.measure
    return Ending(dataset.n_test, dataset.n_outputs, own.examples, own.tol, own.max_products)


def random_features(settings: DoubleDescentSettings, dataset: Dataset) -> RandomFeatures:
    """Return the regression on random features of the data of the noisiest networks."""
    own, size = settings.features, settings.data.sizes(dataset)[0]
    sizes = tuple(sorted({max(1, round(ratio * size)) for ratio in own.ratios}))
    examples = size + settings.data.n_valid + dataset.n_test
    if "features" in settings.arms and sizes[-1] * examples > MOST_NUMBERS:
        raise UserError(
            f"features.ratios is {show(own.ratios)}, which makes {sizes[-1]} features of {examples} "
            f"examples; choose ratios up to {MOST_NUMBERS // examples / size:.3g}, or fewer examples"
        )
    return RandomFeatures(
        sizes=sizes, ridges=own.ridges, outputs=dataset.n_outputs,
        label_noise=settings.noisy, present="features" in settings.arms,
    )  # fmt: skip
