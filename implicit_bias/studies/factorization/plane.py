"""Two by two entries of which one is not seen: where every norm grows without bound (Razin & Cohen 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.keys import role_generator
from implicit_bias.studies.drawn import Drawn
from implicit_bias.training.experiment import Variable

SEEN = np.array([[False, True], [True, True]])
WANTED = np.array([[0.0, 1.0], [1.0, 0.0]])
LEAST_NORM = 2.0
"""Nuclear norm of the best solution, the one with 0 where nothing is seen."""

STARTS = ("αI", "random, det W > 0", "random, det W < 0")
POINTS = 12


@dataclass(frozen=True)
class Plane(Drawn):
    """The unseen entry along gradient flow, by depth and sign of the determinant at the start.

    Gradient flow keeps the sign of the determinant; from where rounding changes it values are NaN.

    Attributes:
        depths: Layers.
        alpha: Scale of each layer's start.
        least: Loss at the end.
    """

    depths: tuple[int, ...]
    alpha: float
    least: float

    @property
    def losses(self) -> tuple[float, ...]:
        """Losses at which the matrix is looked at."""
        return tuple(float(one) for one in np.geomspace(0.1, self.least, POINTS))

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        line = ("plane_start", "plane_depth", "plane_loss")
        return {
            "plane_entry": Variable(line, "1", "|W₁₁|, the entry that is not seen"),
            "plane_nuclear": Variable(line, "1", "nuclear norm"),
            "plane_rank": Variable(line, "1", "effective rank"),
            "plane_time": Variable(line, "time", "time of gradient flow"),
            "plane_determinant": Variable(line, "1", "det W"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Starts, depths and losses."""
        return {"plane_start": STARTS, "plane_depth": self.depths, "plane_loss": self.losses}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Follow the flows of one seed."""
        found = [[self._followed(seed, s, depth) for depth in self.depths] for s in STARTS]
        return {
            f"plane_{name}": np.array([[one[name] for one in row] for row in found])
            for name in found[0][0]
        }

    def _followed(self, seed: int, start: str, depth: int) -> dict[str, np.ndarray]:
        rng = role_generator(seed, "initialisation", depth)
        begin = self.alpha**depth * np.eye(2)
        if start != STARTS[0]:
            begin = self.alpha**depth * rng.standard_normal((2, 2))
            if (np.linalg.det(begin) > 0) != (start == STARTS[1]):
                begin[0] *= -1
        layers = theory.balanced_layers(begin, depth)
        slope = theory.completed_error(SEEN, WANTED)
        shape = len(self.losses)
        found = {
            name: np.full(shape, np.nan)
            for name in ("entry", "nuclear", "rank", "time", "determinant")
        }
        # All sizes are of one path: the loss falls all the way.
        path = theory.network_flow(
            layers, slope, until=theory.fitted(self.least), longest=1e9, method="LSODA",
            tolerance=1e-8, most_steps=5000,
        )  # fmt: skip
        for place, loss in enumerate(self.losses):
            at = int(np.argmax(path.losses <= loss * (1 + 1e-6)))
            if path.losses[at] > loss * (1 + 1e-6):
                continue
            w = _between(path, at, loss)
            if np.linalg.det(w) * np.linalg.det(begin) <= 0:
                # Exactly it never changes sign; with two layers it falls so fast that rounding does it.
                break
            s = np.linalg.svd(w, compute_uv=False)
            found["entry"][place] = abs(w[0, 0])
            found["nuclear"][place] = s.sum()
            found["rank"][place] = theory.effective_rank(s)
            found["time"][place] = path.times[at]
            found["determinant"][place] = np.linalg.det(w)
        return found


def _between(path: Any, at: int, loss: float) -> np.ndarray:
    """Return W at a loss, linear in log loss between two steps."""
    if at == 0 or path.losses[at] == loss:
        return path.products[at]
    first, last = np.log(path.losses[at - 1]), np.log(path.losses[at])
    share = (first - np.log(loss)) / (first - last)
    return path.products[at - 1] * (1 - share) + path.products[at] * share
