"""From scores to a mask: the best of what is still kept, exactly as many as asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from implicit_bias.arguments import whole_number
from implicit_bias.errors import UserError, unknown
from implicit_bias.pruning import masks
from implicit_bias.pruning.masks import Mask

Group = str | tuple[str, ...]
"""A layer, or several that compete with each other."""

Counts = Any
"""Weights to keep: one number for all layers together, or one for each group of layers.

Numbers are integers, possibly traced. Layers in no group keep what they have.
"""


def prune(mask: Mask, scores: Any, counts: Counts) -> Mask:
    """Keep the best-scored of the weights that a mask still keeps.

    Ties go to the weight that comes first in the tree. What was pruned stays pruned, whatever its score.
    Everything may be mapped over lanes with ``jax.vmap``; what concerns the numbers in traced arrays is
    then not checked, and a group that has fewer weights than asked for keeps them all.

    Args:
        mask: Tree like the parameters, 0 and 1.
        scores: Tree like the parameters; higher is kept. Only prunable leaves matter.
        counts: As from ``allocation.keep_counts``.

    Returns:
        The new mask, ``uint8``, with exactly as many weights.

    Raises:
        UserError: Scores do not fit the mask, or are no numbers or not finite where it keeps weights; the
            mask holds other numbers than 0 and 1; a count is no whole number; a group names no layer, or a
            layer twice; more is asked for than is kept; a layer would be emptied.
    """
    masks.same_shape("score tree", scores, mask)
    kept, scored = masks.weights(mask), masks.weights(scores)
    for layer, leaf in scored.items():
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise UserError(
                f"scores of layer {layer!r} have dtype {leaf.dtype}; give floating-point numbers"
            )
    wanted = grouped(counts, tuple(kept))
    if not masks.is_traced((kept, scored, wanted)):
        _refuse(kept, scored, wanted)
    new = dict(kept)
    for group, number in wanted.items():
        best = _best([scored[name] for name in group], [kept[name] for name in group], number)
        start = 0
        for layer in group:
            size = int(np.prod(kept[layer].shape))
            new[layer] = best[start : start + size].reshape(kept[layer].shape)
            start += size
    return masks.with_weights(mask, new)


def grouped(counts: Counts, layers: tuple[str, ...]) -> dict[tuple[str, ...], Any]:
    """Return counts with every group as a tuple of layers.

    Raises:
        UserError: A group names no layer, or a layer twice, or nothing.
    """
    if not isinstance(counts, Mapping):
        return {layers: counts}
    found = {(group,) if isinstance(group, str) else group: n for group, n in counts.items()}
    if () in found:
        raise UserError("a group of layers is empty; name its layers")
    named = [layer for group in found for layer in group]
    for layer in named:
        if layer not in layers:
            raise unknown("layer", layer, layers)
        if named.count(layer) > 1:
            raise UserError(f"layer {layer!r} is counted twice; name it in one group")
    return found


def _best(scores: list[Any], kept: list[Any], number: Any) -> Any:
    """Return, flat, 1 at the ``number`` best-scored entries among those kept.

    Sorted by two keys, so that a pruned weight comes after every other whatever the scores are. What is not
    traced is sorted by NumPy: nothing is compiled, and it is several times faster on a CPU.
    """
    traced = masks.is_traced((scores, kept, number))
    numpy: Any = jnp if traced else np
    value = numpy.concatenate([numpy.ravel(leaf) for leaf in scores])
    keep = numpy.concatenate([numpy.ravel(leaf) for leaf in kept]).astype(np.uint8)
    order = numpy.lexsort((-value, 1 - keep))
    if not traced:
        best = np.zeros(order.shape, np.uint8)
        best[order[: int(number)]] = 1
        return best * keep
    places = jnp.arange(order.size, dtype=jnp.int32)
    first = (places < jnp.asarray(number, jnp.int32)).astype(jnp.uint8)
    return jnp.zeros(order.shape, jnp.uint8).at[order].set(first) * keep


def _refuse(kept: Any, scored: Any, wanted: Mapping[tuple[str, ...], Any]) -> None:
    """Refuse what cannot be done, or would leave a layer with nothing."""
    for layer, leaf in kept.items():
        if not np.isin(leaf, (0, 1)).all():
            raise UserError(
                f"the mask of layer {layer!r} holds other numbers than 0 and 1; give 1 for what is kept"
            )
    for group, asked in wanted.items():
        number = whole_number("the number of weights to keep", asked)
        keeps = {layer: np.asarray(kept[layer]) > 0 for layer in group}
        own = {layer: np.asarray(scored[layer])[keep] for layer, keep in keeps.items()}
        title = f"layer {group[0]!r}" if len(group) == 1 else f"layers {', '.join(group)}"
        held = sum(len(values) for values in own.values())
        if not 0 <= number <= held:
            raise UserError(
                f"{number} weights should stay in {title}, but the mask keeps {held}; choose 0 to {held}"
            )
        for layer, values in own.items():
            check_finite("scores", layer, values)
        # The place of each layer's best weight in the order of all: as many must stay.
        order = np.argsort(-np.concatenate(list(own.values())), kind="stable")
        owner = np.repeat(np.arange(len(group)), [len(values) for values in own.values()])[order]
        needed = 0
        for index, layer in enumerate(group):
            if not len(own[layer]):  # emptied before
                continue
            place = int(np.argmax(owner == index)) + 1
            needed = max(needed, place)
            if place > number:
                emptied = layer
        if needed > number:
            raise UserError(
                f"layer {emptied!r} would be emptied by keeping {number} weights of {title}; keep at least "
                f"{needed}, a level of {_level(kept, wanted, group, needed):.3g}, or prune layer by layer"
            )


def check_finite(what: str, layer: str, values: np.ndarray) -> None:
    """Refuse numbers of a layer that are not finite.

    Args:
        what: What they are, for the message.
        layer: Its name.
        values: Numbers, not traced.

    Raises:
        UserError: One is not.
    """
    if not np.isfinite(values).all():
        raise UserError(
            f"{what} of layer {layer!r} are not finite; prune weights that have not diverged"
        )


def _level(kept: Any, wanted: Any, group: tuple[str, ...], needed: int) -> float:
    """Return what part of all weights stays if a group keeps as many as it needs; rounded up."""
    total = needed + sum(int(n) for other, n in wanted.items() if other != group)
    named = {layer for other in wanted for layer in other}
    total += sum(int(np.sum(leaf)) for layer, leaf in kept.items() if layer not in named)
    return round_up(total / sum(np.size(leaf) for leaf in kept.values()))


def round_up(level: float) -> float:
    """Return a level rounded up to three digits, so that what a message says is enough."""
    digits = 2 - int(np.floor(np.log10(level)))
    return float(min(1.0, np.ceil(level * 10.0**digits) / 10.0**digits))
