"""Uniform stability: by how much one example may change any loss, and what that says of the gap.

An algorithm is ε-stable under *replacement* if ``|ℓ(A(S), z) − ℓ(A(S′), z)| ≤ ε`` for all z and S, S′ that
differ in one example, and under *removal* if the same holds for S and S without one. Removal with β makes
replacement with 2β. The gap is test less training loss; losses lie in [0, L].

Every bound below is a number that may exceed L: it then says nothing, see :func:`vacuous`.

References:
    [BE] O. Bousquet, A. Elisseeff, *Stability and generalization*, JMLR 2 (2002): theorems 12 and 22.
    [FV] V. Feldman, J. Vondrák, *Generalization bounds for uniformly stable algorithms*, NeurIPS 2018,
    theorem 1.2.
    [BKZ] O. Bousquet, Y. Klochkov, N. Zhivotovskiy, *Sharper bounds for uniformly stable algorithms*, COLT
    2020: their moment bound for weakly dependent sums, and its consequence for the gap.
    [HRS] M. Hardt, B. Recht, Y. Singer, *Train faster, generalize better*, ICML 2016.
    [M] C. McDiarmid, *On the method of bounded differences* (1989).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from implicit_bias.arguments import require_numbers
from implicit_bias.errors import UserError
from implicit_bias.theory.checks import (
    count,
    counts,
    fractions,
    from_zero,
    not_negative,
    positive,
    positives,
    together,
)


def sampling_term(examples: Any, delta: Any, loss_range: float = 1.0) -> np.ndarray:
    """Return ``L √(ln(1/δ)/(2m))``: what a mean of m losses exceeds its expectation by, but with chance δ.

    Args:
        examples: m, any shape; arguments are broadcast.
        delta: δ in (0, 1).
        loss_range: L > 0.

    Raises:
        UserError: m is no positive whole number, δ is not in (0, 1), or L is not positive.

    References:
        W. Hoeffding (1963), theorem 2, one-sided.
    """
    m, chance = counts("examples", examples), fractions("delta", delta)
    together(examples=m, delta=chance)
    return np.asarray(positive("loss_range", loss_range) * np.sqrt(np.log(1 / chance) / (2 * m)))


def additive_bound(
    stability: Any, examples: Any, delta: Any, loss_range: float = 1.0, multiple: float = 1.0
) -> np.ndarray:
    """Return ``c ε + L √(ln(1/δ)/(2m))``, as the chapter states it with c = 1, and c = 2 in an exercise.

    No proof of it is known to us: the gap's own differences are 2ε + L/m, not L/m, so that
    :func:`bounded_difference_bound` is what McDiarmid's inequality gives.

    Args:
        stability: ε ≥ 0 under replacement, any shape; arguments are broadcast.
        examples: m.
        delta: δ in (0, 1).
        loss_range: L > 0.
        multiple: c.

    Raises:
        UserError: An argument is not as above.
    """
    epsilon, term = not_negative("stability", stability), sampling_term(examples, delta, loss_range)
    together(stability=epsilon, examples_and_delta=term)
    return np.asarray(from_zero("multiple", multiple) * epsilon + term)


def bounded_difference_bound(
    stability: Any, examples: Any, delta: Any, loss_range: float = 1.0
) -> np.ndarray:
    """Return ``ε + (2mε + L) √(ln(1/δ)/(2m))``, for stability under replacement.

    The expected gap is at most ε, and one example changes the gap by at most 2ε + L/m.

    Args:
        stability: ε ≥ 0 under replacement, any shape; arguments are broadcast.
        examples: m.
        delta: δ in (0, 1).
        loss_range: L > 0.

    Raises:
        UserError: An argument is not as above.

    References:
        [M] on the argument of [BE], theorem 12.
    """
    epsilon, m = not_negative("stability", stability), counts("examples", examples)
    term = sampling_term(m, delta, loss_range)
    together(stability=epsilon, examples_and_delta=term)
    return epsilon + (2 * m * epsilon / loss_range + 1) * term


def bousquet_elisseeff_bound(
    stability: Any, examples: Any, delta: Any, loss_range: float = 1.0
) -> np.ndarray:
    """Return ``2β + (4mβ + L) √(ln(1/δ)/(2m))``, for stability under removal.

    Args:
        stability: β ≥ 0 under removal, any shape; arguments are broadcast.
        examples: m.
        delta: δ in (0, 1).
        loss_range: L > 0.

    Raises:
        UserError: An argument is not as above.

    References:
        [BE], theorem 12.
    """
    return bounded_difference_bound(
        2 * not_negative("stability", stability), examples, delta, loss_range
    )


def feldman_vondrak_bound(
    stability: Any, examples: Any, delta: Any, loss_range: float = 1.0
) -> np.ndarray:
    """Return ``8 L √((2ε/L + 1/m) ln(8/δ))``, for stability under replacement.

    Args:
        stability: ε ≥ 0 under replacement, any shape; arguments are broadcast.
        examples: m.
        delta: δ in (0, 1).
        loss_range: L > 0.

    Raises:
        UserError: An argument is not as above.

    References:
        [FV], theorem 1.2, which has L = 1.
    """
    epsilon, m = not_negative("stability", stability), counts("examples", examples)
    size, chance = positive("loss_range", loss_range), fractions("delta", delta)
    together(stability=epsilon, examples=m, delta=chance)
    return np.asarray(8 * size * np.sqrt((2 * epsilon / size + 1 / m) * np.log(8 / chance)))


def moment_bound(stability: Any, examples: Any, delta: Any, loss_range: float = 1.0) -> np.ndarray:
    """Return ``e (2ε + 24√2 p ε ⌈log₂ m⌉ + 4L √(p/m))`` with p = max(2, ln(1/δ)), under replacement.

    The gap's p-th moment by the concentration inequality of [BKZ] with differences 2ε and
    conditional means of at most L; then Markov's inequality. Constants were not meant to be small: the bound
    grows like ε log m · log(1/δ) + L √(log(1/δ)/m), which no other here does.

    Args:
        stability: ε ≥ 0 under replacement, any shape; arguments are broadcast.
        examples: m ≥ 2.
        delta: δ in (0, 1).
        loss_range: L > 0.

    Raises:
        UserError: An argument is not as above.
    """
    epsilon, m = not_negative("stability", stability), counts("examples", examples, 2)
    size = positive("loss_range", loss_range)
    p = np.maximum(2.0, np.log(1 / fractions("delta", delta)))
    together(stability=epsilon, examples=m, delta=p)
    chaos = 24 * np.sqrt(2) * p * epsilon * np.ceil(np.log2(m))
    return np.asarray(np.e * (2 * epsilon + chaos + 4 * size * np.sqrt(p / m)))


def vacuous(bound: Any, loss_range: float = 1.0) -> np.ndarray:
    """Say whether a bound on the gap is at least L, so that it holds for every algorithm.

    Args:
        bound: At least 0, possibly infinite, any shape.
        loss_range: L > 0.

    Raises:
        UserError: A bound is negative or no number, or L is not positive.
    """
    require_numbers("bound", bound)
    found = np.asarray(bound, np.float64)
    if not np.all(found >= 0) or not found.size:
        raise UserError("bound holds a negative number, or none at all; give bounds of at least 0")
    return np.asarray(found >= positive("loss_range", loss_range))


def regularised_stability(lipschitz: float, penalty: Any, examples: Any) -> np.ndarray:
    """Return ``ρ²/(λm)``, the stability under removal of ``(1/m) Σ ℓ(w·x_i, y_i) + (λ/2)‖w‖²``.

    For convex losses whose gradient with respect to w is at most ρ; what remains is divided by m as before.
    Under replacement it is twice that. Both are attained by linear losses.

    Args:
        lipschitz: ρ > 0.
        penalty: λ > 0, of ½‖w‖² beside the *mean* of losses, any shape; arguments are broadcast.
        examples: m.

    Raises:
        UserError: An argument is not as above.

    References:
        [BE], theorem 22, whose λ multiplies ‖w‖² without ½ and is half of this.
    """
    lam, m = positives("penalty", penalty), counts("examples", examples)
    together(penalty=lam, examples=m)
    return np.asarray(positive("lipschitz", lipschitz) ** 2 / (lam * m))


def ridge_norm(penalty: Any) -> np.ndarray:
    """Return the largest norm of ridge weights, of ``(1/m) Σ ½(w·x_i − y_i)² + (λ/2)‖w‖²``, ‖x‖, |y| ≤ 1.

    ``max σ/(σ² + λ)`` over singular values σ ≤ 1 of X/√m: 1/(2√λ) for λ ≤ 1, else 1/(1 + λ).

    Args:
        penalty: λ > 0, any shape.

    Raises:
        UserError: λ is not positive.
    """
    lam = positives("penalty", penalty)
    return np.asarray(np.where(lam <= 1, 1 / (2 * np.sqrt(lam)), 1 / (1 + lam)))


def ridge_movement(penalty: Any, examples: Any) -> np.ndarray:
    """Return by how much ridge weights move at most where one example is replaced, ‖x‖, |y| ≤ 1.

    ``2(1 + W)/(mλ + 1)`` with W of :func:`ridge_norm`; removal moves them by half of that. By Sherman and
    Morrison weights move by ``A⁻¹x (y − x·w)/(1 + xᵀA⁻¹x)`` where A ⪰ mλ is of the others. Predictions at
    ‖x‖ ≤ 1 change by no more.

    Args:
        penalty: λ > 0, of ½‖w‖² beside the mean of ½ squares, any shape; arguments are broadcast.
        examples: m, with mλ ≥ 1.

    Raises:
        UserError: An argument is not as above.
    """
    lam, m = positives("penalty", penalty), counts("examples", examples)
    together(penalty=lam, examples=m)
    norm = ridge_norm(lam)
    if np.any(m * lam < 1):
        each, of = (np.ravel(part) for part in np.broadcast_arrays(lam, m))
        worst = int(np.argmin(each * of))
        raise UserError(
            f"penalty is {each[worst]:g} and examples is {of[worst]}, but the bound needs a "
            "product of at least 1; choose a larger penalty or more examples"
        )
    return np.asarray(2 * (1 + norm) / (m * lam + 1))


def sgd_stability(
    step_sizes: Any, examples: int, lipschitz: float, smoothness: float, loss_range: float = np.inf
) -> float:
    """Return ``(2ρ²/m) Σ η_t``: stability of stochastic gradient descent on convex smooth losses.

    One example at a time, in random order; replacement; the expectation over orders is bounded. Linear losses
    attain it.

    Args:
        step_sizes: η_t of all steps, (T,).
        examples: m.
        lipschitz: ρ > 0, of the loss with respect to weights.
        smoothness: β ≥ 0, of its gradient; 0 for linear losses.
        loss_range: L > 0, which caps the result; infinite without a cap.

    Raises:
        UserError: A step size exceeds 2/β, beyond which steps can move weights apart, or an argument is not
            as above.

    References:
        [HRS]: stability of stochastic gradient descent on convex losses.

    Example:
        >>> from implicit_bias import theory
        >>> round(theory.sgd_stability([0.1] * 50, examples=1000, lipschitz=1.0, smoothness=2.0), 6)
        0.01
    """
    steps = np.atleast_1d(not_negative("step_sizes", step_sizes))
    together(step_sizes=steps)
    if not (isinstance(loss_range, float) and loss_range == np.inf):
        loss_range = positive("loss_range", loss_range)
    check_expansion(float(steps.max()), smoothness)
    m = count("examples", examples)
    return float(min(loss_range, 2 * positive("lipschitz", lipschitz) ** 2 * steps.sum() / m))


def check_expansion(step_size: float, smoothness: float) -> None:
    """Refuse a step size with which a step on a convex loss can move two runs apart.

    Raises:
        UserError: It is above 2/β, or a number is negative or not finite.

    References:
        [HRS]: gradient steps on convex smooth losses do not expand.
    """
    beta, step = from_zero("smoothness", smoothness), from_zero("step_size", step_size)
    if beta > 0 and step > 2 / beta:
        raise UserError(
            f"step_size is {step:g}, but steps on losses of smoothness {beta:g} can move runs apart "
            f"above 2/β = {2 / beta:g}; choose a smaller one"
        )


def nonconvex_sgd_stability(
    rate: float, steps: int, examples: int, lipschitz: float, smoothness: float
) -> float:
    """Return Hardt et al.'s stability of stochastic gradient descent with steps at most c/t, any smooth loss.

    ``(1 + 1/(βc))/(m − 1) · (2cρ²)^{1/(βc+1)} T^{βc/(βc+1)}``, for losses in [0, 1].

    Args:
        rate: c > 0.
        steps: T.
        examples: m ≥ 2.
        lipschitz: ρ > 0.
        smoothness: β > 0.

    Raises:
        UserError: An argument is not as above.

    References:
        [HRS]: stability of stochastic gradient descent on losses that need not be convex.
    """
    c, m = positive("rate", rate), count("examples", examples, 2)
    curve = positive("smoothness", smoothness) * c
    reach = (2 * c * positive("lipschitz", lipschitz) ** 2) ** (1 / (curve + 1))
    length = count("steps", steps) ** (curve / (curve + 1))
    return float((1 + 1 / curve) / (m - 1) * reach * length)
