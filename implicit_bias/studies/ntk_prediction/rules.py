"""Rules of the NTK-prediction study's claims, by criteria fixed beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import (
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
from implicit_bias.studies.ntk_prediction.rows import (
    above,
    below,
    by_width,
    first,
    geometric,
    last,
    log10,
    trial,
    trial_seeds,
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


def follows_its_kernel(result: xr.Dataset) -> Evidence:
    """Ask whether the kernel settles as networks widen, and which of its laws their outputs follow."""
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


def ends_at_the_interpolant(result: xr.Dataset) -> Evidence:
    """Ask whether wide networks end at the kernel's interpolant of the labels, with and without f₀.

    Raises:
        NotDecidable: Training was too short for the kernel's own prediction to come to its end.
    """
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


def end_of_the_linearised(result: xr.Dataset) -> Finding:
    """Hold the stated end of a linearised network against where descent ends.

    Raises:
        NotDecidable: Descent is at none of its known ends.
    """
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


def end_is_nearest(result: xr.Dataset) -> Finding:
    """Ask on which convex losses descent ends at the solution nearest to its start."""
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


def exercise_difference(result: xr.Dataset) -> Evidence:
    """Hold the exercise's wide network, in all its readings, against kernel regression."""
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


def untrained_script(result: xr.Dataset) -> Finding:
    """Hold what the script of an untrained network prints against what is published.

    Raises:
        NotDecidable: The seed that has the script's own numbers was not run.
    """
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


def frozen_script(result: xr.Dataset) -> Evidence:
    """Hold the script's differences and losses, features frozen and trained, against the published."""
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
