"""A table: rows of finished strings, made of cells of any kind."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from implicit_bias.errors import UserError
from implicit_bias.results.table.numbers import format_estimate, format_number
from implicit_bias.results.table.record import field

Align = Literal["left", "right"]


def words_then_numbers(words: int, numbers: int) -> list[Align]:
    """Return the alignment of a table whose first columns hold words and whose others hold numbers.

    Args:
        words: Columns on the left.
        numbers: Columns behind them.
    """
    left: list[Align] = ["left"] * words
    return left + ["right"] * numbers


@dataclass(frozen=True)
class Table:
    """Rows of finished strings under a header.

    Attributes:
        columns: Column heads.
        rows: One tuple of strings a row, each as long as ``columns``.
        align: ``"left"`` or ``"right"`` for each column. Left-aligned columns may be wrapped.
        caption: What the table shows, with units.
        notes: Lines below the table.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: tuple[Align, ...]
    caption: str = ""
    notes: tuple[str, ...] = ()


def make_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    align: Sequence[Align] | None = None,
    caption: str = "",
    notes: Sequence[str] = (),
) -> Table:
    """Build a table, formatting every cell.

    Args:
        columns: Column heads, units included.
        rows: Cells of any kind that ``format_cell`` knows.
        align: Alignment of each column; by default, columns that hold only numbers, estimates and
            missing values go to the right.
        caption: What the table shows.
        notes: Lines below the table.

    Returns:
        The table.

    Raises:
        UserError: A row is longer or shorter than the header.
    """
    kept = [tuple(row) for row in rows]
    for number, row in enumerate(kept):
        if len(row) != len(columns):
            raise UserError(
                f"row {number} of the table has {len(row)} cells, but there are {len(columns)} "
                "columns; give one cell a column"
            )
    sides: list[Align] = [
        "right" if kept and all(_is_numeric(row[column]) for row in kept) else "left"
        for column in range(len(columns))
    ]
    return Table(
        columns=tuple(_clean(column) for column in columns),
        rows=tuple(tuple(format_cell(cell) for cell in row) for row in kept),
        align=tuple(align or sides),
        caption=_clean(caption),
        notes=tuple(_clean(note) for note in notes),
    )


def format_cell(cell: Any) -> str:
    """Write one cell: an estimate, a number, a truth value, text, or nothing.

    Args:
        cell: Anything; records with an interval are written as estimates, None and NaN as ``n/a``.

    Returns:
        One string, without control characters other than line breaks.
    """
    if cell is None:
        return "n/a"
    if isinstance(cell, str):
        return _clean(cell)
    if _is_truth(cell):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return str(cell)
    if hasattr(cell, "__float__") and not getattr(cell, "shape", ()):
        return format_number(float(cell))
    if _is_estimate(cell):
        return format_estimate(cell)
    return _clean(str(cell))


def _clean(text: str) -> str:
    """Drop control characters (a data set's name must not be able to drive the terminal)."""
    return "".join(
        character
        for character in text.replace("\t", " ")
        if character == "\n" or not unicodedata.category(character).startswith("C")
    )


def _is_numeric(cell: Any) -> bool:
    if cell is None or isinstance(cell, str):
        return (
            cell in (None, "n/a", "diverged") or re.fullmatch(r"[\d\s.,()%+−-]+", cell) is not None
        )
    if _is_truth(cell):
        return False
    return hasattr(cell, "__float__") or _is_estimate(cell)


def _is_truth(cell: Any) -> bool:
    return isinstance(cell, bool) or type(cell).__name__ in ("bool", "bool_")


def _is_estimate(cell: Any) -> bool:
    return field(cell, "low") is not None or field(cell, "interval") is not None
