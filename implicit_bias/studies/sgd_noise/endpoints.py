"""Where SGD is on average when it is stopped, and the ridge penalty that would put it there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.sgd_noise.draws import generator
from implicit_bias.training.experiment import Variable


class Ending(NamedTuple):
    """A way of training, relative to the base.

    Attributes:
        noise: σ², variance of the noise in each coordinate of the gradient.
        step: Step size over the base's.
        time: Updates over the base's.
        batch: Mini-batches of that size, drawn with replacement, instead of added noise.
    """

    noise: float = 1.0
    step: float = 1.0
    time: float = 1.0
    batch: int | None = None


ENDINGS: dict[str, Ending] = {
    "σ² = 0": Ending(0.0),
    "σ² = 1/4": Ending(0.25),
    "σ² = 1": Ending(),
    "σ² = 4": Ending(4.0),
    "T/2": Ending(time=0.5),
    "2T": Ending(time=2.0),
    "α/2": Ending(step=0.5),
    "2α": Ending(step=2.0),
    "batches of 1": Ending(batch=1),
    "batches of 4": Ending(batch=4),
}
"""What is trained."""

FRACTION = 0.2
"""αλmax of the base."""

FORMULAS: dict[str, str] = {
    "definition": "ασ²/(2T)",
    "its example": "σ²/(2T)",
    "noise-induced": "σ²/(2α)",
    "B.15": "σ²/(αT)",
    "appendix, ε": "σ²/(BαT)",
    "appendix, λ": "σ²/(Bα)",
    "early stopping": "1/(αT)",
}
"""Strengths that the sources give, and the one of early stopping; of ½λ‖θ − θ₀‖² beside the loss."""


def formula_values(noise: float, step: float, updates: int, batch: int) -> dict[str, float]:
    """Return every formula's strength; ``noise`` is σ² of the batch's gradient."""
    return {
        "definition": step * noise / (2 * updates),
        "its example": noise / (2 * updates),
        "noise-induced": noise / (2 * step),
        "B.15": noise / (step * updates),
        "appendix, ε": noise / (batch * step * updates),
        "appendix, λ": noise / (batch * step),
        "early stopping": 1 / (step * updates),
    }


def fitted_penalty(curvatures: np.ndarray, way: np.ndarray, moved: np.ndarray) -> float:
    """Return λ whose ridge solution is nearest to an end.

    Args:
        curvatures: λ_i of the loss, positive, (n,).
        way: θ* − θ₀ in eigenvectors, (n,).
        moved: End less θ₀ there, (n,).

    Returns:
        λ of ½λ‖θ − θ₀‖², between 1e-6 and 1e6 times the mean curvature.
    """
    from scipy.optimize import minimize_scalar

    scale = float(curvatures.mean())

    def distance(log: float) -> float:
        kept = curvatures / (curvatures + scale * np.exp(log))
        return float(np.sum((kept * way - moved) ** 2))

    grid = np.linspace(np.log(1e-6), np.log(1e6), 200)
    best = grid[int(np.argmin([distance(log) for log in grid]))]
    found = minimize_scalar(distance, bounds=(best - 0.2, best + 0.2), method="bounded")
    return float(scale * np.exp(found.x))


@dataclass(frozen=True)
class Endpoints(Drawn):
    """Mean ends of SGD on least squares, from zero.

    Attributes:
        examples: m.
        inputs: Features, fewer.
        updates: T of the base.
        runs: Runs whose mean is taken.
    """

    examples: int
    inputs: int
    updates: int
    runs: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        ending = ("ending",)
        return {
            "end_penalty": Variable(ending, "1", "λ whose ridge solution is nearest to the mean end"),
            "end_penalty_descent": Variable(ending, "1", "the same for gradient descent's end"),
            "end_apart": Variable(ending, "1", "distance of the mean end from gradient descent's, relative"),
            "end_error": Variable(ending, "1", "standard error of that distance's Monte Carlo part"),
            "end_stated": Variable(ending, "1", "distance of the mean end from ridge with λ = σ²/(αT), "
            "relative"),
            "end_stopped": Variable(ending, "1", "the same with λ = 1/(αT)"),
            "end_square": Variable(ending, "1", "mean ‖end‖² over that of gradient descent"),
            "end_noise": Variable(ending, "1", "σ², a coordinate's, at the start"),
            "end_updates": Variable(ending, "updates", "T"),
            "end_step": Variable(ending, "1", "α"),
            "end_formula": Variable(("ending", "formula"), "1", "λ by the sources' formulas"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Ways of training and formulas."""
        return {"ending": tuple(ENDINGS), "formula": tuple(FORMULAS)}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Draw a data set and train on it in all ways."""
        rng = generator(seed, 2)
        x = rng.standard_normal((self.examples, self.inputs))
        y = x @ rng.standard_normal(self.inputs) + rng.standard_normal(self.examples)
        rows = [self._end(one, x, y, rng) for one in ENDINGS.values()]
        return {name: np.asarray([row[name] for row in rows]) for name in self.variables}

    def _end(
        self, ending: Ending, x: np.ndarray, y: np.ndarray, rng: np.random.Generator
    ) -> dict[str, Any]:
        m = len(y)
        curvatures, basis = np.linalg.eigh(x.T @ x / m)
        z = x @ basis
        best = z.T @ y / m / curvatures
        step = ending.step * FRACTION / curvatures[-1]
        updates = max(1, round(ending.time * self.updates))
        w = np.zeros((self.runs, len(best)))
        for _ in range(updates):
            if ending.batch is None:
                noise = np.sqrt(ending.noise) * rng.standard_normal(w.shape)
                w = w - step * ((w - best) * curvatures + noise)
            else:
                rows = rng.integers(m, size=(self.runs, ending.batch))
                left = np.einsum("rbn,rn->rb", z[rows], w) - y[rows]
                w = w - step * np.einsum("rbn,rb->rn", z[rows], left) / ending.batch
        mean, descent = w.mean(axis=0), best * (1 - (1 - step * curvatures) ** updates)
        size = np.linalg.norm(descent)
        level, batch = ending.noise, ending.batch or 1
        if ending.batch is not None:
            level = float(
                np.trace(theory.batch_covariance(-z * y[:, None], batch, True)) / len(best)
            )
        return {
            "end_penalty": fitted_penalty(curvatures, best, mean),
            "end_penalty_descent": fitted_penalty(curvatures, best, descent),
            "end_apart": np.linalg.norm(mean - descent) / size,
            "end_error": np.sqrt(w.var(axis=0).sum() / self.runs) / size,
            "end_stated": _ridge_distance(curvatures, best, mean, level / (step * updates)),
            "end_stopped": _ridge_distance(curvatures, best, mean, 1 / (step * updates)),
            "end_square": float(np.mean(np.sum(w**2, axis=1))) / size**2,
            "end_noise": level,
            "end_updates": float(updates),
            "end_step": step,
            "end_formula": np.asarray(list(formula_values(level, step, updates, batch).values())),
        }


def _ridge_distance(
    curvatures: np.ndarray, best: np.ndarray, mean: np.ndarray, penalty: float
) -> float:
    """Return the distance of an end from a ridge solution about zero, relative to the end."""
    ridge = curvatures / (curvatures + penalty) * best
    return float(np.linalg.norm(ridge - mean) / np.linalg.norm(mean))
