"""A forest plot: the effects behind a study's verdicts, on one scale."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from implicit_bias.results.figures import layout
from implicit_bias.results.figures.style import NEUTRAL, style
from implicit_bias.results.table import field, format_estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Verdicts differ in shape and filling as well as in colour.
_LOOKS: dict[str, dict[str, Any]] = {
    "supported": {"marker": "o", "mfc": "#02456f", "color": "#02456f"},
    "refuted": {"marker": "X", "mfc": "#d45e03", "color": "#d45e03"},
    "conditional": {"marker": "D", "mfc": "#dc9906", "color": "#8a3f04"},
    "inconclusive": {"marker": "o", "mfc": "white", "color": "#4a4a4a"},
    "not-decided": {"marker": "s", "mfc": "white", "color": "#8c8c8c"},
}


@dataclass(frozen=True)
class _Row:
    """One effect, with its position in units of the smallest effect that matters."""

    name: str
    verdict: str
    text: str
    centre: float
    low: float
    high: float
    inner: bool


def forest(
    findings: Iterable[Any], *, arms: bool = False, title: str = "", reach: float = 6.0
) -> Figure:
    """Draw each finding's effect and interval against the smallest effect that matters.

    Effects of different kinds share an axis by being divided by their smallest effect: 0 is no
    effect, 1 is where the claim begins to hold, below 1 it does not. Ratios are divided on a log
    scale. A claim judged over several arms has a row for each.

    Args:
        findings: Records or mappings with ``id``, ``verdict``, ``effect`` and ``interval``, and
            with ``boundary`` (the effect at which the claim begins to hold) and ``origin`` (no
            effect: 0 for a difference, 1 for a ratio; by default, what fits ``smallest_effect``),
            either of their own or for each arm in ``details["arms"]``. Instead of a boundary,
            ``smallest_effect`` will do. Findings without these (identities, definitions, undecided
            ones) are counted in a note.
        arms: Give each arm of a claim a row of its own, under the claim's name. Otherwise a claim
            has one row, for the arm in ``details["headline"]``, with the verdict on the claim.
        title: Title of the figure.
        reach: How far the axis goes at most, in smallest effects; what lies beyond is shown by an
            arrow.

    Returns:
        The figure.
    """
    rows: list[_Row] = []
    left_out = 0
    for finding in findings:
        found = _rows(finding, arms)
        left_out += not found
        rows += found
    figure, ax = layout.axes(6.6, 0.8 + 0.24 * max(len(rows), 2), title=title)
    with style():
        _draw(ax, rows, reach)
    kinds = {row.verdict for row in rows if not math.isnan(row.centre)}
    if rows:
        layout.legend(figure, [_key(kind) for kind in _LOOKS if kind in kinds])
    text = "0: no effect, beyond 1: as claimed. "
    text += "Bars: intervals, simultaneous over the study where its verdicts are."
    if any(abs(bound) > reach for row in rows for bound in (row.low, row.high)):
        text += f" Arrows: goes on beyond {reach:g} smallest effects."
    if left_out:
        text += f" Claims without such an effect, which are only in the table: {left_out}."
    layout.note(figure, text)
    return figure


def have_rows(findings: Iterable[Any]) -> bool:
    """Say whether a forest plot of these findings would have any row; arguments as there."""
    return any(_rows(finding, each_arm=True) for finding in findings)


def _rows(finding: Any, each_arm: bool) -> list[_Row]:
    """Rows of one finding: one, or a heading and one for each arm."""
    if field(finding, "kind") in ("identity", "definition"):
        return []
    name, verdict = str(field(finding, "id")), str(field(finding, "verdict"))
    details = field(finding, "details") or {}
    arms = details.get("arms") or {}
    if len(arms) < 2 or not each_arm:
        head = details.get("headline") or next(iter(arms), "")
        label = f"{name} ({head})" if len(arms) > 1 else name
        # The claim's own effect and verdict; an arm knows where they would begin to matter.
        row = _row(label, verdict, finding, arms.get(head, finding), finding, inner=False)
        return [] if row is None else [row]
    inner = [
        _row(arm, str(field(record, "verdict")), record, record, finding, inner=True)
        for arm, record in arms.items()
    ]
    rows = [row for row in inner if row is not None]
    if rows:
        text = verdict.replace("-", " ")
        rows.insert(0, _Row(name, verdict, text, math.nan, math.nan, math.nan, inner=False))
    return rows


def _row(
    name: str, verdict: str, measured: Any, scale: Any, finding: Any, *, inner: bool
) -> _Row | None:
    """One row, or None where there is nothing to draw or no scale to draw it on.

    Args:
        name: What the row is called.
        verdict: What decides its look.
        measured: Holds ``effect`` and ``interval``; where it lacks them, ``scale`` does.
        scale: Holds ``boundary`` and ``origin``.
        finding: Holds ``smallest_effect``, for want of a boundary.
        inner: Whether the row stands under a claim's heading.
    """
    effect = field(measured, "effect", field(scale, "effect"))
    interval = field(measured, "interval", field(scale, "interval"))
    smallest = field(finding, "smallest_effect")
    boundary, origin = field(scale, "boundary"), field(scale, "origin")
    if origin is None:
        origin = _origin(boundary, smallest)
    if boundary is None:
        boundary = origin + (smallest or 0.0)
    if effect is None or interval is None or boundary == origin or not math.isfinite(effect):
        return None
    # JSON has no infinity: null is an end that is not bounded.
    low = -math.inf if interval[0] is None else interval[0]
    high = math.inf if interval[1] is None else interval[1]
    ends = sorted(_in_smallest(end, origin, boundary) for end in (low, high))
    return _Row(
        name=name,
        verdict=verdict,
        text=format_estimate(effect, low, high, margin=boundary),
        centre=_in_smallest(effect, origin, boundary),
        low=ends[0],
        high=ends[1],
        inner=inner,
    )


def _origin(boundary: float | None, smallest: float | None) -> float:
    """No effect, where it is not given: 1 if only that is one smallest effect from the boundary."""
    if boundary is None or smallest is None:
        return 0.0
    at_zero, at_one = (math.isclose(abs(boundary - none), smallest) for none in (0.0, 1.0))
    return 1.0 if at_one and not at_zero else 0.0


def _in_smallest(effect: float, origin: float, boundary: float) -> float:
    """Distance from no effect, in units of the smallest effect that matters, in its direction."""
    if origin == 1 and boundary > 0:  # a ratio
        logarithm = (
            -math.inf if effect <= 0 else math.log(effect) if effect < math.inf else math.inf
        )
        return logarithm / math.log(boundary)
    return (effect - origin) / (boundary - origin)


def _draw(ax: Any, rows: list[_Row], reach: float) -> None:
    from matplotlib.ticker import MaxNLocator

    seen = [abs(bound) for row in rows for bound in (row.low, row.high, row.centre)]
    limit = min(reach, max([1.5, *(1.05 * bound for bound in seen if math.isfinite(bound))]))
    below = min([0.0, *(row.low for row in rows if not math.isnan(row.low))])
    left = -limit if below < -limit else min(1.1 * below, -0.5)
    ax.axvline(0, color=NEUTRAL, lw=1.0, zorder=1)
    ax.axvline(1, color=NEUTRAL, lw=1.0, ls=(0, (4, 2)), zorder=1)
    ax.axvspan(1, limit * 1.08, color="#e9eef2", lw=0, zorder=0)
    for place, row in enumerate(rows):
        if math.isnan(row.centre):
            continue
        look = _LOOKS.get(row.verdict, _LOOKS["not-decided"])
        low, high = max(row.low, left), min(row.high, limit)
        if low < high:
            ax.plot([low, high], [place, place], color=look["color"], lw=1.6, zorder=2)
        for end, beyond, arrow in ((left, row.low < left, "<"), (limit, row.high > limit, ">")):
            if beyond:
                ax.plot(end, place, marker=arrow, ms=6, color=look["color"], ls="none", zorder=2)
        if left <= row.centre <= limit:
            ax.plot(row.centre, place, ms=6.5, mec=look["color"], ls="none", zorder=3, **look)
    ax.set_xlim(left - 0.04 * (limit - left), limit + 0.04 * (limit - left))
    ax.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    ax.set_yticks(
        range(len(rows)), [("    " if row.inner else "") + row.name for row in rows], ha="left"
    )
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    # On two lines: long names leave the axis little room.
    ax.set_xlabel("effect, in smallest effects\nthat matter")
    ax.set_ylabel("")
    _align_left(ax)
    values = ax.secondary_yaxis("right")
    values.set_yticks(range(len(rows)), [row.text for row in rows])
    values.tick_params(axis="y", length=0)
    values.spines["right"].set_visible(False)
    if not rows:
        ax.text(0.5, 0.5, "no effect with an interval to draw", transform=ax.transAxes, ha="center")


def _align_left(ax: Any) -> None:
    """Start all row names at one left edge, so that arms stand indented under their claim."""
    labels = ax.get_yticklabels()
    if not labels:
        return
    renderer = ax.figure.canvas.get_renderer()
    widest = max(label.get_window_extent(renderer).width for label in labels)
    ax.tick_params(axis="y", pad=widest * 72 / ax.figure.dpi + 4)


def _key(verdict: str) -> Any:
    from matplotlib.lines import Line2D

    look = _LOOKS[verdict]
    return Line2D(
        [], [], ls="none", ms=6.5, mec=look["color"], label=verdict.replace("-", " "), **look
    )
