"""Coordinate descent, sign descent and gradient descent: whose norm is least where they end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import role_generator
from implicit_bias.optimizers import Schedule
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.mirror_descent.descend import descend
from implicit_bias.training.experiment import Variable

DESIGNS: dict[str, str] = {
    "sparse": "independent inputs, three weights of 1 to 2 in size make the labels",
    "correlated": "inputs with correlation 0.9^|i − j|, three neighbours of 1 to 2 in size and mixed "
    "signs make them",
    "dense": "independent inputs, all weights make the labels, standard normal",
}
"""What is drawn; no labels are noisy, columns have length 1, and labels are scaled to a least ‖w‖₁ of 1."""

METHODS: dict[str, str] = {
    "ε-steps": "sign(g_j) e_j for the largest |g_j|, ε the smallest",
    "small greedy steps": "g_j e_j for the largest |g_j|, with a small step size",
    "exact greedy steps": "g_j e_j for the largest |g_j|, step size 1: exact on its coordinate, "
    "matching pursuit",
    "exact cyclic steps": "g_j e_j one coordinate after the other, step size 1: Gauss–Seidel",
    "gradient": "gradient descent",
    "sign": "sign(g), with a step size that is halved again and again",
}
"""Methods that are compared, all from zero."""

NORMS = ("1-norm", "2-norm", "maximum norm")

MONOTONE = 1e-6
"""Fall of |w_i| along a lasso path, relative to the last ‖w‖₁, up to which it counts as monotone:
rounding."""

VISIBLE = 1e-3
"""Weight relative to the largest from which it counts."""

REACH = np.linspace(0.1, 0.95, 18)
"""‖w‖₁, relative to the least of an interpolator, at which paths are compared."""

SIGN_STEP, HALVED = 1e-2, 16
"""First step size of sign descent, and how often it is halved."""


@dataclass(frozen=True)
class Coordinates(Drawn):
    """Least squares with fewer examples than weights, by methods that move one weight at a time and others.

    Attributes:
        examples: Examples m.
        features: Weights n.
        draws: Data sets of a seed, of each design.
        epsilons: Step sizes of ε-step descent, falling.
        small: Step size of greedy descent in small steps.
        tolerance: ‖Xw − y‖/‖y‖ at which methods that can end there do.
        updates: Most updates of these.
    """

    examples: int
    features: int
    draws: int
    epsilons: tuple[float, ...]
    small: float
    tolerance: float
    updates: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        each = ("design", "draw")
        return {
            "path_fall": Variable(
                each, "1", "falls of any |w_i| along the lasso's path, of its last ‖w‖₁"
            ),
            "least_nonzero": Variable(each, "1", "weights of least ‖w‖₁ that are not zero"),
            "method_norm": Variable(
                (*each, "algorithm", "norm"), "1", "norm at the end over the least of an interpolator"
            ),
            "method_nonzero": Variable(
                (*each, "algorithm"), "1", f"weights above {VISIBLE:g} of the largest"
            ),
            "method_residual": Variable((*each, "algorithm"), "1", "‖Xw − y‖/‖y‖ at the end"),
            "path_distance": Variable(
                (*each, "epsilon"), "1", "largest 1-norm between the path of ε-steps and the lasso's at one "
                "‖w‖₁, of that"
            ),
            "epsilon_l1": Variable(
                (*each, "epsilon"), "1", "‖w‖₁ of ε-steps at the end over the least"
            ),
            "lasso_shown": Variable(
                ("design", "reach", "weight"), "1", "lasso's path of the first data set"
            ),
            "epsilon_shown": Variable(
                ("design", "reach", "weight"), "1", "path of the smallest ε-steps there"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Designs, methods, norms, step sizes, places."""
        return {
            "design": tuple(DESIGNS),
            "draw": tuple(range(self.draws)),
            "algorithm": tuple(METHODS),
            "norm": NORMS,
            "epsilon": self.epsilons,
            "reach": tuple(float(one) for one in REACH),
            "weight": tuple(range(self.features)),
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Draw the data sets of one seed and run all methods on them."""
        rng = role_generator(seed, "data", "coordinate descent")
        sets = [self.drawn(rng, name) for name in DESIGNS for _ in range(self.draws)]
        x, y = (np.stack(part) for part in zip(*sets, strict=True))
        sparse = [theory.least_l1(*one) for one in sets]
        paths = [theory.lasso_path(*one) for one in sets]
        least = np.stack(
            [
                np.asarray([one.norm for one in sparse]),
                np.linalg.norm([np.linalg.pinv(a) @ b for a, b in sets], axis=1),
                np.asarray([theory.least_linf(*one)[1] for one in sets]),
            ],
            axis=-1,
        )
        stepped = [self._stepped(x, y, epsilon) for epsilon in self.epsilons]
        runs = [stepped[-1], *(self._run(name, x, y) for name in list(METHODS)[1:])]
        norms = np.stack([_norms(one.weights) / least for one in runs], axis=1)
        size = np.abs(np.stack([one.weights for one in runs], axis=1))
        lasso = np.stack([one.at(REACH * one.norms[-1]) for one in paths])
        reached = np.stack([[_at(one, REACH) for one in run.path] for run in stepped], axis=1)
        apart = np.abs(reached - lasso[:, None]).sum(axis=-1) / REACH

        def shaped(values: Any) -> np.ndarray:
            array = np.asarray(values, float)
            return array.reshape(len(DESIGNS), self.draws, *array.shape[1:])

        return {
            "path_fall": shaped([one.fall for one in paths]),
            "least_nonzero": shaped([one.support.sum() for one in sparse]),
            "method_norm": shaped(norms),
            "method_nonzero": shaped((size > VISIBLE * size.max(axis=-1, keepdims=True)).sum(axis=-1)),
            "method_residual": shaped(np.stack([one.residuals for one in runs], axis=1)),
            "path_distance": shaped(apart.max(axis=-1)),
            "epsilon_l1": shaped(
                np.stack([_norms(one.weights)[:, 0] for one in stepped], axis=1) / least[:, :1]
            ),
            "lasso_shown": shaped(lasso)[:, 0],
            "epsilon_shown": shaped(reached[:, -1])[:, 0],
        }  # fmt: skip

    def drawn(self, rng: np.random.Generator, design: str) -> tuple[np.ndarray, np.ndarray]:
        """Draw a data set of a design of ``DESIGNS``: inputs (m, n) and labels (m,)."""
        m, n = self.examples, self.features
        x = rng.standard_normal((m, n))
        truth = np.zeros(n)
        if design == "dense":
            truth[:] = rng.standard_normal(n)
        else:
            truth[:3] = rng.choice([-1.0, 1.0], 3) * (1 + rng.random(3))
        if design == "correlated":
            truth[:3] = np.abs(truth[:3]) * [1, -1, 1]
            for column in range(1, n):
                x[:, column] = 0.9 * x[:, column - 1] + np.sqrt(1 - 0.81) * x[:, column]
        x /= np.linalg.norm(x, axis=0)
        y = x @ truth
        return x, y / theory.least_l1(x, y).norm

    def _stepped(self, x: np.ndarray, y: np.ndarray, epsilon: float) -> Any:
        # ε-steps of a 1-norm of 1 are 1/ε at least; beside it falls and the way on where the path is long.
        count = int(np.ceil(4 / epsilon))
        kept = min(count, 4000)
        return descend(
            "epsilon_coordinate", x, y, np.zeros((len(x), x.shape[2])), {"step_size": epsilon},
            blocks=kept, every=-(-count // kept), keep=True,
        )  # fmt: skip

    def _run(self, method: str, x: np.ndarray, y: np.ndarray) -> Any:
        start = np.zeros((len(x), x.shape[2]))
        if method == "sign":
            halving = max(1, self.updates // HALVED)
            return descend(
                "sign_descent", x, y, start,
                {"step_size": SIGN_STEP, "decay_rate": 0.5, "decay_every": halving},
                blocks=1, every=self.updates, schedule=Schedule("exponential"),
            )  # fmt: skip
        name, step = {
            "small greedy steps": ("greedy_coordinate", self.small),
            "exact greedy steps": ("greedy_coordinate", 1.0),
            "exact cyclic steps": ("cyclic_coordinate", 1.0),
            "gradient": ("sgd", 1 / float(np.max([np.linalg.norm(one, 2) ** 2 for one in x]))),
        }[method]
        # One block serves all: a method that takes longer has more rounds of the same program.
        every = 1000
        return descend(
            name, x, y, start, {"step_size": step}, blocks=1, every=every,
            rounds=-(-self.updates // every), tolerance=self.tolerance,
        )  # fmt: skip


def _norms(weights: np.ndarray) -> np.ndarray:
    """Return the norms of ``NORMS``, last axis."""
    size = np.abs(weights)
    return np.stack(
        [size.sum(axis=-1), np.sqrt((size**2).sum(axis=-1)), size.max(axis=-1)], axis=-1
    )


def _at(path: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return where a path first has given 1-norms, shape (reach, n), linearly between kept iterates."""
    norms = np.abs(path).sum(axis=1)
    longest = np.maximum.accumulate(norms)
    after = np.clip(np.searchsorted(longest, reach), 1, len(path) - 1)
    rise = norms[after] - norms[after - 1]
    part = np.where(rise > 0, (reach - norms[after - 1]) / np.where(rise > 0, rise, 1.0), 1.0)
    part = np.clip(part, 0.0, 1.0)[:, None]
    return np.asarray((1 - part) * path[after - 1] + part * path[after])
