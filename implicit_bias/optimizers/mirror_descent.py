"""Mirror descent (Nemirovski and Yudin 1983): gradient steps on ∇ψ(w) instead of on w.

With a convex potential ψ, an update is

    z ← z − η g,   w = (∇ψ)⁻¹(z),   z = ∇ψ(w) at the start,

which for ψ = ½‖w‖² is gradient descent. On least squares with a solution, w goes to the solution
nearest to the start in the Bregman divergence of ψ (Gunasekar, Lee, Soudry and Srebro 2018, theorem 1),
whatever the step size, as z − ∇ψ(w₀) never leaves the inputs' row space. Three potentials:

    p_norm_descent           ψ = Σ |w|ᵖ/p           w = sign(z) |z|^(1/(p−1))   all of space
    exponentiated_gradient   ψ = Σ w log w − w      w = exp z                   the positive orthant
    simplex_descent          ψ = Σ w log w          w = exp z / Σ exp z         Σw = 1, w > 0

Sums are over all parameters together. The second is Kivinen and Warmuth's (1997) EGU, the third their
EG. z is carried as state, one copy of the parameters: near p = 1 and near zero, w has lost it to
rounding. Both weight decays are part of the gradient, and the same thing, as they are in plain SGD.

A weight that begins at zero and has no gradient stays zero in all three, so masks hold: the orthant and
the simplex are then those of the weights that are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from implicit_bias.optimizers.base import Optimizer, Params, Settings
from implicit_bias.ranges import Setting

P = Setting("p", 1.5, minimum=1.0, includes_minimum=False)

SUM_TOLERANCE = 1e-5
"""How far from one the weights of a point of the simplex may sum: rounding of a float32 network."""

Map = Callable[[Settings, Params], Params]


def _identity(settings: Settings) -> optax.GradientTransformation:
    del settings
    return optax.identity()


def _mirrored(dual: Map, primal: Map) -> Callable[[Settings], optax.GradientTransformation]:
    """Return what moves by ∇ψ and its inverse."""

    def build(settings: Settings) -> optax.GradientTransformation:
        def init(params: Params) -> Params:
            return dual(settings, params)

        def update(steps: Params, z: Params, params: Params = None) -> tuple[Params, Params]:
            z = jax.tree.map(jnp.subtract, z, steps)
            # w + (w⁺ − w) is not negative where w and w⁺ are not: rounding keeps the order.
            return jax.tree.map(jnp.subtract, primal(settings, z), params), z

        return optax.GradientTransformation(init, update)

    return build


def _power(exponent: Any, tree: Params) -> Params:
    return jax.tree.map(lambda leaf: jnp.sign(leaf) * jnp.abs(leaf) ** exponent, tree)


def _logarithm(settings: Settings, params: Params) -> Params:
    del settings
    return jax.tree.map(jnp.log, params)


def _softmax(settings: Settings, z: Params) -> Params:
    del settings
    leaves = jax.tree.leaves(z)
    top = jnp.max(jnp.stack([jnp.max(leaf) for leaf in leaves]))
    raised = jax.tree.map(lambda leaf: jnp.exp(leaf - top), z)
    total = sum(jnp.sum(leaf) for leaf in jax.tree.leaves(raised))
    return jax.tree.map(lambda leaf: leaf / total, raised)


def _orthant(weights: np.ndarray) -> str:
    bad = weights[~(np.isfinite(weights) & (weights > 0))]
    if not bad.size:
        return ""
    return (
        f"{bad.size} of {weights.size} weights are not positive, such as {bad[0]:g}, and would never become "
        "so; begin at positive ones, or mask those that are to stay zero"
    )


def _simplex(weights: np.ndarray) -> str:
    wrong, total = _orthant(weights), float(weights.sum())
    if wrong or abs(total - 1) <= SUM_TOLERANCE:
        return wrong
    return f"the weights sum to {total:g}, not to 1; divide them by their sum"


P_NORM_DESCENT = Optimizer(
    "p_norm_descent",
    _identity,
    (P,),
    move=_mirrored(
        lambda settings, w: _power(settings["p"] - 1, w),
        lambda settings, z: _power(1 / (settings["p"] - 1), z),
    ),
)

EXPONENTIATED_GRADIENT = Optimizer(
    "exponentiated_gradient",
    _identity,
    move=_mirrored(_logarithm, lambda settings, z: jax.tree.map(jnp.exp, z)),
    domain=_orthant,
)

SIMPLEX_DESCENT = Optimizer(
    "simplex_descent", _identity, move=_mirrored(_logarithm, _softmax), domain=_simplex
)
