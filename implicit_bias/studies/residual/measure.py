"""What is measured of a finished network: how much blocks change features, and how smooth it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias import curvature, kernels
from implicit_bias.keys import role_key
from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.models.base import evaluate
from implicit_bias.studies.endpoint import largest_eigenvalue
from implicit_bias.studies.evaluation import evaluation_variables
from implicit_bias.studies.residual.network import Stack
from implicit_bias.training import Evaluator, Pool
from implicit_bias.training.lane import Params
from implicit_bias.training.measurement import FinishedLane, Variable
from implicit_bias.training.weighted import weighted_loss

MOMENTS = ("before", "after")
"""When blocks and Jacobians are looked at: at the start of training and at its end."""


@dataclass(frozen=True)
class Blocks:
    """Measurement of a finished lane; a network with batch normalisation takes its running statistics.

    Convolutional networks change the shape of their features, and with running statistics of no
    examples are not normalised before training: of them features and the start are not measured (NaN).

    Attributes:
        deepest: Most blocks of a lane; entries of blocks that a lane has not are NaN.
        probe_set: Test examples at which features and Jacobians are taken.
        examples: Training examples of the Hessian, the first that the lane drew.
        tol: Residual of its largest eigenvalue relative to it; see ``endpoint.largest_eigenvalue``.
        max_products: Hessian-vector products each of its two starts may use.
    """

    deepest: int
    probe_set: int = 64
    examples: int = 250
    tol: float = 1e-2
    max_products: int = 40

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        scalars = {
            "lambda_max": ("nats per squared parameter", "largest Hessian eigenvalue"),
            "lambda_max_converged": ("1", "whether Lanczos met its tolerance"),
            "sensitivity": (
                "1/input", "root mean square of ‖∂f/∂x‖ over that of ‖f − mean f‖, on test "
                "examples",
            ),
        }  # fmt: skip
        start = {
            "conditioning": "σ1/σ_median of ∂f/∂x before training, geometric mean over test examples",
            "kernel_condition": "largest over median eigenvalue of the tangent kernel before training",
        }
        return {
            **evaluation_variables("nats"),
            **{name: Variable((), units, what) for name, (units, what) in scalars.items()},
            **{name: Variable((), "1", what) for name, what in start.items()},
            **{
                f"change_{moment}": Variable(
                    ("block",), "1", f"‖h_{{l+1}} − h_l‖/‖h_l‖ on test examples, {moment} training"
                )
                for moment in MOMENTS
            },
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Blocks, from the inputs on."""
        return {"block": tuple(range(1, self.deepest + 1))}

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: FinishedLane
    ) -> dict[str, jax.Array]:
        """Measure one lane."""
        params, state = lane.params, lane.model_state
        values = dict(Evaluator(model, loss)(pool, lane.examples, params, state)._asdict())
        rows = slice(self.examples)
        data = (pool.x_train[lane.examples.train[rows]], lane.examples.targets[rows])
        hessian, _ = curvature.hessian(weighted_loss(model, loss, state), params, data)
        top = largest_eigenvalue(
            hessian, role_key(lane.seed, "probe"), max_products=self.max_products, tol=self.tol
        )
        values["lambda_max"], values["lambda_max_converged"] = top.value, top.converged

        x = pool.x_test[: self.probe_set]
        with jax.default_matmul_precision("highest"):
            outputs = evaluate(model, params, state, x)
            jacobian = input_jacobians(model, params, state, x)
            spread = jnp.sum(jnp.square(outputs - outputs.mean(axis=0)[None, :]))
            values["sensitivity"] = jnp.sqrt(jnp.sum(jnp.square(jacobian)) / spread)
            absent = jnp.full((), jnp.nan, spread.dtype)
            stack = isinstance(model, Stack)
            for moment, there in zip(MOMENTS, (lane.initial, params), strict=True):
                change = jnp.full((self.deepest,), absent)
                if isinstance(model, Stack):
                    found = changes(model.hidden(there, state, x))
                    change = change.at[: model.depth].set(found)
                values[f"change_{moment}"] = change
            before = lane.initial
            values["conditioning"] = (
                conditioning(input_jacobians(model, before, state, x)) if stack else absent
            )
            values["kernel_condition"] = (
                eigenvalue_ratio(kernels.empirical_ntk(model, before, x, state=state))
                if stack else absent
            )  # fmt: skip
        return values


def changes(hidden: jax.Array) -> jax.Array:
    """Return ‖h_{l+1} − h_l‖/‖h_l‖ of each block, root mean squares over examples.

    Args:
        hidden: Shape (blocks + 1, n, width).

    Returns:
        Shape (blocks,).
    """
    sizes = jnp.sum(jnp.square(hidden), axis=(1, 2))
    steps = jnp.sum(jnp.square(jnp.diff(hidden, axis=0)), axis=(1, 2))
    return jnp.sqrt(steps / sizes[:-1])


def input_jacobians(model: Model, params: Params, state: Any, x: jax.Array) -> jax.Array:
    """Return the derivatives of the outputs with respect to each input, shape (n, k, inputs)."""

    def one(example: jax.Array) -> jax.Array:
        return evaluate(model, params, state, example[None])[0]

    found = jax.vmap(jax.jacrev(one))(x)
    return found.reshape(*found.shape[:2], -1)


def conditioning(jacobians: jax.Array) -> jax.Array:
    """Return σ1 over the median singular value, geometric mean over matrices of shape (n, k, d)."""
    # One by one: decompositions of a batch wait for each other forever where lanes on two devices share
    # a pool of two threads (jaxlib 0.10).
    values = jax.lax.map(lambda matrix: jnp.linalg.svd(matrix, compute_uv=False), jacobians)
    return jnp.exp(jnp.mean(jnp.log(values[:, 0] / jnp.median(values, axis=1))))


def eigenvalue_ratio(kernel: jax.Array) -> jax.Array:
    """Return the largest over the median eigenvalue of a symmetric matrix."""
    values = jnp.linalg.eigvalsh(kernel)
    return values[-1] / jnp.median(values)
