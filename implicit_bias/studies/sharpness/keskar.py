"""Keskar's φ of the lanes of one seed, before and after rescaling of the layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias import geometry
from implicit_bias.keys import role_key
from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.runtime import compiled
from implicit_bias.studies.sharpness.points import Point
from implicit_bias.training import Lane, Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane


def _loss_and_gradient(
    model: Model, loss: Loss, params: Any, x: jax.Array, y: jax.Array
) -> tuple[jax.Array, Any]:
    def mean(params: Any) -> jax.Array:
        return loss.mean(model.apply(params, {}, x, train=False)[0], y)

    return jax.value_and_grad(mean)(params)


_compiled_loss = compiled(_loss_and_gradient, static=("model", "loss"))


@dataclass(frozen=True)
class Keskar(Experiment):
    """The published measure, in the whole space and in a random subspace, in float64.

    Attributes:
        model: Of the lanes.
        loss: Likewise.
        arms: Arms whose lanes are measured.
        batch_sizes: Of each arm.
        points: Where: the parameters found, and rescaled layers.
        epsilons: Sizes of the box.
        iterations: Of L-BFGS-B.
        subspace: Dimensions of the random subspace, drawn once a seed.
        examples: Training examples: the first of each lane's own.
    """

    model: Model
    loss: Loss
    arms: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    points: tuple[Point, ...]
    epsilons: tuple[float, ...]
    iterations: int
    subspace: int
    examples: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        dims = ("keskar_arm", "keskar_batch", "keskar_point", "epsilon")
        return {
            "phi": Variable(dims, "per cent", "Keskar's φ, whole space"),
            "phi_subspace": Variable(dims, "per cent", "Keskar's φ, random subspace"),
            "phi_evaluations": Variable(dims, "gradients", "gradients taken, whole space"),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Lanes, points and sizes of the box."""
        return {
            "keskar_arm": self.arms,
            "keskar_batch": self.batch_sizes,
            "keskar_point": [point.label for point in self.points],
            "epsilon": self.epsilons,
        }

    def partners(self, lanes: Sequence[Lane]) -> Mapping[str, Lane]:
        """Choose the lanes of the arms."""
        found = {(lane.tags["arm"], lane.recipe.batch_size): lane for lane in lanes}
        return {f"{arm}:{size}": found[arm, size] for arm in self.arms for size in self.batch_sizes}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Measure the lanes of one seed."""
        shape = tuple(len(values) for values in self.coordinates.values())
        values = {name: np.full(shape, np.nan) for name in self.variables}
        basis = None
        for row, arm in enumerate(self.arms):
            for column, size in enumerate(self.batch_sizes):
                lane = lanes[f"{arm}:{size}"]
                params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), lane.params)
                rows = np.asarray(lane.examples.train)[: self.examples]
                x = jnp.asarray(pool.x_train[rows], jnp.float64)
                y = jnp.asarray(np.asarray(lane.examples.targets)[: self.examples])
                if basis is None:
                    count = sum(leaf.size for leaf in jax.tree.leaves(params))
                    basis = np.asarray(
                        geometry.random_basis(role_key(seed, "probe"), count, self.subspace)
                    )

                def climb(params: Any, x: Any = x, y: Any = y) -> Any:
                    return _compiled_loss(model=self.model, loss=self.loss, params=params, x=x, y=y)

                for at, point in enumerate(self.points):
                    for name, columns in (("phi", None), ("phi_subspace", basis)):
                        found = geometry.keskar_sharpness(
                            climb, point.place(params),
                            epsilons=self.epsilons, basis=columns, iterations=self.iterations,
                        )  # fmt: skip
                        values[name][row, column, at] = found.sharpness
                        if columns is None:
                            values["phi_evaluations"][row, column, at] = found.evaluations
        return values
