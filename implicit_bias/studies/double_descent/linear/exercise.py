"""Exercise C.5 of the chapter, as it is set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.double_descent.linear.designs import FIRST
from implicit_bias.studies.double_descent.linear.solve import (
    least_squares,
)
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

EXAMPLES, SIGMA = 50, 0.01
PEAK, BEYOND = 3.0, 60
"""How much larger the loss at the threshold is to be, and than where; published: 3 to 5 times the least."""
SIZES = (10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 100, 150, 200, 300, 500)


@dataclass(frozen=True)
class Exercise(Drawn):
    """Ten features that make the labels are drawn once, further ones anew in every trial and for every size.

    A seed is the whole exercise. The mean over a test set of N noisy examples is, given the solution, its
    expectation times a χ²_N variable over N, and is drawn as such.

    Attributes:
        trials: Repetitions.
        tests: Test examples.
    """

    trials: int
    tests: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        each = ("exercise_features",)
        return {
            "exercise_mean": Variable(each, "label²", "mean test loss over trials"),
            "exercise_median": Variable(each, "label²", "median test loss over trials"),
            "exercise_deviation": Variable(
                each, "label²", "standard deviation of the test loss over trials"
            ),
            "exercise_train": Variable(each, "label²", "mean of half the mean squared training error"),
            "exercise_norm": Variable(each, "1", "mean ‖w‖ over trials"),
            "exercise_signal": Variable((), "1", "‖w‖ of the signal"),
            "exercise_peaks": Variable(
                (), "fraction", f"trials in which the loss at n = {EXAMPLES} is {PEAK:g} times that at "
                f"{BEYOND} or more"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Sizes."""
        return {"exercise_features": SIZES}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Do the exercise once."""
        rng = role_generator(seed, "data", "exercise")
        truth = rng.standard_normal(FIRST)
        signal = rng.standard_normal((EXAMPLES, FIRST))
        test, train, norm = (np.empty((self.trials, len(SIZES))) for _ in range(3))
        for column, size in enumerate(SIZES):
            others = rng.standard_normal((self.trials, EXAMPLES, size - FIRST))
            x = np.concatenate(
                [np.broadcast_to(signal, (self.trials, *signal.shape)), others], axis=2
            )
            noise = SIGMA * rng.standard_normal((self.trials, EXAMPLES))
            labels = signal @ truth + noise
            w = least_squares(x, labels[:, :, None])[:, :, 0]
            missed = w.copy()
            missed[:, :FIRST] -= truth
            luck = rng.chisquare(self.tests, self.trials) / self.tests
            test[:, column] = (np.sum(missed**2, axis=1) + SIGMA**2) * luck
            residual = np.einsum("dmn,dn->dm", x, w) - labels
            train[:, column] = np.mean(residual**2, axis=1) / 2
            norm[:, column] = np.linalg.norm(w, axis=1)
        return {
            "exercise_mean": test.mean(axis=0),
            "exercise_median": np.median(test, axis=0),
            "exercise_deviation": test.std(axis=0, ddof=1),
            "exercise_train": train.mean(axis=0),
            "exercise_norm": norm.mean(axis=0),
            "exercise_signal": np.linalg.norm(truth),
            "exercise_peaks": np.mean(
                test[:, SIZES.index(EXAMPLES)] >= PEAK * test[:, SIZES.index(BEYOND)]
            ),
        }
