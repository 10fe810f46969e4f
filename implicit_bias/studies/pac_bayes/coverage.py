"""Bounds on samples drawn many times, with true risks that are known: how often wrong, and how loose.

Predictors have known risks, and their losses are independent coins. P is uniform over them; a sample gives
each an empirical risk, and Q ∝ P exp(−γ m r̂), of several γ, up to the predictor of least empirical risk. As
bounds hold for all Q at once, one that is wrong for any of these is wrong on that sample.

In one design bounds are nearly attained: so many coins of risk ½ that the luckiest's empirical risk lies as
low as KL = ln K allows; its law is drawn directly, for K = e¹⁰⁰.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.theory import pac_bayes
from implicit_bias.training.experiment import Variable

Bound = Callable[[np.ndarray, np.ndarray, Any, float], np.ndarray]

BETA = 2.0
"""β of Catoni's bound, fixed beforehand."""


def halved_bound(risk: np.ndarray, kl: np.ndarray, m: Any, delta: float) -> np.ndarray:
    """Return what the inverse of kl gives with half of its slack: wrong, to see that it is found out."""
    return theory.kl_inverse(risk, theory.maurer_slack(kl, m, delta) / 2)


VALID: dict[str, Bound] = {
    "inverse kl": pac_bayes.kl_bound,
    "Pinsker": pac_bayes.pinsker_bound,
    "quadratic": pac_bayes.quadratic_bound,
    "McAllester": pac_bayes.mcallester_bound,
    f"Catoni, β = {BETA:g}": lambda r, kl, m, d: pac_bayes.catoni_bound(r, kl, m, d, BETA),
}
"""Bounds as published."""

PRINTED, WRONG = "as printed", "half the slack"

BOUNDS: dict[str, Bound] = {**VALID, PRINTED: pac_bayes.printed_bound, WRONG: halved_bound}
"""All that are tried."""

RISKS: dict[str, np.ndarray] = {
    "graded": np.linspace(0.05, 0.5, 100),
    "coins": np.full(100, 0.5),
    "rare": np.full(20, 0.02),
    "single": np.full(1, 0.3),
}
"""True risks of the predictors of each design."""

TIGHT = "luckiest of e¹⁰⁰"
DESIGNS = (*RISKS, TIGHT)
LOG_MANY, MANY_EXAMPLES = 100.0, 1000
"""ln K, and the examples, of the design in which bounds are nearly attained."""

HEATS = (0.0, 0.1, 0.3, 1.0, 3.0, np.inf)
"""γ of Q ∝ P exp(−γ m r̂): Q is P at 0 and sits on the best predictors at infinity."""


def gibbs(risks: np.ndarray, m: int, heat: float) -> tuple[np.ndarray, np.ndarray]:
    """Return Q ∝ P exp(−γ m r̂) for uniform P, and KL(Q‖P).

    Args:
        risks: Empirical risks, (draws, K).
        m: Examples.
        heat: γ; at infinity Q is even over the least risks.

    Returns:
        Shapes (draws, K) and (draws,).
    """
    least = risks.min(axis=1, keepdims=True)
    raised = (risks == least) * 1.0 if np.isinf(heat) else np.exp(-heat * m * (risks - least))
    q = raised / raised.sum(axis=1, keepdims=True)
    logs = np.log(np.where(q > 0, q, 1.0) * risks.shape[1])
    return q, np.maximum(np.sum(q * logs, axis=1), 0.0)


def luckiest(rng: np.random.Generator, draws: int, m: int, log_many: float) -> np.ndarray:
    """Draw the least of e^(log_many) independent means of m fair coins, shape (draws,)."""
    from scipy.stats import binom

    counts = np.arange(m + 1)
    # P(least ≤ k) = 1 − (1 − F(k))^K, so that F(k) is held against E/K, E standard exponential.
    logs = np.log(rng.exponential(size=draws)) - log_many
    place = np.searchsorted(binom.logcdf(counts, m, 0.5), logs)
    return np.asarray(counts[np.minimum(place, m)] / m)


@dataclass(frozen=True)
class Coverage(Drawn):
    """How often each bound is wrong, and by how much it exceeds what it bounds.

    Attributes:
        draws: Samples.
        examples: m of all designs but the last.
        delta: δ.
    """

    draws: int
    examples: int
    delta: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        each = ("design", "bound")
        return {
            "cover_wrong": Variable(each, "fraction", "samples on which the bound is wrong for some Q"),
            "cover_excess": Variable(
                each, "1", "bound less true risk, of the Q for which the bound is least; mean over samples"
            ),
            "cover_risk": Variable(("design",), "1", "true risk of that Q, by the inverse of kl"),
            "cover_display": Variable(
                ("design",), "fraction", "samples on which the proof's display, KL ≤ r̂ + √(ln(m/δ)/2m), "
                "holds for the coldest Q"
            ),
            "cover_widest": Variable(("design",), "nats", "largest KL met"),
            "cover_delta": Variable((), "1", "δ"),
            "cover_draws": Variable((), "1", "samples of each design"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Designs and bounds."""
        return {"design": DESIGNS, "bound": tuple(BOUNDS)}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Draw the samples of one seed."""
        rng = role_generator(seed, "data", 8)
        found = [self._design(rng, name) for name in DESIGNS]
        tables = {f"cover_{name}": np.asarray([one[name] for one in found]) for name in found[0]}
        return tables | {
            "cover_delta": np.asarray(self.delta), "cover_draws": np.asarray(float(self.draws))
        }  # fmt: skip

    def _design(self, rng: np.random.Generator, name: str) -> dict[str, Any]:
        m = MANY_EXAMPLES if name == TIGHT else self.examples
        if name == TIGHT:
            sampled = luckiest(rng, self.draws, m, LOG_MANY)[None, :]
            true, kl = np.full_like(sampled, 0.5), np.full_like(sampled, LOG_MANY)
        else:
            risks = RISKS[name]
            seen = rng.binomial(m, risks, (self.draws, risks.size)) / m
            laws = [gibbs(seen, m, heat) for heat in HEATS]
            kl = np.stack([one for _, one in laws])
            sampled = np.stack([np.sum(q * seen, axis=1) for q, _ in laws])
            true = np.stack([q @ risks for q, _ in laws])
        sampled = np.clip(sampled, 0.0, 1.0)
        wrong, excess, risk = [], [], 0.0
        columns = np.arange(self.draws)
        for title, bound in BOUNDS.items():
            values = bound(sampled, kl, m, self.delta)
            # Rounding of sums over predictors must not count.
            wrong.append(np.mean(np.any(values < true - 1e-12, axis=0)))
            best = np.argmin(values, axis=0)
            excess.append(np.mean(values[best, columns] - true[best, columns]))
            if title == "inverse kl":
                risk = float(np.mean(true[best, columns]))
        display = sampled[-1] + np.sqrt(np.log(m / self.delta) / (2 * m))
        return {
            "wrong": wrong,
            "excess": excess,
            "risk": risk,
            "display": np.mean(kl[-1] <= display),
            "widest": np.max(kl),
        }
