"""The ledger as one HTML page that needs nothing else: rows with filters, then a section a claim."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import implicit_bias
from implicit_bias.ledger.filters import FILTER_STYLE, SCRIPT, controls
from implicit_bias.ledger.ledger import Ledger, Row
from implicit_bias.ledger.registry import DOCUMENTS, Entry
from implicit_bias.ledger.remarks import remarks
from implicit_bias.ledger.shipped import caption, figures_of
from implicit_bias.ledger.tables import (
    arms_table,
    counts_table,
    explanation,
    shown_effect,
    verdict_words,
)
from implicit_bias.results.checkpoint import write_atomic
from implicit_bias.results.report import Figure, chip, escaped, figure_html, style_sheet
from implicit_bias.results.table import make_table, published_text, to_html

HOW = (
    "Each claim's criterion, with the smallest effect that matters, was fixed before the run that judges "
    "it. Comparisons are paired by seed, and the intervals of a study's comparisons hold for all of "
    "them at once; one that ends where the verdict would turn says that the effect lies beyond, and not how "
    "far. A verdict is on the document's position: supported, where the interval lies beyond the "
    "smallest effect that matters; refuted, where it lies wholly short of it; conditional, with the "
    "condition; inconclusive; or not decided, with the reason. Identities and definitions are judged by a "
    "measured error and the tolerance that was allowed."
)


def write_page(ledger: Ledger, entries: Sequence[Entry], out: Path) -> Path:
    """Write ``ledger.html``, whole or not at all.

    Args:
        ledger: The ledger.
        entries: Its statements.
        out: Its folder, from which the folders of its runs are named.

    Returns:
        The file.

    Raises:
        UserError: It cannot be written.
    """
    path = out / "ledger.html"
    write_atomic(path, render_page(ledger, entries, out))
    return path


def render_page(ledger: Ledger, entries: Sequence[Entry], out: Path) -> str:
    """Return the page's HTML; the same ledger and figures give the same text."""
    known = {entry.id: entry for entry in entries}
    rows = [row for row in ledger.rows if row.id in known]
    pictures = _pictures(rows, known, out)
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    listed = "\n".join(_row(row, known[row.id]) for row in rows)
    sections = "\n".join(_section(row, known[row.id], pictures) for row in rows)
    figures = "\n".join(
        figure_html(number, Figure(file.stem, _caption(file, rows_of, known), file))
        for number, (file, rows_of) in enumerate(pictures.items(), 1)
    )
    heads = "".join(
        f'<th role="columnheader" scope="col">{head}</th>'
        for head in ("Claim", "Verdict", "Ours [interval]", "Published", "Seeds")
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="implicit_bias {escaped(implicit_bias.__version__)}">
<title>Ledger of claims</title>
<style>
{style_sheet()}
{FILTER_STYLE}
</style>
</head>
<body>
<header>
<h1>What training prefers: a ledger of claims</h1>
<p>{len(rows)} claims; size of the runs: {escaped(ledger.scale)}.</p>
</header>
<nav aria-label="Contents"><ul>
<li><a href="#ledger">Ledger</a></li><li><a href="#claims">Claims</a></li>
<li><a href="#figures">Figures</a></li><li><a href="#methods">How it was done</a></li>
<li><a href="#provenance">Provenance</a></li>
</ul></nav>
<main>
<section id="ledger" aria-labelledby="ledger-head">
<h2 id="ledger-head">Ledger</h2>
<div class="wide">{to_html(counts_table(ledger))}</div>
{controls(rows)}
<table class="cards" role="table">
<thead role="rowgroup"><tr role="row">{heads}</tr></thead>
<tbody role="rowgroup" id="rows">
{listed}
</tbody>
</table>
</section>
<section id="claims" aria-labelledby="claims-head">
<h2 id="claims-head">Claims</h2>
{sections}
</section>
<section id="figures" aria-labelledby="figures-head">
<h2 id="figures-head">Figures</h2>
{figures or "<p>No figures lie beside this ledger.</p>"}
</section>
<section id="methods" aria-labelledby="methods-head">
<h2 id="methods-head">How it was done</h2>
<p>{escaped(HOW)}</p>
{_documents(rows)}
</section>
<section id="provenance" aria-labelledby="provenance-head">
<h2 id="provenance-head">Provenance</h2>
<div class="wide">{_provenance(rows)}</div>
{_remarks(ledger, entries)}
</section>
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _row(row: Row, entry: Entry) -> str:
    cells = (
        ("Verdict", f'{chip(row.verdict)}<span class="said">{escaped(_why(row))}</span>'),
        ("Ours", escaped(shown_effect(row, entry))),
        ("Published", escaped(published_text(entry))),
        ("Seeds", str(row.n_seeds or "–")),
    )
    body = "".join(
        f'<td role="cell"><span class="head" aria-hidden="true">{head}</span><div>{cell}</div></td>'
        for head, cell in cells
    )
    text = escaped(f"{row.id} {entry.sentence} {row.study}".lower())
    return (
        f'<tr role="row" data-source="{row.document}" data-topic="{escaped(row.study)}" '
        f'data-verdict="{row.verdict}" data-text="{text}">'
        f'<th role="rowheader" scope="row"><a href="#{anchor(row.id)}"><code>{escaped(row.id)}</code></a>'
        f'<span class="said">{escaped(entry.sentence)}</span></th>{body}</tr>'
    )


def _why(row: Row) -> str:
    words = verdict_words(row)
    return (
        words.partition(": ")[2]
        if row.verdict == "conditional"
        else (row.reason if row.verdict == "not-decided" else "")
    )


def _section(row: Row, entry: Entry, pictures: dict[Path, list[str]]) -> str:
    table = make_table(["", ""], explanation(entry, row), align=["left", "left"])
    arms = ""
    if len(row.arms) > 1:
        arms = f'<div class="wide">{to_html(arms_table(row))}</div>'
    links = "".join(
        f'<p><a href="#figure-{number}">Figure {number}</a></p>'
        for number, ids in enumerate(pictures.values(), 1)
        if row.id in ids
    )
    return (
        f'<article id="{anchor(row.id)}">\n<h3><code>{escaped(row.id)}</code> {chip(row.verdict)}</h3>\n'
        f'<div class="wide told">{to_html(table)}</div>\n{arms}{links}</article>'
    )


def anchor(id: str) -> str:
    """Return a claim's anchor in the page."""
    return "claim-" + id.replace(".", "-")


def _pictures(rows: Sequence[Row], known: dict[str, Entry], out: Path) -> dict[Path, list[str]]:
    """Return the files of all figures, and the claims that each shows."""
    found: dict[Path, list[str]] = {}
    for row in rows:
        for file in figures_of(known[row.id], row, out):
            found.setdefault(file, []).append(row.id)
    return found


def _caption(file: Path, ids: Sequence[str], known: dict[str, Entry]) -> str:
    study = known[ids[0]].study
    named = ", ".join(ids[:12]) + (" …" if len(ids) > 12 else "")
    return f"{caption(study, file.stem)} Study {study}; claims {named}".strip()


def _documents(rows: Sequence[Row]) -> str:
    asked = {row.document for row in rows}
    items = "".join(
        f"<li>{escaped(name)}: {escaped(title)}</li>"
        for name, title in DOCUMENTS.items()
        if name in asked
    )
    return f"<ul>{items}</ul>"


def _remarks(ledger: Ledger, entries: Sequence[Entry]) -> str:
    lines = remarks(ledger, entries)
    items = "".join(f"<li>{escaped(line)}</li>" for line in lines)
    return f"<p>To be known of these runs:</p><ul>{items}</ul>" if lines else ""


def _provenance(rows: Sequence[Row]) -> str:
    lines: list[list[Any]] = []
    for row in rows:
        run = row.run
        line = [row.study, row.config or "own settings", run.get("seeds"), run.get("version"),
                run.get("digest"), str(run.get("data_checksum") or "")[:10]]  # fmt: skip
        if run and line not in lines:  # two runs of one study may stand behind different claims
            lines.append(line)
    heads = ["study", "config", "seeds", "version", "settings", "data"]
    return to_html(make_table(heads, lines))
