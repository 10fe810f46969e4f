"""A measure against the test error, with the rank correlation that the points show."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.results.figures.scatter import Legend, left_after, scatter_by_group
from implicit_bias.results.figures.style import Style, style
from implicit_bias.results.figures.ticks import Scale
from implicit_bias.results.statistics import pooled_spearman, spearman
from implicit_bias.results.table import format_estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@style()
def scatter_measures(
    ax: Axes,
    measure: Any,
    error: Any,
    group: Sequence[Hashable] | np.ndarray,
    *,
    xlabel: str,
    ylabel: str,
    seed: Any = None,
    group_title: str = "",
    styles: Mapping[Hashable, Style] | None = None,
    dropped: Mapping[str, Any] | None = None,
    xscale: Scale = "log",
    yscale: Scale = "linear",
    level: float = 0.95,
) -> tuple[list[Legend], str]:
    """Draw a measure against an error, one point a seed and group, with Spearman's correlation.

    The correlation over all points mixes what groups and what seeds do; with two or more groups the
    note has the one within groups as well: of ranks taken in each group alone. Ranks need no
    logarithm: points that a log axis cannot show still count in the correlation.

    Args:
        ax: The axes.
        measure: Shape (lanes,), such as a sharpness.
        error: Shape (lanes,), such as the test error.
        group: Shape (lanes,), such as the arm; told by marker and colour.
        xlabel: The measure, with unit.
        ylabel: The error, with unit.
        seed: Shape (lanes,); lanes that share a seed are not independent, and with it whole seeds
            are resampled. Without it, lanes count as independent, which the note says.
        group_title: What the groups are, for the legend.
        styles: How each group looks.
        dropped: As for ``scatter_by_group``; lanes left out do not count in correlations.
        xscale: Scale of the x axis.
        yscale: Scale of the y axis.
        level: Of the correlation's interval, between 0 and 1.

    Returns:
        What the legend needs, and a note that counts points and has the correlations.

    Raises:
        UserError: The arrays are not of the same length, or ``level`` is not in (0, 1).
    """
    x, y = np.asarray(measure, float), np.asarray(error, float)
    names = [one.item() if isinstance(one, np.generic) else one for one in group]
    seeds = None if seed is None else np.asarray(seed)
    shapes = {x.shape, y.shape, (len(names),), x.shape if seeds is None else seeds.shape}
    if len(shapes) > 1 or x.ndim != 1:
        raise UserError(
            f"measure, error, group and seed have shapes {sorted(shapes)}; give one value a lane"
        )
    if not 0 < level < 1:
        raise UserError(f"level is {level}; choose one between 0 and 1, such as 0.95")
    legends, text = scatter_by_group(
        ax,
        x,
        y,
        names,
        xlabel=xlabel,
        ylabel=ylabel,
        group_title=group_title,
        styles=styles,
        dropped=dropped,
        xscale=xscale,
        yscale=yscale,
    )
    order = list(dict.fromkeys(names))
    arms = np.array([order.index(name) for name in names], int)
    kept = left_after(dropped, len(x))[0]
    x, y, arms, seeds = x[kept], y[kept], arms[kept], None if seeds is None else seeds[kept]
    found = f"Rank correlation over all {format_estimate(spearman(x, y, level, clusters=seeds))}"
    meaning = ""
    if len(order) > 1:
        within = pooled_spearman(x, y, arms, level, clusters=seeds)
        found += f", within groups {format_estimate(within)}"
        meaning = "; within groups: of ranks taken in each group alone, all groups together"
    how = "lanes taken as independent" if seeds is None else "seeds resampled"
    return legends, f"{text} {found}. Spearman's correlations [{100 * level:g} %, {how}]{meaning}."
