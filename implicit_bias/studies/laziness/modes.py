"""When a deep linear network learns each mode of its target, from a small and from a large start."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

STARTS = ("small", "large")

STEP = 0.05
"""Step size, in units of one over the largest curvature that is met."""

MOST_UPDATES = 200_000
"""A mode that is not learnt by then has no time."""


@dataclass(frozen=True)
class LinearModes(Experiment):
    """Descent on ½‖W_L … W_1 − W_L⁰ … W_1⁰ − M‖² for a target M of given singular values.

    Inputs are white, so that nothing but the target tells modes apart; its singular vectors are drawn.
    Initial weights are normal with variance scale² / fan-in, and the function of the start is subtracted. A
    mode is learnt when the function has half of its strength along its singular vectors; its time is the
    step size times the updates, interpolated.

    Attributes:
        strengths: Singular values of the target, decreasing.
        inputs: Inputs, as many as outputs.
        hidden: Units of each hidden layer.
        layers: Layers of weights.
        small: Initial scale that lets weights learn the target's directions.
        large: Initial scale at which weights hardly move: the lazy regime.

    References:
        Saxe, McClelland & Ganguli, *Exact solutions to the nonlinear dynamics of learning in deep linear
        neural networks* (2014).
    """

    strengths: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5)
    inputs: int = 8
    hidden: int = 100
    layers: int = 2
    small: float = 0.01
    large: float = 10.0

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("start", "mode")
        return {
            "mode_time": Variable(
                dims, "step size × updates", "time at which half of a mode is learnt"
            )
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Starts, and modes by their strength."""
        return {"start": STARTS, "mode": self.strengths}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Train from both starts; they share their directions."""
        rng = role_generator(seed, "data")
        d, count = self.inputs, len(self.strengths)
        left, right = (np.linalg.qr(rng.standard_normal((d, d)))[0][:, :count] for _ in range(2))
        sizes = [d, *[self.hidden] * (self.layers - 1), d]
        drawn = [
            rng.standard_normal((n_out, n_in)) / np.sqrt(n_in)
            for n_in, n_out in itertools.pairwise(sizes)
        ]
        times = [
            self.times([scale * weight for weight in drawn], left, right)
            for scale in (self.small, self.large)
        ]
        return {"mode_time": np.stack(times)}

    def times(self, weights: list[np.ndarray], left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return when each mode is half learnt, (modes,); NaN where it is not.

        Args:
            weights: Initial weights, the first layer's first.
            left: Left singular vectors of the target, (outputs, modes).
            right: Right ones, (inputs, modes).
        """
        strengths = np.asarray(self.strengths)
        # The function less that of the start is to become the target.
        goal = (left * strengths) @ right.T + _product(weights)
        step = STEP / self._curvature(weights)
        found = np.full(len(strengths), np.nan)
        before = np.zeros(len(strengths))
        start = np.einsum("ok,oi,ik->k", left, _product(weights), right)
        for update in range(1, MOST_UPDATES + 1):
            weights = [
                weight - step * gradient
                for weight, gradient in zip(weights, _gradients(weights, goal), strict=True)
            ]
            along = (np.einsum("ok,ok->k", left, _product(weights) @ right) - start) / strengths
            new = np.isnan(found) & (along >= 0.5)
            part = (0.5 - before[new]) / (along[new] - before[new])
            found[new] = step * (update - 1 + part)
            if not np.isnan(found).any():
                break
            before = along
        return found

    def _curvature(self, weights: list[np.ndarray]) -> float:
        """Bound the largest curvature: of the start, or of balanced weights that fit the target."""
        norms = [np.linalg.norm(weight, 2) for weight in weights]
        of_start = sum(
            np.prod([n for j, n in enumerate(norms) if j != i]) ** 2 for i in range(len(norms))
        )
        of_end = len(norms) * max(self.strengths) ** (2 - 2 / len(norms))
        return float(max(of_start, of_end))


def _product(weights: list[np.ndarray]) -> np.ndarray:
    whole = weights[0]
    for weight in weights[1:]:
        whole = weight @ whole
    return whole


def _gradients(weights: list[np.ndarray], goal: np.ndarray) -> list[np.ndarray]:
    """Return the gradient of ½‖W_L … W_1 − goal‖² with respect to each layer."""
    given = [np.eye(weights[0].shape[1])]
    for weight in weights:
        given.append(weight @ given[-1])
    delta = given[-1] - goal
    gradients: list[np.ndarray] = []
    for index in reversed(range(len(weights))):
        gradients.insert(0, delta @ given[index].T)
        delta = weights[index].T @ delta
    return gradients
