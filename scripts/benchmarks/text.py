"""What the benchmarks read from the command line and print."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from benchmarks import machine


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def interval(values: dict[str, float] | None, digits: int) -> str:
    """Return median, smallest and largest value as text; ``-`` where there is nothing."""
    if values is None:
        return "-"
    median, least, most = (f"{values[key]:.{digits}f}" for key in ("median", "min", "max"))
    return f"{median} ({least} to {most})"


def announce(description: dict[str, Any]) -> str | None:
    """Print what is measured on, and warn of a busy machine; return the warning."""
    print(
        f"{description['processor']}, {description['cores']} core(s), "
        f"load before the start {description['load_before'][0]}"
    )
    print(", ".join(f"{k} {v}" for k, v in description["versions"].items() if v))
    warning = machine.warning(description)
    if warning:
        say(warning)
    return warning


def say(line: str) -> None:
    """Print a line for the person who waits, beside the tables."""
    print(line, file=sys.stderr, flush=True)
