"""What the edge-of-stability study trains: full-batch arms over step sizes, small batches, and the flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias import losses, optimizers
from implicit_bias.data import Dataset
from implicit_bias.studies.edge_of_stability.probe import Sharpness
from implicit_bias.studies.edge_of_stability.settings import (
    ARMS,
    REFERENCE,
    EdgeOfStabilitySettings,
)
from implicit_bias.studies.refusals import check_at_most, check_below
from implicit_bias.training import Budget, Lane, Recipe, Until

if TYPE_CHECKING:
    import xarray as xr


def probe(settings: EdgeOfStabilitySettings, dataset: Dataset) -> Sharpness:
    """Return what is measured while lanes train."""
    loss = losses.get(settings.loss)
    return Sharpness(settings.tol, settings.max_products, loss_unit=loss.unit)


def lanes(
    settings: EdgeOfStabilitySettings, dataset: Dataset, earlier: xr.Dataset | None
) -> list[Lane]:
    """Return all lanes: arms × step sizes × seeds.

    Raises:
        UserError: Batches are not small, or lanes would stop at once.
    """
    n_train, _ = settings.data.sizes(dataset)
    if "sgd" in settings.arms:
        check_at_most(settings, "sgd.batch_size", n_train - 1,
                      f"a lane trains on {n_train} examples, which all other arms take at once")  # fmt: skip
    if settings.until_error is not None and dataset.task == "classification":
        check_below(settings, "until_error", 1 - 1 / dataset.n_outputs,
                    f"guessing one of {dataset.n_outputs} classes errs no more")  # fmt: skip
    return [
        lane
        for arm in settings.arms
        for lane in (
            _short(settings, dataset)
            if arm == "small-steps"
            else _flow(settings, dataset)
            if arm == "flow"
            else _arm(settings, dataset, arm)
        )
    ]


def _arm(settings: EdgeOfStabilitySettings, dataset: Dataset, name: str) -> list[Lane]:
    own = {
        "gd": settings.gd, "heavy-ball": settings.heavy_ball, "adam": settings.adam,
        "sgd": settings.sgd,
    }[name]  # fmt: skip
    numbers = own.model_dump()
    steps = numbers.pop("step_sizes")
    recipe = _recipe(settings, dataset, ARMS[name].optimizer, numbers.pop("batch_size", None))
    stops = () if settings.until_error is None else (Until("train_error", settings.until_error),)
    budget = Budget(settings.updates, until=stops)
    return _sweep(settings, name, recipe, dict.fromkeys(steps, budget), settings.probes, numbers)


def _flow(settings: EdgeOfStabilitySettings, dataset: Dataset) -> list[Lane]:
    flow = settings.flow
    recipe = _recipe(settings, dataset, ARMS["flow"].optimizer)
    stops = []
    if flow.until_sharpness is not None:
        stops.append(Until("sharpness", flow.until_sharpness, at_least=True))
    if settings.until_error is not None:
        stops.append(Until("train_error", settings.until_error))
    budget = Budget(flow.updates, until=tuple(stops))
    return _sweep(settings, "flow", recipe, {flow.step_size: budget}, settings.probes)


def _short(settings: EdgeOfStabilitySettings, dataset: Dataset) -> list[Lane]:
    """Return gradient descent at small step sizes, and the flow at the largest of them, for one time."""
    short = settings.small_steps

    def budgets(steps: Sequence[float]) -> dict[float, Budget]:
        return {step: Budget(round(short.time / step)) for step in steps}

    descent = _recipe(settings, dataset, ARMS["small-steps"].optimizer)
    flow = _recipe(settings, dataset, ARMS["flow"].optimizer)
    return [
        *_sweep(settings, "small-steps", descent, budgets(short.step_sizes), 1),
        *_sweep(settings, REFERENCE, flow, budgets([max(short.step_sizes)]), 1),
    ]


def _recipe(
    settings: EdgeOfStabilitySettings,
    dataset: Dataset,
    optimizer: str,
    batch_size: int | None = None,
) -> Recipe:
    n_train, n_valid = settings.data.sizes(dataset)
    return Recipe(
        model=settings.model.build(dataset.n_outputs),
        loss=losses.get(settings.loss),
        optimizer=optimizers.get(optimizer),
        schedule=optimizers.Schedule(),
        batch_size=batch_size or n_train,
        n_train=n_train,
        n_valid=n_valid,
        dtype=settings.dtype,
    )


def _sweep(
    settings: EdgeOfStabilitySettings,
    arm: str,
    recipe: Recipe,
    budgets: Mapping[float, Budget],
    probes: int,
    numbers: Mapping[str, float] | None = None,
) -> list[Lane]:
    """Return the lanes of an arm: step sizes, each with its budget, × seeds; ``probes`` of each, evenly."""
    own = {**(numbers or {}), "init_scale": settings.init_scale}
    made = []
    for step, budget in budgets.items():
        at = np.linspace(0, budget.updates, probes + 1).round().astype(int)
        made += [
            Lane(recipe, seed, {"step_size": step, **own}, budget,
                 tuple(sorted({int(update) for update in at})), {"arm": arm})
            for seed in range(settings.seeds)
        ]  # fmt: skip
    return made


def derive(result: xr.Dataset) -> xr.Dataset:
    """Add each lane's threshold, its sharpness relative to it, whether it came there, and its time.

    ``threshold`` is the sharpness above which the lane's optimiser is unstable on a quadratic (Cohen et al.
    2021, section 2; 2022, eq. 2). ``log_relative_sharpness`` is the sharpness, for Adam the preconditioned
    one, divided by it. ``reached`` says whether that was at least 1 at some probe after the first, in the
    first four fifths of the run; ``late_relative_sharpness`` is its median over the last fifth. A flow has
    none of them. ``log_time`` is the step size times the updates. ``flow_distance``, for small steps, is the
    distance of the last iterate from the flow of the same seed at the same time, relative to the way of the
    flow, both projected on the same random directions.
    """
    arm, step = result["arm"], result["step_size"]
    absent: Any = 0.0
    momentum = result["momentum"].fillna(0.0) if "momentum" in result.coords else absent
    b1 = result["b1"].fillna(0.0) if "b1" in result.coords else absent
    threshold = 2 * (1 + momentum) / step
    threshold = threshold.where(arm != "adam", (2 + 2 * b1) / ((1 - b1) * step))
    threshold = threshold.where(~arm.isin(["flow", REFERENCE]))
    sharpness = result["log_sharpness"].where(arm != "adam", result["log_preconditioned_sharpness"])
    relative = sharpness / threshold
    # A lane that stopped early has its last fifth before that.
    after = result["log_step"] / result["updates"].where(result["updates"] > 0)
    late = relative.where(after > 0.8)
    early = relative.where((after > 0) & (after <= 0.8))
    added = {
        "threshold": threshold,
        "log_relative_sharpness": relative,
        "reached": (early >= 1).any("probe"),
        "late_relative_sharpness": late.median("probe", skipna=True).where(~result["diverged"]),
        "log_time": result["log_step"] * step,
        "flow_distance": _flow_distance(result),
    }
    for name, values in added.items():
        values.attrs = {"units": "1"}
        values.name = name
    threshold.attrs = {"units": result["log_sharpness"].attrs["units"]}
    return result.assign(added)


def _flow_distance(result: xr.Dataset) -> xr.DataArray:
    """Return the relative distance of each small-steps lane from the flow of its seed at the end."""
    arm, seed = result["arm"].values, result["seed"].values
    projection = result["log_projection"].values
    distance = result["step_size"].copy(data=np.full(arm.shape, np.nan))
    for row in np.flatnonzero(arm == "small-steps"):
        for reference in np.flatnonzero((arm == REFERENCE) & (seed == seed[row])):
            end, start = projection[reference, 1], projection[reference, 0]
            way = np.linalg.norm(end - start)
            distance[row] = np.linalg.norm(projection[row, 1] - end) / way
    return distance
