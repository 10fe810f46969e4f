"""The chapter's worked examples 1 and 2: 100 examples, 500 parameters, and what-ifs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.errors import UserError
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.minimum_norm.designs import (
    Descending,
    distance,
    generator,
    linear_model,
    nearest,
)
from implicit_bias.studies.threads import one_thread
from implicit_bias.training.experiment import Variable

SOLUTIONS: dict[str, str] = {
    "X⁺y": "by the Gram matrix",
    "descent": "gradient descent from zero, the stated updates",
    "descent from e₁": "the same from the first unit vector",
    "step size 10⁻⁶": "the same with that step size and as many updates",
    "ridge 0.001": "ridge regression of example 2",
    "ridge 0.1": "ridge regression of example 1, penalty 2λ beside the sum of squares",
    "conjugate gradients": "on the normal equations, from zero",
    "noise 1": "X⁺y of labels with noise of 1",
    "truth": "the weights that made the labels",
    "nothing": "the prediction 0",
}
"""Weights that are compared."""

CONVERGED = 1e-6
"""Relative distance at which updates are counted."""

LARGE_STEP = 0.1
"""The source's step size that is too large."""


def worked_problem(
    seed: int, m: int, n: int, noise: float, draw: int = 0
) -> tuple[np.ndarray, ...]:
    """Draw inputs, noiseless labels, noise of deviation 1, labels and truth."""
    rng = generator(seed, draw)
    x, clean, theta = linear_model(rng, m, n, 0.0)
    unit = rng.standard_normal(m)
    return x, clean, unit, clean + noise * unit, theta


def check_stated_step(seeds: int, draws: int, m: int, n: int, step_size: float, key: str) -> None:
    """Refuse a step size with which descent diverges on a seed's designs.

    Raises:
        UserError: It is too large; the limit is named.
    """
    with one_thread():
        designs = (
            worked_problem(seed, m, n, 0.0, draw)[0]
            for seed in range(seeds)
            for draw in range(draws)
        )
        limits = [2 / float(np.linalg.eigvalsh(x @ x.T)[-1]) for x in designs]
    least = int(np.argmin(limits))
    if step_size >= limits[least]:
        raise UserError(
            f"{key} is {step_size:g}, but gradient descent on a design of seed {least // draws} (of 0 "
            f"to {seeds - 1}) converges only below 2/λmax(XᵀX), which is {limits[least]:.4g}; choose a "
            "smaller one"
        )


@dataclass(frozen=True)
class Worked(Drawn):
    """Solutions of the worked examples, their norms and errors.

    Attributes:
        examples: m.
        inputs: n.
        noise: Standard deviation of the labels' noise; θ is standard normal.
        step_size: As stated.
        updates: As stated.
        draws: Data sets of a seed, of which means are kept.
        perturbations: ε of X + εE with E Gaussian.
    """

    examples: int
    inputs: int
    noise: float
    step_size: float
    updates: int
    draws: int
    perturbations: tuple[float, ...]

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("worked_solution",)
        return {
            "worked_norm": Variable(dims, "1", "norm of the weights"),
            "worked_test": Variable(dims, "label²", "expected squared error on new noisy labels"),
            "worked_training": Variable(dims, "label²", "‖Xw − y‖²/(2m)"),
            "worked_distance": Variable(dims, "1", "‖w − X⁺y‖/‖X⁺y‖, the labels' own"),
            "worked_start": Variable((), "1", "distance of descent from e₁ to the solution nearest "
                "to e₁, relative"),
            "worked_limit": Variable((), "1", "2/λmax(XᵀX)"),
            "worked_growth": Variable((), "1", f"factor of the distance in one update of step size "
                f"{LARGE_STEP:g}"),
            "worked_halved": Variable((), "1", f"updates to {CONVERGED:g} with half the step size "
                f"over those with it"),
            "worked_slow": Variable((), "updates", f"updates to {CONVERGED:g} with a step size of 10⁻⁶"),
            "orthonormal_error": Variable((), "1", "‖Xᵀy − X⁺y‖/‖X⁺y‖ for orthonormal rows"),
            "gram_error": Variable((), "1", "error of Xᵀ(XXᵀ)⁻¹y at condition number 10¹⁰, relative"),
            "perturbed": Variable(("perturbation",), "1", "‖(X + εE)⁺y − X⁺y‖/‖X⁺y‖"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Solutions and perturbations."""
        return {"worked_solution": tuple(SOLUTIONS), "perturbation": self.perturbations}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Work through one seed's data."""
        parts = [self._measured(seed, draw) for draw in range(self.draws)]
        return {name: np.mean([part[name] for part in parts], axis=0) for name in parts[0]}

    def _measured(self, seed: int, draw: int) -> dict[str, Any]:
        m, n = self.examples, self.inputs
        x, clean, unit, y, theta = worked_problem(seed, m, n, self.noise, draw)
        gram = x @ x.T
        goal = x.T @ np.linalg.solve(gram, y)
        design = theory.modes(x)
        corner = np.zeros(n)
        corner[0] = 1
        runs = Descending(x, y, np.stack([np.zeros(n), corner]), self.step_size)
        settled = _updates(design, y, self.step_size, CONVERGED * 1e-9)
        # Beyond that iterates stay where they are to rounding.
        runs.go(min(self.updates, settled))
        found = {
            "X⁺y": goal,
            "descent": runs.weights[0],
            "descent from e₁": runs.weights[1],
            "step size 10⁻⁶": theory.descent(design, y, self.updates, 1e-6),
            "ridge 0.001": x.T @ np.linalg.solve(gram + 0.001 * np.eye(m), y),
            "ridge 0.1": x.T @ np.linalg.solve(gram + 0.2 * np.eye(m), y),
            "conjugate gradients": _conjugate(x, y),
            "noise 1": x.T @ np.linalg.solve(gram, clean + unit),
            "truth": theta,
            "nothing": np.zeros(n),
        }
        weights = np.stack([found[name] for name in SOLUTIONS])
        variance = np.array([1.0 if name == "noise 1" else self.noise**2 for name in SOLUTIONS])
        labels = np.stack([clean + unit if name == "noise 1" else y for name in SOLUTIONS])
        whole = _updates(design, y, self.step_size, CONVERGED)
        return {
            "worked_norm": np.linalg.norm(weights, axis=1),
            "worked_test": np.sum((weights - theta) ** 2, axis=1) + variance,
            "worked_training": np.sum((weights @ x.T - labels) ** 2, axis=1) / (2 * m),
            "worked_distance": distance(weights, goal),
            "worked_start": distance(runs.weights[1], nearest(x, y, corner[None])[0]),
            "worked_limit": theory.step_limit(design),
            "worked_growth": theory.contraction(design, LARGE_STEP),
            "worked_halved": _updates(design, y, self.step_size / 2, CONVERGED) / whole,
            "worked_slow": float(_updates(design, y, 1e-6, CONVERGED)),
            **self._what_ifs(np.random.default_rng([seed, draw, 1]), x, y, goal),
        }

    def _what_ifs(
        self, rng: np.random.Generator, x: np.ndarray, y: np.ndarray, goal: np.ndarray
    ) -> dict[str, Any]:
        left, _, right = np.linalg.svd(x, full_matrices=False)
        steep = (left * np.geomspace(1, 1e-10, self.examples)) @ right
        parts = rng.standard_normal(self.examples)
        known = right.T @ parts
        labels = left @ (np.geomspace(1, 1e-10, self.examples) * parts)
        rows = left @ right
        shaken = [x + epsilon * rng.standard_normal(x.shape) for epsilon in self.perturbations]
        return {
            "orthonormal_error": distance(rows.T @ y, np.linalg.pinv(rows) @ y),
            "gram_error": distance(steep.T @ np.linalg.lstsq(steep @ steep.T, labels, rcond=0)[0], known),
            "perturbed": np.array([distance(z.T @ np.linalg.solve(z @ z.T, y), goal) for z in shaken]),
        }  # fmt: skip


def _updates(design: theory.Modes, y: np.ndarray, step_size: float, accuracy: float) -> int:
    """Return after how many updates descent from zero is as near to its limit as this, relative."""
    size = np.linalg.norm(theory.minimum_norm(design, y))
    parts = design.left.T @ y / design.values
    low, high = 0, 1

    def away(count: int) -> float:
        left = theory.mode_factors(design.curvatures, count, step_size)
        return float(np.linalg.norm(left * parts) / size)

    while away(high) > accuracy:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if away(middle) > accuracy else (low, middle)
    return high


def _conjugate(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the end of conjugate gradients on the normal equations from zero."""
    w, residual = np.zeros(x.shape[1]), y.copy()
    slope = x.T @ residual
    direction, size = slope, float(slope @ slope)
    first = size
    for _ in range(2 * len(y)):
        if size <= 1e-30 * first:
            break
        image = x @ direction
        step = size / float(image @ image)
        w, residual = w + step * direction, residual - step * image
        slope = x.T @ residual
        size, before = float(slope @ slope), size
        direction = slope + size / before * direction
    return w
