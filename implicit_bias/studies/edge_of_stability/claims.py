"""What the edge-of-stability study decides, by criteria fixed beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Claim, Finding, NotDecidable
from implicit_bias.results.statistics import mean_interval

if TYPE_CHECKING:
    import xarray as xr

BAND = (0.9, 1.15)
"""A median within it over the last fifth of a run, in units of the threshold, counts as at the edge."""

FEWEST = 3
"""Step sizes of gradient descent at which the claim must hold."""


def groups(result: xr.Dataset) -> dict[tuple[str, float], xr.Dataset]:
    """Return the lanes of each arm and step size, in the order they were run."""
    arms, steps = result["arm"].values, result["step_size"].values
    found = dict.fromkeys((str(a), float(s)) for a, s in zip(arms, steps, strict=True))
    return {
        (arm, step): result.isel(lane=np.flatnonzero((arms == arm) & (steps == step)))
        for arm, step in found
    }


def relative(lanes: xr.Dataset, level: float) -> Any:
    """Estimate the geometric mean over seeds of the late relative sharpness; diverged seeds are left out."""
    return mean_interval(np.log(lanes["late_relative_sharpness"].values.astype(float)), level)


def judge_group(lanes: xr.Dataset, level: float) -> dict[str, Any]:
    """Judge one arm at one step size: at the edge, below it, above it, or undecided."""
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


def _edge(result: xr.Dataset) -> Finding:
    cells = groups(result)
    level = 1 - 0.05 / max(1, len(cells))
    judged = {key: judge_group(lanes, level) for key, lanes in cells.items()}
    descent = {step: found for (arm, step), found in judged.items() if arm == "gd"}
    if not descent:
        raise NotDecidable("arm gd was not run")
    sharpened = {s: f for s, f in descent.items() if f["reached"] and f["reached"] == f["n"]}
    if len(sharpened) < FEWEST:
        raise NotDecidable(
            f"sharpness reached 2/η in all seeds at {len(sharpened)} step size(s) of gradient descent, and "
            f"{FEWEST} are needed"
        )
    wheres = [found["where"] for found in sharpened.values()]
    head = next(iter(sharpened.values()))
    others = [
        f"{arm} at η = {step:g}: {found['where']} the edge ({found['effect']:.2f})"
        for (arm, step), found in judged.items()
        if arm != "gd" or step not in sharpened
    ]
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
    details = {
        "level": level,
        "groups": {f"{arm}, η = {step:g}": found for (arm, step), found in judged.items()},
    }
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


CLAIMS = (
    Claim(
        "dhand.eos",
        "statistical",
        "Dhand, section 7.2, edge of stability",
        "Training often runs where the step size times the sharpness is about 2.",
        "η λmax ≈ 2",
        f"geometric mean over seeds of the median of λmax·η/2 over the last fifth of the run within "
        f"[{BAND[0]}, {BAND[1]}], with its whole interval, at {FEWEST} step sizes of gradient descent at "
        "least, and at all at which every seed's sharpness reached 2/η before; elsewhere nothing is claimed",
        _edge,
        None,
        "1",
    ),
)
