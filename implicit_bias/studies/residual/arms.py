"""What the residual study trains: kinds of blocks × depths × normalisations × step sizes × seeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from implicit_bias import losses, models, optimizers
from implicit_bias.data import Dataset
from implicit_bias.models import Model
from implicit_bias.studies.fastest import fastest_steps
from implicit_bias.studies.planning import log_times
from implicit_bias.studies.refusals import check_at_most, check_classification
from implicit_bias.studies.residual.jacobians import BlockJacobians
from implicit_bias.studies.residual.linear import LinearBlocks
from implicit_bias.studies.residual.measure import Blocks
from implicit_bias.studies.residual.network import Stack
from implicit_bias.studies.residual.probe import Path
from implicit_bias.studies.residual.settings import CONV_KINDS, KINDS, ResidualSettings, branch
from implicit_bias.training import Budget, Lane, Recipe

if TYPE_CHECKING:
    import xarray as xr

GRID = "grid"
"""Arm of the runs from which each cell's step size is chosen, seed by seed; not measured."""

DENSE, CONV = "dense", "conv"
"""Arms of the measured runs."""

PROBES = 8
"""Evaluations while training, beside those at the start and at the early update."""


class Cell(NamedTuple):
    """What is compared: a kind of block at a depth, with or without normalisation."""

    arm: str
    kind: str
    depth: int
    norm: str


def cells(settings: ResidualSettings) -> Iterator[Cell]:
    """Yield all cells, dense ones first."""
    for depth in settings.depths:
        for norm in settings.norms:
            for kind in KINDS:
                yield Cell(DENSE, kind, depth, norm)
    if settings.conv.run:
        for used in settings.conv.norms:
            for kind in CONV_KINDS:
                yield Cell(CONV, kind, settings.conv.depth, used)


def grid_lanes(
    settings: ResidualSettings, dataset: Dataset, earlier: xr.Dataset | None
) -> list[Lane]:
    """Return the runs at all step sizes.

    Raises:
        UserError: The data are no classification, or too few; or the target is met untrained.
    """
    del earlier
    _check(settings, dataset)
    return [
        _lane(settings, dataset, cell, step, seed, GRID)
        for cell in cells(settings)
        for step in _steps(settings, cell)
        for seed in range(settings.seeds)
    ]


def chosen_lanes(
    settings: ResidualSettings, dataset: Dataset, earlier: xr.Dataset | None
) -> list[Lane]:
    """Return the runs that are measured: of each cell and seed the one with the chosen step size."""
    if earlier is None:
        return []
    steps = chosen_steps(earlier)
    return [
        _lane(settings, dataset, cell, steps[seed, cell], seed, cell.arm)
        for cell in cells(settings)
        for seed in range(settings.seeds)
        if (seed, cell) in steps  # a seed of another shard, or one whose every step size diverged
    ]


def chosen_steps(result: xr.Dataset) -> dict[tuple[int, Cell], float]:
    """Return, for each seed and cell, the step size that meets the target in the fewest updates."""
    seeds, depths = result["seed"].values, result["depth"].values
    family, kind, norm = (result[name].values for name in ("family", "kind", "norm"))

    def key_of(row: int) -> tuple[int, Cell]:
        cell = Cell(str(family[row]), str(kind[row]), int(depths[row]), str(norm[row]))
        return int(seeds[row]), cell

    return fastest_steps(result, GRID, key_of)


def times(settings: ResidualSettings) -> tuple[int, ...]:
    """Return the updates at which runs are looked at: evenly spaced in log time, and the early one."""
    return tuple(sorted({*log_times(settings.updates, PROBES), settings.early}))


def network(settings: ResidualSettings, dataset: Dataset, cell: Cell) -> Model:
    """Return the network of a cell; dense ones differ between kinds in their settings alone."""
    if cell.arm == CONV:
        return models.resnet(
            cell.depth, settings.conv.width, dataset.n_outputs, cell.norm,  # type: ignore[arg-type]
            skip=cell.kind != "plain",
        )  # fmt: skip
    return Stack(
        settings.width, cell.depth, dataset.n_outputs, cell.norm, settings.activation  # type: ignore[arg-type]
    )  # fmt: skip


def measurement(settings: ResidualSettings, dataset: Dataset) -> Blocks:
    """Return what is measured of a finished run.

    Raises:
        UserError: More examples are asked for than there are.
    """
    n_train, _ = settings.data.sizes(dataset)
    check_at_most(settings, "examples", n_train, f"a lane trains on {n_train} examples")
    check_at_most(
        settings, "probe_set", dataset.n_test, f"there are {dataset.n_test} test examples"
    )
    return Blocks(
        max(settings.depths), settings.probe_set, settings.examples, settings.tol,
        settings.max_products,
    )  # fmt: skip


def probe(settings: ResidualSettings, dataset: Dataset) -> Path:
    """Return what is measured while networks train."""
    del dataset
    return Path(settings.probe_set, settings.examples)


def jacobians(settings: ResidualSettings, dataset: Dataset) -> BlockJacobians:
    """Return the exact Jacobians, gradients and bounds."""
    own = settings.exact
    return BlockJacobians(
        settings.depths, own.width, own.inputs, dataset.n_outputs, own.examples, settings.activation
    )


def linear(settings: ResidualSettings, dataset: Dataset) -> LinearBlocks:
    """Return linear residual networks."""
    del dataset
    return LinearBlocks(settings.depths, draws=settings.exact.draws)


def _steps(settings: ResidualSettings, cell: Cell) -> tuple[float, ...]:
    return settings.conv.step_sizes if cell.arm == CONV else settings.step_sizes


def _check(settings: ResidualSettings, dataset: Dataset) -> None:
    check_classification(dataset)
    settings.check_batches(dataset, "batch_size")
    settings.check_target(dataset, "target_loss")


def _lane(
    settings: ResidualSettings, dataset: Dataset, cell: Cell, step: float, seed: int, arm: str
) -> Lane:
    n_train, n_valid = settings.data.sizes(dataset)
    recipe = Recipe(
        model=network(settings, dataset, cell),
        loss=losses.get("cross_entropy"),
        optimizer=optimizers.get("sgd"),
        schedule=optimizers.Schedule(),
        batch_size=settings.batch_size,
        n_train=n_train,
        n_valid=n_valid,
        dtype=settings.dtype,
        augmentation=settings.data.augmented(),
    )
    numbers = {"step_size": step}
    if cell.arm == DENSE:
        numbers["skip"], numbers["branch"] = branch(cell.kind, cell.depth)
    budget = Budget(settings.updates, settings.target_loss, settings.evaluate_every)
    tags: dict[str, str | int | float | bool] = {
        "arm": arm, "family": cell.arm, "kind": cell.kind, "depth": cell.depth, "norm": cell.norm,
    }  # fmt: skip
    return Lane(recipe, seed, numbers, budget, times(settings), tags)
