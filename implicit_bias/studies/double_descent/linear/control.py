"""Whether what was drawn follows the exact law: what everything else stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Finding, NotDecidable
from implicit_bias.studies.double_descent.linear.designs import DESIGNS, LEVELS, law
from implicit_bias.studies.double_descent.linear.rows import stage_of
from implicit_bias.studies.rows import by_seed

if TYPE_CHECKING:
    import xarray as xr

ALPHA = 0.05
"""Probability that any of the points strays although the law is right."""

FAR = 10
"""|n − m| from which means are compared: their distribution is then nearly normal."""


def draws_follow_law(result: xr.Dataset) -> Finding:
    """Compare fractions of draws below the law's quartiles with these, at every size, the threshold's too."""
    from scipy.special import ndtri

    strays, counts, means, seeds = [], [], [], 0
    for design in DESIGNS:
        label, stage = design.label, stage_of(design)
        try:
            below = by_seed(result, stage, f"{label}_below")
        except NotDecidable:
            continue
        seeds = max(seeds, len(below))
        drawn = float(by_seed(result, stage, f"{label}_draws").sum())
        known = np.isfinite(below).all(axis=0)
        level = np.broadcast_to(np.asarray(LEVELS)[:, None, None], known.shape)
        strays.append((below.mean(axis=0) - level)[known] / np.sqrt(level * (1 - level))[known])
        counts.append(np.full(int(known.sum()), drawn))
        means.append(_standardised_means(result, design.label, stage, drawn))
    if not strays:
        raise NotDecidable("needs a sweep of linear regression, which was not run")
    stray, count = np.concatenate(strays), np.concatenate(counts)
    # Half a draw more: counts are whole numbers.
    critical = float(ndtri(1 - ALPHA / (2 * stray.size)))
    allowed = (critical + 0.5 / np.sqrt(count * 3 / 16)) / np.sqrt(count)
    worst = int(np.argmax(np.abs(stray) / allowed))
    follows = bool(np.all(np.abs(stray) <= allowed))
    far = np.concatenate(means)
    return Finding(
        verdict="supported" if follows else "refuted",
        effect=float(stray[worst]),
        interval=(-float(allowed[worst]), float(allowed[worst])),
        n_seeds=seeds,
        reason=f"{stray.size} fractions, each within its simultaneous limits; the worst is given, in "
        "standard deviations of one draw"
        if follows
        else f"{int(np.sum(np.abs(stray) > allowed))} of {stray.size} fractions stray",
        details={
            "training sets at a size": sorted(set(count.tolist())),
            "means with |n − m| > 10": int(far.size),
            "their largest distance from the law, standard errors": float(np.max(np.abs(far))),
            "limit for the largest of so many": float(ndtri(1 - ALPHA / (2 * far.size))),
        },
    )


def _standardised_means(result: xr.Dataset, label: str, stage: str, drawn: float) -> np.ndarray:
    """Return distances of means from the law, in standard errors, where both exist."""
    design = next(one for one in DESIGNS if one.label == label)
    mean = by_seed(result, stage, f"{label}_mean").mean(axis=0)
    spread = np.sqrt((by_seed(result, stage, f"{label}_deviation") ** 2).mean(axis=0) / drawn)
    known, apart = law(design), np.abs(np.asarray(design.sizes) - design.examples)
    usable = known.exact & (apart > FAR)[None, :] & np.isfinite(known.mean) & (spread > 1e-12)
    scores: np.ndarray = (mean - known.mean)[usable] / spread[usable]
    return scores
