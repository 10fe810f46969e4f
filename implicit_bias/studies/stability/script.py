"""The chapter's solution on stability: ridge regression of noise, run as it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.stability.designs import generator
from implicit_bias.training.experiment import Variable

PENALTIES = (0.1, 1e-6)
"""λ called stable, and unstable."""

PRINTED = {"moved": (0.0342, 1.8934), "gap": (0.0521, 0.4821)}
"""What the script is said to print at both λ; its gap is a test error."""

RATIO = 55.33
"""Of both movements, as printed."""

SCRIPT_SEED = 42
"""Of the generator that the script seeds."""

EXAMPLES, FEATURES, TESTS = 100, 50, 50
"""As the script has them."""

DRAWS = 20
"""Draws of a seed, of which the mean counts."""


def as_written(rng: Any) -> dict[str, list[float]]:
    """Run the script's lines.

    Args:
        rng: A generator with ``standard_normal``.

    Returns:
        By λ: mean movement without one example, test error (called gap), and test less training error.
    """
    x = rng.standard_normal((EXAMPLES, FEATURES)) / np.sqrt(FEATURES)
    y = rng.standard_normal(EXAMPLES)
    fits = [theory.ridge_fit(x, y, penalty) for penalty in PENALTIES]
    new = rng.standard_normal((TESTS, FEATURES)) / np.sqrt(FEATURES)
    truth = rng.standard_normal(TESTS)
    found: dict[str, list[float]] = {"moved": [], "gap": [], "real": []}
    for fit in fits:
        steps = theory.left_out_weights(fit)[..., 0] - fit.weights[:, 0]
        test = float(np.mean((new @ fit.weights[:, 0] - truth) ** 2))
        found["moved"].append(float(np.linalg.norm(steps, axis=1).mean()))
        found["gap"].append(test)
        found["real"].append(test - float(np.mean(fit.residuals**2)))
    return found


@dataclass(frozen=True)
class Script(Drawn):
    """The script with other seeds, and with its own."""

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        what = {
            "moved": "‖w − w without one‖, mean over examples",
            "gap": "test error, which the script calls gap",
            "real": "test less training error",
        }
        each = ("script_penalty",)
        return {
            f"{kind}_{name}": Variable(each, "1", words + more)
            for name, words in what.items()
            for kind, more in (("script", ""), ("own", ", with the script's own seed"))
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Penalties."""
        return {"script_penalty": PENALTIES}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Run the script with one seed's draws."""
        rng = generator(seed, 7)
        drawn = [as_written(rng) for _ in range(DRAWS)]
        found = {name: np.mean([one[name] for one in drawn], axis=0) for name in drawn[0]}
        own = as_written(np.random.RandomState(SCRIPT_SEED))
        return {f"script_{name}": values for name, values in found.items()} | {
            f"own_{name}": values for name, values in own.items()
        }
