"""A number and the interval it comes with."""

from __future__ import annotations

from dataclasses import dataclass


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
