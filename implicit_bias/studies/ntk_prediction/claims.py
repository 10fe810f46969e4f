"""What the NTK-prediction study decides, by criteria fixed beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import (
    Claim,
    Evidence,
    Finding,
    NotDecidable,
    combine_arms,
    identity,
)
from implicit_bias.results.statistics import mean_interval
from implicit_bias.studies.comparisons import ends
from implicit_bias.studies.ntk_prediction.exact import ENDS, PROBLEMS
from implicit_bias.studies.ntk_prediction.exercise import VARIANTS
from implicit_bias.studies.ntk_prediction.rules import (
    above,
    below,
    by_width,
    first,
    geometric,
    last,
    log10,
)
from implicit_bias.studies.ntk_prediction.scripts import (
    DIFFERENCE,
    NORM,
    PUBLISHED_FROZEN,
    PUBLISHED_LEARNED,
    WIDTHS,
)

if TYPE_CHECKING:
    import xarray as xr

KERNEL_SLOPE = -0.35
"""A quantity that falls with the width at least to this power counts as vanishing; −1/2 is expected."""

SMALL = -2.0
"""Decimal logarithm of a squared difference, relative to the outputs' mean square, that counts as none."""

TWICE = float(np.log10(2))
"""A prediction counts as equally good up to twice the mean squared difference."""

EXACT = 1e-8
"""Allowed relative error of an end that is known in closed form."""

CLOSE = -2.0
"""Decimal logarithm of the published bound on the mean squared difference, 0.01."""

CONDITION = (2.0, 3.0)
"""Decimal logarithms of the published range of the condition number, 100 to 1000."""

PRINTED_TOLERANCE = 0.05
"""A printed number counts as reproduced where it is so near to the published one, relatively."""

FALLS = -0.5
"""Slope over widths below which the script's difference counts as falling as 1/width; −1 is published."""

LEARNED = float(np.log10(5 * PUBLISHED_LEARNED))
"""A test loss counts as the published one up to five times it."""


def _law(result: xr.Dataset) -> Evidence:
    error = by_width(result, "centred", "kernel_error", first)
    change = by_width(result, "centred", "kernel_change", last)
    size = log10(by_width(result, "centred", "size").widest)
    means = {
        name: log10(by_width(result, "centred", name).widest)
        for name in ("infinite", "own", "own_flow", "own_printed", "own_ridge")
    }
    law = means["own"]
    return Evidence(
        {
            "K₀ → K∞": below(error.slopes(), KERNEL_SLOPE),
            "K constant": below(change.slopes(), KERNEL_SLOPE),
            "law with 1/n": below(means["infinite"] - size, SMALL),
            "law as printed": below(means["own_printed"] - law, TWICE),
            "ridge regression": below(means["own_ridge"] - law, TWICE),
        },
        reason=f"laws at width {error.widths[-1]}; decimal logarithms of mean squared differences, "
        "averaged over the course",
        details={
            f"{name}, relative": ends(geometric(np.power(10, found - size)))
            for name, found in means.items()
        },
    )


def _interpolant(result: xr.Dataset) -> Evidence:
    comparisons = {}
    details: dict[str, Any] = {}
    for name, arm in (("f₀ = 0", "centred"), ("f₀ as drawn", "plain")):
        size = by_width(result, arm, "size", last).widest
        unfinished = by_width(result, arm, "unfinished", last).widest / size
        if not np.nanmean(unfinished) <= 10**SMALL:
            raise NotDecidable(
                f"after all updates of arm {arm} the kernel's own prediction is still "
                f"{100 * np.nanmean(unfinished):.2g} % of the outputs' mean square from its limit, and "
                f"{100 * 10**SMALL:g} % are allowed; train longer"
            )
        said = by_width(result, arm, "interpolant", last).widest / size
        kept = by_width(result, arm, "interpolant_from_start", last).widest / size
        comparisons[name] = below(log10(said), SMALL)
        details[f"{name}: relative difference from the interpolant of the labels"] = ends(
            geometric(said)
        )
        details[f"{name}: from f₀ + that of y − f₀"] = ends(geometric(kept))
        details[f"{name}: left for longer training"] = float(np.nanmean(unfinished))
    return Evidence(comparisons, details=details)


def _end(result: xr.Dataset) -> Finding:
    errors = trial(result, "end_error")
    by_name = {name: errors[:, place] for place, name in enumerate(ENDS)}
    right = {name: float(values.max()) for name, values in by_name.items() if name != ENDS[0]}
    if max(right.values()) > EXACT:
        raise NotDecidable(f"descent is not at a known end: {right}")
    other = float(np.mean(trial(result, "end_test_error")))
    return identity(
        by_name[ENDS[0]],
        EXACT,
        n_seeds=len(errors),
        reason="the formula leaves out θ₀ and f(θ₀): θ₀ + Φᵀ(ΦΦᵀ)⁺(y − f(θ₀)) is the end, to "
        f"{right[ENDS[3]]:.1g}, and the published one only of the model Φθ started at zero; on new inputs "
        f"they differ by {100 * other:.0f} % of the outputs",
        **{f"{name}: largest error": value for name, value in right.items()},
    )


def _bias(result: xr.Dataset) -> Finding:
    errors = trial(result, "projection_error")
    others = trial(result, "least_other")
    worst = {name: float(errors[:, place].max()) for place, name in enumerate(PROBLEMS)}
    nearest = float(others.min())
    true = [name for name, value in worst.items() if value <= EXACT and nearest >= 1]
    verdict, condition = combine_arms(
        {name: "supported" if name in true else "refuted" for name in PROBLEMS}
    )
    return Finding(
        verdict,
        effect=max(worst.values()),
        interval=(-EXACT, EXACT),
        n_seeds=len(errors),
        condition=condition if verdict == "conditional" else "",
        reason="distance of descent's end from the solution nearest to its start, relative to that of the "
        f"two; other solutions of least squares are at least {nearest:.4f} times as far from the start",
        details={"largest error": worst, "nearest other solution": nearest},
    )


def _exercise(result: xr.Dataset) -> Evidence:
    said, matched = (log10(trial(result, f"exercise_{n}")) for n in ("difference", "matched"))
    condition = log10(trial(result, "exercise_condition"))
    smallest = trial(result, "exercise_smallest")
    names = [variant.name for variant in VARIANTS]
    comparisons = {
        f"difference, {name}": below(said[:, place], CLOSE) for place, name in enumerate(names)
    }
    comparisons["condition number, at least"] = above(condition[:, 0], CONDITION[0])
    comparisons["condition number, at most"] = below(condition[:, 0], CONDITION[1])
    return Evidence(
        comparisons,
        reason="decimal logarithms; what the exercise leaves open (weights, loss) is varied; the kernel's "
        f"smallest eigenvalue is at least {float(np.nanmin(smallest)):.1e} of its largest; against kernel "
        "descent for equal time, with the initial function kept, differences are "
        + ", ".join(f"{10 ** np.nanmean(matched[:, p]):.1e} ({n})" for p, n in enumerate(names)),
        details={
            name: {
                "difference": ends(geometric(10 ** said[:, place])),
                "at equal time": ends(geometric(10 ** matched[:, place])),
                "condition number": ends(geometric(10 ** condition[:, place])),
                "step size over the largest stable": float(
                    np.nanmean(trial(result, "exercise_speed")[:, place])
                ),
            }
            for place, name in enumerate(names)
        },
    )


def _untrained(result: xr.Dataset) -> Finding:
    printed = {name: trial(result, f"script_{name}") for name in ("norm", "difference")}
    seeds = trial_seeds(result, "script_norm")
    if 0 not in seeds:
        raise NotDecidable("seed 0, which has the script's own numbers, was not run")
    own = {name: float(values[seeds == 0][0]) for name, values in printed.items()}
    correlation = mean_interval(trial(result, "script_correlation"))
    errors = np.array([own["norm"] / NORM, own["difference"] / DIFFERENCE]) - 1
    return identity(
        errors,
        PRINTED_TOLERANCE,
        n_seeds=len(seeds),
        reason=f"the script prints ‖α‖ = {own['norm']:.1f} and a difference of {own['difference']:.2f}; its "
        "kernel is that of a linear model, and its network is never trained: its outputs and the kernel's "
        f"predictions correlate by {correlation.value:.2f} [{correlation.low:.2f}, {correlation.high:.2f}]",
        printed=own,
        difference=ends(geometric(printed["difference"])),
        norm=ends(geometric(printed["norm"])),
    )


def _frozen(result: xr.Dataset) -> Evidence:
    difference = trial(result, "frozen_difference")[:, :, -1]
    x = np.log(WIDTHS) - np.mean(np.log(WIDTHS))
    slopes = np.log(difference) @ x / (x @ x)
    frozen = log10(trial(result, "frozen_test_loss")[:, :, -1])
    learned = log10(trial(result, "learned_test_loss")[:, -1])
    stops = trial(result, "script_stops")
    return Evidence(
        {
            "difference falls as 1/width": below(slopes, FALLS),
            "test loss, features trained": below(learned, LEARNED),
            "test loss, features frozen": below(
                frozen[:, -1], float(np.log10(5 * PUBLISHED_FROZEN[-1]))
            ),
        },
        reason="slope, and decimal logarithms of losses; "
        + ("as printed the script stops with an error before it trains features: a vector of examples is "
           "multiplied with one of units, for which their outer product is put here; " if stops.all() else "")
        + "its kernel is linear, and its networks have frozen random features, of which it is not the kernel",
        details={
            "test loss, features trained": ends(geometric(10**learned)),
            "test loss, features frozen": {
                str(width): ends(geometric(10 ** frozen[:, place]))
                for place, width in enumerate(WIDTHS)
            },
            "difference": {
                str(width): ends(geometric(difference[:, place]))
                for place, width in enumerate(WIDTHS)
            },
        },
    )  # fmt: skip


def trial(result: xr.Dataset, name: str) -> np.ndarray:
    """Return what a trial measured, seed by seed, in the order of :func:`trial_seeds`.

    Raises:
        NotDecidable: It was not run.
    """
    if name not in result:
        raise NotDecidable(f"{name} was not measured")
    values = result[name].values.astype(float)
    rows = np.isfinite(values).reshape(len(values), -1).any(axis=1)
    if not rows.any():
        raise NotDecidable(f"{name} was not measured")
    return values[rows][np.argsort(result["seed"].values[rows], kind="stable")]


def trial_seeds(result: xr.Dataset, name: str) -> np.ndarray:
    """Return the seeds at which a trial measured something, increasing."""
    rows = np.isfinite(result[name].values.astype(float))
    return np.sort(result["seed"].values[rows])


CLAIMS = (
    Claim(
        "dhand.thm-5.1",
        "statistical",
        "Dhand, theorem 5.1, convergence of the tangent kernel",
        "As the width grows the tangent kernel comes to a deterministic limit and stays constant in "
        "training, so that outputs follow f' = −K(f − y), which is kernel ridge regression.",
        "f' = −K(f − y)",
        f"over widths, ‖K₀ − K∞‖ and the change of K in training fall at least with power {KERNEL_SLOPE:g}; "
        "at the largest width the mean squared difference on test examples, averaged over the course, from "
        "descent with K∞ and the mean loss's factor 1/n is below 1 % of the outputs' mean square; with the "
        "network's own K₀, the law without that factor, and ridge regression with the best ridge at each "
        "time, are at most twice as far from the network as descent with it",
        _law,
    ),
    Claim(
        "dhand.thm-5.2",
        "statistical",
        "Dhand, theorem 5.2, minimum norm in the kernel's space",
        "At infinite width gradient descent ends at the kernel's interpolant of least norm, K(K + λ)⁻¹y.",
        "f = K(K + λI)⁻¹y, λ → 0",
        "at the largest width, after all updates, the mean squared difference on test examples from the "
        "ridgeless regression of the labels is below 1 % of the outputs' mean square, from f₀ = 0 and from "
        "f₀ as drawn; the kernel's own prediction must have come so near to it before",
        _interpolant,
        unit="decimal logarithm",
    ),
    Claim(
        "ch11.B.4",
        "identity",
        "Chapter 11, exercise B.4 and its solution",
        "Gradient flow of a network linearised at θ₀ ends at θ = Φᵀ(ΦΦᵀ)⁺y.",
        "θ(∞) = Φᵀ(ΦΦᵀ)⁺y",
        f"it is the end of descent to {EXACT:g} of the way from the start, on linearised networks in double "
        "precision; θ₀ + Φᵀ(ΦΦᵀ)⁺(y − f(θ₀)) must be",
        _end,
    ),
    Claim(
        "ch11.C.20",
        "statistical",
        "Chapter 11, exercise C.20",
        "A two-layer network of width 10,000, trained for 100 iterations at step size 0.001 on 50 examples, "
        "predicts what kernel ridge regression with its tangent kernel does.",
        "mean squared difference < 0.01; condition number 100 to 1000",
        "as specified, the mean squared difference on test examples is below 0.01 whatever is left open, "
        "and the condition number of the kernel at the first variant within 100 and 1000",
        _exercise,
        unit="decimal logarithm",
    ),
    Claim(
        "ch11.S.16",
        "identity",
        "Chapter 11, solution C.16, verification of the tangent kernel",
        "The script prints ‖α‖ and a mean squared difference between a wide network and its kernel.",
        f"‖α‖ = {NORM}; difference {DIFFERENCE}",
        f"both numbers are printed to {100 * PRINTED_TOLERANCE:g} % with the script's own seed",
        _untrained,
    ),
    Claim(
        "ch11.S.20",
        "statistical",
        "Chapter 11, solution C.20, frozen and learned features",
        "The difference from the kernel falls as 1/width, and training features brings the test loss to "
        "0.0020.",
        f"∝ 1/width; {PUBLISHED_LEARNED}",
        f"slope of the last difference over widths below {FALLS:g}; last test losses with features trained, "
        "and frozen at the largest width, within five times the published",
        _frozen,
    ),
    Claim(
        "ch11.def.implicit-bias",
        "definition",
        "Chapter 11, definition of implicit bias",
        "Gradient descent on a convex loss ends at the solution nearest to its start.",
        "d(θ) = ‖θ − θ₀‖",
        f"the end is the projection of the start onto the solutions to {EXACT:g}: on least squares with 100 "
        "examples and 500 parameters from zero and from elsewhere, on a convex function of Xw, and on a "
        "convex function whose solutions fill an ellipse; no other solution of least squares is nearer",
        _bias,
    ),
)
