"""The script to C.11 in its solutions: gradient descent and normalised exponentiated gradient, as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.mirror_descent.descend import descend
from implicit_bias.training.experiment import Variable

FIRST_SEED = 42
"""Seed of the script; the study's seed 0 repeats its numbers, the others are more of the same."""

EXAMPLES, FEATURES, SIGMA, UPDATES = 80, 30, 0.05, 5000
STEP, MIRROR_STEP, BETA = 0.01, 0.1, 2.0

PRINTED: dict[str, tuple[float, float]] = {
    "l1": (5.2315, 3.2344),
    "l2": (0.4532, 0.3124),
    "loss": (0.001234, 0.001289),
}
"""What it is said to print of gradient descent and of the normalised one."""

SAID_SPARSER = 38.2
"""Per cent by which the second 1-norm is said to be smaller."""

RUNS: dict[str, str] = {
    "gradient": "gradient descent from 0, 5000 updates of 0.01",
    "normalised": "exponentiated gradient divided by the sum, from 1/n, 5000 updates of 0.05",
    "least squares": "the only minimum of the loss",
    "two-sided": "unnormalised exponentiated gradient of w = u − v, u and v from 0.01, until it rests",
}

TWO_SIDED, LONG = 0.01, 20_000
"""First weights of the two-sided run, and its updates."""


@dataclass(frozen=True)
class Script(Drawn):
    """80 examples of 30 features, true weights of both signs: as the script has it, drawing in its order."""

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What it prints, and the same of two runs beside it."""
        run = ("script_run",)
        return {
            "script_l1": Variable(run, "1", "‖w‖₁ at the end"),
            "script_l2": Variable(run, "1", "‖w‖₂ at the end"),
            "script_loss": Variable(run, "label²", "half mean squared training error at the end"),
            "script_apart": Variable(run, "1", "‖w − least squares‖₁/‖least squares‖₁"),
            "script_sum": Variable((), "1", "largest |‖w‖₁ − 1| of the normalised run, of all iterates"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Runs."""
        return {"script_run": tuple(RUNS)}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Repeat the script for one seed."""
        draw = np.random.RandomState(FIRST_SEED + seed)
        x = draw.randn(EXAMPLES, FEATURES) / np.sqrt(FEATURES)
        truth = draw.randn(FEATURES) * 0.1
        y = x @ truth + SIGMA * draw.randn(EXAMPLES)
        descended, mirrored, off = np.zeros(FEATURES), np.full(FEATURES, 1 / FEATURES), 0.0
        for _ in range(UPDATES):
            descended -= STEP * (x.T @ (x @ descended - y))
            mirrored *= np.exp(-MIRROR_STEP * (x.T @ (x @ mirrored - y)) / BETA)
            mirrored /= np.sum(mirrored)
            off = max(off, abs(float(np.sum(np.abs(mirrored))) - 1))
        exact = np.linalg.lstsq(x, y, rcond=None)[0]
        # u and v are at most as large as weights are: a tenth or so.
        step = 0.5 / (np.linalg.norm(x, 2) ** 2 * (np.abs(exact).max() + 2 * TWO_SIDED))
        sides = descend(
            "exponentiated_gradient", np.concatenate([x, -x], axis=1)[None], y[None],
            np.full((1, 2 * FEATURES), TWO_SIDED), {"step_size": step}, blocks=1, every=LONG,
        ).weights[0]  # fmt: skip
        ends = np.stack([descended, mirrored, exact, sides[:FEATURES] - sides[FEATURES:]])
        left = ends @ x.T - y
        return {
            "script_l1": np.abs(ends).sum(axis=1),
            "script_l2": np.linalg.norm(ends, axis=1),
            "script_loss": 0.5 * np.mean(left**2, axis=1),
            "script_apart": np.abs(ends - exact).sum(axis=1) / np.abs(exact).sum(),
            "script_sum": np.asarray(off),
        }
