"""Mini-batches against all examples at once, where labels can be fitted and where they cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.minimum_norm.designs import (
    distance,
    generator,
    linear_model,
    nearest,
)
from implicit_bias.training.experiment import Variable

AVERAGED = 0.5
"""Share of the updates, the last ones, over which runs that do not settle are averaged."""

WALKS = 4
"""Independent runs where labels cannot be fitted, of which means are kept."""


@dataclass(frozen=True)
class Batches(Drawn):
    """Stochastic gradient descent to its end, by batch size, with and without momentum.

    Attributes:
        examples: Examples m where there are more features; elsewhere features.
        inputs: Features n where there are more; elsewhere examples.
        sizes: Batch sizes; the largest is m, all examples.
        momentum: β of the runs with momentum, whose step sizes are 1 − β times as large.
        fraction: Step size over where mini-batches cease to converge in mean square.
        updates: Updates of every run.
    """

    examples: int
    inputs: int
    sizes: tuple[int, ...]
    momentum: float
    fraction: float
    updates: int

    @property
    def momenta(self) -> tuple[float, float]:
        """Momenta of runs."""
        return 0.0, self.momentum

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("batch", "batch_momentum")
        return {
            "batch_error": Variable(dims, "1", "‖w − X⁺y‖/‖X⁺y‖ at the end, from zero"),
            "batch_error_elsewhere": Variable(
                dims, "1", "distance from the solution nearest to a random start, relative"
            ),
            "batch_outside": Variable(dims, "1", "way outside the row space over the whole way"),
            "batch_norm": Variable(dims, "1", "‖w‖/‖X⁺y‖ at the end, from zero"),
            "batch_step": Variable(("batch",), "1", "step size, of the batch's mean"),
            "batch_limit": Variable(("batch",), "1", "where it ceases to converge in mean square"),
            "noisy_square": Variable(
                dims, "1", "mean ‖w‖² over ‖X⁺y‖² where labels cannot be fitted, last half of the updates"
            ),
            "noisy_centre": Variable(dims, "1", "‖mean w − X⁺y‖/‖X⁺y‖ there"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Batch sizes and momenta."""
        return {"batch": self.sizes, "batch_momentum": self.momenta}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Run all batch sizes on the data of one seed."""
        rng, order = generator(seed), role_generator(seed, "data_order")
        x, y, _ = linear_model(rng, self.examples, self.inputs, 0.5)
        start = rng.standard_normal(self.inputs)
        design = theory.modes(x)
        limits = np.array([theory.mean_square_limit(design, size) for size in self.sizes])
        steps = self.fraction * limits
        starts = np.stack([np.zeros(self.inputs), start])
        goals = nearest(x, y, starts)
        ends = self._run(order, x, y, starts, steps)[0]
        moved = ends - starts[:, None, None]
        outside = np.linalg.norm(moved - theory.row_part(design, moved), axis=-1)
        truth = rng.standard_normal(self.examples)
        truth *= np.sqrt(self.examples) / np.linalg.norm(truth)
        tall, noisy, _ = linear_model(rng, self.inputs, self.examples, 2.0, truth)
        best = nearest(tall, noisy, np.zeros((1, self.examples)))[0]
        there = self.fraction * theory.mean_square_limit(theory.modes(tall), self.sizes[0])
        _, centre, square = self._run(
            order, tall, noisy, np.zeros((WALKS, self.examples)), np.full(len(steps), there)
        )
        return {
            "batch_error": distance(ends[0], goals[0]),
            "batch_error_elsewhere": distance(ends[1], goals[1]),
            "batch_outside": (outside / np.linalg.norm(moved, axis=-1)).max(axis=0),
            "batch_norm": np.linalg.norm(ends[0], axis=-1) / np.linalg.norm(goals[0]),
            "batch_step": steps,
            "batch_limit": limits,
            "noisy_square": square.mean(axis=0) / np.sum(best**2),
            "noisy_centre": distance(centre.mean(axis=0), best),
        }

    def _run(
        self, order: np.random.Generator, x: np.ndarray, y: np.ndarray, starts: np.ndarray, steps: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
        """Return ends, means and mean squares of late iterates, (starts, sizes, momenta, n) or less n."""
        m, n = x.shape
        sizes, momenta = np.asarray(self.sizes), np.asarray(self.momenta)
        shape = (len(starts), len(sizes), len(momenta), n)
        # All runs are rows of one matrix, which is multiplied at once.
        w = np.broadcast_to(starts[:, None, None], shape).reshape(-1, n).copy()
        running, centre = np.zeros(w.shape), np.zeros(w.shape)
        square, counted = np.zeros(len(w)), 0
        # A batch of all of the smaller training set is a batch of all here.
        wanted = np.where(sizes == sizes[-1], m, sizes)
        scale = np.broadcast_to(
            steps[:, None] * (1 - momenta) / wanted[:, None], shape[:-1]
        ).reshape(-1, 1)
        beta = np.broadcast_to(momenta, shape[:-1]).reshape(-1, 1)
        many = np.broadcast_to(wanted[:, None], shape[:-1]).reshape(-1, 1)
        ranks = np.argsort(order.random((self.updates, len(starts), m)), axis=-1)
        for update in range(self.updates):
            each = np.repeat(ranks[update], len(w) // len(starts), axis=0)
            running = beta * running + ((w @ x.T - y) * (each < many)) @ x
            w = w - scale * running
            if update >= (1 - AVERAGED) * self.updates:
                centre, square, counted = centre + w, square + np.sum(w**2, axis=-1), counted + 1
        w, centre = w.reshape(shape), centre.reshape(shape)
        square = square.reshape(shape[:-1])
        return w, centre / counted, square / counted
