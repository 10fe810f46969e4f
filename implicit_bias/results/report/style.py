"""The report's style sheet: colours, layout on a screen, on a phone and on paper."""

from __future__ import annotations

from collections.abc import Mapping

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

LIGHT = {"text": "#1b1b1b", "quiet": "#505050", "ground": "#ffffff", "rule": "#d5d5d5",
         "band": "#f5f5f3", "link": "#02456f"}  # fmt: skip

DARK = {"text": "#e9e9e6", "quiet": "#b4b4b0", "ground": "#17191c", "rule": "#3c4045",
        "band": "#212428", "link": "#8cc8f5"}  # fmt: skip


def style_sheet() -> str:
    """Write the style sheet, for light and for dark."""

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
.said { margin-top: .3rem; font-weight: 400; overflow-wrap: anywhere; min-width: 12ch; }
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
  .whole { white-space: normal; }
  .cards td > div { min-width: 0; overflow-wrap: anywhere; }
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
