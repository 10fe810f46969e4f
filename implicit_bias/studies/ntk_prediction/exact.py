"""Where everything is known: which interpolating solution gradient descent ends in, in double precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from implicit_bias.keys import role_generator, role_key
from implicit_bias.models import Dense, Linearised
from implicit_bias.runtime import compiled
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

ENDS = ("published", "the same from zero", "published law", "linearised network")
"""Formulas for where the linear model ends; see :class:`LinearisedEnd`."""

PROBLEMS = ("from zero", "from elsewhere", "convex function of X w", "general convex")
"""Problems of :class:`NearestSolution`."""


@dataclass(frozen=True)
class LinearisedEnd(Experiment):
    """Gradient descent of a linearised network to its end, against formulas for that end.

    The network is ``f(θ) = f(θ₀) + Φ(θ − θ₀)`` with Φ its Jacobian at θ₀, both taken from the package's
    own linearised model; descent is iterated, not solved for. The published law ``θ' = −Φᵀ(Φθ − y)`` is
    that of the model Φθ. Errors are distances from the end that is reached, relative to the way from the
    start, of

    - ``published``: Φᵀ(ΦΦᵀ)⁺y, for the linearised network;
    - ``the same from zero``: this formula for the model Φθ, started at zero;
    - ``published law``: θ₀ + Φᵀ(ΦΦᵀ)⁺(y − Φθ₀), for the model Φθ, started at θ₀;
    - ``linearised network``: θ₀ + Φᵀ(ΦΦᵀ)⁺(y − f(θ₀)), for the linearised network.

    Attributes:
        examples: Training examples.
        features: Inputs.
        width: Hidden units.
    """

    examples: int = 6
    features: int = 5
    width: int = 16

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "end_error": Variable(
                ("end",), "1", "distance of a formula from the end of descent, relative to the way"
            ),
            "end_test_error": Variable(
                (), "1", "root mean square on new inputs of what the published end predicts less what the "
                "linearised network does at its own, relative to the latter"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """The formulas."""
        return {"end": ENDS}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Draw a network and a problem, and descend."""
        rng = role_generator(seed, "data")
        x, y = rng.normal(size=(self.examples, self.features)), rng.normal(size=self.examples)
        new = rng.normal(size=(50, self.features))
        model = Linearised(Dense((self.width,), 1, "erf", "ntk", "lecun"))
        # As the model is linear, all that descent needs of it is in its values and its derivatives.
        start, values, jacobian = map(
            np.asarray, _tangent(model=model, seed=np.uint32(seed), x=np.concatenate([x, new]))
        )
        (began, later), (phi, phi_new) = (
            np.split(array, [self.examples]) for array in (values, jacobian)
        )
        rates = np.linalg.eigvalsh(phi @ phi.T)
        step = 2 / (rates[0] + rates[-1])
        count = int(np.ceil(32 / -np.log1p(-step * rates[0])))

        def descend(theta: np.ndarray, shift: np.ndarray) -> np.ndarray:
            for _ in range(count):
                theta = theta - step * phi.T @ (phi @ theta + shift - y)
            return theta

        network = descend(start, began - phi @ start)
        own_law = descend(start, np.zeros_like(y))
        from_zero = descend(np.zeros_like(start), np.zeros_like(y))
        inverse = phi.T @ np.linalg.inv(phi @ phi.T)
        published = inverse @ y
        errors = [
            np.linalg.norm(published - network) / np.linalg.norm(network - start),
            np.linalg.norm(published - from_zero) / np.linalg.norm(from_zero),
            np.linalg.norm(start + inverse @ (y - phi @ start) - own_law)
            / np.linalg.norm(own_law - start),
            np.linalg.norm(start + inverse @ (y - began) - network)
            / np.linalg.norm(network - start),
        ]
        said, done = (later + phi_new @ (theta - start) for theta in (published, network))
        return {
            "end_error": np.asarray(errors),
            "end_test_error": np.sqrt(np.mean((said - done) ** 2) / np.mean(done**2)),
        }


@dataclass(frozen=True)
class NearestSolution(Experiment):
    """How far the end of gradient descent is from the solution nearest to its start.

    - least squares with fewer examples than parameters, from zero and from a Gaussian start;
    - the convex function Σ ((Xw − y)² + (Xw − y)⁴) of Xw, from a Gaussian start;
    - the convex function max(0, a²/9 + b² − 1)², whose solutions fill an ellipse, from near (4, 2).

    Other interpolating solutions of least squares are X⁺y + N z with N a basis of the null space and z
    Gaussian, a tenth to ten times as long as X⁺y.

    Attributes:
        examples: Rows of X.
        parameters: Columns of X.
        others: Other interpolating solutions.
    """

    examples: int = 100
    parameters: int = 500
    others: int = 50

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "projection_error": Variable(
                ("problem",), "1", "distance of descent's end from the solution nearest to its start, "
                "relative to the distance of that from the start"
            ),
            "least_other": Variable(
                ("begun",), "1", "least distance from the start of other interpolating solutions, "
                "relative to that of descent's end"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Problems, and the starts of least squares."""
        return {"problem": PROBLEMS, "begun": PROBLEMS[:2]}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Draw problems and descend."""
        rng = role_generator(seed, "data")
        m, n = self.examples, self.parameters
        x, y = rng.normal(size=(m, n)) / np.sqrt(n), rng.normal(size=m)
        inverse = np.linalg.pinv(x)
        largest = np.linalg.norm(x, 2) ** 2
        elsewhere = rng.normal(size=n)

        def descend(w: np.ndarray, quartic: float, count: int) -> np.ndarray:
            worst = np.max(np.abs(x @ w - y))
            step = 1 / (largest * (2 + 12 * quartic * worst**2))
            for _ in range(count):
                gap = x @ w - y
                w = w - step * x.T @ (2 * gap + 4 * quartic * gap**3)
            return w

        ends = {
            "from zero": (np.zeros(n), descend(np.zeros(n), 0.0, 400)),
            "from elsewhere": (elsewhere, descend(elsewhere, 0.0, 400)),
            # A start near the solutions keeps the quartic's curvature, and with it the step, in bounds.
            "convex function of X w": (
                near := inverse @ y + (elsewhere - inverse @ (x @ elsewhere)) + 0.3 * inverse @ (
                    rng.normal(size=m)
                ),
                descend(near, 1.0, 2500),
            ),
        }  # fmt: skip
        errors = [
            _relative(end, start + inverse @ (y - x @ start), start) for start, end in ends.values()
        ]
        plane = np.array([4.0, 2.0]) + (rng.uniform(-0.5, 0.5, size=2) if seed else 0)
        errors.append(_relative(_to_ellipse(plane), _nearest_on_ellipse(plane), plane))
        least = []
        for start, end in list(ends.values())[:2]:
            noise = rng.normal(size=(self.others, n))
            noise -= noise @ x.T @ inverse.T
            lengths = np.geomspace(0.1, 10, self.others) * np.linalg.norm(inverse @ y)
            noise *= (lengths / np.linalg.norm(noise, axis=1))[:, None]
            away = np.linalg.norm(inverse @ y + noise - start, axis=1)
            least.append(away.min() / np.linalg.norm(end - start))
        return {"projection_error": np.asarray(errors), "least_other": np.asarray(least)}


def _initial(
    model: Linearised, seed: jax.Array, x: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return a linearised network's initial parameters, its outputs (n,) there, and their Jacobian."""
    params, state = model.init(role_key(seed, "initialisation"), x[0])
    origin, unravel = ravel_pytree(params)

    def outputs(theta: jax.Array) -> jax.Array:
        return model.apply(unravel(theta), state, x)[0][:, 0]

    return origin, outputs(origin), jax.jacobian(outputs)(origin)


_tangent = compiled(_initial, static=("model",))


def _relative(end: np.ndarray, nearest: np.ndarray, start: np.ndarray) -> float:
    return float(np.linalg.norm(end - nearest) / np.linalg.norm(nearest - start))


def _to_ellipse(point: np.ndarray, step: float = 0.02, count: int = 3000) -> np.ndarray:
    """Return where gradient descent on max(0, a²/9 + b² − 1)² ends."""
    a, b = float(point[0]), float(point[1])
    for _ in range(count):
        gap = max(0.0, a * a / 9 + b * b - 1)
        a, b = a - step * 4 * gap * a / 9, b - step * 4 * gap * b
    return np.array([a, b])


def _nearest_on_ellipse(point: np.ndarray) -> np.ndarray:
    """Return the point (3 cos t, sin t) nearest to one outside, by Newton's method on the angle."""
    a, b = point
    grid = np.linspace(0, 2 * np.pi, 2001)
    t = grid[np.argmin((3 * np.cos(grid) - a) ** 2 + (np.sin(grid) - b) ** 2)]
    for _ in range(20):
        s, c = np.sin(t), np.cos(t)
        slope = -3 * s * (3 * c - a) + c * (s - b)
        bend = 9 * s * s - 3 * c * (3 * c - a) + c * c - s * (s - b)
        t -= slope / bend
    return np.array([3 * np.cos(t), np.sin(t)])
