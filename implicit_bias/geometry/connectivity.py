"""Whether two sets of parameters are connected by a straight line of low loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.arguments import require_function, require_whole
from implicit_bias.errors import UserError
from implicit_bias.geometry.checks import require_like, some_value

Params = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Interpolation:
    """Values on the straight line between two sets of parameters.

    Attributes:
        fractions: From 0 (the start) to 1 (the end), shape (n,).
        values: Shape (n,), one for each scalar of the loss.
    """

    fractions: jax.Array
    values: Any


def interpolation_curve(
    loss: Callable[[Params], Any],
    start: Params,
    end: Params,
    *,
    n_points: int = 31,
    batch_size: int = 1,
) -> Interpolation:
    """Evaluate a loss at ``(1 - t) * start + t * end`` for evenly spaced t from 0 to 1.

    Both ends are evaluated at the given parameters exactly. For points beyond the ends use
    ``line`` with the difference as direction.

    Args:
        loss: ``params -> scalar``, or a pytree of scalars such as a dict of loss and error.
        start: Any pytree of floating arrays.
        end: Another of the same shapes.
        n_points: How many, at least three; the source for ``instability`` took 30, the default has
            the middle.
        batch_size: Points evaluated at once; memory grows with it.

    Returns:
        Fractions and values.

    Raises:
        UserError: If the shapes differ, there are fewer than three points, or ``batch_size`` is
            below one.
    """
    require_like("end", end, start)
    require_function("loss", loss, ("params",), "a scalar, or several")
    require_whole("n_points", n_points)
    require_whole("batch_size", batch_size)
    if n_points < 3:
        raise UserError(f"n_points is {n_points}; choose n_points >= 3: both ends and the middle")
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; choose batch_size >= 1 points at once")
    dtype = jnp.result_type(*jax.tree.leaves(start))
    fractions = jnp.linspace(0, 1, n_points, dtype=dtype)

    def value(fraction: jax.Array) -> Any:
        def between(first: jax.Array, last: jax.Array) -> jax.Array:
            own = fraction.astype(first.dtype)
            return (1 - own) * first + own * last

        with jax.default_matmul_precision("highest"):
            return some_value("loss", loss(jax.tree.map(between, start, end)))

    return Interpolation(
        fractions, jax.lax.map(value, fractions, batch_size=min(batch_size, n_points))
    )


def barrier(curve: Interpolation) -> Any:
    """Return the highest rise of the curve above the straight line between its ends.

    ``max over t of L(θ_t) − ((1 − t) L(θ_0) + t L(θ_1))``, the barrier of Entezari et al.: at least
    zero, and zero for a convex loss.

    Returns:
        A scalar in the loss's unit, one for each scalar of the loss.

    References:
        Entezari, Sedghi, Saukh & Neyshabur, *The role of permutation invariance in linear mode
        connectivity of neural networks* (2022), the definition of the error barrier.

    Example:
        >>> import jax.numpy as jnp
        >>> from implicit_bias import geometry
        >>> well = lambda w: (w**2 - 1) ** 2
        >>> curve = geometry.interpolation_curve(well, jnp.array(-1.0), jnp.array(1.0))
        >>> float(geometry.barrier(curve))  # a double well, 1 high at w = 0
        1.0
    """

    def own(values: jax.Array) -> jax.Array:
        share = curve.fractions.astype(values.dtype)
        rise = values - ((1 - share) * values[0] + share * values[-1])
        # The ends are zero by definition; in floating point they might fall below it.
        return jnp.maximum(jnp.max(rise), jnp.zeros_like(rise[0]))

    return jax.tree.map(own, curve.values)


def instability(curve: Interpolation) -> Any:
    """Return the highest value of the curve minus the mean of its ends.

    ``max over t of E(θ_t) − (E(θ_0) + E(θ_1)) / 2``, the linear interpolation instability of Frankle
    et al., who take E to be the error (their "error barrier height"). Between ends of different
    height it is at least half their difference, barrier or not; where both ends are equal it is
    ``barrier``. They call networks connected below 2 percentage points of error.

    Returns:
        A scalar in the loss's unit, one for each scalar of the loss.

    References:
        Frankle, Dziugaite, Roy & Carbin, *Linear mode connectivity and the lottery ticket
        hypothesis* (2020), section 2.
    """
    return jax.tree.map(
        lambda values: jnp.max(values) - 0.5 * (values[0] + values[-1]), curve.values
    )
