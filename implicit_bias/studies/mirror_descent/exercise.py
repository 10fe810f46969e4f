"""Exercise C.15: projected gradient descent and exponentiated gradient on one non-negative regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.mirror_descent.descend import descend, steepness
from implicit_bias.training.experiment import Variable

EXAMPLES, FEATURES, SIGMA, FEW = 50, 20, 0.1, 10
TOTAL, ACTIVE = 25.0, 8
"""Sum of the true weights, and how many are not zero where they are sparse: what is published of
the solution."""

TRUTHS: dict[str, str] = {
    "sparse": f"{ACTIVE} of {FEATURES} true weights are not zero, their sum is {TOTAL:g}",
    "dense": f"no true weight is zero, their sum is {TOTAL:g}",
    "sum 1": "no true weight is zero, their sum is 1",
    "few examples": f"as sparse, but {FEW} examples without noise: many solutions",
}
"""What the exercise leaves open, and a design in which solutions are not unique."""

SOLVERS: dict[str, str] = {
    "projected": "gradient descent from 0, negative weights set to zero",
    "exponentiated from 1/n": "unnormalised exponentiated gradient, all weights from 1/n",
    "exponentiated from 1e-6": "the same from 1e-6",
    "normalised": "exponentiated gradient divided by the sum, from 1/n",
}

SHORTER = 10
"""Projected descent has so many times fewer updates: its rate does not depend on weights that are small."""

LONGER, FITTED = 20, 1e-6
"""With few examples, how many times as long a run may be, and ‖Xw − y‖/‖y‖ at which it ends."""

NEGLIGIBLE = 0.01
"""Weights below this count as zero, as the exercise has it."""


@dataclass(frozen=True)
class Exercise(Drawn):
    """50 examples of 20 features, non-negative weights and noise of 0.1, solved in two geometries.

    Attributes:
        draws: Data sets of a seed, of each kind of true weights.
        updates: Updates of every run.
    """

    draws: int
    updates: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name; of each data set."""
        each = ("truth", "solver", "exercise_draw")
        return {
            "exercise_count": Variable(each, "1", f"weights of at least {NEGLIGIBLE:g}"),
            "exercise_l1": Variable(each, "1", "‖w‖₁"),
            "exercise_l2": Variable(each, "1", "‖w‖₂"),
            "exercise_loss": Variable(each, "1", "‖Xw − y‖², relative to ‖y‖²"),
            "exercise_distance": Variable(
                each, "1", "largest difference from non-negative least squares, of its largest weight"
            ),
            "exercise_weights": Variable(
                ("truth", "solver", "exercise_weight"), "1", "weights of the first data set"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """True weights, solvers, data sets, weights."""
        return {
            "truth": tuple(TRUTHS),
            "solver": tuple(SOLVERS),
            "exercise_draw": tuple(range(self.draws)),
            "exercise_weight": tuple(range(FEATURES)),
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Draw and solve the data sets of one seed."""
        from scipy.optimize import nnls

        rng = role_generator(seed, "data", "exercise C.15")
        sets = [_drawn(rng, truth) for truth in TRUTHS for _ in range(self.draws)]
        x, y = (np.stack(part) for part in zip(*sets, strict=True))
        exact = np.stack([nnls(a, b)[0] for a, b in sets])
        many = slice((len(TRUTHS) - 1) * self.draws)
        few = slice(many.stop, None)
        w = np.stack(
            [
                np.concatenate(
                    [
                        self._solved(name, x[many], y[many], exact[many]),
                        self._solved(name, x[few, :FEW], y[few, :FEW], exact[few]),
                    ]
                )
                for name in SOLVERS
            ],
            axis=1,
        )
        left = np.einsum("bmn,bsn->bsm", x, w) - y[:, None]
        apart = np.abs(w - exact[:, None]).max(axis=-1) / exact.max(axis=-1)[:, None]

        def shaped(values: np.ndarray) -> np.ndarray:
            array = values.reshape(len(TRUTHS), self.draws, len(SOLVERS), *values.shape[2:])
            return np.swapaxes(array, 1, 2).astype(float)

        return {
            "exercise_count": shaped((w >= NEGLIGIBLE).sum(axis=-1)),
            "exercise_l1": shaped(np.abs(w).sum(axis=-1)),
            "exercise_l2": shaped(np.linalg.norm(w, axis=-1)),
            "exercise_loss": shaped((left**2).sum(axis=-1) / (y**2).sum(axis=-1)[:, None]),
            "exercise_distance": shaped(apart),
            "exercise_weights": shaped(w)[:, :, 0],
        }

    def _solved(self, solver: str, x: np.ndarray, y: np.ndarray, exact: np.ndarray) -> np.ndarray:
        """Run a solver; where all labels can be fitted, longer, until they are."""
        count, fits = len(x), x.shape[1] < FEATURES and solver != "normalised"
        updates = max(1, self.updates // SHORTER) if solver == "projected" or fits else self.updates
        options: dict[str, Any] = {
            "blocks": 1, "every": updates, "rounds": SHORTER * LONGER if fits else 1,
            "tolerance": FITTED,
        }  # fmt: skip
        if solver == "projected":
            step = [1 / float(np.linalg.norm(one, 2)) ** 2 for one in x]
            zero = np.zeros((count, FEATURES))
            run = descend("sgd", x, y, zero, {"step_size": step}, projected=True, **options)
        elif solver == "normalised":
            step = [0.25 / float(np.max(np.sum(one**2, axis=0))) for one in x]
            start = np.full((count, FEATURES), 1 / FEATURES)
            run = descend("simplex_descent", x, y, start, {"step_size": step}, **options)
        else:
            # What a step size is held against is the largest curvature in the entropy's metric, diag(w).
            step = [0.5 / steepness(one, w) for one, w in zip(x, exact, strict=True)]
            begin = 1 / FEATURES if solver.endswith("1/n") else 1e-6
            start = np.full((count, FEATURES), begin)
            run = descend("exponentiated_gradient", x, y, start, {"step_size": step}, **options)
        return run.weights


def _drawn(rng: np.random.Generator, truth: str) -> tuple[np.ndarray, np.ndarray]:
    """Draw a data set of a kind of ``TRUTHS``; rows of fewer examples are filled up with zeros."""
    x = rng.standard_normal((EXAMPLES, FEATURES))
    w = np.abs(rng.standard_normal(FEATURES))
    noise = SIGMA * rng.standard_normal(EXAMPLES)
    if truth in ("sparse", "few examples"):
        w[ACTIVE:] = 0.0
    w *= (1.0 if truth == "sum 1" else TOTAL) / w.sum()
    y = x @ w + noise
    if truth == "few examples":
        y = x @ w
        x[FEW:], y[FEW:] = 0.0, 0.0
    return x, y
