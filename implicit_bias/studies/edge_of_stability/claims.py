"""What the edge-of-stability study decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.edge_of_stability.rules import (
    BAND,
    ENDPOINT_TOLERANCE,
    FEWEST,
    LEAST_APART,
    SLOPE_BAND,
    each_start_has_its_end,
    follows_the_flow,
    stays_at_the_edge,
)

CLAIMS = (
    Claim(
        "dhand.eos",
        "statistical",
        "Dhand, section 7.2, edge of stability",
        "Training often runs where the step size times the sharpness is about 2.",
        "η λmax ≈ 2",
        f"geometric mean over seeds of the median of λmax·η/2 over the last fifth of the run within "
        f"[{BAND[0]}, {BAND[1]}], with its whole interval, at {FEWEST} step sizes of gradient descent at "
        "least, and at all at which every seed's sharpness reached 2/η before; elsewhere nothing is claimed",
        stays_at_the_edge,
        None,
        "1",
    ),
    Claim(
        "dhand.sec-2.2",
        "identity",
        "Dhand, section 2.2, dynamics select among minima",
        "Gradient descent and gradient flow from different starting points end in different minima.",
        "different starts, different minima",
        "least squares with more parameters than examples: descent from several starts ends at "
        f"w₀ + X⁺(y − Xw₀) to {ENDPOINT_TOLERANCE:g} of the way, and two ends are at least "
        f"{LEAST_APART} times as far apart as their starts",
        each_start_has_its_end,
        None,
        "1",
    ),
    Claim(
        "dhand.lr-7.2-small",
        "statistical",
        "Dhand, section 7.2, small learning rate",
        "Gradient descent with a small step size follows the gradient flow.",
        "→ gradient flow",
        "distance from the flow at a fixed time falls with the step size to an order whose mean over seeds "
        f"lies, with its whole interval, within [{SLOPE_BAND[0]}, {SLOPE_BAND[1]}], for networks and for "
        "least squares",
        follows_the_flow,
        None,
        "1",
    ),
)
