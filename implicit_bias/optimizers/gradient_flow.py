"""Gradient flow: what gradient descent becomes when its step size goes to zero.

The flow of the loss L with weight decay λ solves

    dw/dt = −(∇L(w) + λ w),

and one update with step size h advances it by the time h, by one step of the classical Runge–Kutta
method of order four (Kutta 1901; Hairer, Nørsett and Wanner 1993, *Solving ordinary differential
equations I*, table 1.2). As an update of plain SGD, w ← w − h·d, it has the direction

    d = (k₁ + 2k₂ + 2k₃ + k₄)/6,   k₁ = g(w), k₂ = g(w − h/2 k₁), k₃ = g(w − h/2 k₂), k₄ = g(w − h k₃)

with g the gradient with decay. In plain SGD coupled and decoupled decay are the same thing, and so
they are here: λ is their sum and part of the flow. An update costs four gradients; its error is of
order h⁵, that of a run over a fixed time of order h⁴.

Along an eigenvector of the Hessian of eigenvalue a, an update multiplies by 1 − z + z²/2 − z³/6 +
z⁴/24 with z = ha, which is of size at most one for 0 ≤ z ≤ 2.785: a run is stable where the step
size is below 2.785 over the sharpness (gradient descent: below 2), and accurate well below that. So
the time of a run is bought with sharpness, and where the sharpness grows the step must shrink.

It is the flow of the training loss where a batch is the whole training set; with smaller batches,
each update follows the flow of its own batch's loss.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from implicit_bias.optimizers.base import GradientOf, GradientRule, Params, Settings
from implicit_bias.optimizers.sgd import SGD

STABILITY_LIMIT = 2.785293563405282
"""Largest step size times Hessian eigenvalue at which a step does not grow: a root of the quartic."""


def _direction(
    settings: Settings,
    step_size: jax.Array,
    gradient: Params,
    gradient_of: GradientOf,
    params: Params,
    key: jax.Array,
) -> Params:
    del settings, key

    def ahead(fraction: float, slope: Params) -> Params:
        return gradient_of(jax.tree.map(lambda w, k: w - fraction * step_size * k, params, slope))

    k1 = gradient
    k2 = ahead(0.5, k1)
    k3 = ahead(0.5, k2)
    k4 = ahead(1.0, k3)

    def mean(*k: jax.Array) -> jax.Array:
        total: Any = k[0] + 2 * (k[1] + k[2]) + k[3]
        return total / 6

    return jax.tree.map(mean, k1, k2, k3, k4)


RUNGE_KUTTA4 = GradientRule("runge_kutta4", 4, _direction, includes_decay=True)

GRADIENT_FLOW = dataclasses.replace(SGD, name="gradient_flow", rule=RUNGE_KUTTA4)
