"""Minima found by guessing, held against those of gradient descent at equal training loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from implicit_bias.keys import role_key
from implicit_bias.losses import CROSS_ENTROPY, error
from implicit_bias.training import Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane

FOUND_BY = ("gradient descent", "random search")

HALVINGS = 20
"""Of the last step of descent, which goes beyond the loss that was found by guessing."""

ALIKE = 1 + 1e-4
"""Ratio of losses up to which they count as equal."""


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
            ends = jax.lax.fori_loop(jnp.int32(0), jnp.int32(HALVINGS), halve, (before, after))
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
        counts = jnp.isfinite(level) & (both["search_loss"][0] <= level * ALIKE)
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
