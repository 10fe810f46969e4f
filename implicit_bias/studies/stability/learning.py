"""What no algorithm can learn fast, what some cannot learn at all, and what a margin makes learnable.

Coins: one bit as an example, with the loss of a guess, of a constant half, and of the better of two guesses.
Thresholds on a line, whose dimension of Vapnik and Chervonenkis is one. Gaussian kernels, which label any
points in any way: on as many points as twice the training set with coin flips for labels, and on two classes
with a margin between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.stability.designs import generator
from implicit_bias.training.experiment import Variable

PLAYERS = ("fixed guess", "better guess", "constant half")
"""Algorithms on a fair coin: a hypothesis given beforehand, empirical risk minimisation over both guesses,
and ½ under squared loss."""

LEAST = 0.25
"""Gap × √m from which it counts as of order 1/√m."""

INPUT_LAWS = ("uniform", "at the ends", "exponential")
"""Distributions of thresholds' inputs."""

WIDTH = 0.4
"""Of the Gaussian kernel, in units of the distance of neighbours where points lie on a line."""

MARGIN = 0.3
"""Half of the distance between both classes in the plane."""


def gaussian(first: np.ndarray, second: np.ndarray, width: float) -> np.ndarray:
    """Return ``exp(−‖x − x′‖²/(2 width²))``, (rows, columns)."""
    away = np.sum((first[:, None, :] - second[None, :, :]) ** 2, axis=2)
    return np.asarray(np.exp(-away / (2 * width**2)))


def shattered_share(rng: np.random.Generator, points: int) -> float:
    """Return the share of all labellings of random points that a Gaussian kernel realises."""
    x = rng.permutation(4 * points)[:points, None].astype(float)
    gram = gaussian(x, x, 1.0)
    labels = 2.0 * ((np.arange(2**points)[None, :] >> np.arange(points)[:, None]) & 1) - 1
    outputs = gram @ np.linalg.solve(gram, labels)
    return float(np.mean(np.all(np.sign(outputs) == labels, axis=0)))


def unlearnable_error(rng: np.random.Generator, examples: int) -> float:
    """Return the risk of a Gaussian kernel's interpolant on 2m points whose labels are coin flips."""
    size = 2 * examples
    x = np.arange(size, dtype=float)[:, None]
    labels = rng.choice([-1.0, 1.0], size)
    seen = np.unique(rng.integers(0, size, examples))
    gram = gaussian(x, x[seen], WIDTH)
    outputs = gram @ np.linalg.solve(gram[seen], labels[seen])
    # A tie, far from all examples, is a coin flip as well.
    guesses = np.where(np.abs(outputs) > 1e-12, np.sign(outputs), rng.choice([-1.0, 1.0], size))
    return float(np.mean(guesses != labels))


def margin_error(rng: np.random.Generator, examples: int, tests: int = 1000) -> float:
    """Return the risk of the same on two half-discs at a distance from each other."""

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        radius, angle = np.sqrt(rng.uniform(size=count)), rng.uniform(-np.pi / 2, np.pi / 2, count)
        labels = rng.choice([-1.0, 1.0], count)
        x = np.stack([labels * (radius * np.cos(angle) + MARGIN), radius * np.sin(angle)], axis=1)
        return x, labels

    x, labels = draw(examples)
    new, truth = draw(tests)
    # The least ridge keeps the solution finite where two points nearly agree.
    dual = np.linalg.solve(gaussian(x, x, WIDTH) + 1e-9 * np.eye(examples), labels)
    return float(np.mean(np.sign(gaussian(new, x, WIDTH) @ dual) != truth))


def threshold_risks(rng: np.random.Generator, law: str, examples: int, draws: int) -> np.ndarray:
    """Return the risk of the least threshold that fits labels x > c, c the median, by training set, (draws,).

    All laws are those of a uniform variable u under an increasing map, with c its image of ½.
    """
    maps = {
        "uniform": lambda u: u,
        "at the ends": lambda u: np.sin(np.pi * u / 2) ** 2,
        "exponential": lambda u: -np.log1p(-u),
    }
    u = rng.uniform(size=(draws, examples))
    x, centre = maps[law](u), float(maps[law](np.asarray(0.5)))
    # The threshold stands at the least positive example; above it nothing is wrong.
    chosen = np.where(x > centre, x, np.inf).argmin(axis=1)
    none = ~(x > centre).any(axis=1)
    reached = np.where(none, 1.0, np.take_along_axis(u, chosen[:, None], 1)[:, 0])
    return np.asarray(reached - 0.5)


@dataclass(frozen=True)
class Learning(Drawn):
    """Gaps and excess risks on coins, thresholds and kernels.

    Attributes:
        sizes: m of coins and thresholds.
        draws: Training sets.
        kernel_sizes: m of kernels.
        shattered: Points that a kernel is to label in every way.
    """

    sizes: tuple[int, ...]
    draws: int
    kernel_sizes: tuple[int, ...]
    shattered: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        each = ("player", "coin_size")
        return {
            "coin_gap": Variable(each, "1", "|test less training loss|, mean over draws"),
            "coin_share": Variable(
                each, "fraction", "draws with a gap of at least 1/(4√m) either way"
            ),
            "coin_over": Variable(
                each, "fraction", "draws whose test loss exceeds the other by 1/(4√m)"
            ),
            "coin_excess": Variable(
                ("coin_size",), "1", "excess risk of the majority on a coin biased by 1/(2√m)"
            ),
            "threshold_risk": Variable(
                ("input_law", "coin_size"), "1", "risk of a threshold that fits"
            ),
            "kernel_random": Variable(("kernel_size",), "1", "risk where labels are coin flips"),
            "kernel_margin": Variable(("kernel_size",), "1", "risk where classes have a margin"),
            "kernel_shattered": Variable(
                (), "fraction", "labellings of random points that are realised"
            ),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Algorithms, sizes and laws."""
        return {
            "player": PLAYERS, "coin_size": self.sizes, "input_law": INPUT_LAWS,
            "kernel_size": self.kernel_sizes,
        }  # fmt: skip

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Draw one seed's training sets."""
        rng = generator(seed, 5)
        coins = np.stack([self._coins(rng, m) for m in self.sizes], axis=-1)
        repeats = 5
        return {
            "coin_gap": coins[0],
            "coin_share": coins[1],
            "coin_over": coins[2],
            "coin_excess": [self._biased(rng, m) for m in self.sizes],
            "threshold_risk": [
                [threshold_risks(rng, law, m, min(self.draws, 200)).mean() for m in self.sizes]
                for law in INPUT_LAWS
            ],
            "kernel_random": [
                np.mean([unlearnable_error(rng, m) for _ in range(repeats)])
                for m in self.kernel_sizes
            ],
            "kernel_margin": [
                np.mean([margin_error(rng, m) for _ in range(repeats)]) for m in self.kernel_sizes
            ],
            "kernel_shattered": shattered_share(rng, self.shattered),
        }

    def _coins(self, rng: np.random.Generator, m: int) -> np.ndarray:
        """Return mean |gap|, share of large ones and share of large ones upwards, by player, (3, players)."""
        share = rng.binomial(m, 0.5, self.draws) / m
        # Losses: of the guess 1; of the better guess on the training set; (½ − z)² = ¼ whatever z.
        gaps = np.stack([0.5 - share, 0.5 - np.minimum(share, 1 - share), np.zeros(self.draws)])
        scaled = gaps * np.sqrt(m)
        return np.stack([
            np.abs(gaps).mean(axis=1), np.mean(np.abs(scaled) >= LEAST, axis=1),
            np.mean(scaled >= LEAST, axis=1),
        ])  # fmt: skip

    def _biased(self, rng: np.random.Generator, m: int) -> float:
        """Return the mean excess risk of the majority, which no algorithm beats on both signs of the bias."""
        bias = 0.5 / np.sqrt(m)
        ones = rng.binomial(m, 0.5 + bias, self.draws)
        wrong = np.mean((ones < m / 2) + 0.5 * (ones == m / 2))
        return float(2 * bias * wrong)
