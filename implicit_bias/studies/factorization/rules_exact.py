"""Rules on formulas and laws of deep linear networks, which hold to rounding or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from implicit_bias import theory
from implicit_bias.results.claims import Evidence, Finding, NotDecidable, identity
from implicit_bias.studies.comparisons import below
from implicit_bias.studies.factorization.modes import STARTS, TARGETS
from implicit_bias.studies.rows import by_seed, seeds_of

if TYPE_CHECKING:
    import xarray as xr

ROUNDING = 1e-10
"""Relative error that rounding may cause in a gradient."""

INTEGRATED = 1e-5
"""Error, relative to the strongest mode, that integration may leave."""

EXPONENT = 0.25
"""Departure of an exponent between two scales from that of the limit."""

NEAR = 0.05
"""Relative excess or distance up to which a limit is reached."""


def layer_gradient(result: xr.Dataset) -> Finding:
    """Hold the formula, factors in the order of the product, against automatic derivatives."""
    return identity(
        by_seed(result, "gradients", "gradient_error"),
        ROUNDING,
        n_seeds=seeds_of(result).size,
        reason="with factors in the order in which the network multiplies them, W_L … W_{l+1} and W_{l−1} … "
               "W_1, "
        "as the document's own product of all layers has to be read",
    )  # fmt: skip


def ascending_gradient(result: xr.Dataset) -> Finding:
    """Hold the formula with factors from left to right against automatic derivatives."""
    off = by_seed(result, "gradients", "gradient_ascending")
    return identity(
        off,
        ROUNDING,
        n_seeds=seeds_of(result).size,
        reason="right for two layers alone, where no two factors meet",
        error_by_depth={
            str(depth): float(off[:, place].max())
            for place, depth in enumerate(result["gradient_depth"].values)
        },
    )


def balance(result: xr.Dataset) -> Finding:
    """Ask whether gradient flow keeps W_{l+1}ᵀW_{l+1} − W_lW_lᵀ."""
    return identity(
        by_seed(result, "gradients", "gradient_drift"), 1e-7, n_seeds=seeds_of(result).size
    )


def velocity(result: xr.Dataset) -> Finding:
    """Ask whether a balanced product's flow follows from the product alone."""
    return identity(
        by_seed(result, "gradients", "gradient_velocity"),
        ROUNDING,
        n_seeds=seeds_of(result).size,
        reason="from Gaussian layers, which are not balanced, it is off by "
        f"{by_seed(result, 'gradients', 'gradient_unbalanced').min():.2g} at least",
    )


def mode_law(result: xr.Dataset) -> Finding:
    """Hold singular values of networks from αI against their law, at every time and depth."""
    found = by_seed(result, "modes", "mode_value", mode_start=STARTS[0])
    law = by_seed(result, "modes", "mode_law")
    other = by_seed(result, "modes", "mode_value", mode_start=STARTS[1])
    return identity(
        np.abs(found - law).max(axis=(2, 3)) / TARGETS[0],
        INTEGRATED,
        n_seeds=seeds_of(result).size,
        reason="a symmetric positive target, whose singular vectors αI shares; from balanced layers that are "
        "turned at random modes wait longer, and values are off by up to "
        f"{np.abs(other - law).max():.2g}",
    )


def unseen_bound(result: xr.Dataset) -> Finding:
    """Ask whether the entry that is not seen stays above its bound wherever det W > 0."""
    entry = by_seed(result, "plane", "plane_entry")[:, :2]
    bound = theory.unseen_entry_bound(result["plane_loss"].values.astype(float))
    short = np.maximum(1 - entry / np.where(bound > 0, bound, np.nan), 0.0)
    known = np.isfinite(short)
    if not known.any():
        raise NotDecidable("no flow reached a loss at which the bound says anything")
    scaled = entry[..., -1] * np.sqrt(2 * float(result["plane_loss"].values[-1]))
    return identity(
        short[known],
        # Between two steps the matrix is interpolated, to second order in log loss.
        1e-3,
        n_seeds=seeds_of(result).size,
        reason="shortfall below (1 − e)²/e, e = √(2 loss); |W₁₁|·e at the least loss is "
        f"{np.nanmin(scaled):.3f} to {np.nanmax(scaled):.3f}",
    )


def limits(result: xr.Dataset) -> Evidence:
    """Ask whether limits for α → 0 and α → ∞ are those of least l1 and l2 norm, at their rates."""
    alphas = result["alpha"].values.astype(float)
    every = by_seed(result, "diagonal", "diagonal_excess")
    excess, sparse = every.mean(axis=1), every[:, 0]
    distance = by_seed(result, "diagonal", "diagonal_distance").mean(axis=1)
    # Below 1e-3 the excess with three layers is as small as what the solver leaves.
    small = np.flatnonzero((alphas > 0.9e-3) & (alphas < 1.1e-2))[:2]
    if small.size < 2 or alphas[-2] < 2.9:
        raise NotDecidable("needs two scales between 0.001 and 0.01 and two above 2.9")
    made = {}
    for column, depth in enumerate(result["diagonal_depth"].values):
        made[f"l1 excess at the least α, D = {depth}"] = below(excess[:, column, 0], NEAR)
        made[f"distance from X⁺y at the largest α, D = {depth}"] = below(
            distance[:, column, -1], NEAR
        )
        made[f"exponent −{2 * depth} of that distance, D = {depth}"] = below(
            np.abs(
                _slope(alphas, distance[:, column], alphas.size - 2, alphas.size - 1) + 2 * depth
            ),
            EXPONENT,
        )
    made["exponent 3 of the l1 excess, sparse truth, D = 3"] = below(
        np.abs(_slope(alphas, sparse[:, 1], *small) - 3), EXPONENT
    )
    slow = _slope(alphas, sparse[:, 0], 0, 1)
    dense = _slope(alphas, every[:, 1, 1], *small)
    return Evidence(
        made,
        headline="exponent 3 of the l1 excess, sparse truth, D = 3",
        reason="means over a sparse and a dense truth, relative; |departure| of exponents; with two layers "
        f"the exponent of the l1 excess is {slow.mean():.2f} at the smallest scales here; for dense "
        f"truths that with three is {dense.min():.2f} to {dense.max():.2f}, as small where the l1 "
        "problem's dual is nearly tight",
    )


def _slope(alphas: np.ndarray, values: np.ndarray, first: int, last: int) -> np.ndarray:
    """Return the exponent between two scales, by seed."""
    span = np.log(alphas[last] / alphas[first])
    return np.asarray(np.log(values[..., last] / values[..., first]) / span)


def potential(result: xr.Dataset) -> Finding:
    """Ask whether Woodworth's potential is no larger at the limit than at other solutions."""
    ratio = by_seed(result, "diagonal", "diagonal_potential")
    return identity(
        np.maximum(ratio - 1, 0.0),
        1e-6,
        n_seeds=seeds_of(result).size,
        reason=f"Q_α of the limit over that of X⁺y or of the l1 minimum, the lower: {ratio.min():.3f} to 1",
    )
