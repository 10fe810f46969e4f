"""What memorises a lane's examples without being trained: a table, and the nearest example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.training import Lane, Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

MEMORISERS: dict[str, str] = {
    "lookup table": "the label of an image that is stored, pixel by pixel; otherwise any class, equally "
    "likely",
    "nearest example": "the stored label of the stored image at the smallest Euclidean distance",
}
"""Predictors that fit their training set without error."""

ARMS = {"true": "given", "random": "random"}
"""Arms whose training sets are memorised, by their labels."""

BLOCK = 1000
"""Test images of which distances are in memory together."""


@dataclass(frozen=True)
class Memorisers(Experiment):
    """Accuracy on true labels of predictors that store the training sets of finished lanes.

    Attributes:
        classes: Number of classes.
    """

    classes: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "stored_accuracy": Variable(
                ("memoriser", "stored_labels"), "fraction", "accuracy on test images, true labels"
            ),
            "stored_known": Variable((), "fraction", "test images that are in the training set"),
            "relabelled_share": Variable((), "fraction", "random labels that differ from the true ones"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Predictors and labels."""
        return {"memoriser": tuple(MEMORISERS), "stored_labels": tuple(ARMS)}

    def partners(self, lanes: Sequence[Lane]) -> Mapping[str, Lane]:
        """Choose the lanes whose examples are stored."""
        by_arm = {lane.tags["arm"]: lane for lane in lanes}
        return {labels: by_arm[arm] for labels, arm in ARMS.items()}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Predict the test images of one seed."""
        del seed
        tests = np.asarray(pool.x_test).reshape(len(pool.y_test), -1)
        table, nearest = [], []
        known = np.nan
        for kind in ARMS:
            examples = lanes[kind].examples
            stored = np.asarray(pool.x_train)[np.asarray(examples.train)].reshape(
                -1, tests.shape[1]
            )
            labels = np.asarray(examples.targets)
            nearest.append(np.mean(labels[closest(stored, tests)] == pool.y_test))
            there = {image.tobytes(): label for image, label in zip(stored, labels, strict=True)}
            said = np.asarray([there.get(image.tobytes(), -1) for image in tests])
            known = float(np.mean(said >= 0))
            table.append(np.mean(np.where(said >= 0, said == pool.y_test, 1 / self.classes)))
        truth = np.asarray(pool.y_train)[np.asarray(lanes["random"].examples.train)]
        return {
            "stored_accuracy": np.asarray([table, nearest], float),
            "stored_known": np.asarray(known),
            "relabelled_share": np.asarray(np.mean(truth != lanes["random"].examples.targets)),
        }


def closest(stored: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the position of the nearest stored row for each row that is asked for.

    Args:
        stored: Shape (n, features).
        asked: Shape (m, features).

    Returns:
        Positions, (m,); of several that are as near, the first.
    """
    squares = np.sum(stored**2, axis=1)
    found = [
        np.argmin(squares[None, :] - 2 * block @ stored.T, axis=1)
        for block in np.split(asked, range(BLOCK, len(asked), BLOCK))
    ]
    return np.concatenate(found)
