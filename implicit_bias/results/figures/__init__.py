"""Figures: primitives that every study draws with.

Curves with interval bands, scatter plots, forest plots, planes and lines through the loss, spectra,
small multiples, legends that lie outside the data, and saving. Matplotlib is imported by the
functions that draw, through its object-oriented API: no figure is registered anywhere, and no
setting outlives a call.
"""

from implicit_bias.results.figures.contour import (
    contour as contour,
)
from implicit_bias.results.figures.contour import (
    trajectory as trajectory,
)
from implicit_bias.results.figures.draw import (
    curve_by_group as curve_by_group,
)
from implicit_bias.results.figures.draw import (
    curves_with_bands as curves_with_bands,
)
from implicit_bias.results.figures.draw import (
    reference_line as reference_line,
)
from implicit_bias.results.figures.forest import (
    forest as forest,
)
from implicit_bias.results.figures.forest import (
    have_rows as have_rows,
)
from implicit_bias.results.figures.layout import (
    axes as axes,
)
from implicit_bias.results.figures.layout import (
    image_bytes as image_bytes,
)
from implicit_bias.results.figures.layout import (
    legend as legend,
)
from implicit_bias.results.figures.layout import (
    note as note,
)
from implicit_bias.results.figures.layout import (
    panels as panels,
)
from implicit_bias.results.figures.layout import (
    save as save,
)
from implicit_bias.results.figures.levels import (
    contour_levels as contour_levels,
)
from implicit_bias.results.figures.measures import (
    scatter_measures as scatter_measures,
)
from implicit_bias.results.figures.notes import (
    joint_note as joint_note,
)
from implicit_bias.results.figures.overlay import (
    overlay as overlay,
)
from implicit_bias.results.figures.scatter import (
    Legend as Legend,
)
from implicit_bias.results.figures.scatter import (
    scatter_by_group as scatter_by_group,
)
from implicit_bias.results.figures.series import (
    Curve as Curve,
)
from implicit_bias.results.figures.series import (
    count_note as count_note,
)
from implicit_bias.results.figures.series import (
    curves as curves,
)
from implicit_bias.results.figures.slices import (
    interpolation as interpolation,
)
from implicit_bias.results.figures.slices import (
    slice_lines as slice_lines,
)
from implicit_bias.results.figures.spectrum import (
    density as density,
)
from implicit_bias.results.figures.spectrum import (
    spectrum as spectrum,
)
from implicit_bias.results.figures.style import (
    Style as Style,
)
from implicit_bias.results.figures.style import (
    categorical as categorical,
)
from implicit_bias.results.figures.style import (
    ordered as ordered,
)
from implicit_bias.results.figures.style import (
    style as style,
)
from implicit_bias.results.figures.surface import (
    surface as surface,
)
from implicit_bias.results.figures.ticks import (
    plain_log_ticks as plain_log_ticks,
)
