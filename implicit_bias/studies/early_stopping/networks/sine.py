"""Exercise C.4: a ReLU network of 301 parameters on 20 noisy points of a sine, from a small start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.early_stopping.networks.shallow import (
    Shallow,
    descend,
    half_squares,
    interpolator,
    outputs,
    raised,
    small_start,
)
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

RUNS: dict[str, str] = {
    "stated": "gradient descent as stated, without penalty",
    "penalised": "the same with the penalty λ(‖W₁‖² + ‖W₂‖²)",
    "printed": "the same with the gradients as printed, whose signs make it climb",
    "longer": "the same start, for longer and with larger steps",
}
"""Runs from one start."""

FRACTIONS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Of a run's iterations, after which it is evaluated."""

PLACES = tuple(float(place) for place in np.linspace(0, 2 * np.pi, 101))
"""Where learnt functions are kept."""


class Descent(NamedTuple):
    """Step size (negative where it climbs), iterations and λ of one run."""

    step_size: float
    iterations: int
    penalty: float = 0.0


@dataclass(frozen=True)
class SmallStart(Experiment):
    """Full-batch gradient descent on (1/2m) Σ (f(x_i) − y_i)² in double precision.

    Attributes:
        examples: Training points, uniform on [0, 2π], targets sin x plus noise.
        tests: Test points, drawn alike.
        noise: Standard deviation of the noise.
        width: Hidden units.
        start: Standard deviation of all initial parameters.
        step_size: As stated.
        iterations: As stated.
        penalty: λ of the penalised run.
        longer_step_size: Of the longer run.
        longer_iterations: Of the longer run.
    """

    examples: int
    tests: int
    noise: float
    width: int
    start: float
    step_size: float
    iterations: int
    penalty: float
    longer_step_size: float
    longer_iterations: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        logged = ("sine_run", "sine_log")
        return {
            "sine_time": Variable(logged, "1", "step size × iterations"),
            "sine_train": Variable(logged, "half mean square", "training loss"),
            "sine_test": Variable(logged, "half mean square", "loss on test points"),
            "sine_inner": Variable(logged, "parameter", "‖W₁‖"),
            "sine_outer": Variable(logged, "parameter", "‖W₂‖"),
            "sine_learnt": Variable(("sine_run", "sine_place"), "1", "the learnt function"),
            "sine_points": Variable(("sine_point", "sine_axis"), "1", "training points"),
            "sine_printed": Variable(
                (), "1", "‖printed − numerical gradient‖ over that of the numerical one"
            ),
            "sine_fitted": Variable(
                (), "half mean square", "training loss of a network that is constructed"
            ),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Runs, evaluations, places, points."""
        return {
            "sine_run": tuple(RUNS),
            "sine_log": FRACTIONS,
            "sine_place": PLACES,
            "sine_point": tuple(range(self.examples)),
            "sine_axis": ("x", "y"),
        }

    @property
    def runs(self) -> tuple[Descent, ...]:
        """The runs, in the order of ``RUNS``; the printed gradients are the negatives of the true ones."""
        stated = Descent(self.step_size, self.iterations)
        return (
            stated,
            stated._replace(penalty=self.penalty),
            stated._replace(step_size=-self.step_size),
            Descent(self.longer_step_size, self.longer_iterations),
        )

    def __call__(
        self, pool: Pool, seed: Any, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Train one seed's network in all runs."""
        del pool, lanes
        rng = role_generator(seed, "data")
        x, tests = (rng.uniform(0, 2 * np.pi, count) for count in (self.examples, self.tests))
        y, truth = (np.sin(at) + self.noise * rng.standard_normal(at.size) for at in (x, tests))
        first = small_start(role_generator(seed, "initialisation"), self.width, self.start)
        shape = len(RUNS), len(FRACTIONS)
        names = ("time", "train", "test", "inner", "outer")
        found: dict[str, Any] = {f"sine_{name}": np.full(shape, np.nan) for name in names}
        found["sine_learnt"] = np.full((len(RUNS), len(PLACES)), np.nan)
        for row, run in enumerate(self.runs):
            net, done = first, 0
            for column, fraction in enumerate(FRACTIONS):
                until = round(fraction * run.iterations)
                net = descend(net, x, y, run.step_size, until - done, penalty=run.penalty)
                done = until
                with np.errstate(over="ignore", invalid="ignore"):
                    values = (
                        abs(run.step_size) * done,
                        half_squares(net, x, y), half_squares(net, tests, truth), *net.norms,
                    )  # fmt: skip
                for name, value in zip(names, values, strict=True):
                    found[f"sine_{name}"][row, column] = value
            with np.errstate(over="ignore", invalid="ignore"):
                found["sine_learnt"][row] = outputs(net, np.asarray(PLACES))
        found["sine_printed"] = _distance(
            printed_gradient(first, x, y), numerical_gradient(first, x, y)
        )
        found["sine_points"] = np.stack([x, y], axis=1)
        found["sine_fitted"] = half_squares(interpolator(x, y, self.width), x, y)
        return found


def printed_gradient(net: Shallow, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the gradient as the source's code has it, ∂ℓ/∂b₁ summed over examples: W₁, b₁, W₂, b₂."""
    hidden = np.maximum(net.inner @ raised(x), 0)
    difference, m = outputs(net, x) - y, x.size
    back = net.outer[:, None] * difference * (hidden > 0)
    return np.concatenate(
        [
            -(1 / m) * (back @ x),
            -(1 / m) * back.sum(axis=1),
            -(1 / m) * (hidden @ difference),
            [-(1 / m) * difference.sum()],
        ]
    )


def numerical_gradient(net: Shallow, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the gradient of the loss by central differences, in the same order."""
    flat = np.concatenate([net.inner[:, 0], net.inner[:, 1], net.outer, [net.offset]])
    width, step = net.outer.size, 1e-6

    def loss(at: np.ndarray) -> np.ndarray:
        inner = np.stack([at[..., :width], at[..., width : 2 * width]], axis=-1)
        net = Shallow(inner, at[..., 2 * width : -1], at[..., -1])
        found: np.ndarray = half_squares(net, x, y)
        return found

    moves = step * np.eye(flat.size)
    return (loss(flat + moves) - loss(flat - moves)) / (2 * step)


def _distance(found: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(found - reference) / np.linalg.norm(reference))
