"""A table as plain text for a terminal: columns that fit, wrapped, cut into blocks or stacked."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence

from implicit_bias.results.table.rows import Align, Table
from implicit_bias.results.table.words import (
    display_width,
    longest_estimate,
    longest_piece,
    longest_word,
    plain,
    wrap,
)

_GAP = 2

_NARROWEST, _LONG_WORD, _LABEL = 10, 16, 24


def to_text(table: Table, *, width: int | None = None, encoding: str | None = "utf-8") -> str:
    """Lay a table out for a terminal.

    Columns are aligned; heads are wrapped first, then text columns, the widest first, until the
    table fits. An estimate stays on one line with its interval wherever the terminal has room for
    both, and no number is broken. Where wrapping is not enough, a table of numbers and short labels
    is cut into several, one below the other, that repeat the columns which name a row; in a table of
    text each row becomes a short list of ``head: value`` lines.

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
    blocks, whole = _blocks(heads, rows, table.align, width)
    for number, columns in enumerate(blocks):
        if number:
            lines.append("")
        head = [heads[column] for column in columns]
        cells = [[row[column] for column in columns] for row in rows]
        align = [table.align[column] for column in columns]
        kept = _named(rows) if len(blocks) > 1 else 0
        widths = _fit(head, cells, align, width, whole=whole, kept=kept)
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
    blocks = [_row_lines(row, widths, align) for row in rows]
    # Continued lines begin with an empty cell where the first cell is whole: that parts rows well
    # enough. A blank line is for tables of which most rows are wrapped, or those.
    tall = sum(len(block) > 1 for block in blocks)
    cut = any(len(wrap(row[0], widths[0])) > 1 for row in rows if row)
    apart = 2 * tall > len(blocks) or cut
    for number, block in enumerate(blocks):
        if apart and number:
            lines.append("")
        lines += block
    return lines


def _blocks(
    heads: list[str], rows: list[list[str]], align: Sequence[Align], width: int
) -> tuple[list[list[int]], bool]:
    """Share columns out over tables that fit; one that does not fit where that is no help.

    Returns:
        The columns of each table, and whether estimates stay on one line with their intervals: a
        table is rather cut than its estimates.
    """
    everything = list(range(len(heads)))
    keys = _named(rows) or len(heads)
    named, rest = everything[:keys], everything[keys:]
    # Sentences are read along the row, and stay with it.
    short = all(
        align[column] == "right"
        or max((display_width(row[column]) for row in rows), default=0) <= _LABEL
        for column in rest
    )

    def fits(columns: list[int], whole: bool, kept: int = keys) -> bool:
        cells = [[row[column] for column in columns] for row in rows]
        sides = [align[at] for at in columns]
        return (
            _fit([heads[at] for at in columns], cells, sides, width, whole=whole, kept=kept)
            is not None
        )

    for whole in (True, False):
        if fits(everything, whole, 0):
            return [everything], whole
        if short and rest and all(fits([*named, column], whole) for column in rest):
            blocks = [list(named)]
            for column in rest:
                if not fits([*blocks[-1], column], whole):
                    blocks.append(list(named))
                blocks[-1].append(column)
            return blocks, whole
    return [everything], False


def _named(rows: list[list[str]]) -> int:
    """Count the columns that name a row: as many as it takes for no two rows to have one name."""
    columns = range(1, len(rows[0]) if rows else 0)
    return next((n for n in columns if len({tuple(row[:n]) for row in rows}) == len(rows)), 0)


def _fit(
    heads: list[str],
    rows: list[list[str]],
    align: Sequence[Align],
    width: int,
    *,
    whole: bool,
    kept: int = 0,
) -> list[int] | None:
    """Column widths that fit, or None where no wrapping makes them fit.

    Args:
        heads: Column heads.
        rows: Cells.
        align: Left for text.
        width: Of the terminal.
        whole: Whether estimates keep their intervals on the same line.
        kept: Of how many columns, the first ones, no cell is wrapped.
    """
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in heads]
    natural = [_widest_line([head, *column]) for head, column in zip(heads, columns, strict=True)]
    room = width - _GAP * (len(natural) - 1)
    # A wrapped head costs a line or two in all, a wrapped cell one in its row: heads go first.
    under = [
        max(longest_word([head]), _widest_line(column)) if column else longest_word([head])
        for head, column in zip(heads, columns, strict=True)
    ]
    # Then text, with very long words cut; last, where that is allowed, estimates before their
    # intervals: of as few columns as possible, since a broken one takes two lines however much is
    # missing.
    least = [
        min(
            most,
            max(
                min(max(_NARROWEST, longest_word([*column, head])), _LONG_WORD),
                longest_estimate(column),
            )
            if side == "left"
            else max(longest_word([head]), longest_piece(column)),
        )
        for most, side, head, column in zip(under, align, heads, columns, strict=True)
    ]
    least[:kept] = under[:kept]
    if not whole:
        slack = {
            index: least[index] - longest_word([*columns[index], heads[index]])
            for index, side in enumerate(align)
            if side == "right" and index >= kept
        }
        for index in sorted(slack, key=lambda index: -slack[index]):
            missing = sum(least) - room
            if missing > 0 and slack[index] > 0:
                least[index] -= min(missing, slack[index])
                natural[index] = under[index] = least[index]
    if sum(least) > room:
        return None
    return _shrink(_shrink(natural, under, room), least, room)


def _widest_line(cells: Iterable[str]) -> int:
    return max((display_width(line) for cell in cells for line in cell.split("\n")), default=0)


def _shrink(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Take columns away from the widest until the sum fits, or all have their least."""
    left = list(widths)
    while sum(left) > room:
        wide = [index for index in range(len(left)) if left[index] > least[index]]
        if not wide:
            break
        left[max(wide, key=lambda index: left[index])] -= 1
    return left


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
