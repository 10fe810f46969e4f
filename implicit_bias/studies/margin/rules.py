"""Rules of the margin study's claims, with the smallest effects that matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.results.claims import Evidence, Finding, NotDecidable, identity
from implicit_bias.results.statistics import Comparison
from implicit_bias.studies.comparisons import above, below, mean_ends
from implicit_bias.studies.margin.checkpoints import GAINS
from implicit_bias.studies.margin.flows import FLOW_LOSSES, STARTS
from implicit_bias.studies.rows import by_seed, exponents
from implicit_bias.theory.margin import NORMS

if TYPE_CHECKING:
    import xarray as xr

REACHED = 9.0
"""Decimal logarithm of the time from which rates are fitted."""

CLOSE = 0.5
"""Degrees below which a direction counts as that of the hard margin, at the last time."""

LAST_GAP = 0.01
"""Relative distance of the margin from the largest, below which it counts as the largest."""

LIKE_LOG = -0.5
"""Exponent in log t up to which something counts as falling with it; what is left of the start bends fits."""

ELSEWHERE = 1.0
"""Degrees between limits from which a start counts as leading elsewhere."""

LAW = 1e-2
"""Relative error of the law allowed at t = 10⁹."""

LAW_LAST = 1e-6
"""The same at the last time, 10³⁰ or later: what remains is the integrator's error."""

ONE_LOG = 0.02
"""Departure from one of γ d‖w‖/d log t and of −d log loss/d log t that is allowed."""

SAME_PATH = 1e-3
"""Distance of gradient descent from gradient flow, relative to the weights, that is allowed at the end."""

LOG_LOG = 0.05
"""Departure from one of the slope against log log t that is allowed."""

PACE_OFF = 0.1
"""Departure of an exponent in the number of steps that is allowed."""

MATCHED = 0.95
"""Share of the largest margin of its norm that steepest descent must reach."""

BETTER = 0.01
"""By how much it must exceed the other descents' in that norm."""

FALLS = 1e-6
"""Fall of the smoothed margin in a step, relative, that rounding and discrete steps may cause."""

MOVES = 0.25
"""Share of a margin's rise, in logarithms, that the distance to the boundary must have."""


def times_of(result: xr.Dataset) -> np.ndarray:
    """Return the decimal logarithms of the times, (times,)."""
    times: np.ndarray = result["decade"].values.astype(float)
    return times


def place_of(result: xr.Dataset, decade: float) -> int:
    """Return where a time stands."""
    return int(np.argmin(np.abs(times_of(result) - decade)))


def late(result: xr.Dataset) -> np.ndarray:
    """Say which times rates are fitted to.

    Raises:
        NotDecidable: There are too few beyond 10⁹.
    """
    chosen: np.ndarray = times_of(result) >= REACHED
    if chosen.sum() < 3 or times_of(result)[-1] < 10 * REACHED:
        raise NotDecidable(
            "rates in log t are fitted from 10⁹ to at least 10⁹⁰; choose a larger horizon"
        )
    return chosen


def reaches_hard_margin(result: xr.Dataset) -> Evidence:
    """Ask whether descent's direction becomes that of the hard margin, from starts at and near the origin."""
    chosen = late(result)
    logs, at = times_of(result)[chosen], place_of(result, REACHED)
    made: dict[str, Comparison] = {}
    details: dict[str, Any] = {}
    for loss in FLOW_LOSSES:
        angle = worst(result, "flow_angle", loss, ("zero", "near"))
        made[f"angle, {loss} loss"] = below(angle[:, -1], CLOSE)
        made[f"exponent in log t, {loss} loss"] = below(exponents(logs, angle[:, chosen]), LIKE_LOG)
        details[f"{loss} loss"] = mean_ends(angle[:, at])
    return Evidence(
        made,
        reason=f"degrees at t = {power(times_of(result)[-1])}, the larger of both starts",
        details={"degrees at t = 10⁹": details},
    )


def from_any_start(result: xr.Dataset) -> Evidence:
    """Ask whether far starts lead to another direction."""
    comparisons = {
        f"{loss} loss": above(
            worst(result, "flow_apart", loss, ("far", "opposed"))[:, -1], ELSEWHERE
        )
        for loss in FLOW_LOSSES
    }
    at = place_of(result, REACHED)
    return Evidence(
        comparisons,
        reason=f"t = {power(times_of(result)[-1])}, the larger of both starts",
        details={
            "degrees apart at t = 10⁹": {
                f"{loss}, {start}": mean_ends(
                    by_seed(result, "flow", "flow_apart", flow_loss=loss, start=start)[:, at]
                )
                for loss in FLOW_LOSSES
                for start in ("far", "opposed")
            },
            "angle to the hard margin, far starts": {
                f"{loss}, {start}": mean_ends(
                    by_seed(result, "flow", "flow_angle", flow_loss=loss, start=start)[:, -1]
                )
                for loss in FLOW_LOSSES
                for start in ("far", "opposed")
            },
        },
    )


def maximises_margin(result: xr.Dataset) -> Evidence:
    """Ask whether the margin tends to the largest, from every start and under both losses."""
    made: dict[str, Comparison] = {}
    chosen = late(result)
    logs = times_of(result)[chosen]
    for loss in FLOW_LOSSES:
        gap = worst(result, "flow_gap", loss, tuple(STARTS))
        made[f"1 − margin/γ, {loss} loss"] = below(gap[:, -1], LAST_GAP)
        made[f"its exponent in log t, {loss} loss"] = below(
            exponents(logs, gap[:, chosen]), LIKE_LOG
        )
    rate = by_seed(result, "flow", "flow_gap_rate")
    last = by_seed(result, "flow", "flow_gap", flow_loss="logistic", start="zero")[:, -1]
    return Evidence(
        made,
        reason=f"at t = {power(times_of(result)[-1])}, the largest of all starts",
        details={
            "gap · log t at the last time": mean_ends(last * np.log(10) * times_of(result)[-1]),
            "its limit by theory": mean_ends(rate),
        },
    )


def law_with_constants(result: xr.Dataset) -> Finding:
    """Hold w at t = 10⁹ against ŵ log t + w̃, on data of chosen solutions."""
    left = np.stack(
        [by_seed(result, "law", "law_left", flow_loss=loss) for loss in FLOW_LOSSES], axis=1
    )
    at = place_of(result, REACHED)
    finding = identity(
        left[:, :, at], LAW, n_seeds=int(np.isfinite(left[:, 0, at]).sum()),
        reason=f"‖w − ŵ log t − w̃‖/‖w̃‖ at t = 10⁹; at {power(times_of(result)[-1])} at most "
        f"{np.nanmax(left[:, :, -1]):.1g}",
        solver=float(np.nanmax(by_seed(result, "law", "law_solver"))),
    )  # fmt: skip
    if times_of(result)[-1] >= 30 and np.nanmax(left[:, :, -1]) > LAW_LAST:
        return identity(
            left[:, :, -1], LAW_LAST, n_seeds=finding.n_seeds, reason="at the last time"
        )
    return finding


def rates_with_constants(result: xr.Dataset) -> Finding:
    """Hold angle · log t and gap · log t against their limits, at the last time."""
    errors = []
    for kind in ("angle", "gap"):
        limit = by_seed(result, "law", f"law_{kind}_rate")
        for loss in FLOW_LOSSES:
            found = by_seed(result, "law", f"law_{kind}", flow_loss=loss)[:, -1]
            errors.append(found / limit - 1)
    # The next order is 1/log t beside the constant's own.
    allowed = 10 / (np.log(10) * times_of(result)[-1])
    return identity(
        np.asarray(errors), allowed, n_seeds=len(errors[0]),
        reason=f"relative, at t = {power(times_of(result)[-1])}; the next order is 1/log t",
    )  # fmt: skip


def grows_like_log(result: xr.Dataset) -> Finding:
    """Hold γ d‖w‖/d log t and −d log(loss)/d log t against one, from 10⁹ on."""
    chosen = late(result)
    logs = np.log(10) * times_of(result)[chosen]
    gamma = by_seed(result, "flow", "flow_margin")
    errors = []
    for loss in FLOW_LOSSES:
        norm = by_seed(result, "flow", "flow_norm", flow_loss=loss, start="zero")[:, chosen]
        depth = by_seed(result, "flow", "flow_log_loss", flow_loss=loss, start="zero")[:, chosen]
        errors += [gamma * _slopes(logs, norm) - 1, -_slopes(logs, depth) - 1]
    return identity(
        np.asarray(errors), ONE_LOG, n_seeds=len(gamma),
        reason="weights grow like log t/γ and the loss falls like 1/t",
    )  # fmt: skip


def degenerate_grows(result: xr.Dataset) -> Finding:
    """Hold the growth where a support vector does not push against log log t."""
    chosen = late(result)
    twice = np.log(np.log(10) * times_of(result)[chosen])
    errors = [
        _slopes(
            twice, by_seed(result, "degenerate", "degenerate_across", flow_loss=loss)[:, chosen]
        )
        - 1
        for loss in FLOW_LOSSES
    ]
    multiplier = by_seed(result, "degenerate", "degenerate_multiplier")
    return identity(
        np.asarray(errors), LOG_LOG, n_seeds=len(errors[0]),
        reason="slope against log log t, less one; without a limit of w − ŵ log t, the direction still "
        "converges",
        smallest_multiplier=float(np.nanmax(multiplier)),
    )  # fmt: skip


def same_path(result: xr.Dataset) -> Finding:
    """Hold gradient descent, every step taken, against gradient flow."""
    off = by_seed(result, "steps", "steps_off")
    count = int(result["steps"].values[-1])
    angle = by_seed(result, "steps", "steps_angle_off")[:, -1]
    return identity(
        off[:, -1], SAME_PATH, n_seeds=len(off),
        reason=f"‖w of descent − w of flow‖/‖w of flow‖ after {count:,} steps",
        by_steps={str(k): float(np.nanmax(off[:, i])) for i, k in enumerate(result["steps"].values)},
        angle=float(np.nanmax(np.abs(angle))),
    )  # fmt: skip


def paces(result: xr.Dataset) -> Evidence:
    """Hold the exponents of the margin's gap in steps against −1 and −1/2."""
    steps = result["pace_steps"].values.astype(float)
    kept = steps >= steps[-1] / 30
    made = {}
    for name, expected in (("normalised, c", -1.0), ("normalised, c/√k", -0.5)):
        found = exponents(steps[kept], by_seed(result, "pace", "pace_gap", pace=name)[:, kept])
        made[f"{name}: |exponent + {-expected:g}|"] = below(np.abs(found - expected), PACE_OFF)
    plain = exponents(
        steps[kept], by_seed(result, "pace", "pace_gap", pace="gradient descent")[:, kept]
    )
    return Evidence(
        made,
        reason=f"fitted from {steps[kept][0]:,.0f} to {steps[-1]:,.0f} steps",
        details={"exponent of gradient descent there, which is 1/log": mean_ends(plain)},
    )


def geometry_decides(result: xr.Dataset) -> Evidence:
    """Ask whether each steepest descent has the largest margin of its own norm, and others have not."""
    last = {
        (descent, norm): by_seed(result, "steepest", "steepest_ratio", descent=descent, norm=norm)[:, -1]
        for descent in NORMS
        for norm in NORMS
    }  # fmt: skip
    made = {
        f"descent in {NAMES[norm]}: share of its margin": above(last[norm, norm], MATCHED)
        for norm in NORMS
    }
    for norm in NORMS:
        for other in NORMS:
            if other != norm:
                made[f"{NAMES[norm]} margin: own less descent in {NAMES[other]}"] = above(
                    last[norm, norm] - last[other, norm], BETTER
                )
    return Evidence(made)


NAMES = {"l1": "ℓ1", "l2": "ℓ2", "linf": "ℓ∞"}
"""Norms as they are written."""


def network_margin_rises(result: xr.Dataset) -> Finding:
    """Ask whether the smoothed normalised margin of networks ever falls, once the loss is below one."""
    fall = by_seed(result, "networks", "network_fall")
    # The theorem says nothing of a network whose loss stays above one, such as one that is stuck.
    covered = by_seed(result, "networks", "network_smoothed")[..., -1] > 0
    if covered.mean() < 0.5:
        raise NotDecidable("most networks' losses have not fallen below one; take more steps")
    alignment = by_seed(result, "networks", "network_alignment")[..., -1]
    return identity(
        fall[covered], FALLS, n_seeds=int(covered.any(axis=1).sum()),
        reason=f"largest fall in a step over the last value; {covered.sum()} of {covered.size} networks, "
        "whose loss falls below one",
        alignment_median=float(np.median(alignment[covered])),
    )  # fmt: skip


def margin_means_distance(result: xr.Dataset) -> Evidence:
    """Ask whether a rise of the margin comes with a boundary that is further away."""
    made = {}
    for kind in GAINS:
        for who, stage, name in (
            ("linear", "checkpoints", "linear_share"),
            ("network", "networks", "network_share"),
        ):
            made[f"{who}, {kind}"] = above(by_seed(result, stage, name, gain=kind), MOVES)
    return Evidence(
        made,
        headline="linear, margin from 0.12 to 0.21",
        details={
            "share where all weights are multiplied by 1.75": mean_ends(
                by_seed(result, "checkpoints", "linear_scaled")
            ),
            "factor of the distance, linear": {
                kind: mean_ends(by_seed(result, "checkpoints", "linear_rise", gain=kind))
                for kind in GAINS
            },
        },
    )


def gain_is_75(result: xr.Dataset) -> Finding:
    """Check the worked arithmetic on a classifier whose weights are multiplied by 0.21/0.12."""
    gain = by_seed(result, "checkpoints", "linear_gain")
    return identity(
        gain - 0.75, 1e-9, n_seeds=len(gain),
        reason="(0.21 − 0.12)/0.12 = 0.75, also where all weights are multiplied by 0.21/0.12 and no "
        "boundary moves",
    )  # fmt: skip


def worst(result: xr.Dataset, name: str, loss: str, starts: tuple[str, ...]) -> np.ndarray:
    """Return the largest value over starts, (seeds, times)."""
    each = [by_seed(result, "flow", name, flow_loss=loss, start=start) for start in starts]
    found: np.ndarray = np.max(each, axis=0)
    return found


def _slopes(x: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return least-squares slopes of each row against x."""
    across = x - x.mean()
    slopes: np.ndarray = table @ across / np.sum(across**2)
    return slopes


def power(decade: float) -> str:
    """Write a power of ten."""
    return "10" + f"{decade:g}".translate(str.maketrans("0123456789.", "⁰¹²³⁴⁵⁶⁷⁸⁹·"))
