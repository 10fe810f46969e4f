"""Rules on the worked arithmetic and on the notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence
from implicit_bias.results.statistics import Comparison
from implicit_bias.studies.comparisons import above, below, larger, mean_ends, share_above
from implicit_bias.studies.early_stopping.notes import BATCHES, WAYS
from implicit_bias.studies.early_stopping.worked import CASES, CURVATURES, DRAWN, SIZES
from implicit_bias.studies.rows import by_seed, exponents, seeds_of

if TYPE_CHECKING:
    import xarray as xr

RELIABLE = 0.9
"""Fraction of probes that must rank two checkpoints rightly."""

NOISE = 1.05
"""Factor within which a ratio of noises is as stated."""

AHEAD = 0.1
"""Relative difference of risks from which one configuration is ahead."""

FOLLOWS = 0.01
"""Mean squared difference, targets of variance 1, up to which the chapter's exercise has a network follow."""

WIDE = 10_000
"""Width that the notes ask for."""

SAME_SHAPE, SHARP, SLOPED = CASES


def within_factor(first: np.ndarray, second: np.ndarray, factor: float) -> Comparison:
    """Ask whether two differ by less than a factor: |log(first/second)| against its logarithm, by seed."""
    return below(np.abs(np.log(first) - np.log(second)), float(np.log(factor)))


def probe_ranks(result: xr.Dataset) -> Evidence:
    """Ask when one random probe of each of two checkpoints tells which is flatter."""

    def right(case: str) -> np.ndarray:
        return by_seed(result, "worked", "probe_right", probe_case=case)

    average, largest = (
        by_seed(result, "worked", f"probe_{name}", probe_case=SHARP).mean(axis=0)
        for name in ("curvature", "largest")
    )
    made = {
        "flatter on average, same shape": share_above(right(SAME_SHAPE), RELIABLE),
        "flatter on average, A with a sharp direction": share_above(right(SHARP), RELIABLE),
        "smaller λmax, A with a sharp direction": share_above(1 - right(SHARP), RELIABLE),
        "flatter on average, loss with a slope": share_above(right(SLOPED), RELIABLE),
        "ranking stays at twice the norm, same shape": share_above(
            by_seed(result, "worked", "probe_stable", probe_case=SAME_SHAPE), RELIABLE
        ),
    }
    return Evidence(
        made,
        reason="2ΔL/‖δ‖² of a random direction has mean tr H/d, whatever the largest "
        "eigenvalue, and 2gᵀδ/‖δ‖² is added where the slope g is not 0; that ranks stay at twice the "
        "norm says nothing of other directions",
        details={
            "λmax of A and B, A with a sharp direction": average / largest * np.array(CURVATURES),
            "2ΔL/‖δ‖² over tr H/d": {
                case: by_seed(result, "worked", "probe_curvature", probe_case=case).mean(axis=0)
                for case in CASES
            },
            "2ΔL/‖δ‖² over λmax": {
                case: by_seed(result, "worked", "probe_largest", probe_case=case).mean(axis=0)
                for case in CASES
            },
        },
    )  # fmt: skip


def batch_noise(result: xr.Dataset) -> Evidence:
    """Ask in what sense batch 64 has eight times the noise of 512, and twice that of 128."""

    def of(drawn: str, size: int) -> np.ndarray:
        return by_seed(result, "worked", "noise_power", noise_drawn=drawn, noise_batch=size)

    small, middle, big = SIZES
    fresh, finite = DRAWN
    eight, two = np.full(seeds_of(result).size, big / small), np.full(seeds_of(result).size, 2.0)
    power = of(fresh, small) / of(fresh, big)
    left = of(finite, small) / of(finite, big)
    exact = by_seed(result, "worked", "noise_exact", noise_drawn=finite)[0]
    return Evidence(
        {
            "variance, drawn with replacement": within_factor(power, eight, NOISE),
            "variance against B = 128, drawn with replacement": within_factor(
                of(fresh, small) / of(fresh, middle), two, NOISE
            ),
            "standard deviation, drawn with replacement": within_factor(np.sqrt(power), eight, NOISE),
            "variance, 1000 examples without replacement": within_factor(left, eight, NOISE),
        },
        headline="variance, drawn with replacement",
        reason="the standard deviation has the root, 2.83; without replacement a batch of B of "
        f"m examples has (1 − B/m) of the variance, which makes {exact[0] / exact[2]:.2f} of 8; steps "
        "of one size add noise in proportion to η/B",
        details={
            "ratio of variances with replacement": mean_ends(power),
            "ratio of standard deviations": mean_ends(np.sqrt(power)),
            "ratio of variances without replacement": mean_ends(left),
        },
    )  # fmt: skip


def fair_comparisons(result: xr.Dataset) -> Evidence:
    """Ask whether one way of comparing is enough, and whether narrower networks do not follow kernels."""
    risk = {
        held: by_seed(result, "notes", "fair_risk", fair_held=held)
        for held in ("epochs", "updates")
    }
    widths = result["kernel_width"].values.astype(float)
    narrow = widths[widths < WIDE]
    change, direct, ended = (
        by_seed(result, "notes", "kernel_error", kernel_way=way) for way in WAYS
    )
    at = int(np.flatnonzero(widths == narrow[-1])[0])
    made = {
        f"B = {BATCHES[0]} ahead of {BATCHES[1]} at equal {held}": larger(
            values[:, 1], values[:, 0], AHEAD
        )
        for held, values in risk.items()
    }
    made[f"change of outputs not followed, width {narrow[-1]:g}"] = above(change[:, at], FOLLOWS)
    made[f"outputs followed directly, width {widths[-1]:g}"] = below(direct[:, -1], FOLLOWS)
    made[f"outputs are kernel regression, width {widths[-1]:g}"] = below(ended[:, -1], FOLLOWS)
    return Evidence(
        made,
        reason="updates = epochs × examples / B: at one step size both are equal for no two "
        "batch sizes, and what is held equal decides which is ahead; a network's outputs are its "
        "kernel's only after its random outputs at the start are taken off",
        details={
            "mean squared difference by width": {
                way: values.mean(axis=0) for way, values in zip(WAYS, (change, direct, ended), strict=True)
            },
            "exponent in the width, change of outputs": mean_ends(exponents(widths, change)),
        },
    )  # fmt: skip
