"""Where a run tells how far it is."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Where progress goes; the command prints it, a notebook may ignore it."""

    def begin(self, label: str, total: float, unit: str) -> None:
        """Start a bar."""

    def advance(self, done: float, note: str = "") -> None:
        """Set the bar to ``done`` of its total."""

    def end(self) -> None:
        """Finish the bar."""

    def say(self, line: str) -> None:
        """Show a line."""


class Silent:
    """A reporter that shows nothing."""

    def begin(self, label: str, total: float, unit: str) -> None:
        """Do nothing."""

    def advance(self, done: float, note: str = "") -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""
