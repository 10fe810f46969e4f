"""Random labels many times over: how a predictor that repeats them fares on true ones, draw by draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable


@dataclass(frozen=True)
class Relabelled(Drawn):
    """The nearest of few points in a square, with random labels, as a predictor of the true classes.

    It fits any labels, so that only their draw decides. Classes are strips of equal width across the first
    coordinate; labels are uniform over the classes and independent of all else.

    Attributes:
        points: Training points.
        tests: Test points.
        classes: Numbers of classes.
        draws: Labellings of a seed's points.
        margin: How far above 1/K an accuracy counts as good after all.
    """

    points: int
    tests: int
    classes: tuple[int, ...]
    draws: int
    margin: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "relabelled_accuracy": Variable(
                ("classes",), "fraction", "accuracy on true classes, mean over labellings"
            ),
            "relabelled_good": Variable(
                ("classes",), "fraction", "labellings whose accuracy exceeds 1/K by the margin"
            ),
            "relabelled_best": Variable(("classes",), "fraction", "best accuracy of any labelling"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Numbers of classes."""
        return {"classes": self.classes}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Relabel the points of one seed."""
        rng = role_generator(seed, "label_noise")
        x, tests = (rng.uniform(-1, 1, (count, 2)) for count in (self.points, self.tests))
        nearest = np.argmin(np.sum((tests[:, None] - x[None, :]) ** 2, axis=2), axis=1)
        found = []
        for k in self.classes:
            truth = np.minimum((tests[:, 0] + 1) * k / 2, k - 1).astype(int)
            labels = rng.integers(0, k, (self.draws, self.points))
            right = np.mean(labels[:, nearest] == truth[None, :], axis=1)
            found.append([right.mean(), np.mean(right > 1 / k + self.margin), right.max()])
        names = ("relabelled_accuracy", "relabelled_good", "relabelled_best")
        return {name: np.asarray(found)[:, place] for place, name in enumerate(names)}
