"""What is measured of a finished lane: its attention before and after training, and what its data allow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias import geometry
from implicit_bias.keys import ROLES
from implicit_bias.losses import Loss
from implicit_bias.models import Model, Transformer
from implicit_bias.training import Evaluator, Pool
from implicit_bias.training.lane import Params
from implicit_bias.training.measurement import FinishedLane, Variable

MOMENTS = ("before", "after")
"""When attention is looked at: at the start of training and at its end."""

BY_LAYER: dict[str, tuple[str, str]] = {
    "rank": ("1", "effective rank of attention matrices"),
    "stable": ("1", "their stable rank, ‖A‖²_F/‖A‖²"),
    "entropy": ("1", "entropy of their rows, relative to that of looking everywhere alike"),
    "top": ("1", "mass of the largest weights of a row"),
    "recent": ("1", "mass on the positions that the next token depends on"),
    "moved_rank": ("1", "effective rank with the positions of the inputs permuted"),
    "moved_entropy": ("1", "relative entropy with the positions of the inputs permuted"),
}
"""Measured of every layer, means over heads and examples."""

LARGEST_FLOOR = 1000
"""Training sequences up to which what their beginnings allow is counted: time and memory grow as the
square."""


@dataclass(frozen=True)
class Attention:
    """Measurement of a finished transformer.

    Attributes:
        depth: Blocks.
        heads: Heads of a block.
        length: Positions.
        probe_set: Test examples whose attention is measured.
        top: Largest weights of a row that are added up.
        order: Positions that the next token depends on; 0 where that is not known.
        predictions: Of an example.
        classes: Of a prediction.
        bayes_loss: What no predictor beats, where it is known.
    """

    depth: int
    heads: int
    length: int
    probe_set: int
    top: int
    order: int
    predictions: int
    classes: int
    bayes_loss: float | None

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        scalars = {
            "row_error": ("1", "largest distance of a row's sum from 1, before or after"),
            "bound_error": ("1", "by how much ranks or entropies leave their bounds, most"),
            "uniform_rank": ("1", "effective rank of attention that looks everywhere alike"),
            "uniform_top": ("1", "mass of its largest weights"),
            "uniform_recent": ("1", "its mass on the positions that the next token depends on"),
            "floor_loss": ("nats", "training loss that no function of the tokens so far beats"),
            "floor_error": ("fraction", "training error that none beats"),
            "final_train_loss": ("nats", "training loss at the end"),
            "final_train_error": ("fraction", "training error at the end"),
            "relabelled_loss": ("nats", "test loss with another alphabet: each token the next one's name"),
            "bayes_loss": ("nats", "test loss that no predictor beats"),
            "guess_loss": ("nats", "loss of guessing"),
            "parameters": ("1", "numbers of the network"),
            "per_token": ("1", "numbers of the network for each prediction of the training set"),
        }  # fmt: skip
        layers = {
            f"{name}_{moment}": Variable(("layer",), units, f"{what}, {moment} training")
            for name, (units, what) in BY_LAYER.items()
            for moment in MOMENTS
        }
        return {
            **{name: Variable((), units, what) for name, (units, what) in scalars.items()},
            **layers,
            "map_after": Variable(
                ("layer", "head", "query", "key"),
                "1",
                "attention after training, mean over examples",
            ),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[int]]:
        """Layers, heads and positions, from 1."""
        places = tuple(range(1, self.length + 1))
        return {
            "layer": tuple(range(1, self.depth + 1)),
            "head": tuple(range(1, self.heads + 1)),
            "query": places,
            "key": places,
        }

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: FinishedLane
    ) -> dict[str, jax.Array]:
        """Measure one lane."""
        assert isinstance(model, Transformer)
        x = pool.x_test[: self.probe_set]
        moved = self._permuted(model, x)
        found: dict[str, jax.Array] = {}
        errors = []
        for moment, params in zip(MOMENTS, (lane.initial, lane.params), strict=True):
            attention = model.attention(params, lane.model_state, x)
            named, error = self._summary(attention, model.causal)
            other, _ = self._summary(model.attention(params, lane.model_state, moved), model.causal)
            named |= {"moved_rank": other["rank"], "moved_entropy": other["entropy"]}
            found |= {f"{name}_{moment}": value for name, value in named.items()}
            errors.append((jnp.max(jnp.abs(jnp.sum(attention, axis=-1) - 1)), error))
            if moment == "after":
                found["map_after"] = jnp.mean(attention, axis=1)
        rows, bounds = (jnp.max(jnp.stack(part)) for part in zip(*errors, strict=True))
        found |= {"row_error": rows, "bound_error": bounds}
        return {**found, **self._references(model, x.dtype), **self._fit(model, loss, pool, lane)}

    def _summary(
        self, attention: jax.Array, causal: bool
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        """Return means over examples and heads, by layer, and by how much bounds are left."""
        ranks, stables = geometry.attention_ranks(attention)
        entropies = geometry.attention_entropy(attention, causal=causal)
        values = {
            "rank": ranks,
            "stable": stables,
            "entropy": entropies,
            "top": geometry.top_mass(attention, self.top, causal=causal),
            "recent": geometry.recent_mass(attention, self.order)
            if 0 < self.order < self.length
            else jnp.full_like(entropies, jnp.nan),
        }
        length = jnp.full((), self.length, attention.dtype)
        left = [
            1 - jnp.min(ranks), (jnp.max(ranks) - length) / length,
            -jnp.min(entropies), jnp.max(entropies) - 1,
        ]  # fmt: skip
        means = {name: jnp.mean(value, axis=(1, 2)) for name, value in values.items()}
        return means, jnp.maximum(jnp.max(jnp.stack(left)), jnp.zeros((), attention.dtype))

    def _permuted(self, model: Transformer, x: jax.Array) -> jax.Array:
        """Permute the positions of each input, of images their patches; always in the same way."""
        rng = np.random.default_rng(ROLES["probe"])
        orders = jnp.asarray(np.stack([rng.permutation(self.length) for _ in range(x.shape[0])]))
        if model.vocabulary is not None or x.ndim == 3:
            places = orders if x.ndim == 2 else orders[:, :, None]
            return jnp.take_along_axis(x, places, axis=1)
        n, height, width, channels = x.shape
        side = model.patch
        grid = x.reshape(n, height // side, side, width // side, side, channels)
        flat = grid.transpose(0, 1, 3, 2, 4, 5).reshape(n, self.length, -1)
        mixed = jnp.take_along_axis(flat, orders[:, :, None], axis=1)
        grid = mixed.reshape(n, height // side, width // side, side, side, channels)
        return grid.transpose(0, 1, 3, 2, 4, 5).reshape(x.shape)

    def _references(self, model: Transformer, dtype: jax.typing.DTypeLike) -> dict[str, jax.Array]:
        uniform = geometry.uniform_attention(self.length, model.causal, dtype)
        nothing = jnp.full((), jnp.nan, dtype)
        bayes = math.nan if self.bayes_loss is None else self.bayes_loss
        recent = (
            geometry.recent_mass(uniform, self.order) if 0 < self.order < self.length else nothing
        )
        return {
            "uniform_rank": geometry.attention_ranks(uniform)[0],
            "uniform_top": geometry.top_mass(uniform, self.top, causal=model.causal),
            "uniform_recent": recent,
            "bayes_loss": jnp.full((), bayes, dtype),
            "guess_loss": jnp.full((), math.log(self.classes), dtype),
        }

    def _fit(
        self, model: Transformer, loss: Loss, pool: Pool, lane: FinishedLane
    ) -> dict[str, jax.Array]:
        params, state, targets = lane.params, lane.model_state, lane.examples.targets
        evaluator = Evaluator(model, loss)
        train = evaluator.on_set(params, state, pool.x_train, lane.examples.train, targets)
        nothing = jnp.full_like(train[0], jnp.nan)
        floor = (nothing, nothing)
        if self.predictions > 1 and targets.shape[0] <= LARGEST_FLOOR:
            floor = prefix_floor(pool.x_train[lane.examples.train], targets, self.classes)
        relabelled = nothing
        if self.predictions > 1 and model.vocabulary == self.classes:
            tokens = jnp.round(pool.x_test + 1) % self.classes
            labels = (pool.y_test + 1) % self.classes
            relabelled, _ = evaluator.on_set(params, state, tokens, None, labels)
        count = _count(params)
        return {
            "floor_loss": floor[0],
            "floor_error": floor[1],
            "final_train_loss": train[0],
            "final_train_error": train[1],
            "relabelled_loss": relabelled,
            "parameters": jnp.full_like(train[0], count),
            "per_token": jnp.full_like(train[0], count / targets.size),
        }


def prefix_floor(x: jax.Array, y: jax.Array, classes: int) -> tuple[jax.Array, jax.Array]:
    """Return the mean loss and error that no function of the tokens so far beats on given sequences.

    Where sequences begin alike and go on differently, a causal network gives all the same law. The best law
    for them is how often each token follows: its loss is the entropy of that, its errors are all but the
    commonest.

    Args:
        x: Inputs, (n, length).
        y: Next tokens, (n, length), integers.
        classes: Tokens.

    Returns:
        Loss in nats and error, means over all predictions.
    """
    n = y.shape[0]
    labels = (y[:, :, None] == jnp.arange(classes, dtype=y.dtype)[None, None, :]).astype(x.dtype)

    def place(alike: jax.Array, given: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        tokens, follows = given
        alike = alike * (tokens[:, None] == tokens[None, :]).astype(x.dtype)
        law = alike @ follows / jnp.sum(alike, axis=1, keepdims=True)
        own = jnp.sum(law * follows, axis=1)
        # Each of those that begin alike counts its share of the commonest.
        return alike, jnp.stack([jnp.mean(-jnp.log(own)), 1 - jnp.mean(jnp.max(law, axis=1))])

    start = jnp.ones((n, n), x.dtype)
    _, found = jax.lax.scan(place, start, (x.T, labels.transpose(1, 0, 2)))
    means = jnp.mean(found, axis=0)
    return means[0], means[1]


def _count(params: Params) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))
