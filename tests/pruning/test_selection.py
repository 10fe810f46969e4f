"""From scores to masks: ties, groups, what is refused, and lanes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import pruning
from implicit_bias.errors import UserError


def tree(first, second):
    return {"a": {"weight": np.asarray([first])}, "b": {"weight": np.asarray([second])}}


ALL = tree(np.ones(3, np.uint8), np.ones(4, np.uint8))


def kept(mask) -> list[list[int]]:
    return [np.asarray(mask[name]["weight"])[0].tolist() for name in ("a", "b")]


def test_ties_go_to_the_first() -> None:
    # Breaks if equal scores keep too many or too few, or the choice depends on the sorting method.
    scores = tree([1.0, 2.0, 2.0], [2.0, 2.0, 0.0, 2.0])
    assert kept(pruning.prune(ALL, scores, 3)) == [[0, 1, 1], [1, 0, 0, 0]]
    assert kept(pruning.prune(ALL, scores, {"a": 1, "b": 2})) == [[0, 1, 0], [1, 1, 0, 0]]


def test_what_was_pruned_stays_pruned() -> None:
    # Breaks if a pruned weight of high score returns, or takes a place from one that is kept.
    mask = tree(np.asarray([0, 1, 1], np.uint8), np.asarray([0, 1, 1, 1], np.uint8))
    scores = tree([9.0, -1.0, -2.0], [9.0, -3.0, -4.0, -5.0])
    assert kept(pruning.prune(mask, scores, 4)) == [[0, 1, 1], [0, 1, 1, 0]]
    assert kept(pruning.prune(mask, scores, {"b": 1})) == [[0, 1, 1], [0, 1, 0, 0]]


def test_lanes_may_keep_different_numbers() -> None:
    # Breaks if counts must be known while compiling, or lanes share an order.
    scores = {"a": {"weight": jnp.asarray([[[3.0, 2.0, 1.0]], [[1.0, 2.0, 3.0]]])}}
    mask = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, jnp.uint8), scores)
    found = jax.vmap(pruning.prune)(mask, scores, jnp.asarray([1, 2]))
    assert found["a"]["weight"][:, 0].tolist() == [[1, 0, 0], [0, 1, 1]]


@pytest.mark.parametrize(
    ("scores", "counts", "told"),
    [
        (tree([5.0, 4.0, 3.0], [2.0, 1.0, 0.0, 0.0]), 3,
         "layer 'b' would be emptied by keeping 3 .* at least 4, a level of 0.572"),
        (tree([1.0, 1.0, 1.0], [2.0, 1.0, 0.0, 0.0]), {"a": 0}, "layer 'a' would be emptied"),
        (tree([1.0, np.nan, 1.0], [2.0, 1.0, 0.0, 0.0]), 4, "scores of layer 'a' are not finite"),
        (tree([1.0, 1.0, 1.0], [2.0, 1.0, 0.0, 0.0]), 8, "the mask keeps 7; choose 0 to 7"),
        (tree([1.0, 1.0, 1.0], [2.0, 1.0, 0.0, 0.0]), {"c": 8}, "unknown layer 'c'"),
        (tree([1.0, 1.0, 1.0], [2.0, 1.0, 0.0, 0.0]), {("a", "b"): 3, ("a",): 1}, "counted twice"),
        (tree([1.0, 1.0, 1.0], [2.0, 1.0, 0.0, 0.0]), {(): 3}, "a group of layers is empty"),
        (tree([1.0, 1.0, 1.0], [2.0, 1.0, 0.0, 0.0]), 5.7, "keep is 5.7; give a whole number"),
        (tree([1.0, 1.0, 1.0], [2.0, 1.0, 0.0, 0.0]), {"a": np.nan}, "keep is nan; give a whole"),
        (tree([1.0, 1.0, 1.0], [2.0, 1.0, 0.0, 0.0]), "5", "keep is '5'; give a whole number"),
        (tree([1.0, 1.0], [2.0, 1.0, 0.0, 0.0]), 3, r"score tree of a/weight has shape \(1, 2\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(scores, counts, told: str) -> None:
    # Breaks if a layer vanishes silently, diverged weights decide a mask, or fewer are kept than asked for.
    with pytest.raises(UserError, match=told) as raised:
        pruning.prune(ALL, scores, counts)
    assert "\n" not in str(raised.value)


def test_a_mask_of_other_numbers_is_refused() -> None:
    # Breaks if fractions in a mask are rounded down, so that nothing at all is kept.
    mask = tree(np.ones(3), np.full(4, 0.5))
    with pytest.raises(UserError, match="mask of layer 'b' holds other numbers than 0 and 1"):
        pruning.prune(mask, tree([3.0, 2.0, 1.0], [4.0, 3.0, 2.0, 1.0]), 1)


@pytest.mark.parametrize("number", [2, np.int32(2), jnp.int32(2), np.asarray(2)])
def test_whole_numbers_of_any_kind_are_counts(number) -> None:
    # Breaks if the check of counts refuses what arrays give.
    assert kept(pruning.prune(ALL, tree([9.0, 2.0, 1.0], [8.0, 2.0, 0.0, 2.0]), number)) == [
        [1, 0, 0],
        [1, 0, 0, 0],
    ]
