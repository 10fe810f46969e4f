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


def add_repeats(parser: argparse.ArgumentParser, default: int) -> None:
    """Declare ``--repeats``: how often runners take turns."""
    parser.add_argument(
        "--repeats",
        type=positive,
        default=default,
        help=f"turns of interleaved runs (default {default})",
    )


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Declare ``--precision`` of matrix products."""
    parser.add_argument(
        "--precision",
        choices=("float32", "tensorfloat32"),
        default="float32",
        help="of float32 matrix products on an accelerator, for all runners (default float32)",
    )


def interval(values: dict[str, float] | None, digits: int) -> str:
    """Return median, smallest and largest value as text; ``-`` where there is nothing."""
    if values is None:
        return "-"
    median, least, most = (f"{values[key]:.{digits}f}" for key in ("median", "min", "max"))
    return f"{median} ({least} to {most})"


def usage(row: dict[str, Any]) -> str:
    """Return the columns that tables of runners end with: set-up, memory, cores, and the loss reached."""
    memory = row["peak_device_memory_bytes"] or row["peak_memory_bytes"]
    return (
        f"{row['setup_seconds']:>5.1f} s {memory / 2**20:>5.0f} MB {row['cores_used']['median']:>5.2f} "
        f"{row['loss']:>6.3f}"
    )


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
