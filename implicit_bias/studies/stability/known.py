"""Algorithms whose stability is known exactly, and how often bounds on their gaps fail.

Examples carry independent fair bits. With b the mean of one bit over S and z a sign:

* constant: the loss is a bit, whatever S. ε = 0; Hoeffding's inequality alone.
* memoriser: (1 − ε) × bit + ε × [z not in S]. The gap's mean is ε: nothing smaller bounds it.
* switch: the same, where S's parity of a third bit decides whether it remembers. The gap jumps by ε.
* mean: ½ + φz with φ = −clip(ε Σz/2, ±½). The gap is quadratic in the mean of signs.
* ridge: ridge regression on bounded data, with its worst-case ε.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.stability.designs import clipped_loss, generator, population
from implicit_bias.training.experiment import Variable

LEVELS = {"1/m": -1.0, "1/√m": -0.5, "1/4": 0.0}
"""Exponents of m in ε; the last is a constant."""

CASES: dict[str, tuple[str, str]] = {
    "constant": ("constant", ""),
    "memoriser, ε = 1/m": ("memoriser", "1/m"),
    "memoriser, ε = 1/√m": ("memoriser", "1/√m"),
    "memoriser, ε = 1/4": ("memoriser", "1/4"),
    "switch, ε = 1/m": ("switch", "1/m"),
    "switch, ε = 1/√m": ("switch", "1/√m"),
    "switch, ε = 1/4": ("switch", "1/4"),
    "mean, ε = 1/m": ("mean", "1/m"),
    "mean, ε = 1/√m": ("mean", "1/√m"),
    "mean, ε = 1/4": ("mean", "1/4"),
    "ridge, λ = 1": ("ridge", ""),
}
"""Algorithm and level of ε."""

BOUNDS = (
    "ε + sampling", "2ε + 2·sampling", "bounded differences", "Bousquet & Elisseeff", "Feldman & Vondrák",
    "moments", "ε + sampling/2",
)  # fmt: skip
"""The chapter's two, those with proofs, and one with a wrong constant."""

PROVED = BOUNDS[2:6]
"""Bounds that are theorems."""

PENALTY = 1.0
"""λ of ridge regression."""

INPUTS = 5
"""Features of ridge regression."""


def bounds_at(stability: float, examples: int, delta: float) -> np.ndarray:
    """Return all bounds on a gap of losses in [0, 1], (bounds,); stability is under replacement.

    What is stable under replacement with ε is taken as stable under removal with ε, as all cases here are.
    """
    at = (stability, examples, delta)
    sampling = theory.sampling_term(examples, delta)
    return np.asarray([
        theory.additive_bound(*at), 2 * stability + 2 * sampling, theory.bounded_difference_bound(*at),
        theory.bousquet_elisseeff_bound(*at), theory.feldman_vondrak_bound(*at), theory.moment_bound(*at),
        stability + sampling / 2,
    ], float)  # fmt: skip


def level_of(level: str, examples: int) -> float:
    """Return ε at a level; 0 where there is none."""
    if not level:
        return 0.0
    return 0.25 if level == "1/4" else float(examples) ** LEVELS[level]


def gaps_of(
    algorithm: str, stability: float, rng: np.random.Generator, examples: int, draws: int
) -> np.ndarray:
    """Draw training sets and return test less training loss, exactly, (draws,)."""
    m = examples
    if algorithm == "mean":
        total = 2.0 * rng.binomial(m, 0.5, draws) - m
        return np.asarray(np.clip(stability * total / 2, -0.5, 0.5) * total / m)
    if algorithm == "ridge":
        return ridge_gaps(rng, m, draws)
    sampled = 0.5 - rng.binomial(m, 0.5, draws) / m
    remembers = (
        rng.integers(0, 2, draws) if algorithm == "switch" else float(algorithm == "memoriser")
    )
    return np.asarray((1 - stability) * sampled + stability * remembers)


def ridge_gaps(rng: np.random.Generator, examples: int, draws: int) -> np.ndarray:
    """Return gaps of ridge regression on draws with replacement from one population, (draws,)."""
    whole = population(rng, 400, INPUTS)
    found = np.empty(draws)
    for start in range(0, draws, 100):
        places = rng.integers(0, len(whole.labels), (min(100, draws - start), examples))
        x, y = whole.inputs[places], whole.labels[places]
        flip = np.swapaxes(x, 1, 2)
        gram = flip @ x + examples * PENALTY * np.eye(INPUTS)
        weights = np.linalg.solve(gram, flip @ y[:, :, None])
        train = clipped_loss((x @ weights)[:, :, 0], y).mean(axis=1)
        test = clipped_loss(weights[:, :, 0] @ whole.inputs.T, whole.labels[None, :]).mean(axis=1)
        found[start : start + len(places)] = test - train
    return found


@dataclass(frozen=True)
class Known(Drawn):
    """Gaps of algorithms of known stability, against bounds.

    Attributes:
        examples: m.
        draws: Training sets of a seed.
        delta: δ.
    """

    examples: int
    draws: int
    delta: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        each = ("case",)
        return {
            "known_stability": Variable(
                each, "1", "ε under replacement, in units of the loss's range"
            ),
            "known_gap": Variable(each, "1", "mean gap over draws"),
            "known_quantile": Variable(each, "1", "quantile of the gap at 1 − δ"),
            "known_off": Variable(
                each, "fraction", "draws whose gap is further from its mean than L√(ln(1/δ)/(2m))"
            ),
            "known_bound": Variable(("case", "bound"), "1", "bound on the gap"),
            "known_violated": Variable(
                ("case", "bound"), "fraction", "draws whose gap exceeds a bound"
            ),
            "known_draws": Variable((), "1", "training sets drawn"),
            "known_examples": Variable((), "1", "training examples m"),
            "known_delta": Variable((), "1", "δ"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Cases and bounds."""
        return {"case": tuple(CASES), "bound": BOUNDS}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Draw the training sets of one seed."""
        sampling = float(theory.sampling_term(self.examples, self.delta))
        rows = []
        for place, (algorithm, level) in enumerate(CASES.values()):
            stability = level_of(level, self.examples)
            if algorithm == "ridge":
                stability = float(theory.ridge_movement(PENALTY, self.examples))
            gaps = gaps_of(
                algorithm, stability, generator(seed, 0, place), self.examples, self.draws
            )
            bounds = bounds_at(stability, self.examples, self.delta)
            rows.append((
                stability, gaps.mean(), np.quantile(gaps, 1 - self.delta),
                np.mean(np.abs(gaps - gaps.mean()) > sampling), bounds,
                np.mean(gaps[:, None] > bounds[None, :] + 1e-12, axis=0),
            ))  # fmt: skip
        names = ("stability", "gap", "quantile", "off", "bound", "violated")
        found = {
            f"known_{name}": np.asarray([row[i] for row in rows]) for i, name in enumerate(names)
        }
        sizes = {"draws": self.draws, "examples": self.examples, "delta": self.delta}
        return found | {f"known_{name}": float(value) for name, value in sizes.items()}
