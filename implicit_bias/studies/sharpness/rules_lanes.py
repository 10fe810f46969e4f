"""Rules of claims that trained networks decide."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence, Finding, NotDecidable, combine_arms, identity
from implicit_bias.results.statistics import Comparison, Estimate, rank_correlation
from implicit_bias.studies import paired_cells
from implicit_bias.studies.sharpness.points import FOUND
from implicit_bias.studies.sharpness.select import (
    LAMBDA,
    MEASURES,
    SAME_OUTPUTS,
    Measure,
    at_found,
    cell,
    farthest,
    kept,
    lanes,
    mean_ratio,
    output_error,
    points,
    ratios,
    scaled_by,
    trial,
)
from implicit_bias.studies.sharpness.settings import ARMS, EPOCHS, MATCHED, STEPS, arm

if TYPE_CHECKING:
    import xarray as xr

SMALLEST_RATIO = 0.25
"""A ratio of sharpnesses matters from 1.25 on."""
SMALLEST_GAP = 0.2
"""Difference of test errors that matters, in percentage points."""
KEPT = 0.8
"""What is within a factor 1.25 of what it should be counts as that."""
CHANGED = 2.0
"""λmax of one function must differ by this factor for a counterexample."""

OVER_LOSS = next(measure for measure in MEASURES if measure.variable == "at_lambda_over_loss")
NORMED = next(measure for measure in MEASURES if measure.variable == "at_lambda_norm")
TRACE = next(measure for measure in MEASURES if measure.variable == "at_trace")
AVERAGE = next(measure for measure in MEASURES if measure.variable == "average_l2")
SMALL_STEP, LARGE_STEP = STEPS


def n_seeds(rows: xr.Dataset) -> int:
    """Return the number of seeds of some rows."""
    return len(np.unique(rows["seed"].values))


def plain(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate as details hold it."""
    return {
        "value": estimate.value,
        "interval": (estimate.low, estimate.high),
        "n": estimate.n,
    }


def excluded(result: xr.Dataset, names: tuple[str, ...]) -> str:
    """Say which lanes of some arms do not count, and why."""
    chosen = np.isin(result["arm"].values, names)
    diverged = int((result["diverged"].values & chosen).sum())
    missed = int((~paired_cells.usable(result).values & ~result["diverged"].values & chosen).sum())
    parts = [f"{diverged} lanes diverged"] * bool(diverged)
    parts += [f"{missed} lanes missed the target loss"] * bool(missed)
    return "; ".join(parts) + (f", of {int(chosen.sum())}, left out in pairs" if parts else "")


def reliable(result: xr.Dataset) -> Evidence:
    """Ask whether λmax is a property of the function: kept within a factor 1.25 by rescaled layers."""
    rows = lanes(result)
    label, _ = farthest(rows)
    _same_function(rows)
    moved = {
        name: plain(mean_ratio(rows, ratios(rows, LAMBDA, name)))
        for name, _ in points(rows, "layers")
    }
    return Evidence(
        {label: kept(rows, ratios(rows, LAMBDA, label), 1.0, KEPT)},
        n_seeds=n_seeds(rows),
        reason="effect: λmax before over λmax after, or the inverse, whichever is below 1; the network's "
        "outputs are the same",
        details={"λmax ratio": moved, "largest change of an output": output_error(rows),
                 "rank correlation with test error": correlations(result)},
    )  # fmt: skip


def correlations(result: xr.Dataset) -> dict[str, Any]:
    """Return rank correlations of λmax with test error at equal loss, as found and rewritten at random."""
    found = {}
    for name, drawn in (("as found", False), ("layers rescaled at random", True)):
        estimate = correlation(result, LAMBDA, drawn)
        if estimate is not None:
            found[name] = plain(estimate)
    return found


def correlation(result: xr.Dataset, measure: Measure, drawn: bool) -> Estimate | None:
    """Correlate a measure with test error over matched lanes, seeds resampled; None without two seeds.

    Args:
        result: The study's result.
        measure: Which.
        drawn: Take each lane where ``drawn_point`` says, not where training ended.
    """
    rows = matched(result)
    if rows is None or n_seeds(rows) < 2:
        return None
    place = rows["drawn_point"].values.astype(int) if drawn else np.zeros(rows.sizes["lane"], int)
    values = measure.values(rows)[np.arange(rows.sizes["lane"]), place]
    together = np.zeros(values.size, int)
    return rank_correlation(
        values, rows["test_error"].values, together, clusters=rows["seed"].values
    )(0.95)


def matched(result: xr.Dataset) -> xr.Dataset | None:
    """Return the lanes that stopped at the target loss; None if there are none."""
    rows = lanes(result)
    names = [arm(MATCHED, step) for step in STEPS]
    chosen = np.isin(rows["arm"].values, names) & paired_cells.usable(rows).values
    return rows.isel(lane=np.flatnonzero(chosen)) if chosen.any() else None


def _same_function(rows: xr.Dataset) -> None:
    found = output_error(rows)
    if not found <= SAME_OUTPUTS:
        raise NotDecidable(
            f"rescaling changed an output by {found:.1e} of the largest, more than {SAME_OUTPUTS:g}: not "
            "one function; use dtype float64"
        )


def flat(result: xr.Dataset) -> Evidence:
    """Judge what is said of flat minima: small batches, small steps, test error, and tenfold parameters."""
    comparisons: dict[str, Comparison] = {}
    for name in ARMS:
        comparisons[f"batch, {name}"] = paired_cells.ratio(
            cell(result, name, 1), cell(result, name, 0), at_found(LAMBDA), SMALLEST_RATIO
        )
    for budget in (EPOCHS, MATCHED):
        comparisons[f"smaller step, {budget}"] = paired_cells.ratio(
            cell(result, arm(budget, LARGE_STEP), 0), cell(result, arm(budget, SMALL_STEP), 0),
            at_found(LAMBDA), SMALLEST_RATIO,
        )  # fmt: skip
    for budget in (EPOCHS, MATCHED):
        name = arm(budget, LARGE_STEP)
        comparisons[f"rise along random directions, {name}"] = paired_cells.ratio(
            cell(result, name, 1), cell(result, name, 0), at_found(AVERAGE), SMALLEST_RATIO
        )
    name = arm(EPOCHS, LARGE_STEP)
    comparisons[f"test error, {name}"] = paired_cells.error_gap(
        cell(result, name, 1), cell(result, name, 0), SMALLEST_GAP
    )
    rows = lanes(result)
    label, _ = scaled_by(rows, 10.0)
    values = rows["at_loss"].sel(point=label) / rows["at_loss"].sel(point=FOUND)
    comparisons[f"equal loss at {label}"] = kept(rows, np.maximum(values.values, 1e-300), 1.0, KEPT)
    smallest = rows["lambda_min"].values
    lost = excluded(result, ARMS)
    return Evidence(
        comparisons,
        headline=f"batch, {arm(MATCHED, LARGE_STEP)}",
        reason=f"{int((smallest < 0).sum())} of {len(smallest)} Hessians have a negative eigenvalue: those "
        f"are no "
        "minima, strict or not, and have no condition number" + (f"; {lost}" if lost else ""),
        details={
            "λmax ratio at ten times the parameters, said to be 100": plain(
                mean_ratio(rows, ratios(rows, LAMBDA, label))
            ),
            "median gradient norm": np.median(rows["gradient_norm"].values),
        },
    )


def sharp(result: xr.Dataset) -> Evidence:
    """Judge the published pair, in which batch and step change together, and each change alone."""
    comparisons: dict[str, Comparison] = {}
    for budget in (EPOCHS, MATCHED):
        small, large = arm(budget, SMALL_STEP), arm(budget, LARGE_STEP)
        pairs = {
            "both": (cell(result, large, 1), cell(result, small, 0)),
            "batch alone": (cell(result, small, 1), cell(result, small, 0)),
            "step alone": (cell(result, large, 0), cell(result, small, 0)),
        }
        for name, pair in pairs.items():
            comparisons[f"λmax, {name}, {budget}"] = paired_cells.ratio(
                *pair, at_found(LAMBDA), SMALLEST_RATIO
            )
        comparisons[f"test error, both, {budget}"] = paired_cells.error_gap(
            *pairs["both"], SMALLEST_GAP
        )
    return Evidence(comparisons, headline=f"λmax, both, {EPOCHS}", reason=excluded(result, ARMS))


def second_opinion(result: xr.Dataset) -> Finding:
    """Compare λmax with ARPACK's, and say where it was taken."""
    rows = trial(result, "arpack")
    name = arm(MATCHED, LARGE_STEP)
    own = cell(result, name, 0)
    seeds = np.intersect1d(rows["seed"].values, own["seed"].values)
    theirs = rows.swap_dims(lane="seed")["arpack_lambda_max"].sel(seed=seeds).values
    ours = own["at_lambda_max"].sel(point=FOUND, seed=seeds).values
    every = lanes(result)
    return identity(
        ours / theirs - 1,
        1e-4,
        n_seeds=len(seeds),
        reason="λmax against ARPACK's; the definition asks for a minimum, and training ends before one: see "
        "the gradient norms, and λmin below zero",
        **{
            "gradient norms": _range(every["gradient_norm"].values),
            "λmin": _range(every["lambda_min"].values),
            "largest residual over λmax": float(
                (every["eigenvalue_residuals"].isel(rank=0) / every["eigenvalues"].isel(rank=0)).max()
            ),
        },
    )  # fmt: skip


def _range(values: np.ndarray) -> tuple[float, float]:
    return float(np.nanmin(values)), float(np.nanmax(values))


def inverse_scale(result: xr.Dataset) -> Evidence:
    """Ask whether λmax(cθ) is λmax(θ)/c."""
    rows = lanes(result)
    label, factor = scaled_by(rows, 2.0)
    comparisons = {f"λmax, {label}": kept(rows, ratios(rows, LAMBDA, label), 1 / factor, KEPT)}
    layers = {
        name: plain(mean_ratio(rows, ratios(rows, LAMBDA, name)))
        for name, _ in points(rows, "layers")
    }
    return Evidence(
        comparisons,
        n_seeds=n_seeds(rows),
        reason="effect: λmax found over λmax said, or the inverse, whichever is below 1",
        details={**_scaling(rows), "λmax ratio, layers rescaled": layers},
    )


def inverse_square(result: xr.Dataset) -> Evidence:
    """Ask whether λmax(cθ) is λmax(θ)/c², and λmax over the loss is kept."""
    rows = lanes(result)
    label, factor = scaled_by(rows, 2.0)
    return Evidence(
        {
            f"λmax, {label}": kept(rows, ratios(rows, LAMBDA, label), factor**-2, KEPT),
            f"λmax / loss, {label}": kept(rows, ratios(rows, OVER_LOSS, label), 1.0, KEPT),
        },
        n_seeds=n_seeds(rows),
        reason="effect: the ratio found over the ratio said, or the inverse, whichever is below 1",
        details={
            **_scaling(rows),
            "test accuracy, lowest and highest": _range(1 - rows["test_error"].values),
        },
    )


def _scaling(rows: xr.Dataset) -> dict[str, Any]:
    """Return what happens at cθ, and what holds for ψ ↦ L(ψ/c) instead."""
    told: dict[str, Any] = {}
    for label, _ in points(rows, "scaled"):
        told[f"λmax ratio, {label}"] = plain(mean_ratio(rows, ratios(rows, LAMBDA, label)))
        told[f"λmax / loss ratio, {label}"] = plain(
            mean_ratio(rows, ratios(rows, OVER_LOSS, label))
        )
    for label, factor in points(rows, "stretched"):
        for measure in (LAMBDA, OVER_LOSS):
            error = np.abs(ratios(rows, measure, label) * factor**2 - 1).max()
            told[f"{measure.name}, {label}: largest error of 1/c²"] = float(error)
    return told


def no_guarantee(result: xr.Dataset) -> Finding:
    """Look for one function at two sharpnesses, and for pairs at equal loss in the wrong order."""
    rows = lanes(result)
    label, _ = farthest(rows)
    _same_function(rows)
    moved = ratios(rows, LAMBDA, label)
    if not np.isfinite(moved).all():
        raise NotDecidable("λmax was not found at every lane")
    change = np.exp(np.abs(np.log(moved)))
    least = float(change.min())
    verdict = (
        "supported" if least > CHANGED else "refuted" if change.max() < 1.25 else "inconclusive"
    )
    return Finding(
        verdict=verdict,  # type: ignore[arg-type]
        effect=least,
        interval=(float(change.min()), float(change.max())),
        n_seeds=n_seeds(rows),
        reason=f"one function, {label}: smallest and largest change of λmax over lanes; loss and test error "
        "are the same",
        details={"largest change of an output": output_error(rows), **_pairs(result, label)},
    )  # fmt: skip


def _pairs(result: xr.Dataset, label: str) -> Mapping[str, Any]:
    """Count pairs of one seed at equal loss whose flatter network errs more, before and after rescaling."""
    rows = matched(result)
    if rows is None:
        return {}
    sharpness, error = LAMBDA.values(rows)[:, 0], rows["test_error"].values
    changed = LAMBDA.values(rows)[:, [str(p) for p in rows["point"].values].index(label)]
    seeds = rows["seed"].values
    total = wrong = made = 0
    for a, b in itertools.combinations(range(len(seeds)), 2):
        if seeds[a] != seeds[b] or error[a] == error[b]:
            continue
        better, worse = (a, b) if error[a] < error[b] else (b, a)
        total += 1
        wrong += bool(sharpness[better] > sharpness[worse])
        made += bool(changed[better] > sharpness[worse])
    return {
        "pairs at equal training loss with different test errors": total,
        "of them, with the sharper network better": wrong,
        f"the same after the better network is rewritten ({label})": made,
    }


def invalid(result: xr.Dataset) -> Finding:
    """Ask whether eigenvalue measures change where the function does not."""
    rows = lanes(result)
    _same_function(rows)
    names = [*points(rows, "stretched"), farthest(rows)]
    changes = {
        f"{measure.name}, {label}": np.exp(np.abs(np.log(ratios(rows, measure, label))))
        for measure in (LAMBDA, TRACE)
        for label, _ in names
    }
    stacked = np.stack(list(changes.values()))
    if not np.isfinite(stacked).all():
        raise NotDecidable("an eigenvalue measure was not found, or not positive, at every lane")
    least = float(stacked.min())
    stretched = points(rows, "stretched")[0][0]
    return Finding(
        verdict="supported" if least > 1 + SMALLEST_RATIO else "refuted",
        effect=least,
        interval=(least, float(stacked.max())),
        n_seeds=n_seeds(rows),
        reason="smallest and largest change over lanes where the outputs are the same; cθ itself is another "
        "function, for which nothing is owed, and dividing by the loss does not help: see details",
        details={
            **{name: _range(values) for name, values in changes.items()},
            **{
                f"{OVER_LOSS.name}, {label}": plain(mean_ratio(rows, ratios(rows, OVER_LOSS, label)))
                for label in (stretched, farthest(rows)[0])
            },
            f"loss at {points(rows, 'scaled')[0][0] if points(rows, 'scaled') else 'cθ'} over loss": plain(
                mean_ratio(rows, _loss_ratio(rows))
            ),
        },
    )  # fmt: skip


def _loss_ratio(rows: xr.Dataset) -> np.ndarray:
    found = points(rows, "scaled")
    if not found:
        return np.full(rows.sizes["lane"], np.nan)
    ratio = rows["at_loss"].sel(point=found[0][0]) / rows["at_loss"].sel(point=FOUND)
    values: np.ndarray = ratio.values.astype(float)
    return values


def symmetric(result: xr.Dataset) -> Finding:
    """Check the definition's example, and ask whether Hessians of networks lack symmetry."""
    rows = lanes(result)
    worst = float(rows["asymmetry"].max())
    exact = trial(result, "exact")
    example = float(np.abs(exact["spectrum_example_error"]).max())
    statements = {
        "condition number of the example": example <= 1e-9,
        "networks' Hessians are not symmetric": worst > 1e-5,
    }
    verdict, condition = combine_arms(
        {name: "supported" if holds else "refuted" for name, holds in statements.items()}
    )
    return Finding(
        verdict=verdict,
        effect=worst,
        interval=(-1e-5, 1e-5),
        n_seeds=n_seeds(rows),
        condition=condition if verdict == "conditional" else "",
        reason="error: largest |uᵀHv − vᵀHu|, relative. A loss with continuous second derivatives has a "
        "symmetric Hessian, critical point or not, as the chapter says itself in brackets; what rounding "
        "leaves is measured here",
        details={
            "κ of diag(100, 10, 1, 0.1), minus 1000": float(exact["spectrum_example_error"].max()),
            "∂x∂y − ∂y∂x at 0 of xy (x² − y²)/(x² + y²), which is not C²": float(
                exact["mixed_derivatives_gap"].mean()
            ),
            "λmin": _range(rows["lambda_min"].values),
            "negative share of the spectrum": _range(rows["negative_share"].values),
        },
    )


def worst_case_expansion_scale(result: xr.Dataset) -> dict[str, Any]:
    """Return how λmax over the loss and λmax ‖θ‖² change where the function does not."""
    rows = lanes(result)
    _same_function(rows)
    told: dict[str, Any] = {}
    for label in (farthest(rows)[0], *(name for name, _ in points(rows, "stretched"))):
        for measure in (OVER_LOSS, NORMED):
            told[f"{measure.name}, {label}"] = plain(mean_ratio(rows, ratios(rows, measure, label)))
    return told
