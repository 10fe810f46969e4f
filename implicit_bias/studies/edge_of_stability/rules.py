"""Rules of the edge-of-stability study's claims, by criteria fixed beforehand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Finding, NotDecidable, identity
from implicit_bias.results.statistics import mean_interval

if TYPE_CHECKING:
    import xarray as xr

Groups = dict[tuple[str, float], "xr.Dataset"]

EDGE_ARMS = ("gd", "heavy-ball", "adam", "sgd")
"""Arms whose optimiser has a threshold and is run long enough to come there."""

BAND = (0.9, 1.15)
"""A median within it over the last fifth of a run, in units of the threshold, counts as at the edge."""

PLACES = {
    "at": "at the edge",
    "below": "below it",
    "above": "above it",
    "undecided": "undecided",
    "diverged": "diverged",
}
"""Where an arm stays, in words."""

FEWEST = 3
"""Step sizes of gradient descent at which the claim must hold."""


SLOPE_BAND = (0.9, 1.1)
"""Orders in the step size that count as one."""

LEAST_APART = 0.1
"""Ends that are nearer, relative to their starts, would count as the same."""

ENDPOINT_TOLERANCE = 1e-10
"""Allowed relative error of an end point that is known exactly."""


def groups(result: xr.Dataset, arms_of: tuple[str, ...] = EDGE_ARMS) -> Groups:
    """Return the lanes of each arm and step size, in the order they were run."""
    arms, steps = result["arm"].values, result["step_size"].values
    found = dict.fromkeys(
        (str(a), float(s)) for a, s in zip(arms, steps, strict=True) if a in arms_of
    )
    return {
        (arm, step): result.isel(lane=np.flatnonzero((arms == arm) & (steps == step)))
        for arm, step in found
    }


def relative(lanes: xr.Dataset, level: float) -> Any:
    """Estimate the geometric mean over seeds of the late relative sharpness; diverged seeds are left out."""
    return mean_interval(np.log(lanes["late_relative_sharpness"].values.astype(float)), level)


def judge_group(lanes: xr.Dataset, level: float) -> dict[str, Any]:
    """Judge one arm at one step size: at the edge, below it, above it, or undecided."""
    lost = lanes["diverged"].values
    if lost.all():
        nothing = float("nan")
        return {
            "effect": nothing, "interval": (nothing, nothing), "n": 0, "where": "diverged",
            "reached": 0, "diverged": int(lost.sum()),
        }  # fmt: skip
    estimate = relative(lanes, level)
    low, high, value = (float(np.exp(x)) for x in (estimate.low, estimate.high, estimate.value))
    reached = lanes["reached"].values & ~lanes["diverged"].values
    if estimate.n < 2 or not np.isfinite([low, high]).all():
        where = "undecided"
    elif low >= BAND[0] and high <= BAND[1]:
        where = "at"
    elif high < BAND[0]:
        where = "below"
    elif low > BAND[1]:
        where = "above"
    else:
        where = "undecided"
    return {
        "effect": value, "interval": (low, high), "n": int(estimate.n), "where": where,
        "reached": int(reached.sum()), "diverged": int(lanes["diverged"].values.sum()),
    }  # fmt: skip


def stays_at_the_edge(result: xr.Dataset) -> Finding:
    """Ask where sharpness stays once it has reached the threshold, at each step size of each arm.

    Raises:
        NotDecidable: Gradient descent was not run, or reached 2/η at too few step sizes.
    """
    cells = groups(result)
    level = 1 - 0.05 / max(1, len(cells))
    judged = {key: judge_group(lanes, level) for key, lanes in cells.items()}
    descent = {step: found for (arm, step), found in judged.items() if arm == "gd"}
    if not descent:
        raise NotDecidable("arm gd was not run")
    sharpened = {s: f for s, f in descent.items() if f["reached"] and f["reached"] == f["n"]}
    if len(sharpened) < FEWEST:
        lost = sum(found["diverged"] for found in descent.values())
        every = sum(found["diverged"] + found["n"] for found in descent.values())
        raise NotDecidable(
            f"sharpness reached 2/η in all seeds at {len(sharpened)} step size(s) of gradient descent, and "
            f"{FEWEST} are needed" + (f"; {lost} of its {every} lanes diverged" if lost else "")
        )
    wheres = [found["where"] for found in sharpened.values()]
    others = [
        f"{arm} at η = {step:g}: {PLACES[found['where']]} ({found['effect']:.2f})"
        for (arm, step), found in judged.items()
        if arm != "gd" or step not in sharpened
    ]
    others += _of_the_flow(result, sharpened)
    if all(where == "at" for where in wheres):
        verdict = "conditional"
    elif any(where in ("below", "above") for where in wheres):
        verdict = "refuted"
    else:
        verdict = "inconclusive"
    text = (
        f"gradient descent stays at the edge at η = {', '.join(f'{s:g}' for s in sharpened)}, where "
        "progressive sharpening reaches 2/η"
    )
    if others:
        text += "; " + "; ".join(others)
    first = next(iter(sharpened))
    details = {
        "of": f"η = {first:g}",
        "level": level,
        "groups": {f"{arm}, η = {step:g}": found for (arm, step), found in judged.items()},
    }
    head = sharpened[first]
    seeds = min(found["n"] for found in sharpened.values())
    return Finding(
        verdict=verdict,  # type: ignore[arg-type]
        effect=head["effect"],
        interval=head["interval"],
        n_seeds=seeds,
        condition=text if verdict == "conditional" else "",
        reason="" if verdict == "conditional" else "; ".join(others),
        details=details,
    )


def _of_the_flow(result: xr.Dataset, steps: Any) -> list[str]:
    """Say how far the sharpness of the flow goes beyond the thresholds at which descent stays."""
    flow = result.isel(lane=np.flatnonzero(result["arm"].values == "flow"))
    if not flow.sizes["lane"] or not steps:
        return []
    value = float(np.exp(mean_interval(np.log(flow_peaks(flow) * max(steps) / 2)).value))
    return [
        f"gradient flow, which has no edge, goes to {value:.2f} times 2/η of η = {max(steps):g}"
    ]


def flow_peaks(flow: xr.Dataset) -> np.ndarray:
    """Return the largest sharpness of each lane after its start, where it may be larger still; (lanes,).

    A lane that was stopped there has no other.
    """
    values = np.nan_to_num(flow["log_sharpness"].values, nan=-np.inf)
    later = values[:, 1:].max(axis=1)
    return np.where(np.isfinite(later), later, values[:, 0])


def orders(result: xr.Dataset) -> np.ndarray:
    """Return, seed by seed, the slope of log distance from the flow against log step size; (seeds,)."""
    lanes = result.isel(lane=np.flatnonzero(result["arm"].values == "small-steps"))
    seeds, slopes = np.unique(lanes["seed"].values), []
    for seed in seeds:
        own = lanes.isel(lane=np.flatnonzero(lanes["seed"].values == seed))
        steps, distance = own["step_size"].values, own["flow_distance"].values
        good = np.isfinite(distance)
        if good.sum() >= 2:
            slopes.append(np.polyfit(np.log(steps[good]), np.log(distance[good]), 1)[0])
    return np.asarray(slopes)


def linear_orders(result: xr.Dataset) -> np.ndarray:
    """Return the same slope of each least-squares problem; (seeds,)."""
    distance = result["linear_distance"].values
    distance = distance[np.isfinite(distance).all(axis=1)]
    steps = np.log(result["step_fraction"].values.astype(float))
    return np.asarray([np.polyfit(steps, np.log(row), 1)[0] for row in distance])


def follows_the_flow(result: xr.Dataset) -> Finding:
    """Ask whether descent's distance from the flow is of first order in the step size.

    Raises:
        NotDecidable: There are too few lanes with small steps.
    """
    networks, linear = orders(result), linear_orders(result)
    if not (result["arm"].values == "small-steps").any():
        raise NotDecidable("arm small-steps was not run")
    if networks.size < 2:
        raise NotDecidable(
            f"{networks.size} seed(s) have finite small-steps lanes at two step sizes; 2 are needed"
        )
    # Two intervals that hold together.
    estimates = {
        "networks": mean_interval(networks, 0.975),
        "least squares": mean_interval(linear, 0.975),
    }
    low, high = SLOPE_BAND
    inside = [low <= e.low and e.high <= high for e in estimates.values()]
    outside = [e.high < low or e.low > high for e in estimates.values()]
    verdict = "supported" if all(inside) else "refuted" if any(outside) else "inconclusive"
    head = estimates["networks"]
    return Finding(
        verdict=verdict,  # type: ignore[arg-type]
        effect=float(head.value),
        interval=(float(head.low), float(head.high)),
        n_seeds=int(head.n),
        reason=f"on least squares {estimates['least squares'].value:.3f}",
        details={"of": "networks"}
        | {
            name: {
                "order": float(e.value),
                "interval": (float(e.low), float(e.high)),
                "n": int(e.n),
            }
            for name, e in estimates.items()
        },
    )


def each_start_has_its_end(result: xr.Dataset) -> Finding:
    """Hold ends of the flow on least squares against the solutions nearest to their starts, and apart.

    Raises:
        NotDecidable: No end was measured.
    """
    error = result["endpoint_error"].values
    error = error[np.isfinite(error)]
    distances = result["endpoints_apart"].values
    apart = float(np.nanmin(distances)) if np.isfinite(distances).any() else np.nan
    found = identity(
        error,
        ENDPOINT_TOLERANCE,
        n_seeds=error.size,
        reason="each start has its own end, the interpolating solution nearest to it; two ends are at least "
        f"{apart:.2f} times as far apart as their starts",
        least_distance_of_ends=apart,
    )
    return replace(found, verdict="refuted") if apart < LEAST_APART else found
