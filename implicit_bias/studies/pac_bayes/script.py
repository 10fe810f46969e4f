"""The chapter's linear classifier, run as it is written, and with a law that has a finite KL divergence.

Inputs are N(0, I/n), labels the sign of their first entry, and weights a ridge solution on labels 0 and 1.
For Q = N(w, s²I) the share of Q that is wrong on an example is Φ(−y w·x/(s‖x‖)), so that no predictor is
drawn.

References:
    J. Langford, J. Shawe-Taylor, *PAC-Bayes & margins*, NIPS 2002.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import ROLES, role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

EXAMPLES, INPUTS, TESTS, RIDGE, DELTA = 200, 50, 100, 0.01, 0.05
"""Of the script, with a prior of standard deviation 1."""

SCRIPT_SEED = 42
"""Of the generator that the script seeds."""

PRINTS: dict[str, float] = {
    "norm": 0.8234, "kl": 0.3389, "train": 0.0350, "test": 0.0600, "slack": 0.2103, "bound": 0.2453,
}  # fmt: skip
"""What it is said to print."""

SPREADS = tuple(float(s) for s in np.logspace(-3, 0.5, 71))
"""Standard deviations s among which that of least bound is taken; a law may be chosen freely."""

LADDER = tuple(float(s) for s in 10.0 ** -np.arange(13.0))
"""Standard deviations of a law that shrinks to a point mass."""


def gibbs_errors(x: np.ndarray, signs: np.ndarray, w: np.ndarray, spread: float) -> np.ndarray:
    """Return the share of N(w, s²I) that is wrong on each example, shape (n,).

    Args:
        x: Inputs, (n, d).
        signs: Labels ±1, (n,).
        w: Weights, (d,).
        spread: s > 0.
    """
    from scipy.special import ndtr

    return np.asarray(ndtr(-signs * (x @ w) / (spread * np.linalg.norm(x, axis=1))))


def run_script(rng: np.random.RandomState) -> dict[str, Any]:
    """Run the script as it is written; return what it prints, and its weights and training set."""
    x = rng.randn(EXAMPLES, INPUTS) / np.sqrt(INPUTS)
    y = (x[:, 0] > 0).astype(float)
    w = np.linalg.solve(x.T @ x + RIDGE * np.eye(INPUTS), x.T @ y)
    train = np.mean((x @ w > 0) != y)
    asked = rng.randn(TESTS, INPUTS) / np.sqrt(INPUTS)
    test = np.mean((asked @ w > 0) != (asked[:, 0] > 0))
    norm = np.linalg.norm(w)
    kl = 0.5 * norm**2
    slack = float(theory.printed_bound(0.0, kl, EXAMPLES, DELTA))
    return {
        "norm": norm, "kl": kl, "train": train, "test": test, "slack": slack, "bound": train + slack,
        "x": x, "signs": 2 * y - 1, "w": w,
    }  # fmt: skip


@dataclass(frozen=True)
class Script(Drawn):
    """The script on other draws, its own seed's numbers, and a bound that is one.

    Attributes:
        draws: Data sets of a seed.
        tests: Fresh inputs that stand for the distribution.
    """

    draws: int
    tests: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            **{f"script_{name}": Variable((), "1", f"{name}, mean over data sets") for name in PRINTS},
            **{f"own_{name}": Variable((), "1", f"{name} with the script's own seed") for name in PRINTS},
            "script_spread": Variable((), "1", "s of least bound"),
            "script_valid_kl": Variable((), "nats", "KL(N(w, s²I) ‖ N(0, I)) there"),
            "script_valid_train": Variable((), "fraction", "mean training error over that law"),
            "script_valid_bound": Variable((), "1", "inverse of kl at Maurer's slack there"),
            "script_valid_test": Variable((), "fraction", "true error of that law"),
            "script_valid_wrong": Variable((), "fraction", "data sets on which the bound is below it"),
            "point_ratio": Variable(
                ("point_std",), "1", "KL(N(w, s²I) ‖ N(0, I)) over ‖w‖²/2, as s falls to a point mass"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Standard deviations on the way to a point mass."""
        return {"point_std": LADDER}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Run the script on the data sets of one seed."""
        state = np.random.RandomState([seed, ROLES["data"], 9])
        rng = role_generator(seed, "data", 9)
        asked = rng.standard_normal((self.tests, INPUTS)) / np.sqrt(INPUTS)
        runs = [run_script(state) for _ in range(self.draws)]
        valid = [self._valid(run, asked) for run in runs]
        own, w = run_script(np.random.RandomState(SCRIPT_SEED)), runs[0]["w"]
        stated = w @ w / 2
        return {
            **{f"script_{name}": np.mean([run[name] for run in runs]) for name in PRINTS},
            **{f"own_{name}": np.asarray(own[name]) for name in PRINTS},
            **{f"script_{name}": np.mean([one[name] for one in valid]) for name in valid[0]},
            "point_ratio": [theory.gaussian_kl(w, s, 0.0, 1.0) / stated for s in LADDER],
        }

    @staticmethod
    def _valid(run: Mapping[str, Any], asked: np.ndarray) -> dict[str, float]:
        risks = [float(np.mean(gibbs_errors(run["x"], run["signs"], run["w"], s))) for s in SPREADS]
        kls = [theory.gaussian_kl(run["w"], s, 0.0, 1.0) for s in SPREADS]
        bounds = theory.kl_bound(risks, kls, EXAMPLES, DELTA)
        best = int(np.argmin(bounds))
        signs = np.where(asked[:, 0] > 0, 1.0, -1.0)
        true = float(np.mean(gibbs_errors(asked, signs, run["w"], SPREADS[best])))
        return {
            "spread": SPREADS[best], "valid_kl": kls[best], "valid_train": risks[best],
            "valid_bound": float(bounds[best]), "valid_test": true,
            "valid_wrong": float(bounds[best] < true),
        }  # fmt: skip
