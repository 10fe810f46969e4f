"""Rules of the lottery-ticket study, with the smallest effects that matter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from implicit_bias.results.claims import Evidence, Finding, NotDecidable, identity
from implicit_bias.results.statistics import (
    Comparison,
    paired_difference,
    rank_correlation,
)
from implicit_bias.studies.comparisons import ends
from implicit_bias.studies.lottery_ticket.rows import (
    STABILITY,
    arms_of,
    at_levels,
    levels_of,
    of_arm,
    table_levels,
)
from implicit_bias.studies.rows import gap, require, seeds_of

if TYPE_CHECKING:
    import xarray as xr

CLAIMED = 0.1
"""Fraction of weights that the document speaks of."""

WITHIN = 1.15
"""Loss of accuracy that is published for it, in percentage points."""

BETTER = 0.25
"""Difference of test errors that matters, in percentage points."""

PUBLISHED = 3.0
"""The least gain over a control that is published, in percentage points; the most is 5."""

SMALLEST_CORRELATION = 0.3
"""A rank correlation matters from here on."""

FEWEST = 3
"""Levels through which ranks are worth their name, the dense network's among them."""


def _wrong(result: xr.Dataset, arm: str, level: float = CLAIMED) -> np.ndarray:
    return of_arm(result, arm, "test_wrong", level)


def ticket_keeps_up(result: xr.Dataset) -> Evidence:
    """Hold the ticket's test error against the dense network's, at the level of the document."""
    require(result, "dense", "ticket")
    dense = _wrong(result, "dense", 1.0)
    at = {
        f"{100 * level:.3g} %": ends(gap(_wrong(result, "ticket", float(level)), dense).estimate(0.95))
        for level in table_levels(result)[1:]
    }  # fmt: skip
    return Evidence(
        {"ticket − dense at 10 %": gap(_wrong(result, "ticket"), dense, 0.0, -1, WITHIN)},
        reason=lost(result),
        details={
            "loss of accuracy after all updates, points": at,
            "the same at 10 %, stopped early": _stopped(result, "ticket", "dense"),
        },
    )


def _stopped(result: xr.Dataset, first: str, second: str) -> list[float]:
    """Return the difference of test errors of two arms where each is stopped early, in points."""
    errors = [
        of_arm(result, arm, "stop_test_error", 1.0 if arm == "dense" else CLAIMED)
        for arm in (first, second)
    ]
    return ends(paired_difference(100 * errors[0], 100 * errors[1], 0.95))


def _beats(result: xr.Dataset, control: str) -> Evidence:
    """Hold a control's test error against the ticket's: more at all, and by what is published."""
    require(result, "ticket", control)
    other, ticket = _wrong(result, control), _wrong(result, "ticket")
    at = {
        f"{100 * level:.3g} %": ends(
            gap(
                _wrong(result, control, float(level)), _wrong(result, "ticket", float(level))
            ).estimate(0.95)
        )
        for level in levels_of(result, control)
    }
    return Evidence(
        {
            "better by what matters": gap(other, ticket, BETTER),
            "better by 3 points": gap(other, ticket, PUBLISHED),
        },
        headline="better by 3 points",
        reason=lost(result),
        details={
            "gain after all updates, points": at,
            "the same at 10 %, stopped early": _stopped(result, control, "ticket"),
        },
    )


def beats_random_mask(result: xr.Dataset) -> Evidence:
    """Hold the random mask against the ticket."""
    return _beats(result, "random")


def beats_magnitude_at_init(result: xr.Dataset) -> Evidence:
    """Hold the mask of the largest initial weights against the ticket."""
    return _beats(result, "magnitude-at-init")


def mask_or_start(result: xr.Dataset) -> Evidence:
    """Change the mask and keep the weights, change the weights and keep the mask."""
    require(result, "ticket", "reinit", "random-layerwise", "shuffled")
    ticket, fresh, random, shuffled = (
        _wrong(result, arm) for arm in ("ticket", "reinit", "random-layerwise", "shuffled")
    )
    return Evidence(
        {
            "another mask, original weights": gap(random, ticket, BETTER),
            "shuffled mask, original weights": gap(shuffled, ticket, BETTER),
            "another mask against the ticket's with fresh weights": gap(random, fresh, BETTER),
        },
        reason=lost(result),
        details={
            "fresh weights in the ticket's mask: error rises by, points": ends(
                gap(fresh, ticket).estimate(0.95)
            ),
            "stopped early": {
                arm: _stopped(result, arm, "ticket")
                for arm in ("reinit", "random-layerwise", "shuffled")
            },
        },
    )


def flatness_goes_with_accuracy(result: xr.Dataset) -> Evidence:
    """Correlate λmax with test error along pruning, by ranks within each seed and arm."""
    require(result, "dense", "ticket")
    comparisons, pairs = {}, {}
    for arm in arms_of(result):
        if arm == "dense" or levels_of(result, arm).size + 1 < FEWEST:
            continue
        levels, flatness = at_levels(result, arm, "lambda_max")
        error = at_levels(result, arm, "test_error")[1]
        seed = np.broadcast_to(seeds_of(result)[:, None], error.shape).ravel()
        comparisons[arm] = Comparison(
            rank_correlation(flatness.ravel(), error.ravel(), seed, clusters=seed),
            SMALLEST_CORRELATION,
            1,
        )
        middle = np.exp(np.nanmean(np.log(np.where(flatness > 0, flatness, np.nan)), axis=0))
        pairs[arm] = {
            f"{100 * level:.3g} %": [float(value), float(wrong)]
            for level, value, wrong in zip(
                levels, middle, 100 * np.nanmean(error, axis=0), strict=True
            )
        }
    if "ticket" not in comparisons:
        raise NotDecidable(
            f"the tickets have {levels_of(result, 'ticket').size} level(s), and ranks need {FEWEST} with the "
            "dense network's"
        )
    return Evidence(
        comparisons,
        headline="ticket",
        n_seeds=int(seeds_of(result).size),
        reason=lost(result),
        details={"λmax (geometric mean) and test error in %, by weights remaining": pairs},
    )


def masks_hold(result: xr.Dataset) -> Finding:
    """Ask whether pruned weights are zero after training, and as many are left as were asked for."""
    require(result, "dense")
    trained = np.isin(result["arm"].values, arms_of(result)) & ~result["diverged"].values
    level = result["level"].values.astype(float)[trained]
    left = result["weights_remaining"].values[trained]
    total = left[level == 1].max()
    escaped = result["weights_escaped"].values[trained]
    found = identity(
        left - level * total,
        1.0,
        n_seeds=int(seeds_of(result).size),
        runs=int(trained.sum()),
        pruned_weights_that_moved=float(escaped.sum()),
    )
    if escaped.any():
        return replace(found, verdict="refuted", reason="pruned weights moved")
    return found


def lost(result: xr.Dataset) -> str:
    """Say how many lanes diverged."""
    lanes = result["arm"].values != STABILITY
    gone = int((lanes & result["diverged"].values).sum())
    return f"{gone} of {int(lanes.sum())} lanes diverged, left out in pairs" if gone else ""
