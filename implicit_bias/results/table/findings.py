"""Findings as text, and tables of them: claim, verdict, effect, seeds, criterion."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from implicit_bias.results.table.numbers import format_estimate, format_number
from implicit_bias.results.table.record import field
from implicit_bias.results.table.rows import Align, Table, format_cell, make_table

_CUT = " …"


def verdict_table(
    findings: Iterable[Any], *, detailed: bool = False, longest: int | None = 90
) -> Table:
    """Tabulate findings: claim, verdict, effect with interval, seeds, criterion.

    Args:
        findings: Records (or mappings) with fields ``id``, ``kind``, ``verdict``, ``effect``,
            ``interval``, ``n_seeds``, ``criterion`` and, for the detailed form, ``published``.
        detailed: Add the published value.
        longest: Shorten verdicts' conditions and criteria to about so many characters, which a note
            says; None leaves them whole.

    Returns:
        The table; for identities and definitions the effect column shows the measured error and the
        range it must lie in.
    """
    columns = ["claim", "verdict", "effect [interval]", "seeds", "criterion"]
    align: list[Align] = ["left", "left", "right", "right", "left"]
    if detailed:
        columns.insert(3, "published")
        align.insert(3, "left")
    rows = []
    for finding in findings:
        row = [
            field(finding, "id"),
            _shorten(verdict_text(finding), longest),
            effect_text(finding),
            _count(field(finding, "n_seeds")),
            _shorten(field(finding, "criterion") or "–", longest),
        ]
        if detailed:
            row.insert(3, published_text(finding))
        rows.append(row)
    cut = any(str(cell).endswith(_CUT) for row in rows for cell in row)
    notes = ["…: the report has the whole text"] if cut else []
    return make_table(columns, rows, align=align, notes=notes)


def _shorten(text: str, longest: int | None) -> str:
    """Cut a text after a word."""
    if longest is None or len(text) <= longest:
        return text
    return text[:longest].rpartition(" ")[0].rstrip(" ,;:") + _CUT


def verdict_text(finding: Any) -> str:
    """Write a verdict together with its condition or reason, where it has one."""
    verdict = str(field(finding, "verdict"))
    why = field(finding, "condition") or field(finding, "reason")
    return f"{verdict}: {why}" if why else verdict


def effect_text(finding: Any) -> str:
    """Write a finding's effect with its interval, or an identity's error with its allowed range.

    Where the effect is that of one of several groups, ``details["of"]`` names it, and stands behind.
    """
    effect, interval = field(finding, "effect"), field(finding, "interval")
    if effect is None:
        return "–"
    if interval is not None:
        # JSON has no infinity: an end that is null there is unbounded.
        low = -math.inf if interval[0] is None else float(interval[0])
        high = math.inf if interval[1] is None else float(interval[1])
        interval = low, high
    unit = field(finding, "unit")
    unit = f" {unit}" if unit and unit != "1" else ""
    if _has_tolerance(finding, interval):
        number = f"{format_number(effect, digits=2)}{unit}"
        error = f"error {number}"
        if interval is None:
            return error
        if interval[1] == math.inf:  # not an error: a counterexample must differ by so much
            return f"{number} (needed ≥ {format_number(interval[0], digits=2)})"
        low_text, high_text = (format_number(bound, digits=2) for bound in interval)
        if interval[0] == -interval[1]:
            return f"{error} (allowed ±{high_text})"
        allowed = f"≤ {high_text}" if low <= 0 else f"{low_text} to {high_text}"
        return f"{error} (allowed {allowed})"
    details = field(finding, "details") or {}
    arm = (details.get("arms") or {}).get(details.get("headline"), {})
    boundary = arm.get("boundary", field(finding, "boundary"))  # an arm by itself knows its own
    text = format_estimate(effect, *(interval or (None, None)), margin=boundary)
    return f"{text}{unit} ({details['of']})" if "of" in details else f"{text}{unit}"


def _has_tolerance(finding: Any, interval: tuple[float, float] | None) -> bool:
    """Say whether a finding's interval is the range that an error must lie in."""
    kind = field(finding, "kind")
    if "arms" in (field(finding, "details") or {}):  # what was compared has an interval of its own
        return False
    if kind == "required-control" and interval is not None:
        # A control judged by its error has a range around zero.
        return interval[0] == -interval[1]
    return kind in ("identity", "definition")


def published_text(finding: Any) -> str:
    """Write the published value of a finding, or a dash where the source gives none."""
    published = field(finding, "published")
    if published in (None, ""):
        return "–"
    return f"{published:g}" if isinstance(published, float) else format_cell(published)


def _count(n_seeds: Any) -> str:
    return "–" if n_seeds is None else str(n_seeds)
