"""What the laziness study trains: one network made lazy or rich by a factor, a scale or its width."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
import scipy.linalg

from implicit_bias import kernels, losses, optimizers
from implicit_bias.data import Dataset
from implicit_bias.models import Dense, Linearised, Model, Scaled
from implicit_bias.studies.laziness.measure import Regime
from implicit_bias.studies.laziness.modes import LinearModes
from implicit_bias.studies.laziness.multi_index import MultiIndexTarget
from implicit_bias.studies.laziness.predictions import KernelPredictions
from implicit_bias.studies.laziness.probe import Mistakes
from implicit_bias.studies.laziness.settings import LazinessSettings
from implicit_bias.studies.planning import PLANNED_SEEDS, log_times
from implicit_bias.studies.refusals import check_at_most, check_classification
from implicit_bias.training import Budget, Lane, Recipe
from implicit_bias.training.widths import WidthPlan, bucketed

if TYPE_CHECKING:
    import xarray as xr

WIDTH = "hidden_width"
"""Coordinate of lanes: their hidden width."""

MOST_EXAMPLES = 1000
"""Examples of the pool that the kernel's largest eigenvalue is taken from."""


def lanes(settings: LazinessSettings, dataset: Dataset, earlier: xr.Dataset | None) -> list[Lane]:
    """Return all lanes: arms × their settings × seeds.

    Lanes that are the same network in two arms, such as α = 1 and scale 1, are trained once.

    Raises:
        UserError: The data are no classification, or too few.
    """
    check_classification(dataset)
    settings.check_batches(dataset, "batch_size")
    depths = sorted({_hidden_layers(arm) for arm in settings.arms})
    steps = {depth: step_size(settings, dataset, depth) for depth in depths}
    return [
        lane
        for arm in settings.arms
        for lane in _of_arm(settings, dataset, arm, steps[_hidden_layers(arm)])
    ]


def times(settings: LazinessSettings) -> tuple[int, ...]:
    """Return the updates at which lanes are evaluated."""
    return log_times(settings.updates, settings.probes)


def network(
    settings: LazinessSettings, dataset: Dataset, width: int, hidden_layers: int = 1
) -> Dense:
    """Return the network at a width."""
    return settings.model.dense((width,) * hidden_layers, dataset.n_outputs)


def step_size(settings: LazinessSettings, dataset: Dataset, hidden_layers: int = 1) -> float:
    """Return the step size at α = 1: a fraction of 2n/λmax of the infinite-width kernel.

    λmax/n is that of the pool, or of its first thousand examples; a lane's own differs by its draw.

    Raises:
        UserError: The network has no infinite-width kernel in closed form.
    """
    x = jnp.asarray(dataset.x_train[:MOST_EXAMPLES])
    kernel = kernels.infinite_kernel(
        network(settings, dataset, settings.width, hidden_layers), engine="closed form"
    )
    ntk, end = np.asarray(kernel(x).ntk, np.float64), len(x) - 1
    largest = float(scipy.linalg.eigvalsh(ntk, subset_by_index=[end, end])[0])
    return settings.step_fraction * 2 * len(x) / largest


def width_plan(settings: LazinessSettings, dataset: Dataset) -> WidthPlan:
    """Return which widths share a program; the sweeps run at the settings' width."""
    widths = settings.widths if "width" in settings.arms else (settings.width,)
    sweeps = len(settings.alphas) + len(settings.init_scales)
    return bucketed(
        network(settings, dataset, settings.width),
        widths,
        inputs=math.prod(dataset.input_shape),
        lanes={
            width: PLANNED_SEEDS * (sweeps if width == settings.width else 1) for width in widths
        },
        updates=settings.updates,
        batch_size=settings.batch_size or settings.data.sizes(dataset)[0],
    )


def _hidden_layers(arm: str) -> int:
    return 2 if arm == "deep" else 1


def _of_arm(settings: LazinessSettings, dataset: Dataset, arm: str, step: float) -> list[Lane]:
    plan, width = width_plan(settings, dataset), settings.width
    own = {"step_size": step, **plan.settings(width)}
    centred = Scaled(plan.model(width))
    # Model, settings, and the width of each cell of the arm.
    cells: list[tuple[Model, dict[str, float], int]] = []
    match arm:
        case "alpha":
            cells = [
                (centred, {**own, "alpha": alpha, "step_size": step / alpha**2}, width)
                for alpha in settings.alphas
            ]
        case "init-scale":
            # Without biases s multiplies outputs by s² and the kernel as well.
            cells = [
                (centred, {**own, "init_scale": scale, "step_size": step / scale**2}, width)
                for scale in settings.init_scales
            ]
        case "linearised":
            cells = [(Linearised(centred), own, width)]
        case "deep":
            deep, rich = Scaled(network(settings, dataset, width, 2)), settings.alphas[0]
            cells = [(deep, {"alpha": rich, "step_size": step / rich**2}, width)]
        case "width":
            cells = [
                (Scaled(plan.model(other)), {"step_size": step, **plan.settings(other)}, other)
                for other in settings.widths
            ]
    return [
        Lane(_recipe(settings, dataset, model), seed, numbers, Budget(settings.updates),
             times(settings), {"arm": arm, WIDTH: of_width})
        for model, numbers, of_width in cells
        for seed in range(settings.seeds)
    ]  # fmt: skip


def _recipe(settings: LazinessSettings, dataset: Dataset, model: Model) -> Recipe:
    n_train, n_valid = settings.data.sizes(dataset)
    return Recipe(
        model=model,
        loss=losses.get("squared"),
        optimizer=optimizers.get("sgd"),
        schedule=optimizers.Schedule(),
        batch_size=settings.batch_size or n_train,
        n_train=n_train,
        n_valid=n_valid,
        dtype=settings.dtype,
    )


def measurement(settings: LazinessSettings, dataset: Dataset) -> Regime:
    """Return what is measured of every finished lane.

    Raises:
        UserError: There are fewer test examples than the probe set has.
    """
    check_at_most(
        settings, "probe_set", dataset.n_test, f"there are {dataset.n_test} test examples"
    )
    return Regime(
        hidden_layers=2 if "deep" in settings.arms else 1,
        probe_set=settings.probe_set,
        relu=settings.model.activation == "relu",
    )


def probe(settings: LazinessSettings, dataset: Dataset) -> Mistakes:
    """Return what is measured while lanes train."""
    return Mistakes(dataset.n_test)


def predictions(settings: LazinessSettings, dataset: Dataset) -> KernelPredictions:
    """Return what kernels predict for the networks of arms alpha and width."""
    return KernelPredictions(
        model=network(settings, dataset, settings.width),
        width=settings.width,
        widths=settings.widths if "width" in settings.arms else (settings.width,),
        step_size=step_size(settings, dataset),
        times=times(settings),
        n_test=dataset.n_test,
    )


def modes(settings: LazinessSettings, dataset: Dataset) -> LinearModes:
    """Return the deep linear networks."""
    return LinearModes(**settings.modes.model_dump())


def multi_index(settings: LazinessSettings, dataset: Dataset) -> MultiIndexTarget:
    """Return the comparison of learnt with random features."""
    return MultiIndexTarget(**settings.multi_index.model_dump())
