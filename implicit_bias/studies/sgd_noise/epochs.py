"""What noise adds to the loss: by shuffled batches, exactly, and by labels that are drawn afresh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.sgd_noise.draws import generator
from implicit_bias.training.experiment import Variable

FRACTIONS = (0.04, 0.02, 0.01)
"""Step sizes of an epoch, ηλmax."""

FLOWS: dict[str, str] = {
    "L": "the loss itself",
    "L + η/4 ‖∇L‖²": "gradient descent's",
    "L + η/4 mean ‖∇L_B‖²": "of shuffled batches",
    "L + η/2 mean ‖∇L_B‖²": "with another coefficient",
}
"""Losses whose gradient flow is followed."""

BATCHES = 4
"""Batches of an epoch, in all 24 orders."""

STEPS = (0.025, 0.05, 0.1)
NOISES = (0.1, 0.2, 0.4)
"""Variances of labels' noise."""

LABEL, IMBALANCE = 0.5, 1.0
"""y, and u² − v² to begin with."""


@dataclass(frozen=True)
class Epochs(Drawn):
    """Mean end of an epoch over all orders of its batches, beside gradient flows.

    Attributes:
        examples: Examples of a batch.
        inputs: Features.
    """

    examples: int
    inputs: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "epoch_apart": Variable(
                ("flow", "epoch_fraction"), "1", "distance of the flow's end from the mean epoch's, over "
                    "the start's from the minimum"
            ),
            "epoch_strength": Variable(
                ("epoch_fraction",), "1", "distance of the mean epoch from gradient descent of as many "
                    "updates, over their time"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Losses and step sizes."""
        return {"flow": tuple(FLOWS), "epoch_fraction": FRACTIONS}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Draw a data set and a start."""
        rng = generator(seed, 3)
        x = rng.standard_normal((BATCHES * self.examples, self.inputs))
        y = x @ rng.standard_normal(self.inputs) + rng.standard_normal(len(x))
        start = rng.standard_normal(self.inputs)
        parts = theory.batch_losses(x, y, BATCHES)
        whole = theory.mean_loss(parts)
        way = np.linalg.norm(np.linalg.solve(whole.hessian, whole.linear) - start)
        apart, strength = np.zeros((len(FLOWS), len(FRACTIONS))), np.zeros(len(FRACTIONS))
        for place, fraction in enumerate(FRACTIONS):
            step = fraction / np.linalg.eigvalsh(whole.hessian)[-1]
            end = theory.epoch_end(parts, step, start)
            losses = (
                whole,
                theory.epoch_loss([whole], step),
                theory.epoch_loss(parts, step),
                theory.epoch_loss(parts, step, 0.5),
            )
            for row, loss in enumerate(losses):
                flow = theory.flow_end(loss, start, BATCHES * step)
                apart[row, place] = np.linalg.norm(flow - end) / way
            plain = theory.epoch_end([whole] * BATCHES, step, start)
            strength[place] = np.linalg.norm(plain - end) / (BATCHES * step)
        return {"epoch_apart": apart, "epoch_strength": strength}


@dataclass(frozen=True)
class FreshLabels(Drawn):
    """Label-noise SGD on ½(uv − y)², from weights that fit.

    Attributes:
        runs: Runs of a seed.
        updates: Updates of each.
    """

    runs: int
    updates: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        along = ("label_step", "label_noise")
        return {
            "drift": Variable(along, "1", "−log of the imbalance's fall, over η·updates: the strength λ"),
            "drift_law": Variable(along, "1", "the same by the law"),
            "drift_first": Variable(along, "1", "ησ²"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Step sizes and noises."""
        return {"label_step": STEPS, "label_noise": NOISES}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Run all step sizes and noises with one seed's labels."""
        rng = generator(seed, 4)
        drift, law, first = np.zeros((3, len(STEPS), len(NOISES)))
        for row, step in enumerate(STEPS):
            for column, variance in enumerate(NOISES):
                time, spread = step * self.updates, float(np.sqrt(variance))
                drift[row, column] = self._drift(rng, step, spread) / time
                path = theory.imbalance_path(IMBALANCE, LABEL, step, spread, self.updates)
                law[row, column] = -np.log(float(path[-1]) / IMBALANCE) / time
                first[row, column] = theory.label_noise_strength(step, spread)
        return {"drift": drift, "drift_law": law, "drift_first": first}

    def _drift(self, rng: np.random.Generator, step: float, spread: float) -> float:
        half = np.hypot(IMBALANCE, 2 * LABEL)
        u = np.full(self.runs, np.sqrt((half + IMBALANCE) / 2))
        v = LABEL / u
        for _ in range(self.updates):
            left = u * v - LABEL - spread * rng.standard_normal(self.runs)
            u, v = u - step * left * v, v - step * left * u
        return float(-np.mean(np.log(np.abs(u**2 - v**2) / IMBALANCE)))
