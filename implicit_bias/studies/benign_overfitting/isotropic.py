"""Fifty examples of a thousand features: the minimum-norm interpolator among others, and against nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import role_generator
from implicit_bias.studies.benign_overfitting.spiked import Spectrum, risks
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

PREDICTORS: dict[str, str] = {
    "minimum norm": "X⁺y",
    "another interpolator": "X⁺y and a random vector of the null space, as long as the truth",
    "nothing": "the prediction 0",
}
"""What is tested on isotropic inputs."""


@dataclass(frozen=True)
class FewExamples(Drawn):
    """Excess risks of interpolators, relative to the variance of the signal.

    Inputs are isotropic, with a dense θ of norm 1; or spiked: few directions of eigenvalue 1, which hold the
    signal, and a tail of the others.

    Attributes:
        examples: Training examples m.
        inputs: Features n, more.
        noise: Standard deviation of the targets' noise.
        spikes: Directions of the signal where inputs are spiked.
        tail_energy: Sum of the other eigenvalues there.
        draws: Training sets of a seed.
    """

    examples: int
    inputs: int
    noise: float
    spikes: int
    tail_energy: float
    draws: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        relative = "excess risk over the variance of the signal"
        return {
            "few_excess": Variable(("interpolator",), "1", f"isotropic inputs: {relative}"),
            "few_norm": Variable(("interpolator",), "1", "norm of the weights over the truth's"),
            "few_unfitted": Variable((), "1", "largest training residual, relative"),
            "few_law": Variable((), "1", f"isotropic inputs, minimum norm, expected: {relative}"),
            "few_spiked": Variable((), "1", f"spiked inputs, minimum norm: {relative}"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """What is tested."""
        return {"interpolator": tuple(PREDICTORS)}

    @property
    def law(self) -> float:
        """Expected excess risk of the minimum-norm interpolator on isotropic inputs, ‖θ‖ = 1."""
        return float(theory.isotropic_risk(self.examples, self.inputs, self.noise).excess)

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Interpolate on the training sets of one seed."""
        rng = role_generator(seed, "data")
        m, n = self.examples, self.inputs
        excess, norms, unfitted = np.zeros((self.draws, 3)), np.zeros((self.draws, 3)), 0.0
        for draw in range(self.draws):
            truth = rng.standard_normal(n)
            truth /= np.linalg.norm(truth)
            x = rng.standard_normal((m, n))
            y = x @ truth + self.noise * rng.standard_normal(m)
            gram = np.linalg.inv(x @ x.T)
            shortest = x.T @ (gram @ y)
            other = rng.standard_normal(n)
            other -= x.T @ (gram @ (x @ other))
            other /= np.linalg.norm(other)
            for place, weights in enumerate((shortest, shortest + other, np.zeros(n))):
                excess[draw, place] = np.sum((weights - truth) ** 2)
                norms[draw, place] = np.linalg.norm(weights)
                if place < 2:
                    misfit = np.linalg.norm(x @ weights - y) / np.linalg.norm(y)
                    unfitted = max(unfitted, float(misfit))
        k = self.spikes
        spectrum = Spectrum(
            np.ones(k), np.full(k, 1 / np.sqrt(k)), n - k, self.tail_energy / (n - k), self.noise
        )
        return {
            "few_excess": excess.mean(axis=0),
            "few_norm": norms.mean(axis=0),
            "few_unfitted": np.asarray(unfitted),
            "few_law": np.asarray(self.law),
            "few_spiked": np.asarray(risks(rng, spectrum, m, self.draws).excess.mean()),
        }
