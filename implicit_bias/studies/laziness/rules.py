"""Rules of the laziness study, with the smallest effects that matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence, Finding, NotDecidable
from implicit_bias.results.statistics import Comparison, mean_interval
from implicit_bias.studies.comparisons import above, below, ends, larger
from implicit_bias.studies.laziness.predictions import PREDICTORS
from implicit_bias.studies.laziness.rows import (
    LAZIEST,
    of_arm,
    predicted,
    slope,
    values_of,
)
from implicit_bias.studies.rows import by_seed, gap, has, lost_lanes, require

if TYPE_CHECKING:
    import xarray as xr

SMALLEST_GAP = 1.0
"""Difference of test errors that matters, in percentage points; 5 to 8 are published."""

SMALLEST_RATIO = 0.25
"""A ratio matters from 1.25 on."""

LEARNT = 0.1
"""Relative change of the last hidden layer from which features count as learnt."""

FIXED = 0.05
"""Relative change of it up to which they count as fixed."""

APART = 0.05
"""Relative squared distance from the infinite-width kernel's function that matters."""

RICH = 0.3
"""Relative change of the kernel from which a network counts as rich."""

RISE = 0.05
"""Rise of an alignment that matters."""

BAND = (-1.1, -0.9)
"""Exponents of α that count as −1."""

NARROW = 0.1
"""Widths up to this fraction of the widest are narrow."""


def across_widths(result: xr.Dataset, name: str = "best_wrong") -> dict[str, Comparison]:
    """Hold the widest network against each narrow one: what the document reports."""
    widths = values_of(result, "width")
    widest = float(widths[-1])
    return {
        f"width {widest:g} against {width:g}": gap(
            of_arm(result, "width", name, widest),
            of_arm(result, "width", name, width),
            SMALLEST_GAP,
        )
        for width in map(float, widths)
        if width <= NARROW * widest
    }


def at_one_width(result: xr.Dataset, when: str = "best") -> dict[str, Comparison]:
    """Hold what does not learn features against the network as it is, at its own width."""
    network = of_arm(result, "alpha", f"{when}_wrong", 1.0)
    alphas = values_of(result, "alpha")
    made = {}
    if has(result, "linearised"):
        made["linearised"] = gap(
            of_arm(result, "linearised", f"{when}_wrong"), network, SMALLEST_GAP
        )
    for predictor in PREDICTORS:
        if predictor != "last layer":
            made[f"{predictor}"] = gap(
                predicted(result, f"kernel_{when}_wrong", predictor), network, SMALLEST_GAP
            )
    lazy, rich = float(alphas[-1]), float(alphas[0])
    made[f"α = {lazy:g} against {rich:g}"] = gap(
        of_arm(result, "alpha", f"{when}_wrong", lazy),
        of_arm(result, "alpha", f"{when}_wrong", rich),
        SMALLEST_GAP,
    )
    return made


def narrow_beats_wide(result: xr.Dataset) -> Evidence:
    """Hold wide against narrow networks, as the document does."""
    require(result, "width")
    across = across_widths(result)
    if not across:
        raise NotDecidable(f"no width is at most {NARROW:g} of the widest")
    return Evidence(
        across, reason=lost_lanes(result), details=_at_end(across_widths(result, "end_wrong"))
    )


def rich_beats_lazy(result: xr.Dataset) -> Evidence:
    """Hold what does not learn features against the network, at its own width."""
    require(result, "alpha", "kernels")
    return Evidence(
        at_one_width(result),
        reason=lost_lanes(result),
        details=_at_end(at_one_width(result, "end")),
    )


def _at_end(comparisons: dict[str, Comparison]) -> dict[str, dict[str, list[float]]]:
    """Describe the same comparisons after all updates."""
    found = {name: ends(comparison.estimate(0.95)) for name, comparison in comparisons.items()}
    return {"after all updates, points": found}


def limitations(result: xr.Dataset) -> Evidence:
    """Measure the three limitations: fixed features, finite width, the start."""
    require(result, "alpha", "width", "init-scale", "kernels")
    lazy = float(values_of(result, "alpha")[-1])
    widths = list(result["kernel_width"].values)
    narrow, wide = (
        by_seed(result, "kernels", "infinite_distance", kernel_width=width)
        for width in (widths[0], widths[-1])
    )
    scales = values_of(result, "init-scale")
    small, large = (
        of_arm(result, "init-scale", "kernel_change", float(scales[place])) for place in (0, -1)
    )
    errors = {
        f"s = {scale:g}": ends(
            mean_interval(100 * of_arm(result, "init-scale", "best_test_error", float(scale)))
        )
        for scale in scales
    }
    return Evidence(
        {
            "features of the network as it is": above(
                of_arm(result, "alpha", "feature_change", 1.0), LEARNT
            ),
            f"features at α = {lazy:g}": below(
                of_arm(result, "alpha", "feature_change", lazy), FIXED
            ),
            f"distance from the infinite kernel at width {widths[0]:g}": above(narrow, APART),
            f"its ratio, width {widths[0]:g} to {widths[-1]:g}": larger(
                narrow, wide, SMALLEST_RATIO
            ),
            f"kernel change, initial scale {scales[0]:g} to {scales[-1]:g}": larger(
                small, large, SMALLEST_RATIO
            ),
        },
        reason=lost_lanes(result),
        details={"test error by initial scale, %": errors},
    )


def hierarchical_aligned_incremental(result: xr.Dataset) -> Evidence:
    """Measure alignment, order of learning and hierarchy in the rich regime, against the lazy one."""
    require(result, "alpha", "deep", "modes")
    alphas = values_of(result, "alpha")
    changed = float(np.nanmean(of_arm(result, "alpha", "kernel_change", float(alphas[0]))))
    if not changed >= RICH:
        raise NotDecidable(
            f"the smallest α, {alphas[0]:g}, is not rich: its kernel changes by {changed:.2f} of its size on "
            f"average, and {RICH} are needed"
        )
    rich, lazy = (
        of_arm(result, "alpha", "alignment_after", float(value))
        - of_arm(result, "alpha", "alignment_before", float(value))
        for value in (alphas[0], alphas[-1])
    )
    small, large = (
        by_seed(result, "modes", "mode_time", start=start) for start in ("small", "large")
    )
    rise = of_arm(result, "deep", "layer_alignment_after") - of_arm(
        result, "deep", "layer_alignment_before"
    )
    comparisons = {
        f"aligned: kernel with labels at α = {alphas[0]:g}": above(rich, RISE),
        f"aligned: more than at α = {alphas[-1]:g}": above(rich - lazy, RISE),
        "incremental: time of weakest to strongest mode, small start": larger(
            small[:, -1], small[:, 0], SMALLEST_RATIO
        ),
        "incremental: that ratio against the large start": larger(
            small[:, -1] / small[:, 0], large[:, -1] / large[:, 0], SMALLEST_RATIO
        ),
        "hierarchical: second hidden layer more than the first": above(
            rise[:, -1] - rise[:, 0], RISE
        ),
    }
    in_order = (np.diff(small, axis=1) > 0).all(axis=1)
    return Evidence(
        comparisons,
        reason=lost_lanes(result),
        details={
            "seeds in which all modes are learnt in order, small start": int(in_order.sum()),
            "rise of alignment in the lazy network": ends(mean_interval(lazy)),
        },
    )


def random_features_fall_short(result: xr.Dataset) -> Evidence:
    """Hold random against learnt features of one width on a target of few directions."""
    require(result, "multi-index")
    learnt, random, ridge = (
        by_seed(result, "multi-index", "target_error", features=name)
        for name in ("learnt", "random", "random, best ridge")
    )
    details = {}
    if has(result, "kernels", "alpha"):
        found = gap(
            predicted(result, "kernel_best_wrong", "last layer"),
            of_arm(result, "alpha", "best_wrong", 1.0),
        ).estimate(0.95)
        details["on the study's data: test error of the last layer alone − network, points"] = ends(
            found
        )
    return Evidence(
        {
            "random to learnt": larger(random, learnt, SMALLEST_RATIO),
            "with the best ridge": larger(ridge, learnt, SMALLEST_RATIO),
        },
        headline="with the best ridge",
        details=details,
    )


def movement_falls_with_alpha(result: xr.Dataset) -> Finding:
    """Ask whether networks with a large α are lazy: parameters move as 1/α."""
    require(result, "alpha")
    found = slope(result, "alpha", "relative_movement", 0.95, LAZIEST)
    low, high = BAND
    if low <= found.low and found.high <= high:
        verdict = "supported"
    else:
        verdict = "refuted" if found.high < low or found.low > high else "inconclusive"
    others = {
        name: ends(slope(result, "alpha", name, 0.95, LAZIEST))
        for name in ("kernel_change", "feature_change")
    }
    return Finding(
        verdict=verdict,  # type: ignore[arg-type]
        effect=float(found.value),
        interval=(float(found.low), float(found.high)),
        n_seeds=int(found.n),
        reason=f"kernel change: exponent {others['kernel_change'][0]:.2f}; features: "
        f"{others['feature_change'][0]:.2f}",
        details={"α": values_of(result, "alpha")[-LAZIEST:], "exponents of others": others},
    )
