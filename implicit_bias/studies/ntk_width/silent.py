"""Units that are off on all data: exactly without a gradient next to the inputs, and not deeper."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

Parameters = list[tuple[np.ndarray, np.ndarray]]
"""Weights (n_out, n_in) and biases (n_out,) of each layer."""


@dataclass(frozen=True)
class SilentUnits(Experiment):
    """Gradient descent on the squared loss from a start at which half of a layer's units are off.

    Their biases are set ``margin`` below where the first example would turn them on. In the layer next
    to the inputs the sums depend on their own parameters alone, so that nothing ever moves. A layer
    above, the sums also change with the layer below, and units come on.

    Attributes:
        examples: Training examples, Gaussian.
        dimension: Inputs.
        width: Units of each hidden layer.
        margin: How far below zero the largest sum of a silent unit is.
        step_size: Of descent.
        steps: Of descent.
    """

    examples: int = 20
    dimension: int = 5
    width: int = 20
    margin: float = 1e-3
    step_size: float = 0.1
    steps: int = 300

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "silent_movement": Variable(
                (), "parameter", "two layers: largest change of a parameter of a silent unit"
            ),
            "others_movement": Variable(
                (), "parameter", "two layers: largest change of a parameter of the other units"
            ),
            "woken_units": Variable(
                (), "fraction", "three layers: silent units of the second that came on"
            ),
            "deep_silent_movement": Variable(
                (), "parameter", "three layers: largest change of a parameter of a silent unit"
            ),
        }

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Draw networks with two and with three layers, silence units, and train them."""
        rng = role_generator(seed, "data", 20)
        x = rng.normal(size=(self.examples, self.dimension))
        y = rng.normal(size=(self.examples, 1))
        shallow = self._changes(rng, x, y, hidden=1)
        deep = self._changes(rng, x, y, hidden=2)
        return {
            "silent_movement": shallow["silent"],
            "others_movement": shallow["others"],
            "woken_units": deep["woken"],
            "deep_silent_movement": deep["silent"],
        }

    def _changes(
        self, rng: np.random.Generator, x: np.ndarray, y: np.ndarray, hidden: int
    ) -> dict[str, float]:
        """Train a network whose last hidden layer has silent units; return what became of them."""
        sizes = [self.dimension, *[self.width] * hidden, 1]
        params = [
            (rng.normal(size=(n_out, n_in)) * np.sqrt(2 / n_in), np.zeros(n_out))
            for n_in, n_out in itertools.pairwise(sizes)
        ]
        silent = np.arange(self.width) < self.width // 2
        below = _inputs(params, x)[hidden - 1]
        weight, _ = params[hidden - 1]
        highest = (below @ weight.T).max(axis=0)
        params[hidden - 1] = (weight, np.where(silent, -highest - self.margin, 0.0))
        start = [(weight.copy(), bias.copy()) for weight, bias in params]
        for _ in range(self.steps):
            gradients = _gradients(params, x, y)
            params = [
                (weight - self.step_size * to_weight, bias - self.step_size * to_bias)
                for (weight, bias), (to_weight, to_bias) in zip(params, gradients, strict=True)
            ]
        touched = _moved(params, start, hidden - 1)
        on = np.any(_inputs(params, x)[hidden] > 0, axis=0)
        return {
            "silent": float(touched[silent].max()),
            "others": float(touched[~silent].max()),
            "woken": float(np.mean(on, where=silent)),
        }


def _inputs(params: Parameters, x: np.ndarray) -> list[np.ndarray]:
    """Return what each layer is given, and the outputs last."""
    given = [x]
    for index, (weight, bias) in enumerate(params):
        sums = given[-1] @ weight.T + bias
        given.append(np.maximum(sums, 0) if index < len(params) - 1 else sums)
    return given


def _gradients(params: Parameters, x: np.ndarray, y: np.ndarray) -> Parameters:
    """Return the gradient of the mean of ½ (f − y)²."""
    given = _inputs(params, x)
    delta = (given[-1] - y) / len(x)
    gradients: Parameters = []
    for index in reversed(range(len(params))):
        gradients.insert(0, (delta.T @ given[index], delta.sum(axis=0)))
        delta = (delta @ params[index][0]) * (given[index] > 0)
    return gradients


def _moved(params: Parameters, start: Parameters, layer: int) -> np.ndarray:
    """Return the largest change of the parameters into and out of each unit of a layer, (units,)."""
    into = np.abs(params[layer][0] - start[layer][0]).max(axis=1)
    bias = np.abs(params[layer][1] - start[layer][1])
    out = np.abs(params[layer + 1][0] - start[layer + 1][0]).max(axis=0)
    return np.maximum(np.maximum(into, bias), out)
