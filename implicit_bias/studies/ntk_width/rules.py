"""The rules by which the ntk-width study's claims are decided; their numbers were fixed beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Finding, NotDecidable, Verdict, combine_arms
from implicit_bias.results.statistics import Estimate
from implicit_bias.studies.ntk_width.slopes import (
    arms_of,
    by_width,
    family_level,
    slope,
    steps,
    trial_slope,
    widths_of,
)

if TYPE_CHECKING:
    import xarray as xr

BAND = (-0.6, -0.4)
"""Exponents of relative movement that count as −1/2."""

DRIFT = -0.1
"""An exponent of the kernel's change below it counts as a fall."""

FLAT = -0.1
"""An exponent above it counts as one of a quantity that does not vanish as networks widen."""

FREEZES = -0.3
"""An exponent of the kernel's change below it counts as one of a kernel that freezes."""

FEW_FLIPS = 0.01
"""Activation patterns with fewer flips than this fraction count as frozen."""

DEAD_TOLERANCE = 1e-12
"""Allowed change of a parameter that has no gradient."""

LARGEST_ERROR = 0.02
"""Relative standard error up to which an average of kernels is one."""


def relative_movement(result: xr.Dataset) -> Finding:
    """Decide in each arm whether movement falls as the inverse root of the width, and the kernel's too."""
    level, arms = family_level(result), arms_of(result)
    if not arms:
        raise NotDecidable("no arm of networks was run")
    verdicts: dict[str, Verdict] = {}
    found: dict[str, dict[str, Any]] = {}
    reasons = []
    for arm in arms:
        try:
            movement = slope(result, arm, "relative_movement", level)
            kernel = slope(result, arm, "kernel_change", level)
        except NotDecidable as missing:
            verdicts[arm] = "not-decided"
            reasons.append(missing.reason)
            continue
        falls = steps(result, arm, "relative_movement", level)
        verdicts[arm] = _all_of(
            _within(movement, BAND), _below(kernel, DRIFT), *[_below(step, 1.0) for step in falls]
        )
        values = by_width(result, arm, "relative_movement")
        found[arm] = {
            **_plain(movement),
            "verdict": verdicts[arm],
            "movement": _plain(movement),
            "kernel change": _plain(kernel),
            "steps": [_plain(step) for step in falls],
            "relative movement by width": {
                f"{width:g}": float(np.exp(np.nanmean(np.log(column))))
                for width, column in zip(widths_of(result, arm), values.T, strict=True)
            },
        }
        ends = list(found[arm]["relative movement by width"].items())
        reasons.append(
            f"{arm}: exponent {_text(movement)}, {ends[0][1]:.2f} at width {ends[0][0]} to "
            f"{ends[-1][1]:.2f} at {ends[-1][0]}, kernel {_text(kernel)}"
        )
    if not found:
        raise NotDecidable("; ".join(reasons))
    verdict, said = combine_arms(verdicts)
    head = next(iter(found))
    return _finding(
        verdict, found[head]["movement"], said, "; ".join(reasons),
        {"headline": head, "level": level, "arms": found, "verdicts": verdicts},
    )  # fmt: skip


def absolute_movement(result: xr.Dataset) -> Finding:
    """Decide whether movement that does not vanish tells networks that learn features from lazy ones."""
    level = family_level(result)
    movement = slope(result, "ntk", "absolute_movement", level)
    kernel = slope(result, "ntk", "kernel_change", level)
    controls = {}
    if "mup" in arms_of(result):
        controls = {
            name: slope(result, "mup", name, level)
            for name in ("absolute_movement", "kernel_change")
        }
    lazy = _below(kernel, FREEZES) == "supported"
    vanishes = _below(movement, FLAT)
    verdict: Verdict = "inconclusive"
    if lazy and vanishes == "refuted":
        verdict = "refuted"
    elif lazy and vanishes == "supported" and controls:
        there = _below(controls["absolute_movement"], FLAT)
        verdict = "supported" if there == "refuted" else "inconclusive"
    reason = (
        f"arm ntk: exponent of ‖θT − θ0‖ {_text(movement)}, of the kernel's change {_text(kernel)}"
    )
    if controls:
        reason += f"; arm mup: {_text(controls['absolute_movement'])} and {_text(controls['kernel_change'])}"
    details = {name: _plain(estimate) for name, estimate in controls.items()}
    return _finding(
        verdict, _plain(movement), "", reason,
        {"level": level, "kernel change": _plain(kernel), "arm mup": details},
    )  # fmt: skip


def width_dependence(result: xr.Dataset) -> Finding:
    """Decide whether kernel and solution depend on the width of networks that have a kernel limit."""
    level = family_level(result)
    kernel = slope(result, "ntk", "kernel_change", level)
    solution = trial_slope(result, "infinite_distance", level)
    verdict, said = combine_arms(
        {"change of the kernel": _below(kernel, FREEZES), "solution": _below(solution, FREEZES)}
    )
    reason = (
        f"exponent of the kernel's change {_text(kernel)}, of the distance from the infinite-width kernel's "
        f"solution {_text(solution)}"
    )
    return _finding(
        verdict, _plain(kernel), said, reason, {"level": level, "solution": _plain(solution)}
    )


def active_units(result: xr.Dataset) -> Finding:
    """Decide whether units that are off stay as they are, and whether patterns freeze."""
    level, arms = family_level(result), arms_of(result)
    if not arms:
        raise NotDecidable("no arm of networks was run")
    if not np.isfinite(result["flips"].values).any():
        raise NotDecidable("the network has no ReLU units")
    flips = {arm: by_width(result, arm, "flips") for arm in arms}
    dead = [np.nanmax(by_width(result, arm, "dead_movement"), initial=0.0) for arm in arms]
    exact = result["silent_movement"].values
    exact = exact[np.isfinite(exact)]
    moved = max([*map(float, dead), *map(float, exact)])
    most = {arm: np.nanmean(table, axis=0) for arm, table in flips.items()}
    parts = [
        f"arm {arm}: {100 * most[arm][0]:.2g} % of patterns flip at width {widths[0]:g} and "
        f"{100 * most[arm][-1]:.2g} % at {widths[-1]:g}"
        for arm in arms
        for widths in [widths_of(result, arm)]
    ]
    woken = float(np.nanmean(result["woken_units"].values)) if exact.size else np.nan
    details: dict[str, Any] = {
        "level": level,
        "largest change of a unit that is off": moved,
        "active at the start": {
            arm: float(np.nanmean(by_width(result, arm, "active_units"))) for arm in arms
        },
        "flips": {arm: values.tolist() for arm, values in most.items()},
        "woken units of a second hidden layer": woken,
        "exact problems": int(exact.size),
    }
    seeds = max(table.shape[0] for table in flips.values())
    if moved > DEAD_TOLERANCE:
        return Finding(
            "refuted", effect=moved, interval=(-DEAD_TOLERANCE, DEAD_TOLERANCE), n_seeds=seeds,
            reason="a parameter of a unit that is off on all training examples changed", details=details,
        )  # fmt: skip
    if all((table[np.isfinite(table)] < FEW_FLIPS).all() for table in flips.values()):
        return Finding(
            "supported", effect=moved, interval=(-DEAD_TOLERANCE, DEAD_TOLERANCE), n_seeds=seeds,
            reason="; ".join(parts), details=details,
        )  # fmt: skip
    frozen = slope(result, "ntk", "flips", level)
    verdict = {"supported": "conditional", "refuted": "refuted"}.get(
        _below(frozen, FLAT), "inconclusive"
    )
    condition = (
        "exact for units next to the inputs that are off on all training examples"
        + (f", not a layer above (there {100 * woken:.0f} % came on)" if exact.size else "")
        + f"; patterns freeze only as arm ntk widens, with exponent {_text(frozen)}; {'; '.join(parts)}"
    )
    return _finding(verdict, _plain(frozen), condition, condition, details)  # type: ignore[arg-type]


def average_of_kernels(result: xr.Dataset) -> Finding:
    """Decide whether the average kernel is the limit, from all networks of all seeds together."""
    from scipy import stats

    rows = np.flatnonzero(np.isfinite(result["networks"].values))
    if not rows.size:
        raise NotDecidable("no kernels were averaged")
    each = result["networks"].values[rows].astype(float)
    means, variances, limits = (
        result[name].values[rows].astype(float)
        for name in ("average_kernel", "kernel_variance", "limit_kernel")
    )
    total = each.sum()
    weights = (each / total)[:, None, None]
    mean, limit = (weights * means).sum(axis=0), limits[0]
    within = ((each - 1)[:, None, None] * variances).sum(axis=0)
    between = (each[:, None, None] * (means - mean) ** 2).sum(axis=0)
    error = np.sqrt((within + between) / (total - 1) / total)
    upper = np.triu_indices(len(mean))
    departures = (mean - limit)[upper] / error[upper]
    bound = float(stats.t.ppf(1 - 0.05 / (2 * departures.size), total - 1))
    relative = float(np.linalg.norm(error) / np.linalg.norm(limit))
    apart = float(np.linalg.norm(mean - limit) / np.linalg.norm(limit))
    if relative > LARGEST_ERROR:
        raise NotDecidable(
            f"the average of {total:.0f} networks has a standard error of {100 * relative:.2g} % of the "
            f"kernel, and {100 * LARGEST_ERROR:g} % is needed; draw more or wider networks"
        )
    worst = float(departures[np.argmax(np.abs(departures))])
    return Finding(
        verdict="supported" if abs(worst) <= bound else "refuted",
        effect=worst,
        interval=(-bound, bound),
        n_seeds=int(rows.size),
        reason=f"{total:.0f} networks, {departures.size} entries: the average is {100 * apart:.2g} % of the "
        f"kernel away from the limit, its standard error {100 * relative:.2g} %",
        details={
            "networks": total,
            "relative distance": apart,
            "relative standard error": relative,
        },
    )


def _below(estimate: Estimate, bound: float) -> Verdict:
    """Judge the claim that an effect lies below a bound."""
    if estimate.below(bound):
        return "supported"
    return "refuted" if estimate.above(bound) else "inconclusive"


def _within(estimate: Estimate, band: tuple[float, float]) -> Verdict:
    """Judge the claim that an effect lies within a band."""
    if estimate.above(band[0]) and estimate.below(band[1]):
        return "supported"
    return "refuted" if estimate.below(band[0]) or estimate.above(band[1]) else "inconclusive"


def _all_of(*verdicts: Verdict) -> Verdict:
    """Judge a claim that asks for several things together."""
    if "refuted" in verdicts:
        return "refuted"
    return "supported" if set(verdicts) == {"supported"} else "inconclusive"


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {
        "effect": float(estimate.value),
        "interval": (float(estimate.low), float(estimate.high)),
        "n": int(estimate.n),
        "excluded": int(estimate.excluded),
    }


def _text(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _finding(
    verdict: Verdict, head: dict[str, Any], said: str, reason: str, details: dict[str, Any]
) -> Finding:
    conditional = verdict == "conditional"
    if not conditional and said and said != reason:
        reason = f"{said}. {reason}"
    return Finding(
        verdict=verdict,
        effect=head["effect"],
        interval=head["interval"],
        n_seeds=head["n"],
        condition=said if conditional else "",
        reason="" if conditional and said == reason else reason,
        details=details,
    )
