"""Bring the README's table of verdicts up to date with the ledger files beside the configs.

``python scripts/readme.py``, after ``configs/*/results/*.ledger.json`` have changed.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from implicit_bias import ledger
from implicit_bias.ledger import Ledger
from implicit_bias.results.table import to_markdown

README = Path(__file__).parents[1] / "README.md"
RAN = """Verdicts of the laptop runs that come with the package; the header of each config says when, on what
machine and for how long it ran:"""
BEGIN, END = "<!-- ledger: made by `python scripts/readme.py` -->", "<!-- end of ledger -->"


def summary(made: Ledger) -> str:
    """Return how many claims of each source have each verdict, as Markdown."""
    if not made.rows:
        return "No runs come with this version: `implicit-bias verify --scale laptop` makes them."
    table = dataclasses.replace(ledger.counts_table(made), caption="")
    return f"{RAN}\n\n{to_markdown(table)}"


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
