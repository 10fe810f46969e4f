"""The chapter's notes: batch sizes at equal epochs or equal updates, and the width that a kernel needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.early_stopping.two_layer import batches
from implicit_bias.training.experiment import Variable

BATCHES = (4, 64)
"""Batch sizes that are compared."""

REGRESSION, FEATURES, STEP = 512, 20, 0.01
"""Examples and features of the comparison, and the step size of both batch sizes."""

POINTS, TESTS, INPUTS = 50, 200, 20
"""Of the wide networks: training and test points, and inputs; as the chapter's exercise has them."""

WAYS = ("change of outputs", "outputs as they are", "outputs as they are, kernel's end")
"""What of the network is held against what of the kernel."""


@dataclass(frozen=True)
class Notes(Drawn):
    """Stochastic gradient descent on least squares at two batch sizes, and wide networks beside their kernel.

    Attributes:
        widths: Hidden units.
        updates: Updates of the wide networks.
        epochs: Epochs of the comparison.
    """

    widths: tuple[int, ...]
    updates: int
    epochs: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "fair_risk": Variable(("fair_held", "fair_batch"), "label²", "excess risk at the end"),
            "fair_updates": Variable(("fair_held", "fair_batch"), "1", "updates made"),
            "kernel_error": Variable(
                ("kernel_way", "kernel_width"), "label²", "mean squared difference on test points"
            ),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """What is held equal, batch sizes, and widths."""
        return {
            "fair_held": ("epochs", "updates"),
            "fair_batch": BATCHES,
            "kernel_way": WAYS,
            "kernel_width": self.widths,
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Measure with the randomness of one seed."""
        rng = role_generator(seed, "data", 2)
        return {**self._compared(rng), "kernel_error": self._kernels(rng)}

    def _compared(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        theta = rng.standard_normal(FEATURES)
        theta /= np.linalg.norm(theta)
        x = rng.standard_normal((REGRESSION, FEATURES))
        y = x @ theta + 0.5 * rng.standard_normal(REGRESSION)
        risks, made = np.zeros((2, 2)), np.zeros((2, 2))
        for column, size in enumerate(BATCHES):
            # Small batches' updates for the large ones; large batches' epochs for the small ones.
            most = self.epochs * -(-REGRESSION // BATCHES[0])
            stops = {self.epochs * -(-REGRESSION // size): 0, most: 1}
            w, done = np.zeros(FEATURES), 0
            while done < most:
                for chosen in batches(rng, REGRESSION, size):
                    w -= STEP * x[chosen].T @ (x[chosen] @ w - y[chosen]) / len(chosen)
                    done += 1
                    if done in stops:
                        risks[stops[done], column], made[stops[done], column] = (
                            np.sum((w - theta) ** 2),
                            done,
                        )
                    if done == most:
                        break
            if most == self.epochs * -(-REGRESSION // size):
                risks[0, column], made[0, column] = risks[1, column], made[1, column]
        return {"fair_risk": risks, "fair_updates": made}

    def _kernels(self, rng: np.random.Generator) -> np.ndarray:
        x = rng.standard_normal((POINTS + TESTS, INPUTS)) / np.sqrt(INPUTS)
        y = rng.standard_normal(POINTS)
        kernel = tangent_kernel(x, x[:POINTS])
        values, vectors = np.linalg.eigh(kernel[:POINTS] / POINTS)
        step = 1 / values[-1]
        shares = theory.descent_shrinkage(values, step, self.updates)

        def predicted(targets: np.ndarray, found: np.ndarray) -> np.ndarray:
            """Return what the kernel's descent adds to outputs on test points."""
            inverse = vectors @ (found / values * (vectors.T @ targets)) / POINTS
            return kernel[POINTS:] @ inverse

        errors = np.zeros((len(WAYS), len(self.widths)))
        for column, width in enumerate(self.widths):
            before, after = wide_network(x, y, width, step, self.updates, rng)
            change = after[POINTS:] - before[POINTS:]
            differences = (
                change - predicted(y - before[:POINTS], shares),
                after[POINTS:] - predicted(y, shares),
                after[POINTS:] - predicted(y, np.ones(POINTS)),
            )
            errors[:, column] = [np.mean(one**2) for one in differences]
        return errors


def tangent_kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the infinite-width tangent kernel of :func:`wide_network`'s function.

    ``‖x‖‖z‖ (sin φ + (π − φ) cos φ)/π + xᵀz (π − φ)/π`` with φ the angle between x and z.

    References:
        Y. Cho, L. Saul, *Kernel methods for deep learning* (NIPS 2009); A. Jacot et al. (NeurIPS 2018).
    """
    product = first @ second.T
    norms = np.linalg.norm(first, axis=1)[:, None] * np.linalg.norm(second, axis=1)[None]
    angle = np.arccos(np.clip(product / norms, -1, 1))
    values = norms * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / np.pi
    return values + product * (np.pi - angle) / np.pi


def wide_network(
    x: np.ndarray, y: np.ndarray, width: int, step: float, updates: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Train ``√(2/width) Σ a_j relu(w_jᵀx)`` by full-batch descent on the mean of half squared errors.

    Args:
        x: Points, the first of them those with targets, shape (points, inputs).
        y: Targets.
        width: Hidden units, a and w standard normal.
        step: Step size.
        updates: Updates.
        rng: Source of the start.

    Returns:
        Outputs at all points before and after.
    """
    inner, outer = rng.standard_normal((x.shape[1], width)), rng.standard_normal(width)
    scale, seen = np.sqrt(2 / width), x[: len(y)]

    def outputs() -> np.ndarray:
        return scale * np.maximum(x @ inner, 0) @ outer

    before = outputs()
    for _ in range(updates):
        below = seen @ inner
        hidden = np.maximum(below, 0)
        slope = scale * (scale * hidden @ outer - y) / len(y)
        below = np.where(below > 0, slope[:, None] * outer, 0.0)
        outer = outer - step * (hidden.T @ slope)
        inner = inner - step * (seen.T @ below)
    return before, outputs()
