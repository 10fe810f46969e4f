"""A small network trained for a hundred epochs: few or many examples, noisy or clean labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.early_stopping.two_layer import TwoLayer, batches
from implicit_bias.training.experiment import Variable

INPUTS, TESTS, NOISE, TEACHERS = 10, 500, 0.5, 5
"""Inputs, test examples, the noise's standard deviation where there is any, and units of the teacher."""

EVERY = 2
"""Epochs between evaluations."""

REPEATS = 4
"""Networks of a seed, each with its own teacher, examples and start; they are trained at once."""

CONDITIONS: dict[str, tuple[str, float]] = {
    "few, noisy": ("examples", NOISE),
    "few, clean": ("examples", 0.0),
    "many, clean": ("many", 0.0),
}
"""Training sets: how many examples, and the noise on their labels."""


@dataclass(frozen=True)
class LongTraining(Drawn):
    """Losses of a network along its epochs; targets are those of a teacher network, with variance 1.

    Attributes:
        examples: Training examples where they are few.
        many: Where they are many.
        width: Hidden units.
        step_size: Of stochastic gradient descent.
        batch_size: Examples in an update.
        epochs: Epochs.
    """

    examples: int
    many: int
    width: int
    step_size: float
    batch_size: int
    epochs: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("long_condition", "long_epoch")
        return {
            "long_train": Variable(dims, "label²", "training loss, mean over networks"),
            "long_test": Variable(
                dims, "label²", "test loss, with labels as noisy as those of training"
            ),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Conditions and epochs."""
        return {
            "long_condition": tuple(CONDITIONS),
            "long_epoch": tuple(range(0, self.epochs + 1, EVERY)),
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Train the networks of one seed; conditions share starts, inputs and noise."""
        rng = role_generator(seed, "data")
        directions = rng.standard_normal((REPEATS, INPUTS, TEACHERS)) / np.sqrt(INPUTS)
        signs = rng.choice([-1.0, 1.0], (REPEATS, TEACHERS, 1))
        x, asked, far = (
            rng.standard_normal((REPEATS, count, INPUTS)) for count in (self.many, TESTS, 4000)
        )
        noise, doubt = (
            rng.standard_normal((REPEATS, self.many)),
            rng.standard_normal((REPEATS, TESTS)),
        )

        def teacher(inputs: np.ndarray) -> np.ndarray:
            return (np.sin(inputs @ directions) @ signs)[..., 0]

        scale = teacher(far).std(axis=1, keepdims=True)
        y, truth = teacher(x) / scale, teacher(asked) / scale
        found = []
        for name, level in CONDITIONS.values():
            count = int(getattr(self, name))
            start = role_generator(seed, "initialisation")
            network = TwoLayer.usual(start, INPUTS, self.width, REPEATS)
            order = role_generator(seed, "data_order")
            inputs, labels = x[:, :count], (y + level * noise)[:, :count]
            wanted = truth + level * doubt
            rows = [(network.loss(inputs, labels), network.loss(asked, wanted))]
            for epoch in range(1, self.epochs + 1):
                for chosen in batches(order, count, self.batch_size):
                    network.update(inputs[:, chosen], labels[:, chosen], self.step_size)
                if epoch % EVERY == 0:
                    rows.append((network.loss(inputs, labels), network.loss(asked, wanted)))
            found.append(np.mean(rows, axis=2).T)
        table = np.stack(found)
        return {"long_train": table[:, 0], "long_test": table[:, 1]}
