"""The norm of the weights and the accuracy by class while a network trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.losses import Loss, error
from implicit_bias.models import Model
from implicit_bias.training import Pool
from implicit_bias.training.lane import Params
from implicit_bias.training.probe import ProbedLane, Variable

PARTS = ("train", "test")


@dataclass(frozen=True)
class ClassAccuracy:
    """Accuracy by class on training and on test examples, and ‖W‖ over all weight matrices.

    Attributes:
        classes: Number of classes.
        examples: Training examples that are looked at, the first of the lane's; all where it has fewer.
    """

    classes: int
    examples: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        return {
            "weight_norm": Variable((), "parameter", "‖W‖, root of the weights' sum of squares"),
            "class_accuracy": Variable(("class_part", "class"), "fraction", "accuracy by class"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Parts of the data, and classes."""
        return {"class_part": PARTS, "class": tuple(range(self.classes))}

    def start(self, params: Params) -> Any:
        """Carry nothing."""
        return ()

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: ProbedLane, carried: Any
    ) -> tuple[dict[str, jax.Array], Any]:
        """Measure one lane; a class without examples has no accuracy."""
        rows = lane.examples.train[: self.examples]

        def accuracy(x: jax.Array, labels: jax.Array) -> jax.Array:
            outputs, _ = model.apply(lane.params, lane.model_state, x, train=False)
            right = 1 - error(outputs, labels).astype(outputs.dtype)
            member = jax.nn.one_hot(labels, self.classes, dtype=outputs.dtype)
            # 0/0 is not a number, as it should be.
            return right @ member / jnp.sum(member, axis=0)

        weights = [leaf for leaf in jax.tree.leaves(lane.params) if leaf.ndim > 1]
        squares = jnp.stack([jnp.sum(jnp.square(leaf)) for leaf in weights])
        return {
            "weight_norm": jnp.sqrt(jnp.sum(squares)),
            "class_accuracy": jnp.stack(
                [
                    accuracy(pool.x_train[rows], lane.examples.targets[: self.examples]),
                    accuracy(pool.x_test, pool.y_test),
                ]
            ),
        }, carried
