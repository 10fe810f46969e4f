"""Ridge and logistic regression with a penalty: how far one example moves weights, losses and the gap.

Both minimise ``(1/m) Σ ℓ(w·x_i, y_i) + (λ/2)‖w‖²`` on inputs of length one, with ½ squares and labels in
[−1, 1], or the logistic loss and signs. What remains after a removal is divided by m as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.stability.designs import (
    Population,
    clipped_loss,
    generator,
    log_loss,
    population,
)
from implicit_bias.training.experiment import Variable

TRIED = 6
"""Examples replaced or removed of each training set, where not all are."""

COMING = 6
"""Examples of the population that come instead of each, beside both extreme labels at its own input."""

NEWTON = 30
"""Steps of Newton's method at most; logistic regression with a penalty needs about six."""


def exact_errors(
    rng: np.random.Generator, whole: Population, examples: int, penalty: float
) -> float:
    """Return the largest difference of exact updates from refits: ridge, kernel ridge, out and replaced.

    Args:
        rng: Generator.
        whole: Population.
        examples: m.
        penalty: α beside the sum of squares.
    """
    places = rng.permutation(len(whole.labels))[:examples]
    x, y = whole.inputs[places], whole.labels[places]
    new, label = np.asarray(rng.standard_normal(x.shape[1])), 0.3
    new /= np.linalg.norm(new)

    def refit(inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        gram = inputs.T @ inputs + penalty * np.eye(inputs.shape[1])
        return np.asarray(np.linalg.solve(gram, inputs.T @ labels))

    def kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(first @ second.T - 1))

    def again(inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        gram = kernel(inputs, inputs) + penalty * np.eye(len(inputs))
        return np.asarray(np.linalg.solve(gram, labels))

    linear = theory.ridge_fit(x, y, penalty)
    curved = theory.kernel_fit(kernel(x, x), y, penalty)
    weights, dual = (
        theory.left_out_weights(linear)[..., 0],
        theory.left_out_coefficients(curved)[..., 0],
    )
    errors = []
    for place in range(examples):
        rest = np.delete(np.arange(examples), place)
        errors.append(weights[place] - refit(x[rest], y[rest]))
        errors.append(dual[place][rest] - again(x[rest], y[rest]))
        changed, labels = x.copy(), y.copy()
        changed[place], labels[place] = new, label
        one = theory.replaced_weights(linear, place, new[None], [label])[0, :, 0]
        errors.append(one - refit(changed, labels))
        row = kernel(new[None], x)[0]
        two = theory.replaced_coefficients(curved, place, row, 1.0, label)[:, 0]
        errors.append(two - again(changed, labels))
    return float(max(np.abs(error).max() for error in errors))


def worst_removal(examples: int, penalty: float) -> float:
    """Return how far weights move where the example removed is alone in its direction, with label one."""
    x = np.zeros((examples, 2))
    x[0, 0], x[1:, 1] = 1.0, 1.0
    y = np.zeros(examples)
    y[0] = 1.0
    fit = theory.ridge_fit(x, y, examples * penalty)
    return float(np.linalg.norm(fit.weights - theory.left_out_weights(fit)[0]))


@dataclass(frozen=True)
class _Regularised(Drawn):
    """What both regressions have in common.

    Attributes:
        inputs: Features.
        population: Examples of the population.
        sizes: m.
        penalties: λ.
        draws: Training sets of a seed.
    """

    inputs: int
    population: int
    sizes: tuple[int, ...]
    penalties: tuple[float, ...]
    draws: int

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Sizes and penalties."""
        return {"size": self.sizes, "penalty": self.penalties}


@dataclass(frozen=True)
class Ridge(_Regularised):
    """Ridge regression, every change exact."""

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        along = ("size", "penalty")
        return {
            "ridge_gap": Variable(along, "1", "test less training loss, less that of fixed weights; mean"),
            "ridge_average": Variable(
                along, "1", "loss at an example when it is replaced, less with it; mean"
            ),
            "ridge_change": Variable(along, "1", "largest change of any loss by any replacement tried"),
            "ridge_moved": Variable(along, "1", "‖w − w without one‖, mean over examples"),
            "ridge_most": Variable(along, "1", "‖w − w without one‖, largest"),
            "ridge_worst": Variable(along, "1", "‖w − w without one‖, alone in its direction"),
            "ridge_bound": Variable(along, "1", "the most that any removal can move weights"),
            "ridge_exact": Variable((), "1", "largest difference of exact updates from refits"),
        }  # fmt: skip

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Measure one seed's population."""
        rng = generator(seed, 1)
        whole = population(rng, self.population, self.inputs)
        cells = [[self._cell(rng, whole, m, lam) for lam in self.penalties] for m in self.sizes]
        names = ("gap", "average", "change", "moved", "most")
        made: dict[str, Any] = {
            f"ridge_{name}": np.asarray([[cell[place] for cell in row] for row in cells])
            for place, name in enumerate(names)
        }
        grid = np.meshgrid(self.penalties, self.sizes)
        return made | {
            "ridge_worst": [[worst_removal(m, lam) for lam in self.penalties] for m in self.sizes],
            "ridge_bound": theory.ridge_movement(*grid) / 2,
            "ridge_exact": max(exact_errors(rng, whole, 20, alpha) for alpha in (0.01, 1.0)),
        }

    def _cell(
        self, rng: np.random.Generator, whole: Population, m: int, penalty: float
    ) -> tuple[float, ...]:
        gaps, averages, changes, moved, most = [], [], [], [], []
        # The gap of weights that do not depend on the draw has mean zero: less of it, same mean, less noise.
        gram = whole.inputs.T @ whole.inputs + self.population * penalty * np.eye(self.inputs)
        fixed = np.linalg.solve(gram, whole.inputs.T @ whole.labels)
        always = clipped_loss(whole.inputs @ fixed, whole.labels)
        for _ in range(self.draws):
            places = rng.integers(0, self.population, m)
            x, y = whole.inputs[places], whole.labels[places]
            fit = theory.ridge_fit(x, y, m * penalty)
            before = clipped_loss(whole.inputs @ fit.weights[:, 0], whole.labels)
            train = clipped_loss(x @ fit.weights[:, 0], y)
            gaps.append(before.mean() - train.mean() - (always.mean() - always[places].mean()))
            steps = np.linalg.norm(theory.left_out_weights(fit)[..., 0] - fit.weights[:, 0], axis=1)
            moved.append(steps.mean())
            most.append(steps.max())
            for place in rng.permutation(m)[:TRIED]:
                coming = rng.integers(0, self.population, COMING)
                others = np.concatenate([whole.inputs[coming], x[[place, place]]])
                labels = np.concatenate([whole.labels[coming], [1.0, -1.0]])
                after = theory.replaced_weights(fit, int(place), others, labels)[..., 0]
                own = clipped_loss(after @ x[place], y[place]) - train[place]
                averages.append(own[:COMING].mean())
                # Losses at any label of the population's inputs: the change is largest at ±1.
                f, g = whole.inputs @ fit.weights[:, 0], after @ whole.inputs.T
                for side in (1.0, -1.0):
                    sides = np.full(self.population, side)
                    moved_by = clipped_loss(g, sides[None]) - clipped_loss(f, sides)[None]
                    changes.append(np.abs(moved_by).max())
        means = (float(np.mean(gaps)), float(np.mean(averages)), float(np.max(changes)))
        return (*means, float(np.mean(moved)), float(np.max(most)))


def logistic_weights(
    x: np.ndarray, signs: np.ndarray, shares: np.ndarray, penalty: float
) -> np.ndarray:
    """Minimise several sums of logistic losses with a penalty, by Newton's method.

    Args:
        x: Inputs, (m, n).
        signs: −1 or 1, (m,).
        shares: Weight of each loss in each sum, (r, m).
        penalty: λ.

    Returns:
        Shape (r, n).
    """
    z = x * signs[:, None]
    weights = np.zeros((len(shares), x.shape[1]))
    for _ in range(NEWTON):
        q = 1 / (1 + np.exp(weights @ z.T))
        slope = penalty * weights - (shares * q) @ z
        curved = np.einsum("rm,mi,mj->rij", shares * q * (1 - q), z, z, optimize=True)
        curved = curved + penalty * np.eye(x.shape[1])
        step = np.linalg.solve(curved, slope[:, :, None])[:, :, 0]
        weights = weights - step
        if np.abs(step).max() < 1e-12:
            break
    return weights


@dataclass(frozen=True)
class Logistic(_Regularised):
    """Logistic regression, refitted without some examples."""

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        along = ("size", "penalty")
        return {
            "logistic_moved": Variable(along, "1", "‖w − w without one‖, mean over examples tried"),
            "logistic_most": Variable(along, "1", "‖w − w without one‖, largest"),
            "logistic_change": Variable(along, "1", "largest change of any loss by any removal tried"),
            "logistic_worst": Variable(along, "1", "‖w − w without one‖, alone in its direction"),
            "logistic_bound": Variable(along, "1", "ρ/(λm), ρ = 1: the most that a removal moves weights"),
        }  # fmt: skip

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Measure one seed's population."""
        rng = generator(seed, 2)
        whole = population(rng, self.population, self.inputs)
        cells = [[self._cell(rng, whole, m, lam) for lam in self.penalties] for m in self.sizes]
        names = ("moved", "most", "change", "worst")
        made: dict[str, Any] = {
            f"logistic_{name}": np.asarray([[cell[place] for cell in row] for row in cells])
            for place, name in enumerate(names)
        }
        penalties, sizes = np.meshgrid(self.penalties, self.sizes)
        return made | {"logistic_bound": theory.regularised_stability(1.0, penalties, sizes)}

    def _cell(
        self, rng: np.random.Generator, whole: Population, m: int, penalty: float
    ) -> tuple[float, ...]:
        places = rng.integers(0, self.population, m)
        x, signs = whole.inputs[places], whole.signs[places]
        steps, change = self._without(x, signs, rng.permutation(m)[:TRIED], penalty, whole)
        alone = np.zeros((m, 2))
        alone[0, 0], alone[1:, 1] = 1.0, 1.0
        sides = np.where(np.arange(m) % 2 == 0, 1.0, -1.0)
        worst, _ = self._without(alone, sides, np.asarray([0]), penalty, None)
        return float(steps.mean()), float(steps.max()), change, float(worst[0])

    def _without(
        self,
        x: np.ndarray,
        signs: np.ndarray,
        gone: np.ndarray,
        penalty: float,
        whole: Population | None,
    ) -> tuple[np.ndarray, float]:
        """Return how far weights move without each, and the largest change of a loss."""
        shares = np.full((len(gone) + 1, len(x)), 1 / len(x))
        shares[np.arange(len(gone)), gone] = 0.0
        weights = logistic_weights(x, signs, shares, penalty)
        steps = np.linalg.norm(weights[:-1] - weights[-1], axis=1)
        if whole is None:
            return steps, 0.0
        f, g = whole.inputs @ weights[-1], weights[:-1] @ whole.inputs.T
        sides = [np.abs(log_loss(s * g) - log_loss(s * f)[None]).max() for s in (1.0, -1.0)]
        return steps, float(max(sides))
