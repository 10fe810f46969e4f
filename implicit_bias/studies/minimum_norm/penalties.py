"""The ridge path as its penalty vanishes, by normal equations, against X⁺y and the rate of its approach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.minimum_norm.designs import distance, draw, generator, nearest
from implicit_bias.training.experiment import Variable

RIDGED = ("full rank", "rank-deficient", "inconsistent")
"""Kinds of designs on which the path is followed."""


@dataclass(frozen=True)
class RidgePath(Drawn):
    """Ridge solutions over penalties.

    Attributes:
        examples: Examples m.
        inputs: Features n, more.
        penalties: λ over the smallest positive eigenvalue of XᵀX, increasing.
    """

    examples: int
    inputs: int
    penalties: tuple[float, ...]

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        path = ("ridged", "relative_penalty")
        return {
            "ridge_distance": Variable(path, "1", "‖w_λ − X⁺y‖/‖X⁺y‖"),
            "ridge_norm": Variable(path, "1", "‖w_λ‖/‖X⁺y‖"),
            "ridge_misfit": Variable(path, "1", "‖Xw_λ − y‖/‖y‖"),
            "ridge_law": Variable(("ridged",), "1", "largest distance from the path by modes, relative"),
            "ridge_slope": Variable(("ridged",), "1", "exponent of the distance in λ, two smallest "
                "penalties"),
            "ridge_constant": Variable(
                ("ridged",), "1", "distance over λ ‖(XᵀX)⁺X⁺y‖ at the smallest penalty"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Designs and penalties."""
        return {"ridged": RIDGED, "relative_penalty": self.penalties}

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Follow the paths of one seed."""
        rng = generator(seed)
        parts = [self._path(*draw(kind, rng, self.examples, self.inputs)) for kind in RIDGED]
        return {name: np.stack([part[name] for part in parts]) for name in parts[0]}

    def _path(self, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        design = theory.modes(x)
        goal = nearest(x, y, np.zeros((1, x.shape[1])))[0]
        lam = np.asarray(self.penalties) * design.curvatures[-1]
        # m equations instead of n: (XᵀX + λ)⁻¹Xᵀ = Xᵀ(XXᵀ + λ)⁻¹.
        path = np.stack([x.T @ np.linalg.solve(x @ x.T + a * np.eye(len(y)), y) for a in lam])
        away = distance(path, goal)
        known = theory.ridge_solutions(design, y, lam)
        rate = np.linalg.norm(theory.ridge_rate(design, y)) / np.linalg.norm(goal)
        return {
            "ridge_distance": away,
            "ridge_norm": np.linalg.norm(path, axis=1) / np.linalg.norm(goal),
            "ridge_misfit": np.linalg.norm(path @ x.T - y, axis=1) / np.linalg.norm(y),
            "ridge_law": distance(path, known).max(),
            "ridge_slope": np.log(away[1] / away[0]) / np.log(lam[1] / lam[0]),
            "ridge_constant": away[0] / (lam[0] * rate),
        }
