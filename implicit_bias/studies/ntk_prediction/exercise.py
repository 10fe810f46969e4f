"""The published exercise: a two-layer network of width 10,000 against kernel ridge regression."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from implicit_bias import kernels
from implicit_bias.keys import role_key
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

MOST = 1e6
"""Mean squared differences are cut here; training that diverges counts as this."""


class Variant(NamedTuple):
    """What the exercise leaves open.

    Attributes:
        name: In results.
        what: In words.
        gain: Squared standard deviation of a weight, times the layer's inputs.
        ntk: Whether weights have spread 1 and the spread stands before them as a factor.
        mean: Whether the loss is the mean of squares, rather than half their sum.
    """

    name: str
    what: str
    gain: float
    ntk: bool
    mean: bool


VARIANTS = (
    Variant("standard, small", "weights of variance 1/(3·inputs), mean of squares", 1 / 3, False, True),
    Variant("standard, He", "weights of variance 2/inputs, mean of squares", 2.0, False, True),
    Variant("NTK, mean", "NTK parameterisation, gain √2, mean of squares", 2.0, True, True),
    Variant("NTK, sum", "NTK parameterisation, gain √2, half the sum of squares", 2.0, True, False),
)  # fmt: skip
"""The first has the variance, but not the uniform law, of PyTorch's default."""


@dataclass(frozen=True)
class WideNetwork(Experiment):
    """Gradient descent as the exercise specifies it, and what kernels predict for it.

    Inputs are standard normal, targets those of a unit linear teacher with noise; the network has ReLU
    units and no biases. The kernel is that of the network at its start. Fields are those of the study's
    settings.
    """

    width: int
    examples: int
    dimension: int
    step_size: float
    iterations: int
    ridge: float
    test_examples: int
    noise: float

    compiled: ClassVar[bool] = True

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured of each variant, by name."""
        dims, unit = ("variant",), "squared output"
        return {
            "exercise_difference": Variable(
                dims, unit, "mean squared difference of the trained network from kernel ridge regression"
            ),
            "exercise_matched": Variable(
                dims, unit, "the same from kernel gradient descent for equal time, initial function kept"
            ),
            "exercise_size": Variable(dims, unit, "mean square of the regression's predictions"),
            "exercise_condition": Variable(dims, "1", "condition number of the kernel"),
            "exercise_smallest": Variable(
                dims, "1", "smallest eigenvalue of the kernel, relative to the largest"
            ),
            "exercise_speed": Variable(
                dims, "1", "step size relative to the largest that is stable for the kernel"
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """The variants."""
        return {"variant": [variant.name for variant in VARIANTS]}

    def __call__(
        self, pool: Pool, seed: Any, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Draw a problem and networks, train these, and predict them."""
        dtype, n, d = pool.x_train.dtype, self.examples, self.dimension
        keys = jax.random.split(role_key(seed, "data"), 3)
        x = jax.random.normal(keys[0], (n + self.test_examples, d), dtype)
        teacher = jax.random.normal(keys[1], (d, 1), dtype)
        noise = self.noise * jax.random.normal(keys[2], (n, 1), dtype)
        y = x[:n] @ (teacher / jnp.linalg.norm(teacher)) + noise
        inner, outer = jax.random.split(role_key(seed, "initialisation"))
        drawn = (
            jax.random.normal(inner, (d, self.width), dtype),
            jax.random.normal(outer, (self.width, 1), dtype),
        )
        rows = []
        for variant in VARIANTS:
            spreads = [math.sqrt(variant.gain / fan_in) for fan_in in (d, self.width)]
            rate = 2 * self.step_size / n if variant.mean else self.step_size
            rows.append([*spreads, 1.0, 1.0, rate])
            if variant.ntk:
                rows[-1][:4] = [1.0, 1.0, *spreads]
        numbers = jnp.asarray(rows, dtype)
        # One after the other, so that a variant costs no further compilation.
        return jax.lax.map(lambda row: self._train(row, drawn, x, y), numbers)

    def _train(
        self, row: jax.Array, drawn: tuple[jax.Array, jax.Array], x: jax.Array, y: jax.Array
    ) -> dict[str, jax.Array]:
        """Train one variant, ``f = q Σ v relu(p x·w)``, on rate · ½ Σ (f − y)², and compare it."""
        spread_in, spread_out, p, q, rate = row
        n = self.examples

        def outputs(weights: tuple[jax.Array, jax.Array], x: jax.Array) -> jax.Array:
            return q * (jax.nn.relu(p * (x @ weights[0])) @ weights[1])

        def loss(weights: tuple[jax.Array, jax.Array]) -> jax.Array:
            return rate * jnp.sum(jnp.square(outputs(weights, x[:n]) - y)) / 2

        def update(_: Any, weights: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            gradient: tuple[jax.Array, jax.Array] = jax.grad(loss)(weights)
            return weights[0] - gradient[0], weights[1] - gradient[1]

        start = spread_in * drawn[0], spread_out * drawn[1]
        end = jax.lax.fori_loop(0, self.iterations, update, start)
        with jax.default_matmul_precision("highest"):
            sums = p * (x @ start[0])
            hidden = jax.nn.relu(sums)
            on = (sums > 0).astype(x.dtype) * (q * start[1][:, 0])[None, :]
            kernel = q**2 * (hidden @ hidden[:n].T) + p**2 * (x @ x[:n].T) * (on @ on[:n].T)
        began = outputs(start, x)
        train, cross = kernel[:n], kernel[n:]
        values = jnp.linalg.eigvalsh(train)
        regression = kernels.ridge_regression(train, cross, y, self.ridge)
        matched = kernels.gradient_descent(
            train, y, jnp.asarray([self.iterations]), rate * n, k_test_train=cross,
            f0_train=began[:n], f0_test=began[n:],
        ).test  # fmt: skip
        assert matched is not None
        trained = outputs(end, x[n:])
        return {
            "exercise_difference": _cut(trained - regression),
            "exercise_matched": _cut(trained - matched[0]),
            "exercise_size": jnp.mean(jnp.square(regression)),
            "exercise_condition": values[-1] / values[0],
            "exercise_smallest": values[0] / values[-1],
            "exercise_speed": rate * values[-1] / 2,
        }


def _cut(difference: jax.Array) -> jax.Array:
    size = jnp.mean(jnp.square(difference))
    return jnp.where(jnp.isfinite(size), jnp.minimum(size, MOST), MOST)
