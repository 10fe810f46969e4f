"""A quadratic in its eigenvectors' basis: descent, RMSProp and Adam on it, and what is seen of their runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from implicit_bias.theory.linear_descent import mode_factors

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8
"""ε stands under the root of RMSProp, as in the exercise's hint; its size is left open there."""
TENTH = 0.1
"""Fraction of its start at which a component is looked for."""

Gradient = Callable[[np.ndarray], np.ndarray]


def rmsprop(
    start: np.ndarray,
    gradient: Gradient,
    steps: np.ndarray | float,
    decay: float,
    *,
    fades: np.ndarray | float = 0.0,
    begun: float = 0.0,
    within: float = EPSILON,
    beside: float = 0.0,
) -> Iterator[np.ndarray]:
    """Yield iterates of ``θ ← θ − α t^(−p) g/(√(s + ε₁) + ε₂)``, ``s ← βs + (1 − β)g²``, without correction.

    Args:
        start: θ₀, any shape.
        gradient: From θ to g.
        steps: α, a number or broadcast with θ.
        decay: β.
        fades: p, likewise.
        begun: s₀.
        within: ε₁.
        beside: ε₂.
    """
    theta, s, t = start.copy(), np.full_like(start, begun), 0
    powers = -np.asarray(fades)
    while True:
        t += 1
        g = gradient(theta)
        s = decay * s + (1 - decay) * g * g
        theta = theta - steps * t**powers * g / (np.sqrt(s + within) + beside)
        yield theta


def adam(start: np.ndarray, gradient: Gradient, step: float) -> Iterator[np.ndarray]:
    """Yield iterates of Adam with its usual decays and corrections."""
    theta, m, s, t = start.copy(), np.zeros_like(start), np.zeros_like(start), 0
    while True:
        t += 1
        g = gradient(theta)
        m = FIRST_DECAY * m + (1 - FIRST_DECAY) * g
        s = SECOND_DECAY * s + (1 - SECOND_DECAY) * g * g
        theta = theta - step * (m / (1 - FIRST_DECAY**t)) / (
            np.sqrt(s / (1 - SECOND_DECAY**t)) + EPSILON
        )
        yield theta


class Watched(NamedTuple):
    """What is seen of runs: ‖θ_t‖ (runs, T + 1), first updates at a tenth (runs, d), components at times."""

    norms: np.ndarray
    tenths: np.ndarray
    parts: np.ndarray


def watch(
    iterates: Iterator[np.ndarray],
    start: np.ndarray,
    updates: int,
    seen: Callable[[np.ndarray], np.ndarray] = lambda theta: theta,
    fraction: float = TENTH,
    times: Sequence[int] = (),
) -> Watched:
    """Follow runs for a number of updates.

    Args:
        iterates: Of shape (runs, d).
        start: Components at the beginning, along eigenvectors, (runs, d).
        updates: How many.
        seen: From an iterate to its components along eigenvectors, a rotation.
        fraction: Of a component's start: when it is first reached counts, ``updates`` if it never is.
        times: When components are kept, beside the start; increasing.
    """
    squares = np.empty((len(start), updates + 1))
    squares[:, 0] = np.sum(start**2, axis=1)
    tenths = np.full(start.shape, float(updates))
    open_, target = np.ones(start.shape, bool), fraction * np.abs(start)
    under_way = True
    kept = [start]
    wanted = set(times)
    for t, theta in enumerate(islice(iterates, updates), start=1):
        # A rotation changes no length; components are only looked at where they are asked for.
        squares[:, t] = np.einsum("rd,rd->r", theta, theta)
        if not (under_way or t in wanted):
            continue
        parts = seen(theta)
        if under_way:
            hit = open_ & (np.abs(parts) <= target)
            tenths[hit] = t
            open_ &= ~hit
            under_way = bool(open_.any())
        if t in wanted:
            kept.append(parts.copy())
    return Watched(np.sqrt(squares), tenths, np.stack(kept, axis=1))


def descended(
    curvatures: np.ndarray, start: np.ndarray, updates: int, step: float, times: Sequence[int]
) -> Watched:
    """Return what :func:`watch` sees of one run of gradient descent, in closed form.

    Args:
        curvatures: (d,).
        start: Components at the beginning, (d,).
        updates: How many.
        step: Step size.
        times: When components are kept, 0 among them to keep the start.
    """
    t = np.arange(updates + 1)
    factors = mode_factors(curvatures, t, step)
    norms = np.sqrt(factors**2 @ start**2)[None]
    with np.errstate(divide="ignore"):
        first = np.log(TENTH) / np.log(np.abs(1 - step * curvatures))
    tenths = np.clip(np.ceil(first - 1e-9), 1, updates)[None]
    return Watched(norms, tenths, (factors[list(times)] * start)[None])


def first_below(norms: np.ndarray, bound: np.ndarray | float) -> np.ndarray:
    """Return the first update after which ‖θ‖, (runs, T + 1), is below a bound, T if it never is."""
    below = norms < bound
    return np.where(below.any(axis=1), below.argmax(axis=1), norms.shape[1] - 1).astype(float)


def updates_needed(
    curvatures: np.ndarray, start: np.ndarray, step: float, accuracy: float
) -> float:
    """Return the first update after which gradient descent is below an accuracy, however late."""
    low, high = 0, 1
    while np.linalg.norm(mode_factors(curvatures, high, step) * start) >= accuracy:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        short = np.linalg.norm(mode_factors(curvatures, middle, step) * start) < accuracy
        low, high = (low, middle) if short else (middle + 1, high)
    return float(low)


def slope(curvatures: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the exponent a of times ∝ λ^a over directions, of each run, shape (runs,)."""
    x = np.log(curvatures) - np.log(curvatures).mean()
    found: np.ndarray = np.log(np.maximum(times, 1)) @ x / np.sum(x**2)
    return found
