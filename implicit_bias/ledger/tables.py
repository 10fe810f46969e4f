"""Ledgers, entries and changes as tables and words, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from implicit_bias.ledger.compare import Change
from implicit_bias.ledger.ledger import VERDICTS, Ledger, Row, size_of
from implicit_bias.ledger.registry import DOCUMENTS, Entry
from implicit_bias.ledger.shipped import caption
from implicit_bias.results.table import Table, effect_text, make_table, published_text

LONGEST = 90
"""Characters of a condition or reason in a row."""


def counts_table(ledger: Ledger) -> Table:
    """Tabulate how many statements of each document have each verdict."""
    rows: list[list[Any]] = []
    for document in DOCUMENTS:
        counts = ledger.counts(document)
        if sum(counts.values()):
            rows.append([document, sum(counts.values()), *counts.values()])
    if len(rows) > 1:
        counts = ledger.counts()
        rows.append(["all", sum(counts.values()), *counts.values()])
    heads = ["source", "claims", *(verdict.replace("-", " ") for verdict in VERDICTS)]
    return make_table(heads, rows, caption="Verdicts on the documents' positions")


def ledger_table(ledger: Ledger, entries: dict[str, Entry]) -> Table:
    """Tabulate a ledger, a row a statement.

    Args:
        ledger: The ledger.
        entries: The registry's entries, by id.
    """
    rows = [
        [
            row.id,
            verdict_words(row),
            shown_effect(row, entries[row.id]),
            published_text(entries[row.id]),
            row.n_seeds or None,
            row.study,
        ]
        for row in ledger.rows
        if row.id in entries
    ]
    heads = ["claim", "verdict", "ours [interval]", "published", "seeds", "study"]
    return make_table(heads, rows, align=["left", "left", "right", "left", "right", "left"])


def changes_table(changes: Sequence[Change]) -> Table:
    """Tabulate what changed between two ledgers."""
    rows = [
        [change.id, change.what, _side(change.before), _side(change.after)] for change in changes
    ]
    return make_table(["claim", "what", "before", "after"], rows, align=["left"] * 4)


def verdict_words(row: Row, longest: int | None = LONGEST) -> str:
    """Return a row's verdict with its condition or reason, cut after about so many characters."""
    why = row.condition or row.reason
    if row.verdict == "not-decided":
        return f"not-decided ({_cut(row.reason, longest)})"
    if row.verdict == "conditional":
        return f"conditional: {_cut(why, longest)}"
    return row.verdict


def shown_effect(row: Row, entry: Entry) -> str:
    """Return a row's effect with its interval, or its error with what is allowed."""
    given = {"effect": row.effect, "interval": row.interval, "unit": row.unit, "kind": entry.kind}
    return effect_text(given | _details(row))


def arms_table(row: Row) -> Table:
    """Tabulate the comparisons behind a row's verdict."""
    lines = [
        [arm, str(record["verdict"]).replace("-", " "), effect_text(record), record.get("n")]
        for arm, record in row.arms.items()
    ]
    return make_table(["comparison", "verdict", "effect [interval]", "seeds"], lines)


def shown_comparison(row: Row) -> str:
    """Return the name of the comparison whose effect a row shows; empty where it has one, or none is it."""
    own = row.effect, list(row.interval or (None, None))
    return next(
        (
            arm
            for arm, record in row.arms.items()
            if (record.get("effect"), list(record.get("interval") or (None, None))) == own
        ),
        "",
    )


def explanation(entry: Entry, row: Row | None) -> list[tuple[str, str]]:
    """Return all that is known of a statement, as pairs of a heading and a text.

    Args:
        entry: The statement.
        row: What a ledger says of it; None without one.
    """
    published = published_text(entry)
    smallest = (
        "" if entry.smallest_effect is None
        else f"; smallest effect that matters: {entry.smallest_effect:g}"
        + (f" {entry.unit}" if entry.unit != "1" else "")
    )  # fmt: skip
    told = [
        ("claim", entry.sentence),
        ("source", f"{entry.place} ({DOCUMENTS[entry.document]})"),
        ("published", published),
        ("kind", entry.kind),
        ("criterion", entry.criterion + smallest),
        ("study", _where(entry)),
    ]
    if row is not None:
        arm = shown_comparison(row)
        several = len(row.arms) > 1
        measured = shown_effect(row, entry) + (f" ({arm})" if arm and several else "")
        told += [("verdict", verdict_words(row, None)), ("measured", measured)]
        if row.n_seeds:
            told.append(("seeds", str(row.n_seeds)))
        if row.reason and row.verdict != "not-decided":
            told.append(("remarks", row.reason))
        if row.config:
            other = "" if size_of(entry, row.config) else ", which is not that of any size"
            told.append(
                ("config", f"configs/{row.study.replace('-', '_')}/{row.config}.yaml{other}")
            )
        elif row.run:
            told.append(("config", "none of this version: the run had settings of its own"))
        if row.criterion and row.criterion != entry.criterion:
            told.append(("judged by", f"{row.criterion} (the criterion above is another by now)"))
        told += [(f"also {id}", verdict) for id, verdict in row.follow_ups.items()]
    if entry.figure:
        told.append(("figure", f"{entry.figure}: {caption(entry.study, entry.figure)}"))
    told.append(("would flip", entry.flips))
    told += [("reference", text) for text in entry.literature]
    return [(head, text) for head, text in told if text]


def _where(entry: Entry) -> str:
    if entry.decided_from is None:
        return f"{entry.study}; no size decides it: it needs {entry.needs}"
    configs = ", ".join(
        scale if name == scale else f"{scale} ({name}.yaml)"
        for scale, name in entry.configs.items()
    )
    return f"{entry.study}; configs: {configs}; decided from {entry.decided_from} on"


def _side(row: Row | None) -> str:
    if row is None:
        return "–"
    given = {"effect": row.effect, "interval": row.interval, "unit": row.unit}
    return f"{row.verdict}, {effect_text(given | _details(row))}"


def _details(row: Row) -> dict[str, Any]:
    """Return what decides how many digits are shown: no end is rounded past its boundary."""
    return {"details": {"arms": row.arms, "headline": shown_comparison(row)}} if row.arms else {}


def _cut(text: str, longest: int | None) -> str:
    if longest is None or len(text) <= longest:
        return text
    return text[:longest].rpartition(" ")[0].rstrip(" ,;:") + " …"
