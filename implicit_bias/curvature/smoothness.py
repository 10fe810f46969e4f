"""How fast the gradient changes along its own direction."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from implicit_bias.chunks import Batch
from implicit_bias.curvature.operators import Params, WeightedLoss, checked_loss
from implicit_bias.errors import UserError

LENGTHS = (0.003, 0.01, 0.03)
"""Lengths of steps relative to ‖θ‖."""


def gradient_lipschitz(
    loss: WeightedLoss, params: Params, data: Batch, *, lengths: Sequence[float] = LENGTHS
) -> jax.Array:
    """Return the largest ‖∇L(θ + δ) − ∇L(θ)‖/‖δ‖ over steps δ of several lengths down the gradient.

    L is the mean loss. It is a lower bound on the gradient's Lipschitz constant near θ, and for a
    quadratic loss ‖H g‖/‖g‖ of the gradient g, whatever the lengths.

    Args:
        loss: Weighted sum of per-example losses; see ``WeightedLoss``.
        params: θ, any pytree of floating arrays.
        data: Pytree of arrays with one leading axis of n examples.
        lengths: Lengths ‖δ‖/‖θ‖, one at least, above 0.

    Returns:
        A scalar, in units of the loss per squared parameter; NaN where the gradient is zero.

    Raises:
        UserError: There is no length, or one is not above 0.

    References:
        Santurkar et al., *How does batch normalization help optimization?* (2018), section 3.1.
    """
    loss = checked_loss(loss)
    if not lengths or not all(length > 0 for length in lengths):
        raise UserError(f"lengths are {tuple(lengths)}; give one or more numbers above 0")
    count = jax.tree.leaves(data)[0].shape[0]
    dtype = jax.tree.leaves(params)[0].dtype
    weights = jnp.full((count,), 1 / count, dtype)

    def gradient(there: Params) -> Params:
        return jax.grad(loss)(there, data, weights)

    with jax.default_matmul_precision("highest"):
        here = gradient(params)
        norm, size = _norm(here), _norm(params)

        def ratio(length: jax.Array) -> jax.Array:
            step = length * size
            moved = jax.tree.map(lambda leaf, g: leaf - step / norm * g, params, here)
            return _norm(jax.tree.map(jnp.subtract, gradient(moved), here)) / step

        # One after another in one program: as small for many lengths as for one.
        return jnp.max(jax.lax.map(ratio, jnp.asarray(tuple(lengths), dtype)))


def _norm(tree: Params) -> jax.Array:
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))
