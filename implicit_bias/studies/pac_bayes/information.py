"""Mutual information of a hidden layer along gradient descent, with and without noise, by several estimators.

Networks 12-8-4-1 on patterns of twelve bits, all equally likely, with labels that depend on how many bits
are set; gradient descent on the logistic loss of all of them. The noise is Gaussian, on every entry of the
gradient.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.theory.mutual_information import Information
from implicit_bias.training.experiment import Variable

BITS = 12
WIDTHS = (BITS, 8, 4, 1)
ACTIVATIONS = ("tanh", "relu")
DESCENTS = ("plain", "noisy")
ESTIMATORS: dict[str, tuple[str, float]] = {
    "10 bins": ("bins", 10), "100 bins": ("bins", 100), "noise 0.03": ("noise", 0.03),
    "noise 0.3": ("noise", 0.3), "noise 0.1 of spread": ("relative", 0.1),
}  # fmt: skip
"""Bins over the range of the layer in all of training; noise of fixed width, or in parts of the layer's
standard deviation at that time."""

CHECKPOINTS = 12
"""Times, evenly in log steps, of which the first is the start."""

SCALE = 10.0
"""By which a layer is multiplied, and the next divided, in a network that computes the same."""

TINY_NOISE = 1e-9
"""Where the information is that of a deterministic layer."""

Weights = list[np.ndarray]


def marks(steps: int) -> tuple[int, ...]:
    """Return the steps at which information is estimated."""
    later = np.unique(np.round(np.geomspace(1, steps, CHECKPOINTS - 1)).astype(int))
    return (0, *(int(step) for step in later))


def begin(rng: np.random.Generator) -> Weights:
    """Draw weights (fan-in, fan-out) and biases, layer by layer."""
    made: Weights = []
    for inputs, outputs in itertools.pairwise(WIDTHS):
        made += [rng.standard_normal((inputs, outputs)) * np.sqrt(2 / inputs), np.zeros(outputs)]
    return made


def layers(weights: Weights, x: np.ndarray, activation: str) -> list[np.ndarray]:
    """Return inputs, hidden layers and output, in that order."""
    found = [x]
    for place in range(0, len(weights), 2):
        sums = found[-1] @ weights[place] + weights[place + 1]
        last = place == len(weights) - 2
        found.append(
            sums if last else np.tanh(sums) if activation == "tanh" else np.maximum(sums, 0)
        )
    return found


def gradient(weights: Weights, x: np.ndarray, signs: np.ndarray, activation: str) -> Weights:
    """Return the gradient of the mean logistic loss."""
    found = layers(weights, x, activation)
    away = -signs[:, None] / (1 + np.exp(np.clip(signs[:, None] * found[-1], -500, 500))) / len(x)
    slopes: Weights = []
    for place in range(len(weights) - 2, -1, -2):
        inputs = found[place // 2]
        slopes = [inputs.T @ away, away.sum(axis=0), *slopes]
        bent = 1 - inputs**2 if activation == "tanh" else inputs > 0
        away = away @ weights[place].T * bent
    return slopes


def estimate(
    name: str,
    z: np.ndarray,
    labels: np.ndarray,
    span: tuple[float, float],
    rng: np.random.Generator,
) -> Information:
    """Return I(X; Z) and I(Z; Y) by an estimator of ``ESTIMATORS``; 0 for a constant layer."""
    kind, size = ESTIMATORS[name]
    if np.ptp(z, axis=0).max() == 0:
        return Information(0.0, 0.0)
    if kind == "bins":
        return theory.binned_information(z, labels, int(size), *span)
    width = size * float(z.std()) if kind == "relative" else size
    return theory.noisy_information(z, labels, width, rng)


@dataclass(frozen=True)
class InformationPaths(Drawn):
    """Estimates along training, of networks that compute the same, and of a Gaussian layer.

    Attributes:
        examples: Patterns.
        draws: Sets of patterns, and starts, of a seed, over which all is averaged.
        steps: Of gradient descent.
        step_size: η.
        gradient_noise: Standard deviation of the noise on each entry of the gradient.
    """

    examples: int
    draws: int
    steps: int
    step_size: float
    gradient_noise: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        run = ("activation", "descent")
        path = (*run, "estimator", "information_step")
        return {
            "information_inputs": Variable(path, "nats", "I(X; Z), Z the last hidden layer"),
            "information_labels": Variable(path, "nats", "I(Z; Y)"),
            "information_error": Variable(run, "fraction", "training error at the end"),
            "information_same": Variable(
                ("estimator",), "nats", "I(X; Z) of a network that computes the same with Z times ten, "
                "less that of the trained ReLU network",
            ),
            "information_exact": Variable(
                (*run, "information_step"), "1", "I(X; Z) with next to no noise, less the entropy of the "
                "layer's values, over log n",
            ),
            "information_log": Variable((), "nats", "log n"),
            "information_channel": Variable(
                (), "1", "relative error of the noisy estimate of a Gaussian layer, against its closed form"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Activations, kinds of descent, estimators and steps."""
        return {
            "activation": ACTIVATIONS,
            "descent": DESCENTS,
            "estimator": tuple(ESTIMATORS),
            "information_step": marks(self.steps),
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Train the networks of one seed, and estimate."""
        runs = [self._of_draw(seed, draw) for draw in range(self.draws)]
        return {name: np.mean([run[name] for run in runs], axis=0) for name in runs[0]}

    def _of_draw(self, seed: int, draw: int) -> dict[str, np.ndarray]:
        rng = role_generator(seed, "data", 11, draw)
        codes = rng.permutation(2**BITS)[: self.examples]
        x = 2.0 * ((codes[:, None] >> np.arange(BITS)[None, :]) & 1) - 1
        # Neither linear in the inputs nor as hard as parity.
        labels = (np.abs(x.sum(axis=1)) <= 2).astype(int)
        start = begin(role_generator(seed, "initialisation", 11, draw))
        shape = (len(ACTIVATIONS), len(DESCENTS))
        paths = np.full((2, *shape, len(ESTIMATORS), len(marks(self.steps))), np.nan)
        exact = np.full((*shape, len(marks(self.steps))), np.nan)
        errors, same = np.zeros(shape), np.zeros(len(ESTIMATORS))
        for i, activation in enumerate(ACTIVATIONS):
            for j, descent in enumerate(DESCENTS):
                noise = self.gradient_noise if descent == "noisy" else 0.0
                own = role_generator(seed, "gradient_noise", i, draw)
                seen, last = self._train(start, x, 2.0 * labels - 1, activation, noise, own)
                errors[i, j] = np.mean((last[-1][:, 0] > 0) != labels)
                span = span_of(seen)
                for k, name in enumerate(ESTIMATORS):
                    found = np.array([estimate(name, z, labels, span, rng) for z in seen])
                    paths[:, i, j, k, : len(seen)] = found.T
                exact[i, j, : len(seen)] = [deterministic_gap(z, labels, rng) for z in seen]
                if (activation, descent) == ("relu", "plain"):
                    same = np.array([self._rescaled(name, seen, labels) for name in ESTIMATORS])
        return {
            "information_inputs": paths[0],
            "information_labels": paths[1],
            "information_error": errors,
            "information_same": same,
            "information_exact": exact,
            "information_log": np.asarray(np.log(self.examples)),
            "information_channel": np.asarray(self._channel(rng)),
        }

    def _train(
        self, start: Weights, x: np.ndarray, signs: np.ndarray, activation: str, noise: float,
        rng: np.random.Generator,
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:  # fmt: skip
        """Return the last hidden layer at the marks, and all layers at the end."""
        weights, seen, wanted = [leaf.copy() for leaf in start], [], set(marks(self.steps))
        for step in range(self.steps + 1):
            if step in wanted:
                seen.append(layers(weights, x, activation)[-2])
            if step == self.steps:
                break
            for leaf, slope in zip(weights, gradient(weights, x, signs, activation), strict=True):
                drawn = noise * rng.standard_normal(slope.shape) if noise else 0.0
                leaf -= self.step_size * (slope + drawn)
        return seen, layers(weights, x, activation)

    @staticmethod
    def _rescaled(name: str, seen: list[np.ndarray], labels: np.ndarray) -> float:
        """Return what an estimate changes by where the layer is ten times as large, and nothing else.

        Bins keep their width, as they would where they were fixed before; noise is the same in both.
        """
        kind, size = ESTIMATORS[name]
        z, (low, high) = seen[-1], span_of(seen)
        before, after = (
            estimate(name, factor * z, labels, (low, high), np.random.default_rng(0)).inputs
            for factor in (1.0, SCALE)
        )
        if kind == "bins":
            wide = (SCALE * low, SCALE * high)
            after = theory.binned_information(SCALE * z, labels, int(SCALE * size), *wide).inputs
        return after - before

    @staticmethod
    def _channel(rng: np.random.Generator, sets: int = 6, count: int = 600) -> float:
        """Return the relative error of the mean estimate over sets of Gaussian values."""
        width, found = 0.7, []
        for _ in range(sets):
            z = rng.standard_normal((count, 2)) * np.array([1.0, 0.5])
            found.append(theory.noisy_information(z, np.zeros(count), width, rng).inputs)
        return float(np.mean(found)) / theory.gaussian_channel([1.0, 0.25], width) - 1


def span_of(seen: list[np.ndarray]) -> tuple[float, float]:
    """Return the range of a layer over all of training, for bins."""
    low, high = min(float(z.min()) for z in seen), max(float(z.max()) for z in seen)
    return low, max(high, low + 1e-12)


def deterministic_gap(z: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> float:
    """Return I(X; Z) with next to no noise less the entropy of Z's values, over log n."""
    _, counts = np.unique(np.round(z, 6), axis=0, return_counts=True)
    shares = counts / len(z)
    entropy = -np.sum(shares * np.log(shares))
    found = theory.noisy_information(np.round(z, 6), labels, TINY_NOISE, rng).inputs
    return float((found - entropy) / np.log(len(z)))
