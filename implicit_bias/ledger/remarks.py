"""What a reader of a ledger must know of the runs behind it, beside each run's own words."""

from __future__ import annotations

from collections.abc import Sequence

import implicit_bias
from implicit_bias.ledger.ledger import Ledger, Row, size_of
from implicit_bias.ledger.registry import Entry


def remarks(ledger: Ledger, entries: Sequence[Entry]) -> tuple[str, ...]:
    """Say in a line each which rows come from other code, other settings or another criterion.

    Args:
        ledger: The ledger.
        entries: The statements asked for.

    Returns:
        One line a study and cause; empty for a ledger that this version made of its own configs.
    """
    known = {entry.id: entry for entry in entries}
    found: dict[tuple[str, str], list[str]] = {}
    for row in ledger.rows:
        if row.id in known:
            for cause in _causes(row, known[row.id]):
                found.setdefault((row.study, cause), []).append(row.id)
    return tuple(f"{study}: {cause} ({_named(ids)})" for (study, cause), ids in found.items())


def _causes(row: Row, entry: Entry) -> list[str]:
    causes = []
    version = row.run.get("version", implicit_bias.__version__)
    if version != implicit_bias.__version__:
        causes.append(f"run by version {version}; this is {implicit_bias.__version__}")
    if row.run and row.verdict != "not-decided":
        if not row.config:
            causes.append(
                "run with settings of its own, which are those of no config of this version"
            )
        elif size_of(entry, row.config) is None:
            causes.append(f"run with config {row.config}, which is not the one of any size")
    if row.criterion and row.criterion != entry.criterion:
        causes.append("judged by a criterion that is worded otherwise by now; merge the run itself")
    return causes


def _named(ids: Sequence[str]) -> str:
    return ", ".join(ids) if len(ids) <= 3 else f"{len(ids)} claims"
