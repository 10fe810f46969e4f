"""Attacks on the inputs: how far an image must change before the network errs.

A network f, an input x with target y, a loss ℓ and a radius ε ask for

    max { ℓ(f(x'), y) : ‖(x' − x)/s‖_p ≤ ε, low ≤ x' ≤ high },   p = ∞ or 2.

Radii are in **pixel units**: pixels lie between 0 and 1 (8-bit values over 255), so that ε = 8/255 is
eight grey levels whatever was done to the inputs since. Standardisation is affine, x = (pixel −
mean)/std for each feature, so that one pixel unit is s = 1/std of the network's own units, and the
box of valid images is from −mean/std to (1 − mean)/std: ``pixels.pixel_box`` returns these three. For
inputs that are pixels already, s = 1, low = 0 and high = 1; for data without bounds leave them out.

Two searches, each of which finds a lower bound of that maximum, so that the accuracy left is an upper
bound of the accuracy under the worst such change:

- ``fgsm``, one step: x' = x + ε s sign ∇ₓℓ, cut to the box (Goodfellow et al. 2015, section 4, eq. 1 and
  the one after). For linear networks it is the maximum.
- ``pgd``, many steps projected to the ball and the box, from random starts (Madry et al. 2018, section
  2.1, for p = ∞; for p = 2 steps along the gradient over its length).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from implicit_bias import losses
from implicit_bias.arguments import (
    as_numbers,
    require_function,
    require_key,
    require_numbers,
    require_whole,
)
from implicit_bias.errors import UserError, unknown
from implicit_bias.geometry.perturbation import checked_radii
from implicit_bias.losses import Loss

Network = Callable[[jax.Array], jax.Array]
"""Inputs (n, *features) to outputs (n, k), each example's of its own input alone."""

Ball = Literal["linf", "l2"]
Method = Literal["fgsm", "pgd"]
Bound = float | npt.NDArray[Any] | jax.Array

_Best = tuple[jax.Array, jax.Array]
_Walk = tuple[jax.Array, jax.Array, jax.Array, jax.Array]

_TRAVEL = 2.5  # radii that a search may walk in all: enough to cross the ball from any start


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RobustAccuracy:
    """Fractions of examples classified rightly, undisturbed and under attack.

    Attributes:
        radii: In pixel units, shape (r,).
        clean: Fraction right without attack, a scalar.
        attacked: Fraction right on what the attack found at each radius alone, shape (r,).
        accuracy: Fraction right without attack and on everything found at this and all smaller
            radii, shape (r,): the least upper bound that these attacks give, as a smaller ball
            lies in a larger one. It never rises with the radius.
        loss: Mean loss on what the attack found at each radius, shape (r,).
    """

    radii: jax.Array
    clean: jax.Array
    attacked: jax.Array
    accuracy: jax.Array
    loss: jax.Array


def fgsm(
    network: Network,
    inputs: jax.Array,
    targets: jax.Array,
    radius: float | jax.Array,
    *,
    loss: Loss = losses.CROSS_ENTROPY,
    scale: Bound = 1.0,
    low: Bound = -math.inf,
    high: Bound = math.inf,
) -> jax.Array:
    """Change each input by one signed-gradient step, in the ℓ∞ ball.

    Args:
        network: Inputs to outputs.
        inputs: Shape (n, *features).
        targets: Class numbers, shape (n,), or what else the loss takes.
        radius: In pixel units: one for all, or shape (n,).
        loss: What the step raises.
        scale: One pixel unit in the inputs' units: a number, or shape features.
        low: Smallest valid input, likewise. An input outside of the bounds is not moved further out.
        high: Largest valid input, likewise.

    Returns:
        The changed inputs, (n, *features). A feature without gradient is not changed.

    Raises:
        UserError: A radius or scale is not positive and finite, the bounds cross, or a shape does
            not fit.

    References:
        Goodfellow, Shlens & Szegedy, *Explaining and harnessing adversarial examples* (2015),
        section 4.
    """
    inputs = as_numbers("inputs", inputs)
    space = _Space.of(inputs, radius, scale, low, high)
    _, gradient = _climb(network, loss, targets, space)(jnp.zeros_like(inputs))
    return space.moved(space.boxed(space.radius * jnp.sign(gradient)))


def pgd(
    network: Network,
    inputs: jax.Array,
    targets: jax.Array,
    radius: float | jax.Array,
    key: jax.Array,
    *,
    ball: Ball = "linf",
    steps: int = 20,
    n_starts: int = 1,
    loss: Loss = losses.CROSS_ENTROPY,
    scale: Bound = 1.0,
    low: Bound = -math.inf,
    high: Bound = math.inf,
) -> jax.Array:
    """Search the ball around each input for the highest loss, by projected gradient ascent.

    Each start is uniform in the ball and cut to the box. Each of the steps is 2.5 radii over their
    number long (Madry et al. 2018, appendix), along the gradient's sign, or in the ℓ2 ball along the
    gradient over its length; then the change is projected to the ball and cut to the box, which for
    ℓ∞ is the projection to both and for ℓ2 a point in both. Of all points visited and the input
    itself, each example gets that of the highest loss (the source takes the last).

    Takes ``n_starts * (steps + 1)`` gradients and one evaluation, one after another. May be compiled,
    and mapped over lanes.

    Args:
        network: Inputs to outputs.
        inputs: Shape (n, *features).
        targets: Class numbers, shape (n,), or what else the loss takes.
        radius: In pixel units: one for all, or shape (n,).
        key: For the random starts.
        ball: ``"linf"`` or ``"l2"``.
        steps: Of each start.
        n_starts: Random starts.
        loss: What is searched for.
        scale: As in :func:`fgsm`.
        low: As in :func:`fgsm`.
        high: As in :func:`fgsm`.

    Returns:
        The changed inputs, (n, *features).

    Raises:
        UserError: As :func:`fgsm`; or an unknown ball, or no step or start.

    References:
        Madry, Makelov, Schmidt, Tsipras & Vladu, *Towards deep learning models resistant to
        adversarial attacks* (2018), section 2.1.
    """
    if ball not in get_args(Ball):
        raise unknown("ball", ball, get_args(Ball))
    require_key(key)
    for name, value in (("steps", steps), ("n_starts", n_starts)):
        require_whole(name, value)
        if value < 1:
            raise UserError(f"{name} is {value}; choose {name} >= 1")
    inputs = as_numbers("inputs", inputs)
    space = _Space.of(inputs, radius, scale, low, high)
    climb = _climb(network, loss, targets, space)
    length = _TRAVEL / steps * space.radius

    def visit(change: jax.Array, best: jax.Array, highest: jax.Array) -> _Walk:
        value, gradient = climb(change)
        better = value > highest  # never where it is not a number
        wide = better.reshape(-1, *[1] * (inputs.ndim - 1))
        return change, gradient, jnp.where(wide, change, best), jnp.where(better, value, highest)

    def step(carry: _Walk, _: None) -> tuple[_Walk, None]:
        change, gradient, best, highest = carry
        ahead = space.into(change + length * _steepest(gradient, ball), ball)
        return visit(ahead, best, highest), None

    def search(carry: _Best, index: jax.Array) -> tuple[_Best, None]:
        start = space.boxed(space.radius * _random(jax.random.fold_in(key, index), inputs, ball))
        (_, _, best, highest), _ = jax.lax.scan(step, visit(start, *carry), length=steps)
        return (best, highest), None

    centre = jnp.zeros_like(inputs)
    first = (centre, climb(centre)[0])
    (best, _), _ = jax.lax.scan(search, first, jnp.arange(n_starts, dtype=jnp.int32))
    return space.moved(best)


def robust_accuracy(
    network: Network,
    inputs: jax.Array,
    targets: jax.Array,
    radii: Sequence[float] | jax.Array,
    key: jax.Array | None = None,
    *,
    method: Method = "pgd",
    ball: Ball = "linf",
    steps: int = 20,
    n_starts: int = 1,
    loss: Loss = losses.CROSS_ENTROPY,
    scale: Bound = 1.0,
    low: Bound = -math.inf,
    high: Bound = math.inf,
) -> RobustAccuracy:
    """Measure the accuracy under attack over a sweep of radii.

    Radii are taken one after another, each with the same random starts in units of the radius.

    Args:
        network: Inputs to outputs.
        inputs: Shape (n, *features).
        targets: Class numbers, shape (n,).
        radii: In pixel units, positive, shape (r,).
        key: For the random starts of ``"pgd"``, which needs one.
        method: ``"pgd"`` or ``"fgsm"``.
        ball: ``"linf"`` or ``"l2"``; ``"fgsm"`` knows the first only.
        steps: As in :func:`pgd`.
        n_starts: As in :func:`pgd`.
        loss: What the attack raises.
        scale: As in :func:`fgsm`.
        low: As in :func:`fgsm`.
        high: As in :func:`fgsm`.

    Returns:
        Accuracies and losses for each radius.

    Raises:
        UserError: As :func:`pgd`; or the method is unknown, lacks its key, or does not know the
            ball, or the targets are not class numbers.
    """
    if method not in get_args(Method):
        raise unknown("attack", method, get_args(Method))
    if ball not in get_args(Ball):
        raise unknown("ball", ball, get_args(Ball))
    if method == "pgd" and key is None:
        raise UserError("attack 'pgd' starts at random, but no key is given; give one")
    if method == "fgsm" and ball != "linf":
        raise UserError(f"ball is {ball!r}, but attack 'fgsm' knows 'linf' only; use method 'pgd'")
    if key is not None:
        require_key(key)
    loss = losses.get(loss)
    inputs, targets = as_numbers("inputs", inputs), as_numbers("targets", targets)
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise UserError("accuracy under attack needs class numbers; give integer targets")
    radii = checked_radii(radii)
    bounds: dict[str, Any] = {"loss": loss, "scale": scale, "low": low, "high": high}

    def attack(radius: jax.Array) -> tuple[jax.Array, jax.Array]:
        if method == "fgsm":
            found = fgsm(network, inputs, targets, radius, **bounds)
        else:
            assert key is not None
            found = pgd(
                network,
                inputs,
                targets,
                radius,
                key,
                ball=ball,
                steps=steps,
                n_starts=n_starts,
                **bounds,
            )
        outputs = _outputs(network, found)
        return losses.error(outputs, targets) == 0, jnp.mean(loss.per_example(outputs, targets))

    right, values = jax.lax.map(attack, radii)
    clean = losses.error(_outputs(network, inputs), targets) == 0
    within = radii[None, :] <= radii[:, None]
    broken = jnp.any(within[:, :, None] & ~right[None, :, :], axis=1)

    def fraction(which: jax.Array) -> jax.Array:
        return jnp.mean(which.astype(inputs.dtype), axis=-1)

    return RobustAccuracy(
        radii, fraction(clean), fraction(right), fraction(clean[None, :] & ~broken), values
    )


@dataclass(frozen=True)
class _Space:
    """Changes of inputs in pixel units: the ball's radius, and the box around each input."""

    inputs: jax.Array  # (n, *features)
    radius: jax.Array  # (n, 1, ...) or (1, 1, ...)
    scale: jax.Array  # (1, *features)
    low: jax.Array  # (n, *features), at most the inputs
    high: jax.Array  # (n, *features), at least the inputs

    @classmethod
    def of(
        cls, inputs: jax.Array, radius: float | jax.Array, scale: Bound, low: Bound, high: Bound
    ) -> _Space:
        if inputs.ndim < 2 or not jnp.issubdtype(inputs.dtype, jnp.floating):
            raise UserError(
                f"inputs have shape {inputs.shape} and type {inputs.dtype}; "
                "give floating-point inputs (n, *features)"
            )
        if jnp.shape(radius) not in ((), inputs.shape[:1]):
            raise UserError(
                f"radius has shape {jnp.shape(radius)}; give one number, or {inputs.shape[0]}"
            )
        # ``checked_radii`` names the first that is not positive.
        radius = checked_radii(jnp.reshape(as_numbers("radius", radius), (-1,)))
        radius = radius.astype(inputs.dtype).reshape(-1, *[1] * (inputs.ndim - 1))
        for name, value in (("scale", scale), ("low", low), ("high", high)):
            require_numbers(name, value)
        _require(scale, lambda s: np.isfinite(s) & (s > 0), "scale", "choose finite scales > 0")
        traced = any(isinstance(bound, jax.core.Tracer) for bound in (low, high))
        if not traced and not np.all(np.asarray(low) < np.asarray(high)):
            raise UserError("low is not below high everywhere; give low < high")
        unit, least, most = (
            _features(name, value, inputs)
            for name, value in (("scale", scale), ("low", low), ("high", high))
        )
        return cls(inputs, radius, unit, jnp.minimum(least, inputs), jnp.maximum(most, inputs))

    def moved(self, change: jax.Array) -> jax.Array:
        # Cut once more, as adding may round past the box.
        return jnp.clip(self.inputs + self.scale * change, self.low, self.high)

    def boxed(self, change: jax.Array) -> jax.Array:
        least = (self.low - self.inputs) / self.scale
        return jnp.clip(change, least, (self.high - self.inputs) / self.scale)

    def into(self, change: jax.Array, ball: str) -> jax.Array:
        if ball == "linf":
            return self.boxed(jnp.clip(change, -self.radius, self.radius))
        # Cutting to the box brings every entry nearer to zero, so that the ball is not left.
        return self.boxed(change * (self.radius / jnp.maximum(_length(change), self.radius)))


def _require(value: Bound, right: Callable[[Any], Any], name: str, advice: str) -> None:
    if isinstance(value, jax.core.Tracer):
        return
    known = np.asarray(value)
    for wrong in known[~right(known)].ravel()[:1]:
        raise UserError(f"{name} is {wrong}; {advice}")


def _features(name: str, value: Bound, inputs: jax.Array) -> jax.Array:
    """Return a bound for each feature, shape (1, *features), of the inputs' type."""
    if jnp.shape(value) not in ((), inputs.shape[1:]):
        raise UserError(
            f"{name} has shape {jnp.shape(value)}; give one number, or shape {inputs.shape[1:]}"
        )
    return jnp.broadcast_to(jnp.asarray(value, inputs.dtype), inputs.shape[1:])[None]


def _outputs(network: Network, inputs: jax.Array) -> jax.Array:
    # On a GPU, fast products would change which of two close outputs is larger.
    with jax.default_matmul_precision("highest"):
        outputs = network(inputs)
    if getattr(outputs, "ndim", None) != 2:
        given = getattr(outputs, "shape", type(outputs).__name__)
        raise UserError(
            f"network returns shape {given} for inputs of shape {inputs.shape}; "
            "return one array of shape (examples, outputs)"
        )
    return outputs


def _climb(
    network: Network, loss: Loss, targets: jax.Array, space: _Space
) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
    """Return the function from a change in pixel units to losses (n,) and their gradients."""
    require_function("network", network, ("inputs",), "outputs of shape (examples, outputs)")
    loss, targets = losses.get(loss), as_numbers("targets", targets)

    def total(moved: jax.Array) -> tuple[jax.Array, jax.Array]:
        each = loss.per_example(_outputs(network, moved), targets)
        return jnp.sum(each), each

    def climb(change: jax.Array) -> tuple[jax.Array, jax.Array]:
        # Not through the cut to the box, whose derivative at the box's edge is none.
        (_, each), gradient = jax.value_and_grad(total, has_aux=True)(space.moved(change))
        return each, space.scale * gradient

    return climb


def _length(changes: jax.Array) -> jax.Array:
    """Return each example's Euclidean length, shape (n, 1, ...)."""
    # Scaled by the largest entry first: squares of small gradients vanish in float32.
    axes = tuple(range(1, changes.ndim))
    largest = jnp.max(jnp.abs(changes), axis=axes, keepdims=True)
    safe = jnp.where(largest > 0, largest, jnp.ones_like(largest))
    return largest * jnp.sqrt(jnp.sum(jnp.square(changes / safe), axis=axes, keepdims=True))


def _steepest(gradient: jax.Array, ball: str) -> jax.Array:
    if ball == "linf":
        return jnp.sign(gradient)
    length = _length(gradient)
    return gradient / jnp.where(length > 0, length, jnp.ones_like(length))


def _random(key: jax.Array, inputs: jax.Array, ball: str) -> jax.Array:
    """Draw a change of each input, uniform in the ball of radius one."""
    if ball == "linf":
        return jax.random.uniform(key, inputs.shape, inputs.dtype, -1, 1)
    direction_key, radius_key = jax.random.split(key)
    normal = jax.random.normal(direction_key, inputs.shape, inputs.dtype)
    distance = jax.random.uniform(radius_key, inputs.shape[:1], inputs.dtype)
    # The distance from the centre of a uniform point in d dimensions has distribution function r^d.
    distance = distance ** (1 / math.prod(inputs.shape[1:]))
    distance = distance.reshape(-1, *[1] * (inputs.ndim - 1))
    return distance * _steepest(normal, "l2")
