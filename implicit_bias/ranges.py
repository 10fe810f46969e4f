"""Traced settings, of optimisers, schedules and models: name, default and permitted range."""

from __future__ import annotations

import math
from dataclasses import dataclass

from implicit_bias.errors import UserError


@dataclass(frozen=True)
class Setting:
    """One traced number.

    Attributes:
        name: Key in a lane's settings.
        default: Value when none is given.
        minimum: Smallest value.
        maximum: Largest value.
        includes_minimum: Whether the smallest value itself is allowed.
        includes_maximum: Whether the largest value itself is allowed.
    """

    name: str
    default: float
    minimum: float = -math.inf
    maximum: float = math.inf
    includes_minimum: bool = True
    includes_maximum: bool = True

    def check(self, value: object) -> None:
        """Check a concrete number.

        Raises:
            UserError: When it is no finite number, or lies outside the range.
        """
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        above = number >= self.minimum if self.includes_minimum else number > self.minimum
        below = number <= self.maximum if self.includes_maximum else number < self.maximum
        if isinstance(value, bool) or not (above and below and math.isfinite(number)):
            raise UserError(f"{self.name} is {value!r}; choose a finite number {self._allowed()}")

    def _allowed(self) -> str:
        bounds = []
        if math.isfinite(self.minimum):
            bounds.append(f"{'>=' if self.includes_minimum else '>'} {self.minimum:g}")
        if math.isfinite(self.maximum):
            bounds.append(f"{'<=' if self.includes_maximum else '<'} {self.maximum:g}")
        return " and ".join(bounds)
