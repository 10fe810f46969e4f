"""Linear residual networks: how large gradients must be where the loss is not yet least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane


@dataclass(frozen=True)
class LinearBlocks(Experiment):
    """``f(A) = E‖(I + A_L)…(I + A_1) x − y‖²`` for y linear in x with noise, exactly.

    With ‖A_i‖ ≤ τ < 1 for all blocks, ``‖∇f‖² ≥ 4 L (1 − τ)^{2(L−1)} σ_min(Σ) (f − f_least)``, as every
    product of blocks has singular values of at least 1 − τ to the power of their number: no critical
    point but global minima. Outside there are others, such as A_1 = A_2 = −I.

    Attributes:
        depths: Blocks L.
        dimension: Of x and of y.
        draws: Networks of a seed, each of its own τ, target and inputs' covariance Σ.

    References:
        Hardt & Ma, *Identity matters in deep learning* (2017), theorem 2.2; the constants here follow
        from its proof.
    """

    depths: tuple[int, ...]
    dimension: int = 8
    draws: int = 20

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        made = {
            "inside_ratio": "‖∇f‖² over its lower bound, smallest of the draws with ‖A‖ ≤ τ < 1",
            "outside_gradient": "‖∇f‖ where two blocks are zero maps, relative to that of A = 0",
            "outside_loss": "f − f_least there, relative to that of A = 0",
        }
        return {name: Variable(("exact_depth",), "1", what) for name, what in made.items()}

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Depths."""
        return {"exact_depth": self.depths}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Measure one seed."""
        rng = role_generator(seed, "data")
        rows = [self._at_depth(rng, depth) for depth in self.depths]
        return {name: np.asarray([row[name] for row in rows]) for name in self.variables}

    def _at_depth(self, rng: np.random.Generator, depth: int) -> dict[str, float]:
        ratios, outside = [], {"outside_gradient": np.nan, "outside_loss": np.nan}
        for draw in range(self.draws):
            d = self.dimension
            target = rng.standard_normal((d, d))
            root = rng.standard_normal((d, d))
            covariance = root @ root.T / d + 0.1 * np.eye(d)
            tau = float(rng.uniform(0.05, 0.95))
            blocks = [_of_norm(rng.standard_normal((d, d)), tau) for _ in range(depth)]
            loss, gradients = excess_loss(blocks, target, covariance)
            least = float(np.linalg.eigvalsh(covariance)[0])
            bound = 4 * depth * (1 - tau) ** (2 * (depth - 1)) * least * loss
            ratios.append(sum(np.sum(np.square(g)) for g in gradients) / bound)
            if draw == 0 and depth > 1:
                start, at_start = excess_loss([np.zeros((d, d))] * depth, target, covariance)
                dead = [-np.eye(d), -np.eye(d), *blocks[2:]]
                there, at_dead = excess_loss(dead, target, covariance)
                outside = {
                    "outside_gradient": _norm(at_dead) / _norm(at_start),
                    "outside_loss": there / start,
                }
        return {"inside_ratio": float(min(ratios)), **outside}


def excess_loss(
    blocks: Sequence[np.ndarray], target: np.ndarray, covariance: np.ndarray
) -> tuple[float, list[np.ndarray]]:
    """Return f − f_least of a linear residual network, and its gradient with respect to each block.

    Args:
        blocks: A_1, …, A_L, each (d, d).
        target: What y is of x, (d, d).
        covariance: Σ of x, (d, d).
    """
    steps = [np.eye(len(target)) + block for block in blocks]
    below = [np.eye(len(target))]
    for step in steps:
        below.append(step @ below[-1])
    error = below[-1] - target
    loss = float(np.trace(error @ covariance @ error.T))
    above = np.eye(len(target))
    gradients: list[np.ndarray] = []
    for place in reversed(range(len(steps))):
        gradients.insert(0, 2 * above.T @ error @ covariance @ below[place].T)
        above = above @ steps[place]
    return loss, gradients


def _of_norm(matrix: np.ndarray, norm: float) -> np.ndarray:
    scaled: np.ndarray = norm * matrix / np.linalg.norm(matrix, 2)
    return scaled


def _norm(gradients: Sequence[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.sum(np.square(g)) for g in gradients)))
