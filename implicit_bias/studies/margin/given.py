"""Gradient flow on the run's own data: two classes of images, or whatever the settings name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.studies.margin.designs import decades, generator
from implicit_bias.studies.margin.flows import log_times, span
from implicit_bias.studies.margin.settings import MarginSettings
from implicit_bias.studies.threads import one_thread
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane


def chosen(seed: int, available: int, wanted: int) -> np.ndarray:
    """Return the positions of a seed's training examples."""
    return generator(seed, 6).permutation(available)[:wanted]


def signed_of(inputs: Any, classes: Any, places: np.ndarray) -> np.ndarray:
    """Return signed examples, with a bias, of classes 0 and 1.

    Inputs are divided by their root mean square length, so that times mean the same for all data.
    """
    x = np.asarray(inputs)[places].reshape(len(places), -1).astype(np.float64)
    x = x / np.sqrt(np.mean(np.sum(x**2, axis=1)))
    return theory.signed_examples(x, 2.0 * np.asarray(classes)[places] - 1.0)


@dataclass(frozen=True)
class GivenData(Experiment):
    """A path from zero on the logistic loss.

    Attributes:
        examples: Training examples of a seed.
        horizon: Decimal logarithm of the last time.
    """

    examples: int
    horizon: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        along = ("decade",)
        return {
            "given_angle": Variable(along, "degrees", "angle to the hard-margin solution"),
            "given_gap": Variable(along, "1", "1 − smallest distance over the hard margin"),
            "given_norm": Variable(along, "1", "length of the weights"),
            "given_left": Variable(
                along, "1", "distance to ŵ log t + w̃ within the span of the support, over ‖w̃‖"
            ),
            "given_gap_rate": Variable((), "1", "limit of gap · log t by theory"),
            "given_support": Variable((), "1", "support vectors"),
            "given_features": Variable((), "1", "features, with the bias"),
            "given_margin": Variable((), "1", "hard margin γ"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Times."""
        return {"decade": decades(self.horizon)}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Follow one seed's path."""
        del lanes
        with one_thread():
            places = chosen(seed, len(pool.y_train), self.examples)
            z = signed_of(pool.x_train, pool.y_train, places)
            solution = theory.hard_margin(z)
            times = log_times(self.horizon)
            path = theory.flow_path(z, times)
            offset = theory.limit_offset(z, solution)
            left = path - times[:, None] * solution.weights[None, :] - offset[None, :]
            left = left @ span(z[solution.support])
        return {
            "given_angle": np.degrees(theory.angles_to(path, solution.weights)),
            "given_gap": 1 - theory.margins_in(z, path) / solution.margin,
            "given_norm": np.linalg.norm(path, axis=1),
            "given_left": np.linalg.norm(left, axis=1) / np.linalg.norm(offset),
            "given_gap_rate": np.asarray(theory.limit_rates(z, solution).gap),
            "given_support": np.asarray(float(solution.support.sum())),
            "given_features": np.asarray(float(z.shape[1])),
            "given_margin": np.asarray(solution.margin),
        }


def given(settings: MarginSettings, dataset: Dataset) -> GivenData:
    """Return the path on the run's data.

    Raises:
        UserError: The data have no two classes, or a seed's examples are not linearly separable.
    """
    if dataset.task != "classification" or dataset.n_outputs != 2:
        what = f"{dataset.n_outputs} classes" if dataset.task == "classification" else "no classes"
        raise UserError(
            f"data.name is {dataset.name} with {what}, but a margin is between two; choose two classes, such "
            "as data.classes = [0, 1]"
        )
    count, _ = settings.data.sizes(dataset)
    for seed in range(settings.seeds):
        places = chosen(seed, dataset.n_train, count)
        z = signed_of(dataset.x_train, dataset.y_train, places)
        if len(np.unique(np.asarray(dataset.y_train)[places])) < 2:
            raise UserError(
                f"data.n_train is {count}, and seed {seed} has examples of one class only; choose more"
            )
        theory.require_separable(z, f"seed {seed}'s examples of {dataset.name}")
    return GivenData(count, settings.horizon)
