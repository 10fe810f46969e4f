"""Ranks of a deep linear network while it trains: the exact one, the effective one and the stable one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

WEAKEST = 0.5
"""Least singular value of the truth; its largest is 1."""

TRAINED = 1
"""Which of the truths is also learnt by a network, with singular vectors unlike its start's."""


@dataclass(frozen=True)
class Ranks(Drawn):
    """A deep linear network from αI on whitened inputs, for truths of several ranks.

    For a symmetric positive truth singular values follow their law, and ranks with them, at any dimension.
    One truth without symmetry is learnt by a network, layer by layer.

    Attributes:
        dimension: Inputs and outputs.
        depth: Layers.
        truths: Ranks of the truth.
        start: Size of the product at the start.
        times: Times of a trajectory.
    """

    dimension: int
    depth: int
    truths: tuple[int, ...]
    start: float
    times: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        line, dims = ("rank_truth", "rank_point"), ("rank_truth",)
        return {
            "rank_time": Variable(("rank_point",), "time", "time of gradient flow"),
            "rank_effective": Variable(line, "1", "effective rank of the product"),
            "rank_stable": Variable(line, "1", "stable rank of the product"),
            "rank_nuclear": Variable(line, "1", "nuclear norm over the truth's"),
            "rank_exact": Variable(line, "1", "singular values above 0"),
            "rank_of_truth": Variable(dims, "1", "effective rank of the truth"),
            "rank_trained": Variable(("rank_point",), "1", "effective rank of the network that is trained"),
            "rank_trained_exact": Variable((), "1", "its numerical rank at the end, in double precision"),
            "rank_trained_truth": Variable((), "1", "effective rank of its truth"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Ranks of the truth and points of a trajectory."""
        return {"rank_truth": self.truths, "rank_point": tuple(range(self.times))}

    @property
    def grid(self) -> np.ndarray:
        """Times until the weakest mode has been learnt."""
        last = theory.mode_time(self.start, 0.999 * WEAKEST, WEAKEST, self.depth)
        return np.linspace(0, 1.3 * float(last), self.times)

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Follow the ranks of one seed."""
        grid = self.grid
        found: list[tuple[np.ndarray, ...]] = []
        of_truth = []
        for rank in self.truths:
            rng = role_generator(seed, "data", rank)
            targets = self._spectrum(rng, rank)
            values = np.stack(
                [theory.mode_path(grid, self.start, one, self.depth) for one in targets]
                + [self._fading(grid)] * (self.dimension - rank)
            ).T
            found.append((*self._measured(values), targets))
            of_truth.append(float(theory.effective_rank(targets)))
        names = ("effective", "stable", "nuclear", "exact")
        made: dict[str, Any] = {
            f"rank_{name}": np.stack([one[place] for one in found])
            for place, name in enumerate(names)
        }
        for place, one in enumerate(found):
            made["rank_nuclear"][place] /= one[-1].sum()
        made |= {"rank_time": grid, "rank_of_truth": np.array(of_truth)}
        return made | self._trained(seed, grid)

    def _spectrum(self, rng: np.random.Generator, rank: int) -> np.ndarray:
        """Return singular values of a truth: 1 and others between that and the least, drawn."""
        drawn = rng.uniform(WEAKEST, 1.0, rank)
        drawn[0] = 1.0
        return np.sort(drawn)[::-1]

    def _fading(self, times: np.ndarray) -> np.ndarray:
        """Return a mode whose target is 0: σ′ = −Lσ^{3−2/L}."""
        power = 2 - 2 / self.depth
        return (self.start**-power + power * self.depth * times) ** (-1 / power)

    def _measured(self, values: np.ndarray) -> tuple[np.ndarray, ...]:
        return (
            theory.effective_rank(values),
            theory.stable_rank(values),
            values.sum(axis=1),
            (values > 0).sum(axis=1).astype(float),
        )

    def _trained(self, seed: int, grid: np.ndarray) -> dict[str, Any]:
        size = self.dimension
        rng = role_generator(seed, "initialisation")
        targets = self._spectrum(rng, self.truths[min(TRAINED, len(self.truths) - 1)])
        u, v = (np.linalg.qr(rng.standard_normal((size, size)))[0] for _ in range(2))
        target = (u[:, : targets.size] * targets) @ v[:, : targets.size].T
        path = theory.network_flow(
            [self.start ** (1 / self.depth) * np.eye(size)] * self.depth,
            theory.squared_error(np.eye(size), target),
            until=lambda w, loss: -1.0, longest=2 * grid[-1], times=2 * grid, tolerance=1e-5,
        )  # fmt: skip
        values = np.linalg.svd(path.products[: grid.size], compute_uv=False)
        return {
            "rank_trained": theory.effective_rank(values),
            "rank_trained_exact": np.asarray(float(np.linalg.matrix_rank(path.products[-1]))),
            "rank_trained_truth": theory.effective_rank(targets),
        }
