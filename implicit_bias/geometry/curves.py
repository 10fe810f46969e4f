"""Curves of low loss between two sets of parameters.

Two networks with a barrier on the straight line between them are often joined by a curve without
one. The curve here is the simplest: a quadratic Bezier curve, whose one free point is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.arguments import (
    require_function,
    require_key,
    require_number,
    require_whole,
    scalar_valued,
)
from implicit_bias.errors import UserError
from implicit_bias.geometry.checks import require_like, some_value
from implicit_bias.geometry.connectivity import Interpolation

Params = Any

# Adam's usual constants. It is written out: Optax's would promote types within a run.
_B1, _B2, _EPS = 0.9, 0.999, 1e-8


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CurveFit:
    """A trained curve.

    Attributes:
        middle: The point that pulls the curve, a pytree like the ends. The curve does not go through
            it, but through ``(start + 2 middle + end) / 4``.
        history: Loss at the random point of each update, before it, shape (updates,).
    """

    middle: Params
    history: jax.Array


def bezier_point(start: Params, middle: Params, end: Params, fraction: jax.Array) -> Params:
    """Return ``(1 − t)² start + 2 t (1 − t) middle + t² end``.

    Args:
        start: Any pytree of floating arrays, where t = 0.
        middle: Another of the same shapes.
        end: Another, where t = 1.
        fraction: t, a scalar.
    """
    require_like("end", end, start)
    require_like("middle", middle, start)

    def between(first: jax.Array, pull: jax.Array, last: jax.Array) -> jax.Array:
        t = jnp.asarray(fraction, first.dtype)
        return (1 - t) ** 2 * first + 2 * t * (1 - t) * pull + t**2 * last

    return jax.tree.map(between, start, middle, end)


def fit_bezier(
    loss: Callable[[Params, jax.Array], jax.Array],
    start: Params,
    end: Params,
    key: jax.Array,
    *,
    updates: int,
    step_size: float = 0.01,
    middle: Params | None = None,
) -> CurveFit:
    """Train the middle of a quadratic Bezier curve so that the loss is low along it.

    Each update draws t uniformly between 0 and 1 and follows the gradient of the loss there, by Adam
    with a step size that falls linearly to zero. The ends stay as they are. As in the source the
    mean is over t, not over the length of the curve.

    Args:
        loss: ``(params, key) -> scalar``; the key is fresh in every update, for drawing a batch.
        start: Any pytree of floating arrays.
        end: Another of the same shapes.
        key: For t and the batches.
        updates: How many.
        step_size: Of the first update.
        middle: Where to begin; the midpoint of the ends, that is the straight line, if None.

    Returns:
        The curve; points of it by ``bezier_point``, values along it by ``bezier_curve``.

    Raises:
        UserError: If the shapes differ, ``updates`` is below one, or ``step_size`` is not positive.

    References:
        Garipov, Izmailov, Podoprikhin, Vetrov & Wilson, *Loss surfaces, mode connectivity, and fast
        ensembling of DNNs* (2018), section 3, eq. 2 and the Bezier curve below it.
    """
    require_like("end", end, start)
    if middle is not None:
        require_like("middle", middle, start)
    require_key(key)
    loss = scalar_valued("loss", loss, ("params", "key"), "return one number")
    require_whole("updates", updates)
    require_number("step_size", step_size)
    if updates < 1:
        raise UserError(f"updates is {updates}; choose updates >= 1")
    if not step_size > 0:
        raise UserError(f"step_size is {step_size}; choose step_size > 0")
    begun = jax.tree.map(lambda a, b: (a + b) / 2, start, end) if middle is None else middle
    dtype = jnp.result_type(*jax.tree.leaves(start))

    def update(carry: Any, given: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        (point, first, second), (own, done) = carry, given
        place, batch = jax.random.split(own)
        fraction = jax.random.uniform(place, dtype=dtype)
        value, gradient = jax.value_and_grad(
            lambda pull: loss(bezier_point(start, pull, end, fraction), batch)
        )(point)
        first = jax.tree.map(lambda m, g: _B1 * m + (1 - _B1) * g, first, gradient)
        second = jax.tree.map(lambda v, g: _B2 * v + (1 - _B2) * g**2, second, gradient)
        size = step_size * (1 - done / updates) / (1 - _B1 ** (done + 1))
        unbias = 1 / (1 - _B2 ** (done + 1))

        def moved(leaf: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
            return leaf - size.astype(leaf.dtype) * m / (
                jnp.sqrt(v * unbias.astype(leaf.dtype)) + _EPS
            )

        return (jax.tree.map(moved, point, first, second), first, second), value

    zeros = jax.tree.map(jnp.zeros_like, begun)
    (fitted, _, _), history = jax.lax.scan(
        update,
        (begun, zeros, zeros),
        (jax.random.split(key, updates), jnp.arange(updates, dtype=dtype)),
    )
    return CurveFit(fitted, history)


def bezier_curve(
    loss: Callable[[Params], Any],
    start: Params,
    middle: Params,
    end: Params,
    *,
    n_points: int = 31,
    batch_size: int = 1,
) -> Interpolation:
    """Evaluate a loss along a quadratic Bezier curve, for evenly spaced t from 0 to 1.

    Args:
        loss: ``params -> scalar``, or a pytree of scalars such as a dict of loss and error.
        start: Any pytree of floating arrays.
        middle: From ``fit_bezier``.
        end: As ``start``.
        n_points: How many, at least three.
        batch_size: Points evaluated at once; memory grows with it.

    Returns:
        Fractions and values, for ``barrier`` and ``instability`` as on the straight line.

    Raises:
        UserError: If the shapes differ, there are fewer than three points, or ``batch_size`` is
            below one.
    """
    require_like("end", end, start)
    require_like("middle", middle, start)
    require_function("loss", loss, ("params",), "a scalar, or several")
    require_whole("n_points", n_points)
    require_whole("batch_size", batch_size)
    if n_points < 3:
        raise UserError(f"n_points is {n_points}; choose n_points >= 3: both ends and the middle")
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; choose batch_size >= 1 points at once")
    fractions = jnp.linspace(0, 1, n_points, dtype=jnp.result_type(*jax.tree.leaves(start)))

    def value(fraction: jax.Array) -> Any:
        with jax.default_matmul_precision("highest"):
            return some_value("loss", loss(bezier_point(start, middle, end, fraction)))

    return Interpolation(
        fractions, jax.lax.map(value, fractions, batch_size=min(batch_size, n_points))
    )
