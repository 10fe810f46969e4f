"""Singular values while deep linear networks train, beside the law that they follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

TARGETS = (1.0, 0.5, 0.25)
"""Singular values of the target; the others are 0."""

LEARNT = 0.9
"""Share of the strongest mode at which the next is looked at."""

STARTS = ("αI, symmetric target", "turned at random")
"""Where training starts: with the target's own singular vectors, and with others."""


@dataclass(frozen=True)
class Modes(Drawn):
    """Trajectories of singular values on whitened inputs, by depth.

    Attributes:
        dimension: Inputs and outputs.
        depths: Layers.
        start: Size of the product at the start.
        alpha: Scale of each layer's start where that is held fixed instead.
        times: Times of a trajectory.
    """

    dimension: int
    depths: tuple[int, ...]
    start: float
    alpha: float
    times: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        line = ("mode_start", "mode_depth", "mode", "mode_point")
        dims = ("mode_start", "mode_depth")
        return {
            "mode_time": Variable(("mode_depth", "mode_point"), "time", "time of gradient flow"),
            "mode_value": Variable(line, "1", "singular value of the product, strongest first"),
            "mode_law": Variable(("mode_depth", "mode", "mode_point"), "1", "the same by the law"),
            "mode_second": Variable(
                dims, "1", f"second mode over its target when the first is at {LEARNT:g} of its own"
            ),
            "mode_when": Variable(dims, "time", "when that is"),
            "mode_second_scaled": Variable(
                ("mode_depth",), "1", "the same by the law where each layer starts at one α"
            ),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Starts, depths, modes and points of a trajectory."""
        return {
            "mode_start": STARTS,
            "mode_depth": self.depths,
            "mode": tuple(range(1, len(TARGETS) + 1)),
            "mode_point": tuple(range(self.times)),
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Train the networks of one seed."""
        times = [self.grid(depth) for depth in self.depths]
        runs = [[self._run(seed, start, depth) for depth in self.depths] for start in STARTS]
        law = [
            [theory.mode_path(grid, self.start, target, depth) for target in TARGETS]
            for depth, grid in zip(self.depths, times, strict=True)
        ]
        return {
            "mode_time": np.stack(times),
            "mode_law": np.array(law),
            "mode_value": np.stack([np.stack([one[0] for one in row]) for row in runs]),
            "mode_second": np.array([[one[1] for one in row] for row in runs]),
            "mode_second_scaled": np.array(
                [
                    theory.second_mode(depth, self.alpha**depth, TARGETS[1] / TARGETS[0], LEARNT)
                    for depth in self.depths
                ]
            ),
            "mode_when": np.array([[one[2] for one in row] for row in runs]),
        }

    def grid(self, depth: int) -> np.ndarray:
        """Return times until the weakest mode has been learnt, by the law."""
        weakest = TARGETS[-1]
        last = theory.mode_time(self.start, 0.99 * weakest, weakest, depth)
        return np.linspace(0, 1.1 * float(last), self.times)

    def _run(self, seed: int, start: str, depth: int) -> tuple[np.ndarray, float, float]:
        rng = role_generator(seed, "data", STARTS.index(start))
        size = self.dimension
        values = np.zeros(size)
        values[: len(TARGETS)] = TARGETS
        u, v = (np.linalg.qr(rng.standard_normal((size, size)))[0] for _ in range(2))
        if start == STARTS[0]:
            v, begin = u, self.start * np.eye(size)
        else:
            begin = rng.standard_normal((size, size))
            begin *= self.start / np.linalg.norm(begin, 2)
        target = (u * values) @ v.T
        slope = theory.squared_error(np.eye(size), target)
        layers = theory.balanced_layers(begin, depth)
        grid = self.grid(depth)
        # The law is held against these; an error made on a plateau moves the time at which it ends.
        tolerance = 1e-12 if start == STARTS[0] else 1e-6
        path = theory.network_flow(
            layers, slope, until=lambda w, loss: -1.0, longest=grid[-1], times=grid, tolerance=tolerance
        )  # fmt: skip
        found = np.linalg.svd(path.products[: grid.size], compute_uv=False)[:, : len(TARGETS)].T
        ended = theory.network_flow(
            layers, slope, times=[], tolerance=1e-6,
            until=lambda w, loss: float(np.linalg.norm(w, 2)) - LEARNT * TARGETS[0],
        )  # fmt: skip
        second = float(np.linalg.svd(ended.products[-1], compute_uv=False)[1]) / TARGETS[1]
        return found, second, float(ended.times[-1])
