"""How things look."""

from __future__ import annotations

import math
import subprocess
import sys

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb

from implicit_bias.results import figures
from implicit_bias.results.figures.style import DASHES, MARKERS, PALETTE


def lightness(colour: str) -> float:
    linear = np.array(to_rgb(colour))
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return 116 * np.cbrt(luminance) - 16 if luminance > 0.008856 else 903.3 * luminance


def test_colours_differ_in_grey() -> None:
    # Breaks if two colours print as one grey, or one is too pale to see on white.
    greys = sorted(lightness(colour) for colour in PALETTE)
    assert min(np.diff(greys)) >= 5
    assert min(np.diff(sorted(lightness(colour) for colour in PALETTE[:4]))) >= 18
    assert greys[-1] < 76


def test_groups_are_told_apart_without_colour() -> None:
    # Breaks if marker and dash repeat before eight groups are through.
    looks = list(figures.categorical(range(len(PALETTE))).values())
    assert len({(look.marker, str(look.dash)) for look in looks}) == len(looks)
    assert math.gcd(len(PALETTE), len(MARKERS)) == 1  # so that colours repeat with other markers
    assert math.gcd(len(PALETTE), len(DASHES)) == 1


def test_ordered_shades_darken_evenly() -> None:
    # Breaks if a shade map is used that is not monotone in grey.
    greys = [lightness(look.colour) for look in figures.ordered(range(6)).values()]
    steps = np.diff(greys)
    assert (steps < -5).all()


def test_style_leaves_no_trace() -> None:
    # Breaks if importing or drawing changes the user's matplotlib settings, or obeys them.
    with matplotlib.rc_context({"font.size": 31.0, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        _, ax = figures.axes()
        figures.curve_by_group(ax, {}, xlabel="x (1)", ylabel="y (1)")
        assert ax.xaxis.label.get_size() < 12
        assert to_rgb(ax.get_facecolor()) == (1, 1, 1)
        assert dict(matplotlib.rcParams) == before


def test_import_is_light() -> None:
    # Breaks if importing the figures loads matplotlib, or drawing loads pyplot and a window system.
    code = (
        "import sys; from implicit_bias.results import figures, table, report;"
        "assert 'matplotlib' not in sys.modules;"
        "f, ax = figures.axes(); figures.image_bytes(f);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
