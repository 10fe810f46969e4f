"""Sharpness-aware minimisation: the gradient is taken where the loss is higher.

An update first climbs from w to w + ε, then takes there the gradient that the base optimiser gets:

    SAM (Foret et al. 2021, eq. 2):   ε = ρ · g / ‖g‖
    ASAM (Kwon et al. 2021, eq. 5):   ε = ρ · T² g / ‖T g‖,   T = |w| + η, element by element

with g the batch gradient at w, without decay, and norms over all parameters together. Both gradients
are of the same batch, so an update costs two. Kwon et al.'s own program leaves biases and scales out
of T; their equation, which is what a rescaling of layers does not change (for η = 0), does not.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.optimizers.base import (
    GradientOf,
    GradientRule,
    Optimizer,
    Params,
    Settings,
    with_rule,
)
from implicit_bias.ranges import Setting

RHO = Setting("rho", 0.05, minimum=0.0)
ETA = Setting("eta", 0.01, minimum=0.0)


def _sam(
    settings: Settings,
    step_size: jax.Array,
    gradient: Params,
    gradient_of: GradientOf,
    params: Params,
    key: jax.Array,
) -> Params:
    del step_size, key
    scale = _over(settings["rho"], _norm(gradient))
    return gradient_of(jax.tree.map(lambda w, g: w + scale * g, params, gradient))


def _asam(
    settings: Settings,
    step_size: jax.Array,
    gradient: Params,
    gradient_of: GradientOf,
    params: Params,
    key: jax.Array,
) -> Params:
    del step_size, key
    size = jax.tree.map(lambda w: jnp.abs(w) + settings["eta"], params)
    scaled = jax.tree.map(jnp.multiply, size, gradient)
    scale = _over(settings["rho"], _norm(scaled))
    return gradient_of(
        jax.tree.map(lambda w, t, s: w + scale * t * s, params, size, scaled),
    )


def _norm(tree: Any) -> jax.Array:
    squares = [jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)]
    return jnp.sqrt(sum(squares[1:], start=squares[0]))


def _over(rho: float | jax.Array, length: jax.Array) -> jax.Array:
    """Divide; a gradient of length zero climbs nowhere."""
    positive = length > 0
    return jnp.where(positive, rho / jnp.where(positive, length, jnp.ones_like(length)), 0 * rho)


SAM = GradientRule("sam", 2, _sam, (RHO,))
ASAM = GradientRule("asam", 2, _asam, (dataclasses.replace(RHO, default=0.5), ETA))


def sam(base: Optimizer) -> Optimizer:
    """Return the base optimiser on SAM's gradients; ``rho`` = 0 is the base optimiser, bit for bit."""
    return with_rule(base, SAM)


def asam(base: Optimizer) -> Optimizer:
    """Return the base optimiser on ASAM's gradients; ``rho`` = 0 is the base optimiser, bit for bit."""
    return with_rule(base, ASAM)
