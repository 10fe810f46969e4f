"""Variance of signals through deep networks at their start, by initialisation and activation."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.models.initializers import weight_std
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

INITS: dict[str, str] = {"lecun": "1/fan-in", "he": "2/fan-in", "glorot": "2/(fan-in + fan-out)"}
"""Variances of weights, by the library's names."""

ACTIVATIONS = ("linear", "relu", "tanh")
SHAPES = ("constant width", "narrowing")
"""All layers alike, and layers that narrow by one factor each, to a quarter at the end."""

WAYS = ("forward", "backward")
NARROWING = 4.0


@dataclass(frozen=True)
class Signals(Drawn):
    """Second moments of what layers are given and of what comes back, over layers.

    Attributes:
        width: Units of a layer; at the middle where layers narrow.
        layers: Hidden layers.
        networks: Networks of a seed.
    """

    width: int
    layers: int
    networks: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("signal_init", "signal_activation", "signal_shape", "signal_way")
        return {
            "signal_change": Variable(
                dims, "1", "mean change of log second moment by a layer: of sums forward, of slopes backward"
            )
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Initialisations, activations, shapes and ways."""
        return {
            "signal_init": tuple(INITS),
            "signal_activation": ACTIVATIONS,
            "signal_shape": SHAPES,
            "signal_way": WAYS,
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Send signals through the networks of one seed; initialisations share their draws."""
        found = np.zeros((len(INITS), len(ACTIVATIONS), len(SHAPES), 2))
        for place, shape in enumerate(SHAPES):
            rng = role_generator(seed, "initialisation", place)
            for _ in range(self.networks):
                found[:, :, place] += self._sent(rng, shape) / self.networks
        return {"signal_change": found}

    def _sent(self, rng: np.random.Generator, shape: str) -> np.ndarray:
        root = NARROWING**0.5 if shape != SHAPES[0] else 1.0
        ends = self.width * root, self.width / root
        sizes = [round(size) for size in np.geomspace(*ends, self.layers + 1)]
        draws = [
            rng.standard_normal((n_out, n_in), np.float32)
            for n_in, n_out in itertools.pairwise(sizes)
        ]
        signal = rng.standard_normal(sizes[0]).astype(np.float32)
        slope = rng.standard_normal(sizes[-1]).astype(np.float32)
        found = np.zeros((len(INITS), len(ACTIVATIONS), 2))
        for row, init in enumerate(INITS):
            scales = [float(weight_std(init, d.shape[1], d.shape[0])) for d in draws]
            for column, activation in enumerate(ACTIVATIONS):
                found[row, column] = _through(draws, scales, signal, slope, activation)
        return found


def _through(
    draws: list[np.ndarray],
    scales: list[float],
    signal: np.ndarray,
    slope: np.ndarray,
    activation: str,
) -> tuple[float, float]:
    """Return the mean change of log second moment by a layer, forward and backward.

    Forward, from the first layer's sums to the last's; backward, of the loss's slopes by these sums.
    """
    sums, hidden = [], signal
    for draw, scale in zip(draws, scales, strict=True):
        sums.append(scale * (draw @ hidden))
        hidden = _active(sums[-1], activation)[0]
    back = slope * _active(sums[-1], activation)[1]
    moments = [np.mean(back**2)]
    for place in range(len(draws) - 1, 0, -1):
        back = scales[place] * (draws[place].T @ back)
        back = back * _active(sums[place - 1], activation)[1]
        moments.append(np.mean(back**2))
    steps = len(draws) - 1
    forward = [np.mean(one**2) for one in sums]
    return (
        float(np.log(forward[-1] / forward[0]) / steps),
        float(np.log(moments[-1] / moments[0]) / steps),
    )


def _active(sums: np.ndarray, activation: str) -> tuple[np.ndarray, np.ndarray]:
    if activation == "relu":
        return np.maximum(sums, 0), (sums > 0) * np.float32(1)
    if activation == "tanh":
        values = np.tanh(sums)
        return values, 1 - values**2
    return sums, np.ones_like(sums)
