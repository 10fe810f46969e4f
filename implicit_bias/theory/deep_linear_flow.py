"""Gradient flow of deep linear networks, integrated to given accuracy.

The flow of W_L ⋯ W_1 has plateaus many times longer than what happens between them: steps of an explicit
method of order eight [HNW] grow on plateaus and shrink where modes are learnt, and a loss or a singular value
at which to stop is found on its interpolant.

References:
    [HNW] E. Hairer, S. Nørsett, G. Wanner, *Solving Ordinary Differential Equations I*, 1993, section II.10.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from implicit_bias.arguments import require_numbers
from implicit_bias.errors import UserError
from implicit_bias.theory.checks import count, finite, positive
from implicit_bias.theory.deep_linear import Layers, layer_gradients, layers_of, product_of

Slope = Callable[[np.ndarray], tuple[float, np.ndarray]]
"""From the product W to the loss and its gradient by W."""

METHODS = ("DOP853", "Radau", "LSODA")


class FlowPath(NamedTuple):
    """A path of gradient flow.

    Attributes:
        times: Shape (n,), from 0 on.
        products: W at each time, shape (n, outputs, inputs).
        losses: Shape (n,).
        layers: At the end.
        stopped: Whether the flow ended where it was asked to, not for want of time or steps.
    """

    times: np.ndarray
    products: np.ndarray
    losses: np.ndarray
    layers: list[np.ndarray]
    stopped: bool


def network_flow(
    layers: Layers,
    slope: Slope,
    *,
    until: Callable[[np.ndarray, float], float],
    longest: float = math.inf,
    times: Sequence[float] | np.ndarray | None = None,
    tolerance: float = 1e-8,
    most_steps: int = 20_000,
    method: str = "DOP853",
) -> FlowPath:
    """Follow ``W_l′ = −∂ℓ/∂W_l`` of all layers at once.

    Args:
        layers: Where they start.
        slope: The loss of a product, and its gradient.
        until: Of W and the loss; the flow ends where this first reaches 0 from below.
        longest: Time at which it ends at the latest.
        times: Increasing times of which W is wanted, those beyond the end left out; by default the steps that
            the method takes. The end is always added.
        tolerance: Relative error of a step.
        most_steps: Steps after which it ends.
        method: ``DOP853``, or ``Radau`` and ``LSODA`` where some directions are much faster than others.

    Returns:
        The path.

    Raises:
        UserError: The layers do not fit each other, the method is unknown, times do not increase, or a number
            is not positive.
    """
    from scipy import integrate

    if method not in METHODS:
        raise UserError(f"method is {method!r}; choose one of {', '.join(METHODS)}")
    product_of(layers)
    layers = layers_of(layers)
    tolerance, most_steps = positive("tolerance", tolerance), count("most_steps", most_steps)
    if longest != math.inf:
        longest = positive("longest", longest)
    if times is not None and np.size(times):
        times = finite("times", times, axes=1)
        if times[0] < 0 or np.any(np.diff(times) <= 0):
            raise UserError("times must be increasing, from 0 on")
    shapes = [np.shape(layer) for layer in layers]
    ends = [0, *np.cumsum([math.prod(shape) for shape in shapes]).tolist()]
    places = list(itertools.pairwise(ends))

    def parts(flat: np.ndarray) -> list[np.ndarray]:
        return [flat[a:b].reshape(shape) for (a, b), shape in zip(places, shapes, strict=True)]

    def velocity(time: float, flat: np.ndarray) -> np.ndarray:
        del time
        now = parts(flat)
        _, gradient = slope(_product(now))
        return -np.concatenate([one.ravel() for one in layer_gradients(now, gradient)])

    def judged(flat: np.ndarray) -> tuple[np.ndarray, float, float]:
        w = _product(parts(flat))
        loss = slope(w)[0]
        return w, loss, until(w, loss)

    begin = np.concatenate([np.ravel(layer) for layer in layers])
    kept: list[tuple[float, np.ndarray, float]] = []
    wanted = None if times is None else list(np.asarray(times, np.float64))
    w, loss, short = judged(begin)
    if wanted is None or (wanted and wanted[0] == 0):
        kept.append((0.0, w, loss))
        wanted = None if wanted is None else wanted[1:]
    # Layers are never far below their start's size, but products of them are: an absolute error of the layers
    # that is small beside 1 alone would hide modes that have not been learnt.
    options = {"rtol": tolerance, "atol": tolerance * 1e-5}
    solver = getattr(integrate, method)(velocity, 0.0, begin, longest, **options)
    steps = 0
    while short < 0 and solver.status == "running" and steps < most_steps:
        solver.step()
        if solver.status == "failed":
            break
        steps += 1
        w, loss, short = judged(solver.y)
        due = wanted is not None and bool(wanted) and wanted[0] <= solver.t
        inside = solver.dense_output() if short >= 0 or due else None
        end, flat = solver.t, solver.y
        if short >= 0 and inside is not None:
            end = _crossing(lambda t, at=inside: judged(at(t))[2], solver.t_old, solver.t)  # type: ignore[misc]
            flat = inside(end)
            w, loss, _ = judged(flat)
        while wanted and inside is not None and wanted[0] <= end:
            at = wanted.pop(0)
            there, lost, _ = judged(inside(at))
            kept.append((at, there, lost))
        if wanted is None or short >= 0 or solver.status != "running" or steps == most_steps:
            kept.append((end, w, loss))
        begin = flat
    if not kept:
        kept.append((0.0, w, loss))
    return FlowPath(
        np.array([one[0] for one in kept]),
        np.stack([one[1] for one in kept]),
        np.array([one[2] for one in kept]),
        parts(begin),
        bool(short >= 0),
    )


def _crossing(short: Callable[[float], float], first: float, last: float) -> float:
    """Return where a function reaches 0 from below; the last place where it is there only to rounding."""
    from scipy.optimize import brentq

    if not short(first) < 0 < short(last):
        return last
    return float(brentq(short, first, last, xtol=1e-13, rtol=1e-12))


def _product(layers: Sequence[np.ndarray]) -> np.ndarray:
    found = layers[0]
    for layer in layers[1:]:
        found = layer @ found
    return found


def fitted(loss: float) -> Callable[[np.ndarray, float], float]:
    """Return ``until`` of a loss: the flow ends where it has fallen to it.

    Raises:
        UserError: The loss is no positive number.
    """
    loss = positive("loss", loss)
    return lambda w, now: math.log(loss) - math.log(max(now, 1e-300))


def squared_error(x: Any, y: Any) -> Slope:
    """Return ½‖WX − Y‖²_F and its gradient.

    Args:
        x: Inputs as columns, shape (d, examples).
        y: Targets as columns, shape (k, examples).

    Raises:
        UserError: They are no finite matrices, or not of the same number of columns.
    """
    inputs, targets = finite("x", x, axes=2), finite("y", y, axes=2)
    if inputs.shape[1] != targets.shape[1]:
        raise UserError(
            f"x has shape {inputs.shape} and y {targets.shape}; give one column of each an example"
        )

    def slope(w: np.ndarray) -> tuple[float, np.ndarray]:
        missed = w @ inputs - targets
        return 0.5 * float(np.sum(missed**2)), missed @ inputs.T

    return slope


def sensed_error(measurements: Any, values: Any) -> Slope:
    """Return ½Σ_i(⟨A_i, W⟩ − b_i)² and its gradient.

    Args:
        measurements: A_i, shape (m, k, d).
        values: b, shape (m,).

    Raises:
        UserError: Shapes do not fit, or a number is not finite.
    """
    given = finite("measurements", measurements)
    if given.ndim != 3:
        raise UserError(f"measurements has shape {given.shape}; give one matrix each, (m, k, d)")
    wanted = finite("values", values, shape=given.shape[:1])
    rows = given.reshape(len(given), -1)

    def slope(w: np.ndarray) -> tuple[float, np.ndarray]:
        missed = rows @ w.ravel() - wanted
        return 0.5 * float(missed @ missed), (missed @ rows).reshape(w.shape)

    return slope


def completed_error(seen: Any, target: Any) -> Slope:
    """Return ½Σ(W_ij − T_ij)² over the entries that are seen, and its gradient.

    Args:
        seen: True where an entry is seen, shape (k, d).
        target: T, shape (k, d); what is not seen does not count, and may be NaN.

    Raises:
        UserError: Shapes do not fit, or a target that is seen is not finite.
    """
    mask = np.asarray(seen, bool)
    require_numbers("target", target)
    if mask.shape != np.shape(target):
        raise UserError(
            f"seen has shape {mask.shape} and target {np.shape(target)}; give one shape"
        )
    wanted = finite("target", np.where(mask, np.asarray(target, np.float64), 0.0), axes=2)

    def slope(w: np.ndarray) -> tuple[float, np.ndarray]:
        missed = np.where(mask, w - wanted, 0.0)
        return 0.5 * float(np.sum(missed**2)), missed

    return slope
