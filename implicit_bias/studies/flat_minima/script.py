"""A script that attacks a network with random numbers in place of a gradient, done again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

FIRST_SEED = 42
"""Seed of the script; the study's seed 0 repeats its numbers, the others are more of the same."""
RADII = (0.0, 0.05, 0.1, 0.15, 0.2)
MODELS = ("small batch", "large batch")
PRINTED = np.array([[0.950, 0.950], [0.885, 0.872], [0.745, 0.712], [0.580, 0.545], [0.420, 0.385]])
"""Accuracies that the document says the script prints, radius × model."""

_TRAIN, _TEST, _FEATURES, _UPDATES = 200, 100, 50, 50
_SIZES = (0.001, 0.0005)


@dataclass(frozen=True)
class MockAttack(Experiment):
    """What the chapter's script computes (solution C.15), and what FGSM on the same networks gives.

    The script's labels are drawn independently of its inputs; its two linear networks take fifty random
    steps instead of training; and its attack moves along the signs of random numbers. Accuracy is then
    about one half at every radius, the labels' own chance. True FGSM on these linear networks moves
    along the signs of w₁ − w₀ and is the worst case.
    """

    @property
    def variables(self) -> Mapping[str, Variable]:
        """Accuracies under both attacks."""
        dims = ("script_radius", "script_model")
        return {
            "script_mock_accuracy": Variable(dims, "fraction", "accuracy under the mock attack"),
            "script_fgsm_accuracy": Variable(dims, "fraction", "accuracy under FGSM"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Radii and networks of the script."""
        return {"script_radius": RADII, "script_model": MODELS}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Repeat the script for one seed, drawing in its order."""
        draw = np.random.RandomState(FIRST_SEED + seed)
        draw.randn(_TRAIN, _FEATURES)  # training inputs and labels, never used
        draw.randint(0, 2, _TRAIN)
        weights = [draw.randn(_FEATURES, 2) * 0.01 for _ in MODELS]
        for _ in range(_UPDATES):
            for matrix, size in zip(weights, _SIZES, strict=True):
                matrix += draw.randn(_FEATURES, 2) * size
        x = draw.randn(_TEST, _FEATURES) / np.sqrt(_FEATURES)
        y = draw.randint(0, 2, _TEST)

        def accuracy(moved: np.ndarray, matrix: np.ndarray) -> float:
            return float(np.mean(np.argmax(moved @ matrix, axis=1) == y))

        mock = np.empty((len(RADII), len(MODELS)))
        fgsm = np.empty_like(mock)
        for row, radius in enumerate(RADII):
            for column, matrix in enumerate(weights):
                signs = np.sign(draw.randn(_TEST, _FEATURES))
                mock[row, column] = accuracy(x + radius * signs, matrix)
                # The cross-entropy rises fastest towards the other class's weights.
                away = np.sign(matrix[:, 0] - matrix[:, 1])[None, :] * (2 * y - 1)[:, None]
                fgsm[row, column] = accuracy(x + radius * away, matrix)
        return {"script_mock_accuracy": mock, "script_fgsm_accuracy": fgsm}
