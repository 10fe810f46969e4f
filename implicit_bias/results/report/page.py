"""The report's page: its sections, and what is not a verdict or a picture in them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from implicit_bias.results.checkpoint import write_atomic
from implicit_bias.results.report.escape import escaped
from implicit_bias.results.report.figure import Figure, figure_html
from implicit_bias.results.report.style import style_sheet
from implicit_bias.results.report.values import plain_values
from implicit_bias.results.report.verdicts import tally, verdict_cards
from implicit_bias.results.table import Table, field, make_table, to_html

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    summary: str | Sequence[str] = "",
    verdicts: Iterable[Any] = (),
    tables: Iterable[Table] = (),
    figures: Iterable[Figure] = (),
    settings: Mapping[str, Any] | None = None,
    controls: Iterable[Any] = (),
    provenance: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Write a report, whole or not at all.

    Args:
        path: The file, usually ``report.html``.
        title: What was studied.
        summary: One or more paragraphs at the top.
        verdicts: Findings, as records or mappings; see ``render_report``.
        tables: Tables, each with a caption.
        figures: Pictures.
        settings: Everything needed to run it again.
        controls: Findings on the controls; by default the verdicts of kind ``required-control``.
        provenance: Where the numbers come from: versions, device, commit, checksums, time taken.
        notes: Paragraphs on how it was done.

    Returns:
        The path.

    Raises:
        UserError: The file cannot be written, or an image is neither PNG nor SVG.
    """
    text = render_report(
        title=title,
        summary=summary,
        verdicts=verdicts,
        tables=tables,
        figures=figures,
        settings=settings,
        controls=controls,
        provenance=provenance,
        notes=notes,
    )
    write_atomic(path, text)
    return Path(path)


def render_report(
    *,
    title: str,
    summary: str | Sequence[str] = "",
    verdicts: Iterable[Any] = (),
    tables: Iterable[Table] = (),
    figures: Iterable[Figure] = (),
    settings: Mapping[str, Any] | None = None,
    controls: Iterable[Any] = (),
    provenance: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Make the HTML of a report. The same arguments give the same text.

    Args:
        title: What was studied.
        summary: One or more paragraphs at the top.
        verdicts: Findings, as records or as mappings (such as ``claims.to_json`` makes), with
            ``id``, ``kind``, ``verdict``, ``effect``, ``interval``, ``n_seeds`` and ``criterion``,
            and optionally ``sentence``, ``source``, ``published``, ``unit``, ``condition``,
            ``reason`` and ``details["arms"]``.
        tables: Tables, each with a caption.
        figures: Pictures.
        settings: Everything needed to run it again.
        controls: Findings on the controls, shown in a section of their own; by default the verdicts
            of kind ``required-control``.
        provenance: Where the numbers come from.
        notes: Paragraphs on how it was done.

    Returns:
        A whole HTML document. Sections without content are left out.

    Raises:
        UserError: An image is neither PNG nor SVG, or its file cannot be read.
    """
    judged, checked = list(verdicts), list(controls)
    if not checked:
        checked = [one for one in judged if field(one, "kind") == "required-control"]
        judged = [one for one in judged if field(one, "kind") != "required-control"]
    pictures, data = list(figures), list(tables)
    sections: list[tuple[str, str, str]] = []
    if judged:
        sections.append(("verdicts", "Verdicts", tally(judged) + verdict_cards(judged, "claim")))
    if pictures:
        body = "\n".join(figure_html(number, one) for number, one in enumerate(pictures, 1))
        sections.append(("figures", "Figures", body))
    if data:
        sections.append(("tables", "Tables", "\n".join(_scrolling(table) for table in data)))
    if checked:
        sections.append(("controls", "Controls", verdict_cards(checked, "control")))
    if any(notes):
        sections.append(("methods", "How it was done", _paragraphs(notes)))
    if settings:
        sections.append(("settings", "Settings", _listing(settings)))
    if provenance:
        sections.append(("provenance", "Provenance", _pairs(provenance)))

    contents = "\n".join(f'<li><a href="#{key}">{head}</a></li>' for key, head, _ in sections)
    bodies = "\n".join(
        f'<section id="{key}" aria-labelledby="{key}-head">\n'
        f'<h2 id="{key}-head">{head}</h2>\n{body}\n</section>'
        for key, head, body in sections
    )
    paragraphs = [summary] if isinstance(summary, str) else list(summary)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="implicit_bias">
<title>{escaped(title)}</title>
<style>
{style_sheet()}
</style>
</head>
<body>
<header>
<h1>{escaped(title)}</h1>
{_paragraphs(paragraphs)}
</header>
<nav aria-label="Contents">
<ul>
{contents}
</ul>
</nav>
<main>
{bodies}
</main>
</body>
</html>
"""


def _paragraphs(texts: Iterable[str]) -> str:
    return "\n".join(f"<p>{escaped(text)}</p>" for text in texts if text.strip())


def _scrolling(table: Table) -> str:
    """A table that scrolls by itself where it is wider than the screen."""
    label = escaped(table.caption or "Table")
    inside = to_html(table)
    return f'<div class="wide" tabindex="0" role="group" aria-label="{label}">\n{inside}\n</div>'


def _listing(settings: Mapping[str, Any]) -> str:
    import yaml

    text = yaml.safe_dump(
        plain_values(settings),
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=88,
    )
    return f'<pre tabindex="0"><code>{escaped(text.rstrip())}</code></pre>'


def _pairs(record: Mapping[str, Any]) -> str:
    rows = [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in _flat("", plain_values(record))
    ]
    return _scrolling(make_table(["what", "value"], rows, align=["left", "left"]))


def _flat(prefix: str, value: Any) -> Iterable[tuple[str, Any]]:
    """Leaves of nested mappings with dotted names."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else str(name), inner)
    else:
        yield prefix, value
