"""Learnt against random features, on a target that depends on few directions of its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.data.synthetic import teacher_student
from implicit_bias.keys import role_generator
from implicit_bias.runtime import compiled
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

FEATURES: dict[str, str] = {
    "learnt": "both layers trained, time of least validation error",
    "random": "last layer alone trained, time of least validation error",
    "random, best ridge": "last layer alone, ridge of least error on the test examples themselves",
}
"""What is compared, on the same features at the start."""

STEP_FRACTION = 0.25
"""Step size, in units of where descent with the kernel of the start diverges."""

RIDGES = 10.0 ** np.arange(-8, 1.01, 0.25)
"""Ridges among which the best is taken, relative to the largest eigenvalue."""

LATER = 1e6
"""Factor on the times at which the last layer alone is looked at: it may have all the time it wants."""

PROBES = 40


@dataclass(frozen=True)
class MultiIndexTarget(Experiment):
    """Two-layer ReLU networks on a target of few directions: end to end, and the last layer alone.

    ``f(x) = m^(−1/2) a·relu(W x d^(−1/2) √2)`` with W standard normal and a = 0 at the start, which gives
    both networks the same function and the same features to begin with. End to end, descent on the squared
    loss trains a and W. Training a alone is descent with the kernel of the features, which is known in closed
    form at any time. Errors are mean squared errors, relative to the variance of the target.

    Attributes:
        examples: Training examples; a fifth as many more are for validation.
        tests: Test examples.
        inputs: Dimension of the inputs, standard normal.
        directions: Hidden units of the ReLU network that is the target.
        hidden: Hidden units m of both networks.
        updates: Updates of training end to end.
    """

    examples: int = 500
    tests: int = 1000
    inputs: int = 20
    directions: int = 2
    hidden: int = 100
    updates: int = 2000

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "target_error": Variable(
                ("features",), "1", "test error relative to the target's variance"
            ),
            "target_end_error": Variable((), "1", "the same of learnt features after all updates"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """What is compared."""
        return {"features": tuple(FEATURES)}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Compare on one draw of target, examples and features."""
        held = max(1, self.examples // 5)
        data = teacher_student(
            self.examples + held, self.tests, self.inputs, width=self.directions,
            seed=int(seed), dtype=np.float64,
        )  # fmt: skip
        x, x_valid = np.split(np.asarray(data.x_train), [self.examples])
        y, y_valid = np.split(np.asarray(data.y_train)[:, 0], [self.examples])
        x_test, y_test = np.asarray(data.x_test), np.asarray(data.y_test)[:, 0]
        # The mean is known to all: it is not what features are for.
        mean, variance = y.mean(), y_test.var()
        y, y_valid, y_test = y - mean, y_valid - mean, y_test - mean
        rng = role_generator(seed, "initialisation")
        weights = rng.standard_normal((self.hidden, self.inputs))

        sets = (x, x_valid, x_test)
        features = [self.features(weights, part) for part in sets]
        values, vectors = np.linalg.eigh(features[0] @ features[0].T)
        step = STEP_FRACTION * 2 * len(x) / values[-1]
        at = np.unique(np.geomspace(1, self.updates, PROBES).round().astype(int))

        outputs = self.train(weights, x, y, step, at, np.concatenate(sets[1:]))
        wrong = (outputs - np.concatenate([y_valid, y_test])[None, :]) ** 2
        learnt = np.stack([wrong[:, :held].mean(axis=1), wrong[:, held:].mean(axis=1)], axis=1)
        # (1 − (1 − ηλ/n)^t)/λ, and t η/n where λ is zero.
        values = np.maximum(values, 0)
        later = np.geomspace(1, LATER * self.updates, 3 * PROBES)
        small = values < 1e-12 * values[-1]
        safe = np.where(small, 1.0, values)
        decay = -np.expm1(later[:, None] * np.log1p(-step * values / len(x))[None, :])
        filters = np.where(small[None, :], later[:, None] * step / len(x), decay / safe[None, :])
        random = self._spectral(features, values, vectors, filters, y, (y_valid, y_test))
        ridges = 1 / (values[None, :] + RIDGES[:, None] * values[-1])
        ridge = self._spectral(features, values, vectors, ridges, y, (y_valid, y_test))
        best = [
            learnt[np.argmin(learnt[:, 0]), 1],
            random[np.argmin(random[:, 0]), 1],
            ridge[:, 1].min(),
        ]
        return {
            "target_error": np.asarray(best) / variance,
            "target_end_error": learnt[-1, 1] / variance,
        }

    def features(self, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return what the last layer is given, (n, hidden)."""
        scale = np.sqrt(2 / self.inputs)
        return np.maximum(x @ weights.T * scale, 0) / np.sqrt(self.hidden)

    def train(
        self, weights: np.ndarray, x: np.ndarray, y: np.ndarray, step: float, at: np.ndarray,
        asked: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """Train both layers by descent on the mean of ½ (f − y)².

        Args:
            weights: Initial weights of the first layer, (hidden, inputs); those of the last are zero.
            x: Training inputs, (n, inputs).
            y: Targets, (n,).
            step: Step size.
            at: Updates after which outputs are returned, increasing.
            asked: Other inputs, (m, inputs).

        Returns:
            Outputs at those times, (times, m).
        """
        return np.asarray(
            _trained(*(jnp.asarray(part) for part in (weights, x, y, step, at, asked)))
        )

    def _spectral(
        self, features: list[np.ndarray], values: np.ndarray, vectors: np.ndarray, filters: np.ndarray,
        y: np.ndarray, targets: tuple[np.ndarray, ...],
    ) -> np.ndarray:  # fmt: skip
        """Return the mean squared errors of filtered regressions, (filters, sets)."""
        coefficients = (filters * (vectors.T @ y)[None, :]) @ vectors.T
        inner = coefficients @ features[0]
        return np.stack(
            [
                np.mean((inner @ part.T - target[None, :]) ** 2, axis=1)
                for part, target in zip(features[1:], targets, strict=True)
            ],
            axis=1,
        )


def _train(
    weights: jax.Array, x: jax.Array, y: jax.Array, step: jax.Array, at: jax.Array, asked: jax.Array
) -> jax.Array:
    scale = jnp.sqrt(2 / weights.size)

    def function(params: tuple[jax.Array, jax.Array], x: jax.Array) -> jax.Array:
        first, last = params
        return scale * jax.nn.relu(x @ first.T) @ last

    def update(_: Any, params: Any) -> Any:
        slope = jax.grad(lambda p: jnp.mean(jnp.square(function(p, x) - y)) / 2)(params)
        return jax.tree.map(lambda now, along: now - step * along, params, slope)

    def until(carry: Any, then: jax.Array) -> Any:
        done, params = carry
        params = jax.lax.fori_loop(done, then, update, params)
        return (then, params), function(params, asked)

    start = weights, jnp.zeros(weights.shape[0], weights.dtype)
    return jax.lax.scan(until, (jnp.zeros_like(at[0]), start), at)[1]


_trained = compiled(_train)
"""Compiled training, one program for all seeds."""
