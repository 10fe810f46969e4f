"""How sharp a finished network is, as it trains and as it is used, and what noise of statistics adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias import curvature, geometry
from implicit_bias.keys import role_key
from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.models.base import uses_batch_statistics
from implicit_bias.studies.endpoint import largest_eigenvalue
from implicit_bias.studies.evaluation import evaluation_variables
from implicit_bias.training import Evaluator, Pool
from implicit_bias.training.measurement import FinishedLane, Variable
from implicit_bias.training.weighted import Statistics, weighted_loss

STATISTICS: tuple[Statistics, ...] = ("batch", "running")
"""By which mean and variance batch normalisation normalises: as in training, and as it is used."""


def told_apart(model: Model) -> tuple[Statistics, ...]:
    """Return the statistics by which a network's outputs differ: one where it takes none of a batch."""
    return STATISTICS if uses_batch_statistics(model) else STATISTICS[:1]


@dataclass(frozen=True)
class Sharpness:
    """Measurement of a finished lane.

    Attributes:
        hidden: Hidden layers, each followed by a normalisation or by none.
        examples: Training examples of the Hessian, the first that the lane drew; with statistics of the
            batch it is these that are normalised together.
        small_batches: Batch sizes whose statistics' noise is measured.
        draws: Batches drawn of each size.
        tol: Residual of an eigenvalue relative to it; see ``endpoint.largest_eigenvalue``.
        max_products: Hessian-vector products each of its two starts may use.
    """

    hidden: int
    examples: int = 250
    small_batches: tuple[int, ...] = (8, 16, 32, 64)
    draws: int = 200
    tol: float = 1e-2
    max_products: int = 40

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        per = "nats per squared parameter"
        return {
            **evaluation_variables("nats"),
            **{
                f"lambda_{which}": Variable((), per, f"largest Hessian eigenvalue, statistics {which}")
                for which in STATISTICS
            },
            "train_loss_batch": Variable((), "nats", "training loss with statistics of the batch"),
            "layer_sharpness": Variable(
                ("hidden_layer",), "nats",
                "largest eigenvalue of a layer's Hessian block times ‖W‖², statistics batch",
            ),
            "weight_norm": Variable(("hidden_layer",), "parameter", "‖W‖ of a hidden layer"),
            "noise_penalty": Variable(
                ("small_batch",), "nats",
                "mean loss of examples with statistics of a small batch less that with "
                "statistics of all",
            ),
        }  # fmt: skip

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Hidden layers, and batch sizes."""
        return {"hidden_layer": tuple(range(1, self.hidden + 1)), "small_batch": self.small_batches}

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: FinishedLane
    ) -> dict[str, jax.Array]:
        """Measure one lane."""
        params, state, key = lane.params, lane.model_state, role_key(lane.seed, "probe")
        values = dict(Evaluator(model, loss)(pool, lane.examples, params, state)._asdict())
        rows = slice(self.examples)
        x, y = pool.x_train[lane.examples.train[rows]], lane.examples.targets[rows]
        mean = jnp.full((y.shape[0],), 1 / y.shape[0], x.dtype)
        as_trained = weighted_loss(model, loss, state, "batch")
        values["train_loss_batch"] = as_trained(params, (x, y), mean)
        for which in told_apart(model):
            hessian, _ = curvature.hessian(weighted_loss(model, loss, state, which), params, (x, y))
            values[f"lambda_{which}"] = self._largest(hessian, key)
        values.setdefault("lambda_running", values["lambda_batch"])
        norms, sharpness = [], []
        for layer in range(self.hidden):
            block, _ = curvature.hessian(as_trained, params, (x, y), block=f"layer_{layer}/weight")
            size = geometry.parameter_norm(params[f"layer_{layer}"]["weight"])
            norms.append(size)
            sharpness.append(self._largest(block, key) * jnp.square(size))
        values["weight_norm"], values["layer_sharpness"] = jnp.stack(norms), jnp.stack(sharpness)
        values["noise_penalty"] = self._penalty(model, loss, lane, x, y, jax.random.fold_in(key, 7))
        return values

    def _largest(self, operator: curvature.LinearOperator, key: jax.Array) -> jax.Array:
        return largest_eigenvalue(operator, key, max_products=self.max_products, tol=self.tol).value

    def _penalty(
        self,
        model: Model,
        loss: Loss,
        lane: FinishedLane,
        x: jax.Array,
        y: jax.Array,
        key: jax.Array,
    ) -> jax.Array:
        """Return the mean over small batches of what their statistics add to their examples' loss."""
        if not uses_batch_statistics(model):
            return jnp.zeros((len(self.small_batches),), x.dtype)
        whole, _ = model.apply(lane.params, lane.model_state, x, train=True)
        alone = loss.per_example(whole, y)

        def of_size(size: int) -> jax.Array:
            def one(key: jax.Array) -> jax.Array:
                rows = jax.random.permutation(key, x.shape[0])[:size]
                outputs, _ = model.apply(lane.params, lane.model_state, x[rows], train=True)
                # The same examples in both, so that nothing but the statistics differs.
                return jnp.mean(loss.per_example(outputs, y[rows]) - alone[rows])

            return jnp.mean(jax.lax.map(one, jax.random.split(key, self.draws)))

        return jnp.stack([of_size(size) for size in self.small_batches])
