"""Networks with one hidden layer by the scale of their start: how far the tangent kernel moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

FITTED = 1e-2
"""Loss over that of predicting 0 at which training ends."""

STEP = 0.3
"""Step size, in units of the inverse of what bounds the curvature: kernel plus what residuals add."""


@dataclass(frozen=True)
class Networks(Drawn):
    """ReLU networks that start as zero functions: every unit has one of the opposite sign.

    Attributes:
        examples: Training examples.
        inputs: Features.
        width: Units of one sign.
        alphas: Factors on He's start of the first layer and 1/√width of the second.
        updates: At most.
    """

    examples: int
    inputs: int
    width: int
    alphas: tuple[float, ...]
    updates: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("network_alpha",)
        return {
            "network_kernel": Variable(dims, "1", "change of the tangent kernel over its start"),
            "network_angle": Variable(
                dims, "1", "1 − cosine of the tangent kernels at start and end, Frobenius product"
            ),
            "network_moved": Variable(dims, "1", "‖θ − θ₀‖/‖θ₀‖"),
            "network_fit": Variable(dims, "1", "loss over that of predicting 0"),
            "network_updates": Variable(dims, "updates", "updates"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Scales."""
        return {"network_alpha": self.alphas}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Train the networks of one seed, which share data and, but for the scale, the start."""
        rng = role_generator(seed, "data")
        x = rng.standard_normal((self.examples, self.inputs))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        y = np.sign(x[:, 0]) * np.abs(x[:, 1]) * 2
        rng = role_generator(seed, "initialisation")
        first = rng.standard_normal((self.width, self.inputs)) * np.sqrt(2 / self.inputs)
        last = rng.standard_normal(self.width) / np.sqrt(self.width)
        found = [self._trained(x, y, a * first, a * last) for a in self.alphas]
        return {f"network_{name}": np.array([one[name] for one in found]) for name in found[0]}

    def _trained(
        self, x: np.ndarray, y: np.ndarray, first: np.ndarray, last: np.ndarray
    ) -> dict[str, float]:
        w, a = np.vstack([first, first]), np.concatenate([last, -last])
        w0, a0 = w.copy(), a.copy()
        start = _kernel(x, w, a)
        zero, spread = float(y @ y), float(np.linalg.norm(x, 2))
        for done in range(self.updates + 1):
            hidden = x @ w.T
            active = hidden > 0
            missed = np.where(active, hidden, 0.0) @ a - y
            if missed @ missed <= FITTED * zero or done == self.updates:
                break
            # From small starts the kernel is small and grows at the rate of the residuals.
            bound = np.linalg.norm(_kernel(x, w, a)) + spread * np.linalg.norm(missed)
            step = STEP / bound
            slope_w = (active * missed[:, None]).T @ x * a[:, None]
            a = a - step * (np.where(active, hidden, 0.0).T @ missed)
            w = w - step * slope_w
        end = _kernel(x, w, a)
        size = np.sqrt(np.sum(w0**2) + np.sum(a0**2))
        cosine = np.sum(start * end) / (np.linalg.norm(start) * np.linalg.norm(end))
        return {
            "kernel": float(np.linalg.norm(end - start) / np.linalg.norm(start)),
            "angle": float(1 - cosine),
            "moved": float(np.sqrt(np.sum((w - w0) ** 2) + np.sum((a - a0) ** 2)) / size),
            "fit": float(missed @ missed / zero),
            "updates": float(done),
        }


def _kernel(x: np.ndarray, w: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Return the tangent kernel of x ↦ a·relu(Wx)."""
    hidden = x @ w.T
    active = (hidden > 0) * 1.0
    values = np.maximum(hidden, 0.0)
    return values @ values.T + (x @ x.T) * ((active * a**2) @ active.T)
