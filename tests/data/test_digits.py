"""The embedded digits against scikit-learn's own arrays."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from implicit_bias.data import digits


def test_every_image_is_in_one_part_with_its_label() -> None:
    # Broken by a lost, repeated or mislabelled image, or by another scale.
    d = digits()
    assert (d.n_train, d.n_test, d.input_shape) == (1297, 500, (8, 8, 1))
    ours = np.concatenate([d.x_train, d.x_test]).reshape(1797, 64) * 16
    labels = np.concatenate([d.y_train, d.y_test])
    theirs = load_digits()
    ours_rows = sorted(np.column_stack([ours, labels]).tolist())
    assert ours_rows == sorted(np.column_stack([theirs.data, theirs.target]).tolist())


def test_the_split_is_stratified() -> None:
    # Broken by a split that ignores classes: test counts stay within one of proportional ones.
    d = digits()
    pool = np.bincount(np.concatenate([d.y_train, d.y_test]))
    assert np.all(np.abs(np.bincount(d.y_test) - 500 * pool / 1797) < 1)


def test_the_split_never_changes() -> None:
    # Broken by anything that moves an image or its bytes: every study on digits would change.
    expected = "3af5d0aabeb308872ca69a0d7f70bb9ac3a3296dfb78b865dd9f95acadec30f8"
    assert digits().checksum == expected
