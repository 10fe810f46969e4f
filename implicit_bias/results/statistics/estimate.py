"""A number and the interval it comes with."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

PERCENT = (0.0, 100.0)
"""What a proportion in per cent can be."""

NOT_NEGATIVE = (0.0, math.inf)
"""What a loss, a norm or a barrier can be."""

UNBOUNDED = (-math.inf, math.inf)
"""What any number can be."""


@dataclass(frozen=True)
class Estimate:
    """A number and the interval it comes with.

    Attributes:
        value: The estimate; NaN if there was nothing to estimate from.
        low: Lower end of the interval, possibly −inf.
        high: Upper end, possibly +inf.
        n: Number of independent values (seeds, pairs, or points of a correlation) used.
        level: Coverage aimed at, between 0 and 1; for ``simultaneous``, of all intervals together.
        method: How the interval was made.
        excluded: Number of values or pairs left out because they were not usable.
        note: What a reader must know, such as why the interval is infinite; empty if nothing.
        low_open: The interval ends before ``low`` (see ``simultaneous``).
        high_open: The interval ends before ``high``.
    """

    value: float
    low: float
    high: float
    n: int
    level: float
    method: str
    excluded: int = 0
    note: str = ""
    low_open: bool = False
    high_open: bool = False

    def above(self, bound: float) -> bool:
        """Say whether the whole interval lies above a number.

        Args:
            bound: The number.

        Returns:
            Whether every point of the interval is greater than it.
        """
        return self.low > bound or (self.low_open and self.low == bound)

    def below(self, bound: float) -> bool:
        """Say whether the whole interval lies below a number.

        Args:
            bound: The number.

        Returns:
            Whether every point of the interval is less than it.
        """
        return self.high < bound or (self.high_open and self.high == bound)

    def within(self, bounds: tuple[float, float]) -> Estimate:
        """Cut the interval to what the quantity can be.

        Nothing that is possible is lost, so it covers as often as before.

        Args:
            bounds: The least and the largest possible value.

        Returns:
            The estimate. An infinite end stays: it says that nothing is known, not how far it goes.
        """
        low, high = bounds
        return replace(
            self,
            low=self.low if self.low == -math.inf else min(max(self.low, low), high),
            high=self.high if self.high == math.inf else max(min(self.high, high), low),
        )
