"""Designs and labels that are drawn, and descent on them written out, update by update."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from implicit_bias.keys import role_generator

KINDS: dict[str, str] = {
    "full rank": "Gaussian, fewer examples than features, noisy labels",
    "rank-deficient": "half the rank, labels that can be fitted",
    "inconsistent": "half the examples repeated with other labels, which no weights fit",
    "ill-conditioned": "singular values from 1 to 1/10, noisy labels",
    "more examples": "fewer features than examples, noisy labels",
}
"""Designs on which descent is iterated."""


class Rule(NamedTuple):
    """How descent is done; step sizes are fractions of where it ceases to converge."""

    fraction: float
    momentum: float = 0.0
    nesterov: bool = False


def generator(seed: int, draw: int = 0) -> np.random.Generator:
    """Return the generator of a seed's data, or of one of its data sets beside the first."""
    return role_generator(seed, "data", *([draw] if draw else []))


def draw(kind: str, rng: np.random.Generator, m: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a design (m, n) and labels (m,) of a kind."""
    if kind == "more examples":
        return rng.standard_normal((n, m)), rng.standard_normal(n)
    x = rng.standard_normal((m, n))
    y = x @ rng.standard_normal(n) / np.sqrt(n) + 0.3 * rng.standard_normal(m)
    half = max(1, m // 2)
    if kind == "rank-deficient":
        x = np.linalg.qr(rng.standard_normal((m, half)))[0] @ x[:half]
        y = x @ rng.standard_normal(n) / np.sqrt(n)
    elif kind == "inconsistent":
        x[m - half :] = x[:half]
    elif kind == "ill-conditioned":
        left, _, right = np.linalg.svd(x, full_matrices=False)
        x = (left * np.geomspace(1, 0.1, m)) @ right
    return x, y


def linear_model(
    rng: np.random.Generator, m: int, n: int, noise: float, truth: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw Gaussian inputs, labels ``Xθ + noise``, and θ, normal unless it is given."""
    theta = rng.standard_normal(n) if truth is None else truth
    x = rng.standard_normal((m, n))
    return x, x @ theta + noise * rng.standard_normal(m), theta


class Descending:
    """Many runs of descent on ½‖Xw − y‖² at once, one a row, in plain updates.

    Attributes:
        weights: Where they are, (runs, n).
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        starts: np.ndarray,
        steps: np.ndarray | float,
        momenta: np.ndarray | float = 0.0,
        nesterov: np.ndarray | bool = False,
    ) -> None:
        runs = len(starts)
        self.x, self.y, self.weights = x, y, np.array(starts, float)
        self.steps, self.momenta, self.nesterov = (
            np.broadcast_to(given, runs)[:, None] for given in (steps, momenta, nesterov)
        )
        self._sum = np.zeros_like(self.weights)

    def go(self, updates: int) -> None:
        """Make updates."""
        for _ in range(updates):
            slope = (self.weights @ self.x.T - self.y) @ self.x
            self._sum = self.momenta * self._sum + slope
            direction = np.where(self.nesterov, slope + self.momenta * self._sum, self._sum)
            self.weights = self.weights - self.steps * direction


def nearest(x: np.ndarray, y: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the least-squares solutions nearest to starts, (runs, n), by LAPACK's least-squares solver."""
    residuals = (y - starts @ x.T).T
    # Not SciPy's, whose linear algebra takes all threads whatever NumPy's is told.
    return np.asarray(starts + np.linalg.lstsq(x, residuals, rcond=1e-10)[0].T)


def distance(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return ‖found − truth‖/‖truth‖ along the last axis."""
    return np.asarray(np.linalg.norm(found - truth, axis=-1) / np.linalg.norm(truth, axis=-1))
