"""Algorithms that fit every training label, which therefore are not uniformly stable: do they generalise?

Minimum-norm least squares has a few directions of variance one and a tail of N directions that share one unit
of variance: N = m² (benign), N = 2m (not), or no tail and no noise with more directions than examples needed
(low dimension). Its Gram matrix has the tail's part from a Wishart law, so that no feature of the tail is
ever drawn; risks follow from the Gram matrix exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.stability.designs import generator
from implicit_bias.training.experiment import Variable

FITS = ("lookup table", "nearest neighbour", "long tail", "short tail", "low dimension")
"""Algorithms."""

TAILS = FITS[2:]
"""Those that are minimum-norm least squares."""

SPIKES = 5
"""Directions that carry the signal."""

NOISE = 0.5
"""Standard deviation of the labels' noise, in units of the signal's; none in low dimension."""

SIGNS = 200
"""Random signs by which a Rademacher complexity is averaged."""

AWAY = 2.0
"""By how much a label is changed: losses (f − y)²/4 are cut at one."""


class Spiked(NamedTuple):
    """Training data of minimum-norm least squares, the tail as its Gram matrix.

    Attributes:
        spikes: Inputs' leading coordinates, (m, k).
        tail: Gram matrix of the rest, (m, m).
        scale: Variance of a direction of the tail.
        theta: Signal, (k,).
        labels: Shape (m,).
    """

    spikes: np.ndarray
    tail: np.ndarray
    scale: float
    theta: np.ndarray
    labels: np.ndarray


def wishart(rng: np.random.Generator, size: int, degrees: int) -> np.ndarray:
    """Draw ZZᵀ for a standard normal Z of shape (size, degrees), degrees ≥ size, by Bartlett's factor."""
    factor = np.tril(rng.standard_normal((size, size)), -1)
    factor[np.diag_indices(size)] = np.sqrt(rng.chisquare(degrees - np.arange(size)))
    return factor @ factor.T


def spiked(rng: np.random.Generator, examples: int, fit: str) -> Spiked:
    """Draw training data.

    Args:
        rng: Generator.
        examples: m.
        fit: One of ``TAILS``.
    """
    x = rng.standard_normal((examples, SPIKES))
    theta = rng.standard_normal(SPIKES)
    theta = theta / np.linalg.norm(theta)
    if fit == "low dimension":
        return Spiked(x, np.zeros((examples, examples)), 0.0, theta, x @ theta)
    degrees = examples**2 if fit == "long tail" else 2 * examples
    tail = wishart(rng, examples, degrees) / degrees
    labels = x @ theta + NOISE * rng.standard_normal(examples)
    return Spiked(x, tail, 1 / degrees, theta, labels)


def interpolate(data: Spiked, labels: np.ndarray) -> np.ndarray:
    """Return the dual coefficients of minimum-norm weights Xᵀc that fit labels, (m,) or (m, r)."""
    gram = data.spikes @ data.spikes.T + data.tail
    return np.asarray(np.linalg.pinv(gram, rcond=1e-10, hermitian=True) @ labels)


def excess_risk(data: Spiked, dual: np.ndarray) -> float:
    """Return E(f(x) − θ·x)² of the weights with these dual coefficients."""
    spikes = data.spikes.T @ dual - data.theta
    return float(spikes @ spikes + data.scale * dual @ data.tail @ dual)


def ball_complexity(rng: np.random.Generator, data: Spiked, dual: np.ndarray) -> float:
    """Return the empirical Rademacher complexity of all weights no longer than these.

    ``(‖w‖/m) E‖Σ σ_i x_i‖`` over random signs.
    """
    gram = data.spikes @ data.spikes.T + data.tail
    signs = rng.choice([-1.0, 1.0], (SIGNS, len(gram)))
    lengths = np.sqrt(np.einsum("si,ij,sj->s", signs, gram, signs, optimize=True))
    return float(np.sqrt(dual @ gram @ dual) * lengths.mean() / len(gram))


def single_complexity(rng: np.random.Generator, outputs: np.ndarray) -> tuple[float, float]:
    """Return the Rademacher complexity of one function by random signs, and its standard error.

    Args:
        rng: Generator.
        outputs: At the training inputs, (m,).
    """
    signs = rng.choice([-1.0, 1.0], (SIGNS, len(outputs)))
    values = signs @ outputs / len(outputs)
    return float(values.mean()), float(values.std() / np.sqrt(SIGNS))


@dataclass(frozen=True)
class Interpolation(Drawn):
    """Stability, gap and complexity of interpolators.

    Attributes:
        sizes: m.
        tests: Test points of the nearest neighbour.
    """

    sizes: tuple[int, ...]
    tests: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        along = ("fit", "fit_size")
        return {
            "fit_change": Variable(along, "1", "largest change of a loss in [0, 1] by another label"),
            "fit_gap": Variable(along, "1", "test less training loss, over the labels' variance or 1"),
            "fit_excess": Variable(along, "1", "risk beyond the best possible, in the same units"),
            "fit_ball": Variable(
                along, "1", "Rademacher complexity of weights as long as those found, over labels' deviation"
            ),
            "fit_single": Variable(along, "1", "Rademacher complexity of one function, in standard errors"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Algorithms and sizes."""
        return {"fit": FITS, "fit_size": self.sizes}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Fit one seed's data."""
        found = np.full((5, len(FITS), len(self.sizes)), np.nan)
        for row, fit in enumerate(FITS):
            for column, m in enumerate(self.sizes):
                rng = generator(seed, 4, row, column)
                one = self._table if fit == "lookup table" else self._neighbour
                found[:, row, column] = (
                    self._least_squares(rng, m, fit) if fit in TAILS else one(rng, m)
                )
        names = ("change", "gap", "excess", "ball", "single")
        return {f"fit_{name}": found[place] for place, name in enumerate(names)}

    def _table(self, rng: np.random.Generator, m: int) -> tuple[float, ...]:
        """Remember inputs that never recur, labels by a threshold; guess 1 elsewhere."""
        x = rng.uniform(size=m)
        labels = (x > 0.5).astype(float)
        table = dict(zip(x.tolist(), labels.tolist(), strict=True))
        other = {**table, float(x[0]): 1 - labels[0]}
        losses = [[float(one[v] != y) for v, y in zip(x.tolist(), labels, strict=True)]
                  for one in (table, other)]  # fmt: skip
        change = np.abs(np.subtract(losses[0], losses[1])).max()
        new = rng.uniform(size=self.tests)
        wrong = np.mean([table.get(v, 1.0) != float(v > 0.5) for v in new.tolist()])
        outputs = 2 * labels - 1
        value, error = single_complexity(rng, outputs)
        return float(change), float(wrong), float(wrong), np.nan, value / error

    def _neighbour(self, rng: np.random.Generator, m: int) -> tuple[float, ...]:
        """Label the plane by its nearest example; a line without noise divides it."""
        from scipy.spatial import cKDTree

        x, new = rng.uniform(-1, 1, (m, 2)), rng.uniform(-1, 1, (self.tests, 2))
        labels = x[:, 0] > 0
        tree = cKDTree(x)
        wrong = np.mean(labels[tree.query(new)[1]] != (new[:, 0] > 0))
        other = labels.copy()
        other[0] = ~other[0]
        places = tree.query(x)[1]
        change = np.max((labels[places] != labels) != (other[places] != labels))
        value, error = single_complexity(rng, 2.0 * labels - 1)
        return float(change), float(wrong), float(wrong), np.nan, value / error

    def _least_squares(self, rng: np.random.Generator, m: int, fit: str) -> tuple[float, ...]:
        data = spiked(rng, m, fit)
        noise = 0.0 if fit == "low dimension" else NOISE
        spread = 1 + noise**2
        gram = data.spikes @ data.spikes.T + data.tail
        changed = data.labels.copy()
        changed[0] -= AWAY
        dual = interpolate(data, np.stack([data.labels, changed], axis=1))
        outputs = gram @ dual
        losses = np.minimum((outputs - data.labels[:, None]) ** 2 / 4, 1)
        change = np.abs(losses[:, 1] - losses[:, 0]).max()
        first = dual[:, 0]
        excess = excess_risk(data, first)
        train = float(np.mean((outputs[:, 0] - data.labels) ** 2))
        value, error = single_complexity(rng, outputs[:, 0])
        return (
            float(change), (excess + noise**2 - train) / spread, excess / spread,
            ball_complexity(rng, data, first) / np.sqrt(spread), value / error,
        )  # fmt: skip
