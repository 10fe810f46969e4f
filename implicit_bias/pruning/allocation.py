"""How many weights to keep, and where: from a level to exact counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np

from implicit_bias.errors import UserError, unknown
from implicit_bias.pruning import masks
from implicit_bias.pruning.masks import Mask
from implicit_bias.pruning.selection import Group, round_up
from implicit_bias.ranges import Setting

Scope = Literal["global", "layer"]

SCOPES: tuple[Scope, ...] = ("global", "layer")

REMAINING = Setting("remaining", 1.0, minimum=0.0, maximum=1.0, includes_minimum=False)


def keep_counts(
    mask: Mask,
    remaining: float,
    *,
    scope: Scope = "global",
    layer_rates: Mapping[str, float] | None = None,
) -> int | dict[Group, int]:
    """Return how many weights to keep so that a given part of all is left.

    The counts add up to the whole number nearest to ``remaining`` times the number of prunable weights.

    Args:
        mask: What is kept now; not traced.
        remaining: Part of all prunable weights that should be left, in (0, 1].
        scope: ``"global"``: all layers compete. ``"layer"``: each layer loses the same part of the weights
            it still has (Frankle and Carbin 2019, section 2).
        layer_rates: By layer, a factor on the part of its weights that it loses; 1 where nothing is said.
            The output layer at half the rate of the others is ``{"layer_2": 0.5}``, left alone it is 0.
            Under ``"global"`` only 0 (the layer does not take part) and 1.

    Returns:
        Counts for ``selection.prune``: a number for all layers, or one for each layer or group of layers.

    Raises:
        UserError: The level is outside (0, 1], above what is left, or would empty a layer; the scope or
            a layer is unknown; a factor is negative, or does not fit the scope.

    References:
        Frankle and Carbin, *The lottery ticket hypothesis* (2019), section 2 and Figure 2 (rates by layer).

    Example:
        >>> import jax.numpy as jnp
        >>> from implicit_bias import pruning
        >>> mask = {"layer": {"weight": jnp.ones((10, 20), bool)}}
        >>> pruning.keep_counts(mask, 0.1)
        20
    """
    return counts_of(masks.sizes(mask), masks.layer_count(mask), remaining, scope, layer_rates)


def counts_of(
    sizes: Mapping[str, int],
    kept: Mapping[str, int],
    remaining: float,
    scope: Scope = "global",
    layer_rates: Mapping[str, float] | None = None,
) -> int | dict[Group, int]:
    """Do the work of :func:`keep_counts`, from numbers of weights.

    Args:
        sizes: Weights of each layer.
        kept: Those that are left.
        remaining: As there.
        scope: As there.
        layer_rates: As there.

    Raises:
        UserError: As there.
    """
    REMAINING.check(remaining)
    if scope not in SCOPES:
        raise unknown("scope", scope, SCOPES)
    rates = _rates(sizes, scope, layer_rates or {})
    whole, left = sum(sizes.values()), sum(kept.values())
    wanted = math.floor(remaining * whole + 0.5)
    if wanted > left:
        raise UserError(
            f"remaining is {remaining:g}, but the mask keeps only {left / whole:.6g} of the weights; "
            f"choose at most {left / whole:.6g}"
        )
    free = [layer for layer in sizes if rates[layer] and kept[layer]]
    fixed = left - sum(kept[layer] for layer in free)
    if wanted == left and (scope == "layer" or not free):
        return dict(kept.items())
    if not free or (scope == "global" and wanted - fixed < len(free)):
        what = (
            f"the layers left alone hold {fixed / whole:.6g} and"
            if fixed
            else f"with {wanted} of {whole} weights for {len(free)} layers one would be emptied:"
        )
        raise UserError(
            f"remaining is {remaining:g}, but {what} every layer needs a weight; "
            f"choose at least {round_up((fixed + len(free)) / whole):.3g}"
        )
    if scope == "global":
        return wanted if len(free) == len(sizes) else {tuple(free): wanted - fixed}
    return _by_layer(sizes, kept, rates, wanted, remaining)


def _by_layer(
    sizes: Mapping[str, int],
    kept: Mapping[str, int],
    rates: Mapping[str, float],
    wanted: int,
    remaining: float,
) -> dict[Group, int]:
    """Let every layer lose the same part of its weights, times its factor; exact in sum."""
    layers = list(sizes)
    have = np.asarray([kept[layer] for layer in layers], float)
    factor = np.asarray([rates[layer] for layer in layers])
    share = (have.sum() - wanted) / (factor @ have)
    exact = have * (1 - factor * share)
    counts = np.floor(exact).astype(int)
    # What rounding down took away goes back to the layers that lost most by it, one weight each.
    short = wanted - int(counts.sum())
    losers = np.argsort(-(exact - counts), kind="stable")
    counts[losers[: max(short, 0)]] += 1
    empty = (counts < 1) & (have > 0)
    if empty.any():
        # The largest share that leaves each layer a whole weight.
        moving = (factor > 0) & (have > 0)
        most = np.min((1 - 1 / have[moving]) / factor[moving])
        least = (have.sum() - most * (factor @ have) + 1) / sum(sizes.values())
        raise UserError(
            f"remaining is {remaining:g}, but layer {layers[int(np.argmax(empty))]!r} would be emptied; "
            f"choose at least {round_up(least):.3g}, or a smaller rate for that layer"
        )
    return {layer: int(number) for layer, number in zip(layers, counts, strict=True)}


def _rates(sizes: Mapping[str, int], scope: Scope, given: Mapping[str, float]) -> dict[str, float]:
    for layer, rate in given.items():
        if layer not in sizes:
            raise unknown("layer", layer, sizes)
        Setting(f"the rate of layer {layer!r}", 1.0, minimum=0.0).check(rate)
        if scope == "global" and rate not in (0, 1):
            raise UserError(
                f"the rate of layer {layer!r} is {rate:g}, but in scope 'global' all layers compete; "
                "choose 0 to leave it alone, or scope='layer'"
            )
    return {layer: float(given.get(layer, 1.0)) for layer in sizes}
