"""A table as Markdown and as HTML."""

from __future__ import annotations

import html
import re

from implicit_bias.results.table.rows import Align, Table


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
