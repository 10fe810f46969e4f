"""The record of arrays: what it accepts, what it refuses by name, and what identifies it."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest

from implicit_bias.data import Dataset
from implicit_bias.errors import UserError

GOOD = {
    "name": "d",
    "task": "classification",
    "n_outputs": 2,
    "x_train": np.arange(8, dtype=np.float32).reshape(4, 2),
    "y_train": np.array([0, 1, 0, 1]),
    "x_test": np.ones((2, 2), np.float32),
    "y_test": np.array([1, 0]),
}
NAN = np.array([[1.0, np.nan], [0, 0], [0, 0], [0, 0]], np.float32)


def test_types_and_sizes() -> None:
    # Broken by keeping int64 labels or by a wrong count.
    d = Dataset(**GOOD)
    assert (d.n_train, d.n_test, d.n_valid, d.input_shape) == (4, 2, 0, (2,))
    assert d.x_train.dtype == np.float32
    assert d.y_train.dtype == np.int32


def test_regression_targets_get_a_column_and_the_inputs_dtype() -> None:
    # Broken by leaving float64 targets beside float32 inputs, which strict promotion would refuse.
    given = GOOD | {"task": "regression", "n_outputs": 1}
    d = Dataset(**given | {"y_train": np.array([0.5, 1, 2, 3]), "y_test": np.zeros((2, 1))})
    assert d.y_train.shape == (4, 1)
    assert d.y_train.dtype == d.y_test.dtype == np.float32


def test_arrays_are_read_only_and_not_the_callers() -> None:
    # Broken by sharing memory: the checksum would then be of something else later.
    mine = np.array(GOOD["x_train"])
    d = Dataset(**GOOD | {"x_train": mine})
    before = d.checksum
    mine[:] = 7
    assert d.x_train[0, 0] == 0
    assert Dataset(**GOOD).checksum == before
    with pytest.raises(ValueError, match="read-only"):
        d.x_train[0, 0] = 1
    with pytest.raises(AttributeError):
        d.name = "other"


def test_read_only_arrays_are_not_copied_again() -> None:
    # Broken by copying on every derived record, which large data would pay for several times.
    d = Dataset(**GOOD)
    assert d.replace(name="e").x_train is d.x_train


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task": "clasification"}, "did you mean 'classification'"),
        ({"n_outputs": 1}, "n_outputs is 1"),
        ({"n_outputs": 2.5}, "n_outputs is 2.5"),
        ({"n_outputs": True}, "n_outputs is True"),
        ({"x_train": NAN}, r"x_train is not finite \(1 of 8 values, the first nan at \[0, 1\]\)"),
        ({"x_test": np.full((2, 2), np.inf, np.float32)}, "x_test is not finite"),
        ({"x_train": np.zeros((4, 2), np.uint8)}, "x_train has dtype uint8"),
        ({"x_train": np.array([["a", "b"]] * 4)}, "x_train has dtype <U1"),
        ({"x_train": np.zeros(4, np.float32)}, r"x_train has shape \(4,\)"),
        ({"x_train": np.zeros((4, 0), np.float32)}, r"x_train has shape \(4, 0\)"),
        ({"x_train": np.zeros((0, 2), np.float32)}, "x_train has no examples"),
        ({"x_test": np.zeros((0, 2), np.float32), "y_test": np.zeros(0, int)}, "x_test has no"),
        ({"x_test": np.zeros((2, 3), np.float32)}, r"x_test has inputs of shape \(3,\)"),
        ({"x_test": np.full((2, 2), 1e300)}, "x_test is not finite"),
        ({"y_train": np.array([0, 1, 0])}, "y_train has 3 targets, but x_train has 4"),
        ({"y_train": np.array(1)}, "y_train has 1 targets"),
        ({"y_train": np.array([0.0, 1, 0, 1])}, "y_train has shape .* dtype float64"),
        ({"y_train": np.eye(4, 2, dtype=int)}, "one-hot"),
        ({"y_train": np.array([0, 1, 2, 0])}, "y_train contains label 2; with 2 classes"),
        ({"y_test": np.array([-1, 0])}, "y_test contains label -1"),
        ({"task": "regression", "n_outputs": 3}, r"y_train has shape \(4, 1\)"),
        ({"task": "regression", "n_outputs": 1, "y_test": np.array([np.nan, 0])}, "y_test is not"),
        ({"task": "regression", "n_outputs": 1, "y_test": np.array([1j, 0])}, "y_test has dtype"),
        ({"x_valid": np.zeros((1, 2), np.float32)}, "x_valid is given without y_valid"),
        ({"y_valid": np.zeros(1, int)}, "y_valid is given without x_valid"),
        ({"provenance": {"a": object()}}, "provenance cannot be written as JSON"),
        ({"provenance": {"a": float("nan")}}, "provenance cannot be written as JSON"),
    ],
)
def test_bad_arrays_are_refused_by_name(change: dict, words: str) -> None:
    # Broken by accepting any of these, or by a message that does not say which array it is.
    with pytest.raises(UserError, match=words) as caught:
        Dataset(**GOOD | change)
    assert "\n" not in str(caught.value)


def test_checksum_is_sha256_over_names_types_shapes_and_bytes() -> None:
    # Broken by leaving anything out of the checksum; computed here with hashlib alone.
    digest = hashlib.sha256()
    d = Dataset(**GOOD)
    for name in ("x_train", "y_train", "x_test", "y_test"):
        array = getattr(d, name)
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    assert d.checksum == digest.hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"x_train": GOOD["x_train"] + np.eye(4, 2, dtype=np.float32)},
        {"y_test": np.array([1, 1])},
        {"x_train": GOOD["x_train"].astype(np.float64)},
        {"x_valid": np.ones((1, 2), np.float32), "y_valid": np.array([0])},
        {"name": "other"},
        {"n_outputs": 3},
    ],
)
def test_equality_follows_the_content(change: dict) -> None:
    # Broken by comparing identity only, or by ignoring one of these differences.
    assert Dataset(**GOOD) == Dataset(**GOOD)
    assert hash(Dataset(**GOOD)) == hash(Dataset(**GOOD))
    assert Dataset(**GOOD) != Dataset(**GOOD | change)


def test_flatten_and_astype() -> None:
    # Broken by flattening across examples, or by leaving regression targets in the old type.
    images = GOOD | {"x_train": np.arange(16.0).reshape(4, 2, 2), "x_test": np.zeros((2, 2, 2))}
    d = Dataset(**images | {"task": "regression", "n_outputs": 1}).astype("float32")
    flat = d.flatten()
    assert flat.input_shape == (4,)
    np.testing.assert_array_equal(flat.x_train[1], [4, 5, 6, 7])
    assert {a.dtype for a in (flat.x_train, flat.y_train, flat.x_test, flat.y_test)} == {
        np.dtype("float32")
    }


@pytest.mark.parametrize("dtype", ["int32", "complex64", "nonsense", np.str_])
def test_astype_refuses_what_is_not_floating_point(dtype: object) -> None:
    # Broken by letting NumPy cast to integers silently.
    with pytest.raises(UserError, match="choose float32 or float64"):
        Dataset(**GOOD).astype(dtype)


def test_astype_refuses_overflow() -> None:
    # Broken by turning large numbers into infinities without a word.
    d = Dataset(**GOOD | {"x_train": np.full((4, 2), 1e300), "x_test": np.zeros((2, 2))})
    with pytest.raises(UserError, match="x_train is not finite"):
        d.astype("float32")


def test_big_endian_arrays_become_native() -> None:
    # Broken by keeping foreign byte order, which JAX refuses.
    d = Dataset(**GOOD | {"x_train": GOOD["x_train"].astype(">f4")})
    assert d == Dataset(**GOOD)


def test_repr_is_one_short_line_and_describe_is_json() -> None:
    # Broken by printing arrays.
    d = Dataset(**GOOD | {"provenance": {"title": "D (lossy)"}})
    assert repr(d) == "Dataset('d', classification, 2 classes, 2 float32, 4 train + 2 test)"
    assert d.describe()["checksum"] == d.checksum
    assert d.title == "D (lossy)"


def test_pickles() -> None:
    # Broken by a provenance that cannot be pickled, as a mapping proxy cannot.
    d = Dataset(**GOOD | {"provenance": {"a": [1]}})
    assert pickle.loads(pickle.dumps(d)) == d
