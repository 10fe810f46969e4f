"""A point a lane: scatter plots, and who was left out of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.results.figures.style import Style, categorical, ordered, style
from implicit_bias.results.figures.ticks import Scale, label_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    label_axes(ax, (xlabel, ylabel), (xscale, yscale))

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
