"""Test error of minimum-norm least squares against the number of features, over many training sets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.studies.double_descent.linear.designs import LEVELS, Design, law
from implicit_bias.studies.double_descent.linear.solve import (
    least_squares,
    transposed,
)
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

AT_ONCE = 4_000_000
"""Numbers of one block of training sets: 32 MB."""


@dataclass(frozen=True)
class Sweep(Drawn):
    """Training sets are drawn and solved; models of different sizes see the first features of the same one.

    Test error is that on the population, ``E(y − xᵀw)² = Σ s_j²(w_j − θ_j)² + ‖θ_out‖² + σ²``: no test set's
    own noise is in it.

    Attributes:
        design: What is drawn.
        draws: Training sets of a seed.
    """

    design: Design
    draws: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        label = self.design.label
        dims = (f"{label}_target", f"{label}_features")
        return {
            f"{label}_mean": Variable(dims, "label²", "mean test error over training sets"),
            f"{label}_quantiles": Variable(
                ("law_level", *dims), "label²", "quartiles of the test error over training sets"
            ),
            f"{label}_below": Variable(
                ("law_level", *dims), "fraction", "training sets with a test error below the law's "
                "quartile; NaN where that is not known, or 0"
            ),
            f"{label}_deviation": Variable(
                dims, "label²", "standard deviation of the test error over training sets"
            ),
            f"{label}_draws": Variable((), "1", "training sets of a seed"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Targets, sizes and quantiles."""
        return {
            f"{self.design.label}_target": self.design.names,
            f"{self.design.label}_features": self.design.sizes,
            "law_level": LEVELS,
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Draw and solve the training sets of one seed."""
        rng = role_generator(seed, "data", self.design.label)
        count = self.count
        most = max(1, AT_ONCE // (self.design.examples * self._width))
        errors = np.concatenate(
            [self._block(min(most, count - start), rng) for start in range(0, count, most)]
        )
        label, known = self.design.label, law(self.design).quantiles
        below = (errors[None] < known[:, None]).mean(axis=1)
        return {
            f"{label}_mean": errors.mean(axis=0),
            f"{label}_quantiles": np.quantile(errors, LEVELS, axis=0),
            f"{label}_below": np.where(known > 0, below, np.nan),
            f"{label}_deviation": errors.std(axis=0, ddof=1),
            f"{label}_draws": float(count),
        }

    @property
    def count(self) -> int:
        """Training sets of a seed that are drawn of this design."""
        return max(3, math.ceil(self.design.share * self.draws))

    @property
    def _width(self) -> int:
        return max(self.design.sizes[-1], *(target.total for target in self.design.targets))

    def _block(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return test errors, shape (count, targets, sizes)."""
        design, m = self.design, self.design.examples
        strengths = design.strengths(self._width)
        x = rng.standard_normal((count, m, self._width)) * strengths
        noise = rng.standard_normal((count, m))
        fixed = {
            target.name: x[:, :, : theta.size] @ theta
            for target in design.targets
            if target.signal not in ("none", "dense")
            for theta in [target.coefficients(0, strengths, rng)]
        }
        errors = np.full((count, len(design.targets), len(design.sizes)), np.nan)
        gram, done = np.zeros((count, m, m)), 0
        for column, used in enumerate(design.sizes):
            part = x[:, :, :used]
            if used >= m:
                new = x[:, :, done:used]
                gram, done = gram + new @ transposed(new), used
            theta = np.stack(
                [target.coefficients(used, strengths, rng)[:used] for target in design.targets],
                axis=1,
            )
            own = part @ theta
            labels = np.stack(
                [
                    fixed.get(target.name, own[:, :, row]) + target.sigma * noise
                    for row, target in enumerate(design.targets)
                ],
                axis=2,
            )
            w = least_squares(part, labels, gram=gram if used >= m else None)
            missed = strengths[:used, None] * (w - theta)
            errors[:, :, column] = np.einsum("dnt,dnt->dt", missed, missed)
            for row, target in enumerate(design.targets):
                outside = design.split(target, used)[1] + target.sigma**2
                errors[:, row, column] += outside if design.defined(target, used) else np.nan
        return errors
