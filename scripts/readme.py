"""Bring the README's table of verdicts up to date with the ledger files beside the configs.

``python scripts/readme.py``, after ``configs/*/results/*.ledger.json`` have changed.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from implicit_bias import ledger
from implicit_bias.cli.terminal import duration
from implicit_bias.ledger import Ledger
from implicit_bias.results.table import to_markdown

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- ledger: made by `python scripts/readme.py` -->", "<!-- end of ledger -->"


def ran(made: Ledger) -> str:
    """Say of a ledger's runs how many there are, and when, on what and for how long they ran."""
    runs = {(row.study, row.config): row.run for row in made.rows if row.config}
    seconds = sum(run.get("seconds", 0) for run in runs.values())
    days = sorted({run["date"] for run in runs.values() if "date" in run})
    machines = " or ".join(sorted({run["machine"] for run in runs.values() if "machine" in run}))
    others = sorted(
        {
            f"{row.study} ({row.config})"
            for row in made.rows
            if row.config and ledger.size_of(ledger.get(row.id), row.config) != "laptop"
        }
    )
    instead = (
        f"\nSome claims are judged by another config than that of their size: {', '.join(others)}."
        if others
        else ""
    )
    when = f"on {days[0]}" if len(days) == 1 else f"between {days[0]} and {days[-1]}"
    return (
        f"Verdicts of {len(runs)} runs of laptop size that come with the package, "
        f"{duration(seconds)} in all,\nbegun {when}; {machines}. The header of each config says more."
        f"{instead}"
    )


def summary(made: Ledger) -> str:
    """Return how many claims of each source have each verdict, as Markdown."""
    if not made.rows:
        return "No runs come with this version: `implicit-bias verify --scale laptop` makes them."
    table = dataclasses.replace(ledger.counts_table(made), caption="")
    return f"{ran(made)}\n\n{to_markdown(table)}"


def updated(text: str, made: Ledger) -> str:
    """Return the README with the table of a ledger between its two marks.

    Raises:
        ValueError: A mark is missing.
    """
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"README.md lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n{summary(made)}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(
        updated(README.read_text(encoding="utf-8"), ledger.shipped()), encoding="utf-8"
    )
