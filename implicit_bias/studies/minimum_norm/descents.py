"""Descent iterated on designs of every kind, against the solution nearest to its start and closed forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.minimum_norm.designs import (
    KINDS,
    Descending,
    Rule,
    distance,
    draw,
    generator,
    nearest,
)
from implicit_bias.training.experiment import Variable

STARTS = ("zero", "random")
TIMES = (1, 10, 100, 1000)
"""Updates after which iterates are held against their closed form."""

BEYOND, OVER = 1.05, 1.5
"""Step sizes beyond the limit: a little, and 3/λmax, the document's kind of counterexample."""


@dataclass(frozen=True)
class Descents(Drawn):
    """Gradient descent, heavy ball and Nesterov's momentum to their end, from zero and from elsewhere.

    Attributes:
        examples: Examples m.
        inputs: Features n, more.
        fractions: Step sizes of gradient descent over 2/λmax, below 1.
        momentum: β of the runs with momentum, at the middle of those fractions of their own limits.
    """

    examples: int
    inputs: int
    fractions: tuple[float, ...]
    momentum: float

    @property
    def rules(self) -> dict[str, Rule]:
        """What is run, by name."""
        middle = self.fractions[len(self.fractions) // 2]
        return {
            **{f"{fraction:g} · 2/λmax": Rule(fraction) for fraction in self.fractions},
            "heavy ball": Rule(middle, self.momentum),
            "Nesterov": Rule(middle, self.momentum, True),
        }

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("design", "rule", "begun")
        nearest_point = "the least-squares solution nearest to the start"
        return {
            "descent_error": Variable(dims, "1", f"distance from {nearest_point}, relative"),
            "descent_outside": Variable(dims, "1", "way outside the row space, over the whole way"),
            "descent_norm": Variable(dims, "1", "norm of the end over that of X⁺y"),
            "descent_way": Variable(dims, "1", "‖w − w₀‖ over the distance from w₀ to the solutions"),
            "descent_law": Variable(
                ("design", "rule"), "1", "largest distance of iterates from their closed form, relative"
            ),
            "descent_constraint": Variable(
                (), "1", "largest change of θᵀHθ over solutions that differ in the null space, relative"
            ),
            "beyond_growth": Variable(("design",), "1", f"growth of ‖Xw − y‖ in 400 updates at "
                f"{BEYOND:g} · 2/λmax"),
            "beyond_orthogonal": Variable(
                (), "1", f"distance from X⁺y at {2 * OVER:g}/λmax, y orthogonal to the first "
                    f"singular vector"
            ),
            "beyond_law": Variable((), "1", "largest |log growth/(t log contraction) − 1| beyond "
                "the limit"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Designs, rules and starts."""
        return {"design": tuple(KINDS), "rule": tuple(self.rules), "begun": STARTS}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Iterate on the designs of one seed."""
        rng = generator(seed)
        parts = [self._on(kind, rng) for kind in KINDS]
        found = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
        growth = found.pop("growth")
        return {
            **found,
            "descent_constraint": found["descent_constraint"].max(),
            "beyond_growth": growth[:, 0],
            "beyond_law": np.abs(growth[:, 1] - 1).max(),
            "beyond_orthogonal": self._orthogonal(rng),
        }

    def _on(self, kind: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
        x, y = draw(kind, rng, self.examples, self.inputs)
        n = x.shape[1]
        design = theory.modes(x)
        rules = list(self.rules.values())
        starts = np.stack([np.zeros(n), rng.standard_normal(n)])
        steps = np.array(
            [one.fraction * theory.step_limit(design, one.momentum, one.nesterov) for one in rules]
        )
        runs = Descending(
            x, y, np.tile(starts, (len(rules), 1)), np.repeat(steps, 2),
            np.repeat([one.momentum for one in rules], 2), np.repeat([one.nesterov for one in rules], 2),
        )  # fmt: skip
        slowest = max(
            theory.contraction(design, step, one.momentum, one.nesterov)
            for step, one in zip(steps, rules, strict=True)
        )
        # Until the slowest mode has fallen to rounding.
        end = max(TIMES[-1], int(np.ceil(-34 / np.log(slowest))))
        law, done = np.zeros(len(rules)), 0
        goal = np.tile(nearest(x, y, starts), (len(rules), 1))
        scale = np.linalg.norm(goal, axis=1)
        for time in TIMES:
            runs.go(time - done)
            done = time
            for row, (one, step) in enumerate(zip(rules, steps, strict=True)):
                known = theory.descent(design, y, time, step, one.momentum, one.nesterov, starts[1])
                apart = np.linalg.norm(runs.weights[2 * row + 1] - known) / scale[2 * row + 1]
                law[row] = max(law[row], apart)
        runs.go(end - done)
        shape = (len(rules), 2)
        both = np.tile(starts, (len(rules), 1))
        moved = runs.weights - both
        outside = np.linalg.norm(moved - theory.row_part(design, moved), axis=1)
        way = np.linalg.norm(moved, axis=1)
        other = goal[1] + 3 * (starts[1] - theory.row_part(design, starts[1]))
        curved = [np.sum((x @ w) ** 2) for w in (goal[0], goal[1], other)]
        return {
            "descent_error": distance(runs.weights, goal).reshape(shape),
            "descent_outside": (outside / way).reshape(shape),
            "descent_norm": (np.linalg.norm(runs.weights, axis=1) / scale[0]).reshape(shape),
            "descent_way": (way / np.linalg.norm(goal - both, axis=1)).reshape(shape),
            "descent_law": law,
            "descent_constraint": np.asarray(np.ptp(curved) / np.max(curved)),
            "growth": self._growth(x, y, design),
        }

    def _growth(self, x: np.ndarray, y: np.ndarray, design: theory.Modes) -> np.ndarray:
        """Return the residual's growth beyond the limit, and its rate over the law's."""
        step = BEYOND * theory.step_limit(design)
        runs, sizes = Descending(x, y, np.zeros((1, x.shape[1])), step), []
        for _ in range(2):
            runs.go(200)
            sizes.append(np.linalg.norm(runs.weights[0] @ x.T - y))
        rate = np.log(sizes[1] / sizes[0]) / 200
        return np.array(
            [sizes[1] / np.linalg.norm(y), rate / np.log(theory.contraction(design, step))]
        )

    def _orthogonal(self, rng: np.random.Generator) -> np.ndarray:
        """Return where descent ends with a step size beyond 2/λmax if y never excites the steepest mode.

        The design is diagonal, so that rounding excites none either.
        """
        m, n = self.examples, self.inputs
        x = np.zeros((m, n))
        values = np.geomspace(1, 0.3, m)
        values[0] = 2.0
        x[np.arange(m), np.arange(m)] = values
        y = rng.standard_normal(m)
        y[0] = 0.0
        # 3/λmax is still below 2/λ of the second mode.
        runs = Descending(x, y, np.zeros((1, n)), 2 * OVER / values[0] ** 2)
        runs.go(2000)
        return distance(runs.weights[0], nearest(x, y, np.zeros((1, n)))[0])
