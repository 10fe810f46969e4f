"""λmax over the loss when the weights of a linear regression are multiplied by c, computed exactly.

The Hessian of ½ mean (x·w − y)² is XᵀX/n wherever w is. So λmax does not change, and λmax over the loss
changes as the loss does, which no law ties to c.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

SCRIPTS = ("S.7", "S.19")
SCALES = (0.5, 2.0)
PUBLISHED_SEED = 42


@dataclass(frozen=True)
class Fit:
    """A regression and the weights at which a script stands: X (n, d), y, w, b."""

    x: np.ndarray
    y: np.ndarray
    w: np.ndarray
    b: float

    @property
    def lambda_max(self) -> float:
        """Largest eigenvalue of the Hessian with respect to w, at any w."""
        return float(np.linalg.eigvalsh(self.x.T @ self.x / len(self.x))[-1])

    def loss(self, c: float = 1.0) -> float:
        """Return the loss at c times the weights and the intercept."""
        return float(0.5 * np.mean((c * (self.x @ self.w + self.b) - self.y) ** 2))


def make_fit(script: str, seed: int) -> Fit:
    """Draw a script's data and stand where it stands.

    Args:
        script: ``"S.7"``: 100 × 20, half-way from 0.01 times a draw to least squares, with an intercept;
            ``"S.19"``: 100 × 30, entries divided by √30, least squares.
        seed: Of NumPy's old generator, which the scripts use.
    """
    rng = np.random.RandomState(seed)
    if script == "S.7":
        x, y = rng.randn(100, 20), rng.randn(100)
        begin = 0.01 * rng.randn(20)
        w = begin + 0.5 * np.linalg.solve(x.T @ x, x.T @ (y - x @ begin))
        return Fit(x, y, w, float(np.mean(y - x @ w)))
    x, y = rng.randn(100, 30) / np.sqrt(30), rng.randn(100)
    return Fit(x, y, np.linalg.lstsq(x, y, rcond=None)[0], 0.0)


@dataclass(frozen=True)
class Regression(Experiment):
    """What the scripts print, for the seed of the trial and for theirs."""

    variables: ClassVar[Mapping[str, Variable]] = {
        "script_lambda_ratio": Variable(
            ("script", "script_scale"), "1", "λmax at c times the weights over λmax"
        ),
        "script_relative_ratio": Variable(
            ("script", "script_scale"), "1", "λmax / loss at c times the weights over λmax / loss"
        ),
        "script_closed_form_error": Variable(
            ("script_scale",), "1", "S.19's ratio against 1 / (1 + (c − 1)² ‖Xw‖² / ‖Xw − y‖²)"
        ),
        "script_published_lambda": Variable(("script",), "1", "λmax, seed 42"),
        "script_published_loss": Variable(("script",), "1", "loss, seed 42"),
        "script_published_ratio": Variable(
            ("script", "script_scale"), "1", "λmax / loss ratio, seed 42"
        ),
    }
    coordinates: ClassVar[Mapping[str, Sequence[Any]]] = {
        "script": SCRIPTS,
        "script_scale": SCALES,
    }

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Compute both scripts."""
        # The trial's seeds start at 0; the scripts' own is looked at apart.
        drawn = [make_fit(script, 1000 + seed) for script in SCRIPTS]
        known = [make_fit(script, PUBLISHED_SEED) for script in SCRIPTS]
        ratio = [[fit.loss() / fit.loss(c) for c in SCALES] for fit in drawn]
        last = drawn[-1]
        fitted, rest = np.sum((last.x @ last.w) ** 2), np.sum((last.x @ last.w - last.y) ** 2)
        closed = [1 / (1 + (c - 1) ** 2 * fitted / rest) for c in SCALES]
        moved = [[_hessian_at(fit, c) / fit.lambda_max for c in SCALES] for fit in drawn]
        return {
            "script_lambda_ratio": np.asarray(moved),
            "script_relative_ratio": np.asarray(ratio),
            "script_closed_form_error": np.asarray(ratio[-1]) / np.asarray(closed) - 1,
            "script_published_lambda": np.asarray([fit.lambda_max for fit in known]),
            "script_published_loss": np.asarray([fit.loss() for fit in known]),
            "script_published_ratio": np.asarray(
                [[fit.loss() / fit.loss(c) for c in SCALES] for fit in known]
            ),
        }


def _hessian_at(fit: Fit, c: float) -> float:
    """Return λmax at c w from second differences of the loss: exact for a quadratic, but for rounding."""
    d = fit.w.size
    there, unit = c * fit.w, np.eye(d)

    def loss(w: np.ndarray) -> float:
        return float(0.5 * np.mean((fit.x @ w + c * fit.b - fit.y) ** 2))

    centre = loss(there)
    along = np.array([loss(there + row) for row in unit])
    both = np.array([[loss(there + a + b) for b in unit] for a in unit])
    return float(np.linalg.eigvalsh(both - along[:, None] - along[None, :] + centre)[-1])
