"""Rules on what deep factorisations converge to: the least nuclear norm, or something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence, NotDecidable
from implicit_bias.results.statistics import Comparison, mean_interval
from implicit_bias.studies.comparisons import above, below
from implicit_bias.studies.factorization.plane import LEAST_NORM
from implicit_bias.studies.factorization.plane import STARTS as PLANE_STARTS
from implicit_bias.studies.factorization.rows import logs, near_half
from implicit_bias.studies.factorization.sensing import CASES
from implicit_bias.studies.rows import by_seed, has

if TYPE_CHECKING:
    import xarray as xr

MINIMAL = 0.01
"""Nuclear norm above the least one, relative, up to which a solution is one of least norm."""

DECADE = 0.1
"""Decades of separation by which one depth must exceed another."""

PROPORTIONAL = 1.5
"""Factor that twice the depth must bring at least, where proportionality promises 2."""

RISE = 0.5
"""Effective rank by which a rank must rise again to count as not falling."""

PUBLISHED_RANK = 8.2
WITHIN = 1.0
"""Effective rank within which a rank is the published one."""


def nuclear(result: xr.Dataset) -> Evidence:
    """Ask of each case whether the nuclear norm is the least one, at the smallest start."""
    made: dict[str, Comparison] = {}
    excess = by_seed(result, "sensing", "sensing_excess")
    depths = result["sensing_depth"].values
    start = float(result["sensing_start"].values[0])
    for place, case in enumerate(CASES):
        for column, depth in enumerate(depths):
            made[f"{case}, L = {depth}"] = below(excess[:, place, column, 0], MINIMAL)
    if has(result, "plane"):
        norms = by_seed(result, "plane", "plane_nuclear")
        for column, depth in enumerate(result["plane_depth"].values):
            ends = last_finite(norms[:, 0, column]) / LEAST_NORM - 1
            made[f"one entry unseen, L = {depth}"] = below(ends, MINIMAL)
    return Evidence(
        made,
        headline=next(name for name in made if name.startswith("completion")),
        reason=f"product of size {start:g} at the start, layers αI; relative excess over the least nuclear "
        "norm",
        details={
            "largest duality gap of the least norm": float(
                by_seed(result, "sensing", "minimum_gap").max()
            ),
            "error of the truth, matrix of least norm": _means(
                by_seed(result, "sensing", "minimum_error")
            ),
            "error of the truth, network": {
                f"L = {depth}": _means(by_seed(result, "sensing", "sensing_error")[:, :, column, 0])
                for column, depth in enumerate(depths)
            },
        },
    )


def last_finite(values: np.ndarray) -> np.ndarray:
    """Return the last finite value of each row; NaN where there is none."""
    finite = np.isfinite(values)
    last = values.shape[-1] - 1 - np.argmax(finite[..., ::-1], axis=-1)
    return np.take_along_axis(values, last[..., None], axis=-1)[..., 0]


def _means(values: np.ndarray) -> dict[str, float]:
    return {case: float(values[:, place].mean()) for place, case in enumerate(CASES)}


def unbounded(result: xr.Dataset) -> Evidence:
    """Ask whether the norm stays near the least one while the loss falls, with one entry unseen."""
    norms = by_seed(result, "plane", "plane_nuclear")
    losses = result["plane_loss"].values.astype(float)
    made: dict[str, Comparison] = {}
    lost = []
    for column, depth in enumerate(result["plane_depth"].values):
        for row, start in enumerate(PLANE_STARTS[:2]):
            name, growth = f"{start}, L = {depth}", _growth(losses, norms[:, row, column])
            if np.isfinite(growth).all():
                made[name] = below(growth, -0.25)
            else:
                lost.append(name)
    if not made:
        raise NotDecidable("rounding changed the sign of det W before the loss was 0.01")
    return Evidence(
        made,
        headline=next((name for name in made if name.endswith("L = 3")), next(iter(made))),
        reason="exponent of the loss in the nuclear norm from loss 0.01 on: 0 where the norm converges, "
        "−1/2 by the bound; the effective rank is 1 meanwhile"
        + (f"; rounding changed the sign of det W too early: {', '.join(lost)}" if lost else ""),
        details={
            "effective rank at the least loss": {
                f"L = {depth}": float(
                    np.nanmean(last_finite(by_seed(result, "plane", "plane_rank")[:, 0, column]))
                )
                for column, depth in enumerate(result["plane_depth"].values)
            },
            "nuclear norm at the end, det W < 0": {
                f"L = {depth}": last_finite(norms[:, 2, column]).tolist()
                for column, depth in enumerate(result["plane_depth"].values)
            },
        },
    )


def _growth(losses: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """Return by seed the exponent of the loss in a norm, over the finite losses below 0.01."""
    found = np.full(len(norms), np.nan)
    for place, row in enumerate(norms):
        used = np.isfinite(row) & (losses <= 0.0101)
        if used.sum() >= 2:
            found[place] = np.polyfit(np.log(losses[used]), np.log(row[used]), 1)[0]
    return found


def separations(result: xr.Dataset, start: str) -> np.ndarray:
    """Return decades by which the second mode is behind the first, by seed and depth."""
    return -logs(by_seed(result, "modes", "mode_second", mode_start=start))


def depth_helps(result: xr.Dataset) -> Evidence:
    """Ask whether each further depth separates modes more, and completes better."""
    made: dict[str, Comparison] = {}
    depths = result["mode_depth"].values
    apart = separations(result, str(result["mode_start"].values[0]))
    for start in map(str, result["mode_start"].values):
        behind = separations(result, start)
        for before in range(depths.size - 1):
            made[f"modes apart, {start}, L = {depths[before]} to {depths[before + 1]}"] = above(
                behind[:, before + 1] - behind[:, before], DECADE
            )
    if has(result, "depths"):
        layers = result["depth_layers"].values
        missed = logs(by_seed(result, "depths", "depth_error"))
        for before in range(layers.size - 1):
            made[f"completion error, L = {layers[before]} to {layers[before + 1]}"] = above(
                missed[:, before] - missed[:, before + 1], DECADE
            )
    return Evidence(
        made,
        reason=f"each step by more than {DECADE:g} decades, the product's start held fixed",
        details={"decades apart by depth": dict(zip(map(str, depths), apart.mean(axis=0), strict=True))},
    )  # fmt: skip


def proportional(result: xr.Dataset) -> Evidence:
    """Ask whether twice the depth doubles the strength, whatever is held fixed."""
    depths = result["mode_depth"].values
    half, whole = near_half(depths, "the depth")
    made: dict[str, Comparison] = {}
    for start in map(str, result["mode_start"].values):
        apart = separations(result, start)
        made[f"modes apart, product fixed, {start}"] = _twice(apart, half, whole)
    fixed = -logs(by_seed(result, "modes", "mode_second_scaled"))
    made["modes apart, α of a layer fixed"] = _twice(fixed, half, whole)
    if has(result, "depths"):
        layers = result["depth_layers"].values
        half, whole = near_half(layers, "the depth")
        tail = -logs(by_seed(result, "depths", "depth_tail"))
        made["rank of a completion, product fixed"] = _twice(tail, half, whole)
    straight = separations(result, str(result["mode_start"].values[0])).mean(axis=0)
    return Evidence(
        made,
        reason=f"strength in decades: of the second mode behind the first, of σ_{{r+1}} below σ_1; L = "
        f"{depths[-1]} over half of it; proportional would be "
        f"{depths[-1] / depths[near_half(depths, 'L')[0]]:g}; with α of a layer fixed the product's "
        "start is α^L, and it is that which shrinks",
        details={
            "R² of a straight line in L, product fixed": float(
                np.corrcoef(depths, straight)[0, 1] ** 2
            ),
        },
    )


def _twice(strength: np.ndarray, half: int, whole: int) -> Comparison:
    return above(strength[:, whole] / strength[:, half], PROPORTIONAL)


def rank_falls(result: xr.Dataset) -> Evidence:
    """Ask whether the rank ends below its start, and never rises on the way."""
    made: dict[str, Comparison] = {}
    effective = by_seed(result, "ranks", "rank_effective")
    truths = result["rank_truth"].values
    lines = {f"truth of rank {int(t)}": effective[:, place] for place, t in enumerate(truths)}
    lines["network, layer by layer"] = by_seed(result, "ranks", "rank_trained")
    for name, line in lines.items():
        made[f"falls in all, {name}"] = below(line[:, -1] - line[:, 0], -RISE)
    for name, line in lines.items():
        made[f"does not rise again, {name}"] = below(line[:, -1] - line.min(axis=1), RISE)
    exact = by_seed(result, "ranks", "rank_exact")
    return Evidence(
        made,
        headline="does not rise again, network, layer by layer",
        reason="effective rank e^H; it falls while the strongest mode is learnt alone, and rises as the "
               "others "
        f"follow; the exact rank stays {exact.min():.0f}, numerically "
        f"{by_seed(result, 'ranks', 'rank_trained_exact').min():.0f} or more",
    )  # fmt: skip


def published_rank(result: xr.Dataset) -> Evidence:
    """Ask whether the effective rank ends at what is published, whatever the truth's rank."""
    made: dict[str, Comparison] = {}
    truths = result["rank_truth"].values
    ends = by_seed(result, "ranks", "rank_effective")[..., -1]
    truth = by_seed(result, "ranks", "rank_of_truth")
    for place, rank in enumerate(truths):
        made[f"truth of rank {int(rank)}"] = below(np.abs(ends[:, place] - PUBLISHED_RANK), WITHIN)
    slope = np.array([np.polyfit(t, e, 1)[0] for t, e in zip(truth, ends, strict=True)])
    found = mean_interval(slope)
    return Evidence(
        made,
        reason="the document gives neither data nor the rank of what is learnt; the final effective rank "
        f"follows the truth's with slope {found.value:.3f}",
        details={
            "final effective rank": dict(zip(map(str, truths), ends.mean(axis=0), strict=True)),
            "effective rank of the truth": dict(
                zip(map(str, truths), truth.mean(axis=0), strict=True)
            ),
        },
    )
