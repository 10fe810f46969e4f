"""The report of a run: one HTML file that needs nothing else.

Images are inside the file, there are no scripts, and a content security policy forbids the browser
to load anything. It follows the reader's light or dark setting, fits a phone and prints.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import enum
import html
import json
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from implicit_bias.errors import UserError
from implicit_bias.results.checkpoint import write_atomic
from implicit_bias.results.table import (
    Table,
    effect_text,
    field,
    make_table,
    published_text,
    to_html,
)


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture in a report.

    Attributes:
        name: Short name: heading and anchor.
        caption: What it shows, with what the bands are.
        image: PNG or SVG as bytes, or the path of a ``.png`` or ``.svg`` file.
        alt: What it shows, for those who cannot see it; by default the caption.
    """

    name: str
    caption: str
    image: bytes | str | Path
    alt: str = ""


# Verdict: sign, (text, ground) in light, (text, ground) in dark. Text and sign say it without
# colour.
VERDICTS: dict[str, tuple[str, tuple[str, str], tuple[str, str]]] = {
    "supported": ("✓", ("#0b4a2b", "#d5f0e0"), ("#b5ecce", "#123c28")),
    "refuted": ("✗", ("#7a1f0a", "#fbdfd6"), ("#ffc9b8", "#55200f")),
    "conditional": ("◐", ("#5c4100", "#fdecc0"), ("#fbdd91", "#463408")),
    "inconclusive": ("?", ("#333333", "#e6e6e6"), ("#dddddd", "#3a3a3a")),
    "not-decided": ("–", ("#333333", "#f1f1f1"), ("#cccccc", "#2c2c2c")),
}
"""Pairs of colours have a contrast of at least 7 (tested)."""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

LIGHT = {"text": "#1b1b1b", "quiet": "#505050", "ground": "#ffffff", "rule": "#d5d5d5",
         "band": "#f5f5f3", "link": "#02456f"}  # fmt: skip
DARK = {"text": "#e9e9e6", "quiet": "#b4b4b0", "ground": "#17191c", "rule": "#3c4045",
        "band": "#212428", "link": "#8cc8f5"}  # fmt: skip


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
        sections.append(("verdicts", "Verdicts", _tally(judged) + _verdicts(judged, "claim")))
    if pictures:
        body = "\n".join(_figure(number, one) for number, one in enumerate(pictures, 1))
        sections.append(("figures", "Figures", body))
    if data:
        sections.append(("tables", "Tables", "\n".join(_scrolling(table) for table in data)))
    if checked:
        sections.append(("controls", "Controls", _verdicts(checked, "control")))
    if notes:
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
<title>{_text(title)}</title>
<style>
{_style()}
</style>
</head>
<body>
<header>
<h1>{_text(title)}</h1>
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


# --------------------------------------------------------------------------------------------------
# Parts


def _text(content: object) -> str:
    return html.escape(str(content))


def _paragraphs(texts: Iterable[str]) -> str:
    return "\n".join(f"<p>{_text(text)}</p>" for text in texts if text.strip())


def _chip(verdict: str) -> str:
    sign = VERDICTS.get(verdict, ("–",))[0]
    kind = verdict if verdict in VERDICTS else "not-decided"
    words = _text(verdict.replace("-", " "))
    return f'<span class="chip {kind}"><span aria-hidden="true">{sign}</span> {words}</span>'


def _tally(findings: Sequence[Any]) -> str:
    given = [str(field(one, "verdict")) for one in findings]
    order = [*VERDICTS, *dict.fromkeys(verdict for verdict in given if verdict not in VERDICTS)]
    items = "".join(
        f"<li>{given.count(verdict)} {_chip(verdict)}</li>" for verdict in order if verdict in given
    )
    return f'<ul class="tally">{items}</ul>\n'


_HEADS = ("Verdict", "Effect [interval]", "Published", "Seeds", "Criterion")


def _verdicts(findings: Sequence[Any], what: str) -> str:
    """A table of findings; on a narrow screen each row becomes a card.

    Making cards of rows takes a table's meaning away from screen readers in some browsers, so the
    roles are spelled out.
    """
    heads = "".join(
        f'<th role="columnheader" scope="col">{head}</th>' for head in (what.capitalize(), *_HEADS)
    )
    rows = "\n".join(_verdict(one) for one in findings)
    return (
        '<table class="cards" role="table">\n'
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead>\n'
        f'<tbody role="rowgroup">\n{rows}\n</tbody>\n</table>'
    )


def _verdict(finding: Any) -> str:
    name = f"<code>{_text(field(finding, 'id'))}</code>"
    if sentence := field(finding, "sentence"):
        name += f'<span class="said">{_text(sentence)}</span>'
    if source := field(finding, "source"):
        name += f'<span class="quiet">{_text(source)}</span>'
    verdict = _chip(str(field(finding, "verdict")))
    for why in (field(finding, "condition"), field(finding, "reason")):
        if why:
            verdict += f'<span class="said">{_text(why)}</span>'
    unit = field(finding, "unit")
    effect = _text(effect_text(finding))
    if "[" in effect:  # an interval is not broken
        effect = f'<span class="whole">{effect}</span>'
    if unit not in (None, "", "1") and field(finding, "effect") is not None:
        effect += f" {_text(unit)}"
    arms = (field(finding, "details") or {}).get("arms") or {}
    if len(arms) > 1:
        items = "".join(
            f'<li>{_text(arm)}: <span class="whole">{_text(effect_text(record))}</span>, '
            f"{_text(str(field(record, 'verdict')).replace('-', ' '))}</li>"
            for arm, record in arms.items()
        )
        if head := field(finding, "details").get("headline"):
            effect += f' <span class="quiet">({_text(head)})</span>'
        listed = f"<ul>{items}</ul>"
        if len(arms) > 3:
            listed = f"<details><summary>all {len(arms)}</summary>{listed}</details>"
        effect += listed
    count = field(finding, "n_seeds")
    seeds = "–" if count is None else _text(count)
    criterion = _text(field(finding, "criterion") or "–")
    cells = (verdict, effect, _text(published_text(finding)), seeds, criterion)
    body = "".join(
        f'<td role="cell"><span class="head" aria-hidden="true">{head}</span><div>{cell}</div></td>'
        for head, cell in zip(_HEADS, cells, strict=True)
    )
    return f'<tr role="row"><th role="rowheader" scope="row">{name}</th>{body}</tr>'


def _figure(number: int, figure: Figure) -> str:
    content = _image_bytes(figure)
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        kind = "image/png"
        width, height = struct.unpack(">II", content[16:24])
        # Drawn at 150 dots an inch, shown at the screen's nominal 96: sharp, and text at its size.
        shown = round(width * 0.64), round(height * 0.64)
        # On a phone it shrinks as far as its text stays legible, and scrolls from there.
        least = f' style="min-width: {round(0.6 * shown[0])}px"'
        size = f' width="{shown[0]}" height="{shown[1]}"{least}'
    elif b"<svg" in content[:2000]:
        kind, size = "image/svg+xml", ""
    else:
        raise UserError(
            f"the image of figure {figure.name!r} is neither PNG nor SVG; save it as PNG"
        )
    data = base64.b64encode(content).decode("ascii")
    alt = _text(figure.alt or figure.caption or figure.name)
    return (
        f'<figure id="figure-{number}">\n'
        f'<div class="sheet" tabindex="0" role="group" aria-label="{_text(figure.name)}">'
        f'<img alt="{alt}"{size} src="data:{kind};base64,{data}"></div>\n'
        f"<figcaption><b>Figure {number}.</b> {_text(figure.caption or figure.name)}</figcaption>\n"
        "</figure>"
    )


def _image_bytes(figure: Figure) -> bytes:
    if isinstance(figure.image, bytes):
        return figure.image
    try:
        return Path(figure.image).read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read the image {figure.image} of figure {figure.name!r} ({error.strerror}); "
            "draw it again"
        ) from error


def _scrolling(table: Table) -> str:
    """A table that scrolls by itself where it is wider than the screen."""
    label = _text(table.caption or "Table")
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
    return f'<pre tabindex="0"><code>{_text(text.rstrip())}</code></pre>'


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


def plain_values(value: Any) -> Any:
    """Turn records, NumPy values, paths and the like into what YAML and JSON know.

    Args:
        value: Anything; what is not known becomes its text.

    Returns:
        Mappings, lists, numbers, truth values, text and None.
    """
    if isinstance(value, enum.Enum):
        return plain_values(value.value)
    if value is None or isinstance(value, (bool, int, float, str)):
        # Subclasses (such as NumPy's float64) are made plain, or YAML would refuse them.
        for kind in (bool, int, float, str):
            if isinstance(value, kind):
                return kind(value)
        return None
    if isinstance(value, Mapping):
        return {str(name): plain_values(inner) for name, inner in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            part.name: plain_values(getattr(value, part.name)) for part in dataclasses.fields(value)
        }
    if hasattr(value, "model_dump"):
        return plain_values(value.model_dump())
    if hasattr(value, "tolist"):
        return plain_values(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_values(inner) for inner in value]
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    return str(value)


# --------------------------------------------------------------------------------------------------
# Looks


def _style() -> str:
    def variables(colours: Mapping[str, str]) -> str:
        return " ".join(f"--{name}: {colour};" for name, colour in colours.items())

    def chips(which: int) -> str:
        rules = [
            f".{name} {{ color: {colours[which][0]}; background: {colours[which][1]}; }}"
            for name, colours in VERDICTS.items()
        ]
        return "\n".join(rules)

    return f""":root {{ color-scheme: light dark; {variables(LIGHT)} }}
{chips(1)}
@media screen and (prefers-color-scheme: dark) {{
:root {{ {variables(DARK)} }}
{chips(2)}
}}
{_RULES}"""


_RULES = """\
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: auto; }
body {
  margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 72rem; color: var(--text);
  background: var(--ground);
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .75rem; }
h2 {
  font-size: 1.3rem; margin: 2.5rem 0 .75rem; padding-top: .5rem;
  border-top: 1px solid var(--rule);
}
p { max-width: 44rem; margin: 0 0 .75rem; }
a { color: var(--link); }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
nav ul {
  display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; margin: 1rem 0 0;
  padding: 0;
}
nav a { display: inline-block; padding: .25rem 0; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; font-size: .95rem; padding: 0 0 .4rem; }
th, td {
  text-align: left; vertical-align: top; padding: .4rem .75rem .4rem 0;
  border-bottom: 1px solid var(--rule);
}
thead th { vertical-align: bottom; border-bottom: 2px solid var(--quiet); }
tbody th { font-weight: 500; }
th.number, td.number { text-align: right; white-space: nowrap; }
thead th.number { white-space: normal; }
th.number + th:not(.number), td.number + td:not(.number) { padding-left: .75rem; }
.wide, .sheet { overflow-x: auto; max-width: 100%; margin: 0 0 1.5rem; }
.wide caption { position: sticky; left: 0; }
.cards { width: 100%; }
.cards th:first-child { width: 24%; }
.cards td:nth-child(2) { width: 19%; }
.cards td:nth-child(3) { width: 21%; }
.cards td:nth-child(6) { width: 20%; }
.cards ul { margin: .35rem 0 0; padding: 0 0 0 1rem; font-size: .8125rem; color: var(--quiet); }
summary { cursor: pointer; color: var(--link); padding: .15rem 0; }
.cards code { font-weight: 600; }
.head { display: none; }
.whole { white-space: nowrap; }
.said, .quiet { display: block; }
.said { margin-top: .3rem; font-weight: 400; }
.quiet { color: var(--quiet); font-weight: 400; font-size: .8125rem; margin-top: .2rem; }
div > .quiet { display: inline; }
.chip {
  display: inline-block; padding: .05rem .55rem; border-radius: 1rem;
  border: 1px solid currentColor; font-size: .8125rem; font-weight: 600; white-space: nowrap;
}
.tally {
  display: flex; flex-wrap: wrap; gap: .5rem 1.25rem; list-style: none; margin: 0 0 1rem;
  padding: 0;
}
figure { margin: 0 0 2rem; }
.sheet {
  background: #ffffff; border: 1px solid var(--rule); border-radius: 4px; padding: .75rem;
  margin: 0 0 .5rem; width: fit-content;
}
.sheet img { display: block; max-width: 100%; height: auto; }
figcaption { max-width: 50rem; color: var(--quiet); font-size: .9rem; }
.note { color: var(--quiet); font-size: .8125rem; margin: .4rem 0 0; }
pre {
  background: var(--band); border: 1px solid var(--rule); border-radius: 4px;
  padding: .75rem 1rem; overflow-x: auto; font-size: .8125rem; line-height: 1.45;
}
code {
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere;
}
pre code { overflow-wrap: normal; }
@media (max-width: 45rem) {
  body { padding: 1rem 1rem 3rem; }
  h1 { font-size: 1.45rem; }
  .cards, .cards tbody, .cards tr, .cards th, .cards td {
    display: block; width: auto !important; border: 0;
  }
  .cards thead {
    position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  }
  .cards tr {
    border: 1px solid var(--rule); border-radius: 6px; padding: .6rem .8rem; margin: 0 0 .8rem;
  }
  .cards th, .cards td { padding: .2rem 0; }
  .cards td { display: grid; grid-template-columns: 6.5rem 1fr; gap: .5rem; }
  .head { display: block; color: var(--quiet); }
  .sheet { padding: .4rem; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 9.5pt; }
  nav { display: none; }
  h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  thead { display: table-header-group; }
  .wide, .sheet, pre { overflow: visible; border: 0; padding: 0; }
  pre { white-space: pre-wrap; }
  details::details-content { content-visibility: visible; block-size: auto; }
  .sheet img {
    min-width: 0 !important; max-height: 22cm; object-fit: contain; object-position: left top;
  }
  .chip { background: none; }
}"""
