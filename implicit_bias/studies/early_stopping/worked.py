"""The chapter's worked arithmetic: what its numbers are, and what they say of functions that are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

RADIUS, CURVATURES = 0.01, (80.0, 240.0)
"""Norm of a probe, and the effective curvatures of the two checkpoints."""

SLOPE = 10.0
"""Norm of the gradient where a checkpoint is at no minimum."""

CASES: dict[str, str] = {
    "the same shape": "both spectra fall as 1/j, B's is three times A's; both at a minimum",
    "A has a sharp direction": "A as flat as before on average, with one eigenvalue half its trace; B's all "
    "alike",
    "not at a minimum": "the same shape; the loss has a slope of norm 10 in a random direction, its own "
    "for each",
}
"""Pairs of checkpoints whose Hessians are known."""

SIZES = (64, 128, 512)
"""Batch sizes whose noise is compared."""

EXAMPLES = 1000
"""Examples of which batches are drawn."""

DRAWN = ("with replacement", "without replacement")


@dataclass(frozen=True)
class Worked(Drawn):
    """Curvature from random probes, and the noise of mini-batches.

    Attributes:
        dimension: Parameters of the functions.
        probes: Random probes.
        batches: Mini-batches of each size.
    """

    dimension: int
    probes: int
    batches: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        case = ("probe_case",)
        pair = ("probe_case", "checkpoint")
        sizes = ("noise_drawn", "noise_batch")
        return {
            "probe_curvature": Variable(pair, "1", "2ΔL/‖δ‖² over tr H/d, mean over probes"),
            "probe_largest": Variable(pair, "1", "2ΔL/‖δ‖² over λmax, mean over probes"),
            "probe_spread": Variable(pair, "1", "2ΔL/‖δ‖²: standard deviation over |mean|"),
            "probe_right": Variable(case, "fraction", "probes that find A flatter than B, one for each"),
            "probe_stable": Variable(
                case, "fraction", "pairs of probes with the same ranking at twice the norm"
            ),
            "probe_doubled": Variable(
                case, "1", "largest relative change of 2ΔL/‖δ‖² at twice the norm"
            ),
            "noise_power": Variable(
                sizes, "gradient²", "trace of the covariance of mini-batch gradients"
            ),
            "noise_exact": Variable(sizes, "gradient²", "the same, exact"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Cases, checkpoints and batches."""
        return {
            "probe_case": tuple(CASES),
            "checkpoint": ("A", "B"),
            "noise_drawn": DRAWN,
            "noise_batch": SIZES,
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Measure with the randomness of one seed."""
        rng = role_generator(seed, "probe", 1)
        cases = [self._probed(case, rng) for case in CASES]
        return {
            **{f"probe_{name}": np.array([one[name] for one in cases]) for name in cases[0]},
            **_noise(rng, self.batches),
        }

    def _probed(self, case: str, rng: np.random.Generator) -> dict[str, Any]:
        """Probe a pair of quadratics in their eigenbasis: ΔL = gᵀδ + δᵀHδ/2."""
        d = self.dimension
        spectra = np.tile(1 / np.arange(1, d + 1), (2, 1))
        if case == "A has a sharp direction":
            spectra[0] = 1.0
            spectra[0, 0] = d - 1  # as much as all others together
            spectra[1] = 1.0
        spectra *= (np.array(CURVATURES) / spectra.mean(axis=1))[:, None]
        slopes = np.zeros((2, d))
        if case == "not at a minimum":
            slopes = rng.standard_normal((2, d))
            slopes *= SLOPE / np.linalg.norm(slopes, axis=1, keepdims=True)
        directions = rng.standard_normal((self.probes, 2, d))
        directions /= np.linalg.norm(directions, axis=2, keepdims=True)

        def proxy(radius: float) -> np.ndarray:
            delta = radius * directions
            change = np.sum(slopes * delta + spectra * delta**2 / 2, axis=2)
            return 2 * change / radius**2

        once, twice = proxy(RADIUS), proxy(2 * RADIUS)
        right = once[:, 0] < once[:, 1]
        return {
            "curvature": (once / spectra.mean(axis=1)).mean(axis=0),
            "largest": (once / spectra.max(axis=1)).mean(axis=0),
            "spread": once.std(axis=0) / np.abs(once.mean(axis=0)),
            "right": right.mean(),
            "stable": np.mean(right == (twice[:, 0] < twice[:, 1])),
            "doubled": np.max(np.abs(twice / once - 1)),
        }


def _noise(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """Draw mini-batches of least-squares gradients and take the trace of their covariance."""
    x = rng.standard_normal((EXAMPLES, 20))
    y = x[:, 0] + rng.standard_normal(EXAMPLES)
    gradients = (x @ (0.1 * rng.standard_normal(20)) - y)[:, None] * x
    off = gradients - gradients.mean(axis=0)
    single = np.sum(off**2) / EXAMPLES
    power, exact = np.zeros((2, len(SIZES))), np.zeros((2, len(SIZES)))
    for place, size in enumerate(SIZES):
        again = rng.integers(0, EXAMPLES, (count, size))
        apart = np.argpartition(rng.random((count, EXAMPLES)), size, axis=1)[:, :size]
        for row, chosen in enumerate((again, apart)):
            weights = np.zeros((count, EXAMPLES))
            np.add.at(weights, (np.arange(count)[:, None], chosen), 1 / size)
            power[row, place] = np.sum((weights @ off) ** 2) / count
        finite = (EXAMPLES - size) / (EXAMPLES - 1)
        exact[:, place] = single / size * np.array([1.0, finite])
    return {"noise_power": power, "noise_exact": exact}
