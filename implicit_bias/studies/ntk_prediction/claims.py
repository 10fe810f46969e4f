"""What the NTK-prediction study decides, by criteria fixed beforehand."""

from __future__ import annotations

from implicit_bias.results.claims import Claim
from implicit_bias.studies.ntk_prediction.rules import (
    EXACT,
    FALLS,
    KERNEL_SLOPE,
    PRINTED_TOLERANCE,
    end_is_nearest,
    end_of_the_linearised,
    ends_at_the_interpolant,
    exercise_difference,
    follows_its_kernel,
    frozen_script,
    untrained_script,
)
from implicit_bias.studies.ntk_prediction.scripts import DIFFERENCE, NORM, PUBLISHED_LEARNED

CLAIMS = (
    Claim(
        "dhand.thm-5.1",
        "statistical",
        "Dhand, theorem 5.1, convergence of the tangent kernel",
        "As the width grows the tangent kernel comes to a deterministic limit and stays constant in "
        "training, so that outputs follow f' = −K(f − y), which is kernel ridge regression.",
        "f' = −K(f − y)",
        f"over widths, ‖K₀ − K∞‖ and the change of K in training fall at least with power {KERNEL_SLOPE:g}; "
        "at the largest width the mean squared difference on test examples, averaged over the course, from "
        "descent with K∞ and the mean loss's factor 1/n is below 1 % of the outputs' mean square; with the "
        "network's own K₀, the law without that factor, and ridge regression with the best ridge at each "
        "time, are at most twice as far from the network as descent with it",
        follows_its_kernel,
    ),
    Claim(
        "dhand.thm-5.2",
        "statistical",
        "Dhand, theorem 5.2, minimum norm in the kernel's space",
        "At infinite width gradient descent ends at the kernel's interpolant of least norm, K(K + λ)⁻¹y.",
        "f = K(K + λI)⁻¹y, λ → 0",
        "at the largest width, after all updates, the mean squared difference on test examples from the "
        "ridgeless regression of the labels is below 1 % of the outputs' mean square, from f₀ = 0 and from "
        "f₀ as drawn; the kernel's own prediction must have come so near to it before",
        ends_at_the_interpolant,
        unit="decimal logarithm",
    ),
    Claim(
        "ch11.B.4",
        "identity",
        "Chapter 11, exercise B.4 and its solution",
        "Gradient flow of a network linearised at θ₀ ends at θ = Φᵀ(ΦΦᵀ)⁺y.",
        "θ(∞) = Φᵀ(ΦΦᵀ)⁺y",
        f"it is the end of descent to {EXACT:g} of the way from the start, on linearised networks in double "
        "precision; θ₀ + Φᵀ(ΦΦᵀ)⁺(y − f(θ₀)) must be",
        end_of_the_linearised,
    ),
    Claim(
        "ch11.C.20",
        "statistical",
        "Chapter 11, exercise C.20",
        "A two-layer network of width 10,000, trained for 100 iterations at step size 0.001 on 50 examples, "
        "predicts what kernel ridge regression with its tangent kernel does.",
        "mean squared difference < 0.01; condition number 100 to 1000",
        "as specified, the mean squared difference on test examples is below 0.01 whatever is left open, "
        "and the condition number of the kernel at the first variant within 100 and 1000",
        exercise_difference,
        unit="decimal logarithm",
    ),
    Claim(
        "ch11.S.16",
        "identity",
        "Chapter 11, solution C.16, verification of the tangent kernel",
        "The script prints ‖α‖ and a mean squared difference between a wide network and its kernel.",
        f"‖α‖ = {NORM}; difference {DIFFERENCE}",
        f"both numbers are printed to {100 * PRINTED_TOLERANCE:g} % with the script's own seed",
        untrained_script,
    ),
    Claim(
        "ch11.S.20",
        "statistical",
        "Chapter 11, solution C.20, frozen and learned features",
        "The difference from the kernel falls as 1/width, and training features brings the test loss to "
        "0.0020.",
        f"∝ 1/width; {PUBLISHED_LEARNED}",
        f"slope of the last difference over widths below {FALLS:g}; last test losses with features trained, "
        "and frozen at the largest width, within five times the published",
        frozen_script,
    ),
    Claim(
        "ch11.def.implicit-bias",
        "definition",
        "Chapter 11, definition of implicit bias",
        "Gradient descent on a convex loss ends at the solution nearest to its start.",
        "d(θ) = ‖θ − θ₀‖",
        f"the end is the projection of the start onto the solutions to {EXACT:g}: on least squares with 100 "
        "examples and 500 parameters from zero and from elsewhere, on a convex function of Xw, and on a "
        "convex function whose solutions fill an ellipse; no other solution of least squares is nearer",
        end_is_nearest,
    ),
)
