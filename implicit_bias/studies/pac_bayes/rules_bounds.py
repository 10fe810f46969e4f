"""Rules about the bound itself: where it is wrong, how tight it is, and what it says of a point mass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias import theory
from implicit_bias.results.claims import Evidence, Finding, identity
from implicit_bias.studies.comparisons import above, below
from implicit_bias.studies.pac_bayes.coverage import DESIGNS, PRINTED, TIGHT, VALID, WRONG
from implicit_bias.studies.rows import by_seed, require, seeds_of

if TYPE_CHECKING:
    import xarray as xr

NEAR = 1.1
"""Factor up to which a KL divergence counts as the one that is stated."""

VACUOUS = 0.5
"""Slack from which a bound counts as nearly vacuous: with it nothing is below the risk of a coin."""

CLOSE = 0.03
"""How far a bound may lie above the risk where it counts as nearly attained."""

EXACT = 1e-9
"""Relative error allowed where both sides are closed forms."""

SIZES = (200, 60_000)
"""Examples of the chapter's script, and of MNIST."""


def wrong(result: xr.Dataset, bound: str, design: str = "") -> np.ndarray:
    """Return the share of samples on which a bound is wrong, by seed; of all designs the largest."""
    designs = (design,) if design else DESIGNS
    found = [by_seed(result, "coverage", "cover_wrong", bound=bound, design=one) for one in designs]
    return np.max(found, axis=0)


def level(result: xr.Dataset) -> float:
    """Return δ."""
    require(result, "coverage")
    return float(by_seed(result, "coverage", "cover_delta")[0])


def point_ratio(result: xr.Dataset) -> np.ndarray:
    """Return KL over ‖w‖²/2 of the law that is nearest to a point mass, by seed."""
    least = float(result["point_std"].values.min())
    return by_seed(result, "script", "point_ratio", point_std=least)


def samples(result: xr.Dataset) -> int:
    """Return how many samples were drawn of each design, over all seeds."""
    return int(np.nansum(by_seed(result, "coverage", "cover_draws")))


def definition(result: xr.Dataset) -> Evidence:
    """Judge the definition: its inequality, and its special case of a point mass."""
    require(result, "coverage", "script")
    delta = level(result)
    return Evidence(
        {
            f"the inequality as printed is wrong on at most δ = {delta:g} of samples": below(
                wrong(result, PRINTED), delta
            ),
            "it holds for a point mass where the prior is countable": below(
                wrong(result, PRINTED, TIGHT), delta
            ),
            f"a point mass has KL ‖θ‖²/2 under a Gaussian prior, up to a factor {NEAR:g}": below(
                point_ratio(result), NEAR
            ),
        },
        reason="KL of a point mass is infinite under a Gaussian prior: the ratio is that of the "
        "last law before it, and grows without end; the discrete case is the union bound, KL = "
        "ln(1/P(θ))",
        details={
            "samples of each design": samples(result),
            "largest share of wrong samples": float(np.nanmax(wrong(result, PRINTED))),
            "KL over ‖w‖²/2, by standard deviation": _ladder(result),
        },
    )  # fmt: skip


def printed(result: xr.Dataset) -> Evidence:
    """Judge exercise B.13 with its proof: inequality, display, tightness and point mass."""
    require(result, "coverage", "script")
    delta, ones = level(result), np.ones(seeds_of(result).size)
    held = [by_seed(result, "coverage", "cover_display", design=name) for name in DESIGNS]
    slack = {m: float(theory.printed_bound(0.0, 0.0, m, delta)) for m in SIZES}
    return Evidence(
        {
            f"the inequality is wrong on at most δ = {delta:g} of samples": below(
                wrong(result, PRINTED), delta
            ),
            "the proof's display, KL ≤ r̂ + √(ln(m/δ)/2m), holds on 1 − δ of samples": above(
                np.min(held, axis=0), 1 - delta
            ),
            f"near-vacuous where Q is P (m = {SIZES[0]})": above(ones * slack[SIZES[0]], VACUOUS),
            f"a point mass has KL ‖θ‖²/2σ², up to a factor {NEAR:g}": below(point_ratio(result), NEAR),
        },
        reason="the slack is least, not largest, where Q is P; a valid bound implies the printed one where "
        "KL ≥ ln(2√m), Hoeffding's inequality does at KL = 0, and between them nothing contradicted it here",
        details={
            "samples of each design": samples(result),
            "share of samples on which the display holds": {
                name: float(np.nanmean(one)) for name, one in zip(DESIGNS, held, strict=True)
            },
            "slack at KL = 0 by m": {str(m): value for m, value in slack.items()},
        },
    )  # fmt: skip


def valid(result: xr.Dataset) -> Evidence:
    """Count on how many samples published bounds are wrong, in the worst design."""
    delta = level(result)
    return Evidence(
        {f"{name}: wrong on at most δ": below(wrong(result, name), delta) for name in VALID},
        details={
            "samples of each design": samples(result),
            "share of wrong samples by design": {
                name: {one: float(np.nanmean(wrong(result, name, one))) for one in DESIGNS}
                for name in VALID
            },
        },
    )


def tight(result: xr.Dataset) -> Evidence:
    """Ask whether the bound is nearly attained, and whether half of its slack would be found out."""
    delta = level(result)
    excess = by_seed(result, "coverage", "cover_excess", bound="inverse kl", design=TIGHT)
    return Evidence(
        {
            "inverse kl: excess over the true risk ½": below(excess, CLOSE),
            "half the slack: wrong on more than δ of samples": above(wrong(result, WRONG, TIGHT), delta),
        },
        details={
            "excess by bound": {
                name: float(np.nanmean(
                    by_seed(result, "coverage", "cover_excess", bound=name, design=TIGHT)
                ))
                for name in (*VALID, PRINTED)
            },
        },
    )  # fmt: skip


def implied(result: xr.Dataset) -> Finding:
    """Find the KL at which the printed slack is that of a valid bound, and hold it against ln(2√m)."""
    from scipy.optimize import brentq

    delta = level(result)
    found: dict[str, Any] = {}
    errors = []
    for m in SIZES:

        def gap(kl: float, m: int = m) -> float:
            sides = theory.printed_bound(0.0, kl, m, delta), theory.pinsker_bound(0.0, kl, m, delta)
            return float(sides[0] - sides[1])

        root, law = float(brentq(gap, 0.0, 100.0, xtol=1e-13, rtol=1e-13)), np.log(2 * np.sqrt(m))
        found[str(m)] = root
        errors.append(root / law - 1)
    return identity(
        errors,
        EXACT,
        reason="the printed slack is at least the valid one from this KL on, at every δ",
        kl_by_m=found,
    )


def _ladder(result: xr.Dataset) -> dict[str, float]:
    return {
        f"{s:g}": float(np.nanmean(by_seed(result, "script", "point_ratio", point_std=s)))
        for s in result["point_std"].values
    }
