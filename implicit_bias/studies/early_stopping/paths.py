"""Gradient flow against ridge regression with penalty 1/t, on designs whose paths are known exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

DESIGNS: dict[str, str] = {
    "few features": "half as many features as examples, all of one strength",
    "many features": "twice as many features as examples, all of one strength",
    "decaying": "as many features as examples, the j-th of variance 1/j",
    "random features": "twice as many random ReLU features of ten inputs as examples",
}
"""What the paths are followed on."""

STEPS = (0.1, 1.0, 1.9)
"""Step sizes of descent, in units of 1/λmax; from 2 on it diverges."""

UPDATES = (1, 2, 3, 5, 10, 30, 100, 1000)
"""After so many updates descent is held against ridge."""

ITERATED = 200
"""Updates after which the closed form is held against descent as it is programmed."""

SPAN = (1e-2, 1e6)
"""Times along a path, in units of 1/λmax."""

TRUTHS = 4
"""Truths of a design whose best points are compared."""

SPOTS = 20_000
"""Single eigenvalues at which the constants are sought, by seed."""


class Problem(NamedTuple):
    """A design in the eigenbasis of XᵀX.

    Attributes:
        x: Shape (examples, features).
        theta: The truth, with ‖Xθ‖² = examples.
        values: Eigenvalues s of XᵀX, shape (features,).
        vectors: Eigenvectors as columns.
    """

    x: np.ndarray
    theta: np.ndarray
    values: np.ndarray
    vectors: np.ndarray

    @property
    def power(self) -> np.ndarray:
        """Squares of the truth along the eigenvectors."""
        return (self.vectors.T @ self.theta) ** 2

    def least_squares(self, y: np.ndarray) -> np.ndarray:
        """Return X⁺y along the eigenvectors, shape (features, …)."""
        found = self.vectors.T @ (self.x.T @ y)
        s = self.values.reshape(-1, *(1,) * (y.ndim - 1))
        return np.where(s > 0, found / np.where(s > 0, s, 1.0), 0.0)


def draw(design: str, examples: int, rng: np.random.Generator) -> Problem:
    """Draw a design and a truth without a preferred direction.

    Args:
        design: One of :data:`DESIGNS`.
        examples: m.
        rng: Source of randomness.
    """
    features = {"few features": examples // 2, "decaying": examples}.get(design, 2 * examples)
    if design == "random features":
        inner = rng.standard_normal((10, features)) / np.sqrt(10)
        x = np.maximum(rng.standard_normal((examples, 10)) @ inner, 0)
    else:
        x = rng.standard_normal((examples, features))
    if design == "decaying":
        x /= np.sqrt(np.arange(1, features + 1))
    theta = rng.standard_normal(features)
    theta *= np.sqrt(examples) / np.linalg.norm(x @ theta)
    values, vectors = np.linalg.eigh(x.T @ x)
    # What rounding leaves of the null space would count as directions that are learnt very late.
    values = np.where(values > values[-1] * 1e-12, values, 0.0)
    return Problem(x, theta, values, vectors)


@dataclass(frozen=True)
class Paths(Drawn):
    """Both paths of one training set of each design, and their exact risks.

    The loss is ‖y − Xw‖²/2, as in the document, and the penalty λ‖w‖²/2.

    Attributes:
        examples: Training examples.
        noise: Standard deviation of the noise.
        times: Times along a path.
        draws: Noise vectors that the exact risk is held against.
    """

    examples: int
    noise: float
    times: int
    draws: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        line, dims = ("path_design", "path_time"), ("path_design",)
        return {
            "path_distance": Variable(line, "1", "‖w_t − w_λ‖/‖w_λ‖ at λ = 1/t"),
            "path_matched": Variable(line, "1", "λt for the λ whose ridge solution is nearest to w_t"),
            "path_left": Variable(line, "1", "‖w_t − X⁺y‖/‖X⁺y‖"),
            "path_flow": Variable(line, "weight²", "exact estimation risk of gradient flow"),
            "path_ridge": Variable(line, "weight²", "exact estimation risk of ridge at λ = 1/t"),
            "path_power": Variable(dims, "weight²", "‖θ‖²"),
            "path_spread": Variable(dims, "1", "λmax over the least positive eigenvalue of XᵀX"),
            "path_rank": Variable(dims, "1", "rank of XᵀX over its size"),
            "path_best_time": Variable(dims, "1", "best time, in units of 1/λmax"),
            "path_best": Variable(
                dims, "1", f"least risk of flow over that of ridge, geometric mean over {TRUTHS} truths"
            ),
            "path_averaged": Variable(
                dims, "1", "least risk of flow over that of ridge, each on average over truths"
            ),
            "path_shrinkage_ratio": Variable(dims, "1", "largest ratio of shrinkages along the path"),
            "path_risk_ratio": Variable(dims, "1", "largest ratio of risks along the path"),
            "path_step_distance": Variable(
                ("path_design", "path_step", "path_updates"), "1",
                "‖w_T − w_λ‖/‖w_λ‖ of descent at λ = 1/(ηT)",
            ),
            "path_iterated": Variable(
                dims, "1", f"closed form against {ITERATED} programmed updates, relative"
            ),
            "path_drawn": Variable(
                dims, "1", "mean squared estimation error over noise vectors, over the exact risk, less 1"
            ),
            "spot_shrinkage": Variable((), "1", "largest ratio of shrinkages over single eigenvalues"),
            "spot_risk": Variable((), "1", "largest ratio of risks over single eigenvalues"),
            "spot_tuned": Variable((), "1", "largest ratio at t = 1/λ = power/variance over eigenvalues"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Designs, times in units of 1/λmax, and steps."""
        return {
            "path_design": tuple(DESIGNS),
            "path_time": tuple(np.geomspace(*SPAN, self.times).tolist()),
            "path_step": STEPS,
            "path_updates": UPDATES,
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Follow the paths of one seed."""
        found = []
        for place, design in enumerate(DESIGNS):
            rng = role_generator(seed, "data", place)
            found.append(self._followed(draw(design, self.examples, rng), rng))
        spots = _spots(role_generator(seed, "probe"))
        return {f"path_{name}": np.stack([one[name] for one in found]) for name in found[0]} | spots

    def _followed(self, problem: Problem, rng: np.random.Generator) -> dict[str, np.ndarray]:
        s, power, variance = problem.values, problem.power, self.noise**2
        top = s.max()
        times = np.geomspace(*SPAN, self.times) / top
        noise = self.noise * rng.standard_normal((self.examples, self.draws))
        clean = problem.x @ problem.theta
        ends = problem.least_squares(clean + noise[:, 0])
        flow, ridge = theory.flow_shrinkage(s, times), theory.ridge_shrinkage(s, 1 / times)
        flow_risk = theory.path_risk(s, power, variance, flow).total
        ridge_risk = theory.path_risk(s, power, variance, ridge).total
        time = theory.best_time(s, power, variance)
        even = np.full(s.size, power.mean())
        kept = s > 0
        # One time and no draw of its own: the best one of the true risk.
        stopped = theory.flow_shrinkage(s, time.at)
        estimates = stopped[:, None] * problem.least_squares(clean[:, None] + noise)
        truth = problem.vectors.T @ problem.theta
        drawn = np.sum((estimates - truth[:, None]) ** 2, axis=0).mean()
        return {
            "distance": _distance(flow, ridge, ends),
            "matched": _matched(s, times, flow, ends),
            "left": _distance(flow, kept * 1.0, ends),
            "flow": flow_risk,
            "ridge": ridge_risk,
            "power": power.sum(),
            "spread": top / s[kept].min(),
            "rank": kept.mean(),
            "best_time": np.asarray(time.at * top),
            "best": _least_ratio(problem, variance, rng),
            "averaged": np.asarray(
                theory.best_time(s, even, variance).risk / theory.best_penalty(s, even, variance).risk
            ),
            "shrinkage_ratio": np.max(flow[:, kept] / ridge[:, kept]),
            "risk_ratio": np.max(flow_risk / ridge_risk),
            "step_distance": np.stack([_stepped(s, step / top, ends) for step in STEPS]),
            "iterated": _iterated(problem, clean + noise[:, 0], ends),
            "drawn": np.asarray(drawn / time.risk - 1),
        }  # fmt: skip


def _least_ratio(problem: Problem, variance: float, rng: np.random.Generator) -> np.ndarray:
    """Compare the paths at their own best points, over several truths without a preferred direction."""
    s, logs = problem.values, []
    for _ in range(TRUTHS):
        # A truth of isotropic law has the same law along the eigenvectors.
        theta = rng.standard_normal(s.size)
        power = theta**2 * problem.power.sum() / np.sum(theta**2)
        flow = theory.best_time(s, power, variance).risk
        logs.append(np.log(flow / theory.best_penalty(s, power, variance).risk))
    return np.asarray(np.exp(np.mean(logs)))


def _distance(first: np.ndarray, second: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return how far two shrinkages of a solution are apart, relative to the second."""
    return np.linalg.norm((first - second) * ends, axis=-1) / np.linalg.norm(second * ends, axis=-1)


def _matched(
    s: np.ndarray, times: np.ndarray, flow: np.ndarray, ends: np.ndarray
) -> np.ndarray:  # fmt: skip
    """Return λt for the penalty whose solution is nearest, by search over λt in three refinements."""
    found = np.zeros(times.size)
    for place, (time, shares) in enumerate(zip(times, flow, strict=True)):
        tried = np.geomspace(1e-12, 1e2, 57)
        for _ in range(5):
            ridge = theory.ridge_shrinkage(s, tried / time)
            at = int(np.argmin(np.sum(((ridge - shares) * ends) ** 2, axis=-1)))
            found[place] = tried[at]
            tried = np.geomspace(tried[max(at - 1, 0)], tried[min(at + 1, tried.size - 1)], 21)
    return found


def _stepped(s: np.ndarray, step: float, ends: np.ndarray) -> np.ndarray:
    """Return the distance of descent from ridge at λ = 1/(ηT), by the number of updates."""
    updates = np.array(UPDATES)
    return _distance(
        theory.descent_shrinkage(s, step, updates),
        theory.ridge_shrinkage(s, 1 / (step * updates)),
        ends,
    )


def _iterated(problem: Problem, y: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Run descent as the document programs it, and return how far the closed form is off, relative."""
    step = 1 / problem.values.max()
    w = np.zeros(problem.theta.size)
    for _ in range(ITERATED):
        w -= step * (problem.x.T @ (problem.x @ w - y))
    closed = problem.vectors @ (theory.descent_shrinkage(problem.values, step, ITERATED) * ends)
    return np.asarray(np.linalg.norm(w - closed) / np.linalg.norm(w))


def _spots(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Seek the largest ratios over single eigenvalues; the constants are suprema over these.

    Written out again, so that a wrong formula of the library shows.
    """
    x = np.exp(rng.uniform(np.log(1e-3), np.log(1e3), SPOTS))
    flow, ridge = 1 - np.exp(-x), x / (1 + x)
    # Noise alone, σ²/c = s = 1: the risk is the squared shrinkage.
    tuned = (np.exp(-2 * x) + flow**2 / x) * (1 + x)
    return {
        "spot_shrinkage": np.max(flow / ridge),
        "spot_risk": np.max((flow / ridge) ** 2),
        "spot_tuned": np.max(tuned),
    }
