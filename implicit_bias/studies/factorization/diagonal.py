"""Diagonal linear networks by the scale of their start: from least l1 norm to least l2 norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

DEPTHS = (2, 3)
TRUTHS = ("sparse", "dense")
"""A truth with few active features, and one with none that is zero, whose l1 minimum is unique and
regular."""


@dataclass(frozen=True)
class Diagonal(Drawn):
    """Limits of gradient flow on least squares, exactly, by scale, depth and truth.

    Attributes:
        features: n.
        examples: m, fewer.
        active: Features that the sparse truth uses.
        alphas: Scales of the layers' start.
    """

    features: int
    examples: int
    active: int
    alphas: tuple[float, ...]

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("diagonal_truth", "diagonal_depth", "alpha")
        names = {
            "excess": "l1 norm over the least one, less 1",
            "distance": "‖β − X⁺y‖/‖X⁺y‖",
            "one": "‖β‖₁",
            "two": "‖β‖₂",
            "moved": "change of the tangent kernel over its start, Frobenius norms",
            "error": "‖β − truth‖/‖truth‖",
            "fit": "‖Xβ − y‖/‖y‖",
        }
        return {f"diagonal_{name}": Variable(dims, "1", what) for name, what in names.items()} | {
            "diagonal_potential": Variable(
                ("alpha",), "1", "Q_α of the limit, over that of X⁺y and of the l1 minimum, the lower, dense"
            ),
            "diagonal_rate": Variable(
                ("diagonal_depth",), "1", "exponent of α in the l1 excess that the l1 problem's dual "
                                          "predicts, dense"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Truths, depths and scales."""
        return {"diagonal_truth": TRUTHS, "diagonal_depth": DEPTHS, "alpha": self.alphas}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Solve the problems of one seed."""
        found, problems = [], []
        for place, truth in enumerate(TRUTHS):
            rng = role_generator(seed, "data", place)
            x = rng.standard_normal((self.examples, self.features)) / np.sqrt(self.examples)
            theta = rng.standard_normal(self.features) / np.sqrt(self.features)
            if truth == "sparse":
                theta = np.zeros(self.features)
                theta[: self.active] = rng.choice([-1.0, 1.0], self.active)
            least, dual = least_one_norm(x, x @ theta)
            problems.append((x, theta, least, dual))
            found.append(
                [[_limit(x, theta, least, a, depth) for a in self.alphas] for depth in DEPTHS]
            )
        made: dict[str, Any] = {
            f"diagonal_{name}": np.array(
                [[[one[name] for one in row] for row in case] for case in found]
            )
            for name in found[0][0][0]
            if name != "weights"
        }
        x, theta, least, dual = problems[1]
        smallest = np.linalg.pinv(x) @ (x @ theta)
        slack = 1 - np.abs(x.T @ dual)
        off = slack[slack > 1e-7].min()
        made["diagonal_rate"] = np.array([2 * off, 3.0])
        made["diagonal_potential"] = np.array(
            [
                float(theory.q_alpha(one["weights"], a))
                / min(float(theory.q_alpha(other, a)) for other in (smallest, least))
                for one, a in zip(found[1][0], self.alphas, strict=True)
            ]
        )
        return made


def least_one_norm(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights of least l1 norm that fit, and the dual ν with |Xᵀν| ≤ 1."""
    from scipy.optimize import linprog

    n = x.shape[1]
    solved = linprog(np.ones(2 * n), A_eq=np.hstack([x, -x]), b_eq=y, method="highs-ds")
    return solved.x[:n] - solved.x[n:], np.asarray(solved.eqlin.marginals)


def _limit(
    x: np.ndarray, theta: np.ndarray, least: np.ndarray, alpha: float, depth: int
) -> dict[str, Any]:
    y = x @ theta
    limit = theory.diagonal_limit(x, y, alpha, depth=depth)
    w, smallest = limit.weights, np.linalg.pinv(x) @ y
    first = np.full(x.shape[1], 2 * alpha ** (2 * depth - 2))
    u, v = _layers(w, alpha, depth)
    grown = u ** (2 * depth - 2) + v ** (2 * depth - 2)

    def kernel(weights: np.ndarray) -> np.ndarray:
        return (x * weights) @ x.T

    start = kernel(first)
    return {
        "weights": w,
        "excess": float(np.abs(w).sum() / np.abs(least).sum() - 1),
        "distance": float(np.linalg.norm(w - smallest) / np.linalg.norm(smallest)),
        "one": float(np.abs(w).sum()),
        "two": float(np.linalg.norm(w)),
        "moved": float(np.linalg.norm(kernel(grown) - start) / np.linalg.norm(start)),
        "error": float(np.linalg.norm(w - theta) / np.linalg.norm(theta)),
        "fit": limit.error,
    }


def _layers(w: np.ndarray, alpha: float, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Return u, v of β = u^D − v^D.

    The flow keeps uv = α² (D = 2), u^{2−D} + v^{2−D} = 2α^{2−D} (D > 2).

    Sought by bisection in log u of |β|, whose u is the larger.
    """
    size = np.abs(w)
    low = np.full(w.shape, np.log(alpha))
    high = np.log((size + 2 * alpha**depth) ** (1 / depth)) + 1.0

    def other(log_u: np.ndarray) -> np.ndarray:
        if depth == 2:
            return alpha**2 * np.exp(-log_u)
        return (2 * alpha ** (2.0 - depth) - np.exp((2 - depth) * log_u)) ** (1 / (2 - depth))

    for _ in range(100):
        middle = (low + high) / 2
        small = np.exp(depth * middle) - other(middle) ** depth < size
        low, high = np.where(small, middle, low), np.where(small, high, middle)
    u = np.exp(high)
    v = other(np.log(u))
    return np.where(w >= 0, u, v), np.where(w >= 0, v, u)
