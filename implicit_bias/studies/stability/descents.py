"""Stochastic gradient descent by paired runs: the same start, the same order, one example replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.stability.designs import SMOOTHNESS, generator, log_loss, population
from implicit_bias.training.experiment import Variable

LOSSES = ("logistic", "linear")
"""A smooth convex loss, and the one at which the bound is attained."""

INPUTS = 10
"""Features."""

POPULATION = 400
"""Examples of the population."""

Gradient = Callable[[np.ndarray], np.ndarray]


def paired_runs(
    examples: np.ndarray,
    others: np.ndarray,
    places: np.ndarray,
    order: np.ndarray,
    step: float,
    slope: Gradient,
) -> np.ndarray:
    """Descend once on all examples, and once for each replacement, in the same order.

    Args:
        examples: Signed inputs y_i x_i, (m, n).
        others: What comes instead, (r, n).
        places: What goes, (r,), one run each.
        order: Examples of the updates, (updates,).
        step: Step size.
        slope: Loss's derivative with respect to the margin w·z, by margins.

    Returns:
        Last weights, (r + 1, n): those of the unchanged examples last.
    """
    runs = np.arange(len(places))
    weights = np.zeros((len(places) + 1, examples.shape[1]))
    by_place: dict[int, np.ndarray] = {int(p): runs[places == p] for p in set(places.tolist())}
    for place in order.tolist():
        z = np.broadcast_to(examples[place], weights.shape)
        if place in by_place:
            z = z.copy()
            z[by_place[place]] = others[by_place[place]]
        margins = np.einsum("rn,rn->r", weights, z)
        weights = weights - step * slope(margins)[:, None] * z
    return weights


def logistic_slope(margins: np.ndarray) -> np.ndarray:
    """Return the derivative of log(1 + exp(−margin))."""
    return np.asarray(-1 / (1 + np.exp(margins)))


def linear_slope(margins: np.ndarray) -> np.ndarray:
    """Return the derivative of −margin."""
    return np.full(margins.shape, -1.0)


@dataclass(frozen=True)
class PairedDescent(Drawn):
    """How far apart pairs of runs end, and by how much losses differ.

    Attributes:
        sizes: m.
        updates: Of a run.
        step: Step size.
        replaced: Examples replaced, a run each.
    """

    sizes: tuple[int, ...]
    updates: int
    step: float
    replaced: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        along = ("descent_loss", "descent_size")
        return {
            "sgd_apart": Variable(
                along,
                "1",
                "distance of both weights, mean over replacements by an opposite example",
            ),
            "sgd_change": Variable(along, "1", "largest change of any loss"),
            "sgd_bound": Variable(along, "1", "2ρ²Σ η/m, ρ = 1"),
            "sgd_gap": Variable(along, "1", "test less training loss"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Losses and sizes."""
        return {"descent_loss": LOSSES, "descent_size": self.sizes}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Run all pairs of one seed."""
        rng = generator(seed, 3)
        whole = population(rng, POPULATION, INPUTS)
        signed = whole.inputs * whole.signs[:, None]
        found = np.zeros((4, len(LOSSES), len(self.sizes)))
        for column, m in enumerate(self.sizes):
            z = signed[rng.integers(0, POPULATION, m)]
            epochs = -(-self.updates // m)
            order = np.concatenate([rng.permutation(m) for _ in range(epochs)])[: self.updates]
            places = rng.permutation(m)[: self.replaced]
            for row, name in enumerate(LOSSES):
                slope = logistic_slope if name == "logistic" else linear_slope
                weights = paired_runs(z, -z[places], places, order, self.step, slope)
                apart = np.linalg.norm(weights[:-1] - weights[-1], axis=1)
                smooth = SMOOTHNESS if name == "logistic" else 0.0
                bound = theory.sgd_stability(np.full(self.updates, self.step), m, 1.0, smooth)
                # The linear loss changes most in the direction in which weights differ.
                change = apart.max() if name == "linear" else self._change(weights, signed)
                loss = log_loss if name == "logistic" else np.negative
                gap = np.mean(loss(signed @ weights[-1])) - np.mean(loss(z @ weights[-1]))
                found[:, row, column] = apart.mean(), change, bound, gap
        names = ("apart", "change", "bound", "gap")
        return {f"sgd_{name}": found[place] for place, name in enumerate(names)}

    def _change(self, weights: np.ndarray, signed: np.ndarray) -> float:
        f, g = signed @ weights[-1], weights[:-1] @ signed.T
        return float(
            max(np.abs(log_loss(s * g) - log_loss(s * f)[None]).max() for s in (1.0, -1.0))
        )
