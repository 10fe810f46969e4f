"""Sharpness while a lane trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from implicit_bias import curvature
from implicit_bias.curvature import LinearOperator
from implicit_bias.keys import role_key
from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.training import Pool
from implicit_bias.training.lane import Params
from implicit_bias.training.probe import ProbedLane, Variable
from implicit_bias.training.weighted import weighted_loss


@dataclass(frozen=True)
class Sharpness:
    """Largest Hessian eigenvalue of the mean training loss, at the iterate that stands at the probe.

    For lanes with Adam's second moments also that of the preconditioned Hessian P^(−1/2) H P^(−1/2) with
    P = (1 − β₁^t)(√(ν / (1 − β₂^t)) + ε), t the updates done (Cohen et al. 2022, section 2); before the first
    update there is none.

    Attributes:
        tol: Residual of the Lanczos eigenvalue relative to it, at most.
        max_products: Hessian-vector products it may use at a probe.
        fresh: Length of the random part of the start vector beside the eigenvector of the last probe, which
            has length one: enough to find another eigenvalue that has overtaken it.
        loss_unit: Unit of the loss.
        directions: Random directions that the parameters are projected on, the same at every probe of a
            seed.
    """

    tol: float = 1e-3
    max_products: int = 60
    fresh: float = 0.3
    loss_unit: str = "squared output"
    directions: int = 32

    @property
    def variables(self) -> Mapping[str, Variable]:
        """What is measured, by name."""
        unit = f"{self.loss_unit} per squared parameter"
        return {
            "sharpness": Variable((), unit, "largest Hessian eigenvalue of the training loss"),
            "sharpness_residual": Variable((), unit, "‖Hv − λv‖ of it"),
            "sharpness_products": Variable((), "products", "Hessian-vector products used"),
            "preconditioned_sharpness": Variable(
                (), "1 per step size", "largest eigenvalue of Adam's preconditioned Hessian"
            ),
            "projection": Variable(
                ("direction",), "parameter", "parameters along random directions of mean length 1"
            ),
        }

    @property
    def coordinates(self) -> Mapping[str, Sequence[Any]]:
        """Random directions, numbered."""
        return {"direction": range(self.directions)}

    def start(self, params: Params) -> Any:
        """Return eigenvectors of length zero: the first probe begins at random."""
        flat, _ = ravel_pytree(params)
        return {"hessian": jnp.zeros_like(flat), "preconditioned": jnp.zeros_like(flat)}

    def __call__(
        self, model: Model, loss: Loss, pool: Pool, lane: ProbedLane, carried: Any
    ) -> tuple[dict[str, jax.Array], Any]:
        """Measure one lane."""
        weighted = weighted_loss(model, loss, lane.model_state)
        data = (pool.x_train[lane.examples.train], lane.examples.targets)
        hessian, _ = curvature.hessian(weighted, lane.params, data)
        key = jax.random.fold_in(role_key(lane.seed, "probe"), lane.step)
        keys = jax.random.split(key, 2)
        top = self._top(hessian, keys[0], carried["hessian"])
        values = {
            "sharpness": top.values[0],
            "sharpness_residual": top.residuals[0],
            "sharpness_products": top.products.astype(hessian.dtype),
            "preconditioned_sharpness": jnp.full((), jnp.nan, hessian.dtype),
        }
        values["projection"] = self._project(lane)
        kept = {"hessian": _unless_failed(top.vectors[0], carried["hessian"])}
        kept["preconditioned"] = carried["preconditioned"]
        scale = _preconditioner(lane)
        if scale is not None:
            root = 1 / jnp.sqrt(scale)
            operator = LinearOperator(
                lambda vector: root * hessian.product(root * vector),
                hessian.dimension,
                hessian.dtype,
            )
            second = self._top(operator, keys[1], carried["preconditioned"])
            begun = lane.step > 0
            nothing = jnp.full((), jnp.nan, hessian.dtype)
            values["preconditioned_sharpness"] = jnp.where(begun, second.values[0], nothing)
            kept["preconditioned"] = _unless_failed(second.vectors[0], carried["preconditioned"])
        return values, kept

    def _project(self, lane: ProbedLane) -> jax.Array:
        """Return the parameters along random directions, drawn one at a time: p numbers each."""
        flat, _ = ravel_pytree(lane.params)
        key = jax.random.fold_in(role_key(lane.seed, "probe"), 2**32 - 1)
        length = jnp.sqrt(jnp.asarray(flat.size, flat.dtype))

        def along(key: jax.Array) -> jax.Array:
            return jnp.vdot(jax.random.normal(key, flat.shape, flat.dtype), flat) / length

        return jax.lax.map(along, jax.random.split(key, self.directions))

    def _top(self, operator: LinearOperator, key: jax.Array, last: jax.Array) -> Any:
        random = jax.random.normal(key, last.shape, last.dtype)
        begin = last + self.fresh * random / jnp.linalg.norm(random)
        return curvature.lanczos(
            operator, key, max_products=self.max_products, tol=self.tol, start=begin
        )


def _unless_failed(vector: jax.Array, last: jax.Array) -> jax.Array:
    return jnp.where(jnp.all(jnp.isfinite(vector)), vector, last)


def _preconditioner(lane: ProbedLane) -> jax.Array | None:
    """Return Adam's P as a flat vector, or None for a lane without second moments."""
    moments = optax.tree.get(lane.optimizer_state, "nu")
    if moments is None or "b2" not in lane.settings:
        return None
    nu, _ = ravel_pytree(moments)
    done = jnp.maximum(lane.step, 1).astype(nu.dtype)
    first, second = (1 - lane.settings[name] ** done for name in ("b1", "b2"))
    # Before the first update the moments are zero, and so would P be.
    size = jnp.where(lane.step > 0, jnp.sqrt(nu / second) + lane.settings["eps"], jnp.ones_like(nu))
    return first * size
