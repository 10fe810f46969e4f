"""What depth adds: completion by depth, with the product's start held fixed, or each layer's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

FITTED = 1e-5
"""Loss over its start's at which training ends."""


@dataclass(frozen=True)
class Depths(Drawn):
    """Completion of a low-rank matrix from a small balanced start, by depth.

    Attributes:
        dimension: Rows and columns.
        rank: Of the truth.
        seen: Share of entries seen.
        depths: Layers.
        start: Size of the product at the start.
    """

    dimension: int
    rank: int
    seen: float
    depths: tuple[int, ...]
    start: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("depth_layers",)
        return {
            "depth_error": Variable(dims, "1", "‖W − truth‖_F/‖truth‖_F over entries not seen"),
            "depth_rank": Variable(dims, "1", "effective rank of the solution"),
            "depth_stable": Variable(dims, "1", "stable rank of the solution"),
            "depth_tail": Variable(dims, "1", "σ_{r+1}/σ_1 of the solution, r the rank of the truth"),
            "depth_nuclear": Variable(dims, "1", "nuclear norm over the truth's"),
            "depth_fit": Variable(dims, "1", "loss over that of W = 0"),
            "depth_minimum_error": Variable((), "1", "the same error of the matrix of least nuclear norm"),
            "depth_minimum_rank": Variable((), "1", "effective rank of the matrix of least nuclear norm"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Depths."""
        return {"depth_layers": self.depths}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Complete the matrix of one seed."""
        rng = role_generator(seed, "data")
        d = self.dimension
        truth = theory.low_rank(rng, d, d, self.rank)
        count = max(round(self.seen * d * d), 1)
        seen = (rng.permutation(d * d) < count).reshape(d, d)
        begin = rng.standard_normal((d, d))
        begin *= self.start / np.linalg.norm(begin, 2)
        least = theory.nuclear_minimum(
            np.eye(d * d)[seen.ravel()].reshape(-1, d, d), truth[seen], tolerance=1e-5
        ).matrix
        found = [self._completed(truth, seen, begin, depth) for depth in self.depths]
        return {f"depth_{name}": np.array([one[name] for one in found]) for name in found[0]} | {
            "depth_minimum_error": np.asarray(_missed(least, truth, seen)),
            "depth_minimum_rank": theory.effective_rank(np.linalg.svd(least, compute_uv=False)),
        }

    def _completed(
        self, truth: np.ndarray, seen: np.ndarray, begin: np.ndarray, depth: int
    ) -> dict[str, float]:
        slope = theory.completed_error(seen, truth)
        zero = slope(np.zeros_like(truth))[0]
        path = theory.network_flow(
            theory.balanced_layers(begin, depth), slope, until=theory.fitted(FITTED * zero),
            longest=1e7, tolerance=1e-5, most_steps=20_000, times=[],
        )  # fmt: skip
        w = path.products[-1]
        s = np.linalg.svd(w, compute_uv=False)
        return {
            "error": _missed(w, truth, seen),
            "rank": float(theory.effective_rank(s)),
            "stable": float(theory.stable_rank(s)),
            "tail": float(s[min(self.rank, s.size - 1)] / s[0]),
            "nuclear": float(s.sum() / np.linalg.norm(truth, "nuc")),
            "fit": float(path.losses[-1] / zero),
        }


def _missed(w: np.ndarray, truth: np.ndarray, seen: np.ndarray) -> float:
    return float(np.linalg.norm((w - truth)[~seen]) / np.linalg.norm(truth[~seen]))
