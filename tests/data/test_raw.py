"""What a user's arrays are taken for, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from implicit_bias.data.raw import RawData, canonical_order, from_arrays
from implicit_bias.errors import UserError

Arrays = dict[str, np.ndarray]


def _raw(arrays: Arrays, **options: object) -> RawData:
    return from_arrays("mine", arrays, place="mine.npz", source={"source": "test"}, **options)


def test_bytes_are_pixels(arrays: Arrays) -> None:
    # Broken by another scale, a missing channel axis, or another task.
    d = _raw(arrays).to_dataset()
    assert (d.task, d.n_outputs, d.input_shape) == ("classification", 3, (3, 3, 1))
    np.testing.assert_allclose(d.x_train[..., 0], arrays["x_train"] / 255, rtol=1e-6)
    np.testing.assert_array_equal(d.y_test, arrays["y_test"])
    assert d.provenance["source"] == "test"


def test_floating_point_targets_are_a_regression(arrays: Arrays) -> None:
    # Broken by counting classes in real numbers; a single feature may come without its axis.
    given = {"x_train": np.arange(12.0), "y_train": np.linspace(0, 1, 12)}
    d = _raw({**given, "x_test": np.arange(6), "y_test": np.zeros(6)}).to_dataset()
    assert (d.task, d.n_outputs, d.input_shape) == ("regression", 1, (1,))
    assert d.x_train.dtype == d.y_train.dtype == np.float32


def test_columns_of_labels_and_validation_sets_are_understood(arrays: Arrays) -> None:
    # Broken by refusing the (n, 1) labels of common CIFAR-10 files, or by losing the third part.
    more = {"y_train": arrays["y_train"][:, None], "x_valid": arrays["x_test"]}
    d = _raw(arrays | more | {"y_valid": arrays["y_test"], "unknown": np.zeros(3)}).to_dataset()
    assert (d.y_train.shape, d.n_valid) == ((12,), 6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x_train": None}, "mine.npz has no array x_train"),
        ({"x_train": None, "y_test": None}, "no array x_train, y_test"),
        ({"y_train": np.arange(5)}, "y_train has 5 targets, but x_train has 12"),
        ({"x_train": np.full((12, 3, 3), np.nan)}, "x_train is not finite"),
        ({"x_train": np.full((12, 3, 3), 1e300)}, "x_train is not finite"),
        ({"x_train": np.array(["a"] * 12)}, "x_train has dtype <U1"),
        ({"y_train": np.array(["a"] * 12)}, r"y_train has dtype <U1.*np\.unique"),
        ({"x_train": np.zeros((12, 2), complex)}, "x_train is complex"),
        ({"x_test": np.zeros((6, 2, 2), np.uint8)}, "x_test has inputs of shape"),
        ({"x_train": np.zeros((0, 3, 3), np.uint8), "y_train": np.zeros(0, int)}, "no examples"),
        ({"y_test": np.array([-1, 0, 1, 0, 1, 0])}, "y_test contains label -1"),
        ({"y_test": np.zeros(6)}, "y_test has shape"),
        ({"y_train": np.arange(12) * 1000}, "more than there are examples"),
    ],
)
def test_wrong_arrays_are_refused_with_the_file(arrays: Arrays, change: Arrays, words: str) -> None:
    # Broken by accepting any of these, or by not saying which file it is about.
    given = {k: v for k, v in (arrays | change).items() if v is not None}
    with pytest.raises(UserError, match=words) as caught:
        _raw(given)
    assert "mine.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_subsets_are_stratified_reproducible_and_nested_in_the_data(arrays: Arrays) -> None:
    # Broken by separate draws for inputs and labels, or by ignoring the seed or the classes.
    marked = arrays | {"x_train": np.arange(12, dtype=np.float32)[:, None]}
    marked |= {"x_test": np.arange(6, dtype=np.float32)[:, None]}
    raw = _raw(marked)
    d = raw.to_dataset(n_train=6, n_test=3)
    np.testing.assert_array_equal(d.x_train[:, 0].astype(int) % 3, d.y_train)
    np.testing.assert_array_equal(np.bincount(d.y_train), [2, 2, 2])
    assert len(set(d.x_train[:, 0])) == 6
    assert raw.to_dataset(n_train=6, n_test=3) == d
    assert raw.to_dataset(n_train=6, n_test=3, subset_seed=1) != d
    assert d.provenance["n_train"] == "6 of 12, seed 0"


@pytest.mark.parametrize("wanted", [0, 13, -1, 2.5, "many"])
def test_impossible_subsets_are_refused(arrays: Arrays, wanted: object) -> None:
    # Broken by silently giving fewer.
    with pytest.raises(UserError, match="mine has 12 train examples"):
        _raw(arrays).to_dataset(n_train=wanted)


def test_canonical_order_undoes_any_shuffle(arrays: Arrays) -> None:
    # Broken by an order that depends on the order given, or by parting images from their labels.
    order = np.random.default_rng(0).permutation(12)
    shuffled = arrays | {k: arrays[k][order] for k in ("x_train", "y_train")}
    first, second = canonical_order(_raw(arrays)), canonical_order(_raw(shuffled))
    assert first.to_dataset() == second.to_dataset()
    before = sorted(
        (x.tobytes(), int(y)) for x, y in zip(arrays["x_train"], arrays["y_train"], strict=True)
    )
    after = zip(first.arrays["x_train"], first.arrays["y_train"], strict=True)
    assert sorted((x.tobytes(), int(y)) for x, y in after) == before
