"""Gradient flow on convex losses with many minima, rates on quadratics, and readings of exercise B.3."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from implicit_bias import theory
from implicit_bias.studies.drawn import Drawn
from implicit_bias.studies.minimum_norm.designs import distance, generator, nearest
from implicit_bias.training.experiment import Variable

LOSSES: dict[str, str] = {
    "least squares": "½‖Xw − y‖²",
    "convex in Xw": "Σ log cosh(Xw − y): minima are the solutions of Xw = y",
    "ellipse, given start": "max(0, w₁²/9 + w₂² − 1)² from (4, 2): minima fill an ellipse",
    "ellipse, random start": "the same from random points outside",
}
"""Convex losses whose minima are many."""

SCALES = (0.1, 1.0, 10.0)
"""Largest curvatures L of the quadratics; κ is the same."""

AXES = (3.0, 1.0)
"""Half axes of the ellipse."""

ELLIPSES = 10
"""Random starts of a seed, of which means are kept."""


@dataclass(frozen=True)
class Flows(Drawn):
    """Where flows end, against the nearest minimum; and what step 1/L does to quadratics.

    Attributes:
        examples: Examples m.
        inputs: Features n, more.
        condition: κ = L/μ of the quadratics.
        dimension: Parameters of the quadratics.
    """

    examples: int
    inputs: int
    condition: float
    dimension: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "flow_apart": Variable(
                ("flow_loss",), "1", "distance of the flow's end from the nearest minimum, over "
                    "the way there"
            ),
            "flow_extra": Variable(("flow_loss",), "1", "‖end − start‖/‖nearest minimum − start‖ − 1"),
            "flow_law": Variable(
                (), "1", "largest distance of the integrated flow from closed forms, relative"
            ),
            "ellipse_law": Variable((), "1", "distance of the integrated flow's end from its exact path's"),
            "rate": Variable(("curvature",), "1/update", "−log of the distance's factor an update at 1/L"),
            "rate_stated": Variable(("curvature",), "1/update", "μL"),
            "rate_updates": Variable(("curvature",), "updates", "updates to a relative distance of 10⁻⁶"),
            "rate_limit": Variable(
                (), "1", "largest distance from the nearest minimum where μ, L vary and minima are many"
            ),
            "rate_begun": Variable((), "1", "distance of two ends over that of their starts in the "
                "null space"),
            "strict_apart": Variable((), "1", "distance of ends from two starts, strictly convex, "
                "relative"),
            "projected_apart": Variable(
                ("hessian",), "1", "distance of projected descent's end from the projection of the "
                    "free minimum"
            ),
            "projected_law": Variable((), "1", "its distance from the constrained minimum, relative"),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Losses, curvatures, Hessians."""
        return {
            "flow_loss": tuple(LOSSES),
            "curvature": SCALES,
            "hessian": ("isotropic", "anisotropic"),
        }

    def of_seed(self, seed: int) -> Mapping[str, Any]:
        """Follow the flows of one seed."""
        rng = generator(seed)
        linear, law = self._linear(rng)
        given = self._ellipse(np.array([4.0, 2.0]))
        drawn = np.mean([self._ellipse(outside(rng)) for _ in range(ELLIPSES)], axis=0)
        ellipses = [given, drawn]
        ends = [*linear, *ellipses]
        return {
            "flow_apart": np.array([one[0] for one in ends]),
            "flow_extra": np.array([one[1] for one in ends]),
            "flow_law": np.asarray(law),
            "ellipse_law": np.max([one[2] for one in ellipses]),
            **self._rates(rng),
            **self._readings(rng),
        }

    def _linear(self, rng: np.random.Generator) -> tuple[list[tuple[float, float]], float]:
        x = rng.standard_normal((self.examples, self.inputs))
        y, start = rng.standard_normal(self.examples), rng.standard_normal(self.inputs)
        design, goal = theory.modes(x), nearest(x, y, start[None])[0]
        times = np.geomspace(1e-3, 36 / design.curvatures[-1], 12)
        path = integrate(lambda w: -x.T @ (x @ w - y), start, times)
        known = theory.least_squares_flow(design, y, times, start)
        law = np.linalg.norm(path - known, axis=1).max() / np.linalg.norm(goal - start)
        # Curvature of log cosh falls with the distance: its flow needs longer.
        far = times[-1:] + 50 * np.linalg.norm(y - x @ start) / design.curvatures[-1]
        other = integrate(lambda w: -x.T @ np.tanh(x @ w - y), start, far)[-1]
        return [_ended(path[-1], goal, start), _ended(other, goal, start)], float(law)

    def _ellipse(self, start: np.ndarray) -> tuple[float, float, float]:
        exact, goal = ellipse_end(start), ellipse_nearest(start)
        scale = np.array([1 / AXES[0] ** 2, 1 / AXES[1] ** 2])

        def force(w: np.ndarray) -> np.ndarray:
            return np.asarray(-4 * max(0.0, float(scale @ w**2) - 1) * scale * w)

        found = integrate(force, start, np.array([300.0]))[-1]
        gone = float(np.linalg.norm(found - exact) / np.linalg.norm(goal - start))
        return (*_ended(exact, goal, start), gone)

    def _rates(self, rng: np.random.Generator) -> dict[str, Any]:
        rates, stated, updates, away = [], [], [], 0.0
        for large in SCALES:
            curvatures = np.geomspace(large / self.condition, large, self.dimension)
            error, count, logs = np.ones(self.dimension), 0, [0.0]
            first = np.linalg.norm(error)
            while np.linalg.norm(error) > 1e-6 * first:
                error = error - curvatures / large * error
                count += 1
                logs.append(float(np.log(np.linalg.norm(error) / first)))
            late = logs[len(logs) // 2 :]
            rates.append((late[0] - late[-1]) / (len(late) - 1))
            stated.append(large * large / self.condition)
            updates.append(float(count))
            # The same curvatures with flat directions beside them: the start decides, not the constants.
            x = np.hstack([np.diag(np.sqrt(curvatures)), np.zeros((self.dimension, 2))])
            starts = rng.standard_normal((2, self.dimension + 2))
            y = rng.standard_normal(self.dimension)
            ends = starts
            for _ in range(round(34 * self.condition)):
                ends = ends - (ends @ x.T - y) @ x / large
            away = max(away, float(distance(ends, nearest(x, y, starts)).max()))
            flat = np.linalg.norm(starts[0, -2:] - starts[1, -2:])
            apart = float(np.linalg.norm(ends[0] - ends[1]) / flat)
        return {
            "rate": np.asarray(rates),
            "rate_stated": np.asarray(stated),
            "rate_updates": np.asarray(updates),
            "rate_limit": np.asarray(away),
            "rate_begun": np.asarray(apart),
        }

    def _readings(self, rng: np.random.Generator) -> dict[str, Any]:
        n, m = self.dimension, max(1, self.dimension // 2)
        basis = np.linalg.qr(rng.standard_normal((n, n)))[0]
        bottom, starts = rng.standard_normal(n), rng.standard_normal((2, n))
        a, b = rng.standard_normal((m, n)), rng.standard_normal(m)
        project = np.linalg.pinv(a)
        apart, law, strict = [], 0.0, 0.0
        for curvatures in (np.ones(n), np.geomspace(1, 10, n)):
            hessian = (basis * curvatures) @ basis.T
            step, w, free = 1 / curvatures[-1], starts, starts
            for _ in range(700):
                free = free - step * (free - bottom) @ hessian
                w = w - step * (w - bottom) @ hessian
                w = w - (w @ a.T - b) @ project.T
            strict = max(strict, float(np.linalg.norm(free[0] - free[1])))
            flat = bottom - project @ (a @ bottom - b)
            apart.append(np.linalg.norm(w[0] - flat) / np.linalg.norm(bottom - flat))
            inverse = np.linalg.inv(hessian) @ a.T
            best = bottom - inverse @ np.linalg.solve(a @ inverse, a @ bottom - b)
            law = max(law, float(distance(w, best).max()))
        return {
            "strict_apart": np.asarray(strict),
            "projected_apart": np.asarray(apart),
            "projected_law": np.asarray(law),
        }


def integrate(
    force: Callable[[np.ndarray], np.ndarray], start: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """Integrate w′ = force(w) from time 0, (times, n)."""
    from scipy.integrate import solve_ivp

    found = solve_ivp(
        lambda t, w: force(w), (0, times[-1]), start, t_eval=times, method="LSODA", rtol=1e-9, atol=1e-11
    )  # fmt: skip
    return np.asarray(found.y.T)


def outside(rng: np.random.Generator) -> np.ndarray:
    """Draw a point outside the ellipse, away from its axes."""
    angle, radius = rng.uniform(0.2, 1.3), rng.uniform(1.3, 2.0)
    return radius * np.array([AXES[0] * np.cos(angle), AXES[1] * np.sin(angle)])


def ellipse_end(start: np.ndarray) -> np.ndarray:
    """Return where the flow of max(0, w₁²/9 + w₂² − 1)² meets the ellipse, from a point outside.

    Whatever its speed, dw₂/dw₁ = 9 w₂/w₁ along the flow: w₂ = c w₁⁹.
    """
    from scipy.optimize import brentq

    power = (AXES[0] / AXES[1]) ** 2

    def beyond(share: float) -> float:
        return float(
            (share * start[0] / AXES[0]) ** 2 + (share**power * start[1] / AXES[1]) ** 2 - 1
        )

    share = brentq(beyond, 0.0, 1.0, xtol=1e-15)
    return np.array([share * start[0], share**power * start[1]])


def ellipse_nearest(start: np.ndarray) -> np.ndarray:
    """Return the point of the ellipse nearest to a point outside in the first quadrant.

    It is ``a_i² p_i/(a_i² + t)`` with t > 0 such that it lies on the ellipse (Lagrange's condition).
    """
    from scipy.optimize import brentq

    squares = np.square(AXES)

    def beyond(t: float) -> float:
        return float(np.sum((np.asarray(AXES) * start / (squares + t)) ** 2) - 1)

    t = brentq(beyond, 0.0, 10 * float(np.sum(start**2)) + 10, xtol=1e-14)
    return np.asarray(squares * start / (squares + t))


def _ended(end: np.ndarray, goal: np.ndarray, start: np.ndarray) -> tuple[float, float]:
    way = np.linalg.norm(goal - start)
    return float(np.linalg.norm(end - goal) / way), float(np.linalg.norm(end - start) / way - 1)
