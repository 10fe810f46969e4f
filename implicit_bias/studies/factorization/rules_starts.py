"""Rules on what width and the scale of the start do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence, NotDecidable
from implicit_bias.results.statistics import Comparison
from implicit_bias.studies.comparisons import above, below
from implicit_bias.studies.factorization.diagonal import DEPTHS, TRUTHS
from implicit_bias.studies.factorization.rows import logs
from implicit_bias.studies.factorization.signals import ACTIVATIONS, INITS, SHAPES, WAYS
from implicit_bias.studies.rows import by_seed, has

if TYPE_CHECKING:
    import xarray as xr

FACTOR = 0.1
"""Decades by which a wider network must be better conditioned, or faster."""

REGULARISED = 0.1
"""Excess of nuclear norm up to which a solution counts as the regularised one."""

RICHER = 0.3
"""Decades by which one tangent kernel must move more than another."""

KEPT = 0.05
"""Change of a second moment by a layer up to which it is preserved."""


def width_conditions(result: xr.Dataset) -> Evidence:
    """Ask whether condition number and updates fall with width, from narrow to wide."""
    made: dict[str, Comparison] = {}
    widths = result["width"].values
    middle = widths.size // 2
    for name, words in (("condition", "condition number"), ("updates", "updates")):
        values = logs(by_seed(result, "widths", f"width_{name}", width_start="Gaussian"))
        for first, last in ((0, middle), (middle, widths.size - 1)):
            made[f"{words}, width {widths[first]} to {widths[last]}"] = above(
                values[:, first] - values[:, last], FACTOR
            )
    orthogonal = by_seed(result, "widths", "width_condition", width_start="orthogonal")
    return Evidence(
        made,
        reason="decades gained, from Gaussian starts of variance 1/fan-in on whitened inputs; from "
        f"orthogonal starts the condition number is {orthogonal.min():.3f} to {orthogonal.max():.3f} at "
        "every width",
        details={
            "share not fitted by width": dict(
                zip(
                    map(str, widths),
                    by_seed(result, "widths", "width_unfitted", width_start="Gaussian").mean(
                        axis=0
                    ),
                    strict=True,
                )
            )
        },
    )


def width_regularises(result: xr.Dataset) -> Evidence:
    """Ask whether what wide networks converge to is the solution of least nuclear norm."""
    widths = result["width"].values
    excess = by_seed(result, "widths", "width_excess", width_start="Gaussian")
    left = by_seed(result, "widths", "width_left", width_start="Gaussian")
    return Evidence(
        {
            f"width {width}": below(excess[:, place], REGULARISED)
            for place, width in enumerate(widths)
        },
        headline=f"width {widths[-1]}",
        reason="half as many examples as inputs: nuclear norm over the least one, less 1; the start's "
        f"outputs on inputs that no example has stay: {np.mean(left[:, -1]):.0%} of ‖W‖_F at the "
        "largest width",
    )


def scale_of_start(result: xr.Dataset) -> Evidence:
    """Ask whether the tangent kernel moves less from small starts, as the document has it."""
    made: dict[str, Comparison] = {}
    if has(result, "diagonal"):
        moved = logs(by_seed(result, "diagonal", "diagonal_moved"))
        for row, truth in enumerate(TRUTHS):
            for column, depth in enumerate(DEPTHS):
                made[f"diagonal network, {truth} truth, D = {depth}"] = below(
                    moved[:, row, column, 0] - moved[:, row, column, -1], -RICHER
                )
    if has(result, "networks"):
        moved = logs(by_seed(result, "networks", "network_kernel"))
        made["ReLU network"] = below(moved[:, 0] - moved[:, -1], -RICHER)
    if not made:
        raise NotDecidable("needs diagonal or networks, which were not run")
    return Evidence(
        made,
        headline="ReLU network" if "ReLU network" in made else "",
        reason="decades by which the tangent kernel moves more, relative to its start, from the smallest "
               "scale than "
        "from the largest; the document says less",
        details=_starts(result),
    )  # fmt: skip


def _starts(result: xr.Dataset) -> dict[str, object]:
    found: dict[str, object] = {}
    if has(result, "diagonal"):
        excess = by_seed(result, "diagonal", "diagonal_excess")[:, 0, 0].mean(axis=0)
        alphas = result["alpha"].values
        found["l1 norm over the least, less 1, sparse truth, D = 2"] = {
            f"α = {alpha:g}": float(value) for alpha, value in zip(alphas, excess, strict=True)
        }
    if has(result, "networks"):
        moved = by_seed(result, "networks", "network_kernel").mean(axis=0)
        alphas = result["network_alpha"].values
        found["change of the kernel, ReLU network"] = {
            f"α = {alpha:g}": float(value) for alpha, value in zip(alphas, moved, strict=True)
        }
    return found


def preserves(result: xr.Dataset) -> Evidence:
    """Ask whether both starts that the document names preserve variance, either way."""
    return Evidence(
        _signals(result, ("lecun", "he")),
        headline="1/fan-in, linear, constant width, forward",
        reason="|change of the logarithm of the second moment by a layer|, of linear and ReLU networks",
    )


def glorot(result: xr.Dataset) -> Evidence:
    """Ask whether variance 1/fan-in is what 2/(fan-in + fan-out) is, forward and backward."""
    made = {}
    change = by_seed(result, "signals", "signal_change")
    for column, shape in enumerate(SHAPES):
        for place, way in enumerate(WAYS):
            gap = change[:, 0, 0, column, place] - change[:, 2, 0, column, place]
            made[f"{shape}, {way}"] = below(np.abs(gap), KEPT)
    return Evidence(made, reason="|difference of the changes by a layer|, linear networks")


def _signals(result: xr.Dataset, inits: tuple[str, ...]) -> dict[str, Comparison]:
    change = by_seed(result, "signals", "signal_change")
    names, made = list(INITS), {}
    for init in inits:
        for row, activation in enumerate(ACTIVATIONS[:2]):
            for column, shape in enumerate(SHAPES):
                for place, way in enumerate(WAYS):
                    values = change[:, names.index(init), row, column, place]
                    made[f"{INITS[init]}, {activation}, {shape}, {way}"] = near_zero_on_its_side(
                        values, KEPT
                    )
    return made


def near_zero_on_its_side(values: np.ndarray, boundary: float) -> Comparison:
    """Ask whether a mean over seeds lies within ± a boundary, by the side that it is nearer to.

    Unlike ``about_zero`` of all studies its interval is that of the signed mean, of which one end counts.
    """
    sign = 1.0 if np.nanmean(values) >= 0 else -1.0
    return below(sign * values, boundary)
