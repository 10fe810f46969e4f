"""Curves with bands, and lines across: what is drawn inside axes.

Every function takes matplotlib's axes and labels both of them, or registers what a legend needs; the legend
itself is put outside the data by ``layout.legend``.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from implicit_bias.results.figures.series import Curve
from implicit_bias.results.figures.style import NEUTRAL, Style, style, styles_for
from implicit_bias.results.figures.ticks import Scale, label_axes, ticks_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@style()
def curve_by_group(
    ax: Axes,
    curves: Mapping[Hashable, Curve],
    *,
    xlabel: str,
    ylabel: str,
    styles: Mapping[Hashable, Style] | None = None,
    xscale: Scale = "log",
    yscale: Scale = "linear",
    label: str = "{}",
) -> None:
    """Draw one line with its interval for each group, over a few positions (such as batch sizes).

    Positions get a marker and are the axis's ticks. A position whose neighbours have no interval
    gets an error bar, as a band of no width would not show.

    Args:
        ax: The axes.
        curves: The curves, in the order of the legend.
        xlabel: With unit.
        ylabel: With unit.
        styles: How each group looks; by default shades for numbers, colours for the rest.
        xscale: Scale of the x axis.
        yscale: Scale of the y axis; an interval that reaches zero runs to the lower edge on
            ``"log"``.
        label: Legend entry, a format for the group.
    """
    _draw_curves(ax, curves, styles, (xlabel, ylabel), (xscale, yscale), label, marked=True)
    positions = [curve.x for curve in curves.values()]
    if positions:
        ticks_at(ax, np.unique(np.concatenate(positions)), xscale)


@style()
def curves_with_bands(
    ax: Axes,
    curves: Mapping[Hashable, Curve],
    *,
    xlabel: str,
    ylabel: str,
    styles: Mapping[Hashable, Style] | None = None,
    xscale: Scale = "linear",
    yscale: Scale = "linear",
    label: str = "{}",
) -> None:
    """Draw one line with its interval for each group, over many positions (such as steps or radii).

    Arguments are those of ``curve_by_group``; lines carry a few markers, and ticks are
    matplotlib's.

    Args:
        ax: The axes.
        curves: The curves, in the order of the legend.
        xlabel: With unit.
        ylabel: With unit.
        styles: How each group looks; by default shades for numbers, colours for the rest.
        xscale: Scale of the x axis; positions that are not positive are left out on ``"log"``.
        yscale: Scale of the y axis.
        label: Legend entry, a format for the group.
    """
    _draw_curves(ax, curves, styles, (xlabel, ylabel), (xscale, yscale), label, marked=False)


def _draw_curves(
    ax: Axes,
    curves: Mapping[Hashable, Curve],
    styles: Mapping[Hashable, Style] | None,
    labels: tuple[str, str],
    scales: tuple[Scale, Scale],
    label: str,
    *,
    marked: bool,
) -> None:
    looks = styles if styles is not None else styles_for(curves)
    floor = _floor(curves) if scales[1] == "log" else -math.inf
    for order, (group, curve) in enumerate(curves.items()):
        look = looks[group]
        shown = curve.x > 0 if scales[0] == "log" else np.ones(len(curve.x), bool)
        x, centre, low, high = (
            part[shown] for part in (curve.x, curve.centre, curve.low, curve.high)
        )
        if scales[1] == "log":
            centre = np.where(centre > 0, centre, np.nan)
            low = np.where(high > 0, np.maximum(low, floor), np.nan)
        finite = np.flatnonzero(np.isfinite(centre))
        # Markers tell lines apart in grey; on a dense line a few do, at other places on each line.
        every = max(1, len(finite) // 5)
        points = None if marked else list(finite[(order * every // 3) % every :: every])
        ax.plot(
            x,
            centre,
            color=look.colour,
            linestyle=look.dash,
            marker=look.marker,
            markevery=points,
            markersize=5.0 if marked else 4.0,
            label=label.format(group),
            zorder=3 + 0.01 * order,
        )
        banded = np.isfinite(low) & np.isfinite(high)
        ax.fill_between(x, low, high, where=banded, color=look.colour, alpha=0.16, lw=0, zorder=2)
        for edge in (low, high):  # in grey print, crossing bands are told apart by their edges
            ax.plot(
                x, np.where(banded, edge, np.nan), color=look.colour, lw=0.5, alpha=0.6, zorder=2
            )
        neighbours = np.pad(banded, 1)
        alone = banded & ~neighbours[:-2] & ~neighbours[2:]
        if alone.any():
            ax.errorbar(
                x[alone],
                centre[alone],
                yerr=np.maximum([centre[alone] - low[alone], high[alone] - centre[alone]], 0),
                fmt="none",
                ecolor=look.colour,
                elinewidth=1.2,
                capsize=3,
                zorder=2.5,
            )
    label_axes(ax, labels, scales, curves)
    if not any(np.isfinite(curve.centre).any() for curve in curves.values()):
        ax.text(0.5, 0.5, "no value to draw", transform=ax.transAxes, ha="center", color=NEUTRAL)


def _floor(curves: Mapping[Hashable, Curve]) -> float:
    """Where a band that reaches zero ends on a logarithmic axis: below all that is positive."""
    parts = [np.concatenate([one.centre, one.low]) for one in curves.values()]
    seen = np.concatenate([np.ones(0), *parts])
    positive = seen[np.isfinite(seen) & (seen > 0)]
    return float(positive.min()) / 2 if len(positive) else 1e-12


@style()
def reference_line(ax: Axes, value: float, text: str, *, axis: Literal["x", "y"] = "y") -> None:
    """Draw a thin grey line across the axes, such as 2/η or a target loss.

    Args:
        ax: The axes.
        value: Where.
        text: Legend entry.
        axis: Which axis ``value`` is on.
    """
    line = ax.axhline if axis == "y" else ax.axvline
    line(value, color=NEUTRAL, lw=1.0, ls=(0, (2, 2)), label=text, zorder=1.5)
