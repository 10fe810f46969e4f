"""Where mirror descent goes: from several starts, in several norms, and as the start goes to zero."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.mirror_descent.descend import descend, steepness
from implicit_bias.training.experiment import Variable

STARTS: dict[str, tuple[str, float | None]] = {
    "simplex from equal weights": ("simplex", 1.0),
    "simplex from drawn weights": ("simplex", None),
    "orthant from 1/e": ("orthant", 1 / math.e),
    "orthant from 1": ("orthant", 1.0),
    "orthant from 1e-4": ("orthant", 1e-4),
    "known sum from 1": ("known sum", 1.0),
    "known sum from 1e-4": ("known sum", 1e-4),
}
"""Domain, and what all weights start from; on the simplex they are divided by their sum, and None is a
uniform draw from it. Where the sum is known, an example of ones says what it is."""

POWERS = (1.1, 1.25, 1.5, 2.0, 3.0, 4.0)
"""Exponents of p-norms."""

DESCENDED = (1.0, 1e-1, 1e-2, 1e-4, 1e-8)
"""Starts α from which the entropy is descended."""

SCALES = tuple(10.0**-k for k in (0, 1, 2, 4, 8, 16, 32, 64, 128, 256))
"""Starts α whose projection is computed."""

ASYMPTOTIC = (1e-30, 1e-60)
"""α to the least reduced cost at the two starts between which the exponent is taken: some are too small for
floating point, and are given by their logarithm."""

STEP = 0.5
"""Step size relative to the inverse of the largest curvature in the potential's metric, at the limit."""


class Problem(NamedTuple):
    """Fewer examples than weights, which a point of the simplex made.

    Attributes:
        x: Inputs, shape (m + 1, n), the last row zero: the place of the sum.
        y: Labels, shape (m + 1,).
        summed: The same inputs with ones in the last row.
        summed_y: Their labels.
        drawn: A random point of the simplex to start from, shape (n,).
    """

    x: np.ndarray
    y: np.ndarray
    summed: np.ndarray
    summed_y: np.ndarray
    drawn: np.ndarray

    def start(self, name: str) -> np.ndarray:
        """Return where a run of ``STARTS`` begins, shape (n,)."""
        domain, value = STARTS[name]
        w = self.drawn if value is None else np.full(self.x.shape[1], value)
        return w / w.sum() if domain == "simplex" else w

    def system(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs and labels of a run of ``STARTS``."""
        return (self.summed, self.summed_y) if STARTS[name][0] == "known sum" else (self.x, self.y)


def drawn_problem(seed: int, examples: int, features: int) -> Problem:
    """Draw Gaussian inputs, and labels of a uniformly drawn point of the simplex."""
    rng = role_generator(seed, "data", "mirror limits")
    x = rng.standard_normal((examples, features)) / math.sqrt(examples)
    truth, drawn = rng.dirichlet(np.ones(features), size=2)
    y = x @ truth
    zero, one = np.zeros((1, features)), np.ones((1, features))
    return Problem(
        np.concatenate([x, zero]), np.append(y, 0.0), np.concatenate([x, one]), np.append(y, 1.0), drawn
    )  # fmt: skip


@dataclass(frozen=True)
class Limits(Drawn):
    """Mirror descent on least squares that can be solved exactly, held against Bregman projections.

    Attributes:
        examples: Examples m.
        features: Weights n, more than examples.
        tolerance: ‖Xw − y‖/‖y‖ at which a run ends.
        updates: Most updates of a run.
        every: Updates between looks at that.
    """

    examples: int
    features: int
    tolerance: float
    updates: int
    every: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        start, power = ("start",), ("power",)
        relative = "of the projection's 1-norm"
        return {
            "start_residual": Variable(start, "1", "‖Xw − y‖/‖y‖ at the end"),
            "start_distance": Variable(
                start, "1", f"1-norm of end less projection of the start, {relative}"
            ),
            "start_entropy_distance": Variable(
                start, "1", f"1-norm of end less solution of largest entropy, {relative}"
            ),
            "start_entropy": Variable(start, "nat", "entropy −Σ w log w at the end"),
            "start_most": Variable(start, "nat", "largest entropy of a solution w ≥ 0"),
            "start_l1": Variable(start, "1", "‖w‖₁ at the end over the least of a solution w ≥ 0"),
            "start_dual": Variable(
                start, "1", "part of ∇ψ(w) − ∇ψ(w₀) outside the row space, of its length"
            ),
            "power_residual": Variable(power, "1", "‖Xw − y‖/‖y‖ at the end"),
            "power_distance": Variable(
                power, "1", f"1-norm of end less solution of least p-norm, {relative}"
            ),
            "power_l1": Variable(power, "1", "‖w‖₁ at the end over the least of a solution"),
            "power_linf": Variable(power, "1", "‖w‖∞ at the end over the least of a solution"),
            "scale_excess": Variable(
                ("scale",), "1", "‖w‖₁ of the projection of α over the least, less 1"
            ),
            "descended_excess": Variable(("descended",), "1", "the same of mirror descent from α"),
            "descended_distance": Variable(
                ("descended",), "1", f"1-norm of end less projection, {relative}"
            ),
            "descended_residual": Variable(("descended",), "1", "‖Xw − y‖/‖y‖ at the end"),
            "scale_exponent": Variable(
                (), "1", "exponent in α of the excess, where it is at its limit"
            ),
            "least_cost": Variable((), "1", "least reduced cost of the linear programme"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Starts, exponents, scales."""
        return {
            "start": tuple(STARTS), "power": POWERS, "scale": SCALES, "descended": DESCENDED,
        }  # fmt: skip

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Descend and project the problem of one seed."""
        problem = drawn_problem(seed, self.examples, self.features)
        return {**self._starts(problem), **self._powers(problem), **self._scales(problem)}

    def _run(self, name: str, x: Any, y: Any, start: Any, settings: Mapping[str, Any]) -> Any:
        rounds = -(-self.updates // self.every)
        return descend(
            name, x, y, start, settings, blocks=1, every=self.every, rounds=rounds,
            tolerance=self.tolerance,
        )  # fmt: skip

    def _starts(self, problem: Problem) -> dict[str, np.ndarray]:
        x, y = problem.x[:-1], problem.y[:-1]
        limits = {name: _limit(problem, name) for name in STARTS}
        uniform = theory.simplex_projection(x, y, 1.0).weights
        free = theory.bregman_projection(x, y, 1 / math.e, theory.entropy_potential()).weights
        highest = {"simplex": uniform, "orthant": free, "known sum": uniform}
        least = theory.least_l1(x, y, nonnegative=True).norm
        found: dict[str, list[float]] = {}
        ends: dict[str, tuple[np.ndarray, float]] = {}
        for simplex in (True, False):
            names = [name for name in STARTS if (STARTS[name][0] == "simplex") == simplex]
            systems = [problem.system(name) for name in names]
            run = self._run(
                "simplex_descent" if simplex else "exponentiated_gradient",
                [one for one, _ in systems], [labels for _, labels in systems],
                [problem.start(name) for name in names],
                {"step_size": [STEP / steepness(one[0], limits[name])
                               for one, name in zip(systems, names, strict=True)]},
            )  # fmt: skip
            ends |= {name: (run.weights[k], run.residuals[k]) for k, name in enumerate(names)}
        for name, (domain, _) in STARTS.items():
            w, residual = ends[name]
            inputs = problem.x if domain == "orthant" else problem.summed
            row = {
                "residual": residual,
                "distance": _distance(w, limits[name]),
                "entropy_distance": _distance(w, highest[domain]),
                "entropy": theory.entropy(w),
                "most": theory.entropy(highest[domain]),
                "l1": float(w.sum()) / least,
                "dual": _outside(inputs, np.log(w / problem.start(name))),
            }
            for key, value in row.items():
                found.setdefault(f"start_{key}", []).append(value)
        return {key: np.asarray(values) for key, values in found.items()}

    def _powers(self, problem: Problem) -> dict[str, np.ndarray]:
        x, y = problem.x[:-1], problem.y[:-1]
        potentials = [theory.p_norm_potential(p) for p in POWERS]
        limits = [theory.bregman_projection(x, y, 0.0, one) for one in potentials]
        steps = [
            STEP / steepness(x, one.slope(limit.multipliers @ x))
            for one, limit in zip(potentials, limits, strict=True)
        ]
        count = len(POWERS)
        run = self._run(
            "p_norm_descent", [x] * count, [y] * count, np.zeros((count, x.shape[1])),
            {"step_size": steps, "p": POWERS},
        )  # fmt: skip
        l1, linf = theory.least_l1(x, y).norm, theory.least_linf(x, y)[1]
        return {
            "power_residual": run.residuals,
            "power_distance": np.asarray(
                [_distance(w, one.weights) for w, one in zip(run.weights, limits, strict=True)]
            ),
            "power_l1": np.abs(run.weights).sum(axis=1) / l1,
            "power_linf": np.abs(run.weights).max(axis=1) / linf,
        }

    def _scales(self, problem: Problem) -> dict[str, np.ndarray]:
        x, y = problem.x[:-1], problem.y[:-1]
        solution = theory.least_l1(x, y, nonnegative=True)
        potential = theory.entropy_potential()
        projected = {
            scale: theory.bregman_projection(x, y, scale, potential).weights
            for scale in {*SCALES, *DESCENDED}
        }
        excess = np.asarray(
            [theory.l1_excess(projected[scale], x, solution) / solution.norm for scale in SCALES]
        )
        count = len(DESCENDED)
        limits = [projected[scale] for scale in DESCENDED]
        run = self._run(
            "exponentiated_gradient", [x] * count, [y] * count,
            np.outer(DESCENDED, np.ones(x.shape[1])),
            {"step_size": [STEP / steepness(x, w) for w in limits]},
        )  # fmt: skip
        logs = [math.log(part) / solution.least_cost for part in ASYMPTOTIC]
        ends = [
            theory.l1_excess(
                theory.small_start_projection(x, y, log, solution.multipliers).weights, x, solution
            )
            for log in logs
        ]
        slope = np.log(ends[1] / ends[0]) / (logs[1] - logs[0])
        return {
            "scale_excess": excess,
            "descended_excess": theory.l1_excess(run.weights, x, solution) / solution.norm,
            "descended_distance": np.asarray(
                [_distance(w, one) for w, one in zip(run.weights, limits, strict=True)]
            ),
            "descended_residual": run.residuals,
            "scale_exponent": np.asarray(slope),
            "least_cost": np.asarray(solution.least_cost),
        }


def _limit(problem: Problem, name: str) -> np.ndarray:
    """Return the Bregman projection of a start."""
    domain, _ = STARTS[name]
    start, x, y = problem.start(name), problem.x[:-1], problem.y[:-1]
    if domain == "simplex":
        return theory.simplex_projection(x, y, start).weights
    if domain == "known sum":
        x, y = problem.summed, problem.summed_y
    return theory.bregman_projection(x, y, start, theory.entropy_potential()).weights


def _distance(w: np.ndarray, goal: np.ndarray) -> float:
    return float(np.abs(w - goal).sum() / np.abs(goal).sum())


def _outside(x: np.ndarray, change: np.ndarray) -> float:
    """Return the part of a change of dual variables outside the row space, relative to its length."""
    weights = np.linalg.lstsq(x.T, change, rcond=None)[0]
    return float(np.linalg.norm(change - weights @ x) / np.linalg.norm(change))
