"""A linear predictor in other parameters: w = u² − v², where the noise of mini-batches does decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.minimum_norm.designs import generator, linear_model
from implicit_bias.training.experiment import Variable

DESCENTS = ("all examples", "one example")


@dataclass(frozen=True)
class DiagonalNetwork(Drawn):
    """Descent on u and v by all examples and by one at a time, from one start with one step size.

    Labels have no noise and a sparse truth. Without noise of batches the limit lies between the shortest in
    L2 and in L1, by the start's scale; noise acts as a smaller scale.

    Attributes:
        examples: Examples m.
        inputs: Features n, more.
        sparse: Features that matter, each with weight ±1/√sparse.
        scale: Initial value of all u and v.
        step_size: Of the mean of squares; one for both.
        updates: Updates of both.

    References:
        S. Pesme, L. Pillaud-Vivien, N. Flammarion, *Implicit bias of SGD for diagonal linear networks*,
        NeurIPS 2021.
    """

    examples: int
    inputs: int
    sparse: int
    scale: float
    step_size: float
    updates: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("diagonal_descent",)
        return {
            "diagonal_error": Variable(dims, "1", "‖w − truth‖ at the end, truth of norm 1"),
            "diagonal_length": Variable(dims, "1", "‖w‖₁ over the truth's"),
            "diagonal_misfit": Variable(dims, "1", "‖Xw − y‖/‖y‖ at the end"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Ways of descent."""
        return {"diagonal_descent": DESCENTS}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Descend on the data of one seed."""
        rng, order = generator(seed), role_generator(seed, "data_order")
        m, n = self.examples, self.inputs
        truth = np.zeros(n)
        truth[: self.sparse] = rng.choice([-1.0, 1.0], self.sparse) / np.sqrt(self.sparse)
        x, y, _ = linear_model(rng, m, n, 0.0, truth)
        ends = np.stack([self._end(x, y, None), self._end(x, y, order)])
        return {
            "diagonal_error": np.linalg.norm(ends - truth, axis=1),
            "diagonal_length": np.abs(ends).sum(axis=1) / np.abs(truth).sum(),
            "diagonal_misfit": np.linalg.norm(ends @ x.T - y, axis=1) / np.linalg.norm(y),
        }

    def _end(self, x: np.ndarray, y: np.ndarray, order: np.random.Generator | None) -> np.ndarray:
        u, v = np.full(x.shape[1], self.scale), np.full(x.shape[1], self.scale)
        rows = None if order is None else order.integers(0, len(y), self.updates)
        for update in range(self.updates):
            w = u * u - v * v
            if rows is None:
                slope = (x @ w - y) @ x / len(y)
            else:
                one = x[rows[update]]
                slope = (one @ w - y[rows[update]]) * one
            push = 2 * self.step_size * slope
            u, v = u * (1 - push), v * (1 + push)
        return np.asarray(u * u - v * v)
