"""Interpolation with few spikes and a tail: how its risk depends on the tail, and on the examples."""

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

DESIGNS: dict[str, str] = {
    "long tail": "the spikes, and a tail of m² directions",
    "short tail": "the spikes, and a tail of 2m directions with the same energy",
    "no tail": "the spikes alone: exactly low rank, so that nothing is interpolated",
    "isotropic": "m² directions with the spikes' eigenvalue, and no tail",
}
"""Designs that are compared at each number of examples m; the first three have low effective rank."""

QUANTITIES: dict[str, tuple[str, str]] = {
    "bias": ("1", "excess risk without noise, relative to the signal's variance"),
    "variance": ("1", "excess risk that noise adds, relative to the noise's variance"),
    "excess": ("1", "excess risk relative to the noise's variance"),
    "norm": ("1", "‖X⁺y‖ relative to the true parameters' norm"),
    "training": ("1", "training error relative to the noise's variance"),
}
"""What is measured of each design: unit and description; means over draws."""

RANKS: dict[str, tuple[str, str]] = {
    "r0": ("1", "r_0, sum of the covariance's eigenvalues over the largest"),
    "head": ("1", "k*, the directions that are learnt; NaN if there is no such number"),
    "R": ("1", "R_k* of the directions behind them"),
    "order": ("1", "k*/m + m/R_k*, to which the variance is proportional; 1 without k*"),
}
"""What theory says of each design."""


@dataclass(frozen=True)
class SpikedTails(Drawn):
    """Minimum-norm fits at given effective rank, along the tail's length and along the sample's size.

    The spikes share the signal equally; its variance is one. The tail's energy is fixed, so that its
    eigenvalues fall as it grows longer.

    Attributes:
        spikes: Number k of spikes.
        spike_value: Their eigenvalue.
        tail_energy: Sum of the tail's eigenvalues.
        noise: Standard deviation of the noise.
        draws: Training sets of a seed at each point.
        examples: Examples along the tail's length.
        tails: Lengths of the tail.
        growth: Numbers of examples along which every design is followed.
    """

    spikes: int
    spike_value: float
    tail_energy: float
    noise: float
    draws: int
    examples: int
    tails: tuple[int, ...]
    growth: tuple[int, ...]

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        size = Variable((), "1", "training examples along the tail's length")
        return {"tail_examples": size} | {
            f"{sweep}_{name}": Variable(dims, unit, what)
            for sweep, dims in (("tail", ("tail_size",)), ("growth", ("design", "sample")))
            for name, (unit, what) in {**QUANTITIES, **RANKS}.items()
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Tails, designs and samples."""
        return {"tail_size": self.tails, "design": tuple(DESIGNS), "sample": self.growth}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Fit all designs of one seed."""
        rng = role_generator(seed, "data")
        along = [self._means(rng, self.with_tail(size), self.examples) for size in self.tails]
        grown = [
            [self._means(rng, self.design(name, m), m) for m in self.growth] for name in DESIGNS
        ]
        return {"tail_examples": np.asarray(float(self.examples))} | {
            f"{sweep}_{name}": np.asarray(found)[..., place]
            for sweep, found in (("tail", along), ("growth", grown))
            for place, name in enumerate([*QUANTITIES, *RANKS])
        }

    def with_tail(self, size: int) -> Spectrum:
        """Return the spikes with a tail of a given length."""
        k = self.spikes
        signal = np.full(k, 1 / np.sqrt(k * self.spike_value))
        value = self.tail_energy / size if size else 0.0
        return Spectrum(np.full(k, self.spike_value), signal, size, value, self.noise)

    def design(self, name: str, examples: int) -> Spectrum:
        """Return a design of ``DESIGNS`` for a number of examples."""
        if name == "isotropic":
            alike = self.with_tail(examples**2 - self.spikes)
            return alike._replace(tail_value=self.spike_value)
        return self.with_tail({"long tail": examples**2, "short tail": 2 * examples}.get(name, 0))

    def _means(self, rng: np.random.Generator, spectrum: Spectrum, examples: int) -> list[float]:
        found = risks(rng, spectrum, examples, self.draws)
        power = spectrum.noise**2
        return [
            float(np.mean(found.bias)),
            float(np.mean(found.variance)) / power,
            float(np.mean(found.excess)) / power,
            float(np.sqrt(np.mean(found.norm**2)) / np.linalg.norm(spectrum.signal)),
            float(np.mean(found.training)) / power,
            *ranks(spectrum, examples),
        ]


def ranks(spectrum: Spectrum, examples: int) -> list[float]:
    """Return what ``RANKS`` names."""
    first, second = theory.effective_ranks(spectrum.eigenvalues)
    head = theory.head_size(spectrum.eigenvalues, examples)
    order = theory.variance_order(spectrum.eigenvalues, examples)
    if head is None:
        return [float(first[0]), np.nan, np.nan, order]
    return [float(first[0]), float(head), float(second[head]), order]
