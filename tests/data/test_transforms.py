"""Standardisation against scikit-learn; draws against set logic and known distributions."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.preprocessing import StandardScaler

from implicit_bias.data import (
    Dataset,
    class_quotas,
    load,
    random_split,
    split_indices,
    standardise,
    stratified_split,
    stratified_subset,
    symmetric_label_noise,
)
from implicit_bias.data.transforms import stratified_prefix
from implicit_bias.errors import UserError
from implicit_bias.keys import role_key

KEY = role_key(0, "split")
NOISE = role_key(0, "label_noise")
LABELS = np.random.default_rng(0).choice(4, 97, p=[0.5, 0.3, 0.17, 0.03])


def test_pixel_standardisation_is_sklearns(tiny: Dataset) -> None:
    # Broken by statistics of the wrong set, n − 1, or a division by a constant feature's zero.
    scaler = StandardScaler().fit(tiny.x_train)
    done = standardise(tiny, "pixel")
    for part in ("x_train", "x_test", "x_valid"):
        expected = scaler.transform(getattr(tiny, part))
        np.testing.assert_allclose(getattr(done, part), expected, atol=2e-6)
        assert getattr(done, part).dtype == np.float32
    assert done.provenance["standardisation"]["constant_features"] == 1


def test_constant_features_become_exactly_zero(tiny: Dataset) -> None:
    # Broken by deciding constancy by the variance: 0.1 in float32 has a mean that rounds.
    assert not standardise(tiny).x_train[:, 2].any()


def test_statistics_are_accurate_over_many_blocks_of_examples() -> None:
    # Broken by float32 sums, or by a mistake at the border of a block; the oracle is NumPy,
    # float64.
    x = np.random.default_rng(0).normal(1000, 1, (9001, 3)).astype(np.float32)
    y = np.zeros(len(x), int)
    done = standardise(Dataset("d", "classification", 2, x, y, x[:5], y[:5]))
    wide = x.astype(np.float64)
    np.testing.assert_allclose(
        done.x_train, (wide - wide.mean(0)) / wide.std(0), rtol=1e-6, atol=1e-6
    )


def test_global_standardisation_uses_two_numbers(tiny: Dataset) -> None:
    # Broken by per-feature statistics, or by standardising each set with its own.
    done = standardise(tiny, "global")
    wide = tiny.x_train.astype(np.float64)
    for part in ("x_train", "x_test", "x_valid"):
        expected = (getattr(tiny, part) - wide.mean()) / wide.std()
        np.testing.assert_allclose(getattr(done, part), expected, rtol=1e-5, atol=1e-6)


def test_images_keep_their_shape_and_types_follow(tiny: Dataset) -> None:
    # Broken by flattening, or by results that do not follow the inputs' type.
    images = tiny.replace(
        **{k: getattr(tiny, k).reshape(-1, 2, 2, 1) for k in ("x_train", "x_test", "x_valid")}
    )
    np.testing.assert_array_equal(standardise(images).flatten().x_test, standardise(tiny).x_test)
    assert standardise(tiny.astype("float64")).dtype == np.float64


def test_none_changes_nothing(tiny: Dataset) -> None:
    # Broken by copying or centring.
    done = standardise(tiny, "none")
    assert done == tiny
    assert done.provenance["standardisation"] == {"kind": "none"}


def test_min_std_bounds_the_divisor(tiny: Dataset) -> None:
    # Broken by adding instead of bounding; and constant features are still not divided.
    done = standardise(tiny, "pixel", min_std=100.0)
    centred = tiny.x_train - tiny.x_train.astype(np.float64).mean(0)
    np.testing.assert_allclose(done.x_train[:, :2], centred[:, :2] / 100, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(done.x_test[:, 2], 0, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "pixels"}, "did you mean 'pixel'"),
        ({"kind": None}, "unknown standardisation"),
        ({"min_std": -1.0}, "min_std is -1.0"),
        ({"min_std": float("nan")}, "min_std is nan"),
    ],
)
def test_unknown_standardisation_is_refused(tiny: Dataset, options: dict, words: str) -> None:
    # Broken by treating an unknown word as "none".
    with pytest.raises(UserError, match=words):
        standardise(tiny, **options)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    cuts=st.lists(st.integers(1, 12), min_size=1, max_size=3),
)
def test_quotas_are_largest_remainders(counts: list[int], cuts: list[int]) -> None:
    # Broken by asking a class for more than it has, or by rows that do not add up to the sizes.
    labels = np.repeat(np.arange(len(counts)) * 3, counts)
    if sum(cuts) > len(labels):
        with pytest.raises(UserError, match="are asked for"):
            class_quotas(labels, cuts)
        return
    quotas = class_quotas(labels, cuts)
    left = np.array(counts)
    for size, quota in zip(cuts, quotas, strict=True):
        assert quota.sum() == size
        share = size * left / left.sum()
        # A quota is the share rounded down or up, and nobody with a larger fraction is passed over.
        assert np.all(np.abs(quota - share) < 1)
        up = quota > share
        fraction = share - np.floor(share)
        if up.any() and (~up & (fraction > 0)).any():
            assert fraction[up].min() >= fraction[~up].max() - 1e-12
        left = left - quota
    assert np.all(left >= 0)


def test_ties_go_to_smaller_labels() -> None:
    # Broken by rounding in floating point.
    np.testing.assert_array_equal(class_quotas([0, 0, 1, 1, 2, 2], [1, 1]), [[1, 0, 0], [0, 1, 0]])


def test_split_is_disjoint_and_proportional() -> None:
    # Broken by overlap, repeats, or wrong class counts; checked with NumPy's set logic.
    sizes = (40, 20, 37)
    parts = [np.asarray(p) for p in stratified_split(KEY, LABELS, sizes)]
    assert [len(p) for p in parts] == list(sizes)
    assert {p.dtype for p in parts} == {np.dtype("int32")}
    assert sorted(np.concatenate(parts)) == list(range(97))
    counts = [np.bincount(LABELS[p], minlength=4) for p in parts]
    np.testing.assert_array_equal(counts, class_quotas(LABELS, sizes))


def test_subset_is_the_first_part_whatever_follows() -> None:
    # Broken by keys that depend on the number of parts: a validation split would change training.
    subset = np.asarray(stratified_subset(KEY, LABELS, 30))
    np.testing.assert_array_equal(subset, stratified_split(KEY, LABELS, (30, 11, 5))[0])
    np.testing.assert_array_equal(random_split(KEY, 50, (7,))[0], random_split(KEY, 50, (7, 9))[0])


def test_a_part_may_be_empty() -> None:
    # Broken by refusing a split without a validation set, or by a part that depends on an empty
    # one.
    train, valid = stratified_split(KEY, LABELS, (97, 0))
    assert (train.shape, valid.shape, valid.dtype) == ((97,), (0,), np.int32)
    assert [p.shape for p in random_split(KEY, 5, (0, 5))] == [(0,), (5,)]


def test_split_is_pure_in_a_traced_key() -> None:
    # Broken by anything that needs the key's value on the host.
    def draw(seed: jax.Array) -> jax.Array:
        return stratified_subset(role_key(seed, "split"), LABELS, 30)

    eager = np.stack([draw(jnp.uint32(s)) for s in range(3)])
    np.testing.assert_array_equal(jax.jit(jax.vmap(draw))(jnp.arange(3, dtype=jnp.uint32)), eager)
    assert len({tuple(sorted(row)) for row in eager}) == 3


def test_every_example_and_every_place_is_equally_likely() -> None:
    # Broken by choosing the first of a class, or by leaving parts sorted by class: over 3000 draws,
    # each of 8 examples is chosen half of the time and stands in each place equally often.
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    keys = jax.random.split(KEY, 3000)
    drawn = np.asarray(jax.jit(jax.vmap(lambda k: stratified_subset(k, labels, 4)))(keys))
    for place in range(4):
        assert stats.chisquare(np.bincount(drawn[:, place], minlength=8)).pvalue > 1e-4
    pairs = {tuple(sorted(set(row) & {0, 1, 2, 3})) for row in drawn.tolist()}
    assert len(pairs) == 6  # all pairs of class 0 occur


def test_regression_splits_without_classes() -> None:
    # Broken by treating real targets as classes.
    x = np.zeros((9, 2), np.float32)
    y = np.linspace(0, 1, 9)
    d = Dataset("d", "regression", 1, x, y, x, y)
    parts = split_indices(KEY, d, (4, 5))
    assert sorted(np.concatenate(parts)) == list(range(9))


def test_classification_splits_by_class(tiny: Dataset) -> None:
    # Broken by the plain split, whose class counts vary.
    (part,) = split_indices(KEY, tiny, (6,))
    np.testing.assert_array_equal(np.bincount(tiny.y_train[np.asarray(part)]), [2, 2, 2])


def test_host_prefix_takes_the_first_of_each_class() -> None:
    # Broken by ignoring the order given.
    order = np.arange(9)[::-1]
    labels = np.repeat([0, 1, 2], 3)
    assert sorted(order[stratified_prefix(order, labels, 3)]) == [2, 5, 8]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: stratified_subset(KEY, LABELS, 98), "98 examples are asked for, but there are 97"),
        (lambda: stratified_split(KEY, LABELS, (90, 8)), r"90 \+ 8 examples are asked for"),
        (lambda: stratified_subset(KEY, LABELS, 0), r"sizes are \(0,\)"),
        (lambda: stratified_split(KEY, LABELS, (5, -1)), "size is -1"),
        (lambda: stratified_subset(KEY, LABELS, 2.0), "size is 2.0"),
        (lambda: stratified_split(KEY, LABELS, ()), r"sizes are \(\)"),
        (lambda: stratified_subset(KEY, LABELS / 2, 3), "dtype float64"),
        (lambda: stratified_subset(KEY, np.zeros(0, int), 3), r"shape \(0,\)"),
        (lambda: random_split(KEY, 5, (6,)), "6 examples are asked for"),
        (lambda: jax.jit(lambda y: stratified_subset(KEY, y, 3))(LABELS), "labels are traced"),
        (lambda: symmetric_label_noise(NOISE, LABELS, 1.5, 4), "rate is 1.5"),
        (lambda: symmetric_label_noise(NOISE, LABELS, float("nan"), 4), "rate is nan"),
        (lambda: symmetric_label_noise(NOISE, LABELS, 0.1, 1), "n_classes is 1"),
    ],
)
def test_impossible_draws_are_refused(call: object, words: str) -> None:
    # Broken by returning fewer examples than asked for, or repeated ones.
    with pytest.raises(UserError, match=words):
        call()


@pytest.mark.parametrize("rate", [0.0, 0.15, 0.6, 1.0])
def test_noise_rate_and_new_classes(rate: float) -> None:
    # Broken by drawing the new label among all classes (the wrong rate), or unevenly among the
    # others: exact binomial and chi-square tests.
    clean = np.arange(20000) % 5
    noisy = np.asarray(symmetric_label_noise(NOISE, clean, rate, 5))
    flipped = noisy != clean
    assert noisy.min() >= 0
    assert noisy.max() < 5
    assert noisy.dtype == clean.dtype
    assert stats.binomtest(int(flipped.sum()), len(clean), rate).pvalue > 1e-4
    if flipped.any():
        shift = (noisy - clean)[flipped] % 5
        assert stats.chisquare(np.bincount(shift, minlength=5)[1:]).pvalue > 1e-4


def test_noise_is_pure_in_key_and_rate_and_grows_with_the_rate() -> None:
    # Broken by a branch on the rate, or by draws that depend on the rate or on its type.
    labels = jnp.asarray(np.arange(500) % 3, jnp.int32)
    rates = jnp.array([0.1, 0.4, 0.9], jnp.float32)
    noisy = np.asarray(
        jax.jit(jax.vmap(lambda r: symmetric_label_noise(NOISE, labels, r, 3)))(rates)
    )
    np.testing.assert_array_equal(noisy[1], symmetric_label_noise(NOISE, labels, 0.4, 3))
    for lower, higher in itertools.pairwise(noisy):
        flipped = lower != np.asarray(labels)
        np.testing.assert_array_equal(lower[flipped], higher[flipped])
    other = np.asarray(symmetric_label_noise(role_key(1, "label_noise"), labels, 0.4, 3))
    assert (other != noisy[1]).any()


def test_selected_classes_are_renumbered_in_the_order_given():
    # Breaks if examples of other classes stay, labels keep their numbers, or inputs lose their labels.
    whole = load("digits", standardise="none")
    kept = load("digits", standardise="none", classes=(7, 2))
    assert kept.n_outputs == 2
    for part in ("train", "test"):
        x, y = getattr(whole, f"x_{part}"), getattr(whole, f"y_{part}")
        rows = (y == 7) | (y == 2)
        np.testing.assert_array_equal(getattr(kept, f"x_{part}"), x[rows])
        np.testing.assert_array_equal(getattr(kept, f"y_{part}"), (y[rows] == 2).astype(int))
    assert kept.describe()["provenance"]["classes"] == [7, 2]
    # Statistics are those of what is kept.
    assert abs(load("digits", classes=(7, 2)).x_train.mean(axis=0)).max() < 1e-5
    assert load("digits", classes=(7, 2), n_train=50, n_test=20).n_train == 50


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((1,), "at least two"),
        ("01", "whole numbers"),
        ((1, 1), "at least two different"),
        ((0, 10), "labels 0 to 9"),
    ],
)
def test_classes_that_cannot_be_selected(classes, message):
    # Breaks if one class trains a constant, or a label that is not there ends in a traceback.
    with pytest.raises(UserError, match=message):
        load("digits", classes=classes)


def test_classes_of_a_regression_are_refused():
    # Breaks if targets are taken for labels.
    with pytest.raises(UserError, match="regression"):
        load("linear-regression", classes=(0, 1))
