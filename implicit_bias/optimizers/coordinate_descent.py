"""Coordinate descent: one weight moves at an update, of all parameters together.

    greedy_coordinate    d = g_j e_j with the largest |g_j|: steepest descent in the 1-norm
    cyclic_coordinate    d = g_j e_j with j = 0, 1, …, one after the other, and again
    epsilon_coordinate   d = sign(g_j) e_j with the largest |g_j|: steps of one size, ε = the step size

On least squares ½‖Xw − y‖² with columns of one length ℓ, the step size 1/ℓ² makes the first two exact:
each update minimises over its coordinate, and the first is then matching pursuit, the second the
Gauss–Seidel method. The third is incremental forward stagewise regression (Efron, Hastie, Johnstone and
Tibshirani 2004, section 3.1), which follows the lasso's path as ε → 0 where that path's coefficients
are monotone (Hastie, Taylor, Tibshirani and Walther 2007); near the minimum it hops to and fro by ε.
Of equal |g_j| the first is chosen, in the order of ``jax.tree.leaves``.

Pruned weights have no gradient: greedy updates never choose them while any other has one, cyclic ones
visit them and change nothing. Weight decay: coupled decay is part of g; decoupled decay shrinks all
weights at every update. An update copies the gradient once; only the cyclic one carries state, a
counter.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from implicit_bias.optimizers.base import Optimizer, Params, Settings


def _largest(gradient: Params, of_size_one: bool) -> Params:
    flat, back = ravel_pytree(gradient)
    place = jnp.argmax(jnp.abs(flat))
    value = jnp.sign(flat[place]) if of_size_one else flat[place]
    return back(jnp.zeros_like(flat).at[place].set(value))


def _greedy(settings: Settings) -> optax.GradientTransformation:
    del settings
    return optax.stateless(lambda gradient, params: _largest(gradient, of_size_one=False))


def _epsilon(settings: Settings) -> optax.GradientTransformation:
    del settings
    return optax.stateless(lambda gradient, params: _largest(gradient, of_size_one=True))


def _cyclic(settings: Settings) -> optax.GradientTransformation:
    del settings

    def init(params: Params) -> jax.Array:
        del params
        return jnp.zeros((), jnp.int32)

    def update(gradient: Params, place: jax.Array, params: Any = None) -> tuple[Params, jax.Array]:
        del params
        flat, back = ravel_pytree(gradient)
        # The place, not the number of updates: that would overflow in a long run.
        following = jnp.where(place + 1 < flat.size, place + 1, 0)
        return back(jnp.zeros_like(flat).at[place].set(flat[place])), following

    return optax.GradientTransformation(init, update)


GREEDY_COORDINATE = Optimizer("greedy_coordinate", _greedy)

CYCLIC_COORDINATE = Optimizer("cyclic_coordinate", _cyclic)

EPSILON_COORDINATE = Optimizer("epsilon_coordinate", _epsilon)
