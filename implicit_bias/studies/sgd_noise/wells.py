"""SGD on a line: two wells of different width, and flat ground of different noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.sgd_noise.draws import generator
from implicit_bias.training.experiment import Variable

WIDTHS = (2.0, 1.0)
"""From the barrier at 0 to the bottom of the flat well, on the left, and of the sharp one, on the right."""

HEIGHT = 1.0
"""Of the barrier over the flat well."""

TEMPERATURE = 0.6
"""ηc/2 in the flat well."""

BEND = 1.2
"""On the ring the logarithm of c goes from −1.2 to 1.2, like a sine."""


class Ground(NamedTuple):
    """A landscape.

    Attributes:
        deeper: How much deeper the sharp well is, in temperatures of the flat one.
        noise: Variance of the gradient in the sharp well over that in the flat one.
    """

    deeper: float
    noise: float


WELLS: dict[str, Ground] = {
    "equal depths": Ground(0.0, 1.0),
    "sharp well noisier": Ground(0.0, 2.0),
    "sharp well deeper": Ground(1.5, 1.0),
    "sharp well quieter": Ground(0.0, 0.6),
}
"""Landscapes with two wells."""

RING = "flat ring"
"""One with none: two examples with losses A(x) and −A(x), one drawn at a time."""

GROUNDS = (*WELLS, RING)


def slope_and_variance(ground: Ground, x: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return L′ and the gradient's variance at points of two wells, both of their shape."""
    left, right = HEIGHT, HEIGHT + ground.deeper * TEMPERATURE
    sharp = x > 0
    slope = np.where(
        sharp, 2 * right * (x - WIDTHS[1]) / WIDTHS[1] ** 2, 2 * left * (x + WIDTHS[0]) / WIDTHS[0] ** 2
    )  # fmt: skip
    return slope, np.where(sharp, ground.noise, 1.0) * 2 * TEMPERATURE / step


@dataclass(frozen=True)
class Wells(Drawn):
    """Shares of time on either side.

    Attributes:
        chains: Runs beside each other.
        updates: Updates of each, of which the last half count.
        step_size: η in wells; on the ring a tenth of it is the mean step's length.
    """

    chains: int
    updates: int
    step_size: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        ground = ("ground",)
        return {
            "mass": Variable(ground, "1", "share of time in the flat well; on the ring, in the noisy half"),
            "mass_law": Variable(ground, "1", "the same by the stationary density"),
            "mass_gibbs": Variable(ground, "1", "the same by exp(−2L/ηc) with the noise of the flat well"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Landscapes."""
        return {"ground": GROUNDS}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Run all landscapes with one seed's noise."""
        rows = [
            self._wells(ground, generator(seed, 300 + place))
            for place, ground in enumerate(WELLS.values())
        ]
        rows.append(self._ring(generator(seed, 399)))
        names = ("mass", "mass_law", "mass_gibbs")
        return {name: np.asarray([row[k] for row in rows]) for k, name in enumerate(names)}

    def _wells(self, ground: Ground, rng: np.random.Generator) -> tuple[float, float, float]:
        step = self.step_size
        # Half the runs begin at either bottom.
        x = np.where(np.arange(self.chains) % 2 == 0, -WIDTHS[0], WIDTHS[1])
        share = 0.0
        for update in range(self.updates):
            slope, variance = slope_and_variance(ground, x, step)
            x = x - step * (slope + np.sqrt(variance) * rng.standard_normal(self.chains))
            if update >= self.updates // 2:
                share += float(np.mean(x <= 0))
        law, gibbs = (wells_law(one, step) for one in (ground, ground._replace(noise=1.0)))
        return share / (self.updates - self.updates // 2), law, gibbs

    def _ring(self, rng: np.random.Generator) -> tuple[float, float, float]:
        length = self.step_size / 0.1 * 0.2
        x, share = rng.random(self.chains), 0.0
        for update in range(self.updates):
            sign = rng.integers(2, size=self.chains) * 2 - 1
            x = (x - length * 0.2 * sign * np.exp(BEND / 2 * np.sin(2 * np.pi * x))) % 1
            if update >= self.updates // 2:
                share += float(np.mean(x < 0.5))
        points = np.linspace(0, 1, 4001)
        density = 1 / np.exp(BEND * np.sin(2 * np.pi * points))
        law = np.trapezoid(density[:2001], points[:2001]) / np.trapezoid(density, points)
        return share / (self.updates - self.updates // 2), float(law), 0.5


def wells_law(ground: Ground, step: float) -> float:
    """Return the share of the flat well by the stationary density of the process."""
    # Side by side, each from the barrier: what is drawn at the barrier itself has no share.
    parts = []
    for side, width in ((-1, WIDTHS[0]), (1, WIDTHS[1])):
        x = np.linspace(1e-9, 6 * width, 6001)
        slope, variance = slope_and_variance(ground, side * x, step)
        density = theory.line_density(x, side * slope, variance, step)
        parts.append(variance[0] * density[0])
    # p·c is continuous at the barrier, so that masses are inverse to its values of densities of mass one.
    return float(parts[1] / (parts[0] + parts[1]))
