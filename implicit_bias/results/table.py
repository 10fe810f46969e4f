"""Tables: one set of rows, as plain text for a terminal, as Markdown and as HTML.

A table holds finished strings, so that the three forms cannot disagree. Numbers become strings here
and nowhere else: how many digits an estimate shows is decided by the width of its interval.
"""

from __future__ import annotations

import html
import math
import re
import shutil
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from implicit_bias.errors import UserError

Align = Literal["left", "right"]

_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_PLAIN = {
    "λ": "lambda",
    "η": "eta",
    "ρ": "rho",
    "σ": "sigma",
    "θ": "theta",
    "μ": "mu",
    "Δ": "delta ",
    "√": "sqrt ",
    "∝": "~",
    "\N{MINUS SIGN}": "-",
    "–": "-",
    "—": "-",
    "‖": "||",
    "─": "-",
    "×": "x",
    "·": "*",
    "≥": ">=",
    "≤": "<=",
    "≈": "~",
    "±": "+/-",
    "…": "...",
    "∞": "inf",
    "→": "->",
    "\N{NO-BREAK SPACE}": " ",
}


# --------------------------------------------------------------------------------------------------
# Numbers


def field(record: Any, name: str, default: Any = None) -> Any:
    """Read a field of a record or a key of a mapping.

    Args:
        record: Any object with attributes, or a mapping (such as a record read back from JSON).
        name: The field.
        default: What to return where the record has no such field.

    Returns:
        The field's value, or ``default``.
    """
    if isinstance(record, Mapping):
        return record.get(name, default)
    return getattr(record, name, default)


def format_number(value: float | None, *, digits: int = 4, missing: str = "n/a") -> str:
    """Write one number with a given count of significant digits.

    Args:
        value: The number; None and NaN count as missing.
        digits: Significant digits. Whole numbers below a million are always written in full.
        missing: What stands for a missing number.

    Returns:
        Such as ``"0.4213"``, ``"2048"``, ``"1.61 × 10⁻⁵"``, ``"∞"``.
    """
    if value is None or math.isnan(value):
        return missing
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if float(value).is_integer() and abs(value) < 1e6:
        return str(int(value))
    exponent = math.floor(math.log10(abs(value)))
    if float(f"{abs(value):.{digits - 1}e}") >= 10.0 ** (exponent + 1):  # 9.9999 rounds to 10
        exponent += 1
    if -4 < exponent < 6:
        return _fixed(value, digits - 1 - exponent)
    return f"{_fixed(value / 10.0**exponent, digits - 1)}{_power(exponent)}"


def format_estimate(
    value: Any,
    low: float | None = None,
    high: float | None = None,
    *,
    missing: str = "n/a",
    percent: bool = False,
    margin: float | None = None,
) -> str:
    """Write an estimate with its interval, as in ``1.61 [1.20, 2.02]``.

    The digits follow the interval: two significant digits of its shorter side, the same number of
    decimals in all three numbers. Very large and very small estimates share one power of ten.

    Args:
        value: The estimate, or a record with fields ``value``, ``low`` and ``high``, or with
            ``effect`` and ``interval``.
        low: Lower end of the interval; ignored when ``value`` is a record.
        high: Upper end of the interval; ignored when ``value`` is a record.
        missing: What stands for an estimate that does not exist, such as ``"diverged"``.
        percent: Multiply by 100 and write ``%`` behind.
        margin: Where an end of the interval is this number, it is written as it is, not rounded to the
            digits of the others.

    Returns:
        The estimate; without a usable interval the value alone, followed by ``[no interval]``.
    """
    if (
        value is not None
        and not isinstance(value, (int, float))
        and not hasattr(value, "__float__")
    ):
        value, low, high = _parts(value)
    if value is None or math.isnan(value):
        return missing
    low = math.nan if low is None else float(low)
    high = math.nan if high is None else float(high)
    if percent:
        value, low, high = 100 * value, 100 * low, 100 * high
    unit = " %" if percent else ""
    if math.isnan(low) or math.isnan(high):
        return f"{format_number(value)}{unit} [no interval]"
    if math.isinf(value):
        return format_number(value) + unit

    finite = [abs(bound) for bound in (value, low, high) if math.isfinite(bound)]
    largest = max(finite)
    if largest == 0.0:
        return f"0 [0, 0]{unit}"
    if math.isfinite(high - low):
        # Of a lopsided interval (a ratio's) the shorter side counts, or its end would read 0.
        half = max(min(value - low, high - value), (high - low) / 20)
        if low * high > 0:
            # An interval that leaves out zero must not read as if it began there.
            half = min(half, max(10 * min(abs(low), abs(high)), 1e-4 * largest))
    else:
        half = min(abs(bound - value) for bound in (low, high))
        half = half if math.isfinite(half) else 0.0
    if low * high > 0 and largest > 1e4 * abs(value):
        # One power of ten for all three would show the estimate as zero.
        parts = [format_number(bound, digits=2) for bound in (value, low, high)]
        return f"{parts[0]} [{parts[1]}, {parts[2]}]{unit}"
    # An interval of no width (or without end) says nothing about digits: show four.
    step = half if half > 1e-9 * largest else largest / 100
    exponent = math.floor(math.log10(largest))
    power = exponent if not -4 < exponent < 6 else 0
    decimals = min(1 - math.floor(math.log10(step)) + power, 12)
    shown = [_fixed(bound / 10.0**power, decimals) for bound in (value, low, high)]
    if margin is not None and not power:
        for place, bound in ((1, low), (2, high)):
            if math.isclose(bound, margin, rel_tol=1e-9):
                shown[place] = format_number(margin)
    return f"{shown[0]} [{shown[1]}, {shown[2]}]{_power(power) if power else ''}{unit}"


def _parts(record: Any) -> tuple[float | None, float | None, float | None]:
    """Value and interval ends of an estimate-like or finding-like record."""
    value = field(record, "value", field(record, "effect"))
    interval = field(record, "interval")
    if interval is None:
        interval = (field(record, "low"), field(record, "high"))
    return value, interval[0], interval[1]


def _fixed(value: float, decimals: int) -> str:
    """Fixed-point notation; negative decimals round to tens, hundreds …; never ``-0``."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    rounded = round(value, decimals)
    return f"{rounded + 0.0 if rounded else 0.0:.{max(decimals, 0)}f}"


def _power(exponent: int) -> str:
    return f" × 10{str(exponent).translate(_SUPERSCRIPT)}"


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


# --------------------------------------------------------------------------------------------------
# Tables


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


_CUT = " …"


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
    """Write a finding's effect with its interval, or an identity's error with its allowed range."""
    effect, interval = field(finding, "effect"), field(finding, "interval")
    if effect is None:
        return "–"
    if interval is not None:
        # JSON has no infinity: an end that is null there is unbounded.
        low = -math.inf if interval[0] is None else float(interval[0])
        high = math.inf if interval[1] is None else float(interval[1])
        interval = low, high
    if _has_tolerance(finding, interval):
        error = f"error {format_number(effect, digits=2)}"
        if interval is None:
            return error
        low_text, high_text = (format_number(bound, digits=2) for bound in interval)
        if interval[0] == -interval[1]:
            return f"{error} (within ±{high_text})"
        return f"{error} (≤ {high_text})" if low <= 0 else f"{error} ({low_text} to {high_text})"
    details = field(finding, "details") or {}
    arm = (details.get("arms") or {}).get(details.get("headline"), {})
    text = format_estimate(effect, *(interval or (None, None)), margin=arm.get("boundary"))
    unit = field(finding, "unit")
    return f"{text} {unit}" if unit and unit != "1" else text


def _has_tolerance(finding: Any, interval: tuple[float, float] | None) -> bool:
    """Say whether a finding's interval is the range that an error must lie in."""
    kind = field(finding, "kind")
    if kind == "required-control" and interval is not None:
        # A control judged by its error has a range around zero and no arms that were compared.
        details = field(finding, "details") or {}
        return interval[0] == -interval[1] and "arms" not in details
    return kind in ("identity", "definition")


def published_text(finding: Any) -> str:
    """Write the published value of a finding, or a dash where the source gives none."""
    published = field(finding, "published")
    if published in (None, ""):
        return "–"
    return f"{published:g}" if isinstance(published, float) else format_cell(published)


def _count(n_seeds: Any) -> str:
    return "–" if n_seeds is None else str(n_seeds)


# --------------------------------------------------------------------------------------------------
# Plain text


def display_width(text: str) -> int:
    """Count the terminal columns that one line of text takes (wide and combining characters)."""
    return sum(
        0
        if unicodedata.combining(character)
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )


def plain(text: str, encoding: str | None = "utf-8") -> str:
    """Replace the characters that an output's encoding cannot hold.

    Args:
        text: Any text.
        encoding: The output's encoding, such as ``sys.stderr.encoding``; None means ASCII.

    Returns:
        The text itself where it fits; otherwise with Greek letters spelled out, mathematical signs
        in their ASCII form, and anything else as ``?``.
    """
    encoding = encoding or "ascii"
    try:
        text.encode(encoding)
        return text
    except UnicodeEncodeError:
        pass
    text = re.sub(
        "[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda power: "^" + unicodedata.normalize("NFKC", power[0]), text
    )
    text = "".join(_PLAIN.get(character, character) for character in text)
    return text.encode(encoding, "replace").decode(encoding)


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
    lines = _wrap(plain(table.caption, encoding), width) if table.caption else []
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
        lines += _wrap(plain(note, encoding), width)
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


_GAP = 2
_NARROWEST, _LONG_WORD = 10, 16


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
            min(max(_NARROWEST, _longest_word([*column, head])), _LONG_WORD)
            if side == "left"
            else max([_longest_word([head]), *map(display_width, column)]),
        )
        for whole, side, head, column in zip(natural, align, heads, columns, strict=True)
    ]
    # If that is not enough, estimates too, which break before their interval: of as few columns as
    # possible, since a broken one takes two lines however much is missing.
    full = list(natural)
    slack = {
        index: least[index] - _longest_word([*columns[index], heads[index]])
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


def _longest_word(cells: Iterable[str]) -> int:
    words = [word for text in cells for word in _words(text)]
    return max((display_width(word.rstrip()) for word in words), default=1)


def _words(text: str) -> list[str]:
    """Pieces between which a line may break: after spaces, and inside names after ``. - _ /``."""
    outside_brackets = r"(?![^\[]*\])"  # an interval stays on one line, and so does a power of ten
    return re.split(
        rf"(?<=\s)(?<!×\s)(?=\S){outside_brackets}|(?<=(?:[^\W\d_]|\))[.\-_/])(?=[^\W\d_])", text
    )


def _wrap(text: str, width: int) -> list[str]:
    """Break text into lines of at most ``width`` columns; only a word longer than that is cut."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in _words(paragraph):
            if line and display_width(line + word.rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            while display_width(word.rstrip()) > width:
                cut = next(
                    size for size in range(len(word), 0, -1) if display_width(word[:size]) <= width
                )
                lines.append(word[:cut])
                word = word[cut:]
            line += word
        lines.append(line.rstrip())
    return lines


def _row_lines(cells: Sequence[str], widths: Sequence[int], align: Sequence[Align]) -> list[str]:
    blocks = [_wrap(cell, column) for cell, column in zip(cells, widths, strict=True)]
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
            first, *rest = _wrap(f"{head}: {cell}", max(width - 2, 8))
            lines += [first, *(f"  {line}" for line in rest)]
    return lines


# --------------------------------------------------------------------------------------------------
# Markdown and HTML


def to_markdown(table: Table) -> str:
    """Write a table in GitHub's Markdown.

    Args:
        table: The table.

    Returns:
        Lines joined by newlines: the caption as a paragraph, the table, the notes.
    """

    def cell(text: str) -> str:
        text = re.sub(r"([\\|*`<>])", r"\\\1", text)
        return text.replace("\n", "<br>")

    lines = [cell(table.caption), ""] if table.caption else []
    lines.append("| " + " | ".join(cell(head) for head in table.columns) + " |")
    lines.append("|" + "|".join("---:" if side == "right" else "---" for side in table.align) + "|")
    lines += ["| " + " | ".join(cell(text) for text in row) + " |" for row in table.rows]
    for note in table.notes:
        lines += ["", cell(note)]
    return "\n".join(lines)


def to_html(table: Table) -> str:
    """Write a table as an HTML fragment.

    Args:
        table: The table.

    Returns:
        A ``<table>`` with a caption, header cells with their scope, the first column as row
        headers, numbers marked with class ``number``, followed by the notes. Every text is escaped.
    """

    def text(content: str) -> str:
        return html.escape(content).replace("\n", "<br>")

    def kind(side: Align) -> str:
        return ' class="number"' if side == "right" else ""

    parts = ["<table>"]
    if table.caption:
        parts.append(f"<caption>{text(table.caption)}</caption>")
    heads = "".join(
        f'<th scope="col"{kind(side)}>{text(head)}</th>'
        for head, side in zip(table.columns, table.align, strict=True)
    )
    parts.append(f"<thead><tr>{heads}</tr></thead>")
    parts.append("<tbody>")
    for row in table.rows:
        cells = "".join(
            f'<th scope="row"{kind(side)}>{text(cell)}</th>'
            if index == 0
            else f"<td{kind(side)}>{text(cell)}</td>"
            for index, (cell, side) in enumerate(zip(row, table.align, strict=True))
        )
        parts.append(f"<tr>{cells}</tr>")
    parts.append("</tbody></table>")
    parts += [f'<p class="note">{text(note)}</p>' for note in table.notes]
    return "\n".join(parts)
