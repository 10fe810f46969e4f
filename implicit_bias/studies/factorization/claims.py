"""What the factorization study decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.factorization import rules_exact as exact
from implicit_bias.studies.factorization import rules_norms as norms
from implicit_bias.studies.factorization import rules_starts as starts

CLAIMS = (
    Claim(
        "dhand.thm-4.1",
        "statistical",
        "Dhand, theorem 4.1",
        "Deep linear networks, balanced and with small steps, converge to the solution of least nuclear "
        "norm.",
        "least nuclear norm",
        f"in each case and depth, nuclear norm less than {norms.MINIMAL:.0%} above the least one from "
        "the smallest start, layers αI",
        norms.nuclear,
    ),
    Claim(
        "factorization.unbounded",
        "statistical",
        "Razin & Cohen 2020, theorem 1",
        "With one entry of a 2 × 2 matrix unseen, every norm grows without bound as the loss falls, if "
        "det W > 0 at the start.",
        "‖W‖ grows like 1/√loss",
        "exponent of the loss in the nuclear norm below −1/4, from loss 0.01 on, for each start and depth",
        norms.unbounded,
    ),
    Claim(
        "factorization.unseen-entry",
        "identity",
        "Razin & Cohen 2020, theorem 1",
        "With det W > 0 at the start the unseen entry is at least (1 − e)²/e, e = √(2 loss), all along.",
        "a lower bound",
        "no shortfall of more than 1e-3, relative, at any loss",
        exact.unseen_bound,
    ),
    Claim(
        "dhand.prop-4.2",
        "statistical",
        "Dhand, proposition 4.2",
        "The bias towards low rank increases with depth.",
        "increases",
        f"each step of depth puts modes {norms.DECADE:g} decades further apart, and a completion's "
        "error that much lower",
        norms.depth_helps,
    ),
    Claim(
        "dhand.prop-4.2.proportional",
        "statistical",
        "Dhand, proposition 4.2",
        "The strength of regularisation is proportional to the number of layers.",
        "∝ L",
        f"twice the depth brings more than {norms.PROPORTIONAL:g} times the decades by which modes are "
        "apart, or by "
        "which σ_{r+1} of a completion is below σ_1",
        norms.proportional,
    ),
    Claim(
        "dhand.prop-4.3",
        "statistical",
        "Dhand, proposition 4.3",
        "Wider layers improve conditioning and speed convergence up.",
        "improves, accelerates",
        f"from narrow to middle and from middle to wide, {starts.FACTOR:g} decades less condition "
        "number of the tangent kernel and updates",
        starts.width_conditions,
    ),
    Claim(
        "dhand.prop-4.3.limit",
        "statistical",
        "Dhand, proposition 4.3",
        "What wide layers converge to faster is the implicitly regularised solution.",
        "the regularised solution",
        f"nuclear norm within {starts.REGULARISED:.0%} of the least one, at every width, where examples "
        "are half as many as inputs",
        starts.width_regularises,
    ),
    Claim(
        "dhand.E2",
        "statistical",
        "Dhand, experiment 2",
        "The rank of a five-layer linear network decreases as training progresses.",
        "decreasing",
        f"effective rank at the end lower by {norms.RISE:g} than at the start, and no more than "
        f"{norms.RISE:g} above its least value",
        norms.rank_falls,
    ),
    Claim(
        "dhand.E2.rank",
        "ill-posed",
        "Dhand, experiment 2",
        "The final rank is 8.2 of 50 on average.",
        norms.PUBLISHED_RANK,
        f"final effective rank within {norms.WITHIN:g} of 8.2 for every rank of the truth, of which the "
        "document says nothing",
        norms.published_rank,
    ),
    Claim(
        "dhand.thm-7.1",
        "statistical",
        "Dhand, theorem 7.1",
        "Small scales of the start lead to the kernel regime, large ones to feature learning.",
        "small α: kernel regime",
        f"tangent kernel moves {starts.RICHER:g} decades less, relative to its start, from the smallest "
        "scale than from the largest",
        starts.scale_of_start,
    ),
    Claim(
        "factorization.limits",
        "statistical",
        "Woodworth et al. 2020, theorems 1 and 3",
        "A diagonal network's limit tends to least l1 norm as α → 0 and to least l2 norm as α → ∞.",
        "l1 and l2",
        f"l1 excess and distance from X⁺y below {exact.NEAR:g} at the ends of the scales; exponents of "
        "α of that distance, −2D, and of the excess with three layers and a sparse truth, 3, within "
        f"{exact.EXPONENT:g}",
        exact.limits,
    ),
    Claim(
        "factorization.potential",
        "identity",
        "Woodworth et al. 2020, theorem 1",
        "The limit of u² − v² from α is the solution of least Q_α.",
        "least Q_α",
        "Q_α no larger than at X⁺y and at the l1 minimum, at every scale",
        exact.potential,
    ),
    Claim(
        "dhand.init-7.1",
        "statistical",
        "Dhand, section 7.1",
        "Weights of variance 1/fan-in and of 2/fan-in both preserve the variance of signals across layers.",
        "preserve variance",
        f"second moments change by less than {starts.KEPT:.0%} a layer, by start, activation, shape and way",
        starts.preserves,
    ),
    Claim(
        "dhand.init-7.1.name",
        "statistical",
        "Dhand, section 7.1",
        "Variance 1/fan-in is the start of Xavier (Glorot).",
        "1/fan-in",
        f"changes by a layer within {starts.KEPT:g} of those with 2/(fan-in + fan-out)",
        starts.glorot,
    ),
    Claim(
        "dhand.eq-4.1",
        "identity",
        "Dhand, gradient flow equations of section 4.1",
        "The gradient by a layer is the layers after it, transposed, times (Wx − y)xᵀ, times the "
        "layers before it, transposed.",
        "equal",
        f"automatic derivatives within {exact.ROUNDING:g}, relative, depths 2, 3 and 5",
        exact.layer_gradient,
    ),
    Claim(
        "dhand.eq-4.1.order",
        "definition",
        "Dhand, gradient flow equations of section 4.1",
        "Its products may be read from left to right as the index rises.",
        "∏ from l + 1 to L",
        f"automatic derivatives within {exact.ROUNDING:g}, relative, depths 2, 3 and 5",
        exact.ascending_gradient,
    ),
    Claim(
        "factorization.balance",
        "identity",
        "Du, Hu & Lee 2018, theorem 2.1",
        "Gradient flow keeps W_{l+1}ᵀW_{l+1} − W_lW_lᵀ.",
        "conserved",
        "change along the flow below 1e-7 of the layers' squared norm",
        exact.balance,
    ),
    Claim(
        "factorization.end-to-end",
        "identity",
        "Arora, Cohen & Hazan 2018, theorem 1",
        "The product of a balanced network moves by a law of its own.",
        "equal",
        f"velocity from the product and from all layers within {exact.ROUNDING:g}",
        exact.velocity,
    ),
    Claim(
        "factorization.mode-law",
        "identity",
        "Saxe et al. 2014; Arora et al. 2019, theorem 3",
        "Singular values of a network from αI follow dσ/dt = Lσ^{2−2/L}(c − σ).",
        "equal",
        f"all singular values at all times within {exact.INTEGRATED:g} of the strongest",
        exact.mode_law,
    ),
)
"""In the order of the report."""
