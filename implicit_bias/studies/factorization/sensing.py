"""What deep matrix factorisations recover from linear measurements, beside the least nuclear norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

CASES: dict[str, str] = {
    "full data": "WX = Y with half as many examples as inputs, any truth",
    "commuting": "measurements that commute, a truth with a few positive eigenvalues",
    "many Gaussian": "Gaussian measurements with restricted isometry, a low-rank positive truth",
    "few Gaussian": "fewer Gaussian measurements than determine the truth by its nuclear norm",
    "completion": "entries seen at random, a low-rank truth without symmetry",
}
"""What is measured of the truth."""

FITTED = 1e-6
"""Loss over its start's at which training ends."""

CERTIFIED = 1e-6
"""Relative duality gap of the least nuclear norm."""


class Found(NamedTuple):
    """A solution beside the least nuclear norm."""

    excess: float
    error: float
    rank: float
    fit: float
    gap: float
    minimum_error: float
    minimum_rank: float


@dataclass(frozen=True)
class Sensing(Drawn):
    """Gradient flow from multiples of the identity, by case, depth and size of the start.

    Attributes:
        dimension: Rows and columns.
        rank: Of the truth.
        many: Gaussian measurements where they are many.
        few: Likewise where they are few.
        seen: Share of the entries seen in completion.
        depths: Layers.
        starts: Sizes ε of the product at the start; layers begin at ε^{1/L}.
        eigenvalues: Dimension where measurements commute.
    """

    dimension: int
    rank: int
    many: int
    few: int
    seen: float
    depths: tuple[int, ...]
    starts: tuple[float, ...]
    eigenvalues: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("sensing_case", "sensing_depth", "sensing_start")
        names = {
            "excess": "nuclear norm over the least one, less 1",
            "error": "‖W − truth‖_F/‖truth‖_F",
            "rank": "effective rank",
            "fit": "loss over that of W = 0",
        }
        return {f"sensing_{name}": Variable(dims, "1", what) for name, what in names.items()} | {
            "minimum_gap": Variable(("sensing_case",), "1", "relative duality gap of the least norm"),
            "minimum_error": Variable(("sensing_case",), "1", "error of the matrix of least norm"),
            "minimum_rank": Variable(("sensing_case",), "1", "effective rank of the matrix of least norm"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Cases, depths and sizes of the start."""
        return {
            "sensing_case": tuple(CASES),
            "sensing_depth": self.depths,
            "sensing_start": self.starts,
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Recover the truths of one seed."""
        found = []
        for place, case in enumerate(CASES):
            rng = role_generator(seed, "data", place)
            found.append(self._commuting(rng) if case == "commuting" else self._flows(case, rng))
        made = {
            f"sensing_{name}": np.array(
                [[[getattr(one, name) for one in row] for row in case] for case in found]
            )
            for name in ("excess", "error", "rank", "fit")
        }
        return made | {
            f"minimum_{name}": np.array([getattr(case[0][0], field) for case in found])
            for name, field in (
                ("gap", "gap"), ("error", "minimum_error"), ("rank", "minimum_rank"),
            )
        }  # fmt: skip

    def _flows(self, case: str, rng: np.random.Generator) -> list[list[Found]]:
        measurements, values, truth = self._problem(case, rng)
        if case == "full data":
            # W of least nuclear norm with WX = Y is YX⁺, which is that of least Frobenius norm as well.
            least = theory.nuclear_minimum(measurements, values, tolerance=1e-8)
        else:
            least = theory.nuclear_minimum(measurements, values, tolerance=CERTIFIED)
        slope = theory.sensed_error(measurements, values)
        return [
            [self._flow(slope, truth, least, depth, start) for start in self.starts]
            for depth in self.depths
        ]

    def _problem(
        self, case: str, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        d = self.dimension
        truth = theory.low_rank(rng, d, d, self.rank)
        if case in ("many Gaussian", "few Gaussian"):
            half = rng.standard_normal((d, self.rank))
            truth = half @ half.T
            truth /= np.linalg.norm(truth, 2)
            count = self.many if case == "many Gaussian" else self.few
            measurements = rng.standard_normal((count, d, d)) / np.sqrt(count)
        elif case == "completion":
            count = max(round(self.seen * d * d), 1)
            measurements = np.eye(d * d)[rng.permutation(d * d)[:count]].reshape(count, d, d)
        else:
            truth = rng.standard_normal((d, d))
            truth /= np.linalg.norm(truth, 2)
            inputs = np.linalg.qr(rng.standard_normal((d, d // 2)))[0]
            # Every output of every example is one measurement, e_k xᵀ.
            measurements = np.einsum("kl,de->keld", np.eye(d), inputs).reshape(-1, d, d)
        return measurements, np.einsum("mij,ij->m", measurements, truth), truth

    def _flow(self, slope: Any, truth: np.ndarray, least: Any, depth: int, start: float) -> Found:
        begin = [start ** (1 / depth) * np.eye(self.dimension)] * depth
        zero = slope(np.zeros_like(truth))[0]
        path = theory.network_flow(
            begin, slope, until=theory.fitted(FITTED * zero), longest=1e7, most_steps=20_000,
            tolerance=1e-5, times=[],
        )  # fmt: skip
        w = path.products[-1]
        return _compared(w, truth, least.matrix, least.norm, least.gap, path.losses[-1] / zero)

    def _commuting(self, rng: np.random.Generator) -> list[list[Found]]:
        """Return the limits where A_i = Q diag(a_i) Qᵀ: of eigenvalues alone, in closed form.

        Of all W with these measurements the diagonal part of QᵀWQ has no larger nuclear norm, so that the
        least one is a linear programme in the eigenvalues, of either sign.
        """
        from scipy.optimize import linprog

        n = self.eigenvalues
        active, count = 2, n // 3
        a = rng.standard_normal((count, n)) / np.sqrt(count)
        truth = np.zeros(n)
        truth[rng.permutation(n)[:active]] = rng.uniform(0.5, 1.0, active)
        values = a @ truth
        least = linprog(np.ones(2 * n), A_eq=np.hstack([a, -a]), b_eq=values)
        minimum = least.x[:n] - least.x[n:]
        return [
            [
                _compared(
                    theory.diagonal_limit(
                        a, values, start ** (1 / depth), depth=depth, signed=False
                    ).weights,
                    truth, minimum, least.fun, 0.0, 0.0,
                )
                for start in self.starts
            ]
            for depth in self.depths
        ]  # fmt: skip


def _compared(
    w: np.ndarray, truth: np.ndarray, minimum: np.ndarray, norm: float, gap: float, fit: float
) -> Found:
    """Compare matrices, or eigenvalues of symmetric ones."""

    def singular(matrix: np.ndarray) -> np.ndarray:
        return np.abs(matrix) if matrix.ndim == 1 else np.linalg.svd(matrix, compute_uv=False)

    size = np.linalg.norm(truth)
    return Found(
        float(singular(w).sum() / norm - 1),
        float(np.linalg.norm(w - truth) / size),
        float(theory.effective_rank(singular(w))),
        float(fit),
        float(gap),
        float(np.linalg.norm(minimum - truth) / size),
        float(theory.effective_rank(singular(minimum))),
    )
