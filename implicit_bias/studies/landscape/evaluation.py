"""The loss and the error on training and test examples, as functions of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias import geometry
from implicit_bias.losses import error
from implicit_bias.studies.landscape.arms import Subject
from implicit_bias.training import Pool
from implicit_bias.training.lane import LaneExamples, Params

SPLITS = ("train", "test")
"""Along dimension ``split``: the lane's first training examples, and the whole test set."""

Values = dict[str, jax.Array]


class Examples:
    """Training and test examples of a lane in one array.

    Args:
        subject: Network, loss, and how many training examples.
        pool: Data.
        examples: Of the lane.
    """

    def __init__(self, subject: Subject, pool: Pool, examples: LaneExamples) -> None:
        rows, self.subject = examples.train[: subject.examples], subject
        test = jnp.asarray(pool.x_test)
        self.x = jnp.concatenate([jnp.asarray(pool.x_train)[rows], test])
        targets = examples.targets[: subject.examples]
        self.y = jnp.concatenate([targets, jnp.asarray(pool.y_test, targets.dtype)])
        n, n_test = rows.shape[0], test.shape[0]
        own = jnp.arange(n + n_test, dtype=jnp.int32) < n
        weights = [own.astype(self.x.dtype) / n, (~own).astype(self.x.dtype) / n_test]
        self.weights = jnp.stack(weights)

    def values(self, outputs: jax.Array) -> Values:
        """Return mean ``loss`` and ``error``, each of shape (splits,), from all outputs."""
        with jax.default_matmul_precision("highest"):
            return {
                "loss": self.weights @ self.subject.loss.per_example(outputs, self.y),
                "error": self.weights @ error(outputs, self.y).astype(self.x.dtype),
            }

    def __call__(self, params: Params) -> Values:
        """Return mean ``loss`` and ``error``, each of shape (splits,)."""
        return self.values(self.subject.model.apply(params, {}, self.x)[0])

    def cut(
        self, params: Params, directions: Sequence[Params]
    ) -> tuple[Params, tuple[Params, ...], Callable[[Params], Values]]:
        """Skip the first layer, for planes and lines; see ``geometry.skip_first_layer``."""
        short, ways, outputs = geometry.skip_first_layer(
            self.subject.model, params, directions, self.x
        )
        return short, ways, lambda tree: self.values(outputs(tree))


def scaled(tree: Params, factor: Any) -> Params:
    """Multiply every array by a number."""
    return jax.tree.map(lambda leaf: leaf * jnp.asarray(factor, leaf.dtype), tree)


def stacked(trees: Sequence[Params]) -> Params:
    """Stack pytrees of one shape."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
