"""What the ntk-width study decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.ntk_width.rules import (
    BAND,
    DEAD_TOLERANCE,
    DRIFT,
    FEW_FLIPS,
    FLAT,
    FREEZES,
    LARGEST_ERROR,
    absolute_movement,
    active_units,
    average_of_kernels,
    relative_movement,
    width_dependence,
)

CLAIMS = (
    Claim(
        "johannsen.ntk",
        "statistical",
        "Johannsen 2026 (arXiv 2604.07603), wide networks",
        "The wider the network, the less its parameters move relative to their size: from 0.94 at width 32 "
        "monotonically down to 0.08 at width 4096.",
        "0.94 → 0.08, an exponent of −0.51",
        f"in each arm of networks: the exponent of relative movement in the width lies within [{BAND[0]}, "
        f"{BAND[1]}] and that of the relative change of the kernel below {DRIFT}, with their whole "
        "intervals, and the movement falls from each width to the next",
        relative_movement,
        None,
        "exponent",
    ),
    Claim(
        "dhand.ntk-def",
        "definition",
        "Dhand, section 5.1, neural tangent kernel",
        "The kernel is the expectation over initialisations of inner products of gradients.",
        "K(x, y) = E⟨∇f(x), ∇f(y)⟩",
        "networks with one hidden layer, for which it holds at any width: no entry of the average kernel is "
        "further from the infinite-width kernel than random sampling allows (t, Bonferroni over entries at "
        f"95 %), and the average is known to within {LARGEST_ERROR:.0%} of the kernel",
        average_of_kernels,
        None,
        "standard errors",
    ),
    Claim(
        "dhand.sec-6.1-crit",
        "statistical",
        "Dhand, section 6.1, feature learning regime",
        "A network learns features if and only if its parameters move by an amount that does not vanish.",
        "‖θT − θ0‖ = Ω(1)",
        "refuted where networks turn lazy and still move: in arm ntk the exponent of ‖θT − θ0‖ in the width "
        f"lies above {FLAT} and that of the relative change of the kernel below {FREEZES}; supported where "
        f"the movement vanishes there (exponent below {FLAT}) and does not in arm mup",
        absolute_movement,
        None,
        "exponent",
    ),
    Claim(
        "ch11.A.11",
        "statistical",
        "Chapter 11, question A.11",
        "That the implicit bias of training in the kernel regime is independent of the width is false: the "
        "kernel moves at finite width, and the solution with it.",
        "False",
        "in arm ntk the exponents in the width of the relative change of the kernel, and of the mean squared "
        "distance of the trained network from what the infinite-width kernel predicts, both lie below "
        f"{FREEZES}",
        width_dependence,
        None,
        "exponent",
    ),
    Claim(
        "ch11.B.20",
        "statistical",
        "Chapter 11, question B.20",
        "Only units of a ReLU network that are active at the start are ever changed: activation patterns "
        "freeze.",
        "training stays within the subspace of initially active units",
        "exact part: no parameter of a unit next to the inputs that is off on all training examples changes "
        f"(tolerance {DEAD_TOLERANCE:g}). Supported if besides, in every arm and at every width, less than "
        f"{FEW_FLIPS:.0%} of pairs of unit and example flip; conditional if they flip, and in arm ntk fewer "
        f"the wider the network (exponent below {FLAT}); refuted otherwise",
        active_units,
        None,
        "exponent",
    ),
)
"""All claims of the study."""
