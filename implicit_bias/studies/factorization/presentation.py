"""Figures in order, and methods of the factorization study."""

from __future__ import annotations

from implicit_bias.studies.base import Drawing
from implicit_bias.studies.factorization.drawings import (
    draw_depth,
    draw_modes,
    draw_plane,
    draw_ranks,
    draw_scales,
    draw_sensing,
    draw_widths,
)
from implicit_bias.studies.rows import if_run

METHODS = """Everything is in double precision and uses nothing of the data; each seed draws its own truths,
measurements and starts. Gradient flow of all layers is integrated by an explicit method of order eight, with
steps that are controlled by its error, and by one for stiff problems where one entry of four is not seen;
diagonal networks' limits are solved for exactly.

Modes: inputs are whitened, the target has three singular values. From αI and a symmetric positive target the
network's singular values are held against their law at every time; balanced layers that are turned at random
are followed beside. Depths share the size of the product at the start, and by the law also the scale of a
layer.

Sensing: networks from αI, until the loss is a millionth of that of W = 0. The least nuclear norm is found by
Douglas–Rachford splitting, and what its multiplier proves no matrix goes below bounds its error; where
measurements commute it is a linear programme, and the network's limit is exact. Full data is WX = Y with half
as many examples as inputs.

Two by two: W₁₂ = W₂₁ = 1 and W₂₂ = 0 are seen. Paths are followed for as long as rounding leaves the sign of
the determinant alone, which gradient flow never changes.

Depth: the same completion problem and the same product at the start, shared evenly by the layers of
each depth.
Width: gradient descent with half of the inverse of the tangent kernel's largest eigenvalue as step size.

Ranks: five layers from αI, by the law at full dimension for truths of four ranks, and by integration of all
layers for one whose singular vectors the start does not share. The effective rank is the exponential of the
entropy of singular values as shares of their sum.

Diagonal networks: u^D − v^D on fewer examples than features, truths sparse and dense, at scales from 1e-4 to
10. ReLU networks begin as the zero function, with units in pairs of opposite sign; their tangent kernel at
the end is compared with that at the start.

Signals: second moments of the sums of layers, forward, and of slopes by them, backward, from
random signals."""

DRAWINGS = (
    Drawing(
        "modes", "Singular values of deep linear networks against time, beside their law: above from αI, "
        "below from layers turned at random.", draw_modes, if_run("modes"),
    ),
    Drawing(
        "depth", "What depth adds, and where it saturates: modes apart, and a completion's error and rank.",
        draw_depth, if_run("modes"),
    ),
    Drawing(
        "sensing", "Nuclear norm of deep factorisations above the least one, against the size of "
        "their start.",
        draw_sensing, if_run("sensing"),
    ),
    Drawing(
        "plane", "One entry of four unseen: norms grow without bound while the loss falls, and the "
        "rank falls.",
        draw_plane, if_run("plane"),
    ),
    Drawing(
        "ranks", "Effective and stable rank of a five-layer network while it trains, by rank of the truth.",
        draw_ranks, if_run("ranks"),
    ),
    Drawing(
        "scale", "From least l1 to least l2 norm: diagonal networks by the scale of their start, and what "
        "their tangent kernel does.", draw_scales, if_run("diagonal"),
    ),
    Drawing(
        "width", "Conditioning, speed and limit of deep linear networks by width.", draw_widths,
        if_run("widths"),
    ),
)  # fmt: skip
"""Figures, in the order of the report."""
