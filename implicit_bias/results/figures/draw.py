"""What is drawn inside axes: curves with bands, scatter plots, forests of effects.

Every function takes matplotlib's axes, labels both of them, and returns or registers what a legend
needs; the legend itself is put outside the data by ``layout.legend``.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.results.figures.series import Curve
from implicit_bias.results.figures.style import (
    NEUTRAL,
    Style,
    categorical,
    ordered,
    style,
    styles_for,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Scale = Literal["linear", "log", "symlog"]


@dataclass(frozen=True)
class Legend:
    """What a drawing needs explained.

    Attributes:
        title: What the entries are.
        handles: Labelled artists for ``layout.legend``.
    """

    title: str
    handles: list[Any] = field(default_factory=list)


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
        _ticks_at(ax, np.unique(np.concatenate(positions)), xscale)


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
    _finish(ax, labels, scales, curves)
    if not any(np.isfinite(curve.centre).any() for curve in curves.values()):
        ax.text(0.5, 0.5, "no value to draw", transform=ax.transAxes, ha="center", color=NEUTRAL)


def _floor(curves: Mapping[Hashable, Curve]) -> float:
    """Where a band that reaches zero ends on a logarithmic axis: below all that is positive."""
    parts = [np.concatenate([one.centre, one.low]) for one in curves.values()]
    seen = np.concatenate([np.ones(0), *parts])
    positive = seen[np.isfinite(seen) & (seen > 0)]
    return float(positive.min()) / 2 if len(positive) else 1e-12


def _finish(
    ax: Axes,
    labels: tuple[str, str],
    scales: tuple[Scale, Scale],
    curves: Mapping[Hashable, Curve] | None = None,
) -> None:
    from matplotlib.ticker import FuncFormatter

    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    for name, axis, scale in (("x", ax.xaxis, scales[0]), ("y", ax.yaxis, scales[1])):
        if scale == "symlog":
            parts = [one.x if name == "x" else one.centre for one in (curves or {}).values()]
            getattr(ax, f"set_{name}scale")("symlog", linthresh=_linear_range(parts))
            axis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value)))
        elif scale == "log" and math.isfinite(axis.get_minpos()):  # without data there is no log
            getattr(ax, f"set_{name}scale")("log")
            plain_log_ticks(axis)


def _linear_range(parts: Sequence[np.ndarray]) -> float:
    """Where a symmetric logarithmic axis turns linear: below its data, but within three decades."""
    seen = np.abs(np.concatenate([np.ones(0), *(part.astype(float) for part in parts)]))
    seen = seen[np.isfinite(seen) & (seen > 0)]
    if not len(seen):
        return 1.0
    return float(max(seen.min(), seen.max() / 1000))


def plain_log_ticks(axis: Any) -> None:
    """Label powers of ten of a logarithmic axis, and between them as many as a short range needs."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    def between(value: float, _: Any) -> str:
        low, high = axis.get_view_interval()
        if not 0 < low < high:
            return ""
        decades = math.log10(high / low)
        wanted = (
            (2, 3, 5, 7)
            if decades < 0.9
            else (2, 5)
            if decades < 1.8
            else (3,)
            if decades < 2.6
            else ()
        )
        lead = round(value / 10 ** math.floor(math.log10(value) + 1e-9))
        return tick_text(value) if lead in wanted else ""

    axis.set_major_locator(LogLocator(numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value)))
    axis.set_minor_locator(LogLocator(subs=range(2, 10), numticks=8))
    axis.set_minor_formatter(FuncFormatter(between))


def tick_text(value: float) -> str:
    """Write a tick: plain where short, else as a power of ten."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)) + 1e-9)
    if -5 < exponent < 5:
        return f"{value:g}"
    lead = value / 10.0**exponent
    return (
        f"$10^{{{exponent}}}$" if abs(lead - 1) < 1e-6 else f"${lead:.3g}\\times 10^{{{exponent}}}$"
    )


def _ticks_at(ax: Axes, positions: np.ndarray, scale: Scale) -> None:
    """Put the x axis's ticks at the positions, as many as there is room for."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    positions = positions[positions > 0] if scale == "log" else positions
    if not len(positions):
        return
    spec = ax.get_subplotspec()
    columns = spec.get_gridspec().ncols if spec is not None else 1
    inches = 0.8 * ax.figure.get_figwidth() / columns  # type: ignore[union-attr]
    along = np.log(positions) if scale == "log" else positions.astype(float)
    apart = (along[-1] - along[0]) * 0.4 / inches  # 0.4 inch a label
    kept = [len(along) - 1]
    for index in range(len(along) - 2, -1, -1):
        if along[kept[-1]] - along[index] >= 0.99 * apart:
            kept.append(index)
    ax.xaxis.set_major_locator(FixedLocator([float(positions[index]) for index in reversed(kept)]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value)))
    # Those without room for a label keep a mark.
    ax.xaxis.set_minor_locator(FixedLocator([float(place) for place in positions]))
    ax.xaxis.set_minor_formatter(NullFormatter())


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


# --------------------------------------------------------------------------------------------------


@style()
def scatter_by_group(
    ax: Axes,
    x: Any,
    y: Any,
    group: Sequence[Hashable] | np.ndarray,
    shade: Sequence[Any] | np.ndarray | None = None,
    *,
    xlabel: str,
    ylabel: str,
    group_title: str = "",
    shade_title: str = "",
    styles: Mapping[Hashable, Style] | None = None,
    dropped: Mapping[str, Any] | None = None,
    xscale: Scale = "linear",
    yscale: Scale = "linear",
) -> tuple[list[Legend], str]:
    """Draw one point a lane, marked by group (arm) and shaded by an ordered quantity (batch size).

    Args:
        ax: The axes.
        x: Shape (lanes,).
        y: Shape (lanes,).
        group: Shape (lanes,).
        shade: Shape (lanes,), ordered; light for small, dark for large. Without it, colours tell
            groups.
        xlabel: With unit.
        ylabel: With unit.
        group_title: What the groups are, for the legend.
        shade_title: What the shades are, for the legend.
        styles: How each group looks.
        dropped: Reasons to leave out a lane whatever its values (``{"missed the target": mask}``),
            each of shape (lanes,). A lane is counted under its first reason.
        xscale: Scale of the x axis.
        yscale: Scale of the y axis.

    Returns:
        What the legends need (one for groups, one for shades), and a note that counts the points,
        those left out for each reason, and those that could not be drawn because a value was not
        finite, or not positive on a log axis.

    Raises:
        UserError: The arrays are not of the same length.
    """
    from matplotlib.lines import Line2D

    x, y = np.asarray(x, float), np.asarray(y, float)
    groups = [one.item() if isinstance(one, np.generic) else one for one in group]
    shades = None if shade is None else np.asarray(shade)
    lengths = {len(x), len(y), len(groups), len(x) if shades is None else len(shades)}
    if len(lengths) > 1:
        raise UserError(
            f"the scatter plot's arrays have lengths {sorted(lengths)}; give one value a lane"
        )
    kept, causes = left_after(dropped, len(x))
    drawn = kept & np.isfinite(x) & np.isfinite(y)
    drawn &= (x > 0) | (xscale != "log")
    drawn &= (y > 0) | (yscale != "log")
    names = list(dict.fromkeys(groups))
    looks = styles if styles is not None else categorical(names)
    levels = [] if shades is None else [one.item() for one in np.unique(shades)]
    colours = {level: look.colour for level, look in ordered(levels).items()}
    for name in names:
        member = drawn & np.array([other == name for other in groups], bool)
        for level in levels or [None]:
            here = member if shades is None else member & (shades == level)
            ax.plot(
                x[here],
                y[here],
                linestyle="none",
                marker=looks[name].marker,
                markersize=5.5,
                markerfacecolor=looks[name].colour if shades is None else colours[level],
                markeredgecolor="#262626",
                markeredgewidth=0.4,
                alpha=0.85,
                zorder=3,
            )
    _finish(ax, (xlabel, ylabel), (xscale, yscale))

    def key(name: Any, marker: str, colour: str) -> Any:
        return Line2D(
            [],
            [],
            ls="none",
            marker=marker,
            mfc=colour,
            mec="#262626",
            mew=0.4,
            ms=6,
            label=str(name),
        )

    legends = [
        Legend(
            group_title,
            [
                key(one, looks[one].marker, looks[one].colour if shades is None else "white")
                for one in names
            ],
        )
    ]
    if shades is not None:
        legends.append(Legend(shade_title, [key(one, "o", colours[one]) for one in levels]))
    if lost := int((kept & ~drawn).sum()):
        why = "not finite" + (", or not positive" if "log" in (xscale, yscale) else "")
        causes.append(f"{lost} could not be drawn ({why})")
    text = f"Points: {int(drawn.sum())} of {len(x)} lanes"
    return legends, "; ".join([text, *causes]) + "."


def left_after(dropped: Mapping[str, Any] | None, lanes: int) -> tuple[np.ndarray, list[str]]:
    """Take lanes out for reasons.

    Args:
        dropped: For each reason a mask of shape (lanes,).
        lanes: How many there are.

    Returns:
        Which are left, shape (lanes,), and how many each reason took, in words.

    Raises:
        UserError: A mask has another length.
    """
    left, said = np.ones(lanes, bool), []
    for reason, mask in (dropped or {}).items():
        mask = np.asarray(mask, bool)
        if mask.shape != left.shape:
            raise UserError(
                f"the lanes dropped as {reason!r} have shape {mask.shape}; give shape ({lanes},)"
            )
        if (left & mask).any():
            said.append(f"{int((left & mask).sum())} {reason}")
        left &= ~mask
    return left, said
