"""Rules of the definitions, and of the chapter's worked examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence, Finding, NotDecidable, identity
from implicit_bias.studies.comparisons import above, below, larger
from implicit_bias.studies.minimum_norm.definitions import CASES, FITTED, LOSSES
from implicit_bias.studies.minimum_norm.judging import each, most, seen
from implicit_bias.studies.rows import has

if TYPE_CHECKING:
    import xarray as xr

EXACT = 1e-9
"""Allowed error of an exact statement in double precision."""

NORM_PUBLISHED = 8.0
"""Upper end of the norms that example 1 reports."""

NOISY = 10.0
"""Test errors up to this many times the noise count as dominated by it."""

RATIO_PUBLISHED, RATIO = 1.05, 0.01
"""Norm of ridge over the minimum in example 2, and the error that is allowed."""

AGREES = 1e-6
"""Relative distance that example 2 states for descent."""

TWICE = 1.0
"""A norm is high from a ratio of 2 on."""

TENFOLD = 10.0
"""A norm is not low from ten times the least on."""


def interpolation(result: xr.Dataset) -> Finding:
    """Hold two detectors, by the loss and by residuals, against cases with known answers."""
    loss, residual = (seen(result, "definitions", f"case_{name}") for name in ("loss", "residual"))
    known = np.array([CASES[str(case)] for case in result["case"].values])
    by_loss, by_residual = loss <= FITTED**2, residual <= FITTED
    wrong = np.mean((by_loss != known) | (by_residual != known))
    return identity(
        wrong,
        EXACT,
        n_seeds=len(loss),
        reason="share of wrong answers of either detector, loss zero and every residual zero up to "
        "rounding",
        **{"largest residual": each(result, "definitions", "case_residual", "case")},
    )


def accuracy_means_zero_loss(result: xr.Dataset) -> Evidence:
    """Ask which training losses are zero where every label is right, at any length of the weights."""
    if np.min(seen(result, "definitions", "right_accuracy")) < 1:
        raise NotDecidable("a classifier does not have every label right")
    return Evidence(
        {
            str(loss): below(
                seen(result, "definitions", "right_loss", right_by=loss).max(axis=1), FITTED
            )
            for loss in LOSSES
        },
        headline="cross-entropy",
        reason="largest training loss over classifiers of several lengths that have every label right",
        details={
            str(loss): seen(result, "definitions", "right_loss", right_by=loss).mean(axis=0)
            for loss in LOSSES
        },
    )


def least_norm(result: xr.Dataset) -> Finding:
    """Check the definition on its example in fractions, and against other solutions."""
    error = seen(result, "definitions", "example_error")
    shorter = seen(result, "definitions", "least_norm")
    return identity(
        [float(error.max()), max(0.0, float(shorter.max()) - 1)],
        EXACT,
        n_seeds=len(error),
        reason="distance from the example's exact solution (3/4, 3/4, 1/4, 1/4, 1/2), and by how "
        "much any of 200 other solutions is shorter, relative",
    )


def rank_undefines(result: xr.Dataset) -> Evidence:
    """Ask whether the pseudoinverse, and the limit of ridge and descent, fail below full rank."""
    lower = ("rank-deficient", "inconsistent")
    return Evidence(
        {
            f"{kind}: Penrose's conditions fail": above(
                seen(result, "definitions", "penrose_error", kind=kind), EXACT
            )
            for kind in lower
        },
        reason="largest violation of the four conditions that define X⁺ for every matrix",
        details={
            "rank over examples": each(result, "definitions", "penrose_rank", "kind"),
            **_other_routes(result, lower),
        },
    )


def _other_routes(result: xr.Dataset, kinds: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if has(result, "descents"):
        found["descent from zero, distance from X⁺y"] = {
            kind: most(result, "descents", "descent_error", design=kind, begun="zero")
            for kind in kinds
        }
    if has(result, "ridge"):
        found["ridge at the smallest penalty, distance from X⁺y"] = {
            kind: float(seen(result, "ridge", "ridge_distance", ridged=kind)[:, 0].max())
            for kind in kinds
        }
    return found


def interpolation_is_not_low_norm(result: xr.Dataset) -> Evidence:
    """Ask whether interpolating solutions of any norm exist."""
    norms = seen(result, "definitions", "stretched_norm")
    loss = seen(result, "definitions", "stretched_loss")
    if loss.max() > FITTED**2:
        raise NotDecidable("the solution with a null vector does not interpolate")
    return Evidence(
        {
            "norm of X⁺y and a null vector over that of X⁺y": larger(
                norms, np.ones_like(norms), TENFOLD - 1
            )
        },
        details={"its training loss, relative": float(loss.max())},
    )


def random_labels_need_norm(result: xr.Dataset) -> Evidence:
    """Ask whether fitting random labels takes a larger norm than fitting a signal of equal size."""
    return Evidence(
        {
            f"{spectrum} inputs": larger(
                seen(
                    result,
                    "definitions",
                    "label_norm",
                    spectrum_of_inputs=spectrum,
                    labelled="random",
                ),
                seen(
                    result,
                    "definitions",
                    "label_norm",
                    spectrum_of_inputs=spectrum,
                    labelled="signal",
                ),
                TWICE,
            )
            for spectrum in result["spectrum_of_inputs"].values
        },
        reason="‖X⁺y‖ of random labels over that of labels Xθ of the same size",
    )


def _solutions(result: xr.Dataset, name: str) -> dict[str, np.ndarray]:
    return {
        str(solution): seen(result, "worked", name, worked_solution=solution)
        for solution in result["worked_solution"].values
    }


def example_1(result: xr.Dataset) -> Evidence:
    """Hold example 1's norm and test error against what it reports."""
    norms, tests = _solutions(result, "worked_norm"), _solutions(result, "worked_test")
    noise = tests["truth"]
    limit = seen(result, "worked", "worked_limit")
    return Evidence(
        {
            "norm of the end": below(norms["descent"], NORM_PUBLISHED),
            "test error over the noise": below(tests["descent"] / noise, NOISY),
        },
        reason=f"the norm is about ‖θ‖√(m/n), {np.mean(norms['truth']):.3g} for the truth; most of "
        "θ is not seen, and the test error is that of its missing part, "
        f"{np.mean(tests['descent']) / np.mean(tests['nothing']):.0%} of what predicting nothing costs. "
        f"As said: a step size of 0.1 diverges, the limit is {np.mean(limit):.3g}; conjugate gradients "
        "end at X⁺y",
        details={
            "norm": {name: float(values.mean()) for name, values in norms.items()},
            "test error": {name: float(values.mean()) for name, values in tests.items()},
            "distance from X⁺y": each(result, "worked", "worked_distance", "worked_solution"),
            "descent from e₁, distance from the solution nearest to e₁": most(
                result, "worked", "worked_start"
            ),
            "updates needed with a step size of 10⁻⁶": float(
                np.mean(seen(result, "worked", "worked_slow"))
            ),
            "factor an update with a step size of 0.1": float(
                np.mean(seen(result, "worked", "worked_growth"))
            ),
        },
    )


def example_2(result: xr.Dataset) -> Finding:
    """Hold ridge's norm over the minimum against the 1.05 that example 2 gives."""
    norms, training = _solutions(result, "worked_norm"), _solutions(result, "worked_training")
    ratio = norms["ridge 0.001"] / norms["X⁺y"]
    return identity(
        ratio / RATIO_PUBLISHED - 1,
        RATIO,
        n_seeds=len(ratio),
        reason="norm of ridge at λ = 0.001 over that of X⁺y, over 1.05, less 1. A penalty "
        "shortens: the ratio is below 1 for every λ > 0, and ridge does not interpolate",
        **{
            "largest ratio less 1": float(np.max(ratio - 1)),
            "training loss": {
                name: float(training[name].mean())
                for name in ("X⁺y", "descent", "ridge 0.001", "ridge 0.1")
            },
            "what-ifs": {
                "orthonormal rows: Xᵀy from X⁺y": most(result, "worked", "orthonormal_error"),
                "condition number 10¹⁰: error of the Gram route": float(
                    np.mean(seen(result, "worked", "gram_error"))
                ),
                "half the step size: times as many updates": float(
                    np.mean(seen(result, "worked", "worked_halved"))
                ),
                "X + εE: relative change": each(result, "worked", "perturbed", "perturbation"),
            },
        },
    )


def descent_agrees(result: xr.Dataset) -> Evidence:
    """Ask whether 10,000 updates bring descent to X⁺y, on the example's inputs and on data."""
    updates = int(1e4)
    gaussian = seen(result, "worked", "worked_distance", worked_solution="descent")
    comparisons = {"Gaussian inputs of example 2": below(gaussian, AGREES)}
    details: dict[str, Any] = {}
    if has(result, "images"):
        # Distances of different data sets differ by orders of magnitude.
        away = np.maximum(seen(result, "images", "image_left", image_update=updates), EXACT**2)
        comparisons["the study's own data (log₁₀)"] = below(np.log10(away), np.log10(AGREES))
        details = {
            "distance from X⁺y on data by updates": each(
                result, "images", "image_left", "image_update"
            ),
            "condition number of XᵀX on data": float(
                np.mean(seen(result, "images", "image_condition"))
            ),
        }
    return Evidence(
        comparisons, details=details, reason="relative distance from X⁺y after 10,000 updates"
    )
