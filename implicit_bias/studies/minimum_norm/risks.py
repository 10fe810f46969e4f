"""What the minimum norm costs on new examples: against a bound, on fresh data, and beside training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.minimum_norm.designs import generator, linear_model, nearest
from implicit_bias.training.experiment import Variable

FITS = ("noisy labels, m < n", "noisy labels, m = n", "no noise, m < n", "no noise, m ≥ n")
"""Fits of zero training loss whose gap is taken."""

DEGREE = 10
"""Of the polynomial in the document's example, which has 11 weights for its 50 points."""


@dataclass(frozen=True)
class Risks(Drawn):
    """The risk of X⁺y on isotropic Gaussian inputs beside the bound of the source.

    Given X, the risk over new examples and the labels' noise is exact: ‖(I − X⁺X)θ‖² + σ² tr((XXᵀ)⁻¹) + σ².

    Attributes:
        examples: n of the source.
        inputs: Values of p, more.
        ratios: ‖θ‖²/σ², 0 for labels that are noise alone; σ = 1.
        draws: Designs of a seed at each p.
        fresh: New examples on which a risk is estimated.
    """

    examples: int
    inputs: tuple[int, ...]
    ratios: tuple[float, ...]
    draws: int
    fresh: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("signal_ratio", "risk_inputs")
        return {
            "bounded_risk": Variable(dims, "σ²", "risk of X⁺y given X, mean over designs"),
            "bound": Variable(dims, "σ²", "‖θ‖² E‖x‖² tr((XXᵀ)⁻¹)/n + σ², mean over designs"),
            "risk_law": Variable(dims, "σ²", "mean risk over all designs"),
            "fresh_risk": Variable(dims, "σ²", "risk given X and labels, on fresh examples, mean"),
            "true_risk": Variable(dims, "σ²", "the same, exactly"),
            "fresh_covered": Variable(
                dims, "1", "share of designs where the estimate ± 1.96 standard errors holds the true risk"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Signals and sizes."""
        return {"signal_ratio": self.ratios, "risk_inputs": self.inputs}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Take the risks of one seed."""
        rng = generator(seed)
        columns = [
            np.mean([self._drawn(rng, p) for _ in range(self.draws)], axis=0) for p in self.inputs
        ]
        table = np.stack(columns, axis=-1)
        names = ("bounded_risk", "bound", "fresh_risk", "true_risk", "fresh_covered")
        law = [
            [theory.isotropic_risk(self.examples, p, 1.0, ratio).total for p in self.inputs]
            for ratio in self.ratios
        ]
        return {**dict(zip(names, table, strict=True)), "risk_law": np.asarray(law)}

    def _drawn(self, rng: np.random.Generator, p: int) -> np.ndarray:
        """Return what is measured on one design, (5, ratios)."""
        n = self.examples
        x, direction = rng.standard_normal((n, p)), rng.standard_normal(p)
        direction /= np.linalg.norm(direction)
        inverse = np.linalg.inv(x @ x.T)
        spread = float(np.trace(inverse))
        noise = rng.standard_normal(n)
        fitted, spoiled = x.T @ (inverse @ (x @ direction)), x.T @ (inverse @ noise)
        tests, rows = rng.standard_normal((self.fresh, p)), []
        labelled = rng.standard_normal(self.fresh)
        for ratio in self.ratios:
            scale = np.sqrt(ratio)
            missed = ratio * float(np.sum((direction - fitted) ** 2))
            error = scale * (fitted - direction) + spoiled
            true = 1 + float(error @ error)
            losses = (tests @ error - labelled) ** 2
            fresh, spare = losses.mean(), 1.96 * losses.std(ddof=1) / np.sqrt(self.fresh)
            rows.append(
                (missed + spread + 1, ratio * p * spread / n + 1, fresh, true, abs(fresh - true) < spare)
            )  # fmt: skip
        return np.asarray(rows, float).T


@dataclass(frozen=True)
class Gaps(Drawn):
    """Test loss less training loss where the training loss is zero.

    Attributes:
        examples: m.
        draws: Fits of a seed, of each kind.
        noise: Standard deviation of the labels' noise; θ is standard normal over √n.
        tests: Test examples.
    """

    examples: int
    draws: int
    noise: float
    tests: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "gap_least": Variable(("fit",), "label²", "least test − training loss over draws"),
            "gap_mean": Variable(("fit",), "label²", "mean test − training loss over draws"),
            "gap_largest": Variable(("fit",), "label²", "largest test − training loss over draws"),
            "gap_training": Variable(("fit",), "label²", "largest training loss over draws"),
            "gap_negative": Variable(("fit",), "1", "share of draws with a gap below −10⁻¹²"),
            "polynomial_training": Variable(
                (), "σ²", f"training loss of the document's polynomial of degree {DEGREE} on 50 points"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Fits."""
        return {"fit": FITS}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Fit the draws of one seed."""
        rng, m = generator(seed), self.examples
        sizes = ((2 * m, self.noise), (m, self.noise), (2 * m, 0.0), (m // 2, 0.0))
        pairs = np.array(
            [[self._gap(rng, n, noise) for _ in range(self.draws)] for n, noise in sizes]
        )
        polynomial = np.mean([_polynomial(rng) for _ in range(10)])
        test, training = pairs[..., 0], pairs[..., 1]
        gaps = test - training
        return {
            "gap_least": gaps.min(axis=1),
            "gap_mean": gaps.mean(axis=1),
            "gap_largest": gaps.max(axis=1),
            "gap_training": training.max(axis=1),
            "gap_negative": np.mean(gaps < -1e-12, axis=1),
            "polynomial_training": polynomial,
        }

    def _gap(self, rng: np.random.Generator, n: int, noise: float) -> tuple[float, float]:
        theta = rng.standard_normal(n) / np.sqrt(n)
        x, y, _ = linear_model(rng, self.examples, n, noise, theta)
        w = nearest(x, y, np.zeros((1, n)))[0]
        fresh, labels, _ = linear_model(rng, self.tests, n, noise, theta)
        return float(np.mean((fresh @ w - labels) ** 2)), float(np.mean((x @ w - y) ** 2))


def _polynomial(rng: np.random.Generator) -> float:
    """Return the training loss over σ² of a polynomial fitted to 50 noisy points of a parabola."""
    x = np.sort(rng.uniform(-1, 1, 50))
    y = x**2 + 0.2 * rng.standard_normal(50)
    fitted = np.polynomial.Polynomial.fit(x, y, DEGREE)
    return float(np.mean((fitted(x) - y) ** 2) / 0.04)
