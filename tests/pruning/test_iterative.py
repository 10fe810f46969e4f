"""Rounds: their levels, and pruning in rounds without training."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import pruning
from implicit_bias.errors import UserError
from implicit_bias.pruning import masks
from tests.pruning import harness


def test_rounds_land_on_every_target() -> None:
    # Breaks if a round takes more than its rate, a target is missed or met twice, or 0.8^11 stands for 10 %.
    levels = pruning.levels(0.2, (0.1, 0.036))
    assert levels[0] == 1
    assert levels[10:13] == (pytest.approx(0.8**10), 0.1, pytest.approx(0.08))
    assert levels[-1] == 0.036
    ratios = np.asarray(levels[1:]) / np.asarray(levels[:-1])
    assert (ratios >= 0.8 - 1e-12).all()
    assert (ratios < 1).all()
    full = np.flatnonzero(ratios > 0.8 + 1e-9)
    assert [levels[i + 1] for i in full] == [0.1, 0.036]
    # A target that rounds reach by themselves is no further round; nothing to prune is no round.
    assert pruning.levels(0.2, (0.8**3,)) == pytest.approx((1, 0.8, 0.64, 0.512))
    assert pruning.levels(0.5, (1.0,)) == (1.0,)


@pytest.mark.parametrize(
    ("rate", "targets", "told"),
    [
        (0, (0.1,), "rate is 0; choose a finite number > 0 and < 1"),
        (1, (0.1,), "rate is 1; choose"),
        (0.2, (0.0,), "remaining is 0.0; choose a finite number > 0 and <= 1"),
        (0.2, (1.1,), "remaining is 1.1; choose"),
        (0.2, (0.1, 0.1), "each below the one before"),
        (0.2, (), "give at least one"),
        (0.2, 0.1, "targets is 0.1; give a list of levels"),
        (1e-9, (0.1,), r"so that 2.3e\+09 rounds lead to 0.1; choose at least 0.000231$"),
        (1e-17, (0.1,), "rounds lead to 0.1"),
    ],
)
def test_impossible_levels_are_refused(rate, targets, told: str) -> None:
    # Breaks if rounds never end, or end elsewhere.
    with pytest.raises(UserError, match=told):
        pruning.levels(rate, targets)


def by_hand(params, rounds: int, level: float) -> list[np.ndarray]:
    """SynFlow in rounds, in NumPy: scores anew, and the smallest of all layers go."""
    weights = harness.split(params)
    kept = [np.ones_like(w) for w in weights]
    whole = sum(w.size for w in weights)
    for k in range(1, rounds + 1):
        number = round(whole * level ** (k / rounds))
        scores = harness.synflow([w * m for w, m in zip(weights, kept, strict=True)], kept, [])
        flat = np.sort(np.concatenate([s.ravel() for s in scores]))
        limit = flat[-number]
        assert limit > flat[-number - 1] * (1 + 1e-9)  # rounding decides nothing here
        kept = [(s >= limit) * m for s, m in zip(scores, kept, strict=True)]
    return kept


def test_rounds_without_training_are_those_by_hand() -> None:
    # Breaks if scores are not computed anew, the last level is missed, or lanes are mixed.
    params = [harness.parameters(seed) for seed in range(2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)

    @jax.jit
    def prune(params):
        return pruning.iterate(
            pruning.SYNFLOW, harness.problem(), params, None, None, 0.5, rounds=5
        )

    found = jax.vmap(prune)(stacked)
    for lane, own in enumerate(params):
        expected = by_hand(own, 5, 0.5)
        for ours, theirs in zip(harness.split(found), expected, strict=True):
            np.testing.assert_array_equal(ours[lane], theirs)


def test_one_round_is_one_shot_and_layers_keep_their_rates() -> None:
    # Breaks if the default is not the pruner's own number of rounds, or rates by layer are lost on the way.
    params, mask = harness.parameters(0), masks.full(harness.parameters(0))
    rates = {"layer_1": 0.5}
    found = pruning.iterate(
        pruning.MAGNITUDE, None, params, mask, None, 0.5, scope="layer", layer_rates=rates
    )
    counts = pruning.keep_counts(mask, 0.5, scope="layer", layer_rates=rates)
    assert masks.layer_count(found) == counts
    expected = pruning.prune(mask, pruning.MAGNITUDE.scores(None, params, mask, None), counts)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_many_rounds_can_leave_a_layer_alone() -> None:
    # Breaks if a round so small that it takes nothing counts layers in another form than the others do.
    params = harness.parameters(0)
    sizes = masks.sizes(params)
    left, *others = sizes
    found = pruning.iterate(
        pruning.MAGNITUDE, None, params, None, None, 0.9, rounds=100, layer_rates={left: 0}
    )
    kept = masks.layer_count(found)
    assert kept[left] == sizes[left]
    assert sum(kept.values()) == round(0.9 * sum(sizes.values()))
    # One by one the smallest go, so that all others are the largest.
    gone = sum(sizes[name] - kept[name] for name in others)
    flat = {name: np.abs(np.asarray(leaf)) for name, leaf in masks.weights(params).items()}
    limit = np.sort(np.concatenate([flat[name].ravel() for name in others]))[gone]
    for name in others:
        np.testing.assert_array_equal(masks.weights(found)[name] > 0, flat[name] >= limit)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"rounds": 0}, "rounds is 0; give a whole number >= 1"),
        ({"remaining": 0.0}, "remaining is 0.0; choose"),
        ({"mask": {"layer_0": {"weight": np.ones((1, 1))}}}, "the mask have no leaf layer_0/bias"),
        ({"params": {"a": {"weight": np.ones((2, 2))}, "b": {"weight": np.zeros((2, 2))}},
          "remaining": 0.5, "rounds": 2}, "layer 'b' would be emptied at a level of 0.5"),
        ({"params": {"a": {"weight": np.full((2, 2), np.nan)}, "b": {"weight": np.ones((2, 2))}},
          "remaining": 0.9, "rounds": 2}, "weights of layer 'a' are not finite"),
    ],
)  # fmt: skip
def test_impossible_rounds_are_refused(more, told: str) -> None:
    # Breaks if a layer is emptied on the way without a word, no round is done at all, or weights that
    # diverged are pruned at random.
    given = {"params": harness.parameters(0), "mask": None, "remaining": 0.5} | more
    with pytest.raises(UserError, match=told):
        pruning.iterate(pruning.MAGNITUDE, None, key=None, **given)
