"""Rules of the linear claims, with the smallest effects that matter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence, Finding, NotDecidable, identity
from implicit_bias.results.statistics import Comparison, mean_interval
from implicit_bias.studies.benign_overfitting.norms import DIRECTIONS, SPECTRA
from implicit_bias.studies.benign_overfitting.ranks import FACTORS
from implicit_bias.studies.comparisons import below, ends, larger
from implicit_bias.studies.rows import by_seed, exponents

if TYPE_CHECKING:
    import xarray as xr

NEAR_OPTIMAL = 0.1
"""Excess risk, relative to the noise, that counts as close to the best possible."""

FALLS = -0.4
"""Exponent in m up to which a risk counts as falling like m^(−1/2) or faster."""

BOUNDED = 0.1
"""Exponent in m up to which a norm counts as bounded."""

FITTED = 1e-6
"""Training error relative to the noise's variance up to which targets count as interpolated."""

CLEAR = 2
"""Tails of at least so many times the examples are clear of the singularity at equality."""

ORDER = 2.0
"""Factor within which a proportionality counts as held."""

THETA = 4.0
"""Factor within which two quantities count as of the same order."""

TIGHT = 1e-8
"""Relative violation of an exact bound that rounding may cause."""

RANK_OFF = 0.1
"""Relative departure of an effective rank from its nominal one that matters."""

RISE = 0.25
"""An error rises from a ratio of 1.25 on."""

WELL = 0.5
"""Excess risk over the signal's variance from which a predictor does not generalise well; nothing has 1."""

LAW = 0.05
"""Relative departure from the law that is allowed."""

LOW_RANK = ("long tail", "short tail")
"""Interpolating designs whose effective rank is low."""


def benign_exists(result: xr.Dataset) -> Evidence:
    """Ask whether interpolation comes close to the best possible loss, and closer with more data."""
    samples = result["sample"].values
    _require_fitted(result)
    excess = by_seed(result, "tails", "growth_excess", design="long tail")
    return Evidence(
        {
            f"excess risk over σ², long tail, m = {samples[-1]}": below(excess[:, -1], NEAR_OPTIMAL),
            "its exponent in m": below(exponents(samples, excess), FALLS),
        },
        details={
            "excess risk over σ² at the largest m, other designs": {
                design: ends(mean_interval(by_seed(result, "tails", "growth_excess", design=design)[:, -1]))
                for design in result["design"].values
                if design != "long tail"
            },
            **_ranks(result),
        },
    )  # fmt: skip


def low_rank_suffices(result: xr.Dataset) -> Evidence:
    """Ask whether low effective rank lets the risk of interpolation fall with the sample."""
    samples = result["sample"].values
    _require_fitted(result)
    comparisons = {
        f"excess risk, {design}": below(
            exponents(samples, by_seed(result, "tails", "growth_excess", design=design)), FALLS
        )
        for design in LOW_RANK
    }
    gap = 1 + by_seed(result, "tails", "growth_excess", design="long tail")
    comparisons["test − training loss as it is stated, long tail"] = below(
        exponents(samples, gap), FALLS
    )
    unfitted = by_seed(result, "tails", "growth_training", design="no tail")[:, -1]
    return Evidence(
        comparisons,
        headline="excess risk, short tail",
        details={
            "training error over σ², no tail: rank below m fits no noise": ends(mean_interval(unfitted)),
            **_ranks(result),
        },
    )  # fmt: skip


def norm_controlled(result: xr.Dataset) -> Evidence:
    """Ask whether interpolation is benign with a long tail, and whether its norm stays bounded."""
    tails, samples = result["tail_size"].values, result["sample"].values
    _require_fitted(result)
    variance = by_seed(result, "tails", "tail_variance")[:, -1]
    growth = by_seed(result, "tails", "growth_norm", design="long tail")
    return Evidence(
        {
            f"noise's share of the risk over σ², tail of {tails[-1]}": below(
                variance, NEAR_OPTIMAL
            ),
            "exponent in m of the weights' norm, long tail": below(
                exponents(samples, growth), BOUNDED
            ),
        },
        details={
            "norm of the weights over the truth's, longest tail": ends(
                mean_interval(by_seed(result, "tails", "tail_norm")[:, -1])
            )
        },
    )


def theory_orders(result: xr.Dataset) -> Evidence:
    """Hold the noise's share of the risk against k*/m + m/R_k*."""
    m = float(by_seed(result, "tails", "tail_examples")[0])
    tails = result["tail_size"].values
    ratio = by_seed(result, "tails", "tail_variance") / by_seed(result, "tails", "tail_order")
    return Evidence(
        {
            f"tail of {tail}": _within(ratio[:, place], ORDER)
            for place, tail in enumerate(tails)
            if tail >= CLEAR * m
        },
        details={"ratio by tail": np.exp(np.log(ratio).mean(axis=0)), "tails": tails},
    )


def norm_is_theta(result: xr.Dataset) -> Evidence:
    """Ask whether ‖X⁺y‖ is ‖y‖/σ_r up to a constant, over spectra and directions."""
    largest = float(result["condition"].values[-1])
    comparisons = {
        f"{spectrum}, y {direction}": _within(
            by_seed(result, "norms", "norm_ratio", spectrum=spectrum, direction=direction)[:, -1], THETA
        )
        for spectrum in SPECTRA
        for direction in DIRECTIONS
    }  # fmt: skip
    full = {
        f"{spectrum}, y {direction}": ends(
            mean_interval(
                by_seed(result, "norms", "norm_ratio_full", spectrum=spectrum, direction=direction)[:, -1]
            )
        )
        for spectrum in SPECTRA
        for direction in DIRECTIONS
    }  # fmt: skip
    return Evidence(
        comparisons,
        headline="low effective rank, y random",
        reason=f"|log ratio| at κ = {largest:g}",
        details={
            "ratio with σ_m, the smallest, for σ_r": full,
            "√(r/m) at r = √m": "m^(−1/4): tends to 0, so that O(1) says nothing more",
        },
    )


def norm_bounds(result: xr.Dataset) -> Finding:
    """Check that ‖y‖/σ_1 ≤ ‖X⁺y‖ ≤ ‖y‖/σ_m."""
    beyond = by_seed(result, "norms", "norm_bound")
    return identity(
        np.maximum(beyond, 0), TIGHT, n_seeds=int(np.isfinite(beyond).sum()),
        reason="largest relative excess over either bound; rounding grows with the condition number",
    )  # fmt: skip


def effective_rank_decides(result: xr.Dataset) -> Evidence:
    """Hold the exercise's effective ranks and test errors against what it expects."""
    ranks = result["nominal_rank"].values
    made: dict[str, Comparison] = {}
    for reading in FACTORS:
        found = by_seed(result, "ranks", "rank_effective", factors=reading)
        for place, rank in enumerate(ranks):
            made[f"effective rank against {rank}, {reading}"] = below(
                np.abs(found[:, place] / rank - 1), RANK_OFF
            )
    for reading in FACTORS:
        for name, words in (("rank_error", "test error"), ("rank_relative", "relative test error")):
            found = by_seed(result, "ranks", name, factors=reading)
            made[f"{words}, rank {ranks[-1]} to {ranks[0]}, {reading}"] = larger(
                found[:, -1], found[:, 0], RISE
            )
    return Evidence(
        made,
        headline=f"relative test error, rank {ranks[-1]} to {ranks[0]}, Gaussian",
        reason="the true weights' size is not given, and every test error scales with its square",
    )


def sweep_rises(result: xr.Dataset) -> Evidence:
    """Hold the sweep's test errors and effective ranks against its printed output."""
    ranks = result["sweep_rank"].values
    stated = by_seed(result, "ranks", "sweep_error", sweep_test="as stated")
    relative = by_seed(result, "ranks", "sweep_relative", sweep_test="same structure")
    found = by_seed(result, "ranks", "sweep_effective")
    ends_of = f"rank {ranks[-1]} to {ranks[0]}"
    return Evidence(
        {
            f"test error as stated, {ends_of}": larger(stated[:, -1], stated[:, 0], RISE),
            f"relative test error on the same structure, {ends_of}": larger(
                relative[:, -1], relative[:, 0], RISE
            ),
            f"effective rank against {ranks[-1]}": below(np.abs(found[:, -1] / ranks[-1] - 1), RANK_OFF),
        },
        reason=f"{len(result['position'])} examples have at most that many singular values",
        details={
            "test error as stated, by rank": stated.mean(axis=0),
            "effective rank, by rank": found.mean(axis=0),
        },
    )  # fmt: skip


def minimum_norm_generalises(result: xr.Dataset) -> Evidence:
    """Ask whether the minimum-norm interpolator generalises, on isotropic and on spiked inputs."""
    isotropic = by_seed(result, "few", "few_excess")
    return Evidence(
        {
            "isotropic inputs": below(isotropic[:, 0], WELL),
            "spiked inputs": below(by_seed(result, "few", "few_spiked"), WELL),
        },
        details={
            "excess risk over the signal's variance, isotropic": {
                str(name): ends(mean_interval(isotropic[:, place]))
                for place, name in enumerate(result["interpolator"].values)
            }
        },
    )


def isotropic_law(result: xr.Dataset) -> Finding:
    """Hold the isotropic risk against ‖θ‖²(1 − m/n) + σ²m/(n − m − 1)."""
    found = by_seed(result, "few", "few_excess", interpolator="minimum norm")
    law = by_seed(result, "few", "few_law")
    return identity(
        np.nanmean(found) / np.nanmean(law) - 1, LAW, n_seeds=int(np.isfinite(found).sum()),
        reason=f"expected {np.nanmean(law):.4f}, mean over seeds {np.nanmean(found):.4f}",
    )  # fmt: skip


def _within(ratio: np.ndarray, factor: float) -> Comparison:
    """Ask whether a ratio lies within a factor of one, by its absolute logarithm."""
    return below(np.abs(np.log(ratio)), math.log(factor))


def _require_fitted(result: xr.Dataset) -> None:
    for design in LOW_RANK:
        left = by_seed(result, "tails", "growth_training", design=design)
        if not np.nanmax(left) <= FITTED:
            raise NotDecidable(
                f"{design}: training error is {np.nanmax(left):.2g} of the noise's variance, so that "
                "nothing is interpolated"
            )


def _ranks(result: xr.Dataset) -> dict[str, dict[str, dict[str, float]]]:
    """Describe the designs at the largest sample by their effective ranks."""
    names = {
        "r_0": "growth_r0",
        "k*": "growth_head",
        "R_k*": "growth_R",
        "k*/m + m/R_k*": "growth_order",
    }
    return {
        "at the largest m": {
            str(design): {
                shown: float(np.mean(by_seed(result, "tails", name, design=design)[:, -1]))
                for shown, name in names.items()
            }
            for design in result["design"].values
        }
    }  # fmt: skip
