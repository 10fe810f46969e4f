"""Two scripts that are published as checks of the kernel limit, run as they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

FIRST_SEED = 42
"""Seed of the scripts; the study's seed 0 repeats their numbers, the others are more of the same."""

NORM, DIFFERENCE = 0.3421, 0.008234
"""What the first script is said to print: ‖α‖, and the mean squared difference."""

WIDTHS = (100, 500, 1000)
EPOCHS = (0, 25, 50, 75, 99)
"""Epochs of the second script that are kept: those printed, and the last."""
PUBLISHED_DIFFERENCE = np.array(
    [
        [0.012345, 0.008234, 0.003421, 0.001234],
        [0.001234, 0.000892, 0.000345, 0.000089],
        [0.000234, 0.000145, 0.000034, 0.000008],
    ]
)
"""Published differences from its kernel's predictions, width × printed epoch."""
PUBLISHED_FROZEN = np.array([0.009156, 0.004123, 0.002145])
"""Published last test losses with frozen features, by width."""
PUBLISHED_LEARNED = 0.001989
"""Published last test loss with features trained."""
SHAPE_ERROR = "matmul"
"""Named in what NumPy says of the product of two vectors of unequal lengths, at which the script stops."""


@dataclass(frozen=True)
class UntrainedNetwork(Experiment):
    """The first script (solution C.16): kernel regression on Gaussian inputs and labels without a relation.

    What it calls the neural tangent kernel is XXᵀ/d², d = 100 features: that of a linear model, and a
    hundredth of the inputs' own products. What it calls a network in the kernel regime is never trained.
    Beside what it prints, the same difference is measured for the network's own tangent kernel, and that
    between the labels and zero, for its size.
    """

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What it prints, and what that can be held against."""
        return {
            "script_norm": Variable((), "1", "‖α‖ of the kernel regression, as the script prints it"),
            "script_difference": Variable((), "1", "mean squared difference, as the script prints it"),
            "script_own_kernel": Variable(
                (), "1", "the same, with the network's own tangent kernel in place of the linear one"
            ),
            "script_correlation": Variable(
                (), "1", "correlation of the untrained network with the kernel regression"
            ),
            "script_size": Variable((), "1", "mean square of the kernel regression's predictions"),
        }  # fmt: skip

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Repeat the script for one seed, drawing in its order."""
        draw, n, d, width = np.random.RandomState(FIRST_SEED + seed), 50, 100, 10_000
        x = draw.randn(n, d) / np.sqrt(d)
        y = draw.randn(n)
        kernel = x @ x.T / d
        alpha = np.linalg.solve(kernel + 0.01 * np.eye(n), y)
        weights = draw.randn(d, width) * np.sqrt(2 / d)
        biases = draw.randn(width)
        hidden = np.maximum(0, x @ weights + biases)
        leaving = draw.randn(width) * 0.01
        network, said = hidden @ leaving, kernel @ alpha
        on = (hidden > 0) * leaving
        own = hidden @ hidden.T + (x @ x.T + 1) * (on @ on.T)
        fitted = own @ np.linalg.solve(own + 0.01 * np.eye(n), y)
        return {
            "script_norm": np.linalg.norm(alpha),
            "script_difference": np.mean((network - said) ** 2),
            "script_own_kernel": np.mean((network - fitted) ** 2),
            "script_correlation": np.corrcoef(network, said)[0, 1],
            "script_size": np.mean(said**2),
        }


@dataclass(frozen=True)
class FrozenFeatures(Experiment):
    """The second script (solution C.20): networks whose last layer alone is trained, and one trained whole.

    Its kernel is again XXᵀ/d², here against networks with frozen random features. As printed it stops
    with an error when features are to be trained: it multiplies a vector of examples with one of units,
    where their outer product is meant. That is mended; all else is as printed.
    """

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What it prints."""
        dims = ("script_width", "script_epoch")
        return {
            "frozen_train_loss": Variable(dims, "1", "training loss, features frozen"),
            "frozen_test_loss": Variable(dims, "1", "test loss, features frozen"),
            "frozen_difference": Variable(
                dims, "1", "mean squared difference from the linear kernel's predictions"
            ),
            "learned_train_loss": Variable(dims[1:], "1", "training loss, features trained"),
            "learned_test_loss": Variable(dims[1:], "1", "test loss, features trained"),
            "script_stops": Variable((), "1", "whether the script as printed stops with an error"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Widths and epochs."""
        return {"script_width": WIDTHS, "script_epoch": EPOCHS}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Repeat the script for one seed, drawing in its order."""
        draw, d = np.random.RandomState(FIRST_SEED + seed), 100
        x = draw.randn(200, d) / np.sqrt(d)
        y = np.where(x[:, 0] > 0, 1.0, -1.0)
        x_test = draw.randn(100, d) / np.sqrt(d)
        y_test = np.where(x_test[:, 0] > 0, 1.0, -1.0)
        alpha = np.linalg.solve(x @ x.T / d + 0.01 * np.eye(200), y)
        linear = x_test @ x.T / d @ alpha
        frozen = np.empty((3, len(WIDTHS), len(EPOCHS)))
        for row, width in enumerate(WIDTHS):
            weights = draw.randn(d, width) * np.sqrt(2.0 / d)
            leaving = draw.randn(width) * 0.01
            # Features are frozen, so that once is enough.
            hidden, hidden_test = (np.maximum(0, inputs @ weights) for inputs in (x, x_test))
            for epoch in range(100):
                fit = hidden @ leaving
                loss = np.mean((fit - y) ** 2)
                leaving = leaving - 0.01 * (2 * hidden.T @ (fit - y) / 200)
                if epoch in EPOCHS:
                    out = hidden_test @ leaving
                    column = EPOCHS.index(epoch)
                    frozen[0, row, column] = loss
                    frozen[1, row, column] = np.mean((out - y_test) ** 2)
                    frozen[2, row, column] = np.mean((out - linear) ** 2)
        learned, stops = self._learn(draw, x, y, x_test, y_test)
        return {
            "frozen_train_loss": frozen[0],
            "frozen_test_loss": frozen[1],
            "frozen_difference": frozen[2],
            "learned_train_loss": learned[0],
            "learned_test_loss": learned[1],
            "script_stops": float(stops),
        }

    def _learn(
        self,
        draw: np.random.RandomState,
        x: np.ndarray,
        y: np.ndarray,
        x_test: np.ndarray,
        y_test: np.ndarray,
    ) -> tuple[np.ndarray, bool]:
        """Train features too; return training and test losses, and whether the product as printed fails."""
        d, width = x.shape[1], 500
        weights = draw.randn(d, width) * np.sqrt(2.0 / d)
        leaving = draw.randn(width) * 0.01
        losses, stops = np.empty((2, len(EPOCHS))), False
        sums, products = x @ weights, x @ x.T
        for epoch in range(100):
            hidden = np.maximum(0, sums)
            fit = hidden @ leaving
            slope = 2 * (fit - y) / 200
            loss = np.mean((fit - y) ** 2)
            leaving = leaving - 0.01 * (hidden.T @ slope)
            if not epoch:
                try:
                    slope @ leaving.T
                except ValueError as error:
                    stops = SHAPE_ERROR in str(error)
            back = np.outer(slope, leaving) * (sums > 0)
            weights = weights - 0.001 * (x.T @ back)
            sums = sums - 0.001 * (products @ back)  # x @ weights, for less
            if epoch in EPOCHS:
                out = np.maximum(0, x_test @ weights) @ leaving
                losses[:, EPOCHS.index(epoch)] = loss, np.mean((out - y_test) ** 2)
        return losses, stops
