"""Intervals that hold for all comparisons of a study at once, by Holm's procedure.

References:
    [H] S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6
    (1979). [G] O. Guilbaud, "Simultaneous confidence regions corresponding to Holm's step-down
    procedure and other closed-testing procedures", Biometrical Journal 50 (2008). [SB] K.
    Strassburger, F. Bretz, "Compatible simultaneous lower confidence bounds for the Holm procedure
    and other Bonferroni-based closed tests", Statistics in Medicine 27 (2008).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from implicit_bias.results.statistics.estimate import Estimate
from implicit_bias.results.statistics.intervals import check_level

Name = TypeVar("Name")


@dataclass(frozen=True)
class Comparison:
    """What one comparison says about a claim, at any level asked for.

    Attributes:
        estimate: Level to estimate with a two-sided, equal-tailed interval; a higher level must not
            give a narrower one.
        smallest_effect: The smallest effect that matters, ≥ 0, in the estimate's unit (0 for any
            effect).
        direction: +1 if the claim is that the effect exceeds ``origin + smallest_effect``; −1 if it
            is that the effect falls short of ``origin − smallest_effect``.
        origin: The value that means no effect: 0 for a difference, 1 for a ratio.
    """

    estimate: Callable[[float], Estimate]
    smallest_effect: float
    direction: int
    origin: float = 0.0

    def __post_init__(self) -> None:
        if self.direction not in (1, -1):
            raise ValueError(f"direction is {self.direction}; it must be +1 or -1")
        if not (math.isfinite(self.smallest_effect) and self.smallest_effect >= 0):
            raise ValueError(f"smallest_effect is {self.smallest_effect}; it must be 0 or more")

    @property
    def boundary(self) -> float:
        """The effect at which the claim begins to hold."""
        return self.origin + self.direction * self.smallest_effect


def simultaneous(
    comparisons: Mapping[Name, Comparison], alpha: float = 0.05
) -> dict[Name, Estimate]:
    """Make intervals that hold for all comparisons at once and agree with Holm's procedure.

    For comparison i let ψᵢ be the effect in the claimed direction and cᵢ its boundary. Two families
    of m one-sided hypotheses are tested, each by Holm's step-down [H] at α/2: "ψᵢ ≤ cᵢ" (rejected:
    supported) and "ψᵢ ≥ cᵢ" (rejected: refuted). While k of a family are unrejected, one is
    rejected if the bound at level 1 − α/(2k), which is the end of the two-sided interval at 1 −
    α/k, lies beyond cᵢ. So where all rejections go one way these are the decisions of Holm's
    procedure on two-sided p-values at α; otherwise it is more cautious, which is the price of
    concluding directions and not only "not equal".

    The bounds are those of [G] and [SB] that belong to this test. In each family: a rejected
    comparison's bound is cᵢ itself (the end is open); an unrejected one's is its one-sided bound at
    1 − α/(2k) for the k unrejected at the end; if all m are rejected, the bound at 1 − α/(2m) where
    that says more than cᵢ.

    Guaranteed, whatever the dependence between comparisons, if each one-sided bound covers as it
    says: with probability ≥ 1 − α all m intervals cover their effects; hence with probability ≥ 1 −
    α no comparison is supported or refuted wrongly; and an interval lies beyond (short of) its
    boundary if and only if Holm's test says supported (refuted). An interval that ends at its
    boundary does not say how far beyond the effect lies: the comparison's own interval,
    ``comparison.estimate(1 − α)``, does, for that one alone.

    Args:
        comparisons: The comparisons of one study, by name. All of them, decided beforehand: those
            that turned out dull as well.
        alpha: Probability of any wrong interval, between 0 and 1.

    Returns:
        Per comparison, its estimate with the simultaneous interval and ``level = 1 − alpha``.
    """
    check_level(1 - alpha)
    supported = _holm_bounds(comparisons, alpha, claimed=True)
    refuted = _holm_bounds(comparisons, alpha, claimed=False)
    made = {}
    for name, comparison in comparisons.items():
        own = comparison.estimate(1 - alpha)
        near, far = supported[name], refuted[name]  # ends towards "short of it" and "beyond it"
        low, high = (near, far) if comparison.direction == 1 else (far, near)
        made[name] = replace(
            own,
            low=low[0],
            high=high[0],
            low_open=low[1],
            high_open=high[1],
            level=1 - alpha,
            method=f"{own.method}; Holm over {len(comparisons)}",
        )
    return made


def _holm_bounds(
    comparisons: Mapping[Name, Comparison], alpha: float, *, claimed: bool
) -> dict[Name, tuple[float, bool]]:
    """Run one family of ``simultaneous``: each comparison's bound and whether it is open."""
    # A lower bound refutes "ψ ≤ c" of a claim upwards; signs turn the other cases into this one.
    sign = {n: c.direction if claimed else -c.direction for n, c in comparisons.items()}
    bounds: dict[tuple[Name, int], float] = {}

    def bound(name: Name, k: int) -> float:
        """One-sided lower bound, at 1 − alpha/(2k), of sign · effect."""
        if (name, k) not in bounds:
            made = comparisons[name].estimate(1 - alpha / k)
            bounds[name, k] = made.low if sign[name] == 1 else -made.high
        return bounds[name, k]

    start = {n: sign[n] * c.boundary for n, c in comparisons.items()}
    left = list(comparisons)
    while left:
        # All that pass at this k would pass one after another: later steps ask for less.
        still = [name for name in left if not bound(name, len(left)) > start[name]]
        if len(still) == len(left):
            break
        left = still

    result = {}
    for name in comparisons:
        if name in left:
            end, is_open = bound(name, len(left)), False
        else:
            informative = -math.inf if left else bound(name, len(comparisons))
            end = max(start[name], informative)
            is_open = end == start[name]
        result[name] = (sign[name] * end, is_open)
    return result
