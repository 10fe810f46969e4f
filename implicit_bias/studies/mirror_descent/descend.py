"""Runs of the package's optimisers on least squares: many problems of one shape at once, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from implicit_bias.optimizers import Optimizer, Schedule, get
from implicit_bias.runtime import compiled


class Descent(NamedTuple):
    """What a run left.

    Attributes:
        weights: Last iterates, shape (problems, n).
        path: Iterates that were kept, the start first, shape (problems, kept, n).
        residuals: ‖Xw − y‖/‖y‖ of the last iterates, shape (problems,).
        updates: Updates that were made.
    """

    weights: np.ndarray
    path: np.ndarray
    residuals: np.ndarray
    updates: int


def _advance(
    optimizer: Optimizer,
    schedule: Schedule,
    projected: bool,
    blocks: int,
    every: int,
    settings: Mapping[str, jax.Array],
    x: jax.Array,
    y: jax.Array,
    weights: jax.Array,
    state: Any,
) -> tuple[jax.Array, Any, jax.Array]:
    """Make ``blocks`` times ``every`` updates of each problem, keeping the iterate after each block.

    A state of None begins the run.
    """

    def one(settings: Any, x: jax.Array, y: jax.Array, weights: jax.Array, state: Any) -> Any:
        transform = optimizer.build(schedule, settings)

        def update(_: Any, carry: Any) -> Any:
            weights, state = carry
            gradient = x.T @ (x @ weights - y)
            updates, state = transform.update(gradient, state, weights)
            weights = optax.apply_updates(weights, updates)
            return (jnp.maximum(weights, 0) if projected else weights), state

        def block(carry: Any, _: Any) -> Any:
            carry = jax.lax.fori_loop(0, every, update, carry)
            return carry, carry[0]

        begun = transform.init(weights) if state is None else state
        (weights, state), path = jax.lax.scan(block, (weights, begun), None, length=blocks)
        return weights, state, path

    found: tuple[jax.Array, Any, jax.Array] = jax.vmap(one)(settings, x, y, weights, state)
    return found


_advanced = compiled(
    _advance, static=("optimizer", "schedule", "projected", "blocks", "every"), donate=("state",)
)


def descend(
    name: str,
    x: Any,
    y: Any,
    start: Any,
    settings: Mapping[str, Any],
    *,
    blocks: int,
    every: int,
    rounds: int = 1,
    tolerance: float = 0.0,
    schedule: Schedule | None = None,
    projected: bool = False,
    keep: bool = False,
) -> Descent:
    """Minimise ½‖Xw − y‖² with one of the package's optimisers, in problems that are alike in shape.

    Args:
        name: Of the optimiser.
        x: Inputs, shape (problems, m, n).
        y: Labels, shape (problems, m).
        start: First iterates, shape (problems, n).
        settings: Settings of the optimiser and the schedule, each a number or of shape (problems,).
        blocks: Iterates that are kept of a round.
        every: Updates from one to the next.
        rounds: Most rounds.
        tolerance: ‖Xw − y‖/‖y‖ up to which a problem is solved: when all are, rounds end.
        schedule: Of the step size; constant by default.
        projected: Whether negative weights are set to zero after each update.
        keep: Whether the path is returned; else only its start.

    Returns:
        The runs.

    Raises:
        UserError: A start lies outside the optimiser's domain, or a setting is out of range.
    """
    optimizer, schedule = get(name), schedule or Schedule()
    x, y, weights = (np.asarray(part, np.float64) for part in (x, y, start))
    for one in weights:
        optimizer.check_start(one)
    count = len(x)
    full = {**optimizer.settings(schedule), **settings}
    spread = {
        key: np.broadcast_to(np.asarray(value, np.float64), (count,)) for key, value in full.items()
    }
    for place in range(count):
        optimizer.validate({key: float(value[place]) for key, value in spread.items()}, schedule)
    state, kept, done = None, [weights[:, None]], 0
    size = np.linalg.norm(y, axis=1)
    now: Any = weights
    residuals = np.ones(count)
    for _ in range(rounds):
        now, state, path = _advanced(
            optimizer=optimizer, schedule=schedule, projected=projected, blocks=blocks, every=every,
            settings=spread, x=x, y=y, weights=now, state=state,
        )  # fmt: skip
        done += blocks * every
        if keep:
            kept.append(np.asarray(path))
        left = np.einsum("bmn,bn->bm", x, np.asarray(now)) - y
        residuals = np.linalg.norm(left, axis=1) / size
        if residuals.max() <= tolerance:
            break
    return Descent(np.asarray(now), np.concatenate(kept, axis=1), residuals, done)


def steepness(x: np.ndarray, slopes: np.ndarray) -> float:
    """Return the largest eigenvalue of X diag(s) Xᵀ: what a step size of mirror descent is held against.

    Args:
        x: Inputs, shape (m, n).
        slopes: dw/dz at a point, shape (n,).
    """
    return float(np.linalg.eigvalsh((x * slopes) @ x.T)[-1])
