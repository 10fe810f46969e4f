"""Rules on bounds, stability and regularisation, with the smallest effects that matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence, Finding, identity
from implicit_bias.results.statistics import Comparison, mean_interval
from implicit_bias.studies.comparisons import above, agreement, below, ends
from implicit_bias.studies.rows import by_seed, exponents
from implicit_bias.studies.stability.known import CASES, PROVED, bounds_at

if TYPE_CHECKING:
    import xarray as xr

HALF_TIGHT = 0.6
"""Share of a bound that the gap's quantile must reach where nothing but Hoeffding's inequality is lost."""

NEARLY_TIGHT = 0.8
"""The same where ε makes most of the bound."""

IN_MEAN = 0.05
"""Relative departure of the memoriser's mean gap from ε."""

EXACT = 1e-10
"""Difference of exact updates from refits."""

ATTAINED = 1e-9
"""Relative difference of what is attained from its bound."""

LIKE_INVERSE = -0.75
"""Exponent in m below which stability counts as falling like 1/m."""

UNSTABLE = 0.5
"""Change of a loss in [0, 1] from which an algorithm counts as unstable."""

SLOPE_OFF = 0.15
"""Relative departure of an exponent that is claimed."""

PART_OFF = 0.25
"""Relative departure of the slope and exponents that an exercise expects."""

SAME = 0.1
"""Relative departure of the mean gap from the mean change by replacement, which it equals."""

FALLS = -0.25
"""Exponent in λ below which stability counts as improving with it."""


def known(result: xr.Dataset, name: str, **at: Any) -> np.ndarray:
    """Return a quantity of algorithms of known stability by seed."""
    return by_seed(result, "known", f"known_{name}", **at)


def delta_of(result: xr.Dataset) -> float:
    """Return δ."""
    return float(np.nanmax(known(result, "delta")))


def draws_of(result: xr.Dataset) -> int:
    """Return the number of training sets drawn of each case, over all seeds."""
    return int(np.nansum(known(result, "draws")))


def stated_bound(result: xr.Dataset) -> Evidence:
    """Hold gaps against the theorem's bound, and its step that they stay near their mean."""
    delta = delta_of(result)
    violated = {case: known(result, "violated", case=case, bound="ε + sampling") for case in CASES}
    made: dict[str, Comparison] = {
        f"gaps above the bound, {case}": below(shares, delta) for case, shares in violated.items()
    }
    for case in CASES:
        if case.endswith(("1/m", "1/4")):
            made[f"gaps further from their mean than L√(ln(1/δ)/(2m)), {case}"] = below(
                known(result, "off", case=case), delta
            )
    return Evidence(
        made,
        headline="gaps above the bound, constant",
        reason=f"shares of {draws_of(result):,} training sets of each algorithm, δ = "
        f"{delta:g}; the step from the mean takes the gap's differences for L/m where they are up to 2ε "
        "+ L/m",
        details={case: mean_interval(shares).value for case, shares in violated.items()},
    )


def proved_bounds(result: xr.Dataset) -> Evidence:
    """Hold the largest share of violations over algorithms against δ, for bounds with a proof."""
    delta = delta_of(result)
    made = {}
    for bound in PROVED:
        shares = [known(result, "violated", case=case, bound=bound) for case in CASES]
        made[bound] = below(np.max(shares, axis=0), delta)
    return Evidence(
        made,
        reason=f"largest share over {len(CASES)} algorithms, {draws_of(result):,} training sets each",
    )


def wrong_constant(result: xr.Dataset) -> Evidence:
    """Ask whether half of the sampling term is caught."""
    shares = known(result, "violated", case="constant", bound="ε + sampling/2")
    return Evidence({"constant": above(shares, delta_of(result))})


def tight_cases(result: xr.Dataset) -> Evidence:
    """Ask where bounds are nearly attained."""
    made = {}
    for case, least in (("constant", HALF_TIGHT), ("memoriser, ε = 1/4", NEARLY_TIGHT)):
        share = known(result, "quantile", case=case) / known(
            result, "bound", case=case, bound="ε + sampling"
        )
        made[f"quantile at 1 − δ over ε + L√(ln(1/δ)/(2m)), {case}"] = above(share, least)
    case = "memoriser, ε = 1/4"
    made[f"|mean gap/ε − 1|, {case}"] = agreement(
        known(result, "gap", case=case) / known(result, "stability", case=case), 1.0, IN_MEAN
    )
    return Evidence(made)


def meaningful_order(result: xr.Dataset) -> Evidence:
    """Hold proved bounds at ε = 1/√m and ε = 1/m against the loss's range."""
    made = {}
    for level in ("1/√m", "1/m"):
        for bound in PROVED:
            values = known(result, "bound", case=f"memoriser, ε = {level}", bound=bound)
            made[f"{bound}, ε = {level}"] = below(values, 1.0)
    m, delta = int(np.nanmax(known(result, "examples"))), delta_of(result)
    return Evidence(
        made,
        reason=f"bounds on the gap in units of the loss's range, m = {m}, δ = {delta:g}; from 1 on they hold "
        "for every algorithm",
        details={
            f"least power of ten of m with a bound below 1, ε = {level}": {
                bound: first_useful(power, place, delta) for place, bound in enumerate(PROVED)
            }
            for level, power in (("1/√m", -0.5), ("1/m", -1.0))
        },
    )


def first_useful(power: float, place: int, delta: float) -> float | None:
    """Return the least decimal logarithm of m at which a proved bound is below one, or None up to 12."""
    for exponent in range(1, 13):
        m = 10**exponent
        if bounds_at(float(m) ** power, m, delta)[2 + place] < 1:
            return float(exponent)
    return None


def descent_bound(result: xr.Dataset) -> Finding:
    """Hold pairs of runs against 2ρ²Σ η/m, which linear losses attain."""
    bound = {
        name: by_seed(result, "descent", "sgd_bound", descent_loss=name)
        for name in ("logistic", "linear")
    }
    apart = by_seed(result, "descent", "sgd_apart", descent_loss="linear")
    change = by_seed(result, "descent", "sgd_change", descent_loss="logistic")
    ratio = change / bound["logistic"]
    errors = np.stack([np.maximum(ratio - 1, 0), apart / bound["linear"] - 1])
    return identity(
        errors, ATTAINED, n_seeds=len(apart),
        reason="excess of the largest change over the bound, logistic loss; relative "
        f"distance from it, linear loss. On the logistic loss at most {np.nanmax(ratio):.2g} of the "
        "bound is used",
    )  # fmt: skip


def exercise_bound(result: xr.Dataset) -> Evidence:
    """Hold the gap of ridge regression against twice its stability, and the relations that are expected."""
    gap, change = (by_seed(result, "ridge", f"ridge_{name}") for name in ("gap", "change"))
    sizes, penalties = (result[name].values.astype(float) for name in ("size", "penalty"))
    shares = [known(result, "violated", case=case, bound="2ε + 2·sampling") for case in CASES]
    last = change[:, -1, :]
    slope = np.sum(gap[:, -1, :] * last, axis=1) / np.sum(last**2, axis=1)
    middle = len(penalties) // 2
    in_penalty, in_size = exponents(penalties, last), exponents(sizes, change[:, :, middle])
    return Evidence(
        {
            "largest mean gap over 2ε": below((gap / (2 * change)).max(axis=(1, 2)), 1.0),
            "gaps above 2ε + L√(2 ln(1/δ)/m), all algorithms": below(
                np.max(shares, axis=0), delta_of(result)
            ),
            "exponent of ε in λ": below(in_penalty, FALLS),
            "exponent of ε in m is −1": agreement(in_size, -1.0, PART_OFF),
            "exponent of ε in λ is −1": agreement(in_penalty, -1.0, PART_OFF),
            "slope of gap in ε over λ is 2": agreement(slope, 2.0, PART_OFF),
        },
        reason="ridge regression on bounded data; ε is the largest change that any replacement tried made",
        details={
            "slope": ends(mean_interval(slope)),
            "exponent in λ": ends(mean_interval(in_penalty)),
            "exponent in m": ends(mean_interval(in_size)),
        },
    )


def gap_is_average_change(result: xr.Dataset) -> Evidence:
    """Hold the mean gap against the mean change at the example that is replaced."""
    gap, average = (
        by_seed(result, "ridge", f"ridge_{name}").sum(axis=(1, 2)) for name in ("gap", "average")
    )
    return Evidence({"gap over change": agreement(gap / average, 1.0, SAME)})


def exact_updates(result: xr.Dataset) -> Finding:
    """Hold exact updates against refits."""
    errors = by_seed(result, "ridge", "ridge_exact")
    return identity(
        errors, EXACT, n_seeds=len(errors),
        reason="ridge and kernel ridge regression, every example left out and replaced",
    )  # fmt: skip


def inverse_products(result: xr.Dataset) -> Evidence:
    """Hold movements of ridge and logistic weights against their bounds, and their exponents against −1."""
    sizes, penalties = (result[name].values.astype(float) for name in ("size", "penalty"))
    made: dict[str, Comparison] = {}
    for name in ("ridge", "logistic"):
        made[f"{name}: largest movement over the bound"] = below(used_share(result, name), 1.0)
        for kind, words in (("worst", "alone in its direction"), ("most", "of the population")):
            moved = by_seed(result, name, f"{name}_{kind}")
            middle = moved.shape[2] // 2
            made[f"{name}: exponent in m is −1, {words}"] = agreement(
                exponents(sizes, moved[:, :, middle]), -1.0, SLOPE_OFF
            )
            made[f"{name}: exponent in λ is −1, {words}"] = agreement(
                exponents(penalties, moved[:, -1, :]), -1.0, SLOPE_OFF
            )
    return Evidence(
        made,
        reason="an example alone in its direction is what the bound is made for; "
        "directions that others share are held by them where λ is small",
    )


def used_share(result: xr.Dataset, name: str) -> np.ndarray:
    """Return the largest movement of weights over its bound, by seed."""
    bound = by_seed(result, name, f"{name}_bound")
    moved = [by_seed(result, name, f"{name}_{kind}") for kind in ("worst", "most")]
    return np.asarray((np.max(moved, axis=0) / bound).max(axis=(1, 2)))


def regularised_is_stable(result: xr.Dataset) -> Evidence:
    """Ask whether any removal moves regularised weights further than their bound."""
    return Evidence(
        {name: above(used_share(result, name), 1.0) for name in ("ridge", "logistic")},
        reason="largest movement of weights over a bound that holds for every training set",
    )


def stable_and_unstable(result: xr.Dataset) -> Evidence:
    """Ask whether stability tells the document's examples apart."""
    sizes = result["size"].values.astype(float)
    sgd = by_seed(result, "descent", "sgd_change", descent_loss="logistic")
    ridge = by_seed(result, "ridge", "ridge_change")
    made = {
        "descent on a convex loss: exponent in m": below(
            exponents(result["descent_size"].values.astype(float), sgd), LIKE_INVERSE
        ),
        "ridge regression: exponent in m": below(
            exponents(sizes, ridge[:, :, ridge.shape[2] // 2]), LIKE_INVERSE
        ),
    }
    for fit in ("lookup table", "short tail"):
        change = by_seed(result, "interpolation", "fit_change", fit=fit)[:, -1]
        made[f"{fit}: change at the largest m"] = above(change, UNSTABLE)
    return Evidence(made, reason="largest change of any loss by one example")
