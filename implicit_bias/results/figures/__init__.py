"""Figures: primitives that every study draws with.

Curves with interval bands, scatter plots, forest plots, small multiples, legends that lie outside
the data, and saving. Matplotlib is imported by the functions that draw, through its object-oriented
API: no figure is registered anywhere, and no setting outlives a call.
"""

from implicit_bias.results.figures.draw import (
    Legend as Legend,
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
from implicit_bias.results.figures.draw import (
    scatter_by_group as scatter_by_group,
)
from implicit_bias.results.figures.forest import (
    forest as forest,
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
from implicit_bias.results.figures.series import (
    Curve as Curve,
)
from implicit_bias.results.figures.series import (
    count_note as count_note,
)
from implicit_bias.results.figures.series import (
    curves as curves,
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
