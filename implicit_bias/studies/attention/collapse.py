"""Untrained stacks of attention: without anything else, all positions become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

STACKS: dict[str, str] = {
    "attention alone": "h ← A V W_O",
    "attention alone, causal": "the same, each position looking back only",
    "with skips": "h ← h + A V W_O",
    "with skips and MLPs": "h ← h + A V W_O, then h ← h + W₂ relu(W₁ h)",
}
"""What is stacked."""


@dataclass(frozen=True)
class Stacks(Drawn):
    """How different positions stay, from layer to layer of untrained single-head attention.

    What is measured is ‖H − 1 h̄ᵀ‖/‖H‖ in Frobenius norms, h̄ the mean over positions: 0 where all
    positions are one vector, a matrix of rank one (Dong, Cordonnier and Loukas 2021, section 2). Weights
    are N(0, 1/width), and vectors are normalised before each branch, as in the study's networks; stacks of
    a seed share their draws.

    Attributes:
        length: Positions.
        width: Size of vectors.
        layers: Layers.
    """

    length: int
    width: int
    layers: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "residual": Variable(
                ("stack", "stack_layer"),
                "1",
                "distance from one vector for all positions, relative",
            )
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Stacks, and layers from the inputs on."""
        return {"stack": tuple(STACKS), "stack_layer": tuple(range(self.layers + 1))}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Run the stacks of one seed."""
        found = np.zeros((len(STACKS), self.layers + 1))
        for row, name in enumerate(STACKS):
            rng = role_generator(seed, "initialisation")
            h = rng.standard_normal((self.length, self.width))
            found[row, 0] = residual(h)
            for layer in range(self.layers):
                h = self._layer(rng, h, name)
                found[row, 1 + layer] = residual(h)
        return {"residual": found}

    def _layer(self, rng: np.random.Generator, h: np.ndarray, name: str) -> np.ndarray:
        size = self.width
        # All are drawn in every stack, so that stacks have the same attention.
        query, key, value, mix, up, down = rng.standard_normal((6, size, size)) / np.sqrt(size)
        x = _normalised(h)
        logits = (x @ query) @ (x @ key).T / np.sqrt(size)
        if "causal" in name:
            logits[np.triu_indices(self.length, 1)] = -np.inf
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        mixed = weights @ x @ value @ mix
        if "skips" not in name:
            return mixed
        h = h + mixed
        if "MLPs" in name:
            h = h + np.maximum(_normalised(h) @ up, 0) @ down
        return h


def residual(h: np.ndarray) -> float:
    """Return ‖H − 1 h̄ᵀ‖/‖H‖ of vectors (length, width)."""
    return float(np.linalg.norm(h - h.mean(axis=0, keepdims=True)) / np.linalg.norm(h))


def _normalised(h: np.ndarray) -> np.ndarray:
    centred = h - h.mean(axis=1, keepdims=True)
    whole: np.ndarray = centred / np.maximum(centred.std(axis=1, keepdims=True), 1e-300)
    return whole
