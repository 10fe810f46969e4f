"""Identities whose error is a mean over seeds of something simulated: what chance makes of them.

Where the identity is exact, the mean of ``n`` seeds is off by its standard error times the root of an F
variable with ``d`` and ``d(n − 1)`` degrees of freedom: Student's t where ``d`` is one, and the pooled
entries of a covariance otherwise. If that alone reaches the tolerance, an error beyond it says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from implicit_bias.results.claims import Finding, NotDecidable, identity

LEVEL = 0.05
"""Probability, over all parts of an identity together, with which chance may make more of an error."""

MOST_SEEDS = 100_000
"""Beyond which no number of seeds is named."""


class Sampled(NamedTuple):
    """An error and its chance.

    Attributes:
        error: Of the mean over seeds.
        spread: Its standard error; NaN of one seed.
        seeds: How many it is of.
        parts: d, entries of equal variance that the error is the root mean square of.
    """

    error: float
    spread: float
    seeds: int
    parts: int = 1


def sampled(values: np.ndarray) -> list[Sampled]:
    """Return means over seeds of what should be zero.

    Args:
        values: Shape (seeds, …); NaN where a seed is missing.
    """
    found = []
    for column in values.reshape(len(values), -1).T:
        kept = column[np.isfinite(column)]
        spread = kept.std(ddof=1) / np.sqrt(kept.size) if kept.size > 1 else np.nan
        found.append(Sampled(float(kept.mean()) if kept.size else np.nan, float(spread), kept.size))
    return found


def reach(part: Sampled, seeds: int, among: int) -> float:
    """Return what chance makes of an error at a number of seeds, but with probability LEVEL/among."""
    from scipy import stats

    if seeds < 2:
        return float("inf")
    factor = stats.f.ppf(1 - LEVEL / among, part.parts, part.parts * (seeds - 1))
    return float(part.spread * np.sqrt(part.seeds / seeds * factor))


def sampled_identity(
    found: Mapping[str, Sampled] | list[Sampled], tolerance: float, *, reason: str, **details: Any
) -> Finding:
    """Judge an identity by errors that have a sampling error.

    Args:
        found: Errors of its parts, of which the largest counts.
        tolerance: What is allowed.
        reason: For the reader.
        **details: Further values.

    Raises:
        NotDecidable: At this many seeds chance alone reaches the tolerance, and no error lies beyond both.
    """
    parts = list(found.values()) if isinstance(found, Mapping) else list(found)
    seeds = min((part.seeds for part in parts), default=0)
    chance = [reach(part, part.seeds, len(parts)) for part in parts]
    beyond = [
        abs(part.error) - (more if np.isfinite(more) else np.inf) > tolerance
        for part, more in zip(parts, chance, strict=True)
    ]
    worst = max(chance, default=float("inf"))
    if not worst <= tolerance and not any(beyond):
        raise NotDecidable(_too_few(parts, seeds, worst, tolerance))
    return identity(
        [part.error for part in parts], tolerance, n_seeds=seeds,
        reason=f"{reason}; chance alone makes an error of at most {worst:.2g} ({100 * (1 - LEVEL):g} %)",
        **details,
    )  # fmt: skip


def _too_few(parts: list[Sampled], seeds: int, worst: float, tolerance: float) -> str:
    if not np.isfinite(worst):
        return f"{seeds} seed(s) do not tell what chance makes of the error; run at least 2"
    low, high = seeds, MOST_SEEDS

    def enough(count: int) -> bool:
        return all(reach(part, count, len(parts)) <= tolerance for part in parts)

    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return (
        f"at {seeds} seeds chance alone may make an error of {worst:.2g}, and {tolerance:g} is allowed; "
        f"about {high} seeds would do"
    )
