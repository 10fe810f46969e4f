"""What width adds: conditioning of the tangent kernel, speed, and where training then ends."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

STARTS = ("Gaussian", "orthogonal")
FITTED = 1e-4
"""Loss over its start's at which training ends."""

STEP = 0.5
"""Step size, in units of the inverse of the kernel's largest eigenvalue at the start."""


@dataclass(frozen=True)
class Widths(Drawn):
    """Deep linear networks of several widths on whitened inputs, by gradient descent.

    Attributes:
        dimension: Inputs and outputs.
        depth: Layers.
        widths: Units of the hidden layers.
        updates: At most.
    """

    dimension: int
    depth: int
    widths: tuple[int, ...]
    updates: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("width_start", "width")
        return {
            "width_condition": Variable(dims, "1", "condition number of the tangent kernel at the start"),
            "width_updates": Variable(dims, "updates", f"updates until the loss is {FITTED:g} of its "
            "start's"),
            "width_unfitted": Variable(dims, "1", "1 where it is not within the updates"),
            "width_left": Variable(
                dims, "1", "‖W‖_F on inputs that no example has, over ‖W‖_F, with half as many examples"
            ),
            "width_excess": Variable(
                dims, "1", "nuclear norm over that of the least solution, less 1, with half as many examples"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Starts and widths."""
        return {"width_start": STARTS, "width": self.widths}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Train the networks of one seed."""
        found = [[self._trained(seed, s, width) for width in self.widths] for s in STARTS]
        return {
            f"width_{name}": np.array([[one[name] for one in row] for row in found])
            for name in found[0][0]
        }

    def _trained(self, seed: int, start: str, width: int) -> dict[str, float]:
        d = self.dimension
        rng = role_generator(seed, "data")
        target = rng.standard_normal((d, d)) / np.sqrt(d)
        half = np.linalg.qr(rng.standard_normal((d, d)))[0][:, : d // 2]
        rng = role_generator(seed, "initialisation", width)
        sizes = (d, *(width,) * (self.depth - 1), d)
        layers = [
            _drawn(rng, n_out, n_in, start) for n_in, n_out in itertools.pairwise(sizes)
        ]  # fmt: skip
        values = np.linalg.eigvalsh(kernel(layers))
        updates, _ = self._descended(layers, np.eye(d), target, values[-1])
        _, w = self._descended(layers, half, target @ half, values[-1])
        least = target @ half @ half.T
        beyond = w - w @ half @ half.T
        return {
            "condition": float(values[-1] / max(values[0], 1e-300)),
            "updates": float(updates),
            "unfitted": float(updates >= self.updates),
            "left": float(np.linalg.norm(beyond) / np.linalg.norm(w)),
            "excess": float(np.linalg.norm(w, "nuc") / np.linalg.norm(least, "nuc") - 1),
        }

    def _descended(
        self, layers: list[np.ndarray], x: np.ndarray, y: np.ndarray, top: float
    ) -> tuple[int, np.ndarray]:
        layers, step = [layer.copy() for layer in layers], STEP / top
        first = None
        for done in range(self.updates + 1):
            inside = [x]
            for layer in layers:
                inside.append(layer @ inside[-1])
            missed = inside[-1] - y
            loss = float(np.sum(missed**2))
            first = loss if first is None else first
            if loss <= FITTED * first or done == self.updates or not np.isfinite(loss):
                break
            back = missed
            for place in range(len(layers) - 1, -1, -1):
                move = back @ inside[place].T
                back = layers[place].T @ back
                layers[place] -= step * move
        return done, theory.product_of(layers)


def _drawn(rng: np.random.Generator, n_out: int, n_in: int, start: str) -> np.ndarray:
    """Draw a layer: entries of variance 1/n_in, or a multiple of orthonormal rows or columns."""
    if start == "Gaussian":
        return rng.standard_normal((n_out, n_in)) / np.sqrt(n_in)
    tall = (max(n_out, n_in), min(n_out, n_in))
    q, r = np.linalg.qr(rng.standard_normal(tall))
    q = q * np.sign(np.diag(r))
    return q if tall == (n_out, n_in) else q.T


def kernel(layers: Sequence[np.ndarray]) -> np.ndarray:
    """Return the tangent kernel on whitened inputs: Σ_l (W_{>l}W_{>l}ᵀ) ⊗ (W_{<l}ᵀW_{<l})."""
    outer: list[np.ndarray] = [np.eye(layers[-1].shape[0])]
    for layer in reversed(layers[1:]):
        outer.append(outer[-1] @ layer)
    outer.reverse()
    inner = np.eye(layers[0].shape[1])
    total = np.zeros((inner.shape[0] * layers[-1].shape[0],) * 2)
    for place, layer in enumerate(layers):
        total = total + np.kron(outer[place] @ outer[place].T, inner.T @ inner)
        inner = layer @ inner
    return total
