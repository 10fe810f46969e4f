"""What a row of the ledger must say, by the kind of its statement and its verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

from implicit_bias.ledger.ledger import NOT_RUN, Ledger, Row
from implicit_bias.ledger.registry import Entry


def lacking(entry: Entry, row: Row) -> tuple[str, ...]:
    """Say what a row lacks of what its kind and verdict demand.

    A verdict on a comparison needs the effect, its interval and the number of seeds; one on an identity or a
    definition the measured error and its tolerance; a conditional one the condition; and what is not decided
    the reason.

    Args:
        entry: The statement.
        row: What a run said of it.

    Returns:
        What is missing, in words; empty for a row that is whole.
    """
    if row.verdict == "not-decided":
        return () if row.reason.strip() else ("the reason why it is not decided",)
    exact = entry.kind in ("identity", "definition")
    effect, range_of = ("measured error", "tolerance") if exact else ("effect", "interval")
    missing = []
    if row.effect is None or not math.isfinite(row.effect):
        missing.append(f"the {effect}")
    if row.interval is None or row.interval == (None, None):
        missing.append(f"the {range_of}")
    if not exact and row.n_seeds < 1:
        missing.append("the number of seeds")
    if row.verdict == "conditional" and not row.condition.strip():
        missing.append("the condition")
    return tuple(missing)


def shortfalls(ledger: Ledger, entries: Sequence[Entry]) -> tuple[str, ...]:
    """Say in one line each what a ledger misses: studies that were not run, and rows that lack something.

    That a size cannot decide a statement is no shortfall.

    Args:
        ledger: The ledger.
        entries: The statements asked for.
    """
    rows = {row.id: row for row in ledger.rows}
    missed: dict[str, list[str]] = {}
    lines = []
    for entry in entries:
        row = rows.get(entry.id)
        if row is None:
            lines.append(f"{entry.id} has no row")
        elif row.verdict == "not-decided" and row.reason.startswith(NOT_RUN):
            missed.setdefault(row.reason.removeprefix(NOT_RUN), []).append(entry.study)
        elif missing := lacking(entry, row):
            lines.append(f"{entry.id} lacks {' and '.join(missing)}")
    return (*(_missed(studies, why) for why, studies in missed.items()), *lines)


def _missed(studies: Sequence[str], why: str) -> str:
    """Say what could not be run for one reason; a study is named once for all its statements."""
    names = list(dict.fromkeys(studies))
    were = f"{', '.join(names)} {'were' if len(names) > 1 else 'was'} not run"
    claims = f"{len(studies)} claim" + ("s" if len(studies) > 1 else "")
    return f"{were}, which leaves {claims} not decided: {why}"
