"""The norm of X⁺y against ‖y‖/σ_r, over spectra and directions of y."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.benign_overfitting.ranks import effective_rank
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

SPECTRA: dict[str, str] = {
    "geometric": "singular values fall geometrically from 1 to 1/κ",
    "low effective rank": "r singular values of 1, all others 1/κ",
}
"""Spectra of X, all of full rank m: every y is interpolated."""

DIRECTIONS: dict[str, str] = {
    "strongest": "y along the first left singular vector",
    "weakest": "y along the last",
    "random": "y uniform on the sphere, as pure noise is",
    "signal": "y = Xθ with θ uniform on the sphere",
}
"""Directions of y."""


@dataclass(frozen=True)
class InterpolatorNorms(Drawn):
    """Ratios ``‖X⁺y‖ σ_r / ‖y‖`` on matrices of prescribed singular values and random singular vectors.

    The ratio is exactly bounded by ``σ_r/σ_1`` from below and ``σ_r/σ_m`` from above.

    Attributes:
        examples: Rows m of X.
        inputs: Columns n, more.
        rank: Large singular values of the spectrum of low effective rank.
        conditions: Values of κ, increasing.
        draws: Matrices of a seed for each spectrum and κ.
    """

    examples: int
    inputs: int
    rank: int
    conditions: tuple[float, ...]
    draws: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("spectrum", "direction", "condition")
        return {
            "norm_ratio": Variable(dims, "1", "‖X⁺y‖ σ_r / ‖y‖, r the effective rank; geometric mean"),
            "norm_ratio_full": Variable(dims, "1", "the same with r = m, the rank"),
            "norm_bound": Variable(
                (), "1", "largest relative excess over the bounds by the extreme singular values"
            ),
            "norm_unfitted": Variable((), "1", "largest ‖XX⁺y − y‖ / ‖y‖"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Spectra, directions, condition numbers."""
        return {
            "spectrum": tuple(SPECTRA),
            "direction": tuple(DIRECTIONS),
            "condition": self.conditions,
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Interpolate on the matrices of one seed."""
        rng = role_generator(seed, "data")
        shape = (len(SPECTRA), len(DIRECTIONS), len(self.conditions))
        effective, full = np.empty(shape), np.empty(shape)
        beyond, unfitted = 0.0, 0.0
        for row, spectrum in enumerate(SPECTRA):
            for column, condition in enumerate(self.conditions):
                values = self.singular_values(spectrum, condition)
                norms, worst = self._norms(rng, values)
                # Norms of y are 1.
                effective[row, :, column] = (
                    np.exp(np.log(norms).mean(axis=0)) * values[effective_rank(values) - 1]
                )
                full[row, :, column] = np.exp(np.log(norms).mean(axis=0)) * values[-1]
                beyond = max(
                    beyond, np.max(norms * values[-1] - 1), np.max(1 / (norms * values[0]) - 1)
                )
                unfitted = max(unfitted, worst)
        return {
            "norm_ratio": effective,
            "norm_ratio_full": full,
            "norm_bound": np.asarray(beyond),
            "norm_unfitted": np.asarray(unfitted),
        }

    def singular_values(self, spectrum: str, condition: float) -> np.ndarray:
        """Return the singular values of a spectrum, decreasing from 1 to 1/κ."""
        place = np.arange(self.examples)
        if spectrum == "geometric":
            return np.asarray(condition ** (-place / (self.examples - 1)))
        return np.where(place < self.rank, 1.0, 1 / condition)

    def _norms(self, rng: np.random.Generator, values: np.ndarray) -> tuple[np.ndarray, float]:
        """Return ‖X⁺y‖ for y of norm 1, (draws, directions), and the largest misfit."""
        m, n = self.examples, self.inputs
        left = np.linalg.qr(rng.standard_normal((self.draws, m, m)))[0]
        right = np.linalg.qr(rng.standard_normal((self.draws, n, m)))[0]
        x = (left * values) @ right.transpose(0, 2, 1)
        theta = rng.standard_normal((self.draws, n, 1))
        y = np.stack(
            [left[..., 0], left[..., -1], rng.standard_normal((self.draws, m)), (x @ theta)[..., 0]],
            axis=2,
        )  # fmt: skip
        y /= np.linalg.norm(y, axis=1, keepdims=True)
        found = np.linalg.pinv(x, rcond=1e-14) @ y
        return np.linalg.norm(found, axis=1), float(np.max(np.linalg.norm(x @ found - y, axis=1)))
