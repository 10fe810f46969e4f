"""Where a curve of test errors descends, climbs and descends again.

A place that is chosen as the highest of several is higher than it deserves. Differences between places are
therefore measured crosswise: the places of a seed are chosen on the mean curve of all other seeds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

WEIGHTS = (0.25, 0.5, 0.25)
"""Of a position's left neighbour, itself and its right neighbour in a smoothed curve."""


class Climb(NamedTuple):
    """Two positions of a curve: its first minimum, and the peak after it; equal where nothing climbs."""

    low: int
    peak: int


def smoothed(curve: np.ndarray) -> np.ndarray:
    """Average each position with its neighbours; at the ends the missing one counts for nothing.

    Args:
        curve: Shape (..., positions), of which at least two.
    """
    left, own, right = WEIGHTS
    padded = np.pad(curve, [(0, 0)] * (curve.ndim - 1) + [(1, 1)])
    there = np.pad(np.ones(curve.shape[-1]), 1)
    sums = left * padded[..., :-2] + own * curve + right * padded[..., 2:]
    found: np.ndarray = sums / (left * there[:-2] + own + right * there[2:])
    return found


def climb(curve: np.ndarray) -> Climb:
    """Find the peak: where a curve stands highest above the least it was before.

    Args:
        curve: Shape (positions,).

    Returns:
        The place of the least before the peak, and of the peak. Where the curve never climbs, both are the
        place of its least value.
    """
    above = curve - np.minimum.accumulate(curve)
    peak = int(np.argmax(above))
    if not above[peak] > 0:
        peak = int(np.argmin(curve))
    return Climb(int(np.argmin(curve[: peak + 1])), peak)


def peaks(curves: np.ndarray) -> np.ndarray:
    """Return where each seed's smoothed curve has its peak, as a float; NaN where it has none inside.

    A peak at the last position is none: what comes after it was not measured.

    Args:
        curves: Shape (seeds, positions); a seed that lacks a position has no peak.
    """
    found = np.full(len(curves), np.nan)
    for seed, curve in enumerate(curves):
        if np.isfinite(curve).all():
            low, peak = climb(smoothed(curve))
            if low < peak < len(curve) - 1:
                found[seed] = peak
    return found


def crosswise(curves: np.ndarray, smooth: bool = True) -> list[Climb | None]:
    """Return for each seed the places chosen on the mean curve of all other seeds.

    Args:
        curves: Shape (seeds, positions).
        smooth: Whether that is smoothed, which makes sense where neighbours are close.

    Returns:
        By seed; None for a seed that lacks a position, or has no complete other.
    """
    complete = np.isfinite(curves).all(axis=1)
    made: list[Climb | None] = []
    for seed in range(len(curves)):
        others = complete.copy()
        others[seed] = False
        usable = complete[seed] and others.any()
        if not usable:
            made.append(None)
            continue
        mean = curves[others].mean(axis=0)
        made.append(climb(smoothed(mean) if smooth else mean))
    return made


def at(table: np.ndarray, places: list[int | None]) -> np.ndarray:
    """Take of each seed the values at its place.

    Args:
        table: Shape (seeds, positions, ...).
        places: By seed; None gives NaN.

    Returns:
        Shape (seeds, ...).
    """
    found = np.full((table.shape[0], *table.shape[2:]), np.nan)
    for seed, place in enumerate(places):
        if place is not None:
            found[seed] = table[seed, place]
    return found
