"""Where everything is known: gradient descent and gradient flow on linear least squares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias.keys import role_generator
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane


@dataclass(frozen=True)
class LinearFlow(Experiment):
    """Gradient descent on ½‖Xw − y‖²/n with fewer examples than parameters, against closed forms.

    From w₀ the flow is at w(t) = w₀ + X⁺(I − e^{−XXᵀt/n})(y − Xw₀), and both end at w₀ + X⁺(y − Xw₀): the
    interpolating solution nearest to where they began. Descent is iterated, not solved for.

    Attributes:
        n_examples: Rows of X.
        dimension: Parameters.
        starts: Starting points of length √dimension or so, and the origin among them.
        fractions: Step sizes, as fractions of 2/λmax.
        time: Time over which descent is held against the flow, in units of n/σmax².
    """

    n_examples: int = 10
    dimension: int = 30
    starts: int = 4
    fractions: tuple[float, ...] = (0.04, 0.02, 0.01, 0.005)
    time: float = 8.0

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "endpoint_error": Variable(
                (), "1", "largest distance of descent's end from the nearest interpolating solution, "
                "relative to the way from the start"
            ),
            "endpoints_apart": Variable(
                (), "1", "least distance of two ends, relative to that of their starts"
            ),
            "linear_distance": Variable(
                ("step_fraction",), "1", "largest distance of descent from the flow over time, relative to "
                "the flow's way"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Step sizes."""
        return {"step_fraction": self.fractions}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Draw a problem and measure it."""
        rng = role_generator(seed, "data")
        n, d = self.n_examples, self.dimension
        x, y = rng.normal(size=(n, d)), rng.normal(size=n)
        starts = rng.normal(size=(self.starts, d))
        starts[0] = 0
        u, sigma, vt = np.linalg.svd(x, full_matrices=False)
        rates = sigma**2 / n

        def descend(w: np.ndarray, step: float, count: int) -> np.ndarray:
            path = [w]
            for _ in range(count):
                w = w - step * (x.T @ (x @ w - y)) / n
                path.append(w)
            return np.stack(path)

        def solve(w: np.ndarray, decay: np.ndarray) -> np.ndarray:
            residual = u.T @ (y - x @ w)
            solution: np.ndarray = w + vt.T @ ((1 - decay) * residual / sigma)
            return solution

        # Slowest component: (1 − rates.min()/rates.max())^count below 1e−14.
        count = int(np.ceil(33 * rates.max() / rates.min()))
        found = np.stack([descend(w, 1 / rates.max(), count)[-1] for w in starts])
        known = np.stack([solve(w, np.zeros(n)) for w in starts])
        way = np.linalg.norm(known - starts, axis=1)
        pairs = [(i, j) for i in range(self.starts) for j in range(i)]
        apart = [
            np.linalg.norm(found[i] - found[j]) / np.linalg.norm(starts[i] - starts[j])
            for i, j in pairs
        ]
        distances = []
        for fraction in self.fractions:
            step = 2 * fraction / rates.max()
            path = descend(starts[-1], step, round(self.time / (2 * fraction)))
            flow = [solve(starts[-1], np.exp(-rates * step * k)) for k in range(len(path))]
            gap = np.linalg.norm(path - np.stack(flow), axis=1).max()
            distances.append(gap / np.linalg.norm(flow[-1] - flow[0]))
        return {
            "endpoint_error": np.max(np.linalg.norm(found - known, axis=1) / way),
            "endpoints_apart": np.min(apart),
            "linear_distance": np.asarray(distances),
        }
