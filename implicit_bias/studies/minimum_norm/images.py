"""Least squares on the study's own data: how far descent gets when inputs are not Gaussian."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.studies.minimum_norm.designs import generator
from implicit_bias.studies.threads import one_thread
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

DECADES = tuple(10**k for k in range(13))
"""Updates at which descent is looked at; its closed form makes any number as cheap."""


def check_inputs(dataset: Dataset, examples: int, key: str) -> None:
    """Refuse data on which least squares says nothing.

    Raises:
        UserError: There are too few examples, or all inputs are zero.
    """
    if examples > dataset.n_train:
        raise UserError(
            f"{key} is {examples}, but {dataset.name} has {dataset.n_train} training examples; choose fewer"
        )
    if not np.any(dataset.x_train):
        raise UserError(
            f"data.name is {dataset.name}, whose inputs are all zero, so that labels decide nothing; "
            "choose data with inputs that are not"
        )


@dataclass(frozen=True)
class Images(Experiment):
    """Gradient descent from zero on some of the data's examples, labels in one-hot code, in closed form.

    Attributes:
        examples: Examples, drawn by the seed.
        fraction: Step size over 2/λmax.
        classes: Number of classes; 0 for data with numbers as labels.
    """

    examples: int
    fraction: float
    classes: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "image_left": Variable(("image_update",), "1", "‖w − X⁺y‖/‖X⁺y‖ over all outputs"),
            "image_misfit": Variable(("image_update",), "1", "‖Xw − y‖/‖y‖ over all outputs"),
            "image_rank": Variable((), "1", "rank of the inputs"),
            "image_condition": Variable((), "1", "λmax/λmin of XᵀX on the row space"),
            "image_examples": Variable((), "1", "examples"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Updates."""
        return {"image_update": DECADES}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Descend on the examples of one seed."""
        del lanes
        rows = generator(seed).permutation(len(pool.x_train))[: self.examples]
        x = np.asarray(pool.x_train, np.float64)[rows].reshape(len(rows), -1)
        labels = np.asarray(pool.y_train)[rows]
        y = np.eye(self.classes)[labels] if self.classes else labels.reshape(len(rows), -1)
        with one_thread():
            design = theory.modes(x, 1e-6)
            parts = design.left.T @ y.astype(np.float64)
            goal = np.linalg.norm(parts / design.values[:, None])
            left = theory.mode_factors(
                design.curvatures, DECADES, self.fraction * theory.step_limit(design)
            )
            never = float(np.sum(y**2) - np.sum(parts**2))
            never = never if never > 1e-12 * np.sum(y**2) else 0.0
        away = np.linalg.norm(left[:, :, None] * parts / design.values[:, None], axis=(1, 2)) / goal
        misfit = np.sum((left[:, :, None] * parts) ** 2, axis=(1, 2)) + never
        return {
            "image_left": away,
            "image_misfit": np.sqrt(misfit / np.sum(y**2)),
            "image_rank": float(design.rank),
            "image_condition": float(design.curvatures[0] / design.curvatures[-1]),
            "image_examples": float(len(rows)),
        }
