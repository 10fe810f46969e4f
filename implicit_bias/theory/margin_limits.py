"""The law by which gradient descent on separable data comes to the maximum margin, with its constants.

Names are those of ``theory.margin``: ŵ is the hard-margin solution ``Σ α_i z_i``, and γ = 1/‖ŵ‖ the margin.
On separable data, gradient flow on Σ exp(−z_i·w), and on the logistic loss, follows

    w(t) = ŵ log t + w̃ + o(1),    z_i·w̃ = −log α_i for every support vector,

if all support vectors have α > 0 [S, theorem 3]; gradient descent with step size η does so in t = η·steps. It
follows that with ᾱ = γ² Σ α_i log α_i, the mean of log α with weights γ²α, which sum to one,

    angle · log t → γ ‖(I − γ²ŵŵᵀ) w̃‖,    (1 − margin/γ) · log t → log max α − ᾱ.

Where a support vector has α = 0, its own margin grows like log log t beyond log t, and so does the distance
of w from ŵ log t [S, theorem 4].

References:
    [S] D. Soudry, E. Hoffer, M. S. Nacson, S. Gunasekar, N. Srebro, *The implicit bias of gradient descent on
    separable data*, JMLR 19 (2018).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.theory.margin import HardMargin, examples_of


def limit_offset(signed: Any, solution: HardMargin) -> np.ndarray:
    """Return w̃ within the span of the support vectors: ``z_i·w̃ = −log α_i`` on the support.

    Its part outside that span, if the support vectors do not span all, is left by the whole path from
    the start, and has no closed form.

    Args:
        signed: Z, shape (n, d).
        solution: Its hard-margin solution, all of whose columns count in the norm.

    Returns:
        Shape (d,), for time counted in the sum of the losses; for their mean, add −ŵ log n.

    Raises:
        UserError: A support vector has multiplier zero: there is no such limit, w moves on like log log t.

    References:
        [S], theorem 3 (there with step size η: α/η for α).
    """
    z = examples_of(signed)
    if len(z) != len(solution.support):
        raise UserError(
            f"signed examples are {len(z)} and the solution is one of {len(solution.support)}; give those it "
            "was found from"
        )
    if not solution.generic:
        raise UserError(
            "a support vector has multiplier zero, so that w − ŵ log t has no limit; choose data whose "
            "support vectors all push"
        )
    vectors = z[solution.support]
    return np.linalg.lstsq(vectors, -np.log(solution.multipliers[solution.support]), rcond=None)[0]


class Rates(NamedTuple):
    """Limits of what falls like 1/log t.

    Attributes:
        angle: Of angle · log t, in radians, of the path's part within the span of the support vectors.
        gap: Of (1 − margin/γ) · log t.
    """

    angle: float
    gap: float


def limit_rates(signed: Any, solution: HardMargin) -> Rates:
    """Return the constants of the 1/log t laws of angle and margin.

    Args:
        signed: Z, shape (n, d).
        solution: Its hard-margin solution.

    Raises:
        UserError: As :func:`limit_offset`.
    """
    offset = limit_offset(signed, solution)
    unit = solution.weights * solution.margin
    across = offset - (offset @ unit) * unit
    alpha = solution.multipliers[solution.support]
    mean = solution.margin**2 * float(alpha @ np.log(alpha))
    return Rates(
        angle=solution.margin * float(np.linalg.norm(across)),
        gap=float(np.log(alpha.max())) - mean,
    )
