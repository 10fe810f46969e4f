"""Rules of the claims on ridge, risks, mini-batches and momentum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence, Finding, identity
from implicit_bias.studies.comparisons import above, larger
from implicit_bias.studies.minimum_norm.judging import each, most, seen
from implicit_bias.studies.minimum_norm.rules_descent import MATTERS
from implicit_bias.studies.minimum_norm.shifts import SHIFTS, TRUTHS

if TYPE_CHECKING:
    import xarray as xr

SLOPE, CONSTANT = 0.01, 0.001
"""Allowed errors of the exponent 1 in λ and, relative, of its constant (XᵀX)⁺X⁺y."""

FRESH = 0.05
"""Allowed relative error of a mean estimate of risk."""

WORSE = 0.25
"""A risk is larger from a ratio of 1.25 on."""

SOME = 0.001
"""Share of fits from which on something happens to some."""

ROUNDING = 1e-12
"""Squared errors up to here are rounding."""


def ridge_limit(result: xr.Dataset) -> Finding:
    """Hold the ridge path's approach to the minimum norm against λ ‖(XᵀX)⁺X⁺y‖."""
    slope, constant = (seen(result, "ridge", f"ridge_{name}") for name in ("slope", "constant"))
    errors = np.concatenate([(slope - 1).ravel() / SLOPE, (constant - 1).ravel() / CONSTANT])
    return identity(
        errors,
        1.0,
        n_seeds=len(slope),
        reason=f"errors in units of what is allowed: {SLOPE:g} of the exponent 1 of ‖w_λ − X⁺y‖ in λ, "
        f"{CONSTANT:g} of its constant; also for rank-deficient designs and labels that cannot be fitted",
        **{
            "exponent": each(result, "ridge", "ridge_slope", "ridged"),
            "constant over (XᵀX)⁺X⁺y's norm": each(result, "ridge", "ridge_constant", "ridged"),
            "distance from the path by modes": most(result, "ridge", "ridge_law"),
        },
    )


def bound(result: xr.Dataset) -> Evidence:
    """Ask whether the bound lies above the risk, by the signal's strength."""
    ratios = [float(ratio) for ratio in result["signal_ratio"].values]
    largest = int(result["risk_inputs"].values[-1])
    comparisons, spare = {}, {}
    for ratio in ratios:
        risk = seen(result, "risks", "bounded_risk", signal_ratio=ratio)
        limit = seen(result, "risks", "bound", signal_ratio=ratio)
        comparisons[f"‖θ‖² = {ratio:g} σ², p = {largest}"] = above(limit[:, -1] - risk[:, -1], 0.0)
        spare[f"{ratio:g} σ²"] = (limit - risk).mean(axis=0)
    return Evidence(
        comparisons,
        headline=f"‖θ‖² = {ratios[0]:g} σ², p = {largest}",
        reason="bound less risk, in units of σ². The bound lacks what noise does to the weights, "
        "σ² tr((XXᵀ)⁻¹); it holds where its excess over the bias is larger, from ‖θ‖²/σ² = n/(n + 1 + "
        "n(p − n − 1)/p) on",
        details={
            "bound less risk over p": spare,
            "p": result["risk_inputs"].values,
            "threshold of ‖θ‖²/σ² at the largest p": threshold(result),
        },
    )


def threshold(result: xr.Dataset) -> float:
    """Return ‖θ‖²/σ² from which on the mean bound exceeds the mean risk, by means over seeds."""
    p = int(result["risk_inputs"].values[-1])
    ratios = result["signal_ratio"].values.astype(float)
    spare = np.array(
        [
            np.mean(
                seen(result, "risks", "bound", signal_ratio=ratio, risk_inputs=p)
                - seen(result, "risks", "bounded_risk", signal_ratio=ratio, risk_inputs=p)
            )
            for ratio in ratios
        ]
    )
    # Both are linear in ‖θ‖².
    slope, start = np.polyfit(ratios, spare, 1)
    return float(-start / slope)


def population_risk(result: xr.Dataset) -> Finding:
    """Hold estimates on fresh examples against exact risks, and these against their law."""
    fresh, true = (seen(result, "risks", f"{name}_risk") for name in ("fresh", "true"))
    covered = seen(result, "risks", "fresh_covered")
    return identity(
        fresh.mean(axis=0) / true.mean(axis=0) - 1,
        FRESH,
        n_seeds=len(fresh),
        reason="mean squared error on fresh examples over the risk that it estimates, less 1",
        **{
            "share of designs whose 95 % interval holds the risk": float(covered.mean()),
            "mean risk over its law, less 1": float(
                np.abs(
                    seen(result, "risks", "bounded_risk").mean(axis=0)
                    / seen(result, "risks", "risk_law")[0]
                    - 1
                ).max()
            ),
        },
    )


def gap_can_vanish(result: xr.Dataset) -> Finding:
    """Show interpolating fits without a gap: noiseless labels and at least as many examples as weights."""
    largest = seen(result, "gaps", "gap_largest", fit="no noise, m ≥ n")
    return identity(
        largest,
        ROUNDING,
        n_seeds=len(largest),
        reason="largest |test − training loss| of noiseless fits with at least as many examples as "
        "weights: zero, so not always positive. As the question defines the gap, training less test "
        "loss, it is never positive",
        **{"mean gap": each(result, "gaps", "gap_mean", "fit")},
    )


def gap_can_be_negative(result: xr.Dataset) -> Evidence:
    """Ask whether test loss ever falls short of a training loss that is zero."""
    fits = [str(fit) for fit in result["fit"].values]
    return Evidence(
        {
            f"{fit}: share of fits with a negative gap": above(
                seen(result, "gaps", "gap_negative", fit=fit), SOME
            )
            for fit in fits
        },
        reason="a squared error is not below zero, and so no test loss is below a training loss of zero",
        details={
            "least gap": {
                fit: float(np.min(seen(result, "gaps", "gap_least", fit=fit))) for fit in fits
            },
            "training loss over σ² of the document's example, which does not interpolate": float(
                np.mean(seen(result, "gaps", "polynomial_training"))
            ),
        },
    )


def norm_is_not_robustness(result: xr.Dataset) -> Evidence:
    """Ask whether another interpolating solution withstands a shift better than the shortest."""
    pairs = {
        (truth, shift): seen(result, "shifts", "shifted_error", shift_truth=truth, shift=shift)
        for truth in TRUTHS
        for shift in SHIFTS
    }
    # Exact recovery leaves rounding, of which ratios say nothing.
    ratios = {
        f"{truth} truth, {shift}": float(np.mean(p[:, 0]) / max(float(np.mean(p[:, 1])), ROUNDING))
        for (truth, shift), p in pairs.items()
    }
    shifted = pairs["sparse", "others wider"]
    return Evidence(
        {
            "sparse truth, other features wider": larger(
                shifted[:, 0], np.maximum(shifted[:, 1], ROUNDING), WORSE
            )
        },
        reason="test error of the minimum L2 norm over that of the minimum L1 norm after the shift",
        details={
            "the same ratio by truth and shift": ratios,
            "norm, L2 then L1": {
                truth: seen(result, "shifts", "shifted_norm", shift_truth=truth).mean(axis=0)
                for truth in TRUTHS
            },
        },
    )


def batches_regularise(result: xr.Dataset) -> Evidence:
    """Ask whether mini-batches end at a simpler solution than all examples do."""
    single, every = result["batch"].values[0], result["batch"].values[-1]
    norms, squares = (
        {
            size: seen(result, "batches", name, batch=size, batch_momentum=0.0)
            for size in (single, every)
        }
        for name in ("batch_norm", "noisy_square")
    )
    lengths = seen(result, "diagonal", "diagonal_length")
    return Evidence(
        {
            "w itself, labels that can be fitted (L2 norm)": larger(
                norms[every], norms[single], MATTERS
            ),
            "w itself, labels that cannot (mean square)": larger(
                squares[every], squares[single], MATTERS
            ),
            "w = u² − v² (L1 norm)": larger(lengths[:, 0], lengths[:, 1], MATTERS),
        },
        reason=f"norm with all examples over that with batches of {int(single)}. Where labels can "
        "be fitted all gradients vanish at a solution and lie in the row space, so that batches end at "
        "X⁺y as well; where they cannot, noise adds its variance to the square",
        details={
            "distance from X⁺y by batch size": each(
                result, "batches", "batch_error", "batch", batch_momentum=0.0
            ),
            "from elsewhere": each(
                result, "batches", "batch_error_elsewhere", "batch", batch_momentum=0.0
            ),
            "mean w from X⁺y where labels cannot be fitted": each(
                result, "batches", "noisy_centre", "batch", batch_momentum=0.0
            ),
            "error of w = u² − v², all examples then one": seen(
                result, "diagonal", "diagonal_error"
            ).mean(axis=0),
        },
    )


def momentum_differs(result: xr.Dataset) -> Evidence:
    """Ask whether momentum ends elsewhere than descent without it."""
    errors = seen(result, "batches", "batch_error_elsewhere")
    full = seen(result, "descents", "descent_error", design="full rank", rule="heavy ball")
    apart = {
        name: seen(result, "optimisers", "network_apart", network=name)
        for name in result["network"].values
    }
    order = apart["other order"]
    return Evidence(
        {
            "least squares, all examples: distance": above(full.max(axis=1), MATTERS),
            "least squares, mini-batches: distance": above(errors[..., 1].max(axis=1), MATTERS),
            "a network, equal η/(1 − β): distance over that of other batches": larger(
                apart["equal product"], order, WORSE
            ),
            "a network, equal η: distance over that of other batches": larger(
                apart["equal step size"], order, WORSE
            ),
        },
        reason="distance of the end with momentum from the solution nearest to the start, which is "
        "where descent without momentum ends, over that solution's norm; for the network the distance "
        "of the end from that without momentum, over that of ends which differ in the order of batches",
        details={
            "a network's end from that without momentum, over the way": each(
                result, "optimisers", "network_apart", "network"
            ),
            "norm of the network's weights over that without momentum": each(
                result, "optimisers", "network_norm", "network"
            ),
            "a network's training loss over that of predicting 0": each(
                result, "optimisers", "network_loss", "network"
            ),
        },
    )
