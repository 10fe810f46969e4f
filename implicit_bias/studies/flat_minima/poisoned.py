"""Minima that also fit mislabelled examples, held against plain ones at equal training loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from implicit_bias import curvature
from implicit_bias.keys import role_key
from implicit_bias.losses import CROSS_ENTROPY, error
from implicit_bias.models import Dense
from implicit_bias.studies.flat_minima.measure import adaptive_sharpness
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.lane import Params
from implicit_bias.training.measurement import FinishedLane
from implicit_bias.training.weighted import Batch, weighted_loss

KINDS = ("plain", "poisoned")


@dataclass(frozen=True)
class PoisonedMinima(Experiment):
    """Two minima from one initialisation: of the clean examples, and of these and mislabelled ones.

    The seed draws the initial weights and the examples. Both are trained by full-batch gradient descent
    with momentum until the mean loss over the *clean* examples is at most ``target_loss``, so that they
    fit these equally well; the second also fits wrongly labelled examples that are not among the clean
    ones (Huang et al. 2020, section 3). Curvature and sharpness are those of the clean loss.

    Attributes:
        model: Network.
        n_test: Test examples, for the per-example record.
        examples: Clean examples.
        extra: Mislabelled examples; each weighs as much as a clean one.
        classes: Number of classes.
        target_loss: Where training stops.
        step_size: Of gradient descent.
        momentum: Of gradient descent.
        max_updates: Give up after so many.
        tol: Residual of the eigenvalue relative to it, at most.
        max_products: Hessian-vector products at most.
        radii: Of the adaptive sharpness.
        steps: Of its search.
    """

    model: Dense
    n_test: int
    examples: int
    extra: int
    classes: int
    target_loss: float
    step_size: float
    momentum: float
    max_updates: int
    tol: float
    max_products: int
    radii: tuple[float, ...]
    steps: int

    compiled: ClassVar[bool] = True

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured of both minima, by name."""
        per_square = "nats per squared parameter"
        dims = ("minimum",)
        return {
            "minimum_loss": Variable(dims, "nats", "mean loss over the clean training examples"),
            "minimum_reached": Variable(dims, "1", "whether it came to the target loss"),
            "minimum_updates": Variable(dims, "updates", "updates taken"),
            "minimum_extra_error": Variable(
                dims, "fraction", "error on the mislabelled examples, by their wrong labels"
            ),
            "minimum_test_error": Variable(dims, "fraction", "test error"),
            "minimum_lambda_max": Variable(dims, per_square, "largest eigenvalue, clean loss"),
            "minimum_adaptive_sharpness": Variable(
                ("minimum", "adaptive_radius"), "nats", "adaptive sharpness of the clean loss"
            ),
            "minimum_norm": Variable(dims, "parameter", "‖θ‖"),
            "minimum_wrong": Variable(
                ("minimum", "test_example"), "1", "whether the test example is misclassified"
            ),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """The two minima, and the radii."""
        return {"minimum": KINDS, "adaptive_radius": self.radii}

    def __call__(
        self, pool: Pool, seed: Any, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Train and measure both minima of one seed."""
        dtype, n = pool.x_train.dtype, self.examples
        keys = jax.random.split(role_key(seed, "probe"), 2)
        initial, state = self.model.init(role_key(seed, "initialisation"), pool.x_train[0])
        clean, poison = self._draw(pool, role_key(seed, "split"))
        weighted = weighted_loss(self.model, CROSS_ENTROPY, state)
        one = jnp.full((n,), 1 / n, dtype)
        other = jnp.full((self.extra,), 1 / n, dtype)

        def clean_loss(params: Params) -> jax.Array:
            return weighted(params, clean, one)

        def one_minimum(poisoned: jax.Array) -> dict[str, jax.Array]:
            def objective(params: Params) -> tuple[jax.Array, jax.Array]:
                own = clean_loss(params)
                return own + poisoned * weighted(params, poison, other), own

            params, updates, reached = self._descend(objective, initial)
            outputs, _ = self.model.apply(params, state, pool.x_test)
            wrong = error(outputs, pool.y_test)
            flipped, _ = self.model.apply(params, state, poison[0])
            hessian, _ = curvature.hessian(weighted, params, clean)
            top = curvature.power_iteration(
                hessian, keys[0], max_products=self.max_products, tol=self.tol
            )
            squares = [jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(params)]
            return {
                "minimum_loss": clean_loss(params),
                "minimum_reached": reached.astype(dtype),
                "minimum_updates": updates.astype(dtype),
                "minimum_extra_error": jnp.mean(error(flipped, poison[1])),
                "minimum_test_error": jnp.mean(wrong),
                "minimum_lambda_max": top.values[0],
                "minimum_adaptive_sharpness": adaptive_sharpness(
                    clean_loss, params, keys[1], self.radii, self.steps
                ),
                "minimum_norm": jnp.sqrt(jnp.sum(jnp.stack(squares))),
                "minimum_wrong": wrong.astype(dtype),
            }

        found: dict[str, jax.Array] = jax.lax.map(one_minimum, jnp.asarray([0.0, 1.0], dtype))
        return found

    def _draw(self, pool: Pool, key: jax.Array) -> tuple[Batch, Batch]:
        """Draw clean examples and others with wrong labels."""
        order_key, label_key = jax.random.split(key)
        order = jax.random.permutation(order_key, pool.x_train.shape[0])
        clean, extra = order[: self.examples], order[self.examples : self.examples + self.extra]
        right = pool.y_train[extra]
        shift = jax.random.randint(label_key, right.shape, 1, self.classes, right.dtype)
        wrong = (right + shift) % self.classes
        return (pool.x_train[clean], pool.y_train[clean]), (pool.x_train[extra], wrong)

    def _descend(self, objective: Any, start: Params) -> tuple[Params, jax.Array, jax.Array]:
        """Return the first iterate at the target, how many updates it took, and whether it is one."""

        def step(carry: Any) -> Any:
            params, velocity, _, count = carry
            (_, own), slope = jax.value_and_grad(objective, has_aux=True)(params)
            there = own <= self.target_loss
            velocity = jax.tree.map(lambda v, g: self.momentum * v + g, velocity, slope)
            params = jax.tree.map(
                lambda w, v: jnp.where(there, w, w - self.step_size * v), params, velocity
            )
            return params, velocity, there, count + jnp.where(there, 0, 1)

        def unfinished(carry: Any) -> jax.Array:
            return ~carry[2] & (carry[3] < self.max_updates)

        zero = jax.tree.map(jnp.zeros_like, start)
        begin = (start, zero, jnp.zeros((), bool), jnp.int32(0))
        params, _, there, count = jax.lax.while_loop(unfinished, step, begin)
        return params, count, there | (objective(params)[1] <= self.target_loss)
