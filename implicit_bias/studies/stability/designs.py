"""Data of the stability study: bounded populations of finitely many examples, so that risks are exact."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from implicit_bias.keys import role_generator

STREAM = 29
"""Of all draws; designs were settled on draws of another one."""

SMOOTHNESS = 0.25
"""Of the logistic loss at inputs of length one at most."""


class Population(NamedTuple):
    """Examples that are drawn from with equal chances.

    Attributes:
        inputs: Of length one, (N, n).
        labels: In [−1, 1], (N,).
        signs: −1 or 1, (N,).
    """

    inputs: np.ndarray
    labels: np.ndarray
    signs: np.ndarray


def generator(seed: int, *parts: int) -> np.random.Generator:
    """Return a seed's generator of data; ``parts`` tell experiments apart."""
    return role_generator(seed, "data", STREAM, *parts)


def population(rng: np.random.Generator, examples: int, inputs: int) -> Population:
    """Draw a population: directions, noisy linear labels cut at ±1, and their signs.

    Args:
        rng: Generator.
        examples: N.
        inputs: n.
    """
    x = rng.standard_normal((examples, inputs))
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    theta = rng.standard_normal(inputs)
    theta = 0.7 * np.sqrt(inputs) * theta / np.linalg.norm(theta)
    y = np.clip(x @ theta + 0.4 * rng.standard_normal(examples), -1, 1)
    return Population(x, y, np.where(y >= 0, 1.0, -1.0))


def clipped_loss(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return ``(clip(f, −1, 1) − y)²/4`` in [0, 1]; it changes by no more than f, as |y| ≤ 1.

    Args:
        predictions: Any shape, broadcast with the other.
        labels: In [−1, 1].
    """
    cut: np.ndarray = (np.clip(predictions, -1, 1) - labels) ** 2 / 4
    return cut


def log_loss(margins: np.ndarray) -> np.ndarray:
    """Return ``log(1 + exp(−margin))``."""
    return np.logaddexp(0.0, -margins)
