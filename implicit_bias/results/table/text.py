"""A table as plain text for a terminal: columns that fit, wrapped, cut into blocks or stacked."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from implicit_bias.results.table.rows import Align, Table
from implicit_bias.results.table.words import display_width, longest_word, plain, wrap

_GAP = 2

_NARROWEST, _LONG_WORD = 10, 16


def to_text(table: Table, *, width: int | None = None, encoding: str | None = "utf-8") -> str:
    """Lay a table out for a terminal.

    Columns are aligned; text columns are wrapped, the widest first, until the table fits. Numbers
    are never broken, at most put below one another. Where even that is not enough, a table of
    numbers is cut into several, one below the other, that repeat the columns which name a row; in
    a table of text each row becomes a short list of ``head: value`` lines.

    Args:
        table: The table.
        width: Terminal columns to fit into; None asks the terminal (80 where there is none).
        encoding: The output's encoding; see ``plain``.

    Returns:
        Lines joined by newlines, without a trailing one.
    """
    if width is None:
        width = shutil.get_terminal_size((80, 24)).columns
    heads = [plain(head, encoding) for head in table.columns]
    rows = [[plain(cell, encoding) for cell in row] for row in table.rows]
    lines = wrap(plain(table.caption, encoding), width) if table.caption else []
    for number, columns in enumerate(_blocks(heads, rows, table.align, width)):
        if number:
            lines.append("")
        head = [heads[column] for column in columns]
        cells = [[row[column] for column in columns] for row in rows]
        align = [table.align[column] for column in columns]
        widths = _fit(head, cells, align, width)
        if widths is None:
            lines += _stacked(head, cells, width)
        else:
            lines += _grid(head, cells, widths, align, plain("─", encoding))
    for note in table.notes:
        lines += wrap(plain(note, encoding), width)
    return "\n".join(line.rstrip() for line in lines)


def _grid(
    heads: list[str],
    rows: list[list[str]],
    widths: Sequence[int],
    align: Sequence[Align],
    dash: str,
) -> list[str]:
    """Lines of a table whose columns have been given their widths."""
    lines = _row_lines(heads, widths, align)
    lines.append((" " * _GAP).join(dash * column for column in widths))
    wrapped = any(
        display_width(line) > column
        for row in rows
        for cell, column in zip(row, widths, strict=True)
        for line in cell.split("\n")
    )
    for number, row in enumerate(rows):
        if wrapped and number:  # a blank line keeps wrapped rows apart
            lines.append("")
        lines += _row_lines(row, widths, align)
    return lines


def _blocks(
    heads: list[str], rows: list[list[str]], align: Sequence[Align], width: int
) -> list[list[int]]:
    """Share columns out over tables that fit; one that does not fit where that is no help."""
    everything = list(range(len(heads)))
    # The columns that name a row: as many as it takes for no two rows to have the same name.
    keys = next(
        (n for n in everything[1:] if len({tuple(row[:n]) for row in rows}) == len(rows)),
        len(heads),
    )
    named, rest = everything[:keys], everything[keys:]

    def fits(columns: list[int]) -> bool:
        cells = [[row[column] for column in columns] for row in rows]
        return (
            _fit([heads[at] for at in columns], cells, [align[at] for at in columns], width)
            is not None
        )

    numeric = all(align[column] == "right" for column in rest)
    if not numeric or fits(everything) or not all(fits([*named, column]) for column in rest):
        return [everything]
    blocks = [list(named)]
    for column in rest:
        if not fits([*blocks[-1], column]):
            blocks.append(list(named))
        blocks[-1].append(column)
    return blocks


def _fit(
    heads: list[str], rows: list[list[str]], align: Sequence[Align], width: int
) -> list[int] | None:
    """Column widths that fit, or None where no wrapping makes them fit."""
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in heads]
    natural = [
        max(display_width(line) for cell in (head, *column) for line in cell.split("\n"))
        for head, column in zip(heads, columns, strict=True)
    ]
    room = width - _GAP * (len(natural) - 1)
    # First only text is wrapped (with very long words cut), and the heads of numbers.
    least = [
        min(
            whole,
            min(max(_NARROWEST, longest_word([*column, head])), _LONG_WORD)
            if side == "left"
            else max([longest_word([head]), *map(display_width, column)]),
        )
        for whole, side, head, column in zip(natural, align, heads, columns, strict=True)
    ]
    # If that is not enough, estimates too, which break before their interval: of as few columns as
    # possible, since a broken one takes two lines however much is missing.
    full = list(natural)
    slack = {
        index: least[index] - longest_word([*columns[index], heads[index]])
        for index, side in enumerate(align)
        if side == "right"
    }
    for index in sorted(slack, key=lambda index: -slack[index]):
        missing = sum(least) - room
        if missing > 0 and slack[index] > 0:
            least[index] -= min(missing, slack[index])
            full[index] = least[index]
    return _shrink(full, least, room)


def _shrink(natural: Sequence[int], least: Sequence[int], room: int) -> list[int] | None:
    """Take columns away from the widest until the sum fits, or say that it cannot."""
    if sum(least) > room:
        return None
    widths = list(natural)
    while sum(widths) > room:
        wide = [index for index in range(len(widths)) if widths[index] > least[index]]
        widths[max(wide, key=lambda index: widths[index])] -= 1
    return widths


def _row_lines(cells: Sequence[str], widths: Sequence[int], align: Sequence[Align]) -> list[str]:
    blocks = [wrap(cell, column) for cell, column in zip(cells, widths, strict=True)]
    height = max(len(block) for block in blocks)
    return [
        (" " * _GAP).join(
            _pad(block[line] if line < len(block) else "", column, side)
            for block, column, side in zip(blocks, widths, align, strict=True)
        )
        for line in range(height)
    ]


def _pad(text: str, width: int, side: Align) -> str:
    space = " " * max(width - display_width(text), 0)
    return text + space if side == "left" else space + text


def _stacked(heads: list[str], rows: list[list[str]], width: int) -> list[str]:
    """One ``head: value`` line a cell, for terminals too narrow for columns."""
    lines: list[str] = []
    for number, row in enumerate(rows):
        if number:
            lines.append("")
        for head, cell in zip(heads, row, strict=True):
            first, *rest = wrap(f"{head}: {cell}", max(width - 2, 8))
            lines += [first, *(f"  {line}" for line in rest)]
    return lines
