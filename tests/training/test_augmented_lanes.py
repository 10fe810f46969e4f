"""Augmentation in training: what an update sees, and on what that must not depend."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from implicit_bias import losses, models
from implicit_bias.data import Dataset
from implicit_bias.data.augmentation import Augmentation
from implicit_bias.errors import UserError
from implicit_bias.keys import role_key
from implicit_bias.training import make_plan, train_chunk
from tests.data.test_augmentation import expected
from tests.training.conftest import make_lane, make_recipe

CROP = Augmentation(padding=2)
LINEAR = models.Dense((), 3, bias=False)
UPDATES = 5


@pytest.fixture(scope="module")
def images() -> Dataset:
    """24 images of 5 × 4 pixels and 2 channels, with three numbers to predict."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 5, 4, 2)), rng.normal(size=(30, 3))
    x, y = x.astype(np.float32), y.astype(np.float32)
    return Dataset("images", "regression", 3, x[:24], y[:24], x[24:], y[24:])


def recipe(**changes: Any) -> Any:
    fields = {"model": LINEAR, "loss": losses.get("squared"), "n_train": 24, "batch_size": 24}
    return make_recipe(**fields, **{"augmentation": CROP, **changes})


def run(images: Dataset, made: Any, devices: int = 2, **options: Any) -> list[np.ndarray]:
    lanes = [make_lane(seed, UPDATES, (0, UPDATES), made, step_size=0.02) for seed in range(3)]
    (program,) = make_plan(lanes, images, devices=devices).programs
    return jax.tree.leaves(train_chunk(program, lanes, images, **options).params)


@pytest.fixture(scope="module")
def reference(images: Dataset) -> list[np.ndarray]:
    return run(images, recipe(), devices=1)


# Breaks if images are not augmented, with another key than documented, or the same in every update. Oracle:
# gradient descent in NumPy on images cut by NumPy.
def test_updates_see_what_numpy_cuts(images: Dataset, reference: list[np.ndarray]):
    example = images.x_train[0]
    starts = [
        jax.jit(LINEAR.init)(role_key(seed, "initialisation"), example)[0] for seed in range(3)
    ]
    weights = [np.asarray(jax.tree.leaves(start)[0], float) for start in starts]
    y = images.y_train.astype(float)
    for seed, w in enumerate(weights):
        for update in range(UPDATES):
            key = jax.random.fold_in(role_key(seed, "augmentation"), update)
            moves = zip(*map(np.asarray, CROP.draw(key, 24)), strict=True)
            seen = [
                expected(x, 2, "zeros", move) for x, move in zip(images.x_train, moves, strict=True)
            ]
            x = np.stack(seen).reshape(24, -1).astype(float)
            # The squared loss has its factor from the package; the rest is NumPy.
            residual = x @ w.T - y
            w -= 0.02 * _factor() * residual.T @ x / 24
        np.testing.assert_allclose(reference[0][seed], w, rtol=2e-4, atol=2e-5)


def _factor() -> float:
    """Return c of the squared loss c/2 · |f − y|²."""
    one = losses.get("squared").per_example(
        np.ones((1, 3), np.float32), np.zeros((1, 3), np.float32)
    )
    return float(one[0]) * 2 / 3


# Breaks if what an update sees depends on segments, devices or the parts of a batch. The first two
# change no bit; parts change the order of a sum.
def test_nothing_depends_on_how_it_is_run(images: Dataset, reference: list[np.ndarray]):
    other = run(images, recipe(), devices=2, segment_updates=2)
    np.testing.assert_array_equal(other[0], reference[0])
    parts = run(images, recipe(micro_batch=7))
    np.testing.assert_allclose(parts[0], reference[0], rtol=1e-4, atol=1e-6)


# Breaks if flat inputs, or images too small to reflect, get as far as compiling.
def test_what_cannot_be_augmented_is_refused(images: Dataset, dataset: Dataset):
    with pytest.raises(
        UserError, match=r"augmentation needs images .* inputs of toy have shape \(6,\)"
    ):
        make_plan([make_lane(recipe=make_recipe(augmentation=CROP))], dataset)
    reflect = Augmentation(padding=4, border="reflect")
    with pytest.raises(UserError, match="reaches 3 at most"):
        make_plan([make_lane(recipe=recipe(augmentation=reflect))], images)
    with pytest.raises(UserError, match="augmentation is 'crop-flip'; give an Augmentation"):
        recipe(augmentation="crop-flip")


# Breaks if lanes that are augmented take the place of those that are not.
def test_augmentation_is_part_of_a_lanes_identity(images: Dataset):
    names = {
        make_lane(recipe=recipe(augmentation=how)).identity(images.checksum)
        for how in (None, CROP, Augmentation(), Augmentation(border="reflect"))
    }
    assert len(names) == 4
    assert recipe().beginning == recipe(augmentation=None).beginning
