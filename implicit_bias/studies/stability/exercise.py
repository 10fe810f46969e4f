"""The chapter's exercise on leave-one-out stability: ridge regression of class indicators on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.stability.designs import generator
from implicit_bias.studies.threads import one_thread
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

PENALTIES = (0.01, 0.1, 1.0)
"""λ of the exercise."""

SCALINGS = ("sum", "mean")
"""Whether λ stands beside the sum of squares, as the exercise's formula has it, or beside their mean."""

PUBLISHED = {"moved": (0.5, 0.1, 0.02), "gap": (0.15, 0.04, 0.01)}
"""What the exercise expects at the three λ."""

PIXELS = 784
"""Features of the exercise's images."""


@dataclass(frozen=True)
class LeaveOneOut(Experiment):
    """Every fit without one example, on some of the data's examples.

    Attributes:
        examples: m, drawn by the seed.
        classes: Classes.
    """

    examples: int
    classes: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        along = ("scaling", "ridge_penalty")
        return {
            "image_moved": Variable(along, "1", "‖W − W without one‖, mean over examples"),
            "image_gap": Variable(
                along, "1", "test less training loss: squared error, mean over classes"
            ),
            "image_left": Variable(along, "1", "loss of examples left out less training loss"),
            "image_change": Variable(along, "1", "largest change of any loss by any removal"),
            "image_error": Variable(along, "%", "test less training error"),
            "image_features": Variable((), "1", "features"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Scalings and penalties."""
        return {"scaling": SCALINGS, "ridge_penalty": PENALTIES}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Fit one seed's examples."""
        del lanes
        rows = generator(int(seed), 6).permutation(len(pool.x_train))[: self.examples]
        x, new = (
            np.asarray(part, np.float64).reshape(len(part), -1)
            for part in (np.asarray(pool.x_train)[rows], pool.x_test)
        )
        y, truth = np.asarray(pool.y_train)[rows], np.asarray(pool.y_test)
        with one_thread():
            cells = [
                [self._cell(x, y, new, truth, lam * (len(y) if scaling == "mean" else 1))
                 for lam in PENALTIES]
                for scaling in SCALINGS
            ]  # fmt: skip
        names = ("moved", "gap", "left", "change", "error")
        found = np.asarray(cells)
        return {f"image_{name}": found[..., place] for place, name in enumerate(names)} | {
            "image_features": float(x.shape[1])
        }

    def _cell(
        self, x: np.ndarray, y: np.ndarray, new: np.ndarray, truth: np.ndarray, penalty: float
    ) -> tuple[float, ...]:
        codes, goals = np.eye(self.classes)[y], np.eye(self.classes)[truth]
        fit = theory.ridge_fit(x, codes, penalty)
        without = theory.left_out_weights(fit)
        moved = np.sqrt(np.sum((without - fit.weights[None]) ** 2, axis=(1, 2)))
        outputs = new @ fit.weights
        losses = np.mean((outputs - goals) ** 2, axis=1)
        train = np.mean(fit.residuals**2)
        # Without example i, outputs change by −(zᵀ(XᵀX + αI)⁻¹x_i) times its residual when left out.
        left = theory.left_out_residuals(fit)
        reach, errors = new @ (fit.inverse @ x.T), outputs - goals
        changes = reach**2 * np.sum(left**2, axis=1)[None, :] - 2 * reach * (errors @ left.T)
        change = float(np.abs(changes).max()) / self.classes
        wrong = np.mean(outputs.argmax(axis=1) != truth)
        fitted = np.mean((x @ fit.weights).argmax(axis=1) != y)
        return (
            float(moved.mean()), float(losses.mean() - train),
            float(np.mean(left**2) - train), change,
            float(100 * (wrong - fitted)),
        )  # fmt: skip
