"""Findings in the report: how many of each verdict, and a row or card for each claim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from implicit_bias.results.report.escape import escaped
from implicit_bias.results.report.style import VERDICTS
from implicit_bias.results.table import effect_text, field, published_text


def tally(findings: Sequence[Any]) -> str:
    """Write how many findings got each verdict, as a list."""
    given = [str(field(one, "verdict")) for one in findings]
    order = [*VERDICTS, *dict.fromkeys(verdict for verdict in given if verdict not in VERDICTS)]
    items = "".join(
        f"<li>{given.count(verdict)} {chip(verdict)}</li>" for verdict in order if verdict in given
    )
    return f'<ul class="tally">{items}</ul>\n'


_HEADS = ("Verdict", "Effect [interval]", "Published", "Seeds", "Criterion")


def verdict_cards(findings: Sequence[Any], what: str) -> str:
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
    name = f"<code>{escaped(field(finding, 'id'))}</code>"
    if sentence := field(finding, "sentence"):
        name += f'<span class="said">{escaped(sentence)}</span>'
    if source := field(finding, "source"):
        name += f'<span class="quiet">{escaped(source)}</span>'
    verdict = chip(str(field(finding, "verdict")))
    for why in (field(finding, "condition"), field(finding, "reason")):
        if why:
            verdict += f'<span class="said">{escaped(why)}</span>'
    effect = escaped(effect_text(finding))
    if "[" in effect:  # an interval is not broken
        effect = f'<span class="whole">{effect}</span>'
    arms = (field(finding, "details") or {}).get("arms") or {}
    if len(arms) > 1:
        items = "".join(
            f'<li>{escaped(arm)}: <span class="whole">{escaped(effect_text(record))}</span>, '
            f"{escaped(str(field(record, 'verdict')).replace('-', ' '))}</li>"
            for arm, record in arms.items()
        )
        if head := field(finding, "details").get("headline"):
            effect += f' <span class="quiet">({escaped(head)})</span>'
        listed = f"<ul>{items}</ul>"
        if len(arms) > 3:
            listed = f"<details><summary>all {len(arms)}</summary>{listed}</details>"
        effect += listed
    count = field(finding, "n_seeds")
    seeds = "–" if count is None else escaped(count)
    criterion = escaped(field(finding, "criterion") or "–")
    cells = (verdict, effect, escaped(published_text(finding)), seeds, criterion)
    body = "".join(
        f'<td role="cell"><span class="head" aria-hidden="true">{head}</span><div>{cell}</div></td>'
        for head, cell in zip(_HEADS, cells, strict=True)
    )
    return f'<tr role="row"><th role="rowheader" scope="row">{name}</th>{body}</tr>'


def chip(verdict: str) -> str:
    """Write a verdict with its sign on its colour."""
    sign = VERDICTS.get(verdict, ("–",))[0]
    kind = verdict if verdict in VERDICTS else "not-decided"
    words = escaped(verdict.replace("-", " "))
    return f'<span class="chip {kind}"><span aria-hidden="true">{sign}</span> {words}</span>'
