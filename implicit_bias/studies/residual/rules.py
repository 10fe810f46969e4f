"""Rules of the residual study, with the smallest effects that matter."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence, Finding, NotDecidable, identity
from implicit_bias.results.statistics import Comparison
from implicit_bias.studies.comparisons import below, larger, mean_ends
from implicit_bias.studies.residual.arms import CONV, DENSE, Cell
from implicit_bias.studies.residual.rows import (
    SHORTCUTS,
    at_target,
    depths_of,
    exact,
    kinds_of,
    logged_at,
    met,
    norms_of,
    of_cell,
    speeds,
    steepest,
)
from implicit_bias.studies.rows import by_seed, has, require

if TYPE_CHECKING:
    import xarray as xr

IDENTITY_LIKE = 0.5
"""Relative change of features by a block up to which it counts as identity-like."""

SMALLEST_RATIO = 0.25
"""A ratio matters from 1.25 on."""

WELL = 10.0
"""Condition number up to which a whole stack of blocks counts as well conditioned."""

EXACT = 1e-9
"""Error of an identity in double precision, through tens of layers."""


def early_of(result: xr.Dataset) -> int:
    """Return the update that counts as early training."""
    settings = json.loads(str(result.attrs.get("settings", "{}")))
    return int(settings.get("early", 10))


def identity_like(result: xr.Dataset) -> Evidence:
    """Hold how much a block changes features against a boundary, at the start and early in training."""
    require(result, DENSE)
    deepest, early = depths_of(result)[-1], early_of(result)
    made: dict[str, Comparison] = {}
    moves: dict[str, list[float]] = {}
    for norm in norms_of(result):
        for kind in SHORTCUTS:
            cell = Cell(DENSE, kind, deepest, norm)
            for step, words in ((0, "at the start"), (early, f"after {early} updates")):
                values = logged_at(result, cell, "change", step)
                made[f"{kind}, {_norm(norm)}, {words}"] = below(values, IDENTITY_LIKE)
            moves[f"{kind}, {_norm(norm)}"] = mean_ends(
                logged_at(result, cell, "change", early) / logged_at(result, cell, "change", 0)
            )
    return Evidence(
        made,
        headline=f"residual, {_norm(norms_of(result)[0])}, at the start",
        reason=_lost(result),
        details={f"change after {early} updates over that at the start": moves},
    )


def gradual(result: xr.Dataset) -> Evidence:
    """Hold plain against residual blocks: how much features change, after training."""
    require(result, DENSE)
    deepest = depths_of(result)[-1]
    made = {}
    for norm in norms_of(result):
        plain = _mean_change(result, Cell(DENSE, "plain", deepest, norm))
        for kind in SHORTCUTS:
            own = _mean_change(result, Cell(DENSE, kind, deepest, norm))
            made[f"plain to {kind}, {_norm(norm)}"] = larger(plain, own, SMALLEST_RATIO)
    return Evidence(made, reason=_lost(result))


def conditioning(result: xr.Dataset) -> Evidence:
    """Hold plain against residual networks before training: Jacobian and tangent kernel."""
    require(result, DENSE)
    deepest = depths_of(result)[-1]
    made = {}
    for norm in norms_of(result):
        for kind in SHORTCUTS:
            for name, words in (("conditioning", "Jacobian"), ("kernel_condition", "kernel")):
                plain, own = (
                    of_cell(result, Cell(DENSE, which, deepest, norm), name)
                    for which in ("plain", kind)
                )
                made[f"{words}: plain to {kind}, {_norm(norm)}"] = larger(
                    plain, own, SMALLEST_RATIO
                )
    details = {}
    if has(result, "jacobians"):
        table = exact(result, "exact_conditioning", "plain")[:, -1]
        details = {
            kind: mean_ends(np.log(table / exact(result, "exact_conditioning", kind)[:, -1]))
            for kind in SHORTCUTS
        }
    return Evidence(made, reason=_lost(result), details={"log ratio in double precision": details})


def speed(result: xr.Dataset) -> Evidence:
    """Hold updates to the target of plain against residual networks, each at its own step size."""
    require(result, DENSE)
    made: dict[str, Comparison] = {}
    unmet: dict[str, int] = {}
    for arm in (DENSE, CONV):
        if not has(result, arm):
            continue
        depths = depths_of(result, arm)
        for depth in dict.fromkeys((depths[-1], depths[0])):
            for norm in norms_of(result, arm):
                plain = Cell(arm, "plain", depth, norm)
                for kind in kinds_of(arm)[1:]:
                    own = Cell(arm, kind, depth, norm)
                    made[f"{_words(arm)}, {depth} deep, plain to {kind}, {_norm(norm)}"] = larger(
                        *speeds(result, plain, own), SMALLEST_RATIO
                    )
                for cell in (plain, *(Cell(arm, kind, depth, norm) for kind in kinds_of(arm)[1:])):
                    short = int((met(result, cell) == 0).sum())
                    if short:
                        unmet[f"{_words(arm)}, {depth} deep, {cell.kind}, {_norm(norm)}"] = short
    return Evidence(
        made, reason=_lost(result), details={"seeds that did not meet the target": unmet}
    )


def smooth_function(result: xr.Dataset) -> Evidence:
    """Hold how sensitive outputs are to inputs, where plain and residual networks have one training loss."""
    return Evidence(_at_one_loss(result, "sensitivity"), reason=_lost(result))


def smooth_loss(result: xr.Dataset) -> Evidence:
    """Hold λmax at one training loss, and gradients along the path, of plain against residual networks."""
    made = {
        f"λmax: {name}": comparison
        for name, comparison in _at_one_loss(result, "lambda_max").items()
    }
    for arm in (DENSE, CONV):
        if has(result, arm):
            depth = depths_of(result, arm)[-1]
            for norm in norms_of(result, arm):
                plain = steepest(result, Cell(arm, "plain", depth, norm))
                for kind in kinds_of(arm)[1:]:
                    own = steepest(result, Cell(arm, kind, depth, norm))
                    made[f"path: {_words(arm)}, plain to {kind}, {_norm(norm)}"] = larger(
                        plain, own, SMALLEST_RATIO
                    )
    return Evidence(made, reason=_lost(result))


def printed_gradient(result: xr.Dataset) -> Finding:
    """Ask whether ∇_W follows from the gradient with respect to a block's inputs, as printed."""
    require(result, "jacobians")
    errors = np.stack([exact(result, "printed_error", kind) for kind in SHORTCUTS])
    return identity(
        errors, EXACT, n_seeds=errors.shape[1],
        reason="relative error of the printed formula, which takes the gradient of the wrong side",
    )  # fmt: skip


def passed_gradient(result: xr.Dataset) -> Finding:
    """Ask whether gradients pass through blocks by (I + ∂F/∂h)ᵀ, and ∇_W follows from the outputs' side."""
    require(result, "jacobians")
    found = {
        name: np.stack([exact(result, name, kind) for kind in ("plain", *SHORTCUTS)])
        for name in ("passed_error", "weight_error")
    }
    errors = np.stack(list(found.values()))
    return identity(errors, EXACT, n_seeds=errors.shape[2])


def bounds(result: xr.Dataset) -> Finding:
    """Ask whether singular values of a stack lie within (1 − ε)^L and (1 + ε)^L."""
    require(result, "jacobians")
    errors = np.stack([exact(result, "bound_excess", kind) for kind in SHORTCUTS])
    norms = {kind: np.nanmean(exact(result, "branch_norm", kind)[:, -1]) for kind in SHORTCUTS}
    said = "; ".join(f"{kind} {value:.2g}" for kind, value in norms.items())
    return identity(
        errors, EXACT, n_seeds=errors.shape[1], reason=f"mean ε of the deepest networks: {said}"
    )


def unconditional(result: xr.Dataset) -> Evidence:
    """Hold the condition number of the deepest stacks against a boundary, whatever their branches."""
    require(result, "jacobians")
    made = {
        kind: below(np.log10(exact(result, "stack_condition", kind)[:, -1]), float(np.log10(WELL)))
        for kind in SHORTCUTS
    }
    norms = {kind: mean_ends(exact(result, "branch_norm", kind)[:, -1]) for kind in SHORTCUTS}
    return Evidence(made, details={"largest ε of a block": norms})


def linear_gradients(result: xr.Dataset) -> Finding:
    """Ask whether gradients of linear residual networks are as large as proved, and only there."""
    require(result, "linear")
    inside = by_seed(result, "linear", "inside_ratio")
    dead, left = (by_seed(result, "linear", f"outside_{name}") for name in ("gradient", "loss"))
    if not np.isfinite(dead).any():
        raise NotDecidable("no network has two blocks")
    short = np.maximum(1 - inside, 0.0)
    return identity(
        short, EXACT, n_seeds=len(inside),
        reason=f"with two blocks at −I the gradient is {np.nanmax(dead):.1g} of that at A = 0 and the loss "
        f"{np.nanmin(left):.2g} of it or more: the condition is needed",
        **{"smallest ‖∇f‖² over its bound": float(np.nanmin(inside))},
    )  # fmt: skip


def _at_one_loss(result: xr.Dataset, name: str) -> dict[str, Comparison]:
    require(result, DENSE)
    made = {}
    for arm in (DENSE, CONV):
        if not has(result, arm):
            continue
        depth = depths_of(result, arm)[-1]
        for norm in norms_of(result, arm):
            plain = at_target(result, Cell(arm, "plain", depth, norm), name)
            for kind in kinds_of(arm)[1:]:
                own = at_target(result, Cell(arm, kind, depth, norm), name)
                made[f"{_words(arm)}, plain to {kind}, {_norm(norm)}"] = larger(
                    plain, own, SMALLEST_RATIO
                )
    return made


def _mean_change(result: xr.Dataset, cell: Cell) -> np.ndarray:
    found: np.ndarray = of_cell(result, cell, "change_after")[:, : cell.depth].mean(axis=1)
    return found


def _norm(norm: str) -> str:
    return "no normalisation" if norm == "none" else f"{norm} normalisation"


def _words(arm: str) -> str:
    return "convolutional" if arm == CONV else "dense"


def _lost(result: xr.Dataset) -> str:
    lanes = np.isin(result["arm"].values, (DENSE, CONV))
    lost = int((lanes & result["diverged"].values).sum())
    return f"{lost} of {int(lanes.sum())} runs diverged, left out in pairs" if lost else ""
