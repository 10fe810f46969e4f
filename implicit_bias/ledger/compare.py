"""What changed between two ledgers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from implicit_bias.errors import UserError
from implicit_bias.ledger.ledger import Ledger, Row

What = Literal["verdict", "condition", "effect", "new", "gone"]


@dataclass(frozen=True)
class Change:
    """A statement on which two ledgers differ.

    Attributes:
        id: The statement.
        what: ``verdict`` changed; ``condition`` did, where the verdict is the same word for it; ``effect``
            did, so far that the intervals have nothing in common; or the statement is ``new``, or ``gone``.
        before: Its row in the first ledger.
        after: Its row in the second.
    """

    id: str
    what: What
    before: Row | None
    after: Row | None


def comparable(before: Ledger, after: Ledger) -> None:
    """Refuse ledgers of two sizes: what differs then is the sizes, and not what was changed between them.

    Ledgers put together of several sizes are taken as they are.

    Raises:
        UserError: Their sizes differ.
    """
    scales = before.scale, after.scale
    if "mixed" not in scales and scales[0] != scales[1]:
        raise UserError(
            f"the first ledger is of size {scales[0]} and the second of size {scales[1]}; compare two of one "
            "size, or let sizes differ with --across"
        )


def compare(before: Ledger, after: Ledger) -> tuple[Change, ...]:
    """Return what changed, in the order of the second ledger; what is gone comes last.

    Effects of which one has no interval are compared by value, as numbers of one program on one machine
    repeat exactly.

    Args:
        before: The first ledger.
        after: The second.
    """
    old = {row.id: row for row in before.rows}
    new = {row.id: row for row in after.rows}
    changes = []
    for id, row in new.items():
        previous = old.get(id)
        if previous is None:
            changes.append(Change(id, "new", None, row))
        elif previous.verdict != row.verdict:
            changes.append(Change(id, "verdict", previous, row))
        elif _where(previous) != _where(row):
            changes.append(Change(id, "condition", previous, row))
        elif _apart(previous, row):
            changes.append(Change(id, "effect", previous, row))
    gone = (Change(id, "gone", row, None) for id, row in old.items() if id not in new)
    return (*changes, *gone)


def _where(row: Row) -> object:
    """Return where a conditional verdict holds: by its comparisons, or else in its words."""
    if row.verdict != "conditional":
        return None
    return {arm: record.get("verdict") for arm, record in row.arms.items()} or row.condition


def _apart(one: Row, other: Row) -> bool:
    """Say whether two effects differ by more than their intervals allow."""
    if one.effect is None or other.effect is None:
        return one.effect != other.effect
    first, second = _ends(one), _ends(other)
    if first is None or second is None:
        return one.effect != other.effect
    return first[1] < second[0] or second[1] < first[0]


def _ends(row: Row) -> tuple[float, float] | None:
    """Return an interval's ends; JSON writes null for an end that has no bound."""
    if row.interval is None:
        return None
    low, high = row.interval
    return (-math.inf if low is None else low), (math.inf if high is None else high)
