"""The chapter's exercise on logistic regression and its solution's script, run as they are written.

Both draw two classes of unit variance around (2, 2) and (−2, −2), descend on the logistic loss of a line with
a bias, and compare with a support vector machine. The exercise averages losses, normalises by the length of
weights and bias together and so has a hard margin that counts the bias; the script sums losses, and takes
scikit-learn's machine, which leaves the bias free.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.margin.designs import (
    DECADE,
    blobs,
    decades,
    generator,
    separable_blobs,
)
from implicit_bias.studies.margin.flows import angle_between
from implicit_bias.training.experiment import Variable

DISTANCE = float(np.sqrt(8.0))
"""Of the means (±2, ±2) from the origin."""


class Setup(NamedTuple):
    """What is stated: examples of a class, step size on the sum of losses, steps, start, the bias's norm."""

    examples: int
    step: float
    steps: int
    start: tuple[float, float, float]
    free: int


SETUPS: dict[str, Setup] = {
    "exercise": Setup(100, 0.01 / 200, 50_000, (0.01, 0.01, 0.0), 0),
    "script": Setup(50, 0.01, 20_000, (0.0, 0.0, 0.0), 1),
}
"""Exercise C.3, and its solution."""

SCRIPT_SEED = 42
"""Of the generator that the script seeds."""

AT = (5000, 10_000, 15_000, 20_000)
"""Steps at which the script is said to print loss and norm."""

PRINTED: dict[str, tuple[float, ...]] = {
    "loss": (0.043215, 0.008123, 0.001234, 0.000156),
    "norm": (4.2341, 7.5623, 9.3421, 10.1234),
    "angle": (0.52,),
    "margin": (0.989631,),
    "hard": (0.989547,),
}
"""What it is said to print: mean loss and ‖(w, b)‖ at those steps, then angle and both margins."""

ROWS = 200
"""Examples are padded to so many, so that both set-ups share a compiled loop."""

ANGLE = 1.0
"""Degrees that are claimed."""


@dataclass(frozen=True)
class Scripts(Drawn):
    """Both set-ups on separable draws; and how often a draw is separable.

    Attributes:
        draws: Training sets that are asked whether a line separates them.
        tests: Test points.
        horizon: Decimal logarithm of the last time to which the same path is followed.
    """

    draws: int
    tests: int
    horizon: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        each, at = ("setup",), ("setup", "printed_step")
        return {
            "script_separable": Variable(each, "fraction", "draws that a line separates"),
            "script_bisected": Variable(
                each, "fraction", "draws that the line halfway between the means separates"
            ),
            "script_hard": Variable(each, "1", "hard margin"),
            "script_margin": Variable(each, "1", "margin of descent at the last step"),
            "script_angle": Variable(each, "degrees", "angle to the machine at the last step"),
            "script_limit": Variable(
                each, "degrees", "angle to the machine that descent tends to: that of the hard margin with "
                "the bias counted",
            ),
            "script_norm": Variable(at, "1", "‖(w, b)‖"),
            "script_loss": Variable(at, "1", "mean loss"),
            "script_loss_shape": Variable(
                each, "1", "fall of the log loss in the last half of the steps, over that in the quarter "
                "before: 2 if exponential",
            ),
            "script_norm_shape": Variable(each, "1", "the same of the norm's logarithm"),
            "script_train": Variable(each, "%", "training accuracy"),
            "script_test": Variable(each, "%", "test accuracy"),
            "script_wait": Variable(
                each, "decades of steps", "decimal logarithm of the steps until the angle to its limit is "
                "one degree; that of the last time if it is not reached",
            ),
        } | {
            f"printed_{name}": Variable(
                ("printed_step",) if len(said) > 1 else (), "1", "the script with its own seed"
            )
            for name, said in PRINTED.items()
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Set-ups, and steps that are printed."""
        return {"setup": tuple(SETUPS), "printed_step": AT}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Run both set-ups on one seed's draws."""
        found = [self._run(generator(seed, 5, place), setup)
                 for place, setup in enumerate(SETUPS.values())]  # fmt: skip
        own = as_printed()
        return {f"script_{name}": np.asarray([one[name] for one in found]) for name in found[0]} | {
            f"printed_{name}": np.asarray(value) for name, value in own.items()
        }

    def _run(self, rng: np.random.Generator, setup: Setup) -> dict[str, Any]:
        tried = [blobs(rng, setup.examples, DISTANCE) for _ in range(self.draws)]
        signed = [theory.signed_examples(*one) for one in tried]
        share = np.mean([theory.separable(one) for one in signed])
        halved = np.mean([np.all(one[:, 0] + one[:, 1] > 0) for one in signed])
        z = separable_blobs(rng, setup.examples, DISTANCE).signed
        tests = theory.signed_examples(*blobs(rng, self.tests // 2, DISTANCE))
        quarter = setup.steps // 4
        path = descend(z, setup, sorted({*AT, quarter, 2 * quarter, setup.steps}))
        last = path[setup.steps]
        machine = theory.hard_margin(z, free=setup.free)
        limit = theory.hard_margin(z)
        losses, norms = ({k: f(w) for k, w in path.items()} for f in (_log_mean(z), np.linalg.norm))
        marks = (quarter, 2 * quarter, setup.steps)
        return {
            "separable": share,
            "bisected": halved,
            "hard": machine.margin,
            "margin": _margin(z, last, setup.free),
            "angle": float(np.degrees(angle_between(last, machine.weights))),
            "limit": float(np.degrees(angle_between(limit.weights, machine.weights))),
            "norm": [float(norms[k]) for k in AT],
            "loss": [float(np.exp(losses[k])) for k in AT],
            "loss_shape": _shape([float(losses[k]) for k in marks]),
            "norm_shape": _shape([float(np.log(norms[k])) for k in marks]),
            "train": 100 * np.mean(z @ last > 0),
            "test": 100 * np.mean(tests @ last > 0),
            "wait": self._wait(z, setup, limit.weights),
        }

    def _wait(self, z: np.ndarray, setup: Setup, goal: np.ndarray) -> float:
        """Return decades of steps until the path stays within a degree of its limit."""
        marks = np.asarray(decades(self.horizon))
        path = theory.flow_path(z, marks * DECADE, start=np.asarray(setup.start))
        beyond = np.flatnonzero(np.degrees(theory.angles_to(path, goal)) > ANGLE)
        first = 0 if not beyond.size else min(int(beyond[-1]) + 1, len(marks) - 1)
        return float(marks[first] - np.log10(setup.step))


def descend(z: np.ndarray, setup: Setup, recorded: Sequence[int]) -> dict[int, np.ndarray]:
    """Return the weights of gradient descent after given steps, every step taken."""
    padded = np.concatenate([z, np.zeros((max(0, ROWS - len(z)), z.shape[1]))])
    path = theory.plain_steps(padded, setup.step, recorded, start=np.asarray(setup.start))
    return dict(zip(recorded, path, strict=True))


@functools.cache
def as_printed() -> dict[str, Any]:
    """Run the script with its own seed, once, and return what it prints, by the names of ``PRINTED``."""
    setup = SETUPS["script"]
    rng = np.random.RandomState(SCRIPT_SEED)
    positive = rng.randn(setup.examples, 2) + 2
    negative = rng.randn(setup.examples, 2) - 2
    labels = np.repeat([1.0, -1.0], setup.examples)
    z = theory.signed_examples(np.concatenate([positive, negative]), labels)
    path = descend(z, setup, AT)
    machine, last = theory.hard_margin(z, free=1), path[AT[-1]]
    return {
        "loss": [np.exp(_log_mean(z)(w)) for w in path.values()],
        "norm": [np.linalg.norm(w) for w in path.values()],
        "angle": float(np.degrees(angle_between(last, machine.weights))),
        "margin": _margin(z, last, 1),
        "hard": machine.margin,
    }


def _margin(z: np.ndarray, w: np.ndarray, free: int) -> float:
    return float((z @ w).min() / np.linalg.norm(w[: len(w) - free]))


def _log_mean(z: np.ndarray) -> Any:
    return lambda w: float(theory.log_loss(z, w)) - np.log(len(z))


def _shape(values: list[float]) -> float:
    """Return the change in the last half over that in the quarter before."""
    return float((values[2] - values[1]) / (values[1] - values[0]))
