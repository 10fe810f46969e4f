"""What the NTK-prediction study trains: one network at many widths, in three versions."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias import kernels, losses, models, optimizers
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.models import Model
from implicit_bias.studies.ntk_prediction.probe import Predictions
from implicit_bias.studies.ntk_prediction.settings import NtkPredictionSettings
from implicit_bias.studies.planning import PLANNED_SEEDS, log_times
from implicit_bias.studies.refusals import check_at_most
from implicit_bias.training import Budget, Lane, Recipe, table
from implicit_bias.training.widths import bucketed

if TYPE_CHECKING:
    import xarray as xr

MOST_EXAMPLES = 1000
"""Examples of the pool that the kernel's largest eigenvalue is taken from."""

COMPILATIONS = 4
"""Programs of a width in units of those that only train: a probe takes longer than all the others."""


def version(arm: str, model: Model) -> Model:
    """Return what an arm trains, of a network."""
    if arm == "plain":
        return model
    centred = models.Scaled(model, centred=True)
    return centred if arm == "centred" else models.Linearised(centred)


def times(settings: NtkPredictionSettings) -> tuple[int, ...]:
    """Return the updates at which lanes are compared."""
    return log_times(settings.updates, settings.probes)


def step_size(settings: NtkPredictionSettings, dataset: Dataset) -> float:
    """Return the step size of all lanes: a fraction of 2n/λmax of the infinite network's kernel.

    λmax/n is that of the pool, or of its first thousand examples; a lane's own differs by its draw.
    """
    x = jnp.asarray(dataset.x_train[:MOST_EXAMPLES])
    kernel = kernels.infinite_kernel(
        settings.model.build(dataset.n_outputs), dataset.input_shape, engine="closed form"
    )
    largest = float(np.linalg.eigvalsh(np.asarray(kernel(x, x).ntk, np.float64))[-1])
    return settings.step_fraction * 2 * len(x) / largest


def _costs() -> table.Costs:
    """Return what programs cost here: three versions of a network are compiled, and their probes too."""
    costs = table.costs(jax.default_backend())
    return dataclasses.replace(costs, compile_seconds=COMPILATIONS * costs.compile_seconds)


def probe(settings: NtkPredictionSettings, dataset: Dataset) -> Predictions:
    """Return what is measured while lanes train.

    Raises:
        UserError: More test examples are to be shown than there are.
    """
    check_at_most(settings, "shown", dataset.n_test, f"there are {dataset.n_test} test examples")
    n_train, _ = settings.data.sizes(dataset)
    return Predictions(
        dense=settings.model.build(dataset.n_outputs),
        times=times(settings),
        n_train=n_train,
        n_test=dataset.n_test,
        outputs=dataset.n_outputs,
        input_shape=dataset.input_shape,
        shown=settings.shown,
    )


def lanes(
    settings: NtkPredictionSettings, dataset: Dataset, earlier: xr.Dataset | None
) -> list[Lane]:
    """Return all lanes: arms × widths × seeds.

    Raises:
        UserError: Lanes would hold examples out, which nothing here uses.
    """
    n_train, n_valid = settings.data.sizes(dataset)
    if n_valid:
        raise UserError(f"data.n_valid is {n_valid}, but nothing is validated here; leave it out")
    step, at = step_size(settings, dataset), times(settings)
    plan = bucketed(
        settings.model.build(dataset.n_outputs),
        settings.widths,
        inputs=math.prod(dataset.input_shape),
        lanes=PLANNED_SEEDS,
        updates=settings.updates,
        batch_size=n_train,
        costs=_costs(),
    )
    made = []
    for arm in settings.arms:
        for width in settings.widths:
            recipe = Recipe(
                model=version(arm, plan.model(width)),
                loss=losses.get("squared"),
                optimizer=optimizers.get("sgd"),
                schedule=optimizers.Schedule(),
                batch_size=n_train,
                n_train=n_train,
                dtype=settings.dtype,
            )
            own = {"step_size": step, **plan.settings(width)}
            made += [
                Lane(recipe, seed, own, Budget(settings.updates), at, {"arm": arm, "hidden": width})
                for seed in range(settings.seeds)
            ]
    return made
