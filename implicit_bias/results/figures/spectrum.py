"""Eigenvalues by rank, and the density of a whole spectrum."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.results.figures.draw import curve_by_group, curves_with_bands
from implicit_bias.results.figures.series import Curve, Summary, count_note
from implicit_bias.results.figures.style import NEUTRAL, Style, style, styles_for
from implicit_bias.results.figures.ticks import Scale, tick_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@style()
def spectrum(
    ax: Axes,
    eigenvalues: Mapping[Hashable, Any],
    *,
    ylabel: str,
    xlabel: str = "rank of the eigenvalue (1: first)",
    summary: Summary = "mean",
    unit: str = "seeds",
    styles: Mapping[Hashable, Style] | None = None,
    label: str = "{}",
) -> str:
    """Draw the outermost eigenvalues by rank, with intervals over seeds, on a logarithmic axis.

    Nothing is hidden by the logarithm: where any eigenvalue is zero or negative the axis is
    symmetric, linear in a shaded strip around zero and logarithmic on both sides of it, and the
    note says so and counts them.

    Args:
        ax: The axes.
        eigenvalues: For each group, shape (seeds, k), or (k,) for one seed; in the order of rank,
            that is, each seed's falling in value or in magnitude. Not converged ones are NaN.
        ylabel: What they are of, with unit, such as ``"eigenvalue of the Hessian (nats)"``.
        xlabel: With what rank 1 is.
        summary: See ``Curve.from_values``; the geometric mean leaves out what is not positive.
        unit: What the rows are.
        styles: How each group looks; by default shades for numbers, colours for the rest.
        label: Legend entry, a format for the group.

    Returns:
        A note that says what lines, bands and the axis are, and counts.

    Raises:
        UserError: A shape does not fit, or a seed's eigenvalues are not in order.
    """
    curves: dict[Hashable, Curve] = {}
    drawn: list[np.ndarray] = []
    for group, rows in eigenvalues.items():
        table = np.asarray(rows, float)
        table = table[None, :] if table.ndim == 1 else table
        if table.ndim != 2 or not table.size:
            raise UserError(
                f"the eigenvalues of {group!r} have shape {np.shape(rows)}; give shape (seeds, k) "
                "or (k,)"
            )
        _check_order(table, group)
        ranks = np.arange(1, table.shape[1] + 1)
        curves[group] = Curve.from_values(ranks, table, summary=summary)
        drawn.append(table[np.isfinite(table)])
    every = np.concatenate([np.ones(0), *drawn])
    low = int((every <= 0).sum()) if summary != "geometric mean" else 0
    options: dict[str, Any] = {"xlabel": xlabel, "ylabel": ylabel, "styles": styles, "label": label}
    curve_by_group(ax, curves, xscale="linear", yscale="symlog" if low else "log", **options)
    text = count_note(curves, unit=unit, label=label)
    if not low:
        cut = any((curve.low <= 0).any() for curve in curves.values())
        return text + (" Intervals that reach zero run to the axis's edge." if cut else "")
    near = _mark_linear_strip(ax, "y")
    return (
        f"{text} {low} of {every.size} eigenvalues are not positive: the vertical axis is linear "
        f"between −{near:.2g} and {near:.2g} (shaded), and logarithmic beyond."
    )


def _check_order(table: np.ndarray, group: Hashable) -> None:
    for row in table:
        kept = row[np.isfinite(row)]
        slack = 1e-6 * np.abs(kept).max(initial=0.0)  # of equal ones, either may come first
        if not ((np.diff(kept) <= slack).all() or (np.diff(np.abs(kept)) <= slack).all()):
            raise UserError(
                f"the eigenvalues of {group!r} are not in the order of their rank; sort each seed's "
                "so that they fall in value, or in magnitude"
            )


def _mark_linear_strip(ax: Axes, name: Literal["x", "y"]) -> float:
    """Shade where a symmetric logarithmic axis is linear, and space its ticks; return the edge."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis = ax.xaxis if name == "x" else ax.yaxis
    span, line = (ax.axvspan, ax.axvline) if name == "x" else (ax.axhspan, ax.axhline)
    near = float(axis.get_transform().linthresh)  # type: ignore[attr-defined]
    low, high = ax.get_xlim() if name == "x" else ax.get_ylim()
    span(-near, near, color="#eeeeee", lw=0, zorder=0, label=f"{name} axis linear here")
    line(0.0, color=NEUTRAL, lw=0.8, zorder=1)
    first = math.ceil(math.log10(near) - 1e-9)

    def decades(edge: float) -> list[float]:
        if edge <= near:
            return []
        exponents = range(first, math.floor(math.log10(edge) + 1e-9) + 1)
        return [10.0**exponent for exponent in exponents[:: max(1, math.ceil(len(exponents) / 4))]]

    def written(value: float, _: Any) -> str:
        text = tick_text(value)
        return text if text.startswith("$") else text.replace("-", "−")

    ticks = [-tick for tick in reversed(decades(-low))] + [0.0] + decades(high)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(written))
    if name == "x":
        ax.set_xlim(low, high)
    else:
        ax.set_ylim(low, high)
    return near


# --------------------------------------------------------------------------------------------------


@style()
def density(
    ax: Axes,
    densities: Mapping[Hashable, tuple[Any, Any, Any]],
    *,
    n_probes: int,
    xlabel: str,
    ylabel: str = "density (share of eigenvalues per unit)",
    spikes: Mapping[Hashable, Any] | None = None,
    share: float | None = None,
    floor: float | None = None,
    level: float = 0.95,
    xscale: Scale = "linear",
    styles: Mapping[Hashable, Style] | None = None,
    label: str = "{}",
) -> str:
    """Draw spectral densities on a logarithmic axis, with bands over probes and exact spikes.

    A spike is one eigenvalue that is known, not a density: its stem's height means nothing unless
    ``share`` is given, and its value is written on it where there is room.

    Args:
        ax: The axes.
        densities: For each group the eigenvalues at which the density is given, shape (g,),
            increasing; the density, shape (g,); and its standard error over probes, shape (g,).
        n_probes: How many probes; the bands are their t-intervals. One has no band.
        xlabel: The eigenvalue, with unit.
        ylabel: With unit. The density is per unit of eigenvalue on every ``xscale``.
        spikes: For some of the groups the eigenvalues that were found exactly, shape (k,).
        share: How high a stem is: the density that one eigenvalue of p has after smoothing with
            standard deviation σ, 1 / (p σ √(2π)). By default stems reach to a third of the axes.
        floor: Where the axis ends below; by default six decades under the highest density. Tails of
            smoothing reach further down and mean nothing.
        level: Of the bands, between 0 and 1.
        xscale: ``"symlog"`` shows spikes far outside of the bulk: linear over nine tenths of it.
        styles: How each group looks; by default shades for numbers, colours for the rest.
        label: Legend entry, a format for the group.

    Returns:
        A note that says what bands and stems are, and counts spikes and what is not finite.

    Raises:
        UserError: A shape does not fit, there is no probe, ``level`` is not in (0, 1), ``floor`` or
            ``share`` is not positive, or spikes belong to no group.
    """
    if n_probes < 1 or not 0 < level < 1:
        raise UserError(
            f"n_probes is {n_probes} and level {level}; choose n_probes >= 1 and 0 < level < 1"
        )
    for name, bound in (("floor", floor), ("share", share)):
        if bound is not None and not bound > 0:
            raise UserError(f"{name} is {bound}; choose {name} > 0, or None")
    given = {} if spikes is None else spikes
    if strangers := [group for group in given if group not in densities]:
        raise UserError(f"there are spikes of {strangers[0]!r}, which has no density; give one")
    band = f"{100 * level:g} % t-intervals over {n_probes} probes" if n_probes > 1 else "none"
    curves = {
        group: _density_curve(group, parts, n_probes, level, band)
        for group, parts in densities.items()
    }
    looks = styles if styles is not None else styles_for(densities)
    curves_with_bands(
        ax,
        curves,
        xlabel=xlabel,
        ylabel=ylabel,
        xscale="linear" if xscale == "symlog" else xscale,
        yscale="log",
        styles=looks,
        label=label,
    )
    if xscale == "symlog":
        ax.set_xscale("symlog", linthresh=max(map(_bulk, curves.values()), default=1.0))
    peaks = [curve.centre[np.isfinite(curve.centre)].max(initial=0.0) for curve in curves.values()]
    peak = max(peaks, default=0.0)
    tops = [curve.high[np.isfinite(curve.high)].max(initial=0.0) for curve in curves.values()]
    bottom = floor if floor is not None else 1e-6 * peak
    if 0 < bottom < peak:
        ax.set_ylim(bottom, 2 * max(peak, *tops))
    text = f"Lines: mean over {n_probes} probes; bands: {band}."
    if n_probes == 1:
        text = "Lines: one probe, which has no band."
    lost = sum(int((~np.isfinite(curve.centre)).sum()) for curve in curves.values())
    text += f" {lost} densities are not finite." if lost else ""
    values = {
        group: np.asarray(found, float).ravel() for group, found in given.items() if np.size(found)
    }
    if values:
        text += _stems(ax, values, looks, share, label)
    if xscale == "symlog":
        near = _mark_linear_strip(ax, "x")
        text += f" Horizontal axis: linear between −{near:.2g} and {near:.2g} (shaded), where nine "
        text += "tenths of the density are, and logarithmic beyond."
    return text


def _density_curve(
    group: Hashable, parts: tuple[Any, Any, Any], n_probes: int, level: float, band: str
) -> Curve:
    from scipy.special import stdtrit

    grid, centre, error = (np.asarray(part, float) for part in parts)
    if grid.ndim != 1 or not grid.shape == centre.shape == error.shape or grid.size < 2:
        raise UserError(
            f"the density of {group!r} has grid, density and standard error of shapes {grid.shape}, "
            f"{centre.shape} and {error.shape}; give three of shape (g,), g >= 2"
        )
    if not np.isfinite(grid).all() or not (np.diff(grid) > 0).all():
        raise UserError(f"the density of {group!r} has a grid that does not increase; sort it")
    centre = np.where(np.isfinite(centre), centre, np.nan)
    half = error * stdtrit(n_probes - 1, (1 + level) / 2) if n_probes > 1 else np.nan * error
    count = np.full(grid.size, n_probes)
    return Curve(grid, centre, centre - half, centre + half, count, count, band=band)


def _bulk(curve: Curve) -> float:
    """Return the distance from zero within which nine tenths of a density lie."""
    spacing = np.gradient(np.asarray(curve.x, float))
    mass = np.where(np.isfinite(curve.centre), np.maximum(curve.centre, 0.0), 0.0) * spacing
    distance = np.abs(curve.x)
    order = np.argsort(distance)
    total = np.cumsum(mass[order])
    if not total[-1] > 0:
        return 1.0
    at = int(np.searchsorted(total, 0.9 * total[-1]))
    return float(distance[order][min(at, len(order) - 1)]) or float(spacing.min())


def _stems(
    ax: Axes,
    spikes: Mapping[Hashable, np.ndarray],
    looks: Mapping[Hashable, Style],
    share: float | None,
    label: str,
) -> str:
    """Draw stems, and the values of those that have room, the outermost first."""
    transform = ax.get_xaxis_transform() if share is None else ax.transData
    bottom, top = (0.0, 1 / 3) if share is None else (ax.get_ylim()[0], share)
    every: list[float] = []
    lost = 0
    for group, found in spikes.items():
        finite = found[np.isfinite(found)]
        lost += found.size - finite.size
        look = looks[group]
        ax.vlines(
            finite,
            bottom,
            top,
            transform=transform,
            colors=look.colour,
            lw=1.0,
            zorder=2.8,
        )
        name = label.format(group)
        ax.plot(
            finite,
            np.full(finite.size, top),
            transform=transform,
            ls="none",
            marker=look.marker,
            ms=4.5,
            mfc="white",
            mec=look.colour,
            mew=1.1,
            zorder=3.2,
            label=f"{name}: exact eigenvalues" if len(looks) > 1 else "exact eigenvalues",
        )
        every += finite.tolist()
    written = _write_values(ax, every, top, transform)
    number = len(every)
    text = f" Stems: {number} exact eigenvalues"
    text += f" ({lost} more are not finite)" if lost else ""
    text += ", height without meaning" if share is None else ", as high as one eigenvalue smoothed"
    return text + (f"; values are written on {written} of them." if written < number else ".")


def _write_values(ax: Axes, every: list[float], top: float, transform: Any) -> int:
    """Write values upright above their stems, skipping those too near to one that is written."""
    from matplotlib.patheffects import withStroke

    figure: Any = ax.figure
    figure.draw_without_rendering()  # the layout decides how far apart two values lie
    apart = 11 / 72 * figure.dpi  # a line of small print
    taken: list[float] = []
    low, high = ax.get_xlim()
    for value in sorted(every, key=lambda one: -abs(one)):
        place = float(ax.transData.transform((value, 1.0))[0])
        if not low <= value <= high or any(abs(place - other) < apart for other in taken):
            continue
        taken.append(place)
        written = ax.annotate(
            tick_text(float(f"{value:.3g}")).replace("-", "−", 1),
            (value, top),
            xycoords=transform,
            xytext=(0, 5),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=7,
            zorder=4,
        )
        written.set_path_effects([withStroke(linewidth=2.0, foreground="white")])
    return len(taken)
