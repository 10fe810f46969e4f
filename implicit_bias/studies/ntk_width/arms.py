"""What the ntk-width study trains: the same network at many widths, in several parameterisations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax

from implicit_bias import kernels, losses, optimizers
from implicit_bias.data import Dataset
from implicit_bias.models import Dense, Linearised, Scaled
from implicit_bias.studies.ntk_width.expectation import KernelAverage
from implicit_bias.studies.ntk_width.measure import Movement
from implicit_bias.studies.ntk_width.predictions import KernelPredictions
from implicit_bias.studies.ntk_width.settings import Networks, NtkWidthSettings
from implicit_bias.studies.ntk_width.slopes import WIDTH
from implicit_bias.studies.planning import PLANNED_SEEDS
from implicit_bias.studies.refusals import check_at_most, check_classification
from implicit_bias.training import Budget, Lane, Recipe, epochs, table
from implicit_bias.training.widths import WidthPlan, bucketed

if TYPE_CHECKING:
    import xarray as xr


def lanes(settings: NtkWidthSettings, dataset: Dataset, earlier: xr.Dataset | None) -> list[Lane]:
    """Return all lanes: arms × widths × seeds; the widest first, as they take the longest.

    Raises:
        UserError: The data are no classification, or too few for the batch size.
    """
    check_classification(dataset)
    settings.check_batches(dataset, "batch_size")
    made = []
    for arm in settings.arms:
        widths = settings.linearised_widths if arm == "linearised" else settings.widths
        plan = width_plan(settings, dataset, arm, widths)
        for width in sorted(widths, reverse=True):
            made += _of_width(settings, dataset, arm, plan, width)
    return made


def network(settings: NtkWidthSettings, dataset: Dataset, arm: str, width: int = 1) -> Dense:
    """Return the network of an arm at a width; that which is expanded, for the linearised arm."""
    parameterisation = "ntk" if arm == "linearised" else arm
    return Dense(
        (width,) * settings.hidden_layers,
        dataset.n_outputs,
        settings.model.activation,
        parameterisation,  # type: ignore[arg-type]
        {"standard": settings.standard, "mup": settings.mup}.get(arm, settings.ntk).init,
        settings.model.bias,
    )


def width_plan(
    settings: NtkWidthSettings, dataset: Dataset, arm: str, widths: Sequence[int]
) -> WidthPlan:
    """Return which widths of an arm share a program."""
    recipe = _recipe(settings, dataset, arm, network(settings, dataset, arm))
    costs = table.costs(jax.default_backend())
    return bucketed(
        network(settings, dataset, arm),
        widths,
        inputs=math.prod(dataset.input_shape),
        lanes=PLANNED_SEEDS,
        updates=epochs(settings.epochs, recipe),
        batch_size=settings.batch_size,
        # Every program that trains has one that measures.
        costs=dataclasses.replace(costs, compile_seconds=2 * costs.compile_seconds),
    )


def _of_width(
    settings: NtkWidthSettings, dataset: Dataset, arm: str, plan: WidthPlan, width: int
) -> list[Lane]:
    model = plan.model(width)
    if arm in ("ntk", "linearised"):
        # Centred at its start, as a kernel's own function is.
        model = Scaled(model)
    if arm == "linearised":
        model = Linearised(model)
    recipe = _recipe(settings, dataset, arm, model)
    settings.check_epochs(recipe, "epochs")
    updates = epochs(settings.epochs, recipe)
    own = {"standard": settings.standard, "mup": settings.mup}.get(arm, settings.ntk)
    numbers = {"step_size": own.step_size, **plan.settings(width)}
    if isinstance(own, Networks):
        numbers["init_scale"] = own.init_scale
    return [
        Lane(recipe, seed, numbers, Budget(updates), (0, updates), {"arm": arm, WIDTH: width})
        for seed in range(settings.seeds)
    ]


def _recipe(settings: NtkWidthSettings, dataset: Dataset, arm: str, model: object) -> Recipe:
    own = {"standard": settings.standard, "mup": settings.mup}.get(arm)
    n_train, n_valid = settings.data.sizes(dataset)
    return Recipe(
        model=model,  # type: ignore[arg-type]
        loss=losses.get("squared" if own is None else own.loss),
        optimizer=optimizers.get("sgd"),
        schedule=optimizers.Schedule(),
        batch_size=settings.batch_size,
        n_train=n_train,
        n_valid=n_valid,
        dtype=settings.dtype,
    )


def measurement(settings: NtkWidthSettings, dataset: Dataset) -> Movement:
    """Return what is measured of every finished lane.

    Raises:
        UserError: There are fewer test examples than the probe set has.
    """
    check_at_most(
        settings, "probe_set", dataset.n_test, f"there are {dataset.n_test} test examples"
    )
    units = {_recipe(settings, dataset, arm, None).loss.unit for arm in settings.arms}
    return Movement(
        n_test=dataset.n_test,
        layers=settings.hidden_layers + 1,
        probe_set=settings.probe_set,
        relu=settings.model.activation == "relu",
        loss_unit=units.pop() if len(units) == 1 else "loss unit",
    )


def kernel_predictions(settings: NtkWidthSettings, dataset: Dataset) -> KernelPredictions:
    """Return the comparison of the networks of arm ntk with what kernels predict.

    Raises:
        UserError: The network has no infinite-width kernel in closed form.
    """
    model = network(settings, dataset, "ntk")
    kernels.infinite_kernel(model, engine="closed form")
    updates = epochs(settings.epochs, _recipe(settings, dataset, "ntk", model))
    return KernelPredictions(
        model, settings.widths, settings.ntk.step_size, updates, run="ntk" in settings.arms
    )


def kernel_average(settings: NtkWidthSettings, dataset: Dataset) -> KernelAverage:
    """Return the average of kernels over initialisations, of networks with one hidden layer.

    Raises:
        UserError: There are too few test examples, or the activation has no kernel.
    """
    own = settings.expectation
    check_at_most(
        settings, "expectation.inputs", dataset.n_test, f"there are {dataset.n_test} test examples"
    )
    shallow = settings.model_copy(update={"hidden_layers": 1})
    return KernelAverage(
        network(shallow, dataset, "ntk", own.width), networks=own.networks, inputs=own.inputs
    )
