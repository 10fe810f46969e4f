"""Figures of the landscape study, in the order of the report."""

from __future__ import annotations

from implicit_bias.studies.base import Drawing
from implicit_bias.studies.landscape.path_drawings import (
    draw_interpolation,
    draw_interpolation_error,
    draw_line,
    draw_nearby,
    draw_slices,
)
from implicit_bias.studies.landscape.plane_drawings import (
    all_there,
    draw_contours,
    draw_overlay,
    draw_special,
    draw_surface_large,
    draw_surface_small,
    some_way,
)

DRAWINGS = (
    Drawing(
        "contours", "Rise of the test loss over one random plane through the end point of each arm, by "
        "raw directions and by filter-normalised ones.", draw_contours, all_there,
    ),
    Drawing("overlay", "The same planes of small and large batches over one another, at equal levels.",
            draw_overlay, all_there),
    Drawing("surface-small", "The filter-normalised plane of small batches as a surface.",
            draw_surface_small, all_there),
    Drawing("surface-large", "The filter-normalised plane of large batches as a surface, cut at the "
            "same height.", draw_surface_large, all_there),
    Drawing("slices", "Loss along random directions from each end point.", draw_slices),
    Drawing("interpolation", "Training loss between end points: on the straight line, after matching "
            "hidden units, and on a trained curve.", draw_interpolation),
    Drawing("interpolation-error", "Test error on the same paths.", draw_interpolation_error),
    Drawing("line", "Loss on the straight line through two end points, beyond both.", draw_line),
    Drawing("nearby", "Training loss of random points near the initial weights.", draw_nearby),
    Drawing("special", "Planes of the top Hessian eigenvectors and of the way of training.",
            draw_special, some_way),
)  # fmt: skip
