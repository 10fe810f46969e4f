"""What the residual study decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.residual import rules
from implicit_bias.studies.residual.rules import EXACT, IDENTITY_LIKE, SMALLEST_RATIO, WELL

THEOREM = "Dhand, section 9.1, theorem 9.1"
RATIO = f"ratio above {1 + SMALLEST_RATIO}"

CLAIMS = (
    Claim(
        "dhand.arch-9.1",
        "statistical",
        THEOREM,
        "Residual networks are biased to transformations like the identity early in training.",
        "identity-like",
        "deepest networks with h + F, h + F/√L and h + F/L: mean over blocks of ‖F‖/‖h‖ on test "
        f"examples below {IDENTITY_LIKE}, as drawn and after the early update",
        rules.identity_like,
        unit="1",
    ),
    Claim(
        "dhand.arch-9.1.gradual",
        "statistical",
        f"{THEOREM}, 1",
        "Features change more gradually across the layers of residual networks.",
        "more gradual",
        f"after training, deepest networks: ‖h_(l+1) − h_l‖/‖h_l‖, mean over blocks, plain to "
        f"residual: {RATIO}",
        rules.gradual,
        SMALLEST_RATIO,
        "ratio",
    ),
    Claim(
        "dhand.arch-9.1.conditioning",
        "statistical",
        f"{THEOREM}, 2, before training",
        "Residual networks are better conditioned.",
        "better conditioned",
        "before training, deepest networks: σ1/σ_median of the Jacobian from inputs to outputs, and "
        f"largest over median eigenvalue of the tangent kernel, plain to residual: {RATIO}",
        rules.conditioning,
        SMALLEST_RATIO,
        "ratio",
    ),
    Claim(
        "dhand.arch-9.1.speed",
        "statistical",
        f"{THEOREM}, 2, in updates",
        "Residual networks are easier to optimise.",
        "better conditioning of optimization",
        "updates to one training loss, each network and seed at the step size that needs the fewest, "
        f"plain to residual, at the least and the greatest depth: {RATIO}; a run that does not get "
        "there counts with its budget, and a seed in which neither does with nothing",
        rules.speed,
        SMALLEST_RATIO,
        "ratio",
    ),
    Claim(
        "dhand.arch-9.1.smooth",
        "statistical",
        f"{THEOREM}, 3",
        "Residual networks are implicitly regularised towards smooth functions.",
        "smooth functions",
        "at one training loss, deepest networks: ‖∂f/∂x‖ relative to the spread of f on test examples, "
        f"plain to residual: {RATIO}",
        rules.smooth_function,
        SMALLEST_RATIO,
        "ratio",
    ),
    Claim(
        "dhand.arch-9.1.smooth-loss",
        "statistical",
        f"{THEOREM}, 3, of the loss",
        "The loss of residual networks is smoother.",
        "smoother",
        "deepest networks: λmax at one training loss, and the largest ‖∇L(θ+δ) − ∇L(θ)‖/‖δ‖ down the "
        f"gradient at updates after the start, plain to residual: {RATIO}",
        rules.smooth_loss,
        SMALLEST_RATIO,
        "ratio",
    ),
    Claim(
        "dhand.arch-9.1.gradient",
        "identity",
        "Dhand, section 9.1, gradient flow",
        "A block's weights have the gradient of the loss with respect to the block's inputs, times the "
        "derivative of the branch.",
        "∇_W L = ∇_{h_l} L · ∂F/∂W",
        f"relative error in double precision at most {EXACT:g}",
        rules.printed_gradient,
    ),
    Claim(
        "dhand.arch-9.1.gradient.corrected",
        "identity",
        "the chain rule",
        "It is the gradient with respect to the block's outputs, and ∇_{h_l} = (I + ∂F/∂h)ᵀ "
        "∇_{h_(l+1)}.",
        None,
        f"relative errors in double precision at most {EXACT:g}, against automatic gradients",
        rules.passed_gradient,
    ),
    Claim(
        "dhand.arch-9.1.bounds",
        "identity",
        "Hardt & Ma 2017, the condition ‖∂F/∂h‖ ≤ ε of every block",
        "Singular values of ∂h_L/∂h_0 lie between (1 − ε)^L and (1 + ε)^L.",
        None,
        f"relative excess in double precision at most {EXACT:g}; for ε ≥ 1 there is no lower bound",
        rules.bounds,
    ),
    Claim(
        "dhand.arch-9.1.unconditional",
        "statistical",
        f"{THEOREM}, without a condition on the branches",
        "A stack of residual blocks is well conditioned, whatever its branches.",
        "no condition is stated",
        f"deepest networks as drawn: condition number of ∂h_L/∂h_0 below {WELL:g}, for h + F, h + F/√L "
        "and h + F/L",
        rules.unconditional,
        unit="powers of ten",
    ),
    Claim(
        "dhand.arch-9.1.linear",
        "identity",
        "Hardt & Ma 2017, theorem 2.2",
        "Linear residual networks with ‖A‖ ≤ τ < 1 have no critical points but minima: ‖∇f‖² ≥ "
        "4L(1 − τ)^(2(L−1)) σ_min(Σ)(f − f_least).",
        None,
        f"part by which it is missed at most {EXACT:g}",
        rules.linear_gradients,
    ),
)
"""All claims of the study."""
