"""How much the loss can rise, or rises on average, within a small change of the weights.

With weights w, a loss L, a radius ρ and a scale c > 0 for each weight (Andriushchenko et al. 2023,
equation 1; Foret et al. 2021 for c = 1; Kwon et al. 2021, adaptive sharpness, for c = |w| + η):

- worst case:   max { L(w + c ⊙ u) − L(w) : ‖u‖_p ≤ ρ },  p = 2 or ∞;
- average case: E [ L(w + c ⊙ u) ] − L(w),  u random of size ρ.

Both work on u, the change in units of the scale. That makes the adaptive measures (η = 0) exactly
invariant under every rescaling of single weights that changes no output, search and all: the
gradient with respect to u does not change. The plain measures (c = 1) are not invariant; nor are
those with η > 0, and the less so the larger η is beside the weights. A weight that is exactly zero
is not disturbed at η = 0.

No single radius is right for all networks, so everything is measured over a sweep of them. All
rises have the loss's unit. Both measure one loss, mostly the mean over a dataset; the average over
m-sized batches of the batches' own sharpness (m-sharpness) is had by mapping over batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from implicit_bias.arguments import (
    require_function,
    require_key,
    require_number,
    require_whole,
    scalar_valued,
)
from implicit_bias.errors import UserError, unknown
from implicit_bias.finite import require_finite
from implicit_bias.geometry.checks import require_like
from implicit_bias.geometry.perturbation import checked_radii

Params = Any
Ball = Literal["l2", "linf"]
Law = Literal["gaussian", "l2", "linf"]

# The step, in radii: long steps make the search a power iteration, short ones make it careful.
_Climb = tuple[jax.Array, jax.Array, jax.Array, jax.Array]

_FIRST_STEP = 2.0
_LONGEST_STEP = 64.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class WorstCase:
    """The highest loss found in balls around the parameters.

    Attributes:
        radii: Shape (r,).
        rise: The highest value found in the ball minus the value at its centre, shape (r,), at
            least zero: a lower bound of the true worst case, as every search gives.
        by_start: What each start of the search alone found, shape (r, starts). Where they
            differ, the bound is not tight; that two agree proves little, least of all for ReLU
            networks and small balls, where ten starts have found a rise up to 40 % above that of
            two that agreed.
        gradients: How many gradients were taken in all.
    """

    radii: jax.Array
    rise: jax.Array
    by_start: jax.Array
    gradients: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AverageCase:
    """The mean rise under random changes of the parameters.

    Attributes:
        radii: Shape (r,).
        rise: Mean over the draws minus the value at the centre; shape (r,), one for each scalar.
        standard_error: Of that mean, likewise.
        n_draws: How many draws there were; they are the same for all radii.
    """

    radii: jax.Array
    rise: Any
    standard_error: Any
    n_draws: jax.Array


def worst_case_sharpness(
    loss: Callable[[Params], jax.Array],
    params: Params,
    key: jax.Array,
    radii: Sequence[float] | jax.Array,
    *,
    ball: Ball = "l2",
    adaptive: bool = False,
    eta: float = 0.0,
    steps: int = 20,
    n_starts: int = 2,
    mask: Params | None = None,
) -> WorstCase:
    """Search balls around the parameters for the highest loss, by projected gradient ascent.

    Each step goes along the steepest direction of the ball's norm (the gradient over its length,
    or its sign), is projected back, and is kept only if the loss rose; the step then doubles, and
    halves otherwise. On a convex loss with ``ball="l2"`` the long steps amount to a power
    iteration. The first start is on the ball's boundary along the steepest direction at the
    centre, the others are random: at a minimum the gradient alone leads nowhere. What was found
    in a smaller ball counts for the larger, so the rise never falls with the radius.

    Takes ``1 + radii * n_starts * (steps + 1)`` gradients, one after another, and the memory of
    one of them and a few copies of the parameters. May be compiled and mapped over lanes.

    Args:
        loss: ``params -> scalar``.
        params: Any pytree of floating arrays.
        key: For the random starts.
        radii: Positive, shape (r,): the size of u, see the module's text.
        ball: ``"l2"`` or ``"linf"``.
        adaptive: Whether each weight's scale is ``|w| + eta`` instead of 1.
        eta: At least zero; only with ``adaptive``.
        steps: Of each start at each radius.
        n_starts: At least two.
        mask: 0 for parameters that must not change (pruned weights, padding), 1 for the others, a
            pytree like ``params``; all change by default.

    Returns:
        The rises, with what each start found. NaN where the loss at a start is; a step to where it
        is NaN is not taken, one to where it is infinite is.

    Raises:
        UserError: If a radius is not positive, the parameters are not finite, or another argument
            is out of range.

    References:
        Andriushchenko, Croce, Müller, Hein & Flammarion, *A modern look at the relationship between
        sharpness and generalization* (2023), equation 1; Foret et al., *Sharpness-aware
        minimization* (2021); Kwon et al., *ASAM: adaptive sharpness-aware minimization* (2021).

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from implicit_bias import geometry
        >>> def loss(w):  # highest at distance 0.1 along the second coordinate: 4 · 0.01
        ...     return w[0] ** 2 + 4 * w[1] ** 2
        >>> found = geometry.worst_case_sharpness(loss, jnp.zeros(2), jax.random.key(0), [0.1])
        >>> round(float(found.rise[0]), 4)
        0.04
    """
    if ball not in get_args(Ball):
        raise unknown("ball", ball, get_args(Ball))
    require_whole("steps", steps)
    require_whole("n_starts", n_starts)
    if steps < 1:
        raise UserError(f"steps is {steps}; choose steps >= 1")
    if n_starts < 2:
        raise UserError(
            f"n_starts is {n_starts}; choose n_starts >= 2, the gradient's and a random one"
        )
    require_key(key)
    loss = scalar_valued("loss", loss, ("params",), "return one number, such as the mean loss")
    radii = checked_radii(radii)
    flat, scale, move = _scaled(params, adaptive, eta, mask)
    live = (scale != 0).astype(flat.dtype)

    def value(change: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            return loss(move(change))

    climb_from = jax.value_and_grad(value)
    centre, slope = climb_from(jnp.zeros_like(flat))

    def search(radius: jax.Array) -> jax.Array:
        radius = radius.astype(flat.dtype)

        def start(index: jax.Array) -> jax.Array:
            random = _random_start(jax.random.fold_in(key, index), live, ball)
            along = _steepest(slope, ball)
            return radius * jnp.where(index == 0, along, random)

        def climb(index: jax.Array) -> jax.Array:
            change = _project(start(index), radius, ball)
            reached, gradient = climb_from(change)

            def step(state: _Climb, _: None) -> tuple[_Climb, None]:
                change, reached, gradient, length = state
                proposed = _project(
                    change + length * radius * _steepest(gradient, ball), radius, ball
                )
                found, own_gradient = climb_from(proposed)
                better = found > reached
                length = jnp.where(better, jnp.minimum(2 * length, _LONGEST_STEP), 0.5 * length)
                return (
                    jnp.where(better, proposed, change),
                    jnp.where(better, found, reached),
                    jnp.where(better, own_gradient, gradient),
                    length,
                ), None

            first = (change, reached, gradient, jnp.asarray(_FIRST_STEP, flat.dtype))
            (_, reached, _, _), _ = jax.lax.scan(step, first, length=steps)
            return jnp.maximum(reached - centre, jnp.zeros_like(centre))

        return jax.lax.map(climb, jnp.arange(n_starts, dtype=jnp.int32))

    by_start = jax.lax.map(search, radii)
    own = jnp.max(by_start, axis=1)
    within = radii[None, :] <= radii[:, None]
    rise = jnp.max(jnp.where(within, own[None, :], jnp.zeros_like(own)[None, :]), axis=1)
    return WorstCase(radii, rise, by_start, jnp.int32(1 + radii.size * n_starts * (steps + 1)))


def average_case_sharpness(
    loss: Callable[[Params], Any],
    params: Params,
    key: jax.Array,
    radii: Sequence[float] | jax.Array,
    *,
    law: Law = "gaussian",
    adaptive: bool = False,
    eta: float = 0.0,
    n_draws: int = 32,
    mask: Params | None = None,
) -> AverageCase:
    """Estimate the mean rise of the loss under random changes of the parameters.

    The laws of u, with what they give for a quadratic with Hessian H in p (live) dimensions:

    - ``gaussian``: each entry normal with standard deviation ρ; ``ρ² tr(cHc) / 2``. The published
      average case.
    - ``l2``: uniform in the ball ‖u‖₂ ≤ ρ; ``ρ² tr(cHc) / (2 (p + 2))``.
    - ``linf``: uniform in the cube ‖u‖∞ ≤ ρ; ``ρ² tr(cHc) / 6``. The ℓ∞ variant of that paper's
      code.

    Each draw is used with both signs at all radii, so that the gradient's part cancels. Draw i
    depends on the key and i alone. May be compiled and mapped over lanes.

    Args:
        loss: ``params -> scalar``, or a pytree of scalars such as a dict of loss and error.
        params: Any pytree of floating arrays.
        key: For the draws.
        radii: Positive, shape (r,).
        law: ``"gaussian"``, ``"l2"`` or ``"linf"``.
        adaptive: Whether each weight's scale is ``|w| + eta`` instead of 1.
        eta: At least zero; only with ``adaptive``.
        n_draws: At least two, for there to be a standard error; each takes two evaluations for
            each radius.
        mask: As in ``worst_case_sharpness``.

    Returns:
        Means and standard errors for each scalar of the loss, shape (r,).

    Raises:
        UserError: As ``worst_case_sharpness``.

    References:
        Andriushchenko, Croce, Müller, Hein & Flammarion, *A modern look at the relationship between
        sharpness and generalization* (2023), equation 1.
    """
    if law not in get_args(Law):
        raise unknown("law", law, get_args(Law))
    require_whole("n_draws", n_draws)
    if n_draws < 2:
        raise UserError(f"n_draws is {n_draws}; choose n_draws >= 2 for a standard error")
    require_key(key)
    require_function("loss", loss, ("params",), "a scalar, or several")
    radii = checked_radii(radii)
    flat, scale, move = _scaled(params, adaptive, eta, mask)
    live = (scale != 0).astype(flat.dtype)

    def value(change: jax.Array) -> Any:
        with jax.default_matmul_precision("highest"):
            return loss(move(change))

    centre = value(jnp.zeros_like(flat))

    def along(index: jax.Array) -> Any:
        draw = _draw(jax.random.fold_in(key, index), live, law)

        def rise(radius: jax.Array) -> Any:
            change = radius.astype(flat.dtype) * draw
            return jax.tree.map(
                lambda up, down, here: 0.5 * ((up - here) + (down - here)),
                value(change),
                value(-change),
                centre,
            )

        return jax.lax.map(rise, radii)

    rises = jax.lax.map(along, jnp.arange(n_draws, dtype=jnp.int32))
    return AverageCase(
        radii,
        jax.tree.map(lambda each: jnp.mean(each, axis=0), rises),
        jax.tree.map(lambda each: jnp.std(each, axis=0, ddof=1) / n_draws**0.5, rises),
        jnp.int32(n_draws),
    )


def _scaled(
    params: Params, adaptive: bool, eta: float, mask: Params | None
) -> tuple[jax.Array, jax.Array, Callable[[jax.Array], Params]]:
    """Return the flat parameters, their scales, and the map from a change u to parameters."""
    require_finite(params)
    if not isinstance(eta, jax.core.Tracer):
        require_number("eta", eta)
        if not 0 <= eta < math.inf:
            raise UserError(f"eta is {eta}; choose a finite eta >= 0")
        if eta != 0 and not adaptive:
            raise UserError(f"eta is {eta}, which only the adaptive measures have; set adaptive")
    flat, unravel = ravel_pytree(params)
    if not jnp.issubdtype(flat.dtype, jnp.floating):
        raise UserError(f"the parameters have type {flat.dtype}; give floating-point parameters")
    scale = jnp.abs(flat) + jnp.asarray(eta, flat.dtype) if adaptive else jnp.ones_like(flat)
    if mask is not None:
        require_like("mask", mask, params)
        scale = scale * ravel_pytree(mask)[0].astype(flat.dtype)
    return flat, scale, lambda change: unravel(flat + scale * change)


def _length(vector: jax.Array) -> jax.Array:
    # Scaled by the largest entry first: squares of small gradients may vanish in float32.
    largest = jnp.max(jnp.abs(vector))
    safe = jnp.where(largest > 0, largest, jnp.ones_like(largest))
    return largest * jnp.sqrt(jnp.sum(jnp.square(vector / safe)))


def _steepest(gradient: jax.Array, ball: str) -> jax.Array:
    """Return the direction of length one in the ball's norm along which the loss rises fastest."""
    if ball == "linf":
        return jnp.sign(gradient)
    length = _length(gradient)
    return gradient / jnp.where(length > 0, length, jnp.ones_like(length))


def _project(change: jax.Array, radius: jax.Array, ball: str) -> jax.Array:
    if ball == "linf":
        return jnp.clip(change, -radius, radius)
    return change * (radius / jnp.maximum(_length(change), radius))


def _random_start(key: jax.Array, live: jax.Array, ball: str) -> jax.Array:
    if ball == "linf":
        return live * jax.random.uniform(key, live.shape, live.dtype, -1, 1)
    return _steepest(live * jax.random.normal(key, live.shape, live.dtype), "l2")


def _draw(key: jax.Array, live: jax.Array, law: str) -> jax.Array:
    """Draw u of radius one."""
    if law == "linf":
        return live * jax.random.uniform(key, live.shape, live.dtype, -1, 1)
    direction_key, radius_key = jax.random.split(key)
    normal = live * jax.random.normal(direction_key, live.shape, live.dtype)
    if law == "gaussian":
        return normal
    # The distance from the centre of a uniform point in a ball has distribution function r^p.
    distance = jax.random.uniform(radius_key, (), live.dtype) ** (1 / jnp.sum(live))
    return distance * _steepest(normal, "l2")
