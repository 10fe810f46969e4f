"""A script that draws a landscape without moving in it, run as it stands; and what it should have drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment
from implicit_bias.training.measurement import FinishedLane, Variable

SEED = 42
"""Seed of the script; trial 0 is the script itself, trial s the same with seed 42 + s."""

_WALKS = (0.01, 0.001)
"""Spread of the random steps that stand for training with small and with large batches."""


@dataclass(frozen=True)
class Script(Experiment):
    """The script's numbers, in its own order of draws, in double precision.

    It draws 100 Gaussian inputs in 128 dimensions and labels 0 to 9, two Gaussian weight matrices, adds
    100 random steps to each in place of training, and evaluates mean(f² + y²), no cross-entropy, over a
    plane of two orthonormal directions. The weights of each point are stored under a name that the loss
    never reads, so that every point gets the loss of the centre.

    ``printed`` are that plane's lowest and highest values. ``true`` are those with the weights of each
    point used: the loss is quadratic there.

    Attributes:
        grid: Points along each axis.
    """

    grid: int = 50

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("network", "extreme")
        return {
            "printed": Variable(dims, "1", "lowest and highest loss as the script computes them"),
            "true": Variable(dims, "1", "the same over the plane that it means"),
            "walked": Variable(("network",), "parameter", "length of the random walk"),
            "descended": Variable(
                ("network",), "1", "fall of the loss by what stands for training"
            ),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """The two networks, and extremes."""
        return {"network": ("small batch", "large batch"), "extreme": ("lowest", "highest")}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Run it."""
        del pool, lanes
        # The script's own generator: the legacy one, seeded globally there.
        draw = np.random.RandomState(SEED + seed)
        x = draw.randn(100, 128)
        y = draw.randint(0, 10, 100)
        begun = [draw.randn(128, 10) * 0.01 for _ in _WALKS]
        ended = []
        for weights, spread in zip(begun, _WALKS, strict=True):
            steps = [0.01 * (draw.randn(*weights.shape) * spread) for _ in range(100)]
            ended.append(weights - np.sum(steps, axis=0))

        def loss(weights: np.ndarray) -> float:
            # (100, 10) and (100, 1): each label is counted for every output, as in the script.
            return float(np.mean((x @ weights) ** 2 + np.reshape(y, (-1, 1)) ** 2))

        axis = np.linspace(-1, 1, self.grid)
        printed, true = [], []
        for weights in ended:
            first = draw.randn(*weights.shape)
            first /= np.linalg.norm(first)
            second = draw.randn(*weights.shape)
            second -= np.vdot(first, second) * first
            second /= np.linalg.norm(second)
            printed.append([loss(weights)] * 2)
            plane = [loss(weights + a * first + b * second) for a in axis for b in axis]
            true.append([min(plane), max(plane)])
        return {
            "printed": np.asarray(printed),
            "true": np.asarray(true),
            "walked": np.asarray(
                [np.linalg.norm(b - a) for a, b in zip(begun, ended, strict=True)]
            ),
            "descended": np.asarray([loss(a) - loss(b) for a, b in zip(begun, ended, strict=True)]),
        }
