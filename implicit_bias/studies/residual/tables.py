"""Tables of the residual study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from implicit_bias.results.statistics import NOT_NEGATIVE
from implicit_bias.results.table import Table, make_table
from implicit_bias.studies.residual.arms import CONV, DENSE, Cell
from implicit_bias.studies.residual.rows import (
    at_target,
    depths_of,
    exact,
    kinds_of,
    met,
    norms_of,
    of_cell,
    steepest,
    updates_to_target,
)
from implicit_bias.studies.residual.settings import KINDS
from implicit_bias.studies.rows import has, seeds_of
from implicit_bias.studies.seed_means import INTERVALS, geometric, mean, percent

if TYPE_CHECKING:
    import xarray as xr


def tables(result: xr.Dataset) -> list[Table]:
    """Return one table for each thing that was done."""
    made = [_networks(result, arm) for arm in (DENSE, CONV) if has(result, arm)]
    if has(result, DENSE):
        made.insert(0, _blocks(result))
    return made + ([_exact(result)] if has(result, "jacobians") else [])


def _blocks(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for depth in depths_of(result):
        for norm in norms_of(result):
            for kind in KINDS:
                cell = Cell(DENSE, kind, depth, norm)
                changes = [
                    of_cell(result, cell, f"change_{moment}")[:, :depth].mean(axis=1)
                    for moment in ("before", "after")
                ]
                rows.append([
                    depth, norm, kind, *(mean(one, NOT_NEGATIVE) for one in changes),
                    *(geometric(of_cell(result, cell, name))
                      for name in ("conditioning", "kernel_condition")),
                ])  # fmt: skip
    return make_table(
        ["depth", "normalisation", "block", "‖Δh‖/‖h‖ before", "after", "σ1/σ_median of ∂f/∂x",
         "of the kernel"],
        rows,
        caption=f"How much a block changes features, before and after training, and conditioning before; "
        f"{INTERVALS}, of conditioning geometric means",
    )  # fmt: skip


def _networks(result: xr.Dataset, arm: str) -> Table:
    rows: list[list[Any]] = []
    for depth in depths_of(result, arm):
        for norm in norms_of(result, arm):
            for kind in kinds_of(arm):
                cell = Cell(arm, kind, depth, norm)
                there = met(result, cell)
                rows.append([
                    depth, norm, kind, f"{int(there.sum())} of {seeds_of(result).size}",
                    geometric(of_cell(result, cell, "step_size")),
                    geometric(updates_to_target(result, cell)),
                    geometric(at_target(result, cell, "lambda_max")),
                    geometric(steepest(result, cell)),
                    geometric(at_target(result, cell, "sensitivity")),
                    percent(at_target(result, cell, "test_error")),
                ])  # fmt: skip
    return make_table(
        ["depth", "normalisation", "block", "met", "step size", "updates", "λmax", "path", "sensitivity",
         "test error, %"],
        rows,
        caption=("Convolutional" if arm == CONV else "Dense") + " networks at one training loss, each at its "
        f"own step size; geometric {INTERVALS}",
        notes=(
            "met: seeds that met the training loss; updates: the budget where it was not met, all else "
            "of those that met it",
            "path: largest ‖∇L(θ+δ) − ∇L(θ)‖/‖δ‖ after the start; sensitivity: ‖∂f/∂x‖ over the "
            "spread of f",
        ),
    )  # fmt: skip


def _exact(result: xr.Dataset) -> Table:
    rows: list[list[Any]] = []
    for place, depth in enumerate(result["exact_depth"].values):
        for kind in KINDS:
            columns = [
                exact(result, name, kind)[:, place]
                for name in ("branch_norm", "stack_largest", "stack_smallest", "stack_condition",
                             "exact_conditioning")
            ]  # fmt: skip
            rows.append([int(depth), kind, *map(geometric, columns)])
    return make_table(
        [
            "depth",
            "block",
            "ε",
            "σ_max of ∂h_L/∂h_0",
            "σ_min",
            "their ratio",
            "σ1/σ_median of ∂f/∂x",
        ],
        rows,
        caption=f"Networks as drawn, in double precision, without normalisation; geometric {INTERVALS}",
        notes=("ε: the largest ‖∂F/∂h‖ of a block",),
    )
