"""Rules on gradient flow against ridge, with the smallest effects that matter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from implicit_bias import theory
from implicit_bias.results.claims import Evidence, Finding, identity
from implicit_bias.results.statistics import Comparison
from implicit_bias.studies.comparisons import below, less_than, mean_ends
from implicit_bias.studies.early_stopping.paths import DESIGNS, STEPS, UPDATES
from implicit_bias.studies.rows import by_seed, exponents, seeds_of

if TYPE_CHECKING:
    import xarray as xr

NEAR = 1 / 3
"""Distance relative to the ridge solution up to which two solutions are approximately the same."""

AS_GOOD = 1.1
"""Factor up to which a least risk is as good as another."""

FALLS = -0.9
"""Exponent in t up to which a penalty counts as O(1/t)."""

UNFINISHED = 0.1
"""Distance from the end, relative to it, from which a path is still on its way."""

ROUNDING = 1e-9
"""Relative error that rounding may cause."""

FOUND = 1e-5
"""How near a supremum a search over 20,000 places must come."""

PRINTED = 5e-4
"""Half a unit of the last printed place, with the paper's own rounding upwards."""

FULL = 0.99
"""Rank over the number of features below which a design has no full rank."""

DRAWS = 0.05
"""Relative departure of a mean over draws from the exact risk that is allowed."""


def equivalent(result: xr.Dataset) -> Evidence:
    """Ask whether the flow at t is near ridge at 1/t, of that order where matched, and as good at best."""
    made: dict[str, Comparison] = {}
    for design in DESIGNS:
        worst = by_seed(result, "paths", "path_distance", path_design=design).max(axis=1)
        made[f"distance at the worst time, {design}"] = below(worst, NEAR)
    for design in DESIGNS:
        made[f"least risk over ridge's, {design}"] = less_than(
            by_seed(result, "paths", "path_best", path_design=design), 1.0, AS_GOOD
        )
    for design in DESIGNS:
        made[f"exponent of the matched λ in t, {design}"] = below(exponent(result, design), FALLS)
    highest = by_seed(result, "paths", "path_matched").max()
    return Evidence(
        made,
        headline="distance at the worst time, random features",
        reason=f"the penalty that matches best is never above 1/t (at most {highest:.3f}/t "
        "here), so that λ = O(1/t) holds to the end, while λt falls to 0 once every direction is "
        "learnt",
        details={
            "bound of the distance with one eigenvalue": theory.SHRINKAGE_RATIO - 1,
            "least matched λt while the path is on its way": {
                design: mean_ends(least_matched(result, design)) for design in DESIGNS
            },
            "largest ratio of risks along a path": {
                design: mean_ends(by_seed(result, "paths", "path_risk_ratio", path_design=design))
                for design in DESIGNS
            },
            "best time in units of 1/λmax": {
                design: mean_ends(by_seed(result, "paths", "path_best_time", path_design=design))
                for design in DESIGNS
            },
        },
    )


def exponent(result: xr.Dataset, design: str) -> np.ndarray:
    """Return by seed the exponent in t of the penalty that matches best, while the path is on its way."""
    times = result["path_time"].values.astype(float)
    scaled = by_seed(result, "paths", "path_matched", path_design=design)
    left = by_seed(result, "paths", "path_left", path_design=design)
    found = [
        exponents(times[kept], (values / times)[None, kept])[0]
        for values, kept in zip(scaled, left > UNFINISHED, strict=True)
    ]
    return np.array(found)


def least_matched(result: xr.Dataset, design: str) -> np.ndarray:
    """Return by seed the least matched λt while the path is on its way."""
    scaled = by_seed(result, "paths", "path_matched", path_design=design)
    left = by_seed(result, "paths", "path_left", path_design=design)
    return np.where(left > UNFINISHED, scaled, 1.0).min(axis=1)


def any_step(result: xr.Dataset) -> Evidence:
    """Ask the same of descent with small and large steps, after few updates and after many."""
    made = {}
    for step in STEPS:
        distance = by_seed(result, "paths", "path_step_distance", path_step=step)
        for name, some in (
            ("first three updates", UPDATES[:3]),
            ("from 30 updates on", UPDATES[5:]),
        ):
            places = [UPDATES.index(one) for one in some]
            made[f"η = {step:g}/λmax, {name}"] = below(
                distance[:, :, places].max(axis=(1, 2)), NEAR
            )
    return Evidence(
        made,
        headline=f"η = {STEPS[-1]:g}/λmax, first three updates",
        reason="worst design of each seed; one update with ηs = u shrinks by u and ridge by "
        "u/(1 + u), which differ by a factor of 1 + u",
        details={
            "bound of the ratio of shrinkages by updates, ηs ≤ 1": {
                str(count): theory.descent_ratio(count) for count in UPDATES
            },
            "distance by updates": {
                f"η = {step:g}/λmax": by_seed(
                    result, "paths", "path_step_distance", path_step=step
                ).mean(axis=(0, 1))
                for step in STEPS
            },
        },
    )  # fmt: skip


def bounds(result: xr.Dataset) -> Finding:
    """Hold every ratio along every path against its bound, and the bounds against where they are met."""
    shrunk = by_seed(result, "paths", "path_shrinkage_ratio").max()
    risks = by_seed(result, "paths", "path_risk_ratio").max()
    spots = {
        name: float(by_seed(result, "paths", f"spot_{name}").max())
        for name in ("shrinkage", "risk", "tuned")
    }
    limits = {
        "shrinkage": theory.SHRINKAGE_RATIO,
        "risk": theory.RISK_RATIO,
        "tuned": theory.TUNED_RATIO,
    }
    exceeded = max(
        shrunk / limits["shrinkage"] - 1,
        risks / limits["risk"] - 1,
        *(spots[name] / limit - 1 for name, limit in limits.items()),
    )
    short = max(1 - spots[name] / limit for name, limit in limits.items())
    published = {"shrinkage": 1.2985, "risk": 1.6862, "tuned": 1.2147}
    off = max(abs(limits[name] - value) for name, value in published.items())
    return identity(
        [max(exceeded, 0.0) / ROUNDING, short / FOUND, off / PRINTED],
        1.0,
        n_seeds=seeds_of(result).size,
        reason=f"in units of the tolerances: no ratio above its bound by {ROUNDING:g}, bounds met within "
        f"{FOUND:g} by a search over single eigenvalues, constants within {PRINTED:g} of those printed",
        constants=limits,
        largest_found=spots,
        largest_along_paths={"shrinkage": shrunk, "risk": risks},
    )


def tuned(result: xr.Dataset) -> Finding:
    """Hold least risks on average over truths against their bound, from both sides."""
    ratios = by_seed(result, "paths", "path_averaged")
    return identity(
        [max(1 - ratios.min(), 0.0), max(ratios.max() / theory.TUNED_RATIO - 1, 0.0)],
        1e-8,
        n_seeds=seeds_of(result).size,
        reason=f"ratios between {ratios.min():.4f} and {ratios.max():.4f}; bounds 1 and "
        f"{theory.TUNED_RATIO:.4f}",
    )


def closed_form(result: xr.Dataset) -> Finding:
    """Hold descent as it is programmed against its closed form, and ask where (XᵀX)⁻¹ exists."""
    off = by_seed(result, "paths", "path_iterated")
    ranks = {
        design: float(by_seed(result, "paths", "path_rank", path_design=design).mean())
        for design in DESIGNS
    }
    found = identity(off, ROUNDING, n_seeds=seeds_of(result).size, rank_over_features=ranks)
    short = [design for design, rank in ranks.items() if rank < FULL]
    if found.verdict != "supported" or not short:
        return found
    return replace(
        found,
        verdict="conditional",
        condition=f"XᵀX has full rank; with {' and with '.join(short)} it is singular, so that (XᵀX)⁻¹ does "
        "not exist, and (XᵀX)⁺ takes its place",
    )


def exact_risk(result: xr.Dataset) -> Finding:
    """Hold mean squared errors over noise vectors against the exact risk."""
    off = by_seed(result, "paths", "path_drawn")
    return identity(off.mean(axis=0), DRAWS, n_seeds=seeds_of(result).size)
