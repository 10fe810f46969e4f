"""Pruning in rounds: the levels of rounds with training between, and rounds without training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.arguments import whole_number
from implicit_bias.errors import UserError
from implicit_bias.pruning import masks
from implicit_bias.pruning.allocation import REMAINING, Scope, counts_of
from implicit_bias.pruning.masks import Mask, Params
from implicit_bias.pruning.problem import Pruner, PruningProblem
from implicit_bias.pruning.selection import check_finite, prune, round_up
from implicit_bias.ranges import Setting

RATE = Setting(
    "rate", 0.2, minimum=0.0, maximum=1.0, includes_minimum=False, includes_maximum=False
)


MOST_ROUNDS = 10_000
"""Rounds beyond which a rate is taken for a mistake: 0.1 % of what is left, down to 5 in 100,000 weights."""


def levels(rate: float = 0.2, targets: Sequence[float] = (0.1, 0.036)) -> tuple[float, ...]:
    """Return the part of the weights that is left after each round.

    A round takes the part ``rate`` of what is left, but never passes a target: it then takes less and lands
    on it, and the rounds go on from there. So 0.8^10 = 0.107 is followed by 0.1, 0.08, ...

    Args:
        rate: Part of the weights left that a round takes, in (0, 1).
        targets: Levels that must be met, decreasing, in (0, 1].

    Returns:
        Levels, decreasing, from 1 (nothing pruned) to the last target.

    Raises:
        UserError: The rate or a target is out of range, targets do not decrease, or the rate is so small
            that the last is not reached in ``MOST_ROUNDS``.

    References:
        Frankle and Carbin, *The lottery ticket hypothesis* (2019), section 2: p^(1/n) % in each of n rounds.

    Example:
        >>> from implicit_bias import pruning
        >>> [round(level, 4) for level in pruning.levels(0.5, (0.25, 0.1))]  # ends on what was asked for
        [1.0, 0.5, 0.25, 0.125, 0.1]
    """
    RATE.check(rate)
    try:
        targets = tuple(targets)
    except TypeError as error:
        raise UserError(f"targets is {targets!r}; give a list of levels") from error
    for target in targets:
        REMAINING.check(target)
    if not targets or any(later >= one for one, later in itertools.pairwise(targets)):
        raise UserError(f"targets are {targets}; give at least one, each below the one before")
    rounds = math.log(targets[-1]) / math.log1p(-rate)
    if rounds > MOST_ROUNDS:
        least = -math.expm1(math.log(targets[-1]) / MOST_ROUNDS)
        raise UserError(
            f"rate is {rate:g}, so that {rounds:.3g} rounds lead to {targets[-1]:g}; choose at least "
            f"{round_up(least):.3g}"
        )
    found = [1.0]
    for target in targets:
        base, round_ = found[-1], 1
        # A level that misses a target by rounding alone is the target.
        while (level := base * (1 - rate) ** round_) > target * (1 + 1e-9):
            found.append(level)
            round_ += 1
        if target < 1:
            found.append(float(target))
    return tuple(found)


def iterate(
    pruner: Pruner,
    problem: PruningProblem | None,
    params: Params,
    mask: Mask | None,
    key: jax.Array | None,
    remaining: float,
    *,
    rounds: int | None = None,
    scope: Scope = "global",
    layer_rates: Mapping[str, float] | None = None,
) -> Mask:
    """Prune to a level in rounds without training, with scores computed anew in each.

    After round k of n the part ``(level / first)^(k/n)`` of what was there at first is left. With no mask
    given, nothing is pruned yet, and everything may be mapped over lanes with ``jax.vmap``.

    Args:
        pruner: What gives the scores.
        problem: Network, loss and data.
        params: Parameters; they stay as they are, but for the mask.
        mask: What is kept at first, not traced; None for everything.
        key: For pruners that draw; each round has its own.
        remaining: Part of all prunable weights left at the end.
        rounds: How many; by default the pruner's own, 100 for SynFlow and 1 for others.
        scope: As in ``allocation.keep_counts``.
        layer_rates: As there.

    Returns:
        The mask.

    Raises:
        UserError: As ``allocation.keep_counts``, or there is no round, or a layer would be emptied, or a
            weight that the mask keeps is not finite.

    References:
        Tanaka, Kunin, Yamins and Ganguli, *Pruning neural networks without any data by iteratively conserving
        synaptic flow* (2020), Algorithm 1 (a level of ρ^(−k/n) after round k).
    """
    number = pruner.rounds if rounds is None else whole_number("rounds", rounds, 1)
    REMAINING.check(remaining)
    mask = masks.full(params) if mask is None else mask
    masks.same_shape("mask", mask, params)
    if masks.is_traced(mask):
        raise UserError(
            "the mask that rounds begin with is traced; give None, or map over params alone"
        )
    sizes, kept = masks.sizes(mask), masks.layer_count(mask)
    first = sum(kept.values()) / sum(sizes.values())
    plan = []
    for k in range(1, number + 1):
        level = remaining if k == number else first * (remaining / first) ** (k / number)
        counts = counts_of(sizes, kept, level, scope, layer_rates)
        plan.append(counts)
        if isinstance(counts, dict):
            kept = {**kept, **{name: n for name, n in counts.items() if isinstance(name, str)}}

    def one_round(mask: Mask, entry: tuple[Any, jax.Array]) -> tuple[Mask, None]:
        counts, index = entry
        own = None if key is None else jax.random.fold_in(key, index)
        return prune(mask, pruner.scores(problem, params, mask, own), counts), None

    if number == 1:  # not traced where it can be helped: numbers can then be checked
        mask, _ = one_round(mask, (plan[0], jnp.uint32(0)))
        return mask
    # Within the scan scores are traced, and nobody sees that they are not finite.
    if not masks.is_traced(params):
        for layer, leaf in masks.weights(params).items():
            keep = np.asarray(masks.weights(mask)[layer]) > 0
            check_finite("weights", layer, np.asarray(leaf)[keep])
    stacked = jax.tree.map(lambda *values: jnp.asarray(values, jnp.int32), *plan)
    mask = jax.tree.map(jnp.asarray, mask)
    mask, _ = jax.lax.scan(one_round, mask, (stacked, jnp.arange(number, dtype=jnp.uint32)))
    if not masks.is_traced(mask):
        for layer in masks.empty_layers(mask):
            raise UserError(
                f"layer {layer!r} would be emptied at a level of {remaining:g}; choose a higher level, "
                "more rounds, or scope='layer'"
            )
    return mask
