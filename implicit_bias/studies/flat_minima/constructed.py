"""Minima that were not simply trained: poisoned ones, and ones found by guessing.

Both experiments hold a minimum of gradient descent against one found otherwise, at equal training loss.
"""

from __future__ import annotations

import math
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
_HALVINGS = 20
_ALIKE = 1 + 1e-4
FOUND_BY = ("gradient descent", "random search")


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


@dataclass(frozen=True)
class RandomSearch(Experiment):
    """Small networks that fit a few examples: guessed, or trained until their loss is the same.

    Networks without biases, of one hidden layer of ReLUs; their loss is always that of the *normalised*
    network, each layer scaled to the length it has on average when drawn (Chiang et al. 2023, section
    3): a ReLU network's outputs can be scaled at will without changing a prediction. Of many random
    networks, those that classify all examples and have the least loss are kept. Each is compared with a
    network trained by gradient descent from a random start of its own until its normalised loss is as
    low. Eigenvalues are of the loss at the normalised network, exact: weights act through the examples'
    span alone, in which the Hessian is small enough to be written down.

    Attributes:
        examples: Training examples, half of class 0 and half of class 1.
        width: Hidden units.
        guesses: Random networks drawn.
        keep: How many are compared.
        step_size: Of gradient descent.
        max_updates: Give up after so many.
    """

    examples: int
    width: int
    guesses: int
    keep: int
    step_size: float
    max_updates: int

    compiled: ClassVar[bool] = True

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("found_by", "network")
        return {
            "search_loss": Variable(dims, "nats", "normalised training loss"),
            "search_lambda_max": Variable(
                dims, "nats per squared parameter", "largest eigenvalue, normalised network"
            ),
            "search_test_error": Variable(dims, "fraction", "test error, the two classes"),
            "search_train_error": Variable(dims, "fraction", "training error"),
            "search_fitting": Variable((), "fraction", "guesses that fit all examples"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Both ways, and the networks."""
        return {"found_by": FOUND_BY, "network": tuple(range(self.keep))}

    def __call__(
        self, pool: Pool, seed: Any, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Search, train and measure for one seed."""
        x_train = pool.x_train.reshape(pool.x_train.shape[0], -1)
        x_test = pool.x_test.reshape(pool.x_test.shape[0], -1)
        dtype, features = x_train.dtype, x_train.shape[1]
        keys = jax.random.split(role_key(seed, "probe"), 2)
        rows = self._rows(pool.y_train, keys[0])
        x, y = x_train[rows], pool.y_train[rows]
        lengths = (math.sqrt(2 * self.width), 2.0)

        def draw(key: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
            sizes = self.width * features
            flat = jax.random.normal(
                jax.random.fold_in(key, index), (sizes + 2 * self.width,), dtype
            )
            first, second = flat[:sizes], flat[sizes:]
            return normalised(
                (first.reshape(self.width, features), second.reshape(2, self.width)), lengths
            )

        def guess(index: jax.Array) -> tuple[jax.Array, jax.Array]:
            outputs = two_layers(draw(keys[1], index), x)
            fits = jnp.all(error(outputs, y) == 0)
            return jnp.where(fits, CROSS_ENTROPY.mean(outputs, y), jnp.inf), fits

        losses, fits = jax.lax.map(
            guess, jnp.arange(self.guesses, dtype=jnp.int32), batch_size=min(256, self.guesses)
        )
        best, index = jax.lax.top_k(-losses, self.keep)
        level = -best

        def trained(start: Any, target: jax.Array) -> Any:
            def loss(weights: Any) -> jax.Array:
                return CROSS_ENTROPY.mean(two_layers(weights, x), y)

            def above(weights: Any) -> jax.Array:
                return loss(normalised(weights, lengths)) > target

            def step(carry: Any) -> Any:
                _, weights, count = carry
                slope = jax.grad(loss)(weights)
                ahead = jax.tree.map(lambda w, g: w - self.step_size * g, weights, slope)
                return weights, ahead, count + 1

            def unfinished(carry: Any) -> jax.Array:
                return above(carry[1]) & (carry[2] < self.max_updates)

            before, after, _ = jax.lax.while_loop(unfinished, step, (start, start, jnp.int32(0)))

            def halve(_: jax.Array, ends: Any) -> Any:
                middle = jax.tree.map(lambda a, b: (a + b) / 2, *ends)
                high = above(middle)
                return tuple(
                    jax.tree.map(lambda m, e, s=side: jnp.where(high == s, m, e), middle, end)
                    for side, end in zip((True, False), ends, strict=True)
                )

            # The last step is cut where the loss is the guess's.
            ends = jax.lax.fori_loop(jnp.int32(0), jnp.int32(_HALVINGS), halve, (before, after))
            return normalised(ends[1], lengths)

        # Descent starts from networks that no guess was: their numbers lie beyond the guesses'.
        starts = self.guesses + jnp.arange(self.keep, dtype=jnp.int32)
        drawn = jax.lax.map(lambda number: draw(keys[1], number), jnp.concatenate([starts, index]))
        first, guessed = (
            jax.tree.map(lambda leaf, s=part: leaf[s], drawn)
            for part in (slice(None, self.keep), slice(self.keep, None))
        )
        descended = jax.lax.map(lambda each: trained(*each), (first, level))
        test = (pool.y_test < 2).astype(dtype)

        def measured(weights: Any) -> dict[str, jax.Array]:
            wrong = error(two_layers(weights, x_test), jnp.minimum(pool.y_test, 1))
            outputs = two_layers(weights, x)
            return {
                "search_loss": CROSS_ENTROPY.mean(outputs, y),
                "search_train_error": jnp.mean(error(outputs, y)),
                "search_lambda_max": self._sharpness(weights, x, y),
                "search_test_error": jnp.sum(test * wrong) / jnp.sum(test),
            }

        both = jax.lax.map(measured, jax.tree.map(_joined, descended, guessed))
        both = jax.tree.map(lambda leaf: leaf.reshape(2, self.keep).astype(dtype), both)
        # A pair counts where there was such a guess, and descent came down to its loss (but for rounding).
        counts = jnp.isfinite(level) & (both["search_loss"][0] <= level * _ALIKE)
        found = {name: jnp.where(counts[None, :], values, jnp.nan) for name, values in both.items()}
        return {**found, "search_fitting": jnp.mean(fits.astype(dtype))}

    def _rows(self, labels: jax.Array, key: jax.Array) -> jax.Array:
        """Draw the examples, half of each class."""
        order = jax.random.permutation(key, labels.shape[0])
        rank = [jnp.argsort(labels[order] != label)[: self.examples // 2] for label in (0, 1)]
        return order[jnp.concatenate(rank)]

    def _sharpness(self, weights: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        """Return the largest eigenvalue, in coordinates of the span of the examples."""
        basis, reduced = jnp.linalg.qr(x.T)
        first, second = weights[0] @ basis, weights[1]
        sizes = first.size

        def loss(flat: jax.Array) -> jax.Array:
            own = (flat[:sizes].reshape(first.shape), flat[sizes:].reshape(second.shape))
            return CROSS_ENTROPY.mean(two_layers(own, reduced.T), y)

        flat = jnp.concatenate([first.reshape(-1), second.reshape(-1)])
        with jax.default_matmul_precision("highest"):
            return jnp.linalg.eigvalsh(jax.hessian(loss)(flat))[-1]


def _joined(first: jax.Array, second: jax.Array) -> jax.Array:
    return jnp.concatenate([first, second])


def two_layers(weights: tuple[jax.Array, jax.Array], x: jax.Array) -> jax.Array:
    """Evaluate W₂ relu(W₁ x): inputs (n, features) to outputs (n, 2)."""
    return jnp.maximum(x @ weights[0].T, 0) @ weights[1].T


def normalised(
    weights: tuple[jax.Array, jax.Array], lengths: tuple[float, float]
) -> tuple[jax.Array, jax.Array]:
    """Scale each layer to a given Frobenius norm."""
    first, second = (
        layer * (length / jnp.sqrt(jnp.sum(jnp.square(layer))))
        for layer, length in zip(weights, lengths, strict=True)
    )
    return first, second
