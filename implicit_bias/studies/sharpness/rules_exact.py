"""Rules of claims that closed forms and float64 decide."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Finding, NotDecidable, identity
from implicit_bias.studies.sharpness.regression import SCALES, SCRIPTS
from implicit_bias.studies.sharpness.rules_lanes import n_seeds, worst_case_expansion_scale
from implicit_bias.studies.sharpness.select import trial

if TYPE_CHECKING:
    import xarray as xr

EXACT = 1e-9
DIFFERENT = 2.0
"""How many times the losses of two problems differ that are not alike."""
SLOPE, REST_SLOPE, RATIO = 0.02, 0.2, 0.01
"""Allowed errors of the slope 2 of S(ρ), of the slope 3 of what is left, and of S/(½λρ²) at the smallest "
"ρ."""


def worst(rows: xr.Dataset, name: str) -> float:
    """Return the value of a variable that is largest in magnitude.

    Raises:
        NotDecidable: One was not measured.
    """
    values = rows[name].values.ravel()
    if not np.isfinite(values).all():
        raise NotDecidable(f"{name} could not be measured")
    return float(values[np.argmax(np.abs(values))])


def quadratic_model(result: xr.Dataset) -> Finding:
    """Judge the error of the quadratic model by its slope, whatever the condition number."""
    rows = trial(result, "minimum")
    slopes = rows["model_slope"]
    return identity(
        slopes.values - 3.0,
        REST_SLOPE,
        n_seeds=n_seeds(rows),
        reason="slope of the model's error against the distance, minus 3: an error of o(δ²). The condition "
        "number plays no part, nor need the minimum be strict; at zero loss the criterion λmax δ² ≪ L* is "
        "met by no δ",
        **{
            "largest gradient norm": worst(rows, "minimum_gradient"),
            "by problem": _by_problem(rows, ("model_slope", "minimum_condition", "minimum_loss")),
            "error over δ², falling with δ": {
                str(problem): rows["model_error"].sel(problem=problem).mean("lane").values.tolist()
                for problem in rows["problem"].values
            },
        },
    )


def _by_problem(rows: xr.Dataset, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        str(problem): {
            name: (float(values.min()), float(values.max()))
            for name, values in ((n, rows[n].sel(problem=problem).values) for n in names)
        }
        for problem in rows["problem"].values
    }


def expansion_error(rows: xr.Dataset) -> np.ndarray:
    """Return the errors of the expansion of S(ρ), each in units of what is allowed."""
    errors = [
        (rows["minimum_slope"].values - 2) / SLOPE,
        (rows["minimum_rest_slope"].values - 3) / REST_SLOPE,
        (rows["minimum_ratio"].isel(rho=0).values - 1) / RATIO,
    ]
    return np.concatenate([error.ravel() for error in errors])


_EXPANSION = ("minimum_slope", "minimum_rest_slope", "minimum_condition", "minimum_gradient")


def expansion(result: xr.Dataset) -> Finding:
    """Judge S(ρ) = ½ λmax ρ² + O(ρ³)."""
    rows = trial(result, "minimum")
    return identity(
        expansion_error(rows), 1.0, n_seeds=n_seeds(rows),
        reason="worst error in units of what is allowed; holds at a singular Hessian too",
        **{
            "by problem": _by_problem(rows, _EXPANSION),
            "S / (½ λmax ρ²), smallest to largest ρ": {
                str(problem): rows["minimum_ratio"].sel(problem=problem).mean("lane").values.tolist()
                for problem in rows["problem"].values
            },
        },
    )  # fmt: skip


def expansion_and_scale(result: xr.Dataset) -> Finding:
    """Judge the expansion, and whether the loss or the norm of the parameters takes out the scale."""
    rows = trial(result, "minimum")
    holds = identity(expansion_error(rows), 1.0, n_seeds=n_seeds(rows))
    if holds.verdict == "refuted":
        return holds
    scale = worst_case_expansion_scale(result)
    changed = [name for name, told in scale.items() if not 0.8 <= told["value"] <= 1.25]
    by_loss = any(name.startswith("λmax / loss") for name in changed)
    by_norm = any(name.startswith("λmax ‖θ‖²") for name in changed)
    if not changed:
        return holds
    norm = "a radius in proportion to ‖θ‖"
    if by_loss:
        wrong = "dividing by the loss does not take out the scale"
        wrong += f", nor does {norm} where layers are rescaled" if by_norm else ""
    else:
        wrong = f"{norm} does not take out the scale where layers are rescaled"
    return Finding(
        verdict="conditional",
        effect=holds.effect,
        interval=holds.interval,
        n_seeds=holds.n_seeds,
        condition=f"the expansion holds at critical points; {wrong}",
        reason="effect: worst error of the expansion in units of what is allowed",
        details={
            "by problem": _by_problem(rows, _EXPANSION),
            "ratios where the function is the same": scale,
        },
    )


def exactly(name: str, tolerance: float, reason: str, *more: str) -> Callable[[Any], Finding]:
    """Judge an identity by errors of the experiment ``exact``."""

    def rule(result: xr.Dataset) -> Finding:
        rows = trial(result, "exact")
        errors = [worst(rows, one) for one in (name, *more)]
        told = {rows[one].attrs["long_name"]: worst(rows, one) for one in (name, *more)}
        return identity(errors, tolerance, n_seeds=n_seeds(rows), reason=reason, **told)

    return rule


def random_probe(result: xr.Dataset) -> Finding:
    """Judge the curvature proxy by random probes."""
    rows = trial(result, "exact")
    arithmetic = worst(rows, "probe_arithmetic_error")
    mean = float(rows["probe_over_mean"].mean())
    top = float(rows["probe_over_lambda_max"].mean())
    misranked = float(rows["probe_misranked"].mean())
    told = {
        rows[name].attrs["long_name"]: float(rows[name].mean())
        for name in ("probe_over_mean", "probe_over_lambda_max", "probe_doubling_error", "probe_misranked")
    }  # fmt: skip
    if abs(arithmetic) > EXACT or abs(mean - 1) > 0.1:
        verdict, condition = "refuted", ""
    elif top > KEPT_OF_TOP:
        verdict, condition = "supported", ""
    else:
        verdict = "conditional"
        condition = (
            "the arithmetic holds, and 2ΔL/‖δ‖² is the curvature along the probe; over random probes "
            f"its mean is tr H / d, here {top:.3f} of λmax, so that {100 * misranked:.0f} % of probes "
            "call the checkpoint of larger λmax flatter; on a quadratic the ranking at twice the norm "
            "is the same by algebra and tests nothing"
        )  # fmt: skip
    return Finding(
        verdict=verdict,  # type: ignore[arg-type]
        effect=arithmetic, interval=(-EXACT, EXACT), n_seeds=n_seeds(rows), condition=condition, details=told,
    )  # fmt: skip


KEPT_OF_TOP = 0.8
"""A mean curvature above this share of λmax would stand for it."""


def basins(result: xr.Dataset) -> Finding:
    """Judge the example of a sharp and a flat basin, statement by statement."""
    rows = trial(result, "exact")
    value = {
        name: worst(rows, name) for name in map(str, rows.data_vars) if name.startswith("basin_")
    }
    statements = {
        "½ · 0.81ᵗ for diag(1, 10)": abs(value["basin_sharp_loss_error"]) <= EXACT,
        "0.99²ᵗ for diag(0.1, 0.1)": abs(value["basin_flat_loss_factor"] - 1) <= EXACT,
        "the sharp direction is the first": value["basin_sharp_axis"] == 1.0,
        "factors at α = 0.05": abs(value["basin_half_step_error"]) <= EXACT,
        "(1 − α)ᵗ when preconditioned": abs(value["basin_preconditioned_error"]) <= EXACT,
        "the sharp basin is minimised in a few steps": value["basin_steps_sharp"] <= 10,
        "the flat basin takes hundreds of steps": value["basin_steps_flat"] >= 100,
    }
    good = [name for name, holds in statements.items() if holds]
    bad = [name for name, holds in statements.items() if not holds]
    verdict = "supported" if not bad else "conditional" if good else "refuted"
    return Finding(
        verdict=verdict,  # type: ignore[arg-type]
        effect=value["basin_flat_loss_factor"] - 1,
        interval=(-EXACT, EXACT),
        condition=f"right: {'; '.join(good)}. Wrong: {'; '.join(bad)}" if bad and good else "",
        reason="error: published over exact loss of the flat basin, less 1 (½ · 2 · 0.1 · 0.99²ᵗ; the factor "
        "0.1 is missing). At α = 0.2 the second coordinate changes sign for ever and never converges; with "
        "its own step 1/λmax the flat basin is minimised in one step, so slowness belongs to the step and "
        "not the basin",
        details={str(rows[name].attrs["long_name"]): found for name, found in value.items()},
    )  # fmt: skip


def condition_number(result: xr.Dataset) -> Finding:
    """Judge two spectra of one condition number by their loss curves."""
    rows = trial(result, "exact")
    ratio = worst(rows, "spectra_largest_ratio")
    if abs(worst(rows, "spectra_condition_error")) > EXACT:
        raise NotDecidable("the condition numbers differ")
    return Finding(
        verdict="supported" if ratio > DIFFERENT else "refuted",
        effect=ratio,
        interval=(DIFFERENT, math.inf),
        reason="largest ratio of the losses at one step, κ = 100 in both; no seed enters. The rate depends "
        "on the step too: 1 − 1/κ for 1/λmax, (κ − 1)/(κ + 1) for 2/(λmin + λmax)",
    )


def flattening(result: xr.Dataset) -> Finding:
    """Judge whether strict flattening at every step can be guaranteed."""
    rows = trial(result, "exact")
    change = worst(rows, "flattening_quadratic")
    made = identity(
        change, EXACT,
        reason="change of λmax along descent on a quadratic, whose Hessian is one matrix everywhere: true, "
        "and trivially so. The proof given shows another thing, that flattening may raise the loss; "
        "for log(1 + exp(−x)) plain gradient descent flattens at every step",
    )  # fmt: skip
    names = ("flattening_softplus", "flattening_loss_rises")
    told = {str(rows[name].attrs["long_name"]): worst(rows, name) for name in names}
    return Finding(**{**_fields(made), "details": told})


def _fields(finding: Finding) -> dict[str, Any]:
    names = ("verdict", "effect", "interval", "n_seeds", "reason")
    return {name: getattr(finding, name) for name in names}


def relative_sharpness(script: str) -> Callable[[Any], Finding]:
    """Judge whether λmax over the loss is kept when the weights of a regression are multiplied by c."""

    def rule(result: xr.Dataset) -> Finding:
        rows = trial(result, "regression")
        ratio = rows["script_relative_ratio"].sel(script=script)
        known = {
            f"c = {c:g}": float(
                rows["script_published_ratio"].sel(script=script, script_scale=c)[0]
            )
            for c in SCALES
        }
        closed = script == SCRIPTS[-1]
        return identity(
            ratio.values - 1, 0.05, n_seeds=n_seeds(rows),
            reason="worst ratio of λmax / loss at c times the weights, minus 1; λmax does not change at "
            "all, so "
            "the ratio is that of the losses" + (": 1/(1 + (c − 1)² ‖Xw‖²/‖Xw − y‖²)" if closed else ""),
            **{
                "ratio, seed 42": known,
                "λmax, seed 42": float(rows["script_published_lambda"].sel(script=script)[0]),
                "loss, seed 42": float(rows["script_published_loss"].sel(script=script)[0]),
                "largest change of λmax": float(
                    np.abs(rows["script_lambda_ratio"].sel(script=script) - 1).max()
                ),
                **({"closed form, largest error": worst(rows, "script_closed_form_error")} if closed else {}),
                "mean ratio": {
                    f"c = {c:g}": float(ratio.sel(script_scale=c).mean()) for c in SCALES
                },
            },
        )  # fmt: skip

    return rule
