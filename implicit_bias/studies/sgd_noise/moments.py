"""Moments at a fixed time: SGD's, exactly, beside those of stochastic differential equations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.sgd_noise.draws import generator, orthogonal
from implicit_bias.training.experiment import Variable

UPDATES = (10, 20, 40, 80, 160)
"""Updates up to the one time, t = 2/λmax."""

EQUATIONS = ("√η C^(1/2) dW", "√η C dW", "√η C^(1/2) dW, drift of second order")
"""Right as it should be, as it is written, and with the drift of L + (η/4)‖∇L‖²."""


@dataclass(frozen=True)
class Moments(Drawn):
    """Errors of an equation's mean and covariance at one time, as steps become small.

    Attributes:
        dimension: Parameters of the quadratic, whose Hessian and noise do not commute.
    """

    dimension: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        along = ("equation", "moment_updates")
        return {
            "moment_mean": Variable(along, "1", "distance of means, over the start's"),
            "moment_covariance": Variable(along, "1", "distance of covariances, relative"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Equations and numbers of updates."""
        return {"equation": EQUATIONS, "moment_updates": UPDATES}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Draw a Hessian, a noise and a start."""
        rng, n = generator(seed, 1), self.dimension
        turn = orthogonal(rng, n)
        hessian = (turn * np.geomspace(0.2, 1.0, n)) @ turn.T
        other = orthogonal(rng, n)
        noise = (other * np.geomspace(0.1, 4.0, n)) @ other.T
        start, time = rng.standard_normal(n), 2.0
        means, covariances = np.zeros((2, len(EQUATIONS), len(UPDATES)))
        for place, updates in enumerate(UPDATES):
            step = time / updates
            keep = np.linalg.matrix_power(np.eye(n) - step * hessian, updates)
            mean = keep @ start
            spread = theory.covariance_after(hessian, noise, step, updates)
            better = theory.second_order_hessian(hessian, step)
            for row, (drift, factor) in enumerate(
                ((hessian, noise), (hessian, noise @ noise), (better, noise))
            ):
                away = theory.process_mean(drift, start, time) - mean
                wide = theory.process_covariance(drift, step * factor, time) - spread
                means[row, place] = np.linalg.norm(away) / np.linalg.norm(start)
                covariances[row, place] = np.linalg.norm(wide) / np.linalg.norm(spread)
        return {"moment_mean": means, "moment_covariance": covariances}
