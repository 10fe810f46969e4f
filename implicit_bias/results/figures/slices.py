"""Lines through the loss: slices from one network, and the straight path between two."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.results.figures.draw import curves_with_bands
from implicit_bias.results.figures.series import Curve, Summary, count_note
from implicit_bias.results.figures.style import NEUTRAL, Style, style, styles_for
from implicit_bias.results.figures.ticks import Scale
from implicit_bias.results.statistics import NOT_NEGATIVE, UNBOUNDED, mean_interval
from implicit_bias.results.table import format_estimate, format_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@style()
def slice_lines(
    ax: Axes,
    coordinates: Any,
    values: Mapping[Hashable, Any],
    *,
    xlabel: str,
    ylabel: str,
    summary: Summary = "mean",
    unit: str = "seeds",
    within: float | None = None,
    marked: float | None = None,
    yscale: Scale = "linear",
    styles: Mapping[Hashable, Style] | None = None,
    label: str = "{}",
) -> str:
    """Draw the loss along a direction, a line and a band over seeds (or directions) for each group.

    A closer look at the middle is a second call with ``within`` on axes of its own, where it covers
    nothing; ``marked`` shades what that panel shows.

    Args:
        ax: The axes.
        coordinates: α, shape (n,), for all groups.
        values: For each group the loss, shape (seeds, n), or (n,) for one seed. Several directions
            of one seed are not independent: average over them first, or call the band what it is
            by ``unit="directions"``.
        xlabel: The direction, with unit, such as ``"α along filter-normalised directions
            (relative)"``.
        ylabel: What the loss is, with unit.
        summary: See ``Curve.from_values``.
        unit: What the rows of ``values`` are.
        within: Draw only ``|α| <= within``.
        marked: Shade ``|α| <= marked``.
        yscale: Scale of the y axis.
        styles: How each group looks; by default shades for numbers, colours for the rest.
        label: Legend entry, a format for the group.

    Returns:
        A note that says what lines and bands are and counts seeds.

    Raises:
        UserError: A shape does not fit, or fewer than two coordinates lie within.
    """
    places = np.asarray(coordinates, float)
    shown = np.ones(places.shape, bool) if within is None else np.abs(places) <= within
    if places.ndim != 1 or shown.sum() < 2:
        raise UserError(
            f"{int(shown.sum())} coordinates of shape {places.shape} lie within "
            f"{'any distance' if within is None else f'{within:g}'}; give shape (n,) with at least two"
        )
    curves: dict[Hashable, Curve] = {}
    for group, rows in values.items():
        table = _table(rows, places, f"the slice {group!r}")
        curves[group] = Curve.from_values(places[shown], table[:, shown], summary=summary)
    curves_with_bands(
        ax, curves, xlabel=xlabel, ylabel=ylabel, yscale=yscale, styles=styles, label=label
    )
    if marked is not None:
        ax.axvspan(-marked, marked, color="#e9eef2", lw=0, zorder=0, label="enlarged")
    return count_note(curves, unit=unit, label=label)


@style()
def interpolation(
    ax: Axes,
    fractions: Any,
    values: Mapping[Hashable, Any],
    *,
    ylabel: str,
    xlabel: str = "place between the networks (fraction)",
    unit: str = "pairs",
    bounds: tuple[float, float] = UNBOUNDED,
    yscale: Scale = "linear",
    styles: Mapping[Hashable, Style] | None = None,
    label: str = "{}",
) -> str:
    """Draw a loss, or an error, on the straight line between two networks, and its barrier.

    Thin lines join the mean values at the ends, as a loss would that had no barrier. An upright bar
    marks where the mean line rises highest above its chord. The barrier itself is each pair's own
    highest rise, wherever on the line that is; the note has its mean over pairs and interval, which
    is at least the bar's height. Loss and error have different units: draw them in two panels.

    Args:
        ax: The axes.
        fractions: Positions, increasing from 0 to 1, shape (n,), n >= 3.
        values: For each group (such as ``"as trained"`` and ``"matched"``), shape (pairs, n), or
            (n,) for one pair.
        ylabel: What the values are, with unit.
        xlabel: With unit.
        unit: What the rows of ``values`` are.
        bounds: What the values can be; see ``Curve.from_values``. Barriers cannot be negative.
        yscale: Scale of the y axis. The chord is straight only on ``"linear"``; elsewhere it is
            drawn through all positions, bent as it is.
        styles: How each group looks; by default shades for numbers, colours for the rest.
        label: Legend entry, a format for the group.

    Returns:
        A note with the barriers, in the unit of ``ylabel``, and the counts of pairs. A pair with a
        value that is not finite has no barrier and is left out of its mean.

    Raises:
        UserError: A shape does not fit, or positions do not run from 0 to 1.

    References:
        Entezari, Sedghi, Saukh & Neyshabur, *The role of permutation invariance in linear mode
        connectivity of neural networks* (2022), the definition of the error barrier.
    """
    t = np.asarray(fractions, float)
    ends = t.ndim == 1 and t.size >= 3 and bool(np.isclose(t[[0, -1]], [0, 1], atol=1e-6).all())
    if not ends or not (np.diff(t) > 0).all():
        raise UserError(
            f"the path's fractions have shape {t.shape} and do not increase from 0 to 1; give "
            "shape (n,), n >= 3, both ends included"
        )
    looks = styles if styles is not None else styles_for(values)
    curves: dict[Hashable, Curve] = {}
    texts = []
    for group, rows in values.items():
        table = _table(rows, t, f"the path {group!r}")
        curve = Curve.from_values(t, table, bounds=bounds)
        curves[group] = curve
        barriers = _rise(table, t).max(1)
        text = label.format(group)
        texts.append(f"{text}: {_estimate(barriers)}")
    curves_with_bands(
        ax, curves, xlabel=xlabel, ylabel=ylabel, yscale=yscale, styles=looks, label=label
    )
    named: set[str] = set()
    for index, (group, curve) in enumerate(curves.items()):
        chord = (1 - t) * curve.centre[0] + t * curve.centre[-1]
        # The thin line is the group's own, in its dash: with several groups there are several.
        ax.plot(
            t,
            chord,
            color=NEUTRAL,
            lw=0.9,
            ls=(0, (2, 2)),
            zorder=2.6,
            label="straight line between the ends" if not index else None,
        )
        rise = curve.centre - chord
        if not np.isfinite(rise).any():
            continue
        at = int(np.nanargmax(rise))
        if 0 < at < t.size - 1 and rise[at] > 0:
            ax.errorbar(
                [t[at]],
                [chord[at]],
                yerr=[[0.0], [rise[at]]],
                fmt="none",
                ecolor=looks[group].colour,
                elinewidth=1.4,
                capsize=4,
                capthick=1.4,
                zorder=4,
                label="highest rise of the mean" if "barrier" not in named else None,
            )
            named.add("barrier")
    what = f"A barrier is a path's highest rise above the line between its ends; means over {unit}."
    return f"Barriers: {'; '.join(texts)}. {what} {count_note(curves, unit=unit, label=label)}"


def _table(rows: Any, places: np.ndarray, name: str) -> np.ndarray:
    table = np.asarray(rows, float)
    table = table[None, :] if table.ndim == 1 else table
    if table.ndim != 2 or table.shape[1] != places.size or not len(table):
        raise UserError(
            f"{name} has values of shape {np.shape(rows)} at {places.size} coordinates; give shape "
            f"(seeds, {places.size}) or ({places.size},)"
        )
    return table


def _rise(table: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return each row above the line between its ends, which rise by nothing; NaN stays."""
    rise = table - ((1 - t) * table[:, :1] + t * table[:, -1:])
    rise[:, [0, -1]] = np.where(np.isnan(rise[:, [0, -1]]), np.nan, 0.0)
    rise[~np.isfinite(table)] = np.nan
    return rise


def _estimate(barriers: np.ndarray) -> str:
    kept = barriers[np.isfinite(barriers)]
    if not kept.size:
        return "none finite"
    text = (
        format_number(kept[0], digits=3)
        if kept.size == 1
        else format_estimate(mean_interval(kept, bounds=NOT_NEGATIVE))
    )
    lost = barriers.size - kept.size
    return text + (f" ({lost} of {barriers.size} not finite)" if lost else "")
