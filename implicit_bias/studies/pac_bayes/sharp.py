"""Sharpness of a solution that is scaled: what a bound by the largest eigenvalue says, and what is true.

Fewer Gaussian inputs than dimensions, so that w = X⁺y fits all labels ±1 with margin 1; cw classifies alike
for every c. The logistic loss of cw is log(1 + e^(−c)), the same for all examples, and its Hessian σ(c)σ(−c)
XᵀX/n. A new example's error is ½ where labels are coins, and the angle to the true weights over π where they
are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from implicit_bias import theory
from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.pac_bayes.script import gibbs_errors
from implicit_bias.training.experiment import Variable

SCALES = (1.0, 2.0, 5.0, 10.0, 20.0)
"""c."""

MEMORISERS = (1.0, 10.0, 1e3, 1e6, float("inf"))
"""c of weights that fit labels without meaning, the widths of their noise left as they are; at ∞ the point
mass."""

KINDS = ("true labels", "random labels")
"""Labels: of true weights, or coins."""

LARGEST, PRECISION = 1e4, 100.0
"""c and b of the prior variances c e^(−j/b)."""

NODES = 40
"""Of Gauss–Hermite quadrature."""

SMALL = 1e-2
"""Standard deviation of a margin under noise on weights, for the expansion of the loss."""


def stated_slack(sharpness: Any, n: Any, delta: float) -> np.ndarray:
    """Return √(S log(n/δ)/n), S the Hessian's largest eigenvalue, as the document has it."""
    return np.sqrt(np.asarray(sharpness) * np.log(np.asarray(n) / delta) / np.asarray(n))


def noisy_loss(margin: float, widths: np.ndarray) -> float:
    """Return the mean over examples of E log(1 + exp(−(margin + width z))), z standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    values = np.logaddexp(0.0, -(margin + widths[:, None] * nodes[None, :]))
    return float(np.mean(values @ weights) / np.sqrt(2 * np.pi))


@dataclass(frozen=True)
class Sharp(Drawn):
    """The stated bound, the constant it lacks, and a PAC-Bayes bound, over scales of one classifier.

    Attributes:
        examples: n.
        inputs: Their dimension, more than n.
        delta: δ.
    """

    examples: int
    inputs: int
    delta: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        each, kind = ("sharp_labels", "sharp_scale"), ("sharp_labels",)
        return {
            "sharp_loss": Variable(each, "nats", "training loss L"),
            "sharp_lambda": Variable(each, "1", "λmax of its Hessian, S"),
            "sharp_slack": Variable(each, "1", "√(S log(n/δ)/n)"),
            "sharp_constant": Variable(
                each, "1", "constant that the stated bound needs: (risk − L) over its slack"
            ),
            "sharp_risk": Variable(kind, "fraction", "error on new examples, exact"),
            "sharp_valid": Variable(each, "1", "PAC-Bayes bound on the error of N(cw, s²I)"),
            "sharp_valid_risk": Variable(each, "fraction", "error of that law on new examples, exact"),
            "sharp_expansion": Variable(
                each, "1", "rise of the loss by small noise, over s² tr H/2"
            ),
            "memoriser_train": Variable(
                (), "fraction", "training error of w on labels that are coins"
            ),
            "memoriser_bound": Variable(
                ("memoriser_scale",), "1", "least PAC-Bayes bound of N(cw, s²I) over fixed widths s"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Labels and scales."""
        return {"sharp_labels": KINDS, "sharp_scale": SCALES, "memoriser_scale": MEMORISERS}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Scale the solutions of one seed's data."""
        rng = role_generator(seed, "data", 10)
        x = rng.standard_normal((self.examples, self.inputs))
        truth = rng.standard_normal(self.inputs)
        labels = (np.sign(x @ truth), rng.choice([-1.0, 1.0], self.examples))
        found = [
            self._scaled(x, signs, truth if kind == KINDS[0] else None)
            for kind, signs in zip(KINDS, labels, strict=True)
        ]
        w = theory.minimum_norm(theory.modes(x), labels[1])
        return {
            **{f"sharp_{name}": np.asarray([one[name] for one in found]) for name in found[0]},
            "memoriser_train": np.mean(x @ w * labels[1] <= 0),
            "memoriser_bound": np.asarray(
                [self._memorised(x, labels[1], w, c) for c in MEMORISERS]
            ),
        }

    def _memorised(self, x: np.ndarray, signs: np.ndarray, w: np.ndarray, c: float) -> float:
        """Return the least bound of cw with noise whose widths do not grow with c."""
        if np.isinf(c):
            risk = float(np.mean(x @ w * signs <= 0))
            kl = theory.gaussian_kl(w, 0.0, 0.0, 1.0)
            return float(theory.kl_bound(risk, kl, len(x), self.delta))
        bounds, _ = self._bounds(x, signs, c * w, self._widths(w))
        return float(bounds.min())

    def _scaled(self, x: np.ndarray, signs: np.ndarray, truth: np.ndarray | None) -> dict[str, Any]:
        n = len(x)
        w = theory.minimum_norm(theory.modes(x), signs)
        gram = np.linalg.eigvalsh(x @ x.T)
        risk = 0.5
        if truth is not None:
            risk = float(_angle(w, truth) / np.pi)
        rows: dict[str, list[float]] = {
            name: [] for name in ("loss", "lambda", "slack", "constant", "valid", "valid_risk", "expansion")
        }  # fmt: skip
        lengths = np.linalg.norm(x, axis=1)
        for c in SCALES:
            loss = float(np.logaddexp(0.0, -c))
            bend = float(expit(c) * expit(-c))
            slack = float(stated_slack(bend * gram[-1] / n, n, self.delta))
            bound, own = self._valid(x, signs, c * w, truth)
            s = SMALL / lengths.max()
            rise = noisy_loss(c, s * lengths) - loss
            values = (
                loss, bend * gram[-1] / n, slack, (risk - loss) / slack, bound, own,
                rise / (s**2 * bend * gram.sum() / (2 * n)),
            )  # fmt: skip
            for name, value in zip(rows, values, strict=True):
                rows[name].append(value)
        return {**rows, "risk": risk}

    def _valid(
        self, x: np.ndarray, signs: np.ndarray, w: np.ndarray, truth: np.ndarray | None
    ) -> tuple[float, float]:
        """Return the least bound over s and prior variances, and that law's true error."""
        widths = self._widths(w)
        bounds, _ = self._bounds(x, signs, w, widths)
        best = int(np.argmin(bounds))
        return float(bounds[best]), _law_risk(w, float(widths[best]), truth)

    @staticmethod
    def _widths(w: np.ndarray) -> np.ndarray:
        return np.logspace(-2, 1, 25) * float(np.linalg.norm(w)) / np.sqrt(len(w))

    def _bounds(
        self, x: np.ndarray, signs: np.ndarray, w: np.ndarray, widths: np.ndarray
    ) -> tuple[np.ndarray, list[float]]:
        """Return bounds on errors of N(w, s²I) by s, each at the best prior variance, and training errors."""
        length = float(np.linalg.norm(w))
        risks = [float(np.mean(gibbs_errors(x, signs, w, s))) for s in widths]
        # The prior of least KL has the variance s² + ‖w‖²/d, up to the grid c e^(−j/b).
        even = widths**2 + length**2 / len(w)
        numbers = np.maximum(1, np.round(PRECISION * np.log(LARGEST / even)))
        priors = np.sqrt(theory.prior_variance(numbers, LARGEST, PRECISION))
        kls = [theory.gaussian_kl(w, s, 0.0, p) for s, p in zip(widths, priors, strict=True)]
        bounds = theory.kl_bound(risks, kls, len(x), theory.prior_delta(numbers, self.delta))
        return bounds, risks


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))


def _law_risk(w: np.ndarray, s: float, truth: np.ndarray | None) -> float:
    """Return the mean angle between N(w, s²I) and the truth, over π; ½ without a truth.

    The draws are the same for every law, so that laws are compared alike.
    """
    if truth is None:
        return 0.5
    drawn = w + s * np.random.default_rng(0).standard_normal((200, len(w)))
    cosines = drawn @ truth / np.linalg.norm(drawn, axis=1) / np.linalg.norm(truth)
    return float(np.mean(np.arccos(np.clip(cosines, -1, 1))) / np.pi)
