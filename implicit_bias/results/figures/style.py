"""How things look: fonts and sizes, and a colour, marker and dash for each group.

Colours start from the Okabe–Ito hues, which people with colour vision deficiencies tell apart, and
are moved in lightness so that no two of them share a grey. Markers and dashes say the same thing
once more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

PALETTE = (
    "#02456f",  # dark blue, lightness (CIE L*) 28
    "#dc9906",  # orange, 68
    "#0c825f",  # green, 48
    "#181818",  # near black, 8
    "#53c0fb",  # sky blue, 74
    "#d45e03",  # vermilion, 54
    "#8a3f04",  # brown, 36
    "#ce73a6",  # pink, 60
)
"""Eight colours, the first four at least 20 apart in CIE lightness and all at least 6. Under
simulated protanopia and deuteranopia no two are closer than 14 in CIELAB."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "*")
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.2, 1.2)),
    (0, (6, 1.5, 1.2, 1.5)),
    (0, (3, 1, 1, 1, 1, 1)),
)
NEUTRAL = "#6b6b6b"
"""For reference lines and everything that is not data; a grey with contrast 5.3 on white."""
SMALL_PRINT = "#4a4a4a"
"""For notes; contrast 8.9 on white."""

_SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib: the same picture everywhere
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    # labels of minor ticks, whose marks are shorter, on the line of the others
    "xtick.minor.pad": 5.0,
    "ytick.minor.pad": 5.0,
    "text.hinting": "none",  # the same widths at every resolution
    "legend.fontsize": 8.5,
    "legend.title_fontsize": 8.5,
    "legend.frameon": False,
    "figure.titlesize": 11.0,
    "figure.titleweight": "bold",
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": "#4d4d4d",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e2e2e2",
    "grid.linewidth": 0.7,
    "grid.linestyle": "-",
    "lines.linewidth": 1.6,
    "lines.markersize": 5.0,
    "axes.unicode_minus": True,
    "svg.hashsalt": "implicit_bias",  # the same figure is the same file
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "savefig.bbox": None,
    "text.usetex": False,
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draw inside this context (or decorate a function with it) to get the look of the reports.

    Every primitive of this package enters it by itself; a study needs it only around its own calls
    of matplotlib. The user's settings, ``matplotlibrc`` included, do not reach the figures and are
    as before on leaving.
    """
    from matplotlib.style import context

    with context(["default", _SETTINGS]):
        yield


@dataclass(frozen=True)
class Style:
    """How one group is drawn.

    Attributes:
        colour: Hexadecimal colour.
        marker: Matplotlib marker.
        dash: Matplotlib line style.
    """

    colour: str
    marker: str = "o"
    dash: Any = "-"


def categorical(groups: Iterable[Hashable]) -> dict[Hashable, Style]:
    """Give each of several unordered groups (such as arms) its own look.

    Call it once a study and pass the result to every figure, so that an arm looks the same
    everywhere.

    Args:
        groups: The groups, the most important first.

    Returns:
        A style for each group, in order. Colours repeat after 8 groups, with other markers and
        dashes.
    """
    return {
        group: Style(
            PALETTE[index % len(PALETTE)],
            MARKERS[index % len(MARKERS)],
            DASHES[index % len(DASHES)],
        )
        for index, group in enumerate(dict.fromkeys(groups))
    }


def ordered(groups: Iterable[Hashable]) -> dict[Hashable, Style]:
    """Give each of several ordered groups (such as batch sizes) its own shade, light to dark.

    Args:
        groups: The groups in order; the first is the lightest.

    Returns:
        A style for each group; shades run along a map that is even in lightness (viridis).
    """
    import matplotlib
    from matplotlib.colors import to_hex

    names = list(dict.fromkeys(groups))
    shades = matplotlib.colormaps["viridis"]
    lightest = 0.75  # beyond it the map is too pale on white
    return {
        group: Style(
            to_hex(shades(lightest * (1 - index / max(len(names) - 1, 1)))),
            MARKERS[index % len(MARKERS)],
            DASHES[(len(names) - 1 - index) % len(DASHES)],
        )
        for index, group in enumerate(names)
    }


def styles_for(groups: Iterable[Hashable]) -> dict[Hashable, Style]:
    """Choose ``ordered`` for two or more numbers, ``categorical`` for anything else."""
    names = list(groups)
    numbers = all(isinstance(name, (int, float)) and not isinstance(name, bool) for name in names)
    if numbers and len(names) > 1:
        return ordered(sorted(names))  # type: ignore[type-var]
    return categorical(names)
