"""Labels, scales and ticks of axes."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from implicit_bias.results.figures.series import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Scale = Literal["linear", "log", "symlog"]


def label_axes(
    ax: Axes,
    labels: tuple[str, str],
    scales: tuple[Scale, Scale],
    curves: Mapping[Hashable, Curve] | None = None,
) -> None:
    """Label both axes and set their scales, with ticks that people read.

    Args:
        ax: The axes.
        labels: Of x and y, with units.
        scales: Of x and y.
        curves: What is drawn, for where a symmetric logarithmic axis turns linear, and whether x counts.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

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
        elif scale == "linear" and name == "x" and curves and _whole(curves):
            axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))


def _whole(curves: Mapping[Hashable, Curve]) -> bool:
    """Say whether curves are of whole numbers, between which nothing lies."""
    return all(np.all(np.mod(curve.x, 1) == 0) for curve in curves.values())


def _linear_range(parts: Sequence[np.ndarray]) -> float:
    """Where a symmetric logarithmic axis turns linear: below its data, but within three decades."""
    seen = np.abs(np.concatenate([np.ones(0), *(part.astype(float) for part in parts)]))
    seen = seen[np.isfinite(seen) & (seen > 0)]
    if not len(seen):
        return 1.0
    return float(max(seen.min(), seen.max() / 1000))


NARROW = math.log10(2)
"""Decades of a logarithmic axis below which multiples of a power of ten may all lie outside it."""


def plain_log_ticks(axis: Any) -> None:
    """Label powers of ten of a logarithmic axis, and between them as many as a short range needs."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    def between(value: float, _: Any) -> str:
        low, high = axis.get_view_interval()
        if not 0 < low < high:
            return ""
        decades = math.log10(high / low)
        if decades < NARROW:  # Matplotlib's ticks are evenly spaced there
            return tick_text(value)
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


def ticks_at(ax: Axes, positions: np.ndarray, scale: Scale) -> None:
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
