"""The rise of a loss around a true minimum, in float64: its quadratic part and what is left over.

Three losses with derivatives in closed form: a strict minimum of moderate condition number, one of a large
one, and a minimum with fewer examples than parameters, whose Hessian is singular and whose loss is zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

PROBLEMS = ("strict, moderate κ", "strict, large κ", "singular")
RADII = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


class Smooth(Protocol):
    """A loss with its derivatives, for parameters of shape (d,)."""

    def loss(self, w: np.ndarray) -> float:
        """Return the loss."""
        ...

    def gradient(self, w: np.ndarray) -> np.ndarray:
        """Return the gradient, shape (d,)."""
        ...

    def hessian(self, w: np.ndarray) -> np.ndarray:
        """Return the Hessian, shape (d, d)."""
        ...


@dataclass(frozen=True, eq=False)
class Logistic:
    """mean log(1 + exp(−z·w)) + μ ‖w‖² / 2, with rows z = ±x of shape (n, d)."""

    z: np.ndarray
    mu: float

    def loss(self, w: np.ndarray) -> float:
        """Return the loss."""
        return float(np.mean(np.logaddexp(0, -self.z @ w)) + self.mu * (w @ w) / 2)

    def gradient(self, w: np.ndarray) -> np.ndarray:
        """Return the gradient."""
        away = 1 / (1 + np.exp(self.z @ w))
        found: np.ndarray = -self.z.T @ away / len(self.z) + self.mu * w
        return found

    def hessian(self, w: np.ndarray) -> np.ndarray:
        """Return the Hessian."""
        away = 1 / (1 + np.exp(self.z @ w))
        weight = away * (1 - away) / len(self.z)
        found: np.ndarray = (self.z.T * weight) @ self.z + self.mu * np.eye(w.size)
        return found


@dataclass(frozen=True, eq=False)
class Neuron:
    """½ mean (tanh(x·w) − y)², x of shape (n, d)."""

    x: np.ndarray
    y: np.ndarray

    def loss(self, w: np.ndarray) -> float:
        """Return the loss."""
        return float(0.5 * np.mean((np.tanh(self.x @ w) - self.y) ** 2))

    def gradient(self, w: np.ndarray) -> np.ndarray:
        """Return the gradient."""
        out = np.tanh(self.x @ w)
        found: np.ndarray = self.x.T @ ((out - self.y) * (1 - out**2)) / len(self.y)
        return found

    def hessian(self, w: np.ndarray) -> np.ndarray:
        """Return the Hessian."""
        out = np.tanh(self.x @ w)
        slope = 1 - out**2
        weight = (slope**2 - 2 * (out - self.y) * out * slope) / len(self.y)
        found: np.ndarray = (self.x.T * weight) @ self.x
        return found


def make_problem(name: str, seed: int) -> Smooth:
    """Draw a problem of :data:`PROBLEMS`."""
    rng = np.random.default_rng([seed, PROBLEMS.index(name)])
    if name == "singular":
        x = rng.normal(size=(3, 8))
        return Neuron(x, np.tanh(rng.normal(size=3) * 0.8))
    x = rng.normal(size=(60, 5))
    x[:, 0] *= 3.0  # one direction leads, so that the search for the worst case is quick
    if name == "strict, large κ":
        x[:, -1] *= 0.03
    sign = np.sign(x @ rng.normal(size=5) + rng.normal(size=60))
    return Logistic(sign[:, None] * x, 1e-2 if name == "strict, moderate κ" else 1e-4)


def solve(problem: Smooth, d: int, tolerance: float = 1e-12) -> np.ndarray:
    """Find a minimum by Newton's method, with the pseudo-inverse and halved steps.

    Raises:
        ArithmeticError: The gradient is not below 1e-9 after 200 steps.
    """
    w = np.zeros(d)
    for _ in range(200):
        slope = problem.gradient(w)
        if np.linalg.norm(slope) < tolerance:
            break
        # Where the Hessian is not positive, its absolute value still leads downwards.
        values, vectors = np.linalg.eigh(problem.hessian(w))
        size = np.abs(values)
        inverse = np.where(size > 1e-10 * size.max(), 1 / np.maximum(size, 1e-300), 0.0)
        step = vectors @ (inverse * (vectors.T @ slope))
        length = 1.0
        while problem.loss(w - length * step) > problem.loss(w) and length > 1e-8:
            length /= 2
        w = w - length * step
    if not np.linalg.norm(problem.gradient(w)) < 1e-9:
        raise ArithmeticError("Newton's method did not find a critical point")
    return w


def worst_rise(problem: Smooth, w: np.ndarray, radius: float, steps: int = 500) -> float:
    """Return max of loss(w + δ) − loss(w) over ‖δ‖ ≤ radius, for a radius that is small.

    The maximum lies on the sphere, where δ is along the gradient: iterating that from both signs of the top
    eigenvector is a power iteration.
    """
    centre = problem.loss(w)
    top = np.linalg.eigh(problem.hessian(w))[1][:, -1]
    best = 0.0
    for sign in (1.0, -1.0):
        change = sign * radius * top
        for _ in range(steps):
            slope = problem.gradient(w + change)
            change = radius * slope / np.linalg.norm(slope)
        best = max(best, problem.loss(w + change) - centre)
    return best


def slope_of(values: np.ndarray) -> float:
    """Return the slope of log values against log :data:`RADII`."""
    return float(np.polyfit(np.log(RADII), np.log(np.abs(values)), 1)[0])


@dataclass(frozen=True)
class Minimum(Experiment):
    """Quadratic model and worst case around true minima.

    Attributes:
        directions: Random directions along which the quadratic model is compared.
    """

    directions: int = 32

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "minimum_gradient": Variable(("problem",), "1", "gradient norm"),
            "minimum_loss": Variable(("problem",), "1", "loss at the minimum"),
            "minimum_lambda_max": Variable(("problem",), "1", "largest Hessian eigenvalue"),
            "minimum_condition": Variable(("problem",), "1", "λmax / λmin; infinite if singular"),
            "minimum_rise": Variable(("problem", "rho"), "1", "S(ρ)"),
            "minimum_ratio": Variable(("problem", "rho"), "1", "S(ρ) / (½ λmax ρ²)"),
            "minimum_slope": Variable(("problem",), "1", "log-log slope of S"),
            "minimum_rest_slope": Variable(("problem",), "1", "log-log slope of |S − ½ λmax ρ²|"),
            "model_error": Variable(
                ("problem", "rho"), "1", "largest error of the quadratic model over δ²"
            ),
            "model_slope": Variable(("problem",), "1", "log-log slope of that error (not over δ²)"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Problems and radii."""
        return {"problem": PROBLEMS, "rho": RADII}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Measure all problems."""
        found = [self._measure(make_problem(name, seed), seed) for name in PROBLEMS]
        return {name: np.stack([np.asarray(one[name]) for one in found]) for name in self.variables}

    def _measure(self, problem: Any, seed: int) -> dict[str, Any]:
        d = (problem.x if isinstance(problem, Neuron) else problem.z).shape[1]
        w = solve(problem, d)
        centre, hessian = problem.loss(w), problem.hessian(w)
        values = np.linalg.eigvalsh(hessian)
        radii = np.asarray(RADII)
        rise = np.array([worst_rise(problem, w, radius) for radius in RADII])
        half = 0.5 * values[-1] * radii**2
        rng = np.random.default_rng([seed, 7])
        ways = rng.normal(size=(self.directions, d))
        ways /= np.linalg.norm(ways, axis=1, keepdims=True)
        rest = np.array(
            [
                max(
                    abs(
                        problem.loss(w + radius * way)
                        - centre
                        - 0.5 * radius**2 * way @ hessian @ way
                    )
                    for way in ways
                )
                for radius in RADII
            ]
        )
        singular = values[0] < 1e-10 * values[-1]
        return {
            "minimum_gradient": np.linalg.norm(problem.gradient(w)),
            "minimum_loss": centre,
            "minimum_lambda_max": values[-1],
            "minimum_condition": np.inf if singular else values[-1] / values[0],
            "minimum_rise": rise,
            "minimum_ratio": rise / half,
            "minimum_slope": slope_of(rise),
            "minimum_rest_slope": slope_of(rise - half),
            "model_error": rest / radii**2,
            "model_slope": slope_of(rest),
        }
