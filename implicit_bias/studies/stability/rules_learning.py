"""Rules on interpolators, lower bounds, learnability, the exercise and the script."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence, NotDecidable
from implicit_bias.results.statistics import Comparison, mean_interval
from implicit_bias.studies.comparisons import above, agreement, below, ends, larger
from implicit_bias.studies.rows import by_seed, exponents
from implicit_bias.studies.stability.exercise import PENALTIES, PIXELS, PUBLISHED
from implicit_bias.studies.stability.learning import INPUT_LAWS, LEAST, PLAYERS
from implicit_bias.studies.stability.rules import UNSTABLE
from implicit_bias.studies.stability.script import PENALTIES as SCRIPT_PENALTIES
from implicit_bias.studies.stability.script import PRINTED, RATIO

if TYPE_CHECKING:
    import xarray as xr

SMALL = 0.05
"""Gap or excess risk, of the loss's range or the labels' variance, that counts as generalising."""

BAD = 0.1
"""Excess risk below which an interpolator counts as benign."""

OFTEN = 0.25
"""Probability of a gap of at least 1/(4√m) that counts as constant."""

ROOT_OFF = 0.1
"""Relative departure of an exponent from −1/2."""

LIKE_ROOT = -0.4
"""Exponent in m below which a complexity counts as O(1/√m)."""

LEARNT = -0.75
"""Exponent in m below which a risk counts as falling like 1/m."""

NOT_LEARNT = 1 / 8
"""Risk that the no-free-lunch theorem leaves."""

MORE = 0.1
"""Relative difference that matters."""

FACTOR = float(np.log(2.0))
"""Logarithm of the factor up to which a number counts as about the one expected."""

PRINTED_OFF = float(np.log(1.25))
"""The same for a number that is printed."""


def fits(result: xr.Dataset, name: str, fit: str) -> np.ndarray:
    """Return a quantity of an interpolator by seed and size, (seeds, sizes)."""
    return by_seed(result, "interpolation", f"fit_{name}", fit=fit)


def not_necessary(result: xr.Dataset) -> Evidence:
    """Ask whether unstable algorithms generalise."""
    made: dict[str, Comparison] = {}
    for fit, name in (("nearest neighbour", "gap"), ("long tail", "excess")):
        made[f"{fit}: change of a loss"] = above(fits(result, "change", fit)[:, -1], UNSTABLE)
        made[f"{fit}: {name}"] = below(fits(result, name, fit)[:, -1], SMALL)
    return Evidence(
        made,
        reason="that stability suffices is held in ch11.thm-1.4; the nearest neighbour's labels are without "
        "noise, minimum-norm least squares' excess risk is in units of its labels' variance",
    )


def gap_lower_bound(result: xr.Dataset) -> Evidence:
    """Ask whether every algorithm's gap is of order 1/√m."""
    shares = {
        player: by_seed(result, "learning", "coin_share", player=player) for player in PLAYERS
    }
    over = {player: by_seed(result, "learning", "coin_over", player=player) for player in PLAYERS}
    return Evidence(
        {
            f"least share over m, {player}": above(share.min(axis=1), OFTEN)
            for player, share in shares.items()
        },
        reason=f"fair coin; draws with |test less training loss| ≥ {LEAST:g}/√m. A class "
        "whose every member has a loss that varies leaves no way out; an algorithm that may answer ½ "
        "under squared loss has no gap at all",
        details={
            f"with test above training loss, {player}": ends(mean_interval(share.min(axis=1)))
            for player, share in over.items()
        },
    )


def excess_lower_bound(result: xr.Dataset) -> Evidence:
    """Hold the best algorithm's excess risk on a barely biased coin against 1/√m."""
    excess = by_seed(result, "learning", "coin_excess")
    return Evidence(
        {
            "exponent in m": agreement(
                exponents(result["coin_size"].values.astype(float), excess), -0.5, ROOT_OFF
            )
        }
    )


def complexity_decides(result: xr.Dataset) -> Evidence:
    """Ask both ways whether benign overfitting goes with a complexity of O(1/√m).

    Raises:
        NotDecidable: The design that is to be benign is not.
    """
    benign = fits(result, "excess", "long tail")
    if mean_interval(benign[:, -1]).value > SMALL:
        raise NotDecidable(
            "the long tail's excess risk is still above 5 % of the labels' variance; choose larger sizes"
        )
    sizes = result["fit_size"].values.astype(float)
    complexity = exponents(sizes, fits(result, "ball", "long tail"))
    return Evidence(
        {
            "if: excess risk of the lookup table": below(
                fits(result, "excess", "lookup table")[:, -1], BAD
            ),
            "if: excess risk of the short tail": below(
                fits(result, "excess", "short tail")[:, -1], BAD
            ),
            "only if: exponent of the complexity of the long tail's ball": below(
                complexity, LIKE_ROOT
            ),
        },
        reason="one function, and all functions that fit the same labels, have the "
        "complexity 0 on the sample, whichever they are; the ball of the norm found has the one that "
        "is measured",
        details={
            "excess risk of the long tail by m": [ends(mean_interval(v)) for v in benign.T],
            "complexity of one function in standard errors, all interpolators": ends(
                mean_interval(
                    np.nanmean(
                        [fits(result, "single", fit) for fit in result["fit"].values], axis=(0, 2)
                    )
                )
            ),
            "exponent of the ball in low dimension without noise, where the statement holds": ends(
                mean_interval(exponents(sizes, fits(result, "ball", "low dimension")))
            ),
        },
    )


def dimension_decides(result: xr.Dataset) -> Evidence:
    """Ask whether finite dimension is learnability, and whether kernels of infinite dimension are learnable.

    Raises:
        NotDecidable: The kernel did not realise every labelling.
    """
    if np.nanmin(by_seed(result, "learning", "kernel_shattered")) < 1:
        raise NotDecidable("the kernel did not label the points in every way; choose fewer points")
    sizes = result["coin_size"].values.astype(float)
    made: dict[str, Comparison] = {
        f"threshold on a line, inputs {law}: exponent of the risk in m": below(
            exponents(sizes, by_seed(result, "learning", "threshold_risk", input_law=law)), LEARNT
        )
        for law in INPUT_LAWS
    }
    random = by_seed(result, "learning", "kernel_random")
    margin = by_seed(result, "learning", "kernel_margin")
    made["some law is not learnt by kernels: least risk over m"] = above(
        random.min(axis=1), NOT_LEARNT
    )
    made["kernels are learnable, labels by coin flips: risk at the largest m"] = below(
        random[:, -1], NOT_LEARNT
    )
    made["kernels are learnable, classes with a margin: risk at the largest m"] = below(
        margin[:, -1], NOT_LEARNT
    )
    return Evidence(
        made,
        reason="the kernel labels any points in any way, and so has no finite dimension; "
        "which laws it learns is not a matter of its class",
    )


def exercise(result: xr.Dataset) -> Evidence:
    """Ask whether movement and gap fall together with λ, and whether one bounds the other."""
    at = {
        name: np.stack(
            [
                by_seed(result, "exercise", f"image_{name}", scaling="sum", ridge_penalty=p)
                for p in PENALTIES
            ],
            axis=1,
        )
        for name in ("moved", "gap", "left", "change")
    }
    made: dict[str, Comparison] = {
        "movement falls with λ": larger(at["moved"][:, 0], at["moved"][:, -1], MORE),
        "gap falls with λ": larger(at["gap"][:, 0], at["gap"][:, -1], MORE),
    }
    for place, penalty in enumerate(PENALTIES):
        ratio = at["gap"][:, place] / (2 * at["moved"][:, place])
        made[f"gap over twice the movement, λ = {penalty:g}"] = below(ratio, 1.0)
        made[f"gap about twice the movement, λ = {penalty:g}"] = below(
            np.abs(np.log(ratio)), FACTOR
        )
    return Evidence(
        made,
        reason="as the exercise has it, λ stands beside the sum of squares, and "
        "distances of weights stand for changes of losses. Its own expected gaps are 0.15 to 0.25 of "
        "twice the movement",
        details={
            "gap over what leaving out estimates": ends(
                mean_interval((at["gap"] / at["left"])[:, 1])
            ),
            "largest change of a loss, λ = 0.1": ends(mean_interval(at["change"][:, 1])),
        },
    )


def exercise_values(result: xr.Dataset) -> Evidence:
    """Hold movement and gap against what the exercise expects.

    Raises:
        NotDecidable: The data are not the exercise's.
    """
    features = by_seed(result, "exercise", "image_features")
    if np.nanmax(features) != PIXELS:
        raise NotDecidable(
            f"its numbers are of images of {PIXELS} pixels, these have {np.nanmax(features):.0f}: see "
            "the laptop config"
        )
    made = {}
    for name, words in (("moved", "movement"), ("gap", "gap")):
        for penalty, said in zip(PENALTIES, PUBLISHED[name], strict=True):
            found = by_seed(
                result, "exercise", f"image_{name}", scaling="sum", ridge_penalty=penalty
            )
            made[f"{words} {said:g}, λ = {penalty:g}"] = below(np.abs(np.log(found / said)), FACTOR)
    return Evidence(made, reason="|log ratio| to what is expected")


def printed(result: xr.Dataset) -> Evidence:
    """Hold what the script is said to print against what the same set-up gives."""
    made = {}
    found = {
        name: np.stack(
            [
                by_seed(result, "script", f"script_{name}", script_penalty=p)
                for p in SCRIPT_PENALTIES
            ],
            axis=1,
        )
        for name in ("moved", "gap", "real")
    }
    for name, words in (("moved", "movement"), ("gap", "test error called gap")):
        for place, penalty in enumerate(SCRIPT_PENALTIES):
            said = PRINTED[name][place]
            made[f"{words}, λ = {penalty:g}"] = below(
                np.abs(np.log(found[name][:, place] / said)), PRINTED_OFF
            )
    ratio = found["moved"][:, 1] / found["moved"][:, 0]
    made["ratio of movements"] = below(np.abs(np.log(ratio / RATIO)), PRINTED_OFF)
    return Evidence(
        made,
        reason="labels are noise of variance one, so that no test error can be near "
        "0.05; the data have rank 50 of 100, where λ = 1e-6 and λ = 0.1 differ little",
        details={
            "its own seed gives": {
                name: [
                    float(by_seed(result, "script", f"own_{name}", script_penalty=p)[0])
                    for p in SCRIPT_PENALTIES
                ]
                for name in ("moved", "gap", "real")
            },
            "printed": {**PRINTED, "ratio": RATIO},
            "ratio of movements": ends(mean_interval(ratio)),
        },
    )


def script_direction(result: xr.Dataset) -> Evidence:
    """Ask whether the more stable fit has the smaller gap."""
    made = {}
    for name, words in (("moved", "movement"), ("real", "test less training error")):
        stable, unstable = (
            by_seed(result, "script", f"script_{name}", script_penalty=p) for p in SCRIPT_PENALTIES
        )
        made[f"{words}, λ = 1e-6 over λ = 0.1"] = larger(unstable, stable, MORE)
    return Evidence(made)
