"""SGD whose labels are drawn anew at every update: where it drifts among weights that fit.

On ½ mean (f(xᵢ) − yᵢ − ξᵢ)² with fresh ξ of variance σ², batches of b, weights that fit are not at rest: SGD
descends on ``L + λR`` with ``λ = ησ²/b`` and ``R = −(1/2η) tr log(I − (η/2)∇²L)``, about ¼ tr ∇²L. So the
strength of what noise adds rises with the step size.

The smallest case is f = uv with one label. There D = u² − v² does not change along gradient flow, and an
update multiplies it by exactly 1 − η²r², r the residual with its noise; on uv = y, with curvature
h = u² + v², E r² = σ²/(1 − ηh/2), so that |D| falls by η²σ²/(1 − ηh/2) an update: towards |u| = |v|, where
the curvature is least.

References:
    [BGVV] G. Blanc, N. Gupta, G. Valiant, P. Valiant, *Implicit regularization for deep neural networks
    driven by an Ornstein–Uhlenbeck like process*, COLT 2020, theorem 1.
    [DML] A. Damian, T. Ma, J. Lee, *Label noise SGD provably prefers flat global minimizers*, NeurIPS 2021,
    section 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.theory.checks import count, finite, from_zero, number, positive
from implicit_bias.theory.sgd_noise import SYMMETRIC


def label_noise_strength(step_size: float, noise: float, batch_size: int = 1) -> float:
    """Return λ = ησ²/b, which multiplies the penalty.

    Args:
        step_size: η ≥ 0.
        noise: σ ≥ 0, standard deviation of the labels' noise.
        batch_size: b ≥ 1.

    Raises:
        UserError: A number is not as above.

    References:
        [DML], section 2.
    """
    step, spread = from_zero("step_size", step_size), from_zero("noise", noise)
    return step * spread**2 / count("batch_size", batch_size)


def label_noise_penalty(curvatures: Any, step_size: float) -> float:
    """Return R = −(1/2η) Σ log(1 − ηλ/2) of the Hessian's eigenvalues at weights that fit.

    Raises:
        UserError: An eigenvalue is negative or not finite, or the step size is not positive, or not below
            2/λmax.

    References:
        [DML], section 2.
    """
    step, values = positive("step_size", step_size), finite("curvatures", curvatures)
    if values.min() < -SYMMETRIC * np.abs(values).max():
        raise UserError(
            f"curvatures holds {values.min():.3g}; give eigenvalues of a squared loss that is fitted, where "
            "none is below 0"
        )
    if step * float(values.max()) >= 2:
        raise UserError(
            f"step_size is {step:.6g}, but SGD there is stable only below 2/λmax, which is "
            f"{2 / float(values.max()):.6g}; choose a smaller one"
        )
    return float(-np.sum(np.log1p(-step * values / 2)) / (2 * step))


def imbalance_path(
    imbalance: Any, label: float, step_size: float, noise: float, updates: int, batch_size: int = 1
) -> np.ndarray:
    """Return |u² − v²| of label-noise SGD on ½(uv − y − ξ)², by the law, after each update.

    Args:
        imbalance: |u² − v²| of weights that fit to begin with, any shape.
        label: y, not zero.
        step_size: η, so that η(u² + v²) < 2.
        noise: σ.
        updates: How many.
        batch_size: b: how many fresh labels of the one example an update averages.

    Returns:
        Shape (updates + 1, …).

    Raises:
        UserError: A number is not as above, or the step size is not stable.
    """
    step = from_zero("step_size", step_size)
    spread = label_noise_strength(1.0, noise, batch_size)
    now = np.abs(finite("imbalance", imbalance))
    target = number("label", label)
    if target == 0:
        raise UserError("label is 0, which weights of zero fit; choose another")
    path = [now]
    for _ in range(count("updates", updates, 0)):
        damping = 1 - step * np.hypot(now, 2 * target) / 2
        if np.any(damping <= 0):
            raise UserError(
                f"step_size is {step:.6g}, but SGD there is stable only below 2/(u² + v²), which is "
                f"{2 / float(np.max(np.hypot(now, 2 * target))):.6g}; choose a smaller one"
            )
        now = now * (1 - step**2 * spread / damping)
        path.append(now)
    return np.stack(path)
