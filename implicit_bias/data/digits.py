"""Scikit-learn's handwritten digits: real images that need no network and no files."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from implicit_bias.data.dataset import Dataset
from implicit_bias.data.transforms import stratified_prefix

N_TEST = 500
"""Images kept for testing; the other 1297 are the pool that training subsets are drawn from."""


def digits() -> Dataset:
    """Return the 1797 images of 8×8 pixels in 10 classes, with a fixed stratified split.

    Pixels are divided by 16, their largest value. The test images are chosen class by class, with
    the classes in proportion, in the order of the SHA-256 of their position: a split that no seed,
    library version or platform changes.

    Returns:
        A classification dataset with inputs (n, 8, 8, 1) in [0, 1], n = 1297 for training and 500
        for test.

    References:
        E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning
        Repository, 1998 (its test part, as shipped in ``sklearn.datasets.load_digits``).
    """
    import sklearn
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = (bunch.images[..., None] / 16).astype(np.float32)
    y = bunch.target.astype(np.int32)
    train, test = _fixed_split(y)
    return Dataset(
        name="digits",
        task="classification",
        n_outputs=10,
        x_train=x[train],
        y_train=y[train],
        x_test=x[test],
        y_test=y[test],
        provenance={
            "source": "scikit-learn's embedded digits (UCI, optical recognition, 8x8 pixels)",
            "pixels": "divided by 16",
            "split": f"fixed and stratified: {len(test)} test images by hash of position, "
            f"{len(train)} for training",
            "scikit-learn": sklearn.__version__,
        },
    )


def _fixed_split(
    labels: npt.NDArray[np.int32],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the positions of training and test images, each part in the order of the hash."""
    hashes = [hashlib.sha256(f"digits {i}".encode()).digest() for i in range(len(labels))]
    order = np.array(sorted(range(len(labels)), key=hashes.__getitem__))
    is_test = stratified_prefix(order, labels, N_TEST)
    return order[~is_test], order[is_test]
