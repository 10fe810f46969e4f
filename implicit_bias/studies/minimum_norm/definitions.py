"""Definitions put to cases with known answers: interpolation, minimum norms, norms of interpolators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.minimum_norm.designs import draw, generator, nearest
from implicit_bias.training.experiment import Variable

FITTED = 1e-9
"""Largest residual over the largest label up to which a fit counts as one."""

CASES: dict[str, bool] = {
    "X⁺y": True,
    "X⁺y and a null vector": True,
    "lookup table": True,
    "descent, unfinished": False,
    "ridge": False,
    "labels that cannot be fitted": False,
    "all but one example": False,
}
"""Predictors, and whether they interpolate."""

LOSSES: dict[str, str] = {
    "0–1": "share of wrong labels",
    "hinge": "max(0, 1 − margin)",
    "squared": "(prediction − label)²/2, labels ±1",
    "cross-entropy": "log(1 + e^(−margin))",
}
"""Losses of classifiers that have every training label right."""

LENGTHS = (0.1, 1.0, 10.0, 100.0)
"""Norms of the classifiers."""

LABELLED = ("signal", "random")
SPECTRA: dict[str, str] = {
    "isotropic": "Gaussian inputs",
    "decaying": "the same, feature j with standard deviation 1/j",
}
LABELLINGS = 20
"""Designs of a seed, of which geometric means of norms are kept."""

EXAMPLE = ((1, 0, 1, 0, 0), (0, 1, 0, 1, 0), (1, 1, 0, 0, 1))
EXAMPLE_LABELS = (1, 1, 2)
"""The source's example of a minimum norm."""


@dataclass(frozen=True)
class Definitions(Drawn):
    """Detectors on cases whose answers are known.

    Attributes:
        examples: Examples m.
        inputs: Features n, more.
        stretch: Length of the null vector added to X⁺y, over its norm.
    """

    examples: int
    inputs: int
    stretch: float

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "case_loss": Variable(("case",), "label²", "mean squared training error/2, over the labels'"),
            "case_residual": Variable(("case",), "1", "largest training residual over the largest label"),
            "right_loss": Variable(("right_by", "right_norm"), "1", "training loss with every label right"),
            "right_accuracy": Variable(("right_norm",), "1", "share of training labels that are right"),
            "penrose_error": Variable(("kind",), "1", "largest violation of Penrose's four "
                "conditions by X⁺"),
            "penrose_rank": Variable(("kind",), "1", "rank over the number of examples"),
            "least_norm": Variable(("kind",), "1", "‖X⁺y‖ over the least norm of 200 other solutions"),
            "example_error": Variable((), "1", "distance from the example's exact solution"),
            "stretched_loss": Variable((), "1", "training loss of X⁺y and the null vector, over "
                "the labels'"),
            "stretched_norm": Variable((), "1", "norm of X⁺y and the null vector over that of X⁺y"),
            "label_norm": Variable(("spectrum_of_inputs", "labelled"), "1", "‖X⁺y‖, labels of "
                "standard deviation 1"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Cases."""
        return {
            "case": tuple(CASES),
            "right_by": tuple(LOSSES),
            "right_norm": LENGTHS,
            "kind": ("full rank", "rank-deficient", "inconsistent"),
            "spectrum_of_inputs": tuple(SPECTRA),
            "labelled": LABELLED,
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Put the definitions to one seed's cases."""
        rng = generator(seed)
        return {
            **self._cases(rng),
            **_right(rng, self.examples),
            **self._inverse(rng),
            **self._norms(rng),
            "example_error": np.asarray(example_error()),
        }

    def _cases(self, rng: np.random.Generator) -> dict[str, Any]:
        x, y = draw("full rank", rng, self.examples, self.inputs)
        goal = nearest(x, y, np.zeros((1, self.inputs)))[0]
        free = rng.standard_normal(self.inputs)
        design = theory.modes(x)
        null = free - theory.row_part(design, free)
        null *= self.stretch * np.linalg.norm(goal) / np.linalg.norm(null)
        twice, other = draw("inconsistent", rng, self.examples, self.inputs)
        part = nearest(x[1:], y[1:], np.zeros((1, self.inputs)))[0]
        step = theory.step_limit(design) / 2
        memory = {row.tobytes(): label for row, label in zip(x, y, strict=True)}
        predictions = {
            "X⁺y": (x @ goal, y),
            "X⁺y and a null vector": (x @ (goal + null), y),
            "lookup table": (np.array([memory[row.tobytes()] for row in x]), y),
            "descent, unfinished": (x @ theory.descent(design, y, 20, step), y),
            "ridge": (x @ theory.ridge_solutions(design, y, 1e-3 * design.curvatures[-1]), y),
            "labels that cannot be fitted": (
                twice @ nearest(twice, other, np.zeros((1, self.inputs)))[0],
                other,
            ),
            "all but one example": (x @ part, y),
        }
        pairs = [predictions[name] for name in CASES]
        return {
            "case_loss": np.array([np.sum((f - t) ** 2) / np.sum(t**2) for f, t in pairs]),
            "case_residual": np.array([np.abs(f - t).max() / np.abs(t).max() for f, t in pairs]),
            "stretched_loss": np.sum((x @ (goal + null) - y) ** 2) / np.sum(y**2),
            "stretched_norm": np.linalg.norm(goal + null) / np.linalg.norm(goal),
        }

    def _inverse(self, rng: np.random.Generator) -> dict[str, Any]:
        errors, ranks, least = [], [], []
        for kind in self.coordinates["kind"]:
            x, y = draw(kind, rng, self.examples, self.inputs)
            design = theory.modes(x)
            inverse = np.stack([theory.minimum_norm(design, e) for e in np.eye(len(y))], axis=1)
            both, back = x @ inverse, inverse @ x
            gaps = (
                (both @ x - x) / np.abs(x).max(),
                (back @ inverse - inverse) / np.abs(inverse).max(),
                both - both.T,
                back - back.T,
            )
            errors.append(max(float(np.abs(gap).max()) for gap in gaps))
            ranks.append(design.rank / len(y))
            goal = theory.minimum_norm(design, y)
            free = 0.1 * rng.standard_normal((200, self.inputs))
            others = goal + free - theory.row_part(design, free)
            least.append(np.linalg.norm(goal) / np.linalg.norm(others, axis=1).min())
        return {
            "penrose_error": np.asarray(errors),
            "penrose_rank": np.asarray(ranks),
            "least_norm": np.asarray(least),
        }

    def _norms(self, rng: np.random.Generator) -> dict[str, Any]:
        found: list[list[float]] = []
        for spectrum in SPECTRA:
            spread = np.ones(self.inputs)
            if spectrum == "decaying":
                spread = 1 / np.arange(1.0, self.inputs + 1)
            logs = []
            for _ in range(LABELLINGS):
                x = rng.standard_normal((self.examples, self.inputs)) * spread
                signal = x @ rng.standard_normal(self.inputs)
                labels = (signal, rng.standard_normal(self.examples))
                start = np.zeros((1, self.inputs))
                logs.append(
                    [np.log(np.linalg.norm(nearest(x, y / y.std(), start))) for y in labels]
                )
            found.append(list(np.exp(np.mean(logs, axis=0))))
        return {"label_norm": np.asarray(found)}


def _right(rng: np.random.Generator, m: int) -> dict[str, Any]:
    """Return training losses of linear classifiers of several lengths that have every label right."""
    x = rng.standard_normal((m, 5))
    truth = rng.standard_normal(5)
    truth /= np.linalg.norm(truth)
    labels = np.sign(x @ truth)
    # Away from the boundary, so that the longest has a margin that hinge loss accepts.
    x = x + 0.2 * labels[:, None] * truth
    scores = np.outer(LENGTHS, x @ truth)
    margins = scores * labels
    losses = {
        "0–1": (margins <= 0).mean(axis=1),
        "hinge": np.maximum(0, 1 - margins).mean(axis=1),
        "squared": ((scores - labels) ** 2).mean(axis=1) / 2,
        "cross-entropy": np.logaddexp(0, -margins).mean(axis=1),
    }
    return {
        "right_loss": np.stack([losses[name] for name in LOSSES]),
        "right_accuracy": (margins > 0).mean(axis=1),
    }


def example_solution() -> list[Fraction]:
    """Return the minimum norm of the source's example, in fractions: Xᵀ(XXᵀ)⁻¹y by elimination."""
    rows = [[Fraction(v) for v in row] for row in EXAMPLE]
    gram = [
        [sum((a * b for a, b in zip(r, s, strict=True)), Fraction(0)) for s in rows]
        + [Fraction(label)]
        for r, label in zip(rows, EXAMPLE_LABELS, strict=True)
    ]
    for i in range(len(gram)):
        gram[i] = [value / gram[i][i] for value in gram[i]]
        for j in range(len(gram)):
            if j != i:
                gram[j] = [a - gram[j][i] * b for a, b in zip(gram[j], gram[i], strict=True)]
    dual = [row[-1] for row in gram]
    return [
        sum((u * row[column] for u, row in zip(dual, rows, strict=True)), Fraction(0))
        for column in range(len(EXAMPLE[0]))
    ]


def example_error() -> float:
    """Return the distance of X⁺y from the example's exact solution."""
    found = theory.minimum_norm(theory.modes(EXAMPLE), EXAMPLE_LABELS)
    return float(np.abs(found - np.array([float(value) for value in example_solution()])).max())
