"""The largest Hessian eigenvalue by another program: ARPACK, on the host, in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from implicit_bias.losses import Loss
from implicit_bias.models import Model
from implicit_bias.runtime import compiled
from implicit_bias.training import Lane, Pool
from implicit_bias.training.experiment import Experiment, Variable
from implicit_bias.training.measurement import FinishedLane


def _hessian_product(
    model: Model, loss: Loss, params: Any, x: jax.Array, y: jax.Array, vector: jax.Array
) -> jax.Array:
    flat, unravel = ravel_pytree(params)

    def mean(theta: jax.Array) -> jax.Array:
        return loss.mean(model.apply(unravel(theta), {}, x, train=False)[0], y)

    return jax.jvp(jax.grad(mean), (flat,), (vector,))[1]


_compiled_product = compiled(_hessian_product, static=("model", "loss"))


@dataclass(frozen=True)
class Arpack(Experiment):
    """λmax of one lane a seed, which must be that of the measurement.

    Attributes:
        model: Of the lanes.
        loss: Likewise.
        arm: Whose lane.
        batch_size: Likewise.
        examples: Training examples: the first of the lane's own.
    """

    model: Model
    loss: Loss
    arm: str
    batch_size: int
    examples: int

    @property
    def variables(self) -> Mapping[str, Variable]:
        """The eigenvalue."""
        return {
            "arpack_lambda_max": Variable(
                (), "nats per squared parameter", f"λmax by ARPACK, {self.arm}, B = {self.batch_size}"
            )
        }  # fmt: skip

    def partners(self, lanes: Sequence[Lane]) -> Mapping[str, Lane]:
        """Choose the lane."""
        found = {(lane.tags["arm"], lane.recipe.batch_size): lane for lane in lanes}
        return {"lane": found[self.arm, self.batch_size]}

    def __call__(
        self, pool: Pool, seed: int, lanes: Mapping[str, FinishedLane]
    ) -> Mapping[str, Any]:
        """Measure the lane."""
        from scipy.sparse.linalg import LinearOperator, eigsh

        lane = lanes["lane"]
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), lane.params)
        rows = np.asarray(lane.examples.train)[: self.examples]
        x = jnp.asarray(pool.x_train[rows], jnp.float64)
        y = jnp.asarray(np.asarray(lane.examples.targets)[: self.examples])
        count = sum(leaf.size for leaf in jax.tree.leaves(params))

        def product(vector: np.ndarray) -> np.ndarray:
            found = _compiled_product(
                model=self.model, loss=self.loss, params=params, x=x, y=y,
                vector=jnp.asarray(vector.reshape(-1)),
            )  # fmt: skip
            return np.asarray(found)

        operator = LinearOperator((count, count), matvec=product, dtype=np.float64)
        start = np.random.default_rng(seed).normal(size=count)
        # SciPy's default is largest in magnitude, which a strong negative curvature would win.
        values = eigsh(operator, k=1, which="LA", v0=start, tol=1e-7, return_eigenvectors=False)
        return {"arpack_lambda_max": float(values[0])}
