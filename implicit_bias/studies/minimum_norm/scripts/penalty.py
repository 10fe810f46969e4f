"""Ridge regression over penalties that are all too small: the script to C.5, and the range that is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.minimum_norm.scripts.printed import S5_PENALTIES, seeds_of_script
from implicit_bias.theory.least_squares import modes, ridge_solutions
from implicit_bias.training.experiment import Variable

EXAMPLES, FEATURES, SIGMA, TESTS = 100, 50, 0.05, 50
FEWER, SETS = 60, 20
"""Examples with which a penalty helps, and data sets of a seed over which its loss is averaged."""
WIDE = tuple(float(f"{value:.3g}") for value in np.geomspace(1e-5, 1e3, 33))
"""Penalties that reach beyond the eigenvalues of XᵀX."""


@dataclass(frozen=True)
class RidgeScript(Drawn):
    """The script to C.5: 100 examples of 50 features, penalties of at most 0.01 beside a sum of squares.

    Eigenvalues of XᵀX are 9 to 290, so that penalties this small change nothing. Beside its 50 test
    examples, the expectation over new ones is taken, penalties of up to 1000, and 60 examples, where small
    eigenvalues let noise in.

    Attributes:
        repeats: Runs of a seed.
    """

    repeats: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What it prints, and what that can be held against."""
        once = ("script_run",)
        each, wide = (*once, "s5_penalty"), (*once, "s5_wide")
        return {
            "s5_norm": Variable(each, "1", "‖w‖ as printed"),
            "s5_train": Variable(each, "label²", "training loss as printed"),
            "s5_test": Variable(each, "label²", "test loss as printed"),
            "s5_least": Variable(once, "1", "smallest eigenvalue of XᵀX"),
            "s5_optimal": Variable(once, "1", "nσ²/‖w_true‖²"),
            "s5_gain": Variable(once, "1", "expected test loss without a penalty over the least"),
            "s5_wide_norm": Variable(wide, "1", "‖w‖"),
            "s5_wide_test": Variable(wide, "label²", "expected test loss"),
            "s5_fewer_test": Variable(
                wide, "label²", f"expected test loss with {FEWER} examples, mean over data sets"
            ),
            "s5_fewer_best": Variable(once, "1", "penalty of least loss there"),
            "s5_fewer_gain": Variable(once, "1", "loss without a penalty over the least there"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Penalties."""
        return {
            "script_run": tuple(range(self.repeats)), "s5_penalty": S5_PENALTIES, "s5_wide": WIDE,
        }  # fmt: skip

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Run the script with the seeds of one of the study's, drawing in its order."""
        rng = role_generator(seed, "data", "script S.5")
        runs = [
            self._run(np.random.RandomState(one), rng)
            for one in seeds_of_script(seed, self.repeats)
        ]
        return {name: np.stack([run[name] for run in runs]) for name in runs[0]}

    def _run(self, draw: np.random.RandomState, rng: np.random.Generator) -> dict[str, Any]:
        """Run it once."""
        x = draw.randn(EXAMPLES, FEATURES)
        truth = draw.randn(FEATURES) * 0.1
        y = x @ truth + SIGMA * draw.randn(EXAMPLES)
        x_test = draw.randn(TESTS, FEATURES)
        y_test = x_test @ truth + SIGMA * draw.randn(TESTS)
        design = modes(x)

        def half(inputs: np.ndarray, labels: np.ndarray, w: np.ndarray) -> np.ndarray:
            return 0.5 * np.mean((w @ inputs.T - labels) ** 2, axis=1)

        w = ridge_solutions(design, y, S5_PENALTIES)
        penalties = (0.0, *WIDE)
        wide = ridge_solutions(design, y, penalties)
        expected = _expected(wide, truth)
        fewer = np.zeros(len(penalties))
        for _ in range(SETS):
            inputs, signal = (
                rng.standard_normal((FEWER, FEATURES)),
                0.1 * rng.standard_normal(FEATURES),
            )
            labels = inputs @ signal + SIGMA * rng.standard_normal(FEWER)
            fewer += _expected(ridge_solutions(modes(inputs), labels, penalties), signal) / SETS
        power = float(np.sum(truth**2))
        return {
            "s5_norm": np.linalg.norm(w, axis=1),
            "s5_train": half(x, y, w),
            "s5_test": half(x_test, y_test, w),
            "s5_least": design.curvatures[-1],
            "s5_optimal": FEATURES * SIGMA**2 / power,
            "s5_gain": expected[0] / expected.min(),
            "s5_wide_norm": np.linalg.norm(wide[1:], axis=1),
            "s5_wide_test": expected[1:],
            "s5_fewer_test": fewer[1:],
            "s5_fewer_best": penalties[int(np.argmin(fewer))],
            "s5_fewer_gain": fewer[0] / fewer.min(),
        }


def _expected(w: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the expected loss on new examples with standard normal features, ½(‖w − w_true‖² + σ²)."""
    risk: np.ndarray = 0.5 * (np.sum((w - truth) ** 2, axis=1) + SIGMA**2)
    return risk
