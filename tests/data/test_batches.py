"""Batch order: every example once an epoch, for every size, with weights that make means."""

from __future__ import annotations

import itertools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from implicit_bias.data import (
    batches,
    epoch_batch,
    epoch_order,
    replacement_batch,
    updates_per_epoch,
)
from implicit_bias.errors import UserError
from implicit_bias.keys import role_key

KEY = role_key(3, "data_order")


@settings(max_examples=12, deadline=None)
@given(n=st.integers(1, 60), data=st.data())
def test_an_epoch_uses_every_example_exactly_once(n: int, data: st.DataObject) -> None:
    # Broken by dropping or padding the last partial batch with real weight, for any n and B.
    batch_size = data.draw(st.integers(1, n))
    updates = updates_per_epoch(n, batch_size)

    def epoch(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        order = epoch_order(key, 0, n)
        # One position too many: beyond the epoch there is nothing left to use.
        positions = jnp.arange(updates + 1)
        return jax.vmap(lambda position: epoch_batch(order, position, batch_size))(positions)

    indices, weights = map(np.asarray, jax.jit(epoch)(KEY))
    assert indices.shape == weights.shape == (updates + 1, batch_size)
    assert indices.dtype == np.int32
    assert indices.min() >= 0
    assert indices.max() < n
    used = weights > 0
    assert not used[-1].any()
    assert sorted(indices[used]) == list(range(n))
    for row, mask in zip(weights[:-1], used[:-1], strict=True):
        # The weights are exactly one over the number of examples in the batch.
        assert set(row[mask]) == {np.float32(1) / np.float32(mask.sum())}
        np.testing.assert_allclose(row.sum(), 1, rtol=1e-6)


def test_batches_follow_the_order() -> None:
    # Broken by any reordering inside epoch_batch; the order is written by hand here.
    order = jnp.array([4, 2, 0, 1, 3], jnp.int32)
    first = epoch_batch(order, 0, 2)
    last = epoch_batch(order, 2, 2)
    np.testing.assert_array_equal(first[0], [4, 2])
    np.testing.assert_array_equal(first[1], [0.5, 0.5])
    np.testing.assert_array_equal(last[0], [3, 3])
    np.testing.assert_array_equal(last[1], [1, 0])


def test_a_permutation_depends_on_key_and_epoch_only() -> None:
    # Broken by ignoring the epoch or the key, or by a result that differs under jit, vmap or map.
    jitted = jax.jit(epoch_order, static_argnums=2)
    epochs = jnp.arange(3)
    eager = np.stack([jitted(KEY, e, 50) for e in range(3)])
    np.testing.assert_array_equal(epoch_order(KEY, 1, 50), eager[1])
    np.testing.assert_array_equal(jax.vmap(lambda e: epoch_order(KEY, e, 50))(epochs), eager)
    np.testing.assert_array_equal(jax.lax.map(lambda e: epoch_order(KEY, e, 50), epochs), eager)
    assert len({tuple(row) for row in eager}) == 3
    assert tuple(np.asarray(jitted(role_key(4, "data_order"), 0, 50))) != tuple(eager[0])


def test_all_orders_are_equally_likely() -> None:
    # Broken by a biased shuffle: 24 orders of 4 examples, chi-square over 4800 epochs.
    orders = jax.jit(jax.vmap(lambda e: epoch_order(KEY, e, 4)))(jnp.arange(4800))
    counts = Counter(map(tuple, np.asarray(orders).tolist()))
    observed = [counts[p] for p in itertools.permutations(range(4))]
    assert stats.chisquare(observed).pvalue > 1e-4


def test_neighbours_of_large_orders_are_unordered() -> None:
    # Broken by sorting once with few random bits, where equal draws keep their examples in order:
    # the fraction of ascents is then above one half (about 0.88 here, with 15 bits).
    n = 1 << 17
    order = np.asarray(epoch_order(KEY, 0, n))
    ascents = np.mean(np.diff(order) > 0)
    # The number of ascents of a random permutation has variance (n + 1) / 12.
    assert abs(ascents - 0.5) < 5 * np.sqrt((n + 1) / 12) / n


def test_the_general_shuffle_takes_over_for_very_many_examples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Broken by an overflow of the packed words; the limit is lowered to reach that branch cheaply.
    monkeypatch.setattr(batches, "_MOST_INDEX_BITS", 3)
    assert sorted(np.asarray(epoch_order(KEY, 0, 20))) == list(range(20))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_weights_have_the_type_asked_for(dtype: object) -> None:
    # Broken by a fixed float32, which strict promotion refuses in a float64 run.
    order = jnp.arange(5, dtype=jnp.int32)
    assert epoch_batch(order, 1, 3, dtype=dtype)[1].dtype == dtype
    assert replacement_batch(KEY, 0, 5, 3, dtype=dtype)[1].dtype == dtype


def test_full_batches_weigh_the_same_both_ways() -> None:
    # Broken by computing 1/B in two ways that round differently.
    for b in (7, 48):
        ordered = epoch_batch(jnp.arange(100, dtype=jnp.int32), 0, b)[1]
        np.testing.assert_array_equal(ordered, replacement_batch(KEY, 0, 100, b)[1])


def test_position_can_be_traced() -> None:
    # Broken by Python control flow on the position.
    order = epoch_order(KEY, 0, 7)
    batch = jax.jit(lambda o, p: epoch_batch(o, p, 3))
    for position in range(3):
        for got, want in zip(batch(order, position), epoch_batch(order, position, 3), strict=True):
            np.testing.assert_array_equal(got, want)


def test_replacement_draws_are_uniform_and_independent_of_each_other() -> None:
    # Broken by drawing without replacement, or by the same draw at every step.
    draw = jax.jit(jax.vmap(lambda s: replacement_batch(KEY, s, 10, 8)[0]))
    indices = np.asarray(draw(jnp.arange(500)))
    assert stats.chisquare(np.bincount(indices.ravel(), minlength=10)).pvalue > 1e-4
    repeats = np.mean([len(set(row)) < 8 for row in indices.tolist()])
    expected = 1 - np.prod((10 - np.arange(8)) / 10)
    assert abs(repeats - expected) < 0.05


def test_updates_per_epoch_is_the_ceiling() -> None:
    # Broken by floor division.
    assert [updates_per_epoch(10, b) for b in (1, 3, 5, 9, 10)] == [10, 4, 2, 2, 1]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: updates_per_epoch(1000, 4096),
            "batch_size is 4096, but the training set has 1000",
        ),
        (lambda: updates_per_epoch(10, 0), "batch_size is 0"),
        (lambda: updates_per_epoch(10, 2.5), "batch_size is 2.5"),
        (lambda: updates_per_epoch(10, True), "batch_size is True"),
        (lambda: updates_per_epoch(0, 1), "n is 0"),
        (lambda: epoch_order(KEY, 0, -1), "n is -1"),
        (lambda: epoch_batch(jnp.arange(3), 0, 4), "batch_size is 4"),
        (lambda: replacement_batch(KEY, 0, 3, 4), "batch_size is 4"),
    ],
)
def test_impossible_sizes_are_refused(call: object, words: str) -> None:
    # Broken by a silent truncation.
    with pytest.raises(UserError, match=words):
        call()
