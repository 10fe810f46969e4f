"""What an operator is built from: a network, a loss, parameters and data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias import losses
from implicit_bias.curvature.operators import LinearOperator
from tests.curvature.cases.listing import Case
from tests.curvature.cases.networks import NETWORKS, make

DENSITIES = {"squared": "gaussian", "cross_entropy": "categorical", "logistic": "bernoulli"}

Build = Callable[..., tuple[LinearOperator, Callable[[jax.Array], Any]]]


@dataclass(frozen=True)
class Problem:
    """What an operator is built from."""

    apply: Callable[[Any, jax.Array], jax.Array]
    loss: str

    @property
    def density(self) -> str:
        """The density whose negative logarithm is the loss."""
        return DENSITIES[self.loss]

    def outputs(self, params: Any, batch: Any) -> jax.Array:
        """Return the outputs; the logistic loss takes one."""
        f = self.apply(params, batch[0])
        return f[:, :1] if self.loss == "logistic" else f

    def loss_of_outputs(self, f: jax.Array, batch: Any) -> jax.Array:
        """Return the examples' losses."""
        return losses.get(self.loss).per_example(f, targets(self.loss, batch[1]))

    def weighted(self, params: Any, batch: Any, weights: jax.Array) -> jax.Array:
        """Return the weighted sum of the losses."""
        return jnp.sum(weights * self.loss_of_outputs(self.outputs(params, batch), batch))


def targets(loss: str, y: Any) -> Any:
    """Return class numbers, two of them for the logistic loss."""
    return (y == 0).astype(np.int32) if loss == "logistic" else y


def cast(tree: Any, dtype: str) -> Any:
    return jax.tree.map(
        lambda leaf: leaf.astype(dtype) if np.issubdtype(leaf.dtype, np.floating) else leaf, tree
    )


def lane_of(case: Case, lane: int) -> tuple[Problem, Any, Any]:
    """Return the problem, one lane's parameters and the data, in the case's type."""
    params, x, y = cast(make(case.network), case.dtype)
    problem = Problem(NETWORKS[case.network][0], case.loss)
    return problem, jax.tree.map(lambda leaf: leaf[lane], params), (x, y)


def plain(loss: str = "cross_entropy", network: str = "dense") -> tuple[Problem, Any, Any]:
    """Return a problem with parameters and data, float64."""
    return lane_of(Case(network, None, None, loss, "one", True, False, "float64"), 0)


def matrices(operators: list[LinearOperator]) -> list[jax.Array]:
    """Form the matrices of operators of one dimension, column by column, as ``dense`` does."""
    basis = jnp.eye(operators[0].dimension, dtype=operators[0].dtype)
    columns = jax.lax.map(lambda v: [operator.product(v) for operator in operators], basis)
    return [each.T for each in columns]
