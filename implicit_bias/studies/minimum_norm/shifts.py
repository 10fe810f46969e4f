"""Solutions of zero training loss when inputs change: the shortest in L2, and the shortest in L1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.minimum_norm.designs import generator, linear_model, nearest
from implicit_bias.training.experiment import Variable

TRUTHS: dict[str, str] = {
    "sparse": "few features matter",
    "dense": "all features matter alike",
}
"""What decides labels, with norm 1."""

SHIFTS: dict[str, str] = {
    "none": "test inputs as training inputs",
    "others wider": "the features that do not matter, or the second half, have a wider spread",
    "these wider": "the features that matter, or the first half, have",
}
"""Test inputs."""

SOLUTIONS = ("minimum L2 norm", "minimum L1 norm")


@dataclass(frozen=True)
class Shifts(Drawn):
    """Test errors of two interpolating solutions, exactly, by truth and shift.

    Attributes:
        examples: Examples m.
        inputs: Features n, more.
        sparse: Features that matter where the truth is sparse.
        factor: Factor of the standard deviation of shifted features.
        draws: Training sets of a seed.
    """

    examples: int
    inputs: int
    sparse: int
    factor: float
    draws: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("shift_truth", "shift", "shift_solution")
        return {
            "shifted_error": Variable(
                dims, "1", "test error over the labels' variance in training"
            ),
            "shifted_norm": Variable(
                ("shift_truth", "shift_solution"), "1", "‖w‖, the truth has norm 1"
            ),
            "shifted_unfitted": Variable((), "1", "largest ‖Xw − y‖/‖y‖"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Truths, shifts and solutions."""
        return {
            "shift_truth": tuple(TRUTHS),
            "shift": tuple(SHIFTS),
            "shift_solution": SOLUTIONS,
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Interpolate on the training sets of one seed."""
        rng = generator(seed)
        n, errors, norms, unfitted = self.inputs, [], [], 0.0
        for truth in TRUTHS:
            count = self.sparse if truth == "sparse" else n
            first = np.arange(n) < (self.sparse if truth == "sparse" else n // 2)
            spread = {"none": np.ones(n), "others wider": np.where(first, 1, self.factor),
                      "these wider": np.where(first, self.factor, 1)}  # fmt: skip
            found, lengths = [], []
            for _ in range(self.draws):
                theta = np.where(np.arange(n) < count, rng.choice([-1.0, 1.0], n), 0.0)
                theta /= np.linalg.norm(theta)
                x, y, _ = linear_model(rng, self.examples, n, 0.0, theta)
                pair = np.stack([nearest(x, y, np.zeros((1, n)))[0], shortest_l1(x, y)])
                misfit = np.linalg.norm(pair @ x.T - y, axis=1) / np.linalg.norm(y)
                unfitted = max(unfitted, float(misfit.max()))
                found.append([(pair - theta) ** 2 @ spread[shift] ** 2 for shift in SHIFTS])
                lengths.append(np.linalg.norm(pair, axis=1))
            errors.append(np.mean(found, axis=0))
            norms.append(np.mean(lengths, axis=0))
        return {
            "shifted_error": np.stack(errors),
            "shifted_norm": np.stack(norms),
            "shifted_unfitted": np.asarray(unfitted),
        }


def shortest_l1(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the solution of Xw = y of least ‖w‖₁, by linear programming."""
    from scipy.optimize import linprog

    n = x.shape[1]
    found = linprog(np.ones(2 * n), A_eq=np.hstack([x, -x]), b_eq=y, method="highs")
    return np.asarray(found.x[:n] - found.x[n:])
