"""What is measured of a finished network: fit, flatness among what survives, what is left of each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from implicit_bias import curvature, geometry
from implicit_bias.keys import role_key
from implicit_bias.losses import Loss, error
from implicit_bias.models import Model
from implicit_bias.studies.endpoint import largest_eigenvalue
from implicit_bias.studies.evaluation import evaluation_variables
from implicit_bias.training import Evaluator, Pool
from implicit_bias.training.lane import Params
from implicit_bias.training.measurement import FinishedLane, Variable
from implicit_bias.training.weighted import weighted_loss


def survivors(initial: Params, layers: Sequence[str]) -> Params:
    """Return 1 where a parameter is trained and 0 where it is pruned, with the shapes of the parameters.

    A run begins from masked weights, and no weight is drawn as exactly zero, so what is zero at the start
    is pruned.

    Args:
        initial: Parameters that a run began with.
        layers: Layers whose weights can be pruned.
    """
    kept = jax.tree.map(jnp.ones_like, initial)
    for name in layers:
        weight = initial[name]["weight"]
        kept = {**kept, name: {**kept[name], "weight": (weight != 0).astype(weight.dtype)}}
    return kept


@dataclass(frozen=True)
class Subnetwork:
    """Measurement of a finished lane. The Hessian is that of the mean training loss.

    Attributes:
        layers: Layers whose weights can be pruned, from the inputs on.
        n_test: Test examples, for the record of each.
        examples: Training examples that the Hessian is averaged over: the first of the lane's own.
        tol: Residual of the eigenvalue relative to it, at most.
        max_products: Hessian-vector products of each of two starts, at most.
    """

    layers: tuple[str, ...]
    n_test: int
    examples: int
    tol: float = 1e-3
    max_products: int = 60

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        unit = "nats per squared parameter"
        scalars = {
            "lambda_max": (unit, "largest Hessian eigenvalue among surviving parameters"),
            "lambda_max_residual": (unit, "‖Hv − λv‖ of it"),
            "lambda_max_products": ("products", "Hessian-vector products used"),
            "lambda_max_converged": ("1", "whether it met its tolerance"),
            "weights_remaining": ("weights", "weights that are not pruned"),
            "weights_escaped": ("weights", "pruned weights that are not exactly zero"),
            "distance": ("parameter", "‖θ − θ₀‖"),
            "relative_movement": ("1", "‖θ − θ₀‖ / ‖θ₀‖ of what survives"),
        }
        return {
            **evaluation_variables("nats"),
            **{name: Variable((), units, what) for name, (units, what) in scalars.items()},
            "layer_remaining": Variable(("layer",), "fraction", "weights that are not pruned"),
            "test_wrong": Variable(
                ("test_example",), "1", "whether the test example is misclassified"
            ),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Layers."""
        return {"layer": self.layers}

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: FinishedLane
    ) -> dict[str, jax.Array]:
        """Measure one lane."""
        params, initial = lane.params, lane.initial
        kept = survivors(initial, self.layers)
        evaluation = Evaluator(model, loss)(pool, lane.examples, params, lane.model_state)
        outputs, _ = model.apply(params, lane.model_state, pool.x_test, train=False)

        data = (
            pool.x_train[lane.examples.train[: self.examples]],
            lane.examples.targets[: self.examples],
        )
        hessian, _ = curvature.hessian(weighted_loss(model, loss, lane.model_state), params, data)
        top = largest_eigenvalue(
            curvature.restrict(hessian, ravel_pytree(kept)[0]),
            role_key(lane.seed, "probe"),
            max_products=self.max_products,
            tol=self.tol,
        )
        alive = [kept[name]["weight"] for name in self.layers]
        ends = [params[name]["weight"] for name in self.layers]
        dtype = alive[0].dtype
        left = jnp.stack([jnp.sum(each) for each in alive])
        sizes = jnp.asarray([each.size for each in alive], dtype)
        escaped = [jnp.sum((end != 0) & (each == 0)) for end, each in zip(ends, alive, strict=True)]
        return {
            **evaluation._asdict(),
            "test_wrong": error(outputs, pool.y_test) > 0,
            "lambda_max": top.value,
            "lambda_max_residual": top.residual,
            "lambda_max_products": top.products,
            "lambda_max_converged": top.converged,
            "weights_remaining": jnp.sum(left),
            "weights_escaped": jnp.sum(jnp.stack(escaped)).astype(dtype),
            "layer_remaining": left / sizes,
            "distance": geometry.distance(params, initial),
            "relative_movement": geometry.relative_movement(params, initial),
        }
