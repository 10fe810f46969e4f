"""What operators over a dataset share: a block of parameters, and weighted examples in chunks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from implicit_bias.arguments import require_whole
from implicit_bias.chunks import (
    Batch,
    checked_chunk_size,
    checked_weights,
    chunked_sum,
    example_count,
)
from implicit_bias.curvature.blocks import Block, Selected, select
from implicit_bias.curvature.operators import LinearOperator, Params, WeightedLoss, prepared
from implicit_bias.finite import require_finite


@dataclass(frozen=True)
class ExampleSum:
    """What a sum over examples runs over.

    Attributes:
        selected: The parameters to differentiate with respect to, of size p.
        data: Arrays with leading axis n.
        weights: Shape (n,), what each example counts.
        chunk_size: Examples per chunk, between 1 and n.
    """

    selected: Selected
    data: Batch
    weights: jax.Array
    chunk_size: int

    def total(self, function: Callable[[Batch, jax.Array], Any]) -> Any:
        """Sum a function of ``(batch, weights)`` over the chunks; see ``chunked_sum``."""
        return chunked_sum(function, self.data, self.weights, self.chunk_size)

    def gradient(
        self, loss: WeightedLoss, flat: jax.Array, batch: Batch, weights: jax.Array
    ) -> jax.Array:
        """Return the gradient of a chunk's loss at the block ``flat``, shape (p,)."""
        return jax.grad(lambda theta: loss(self.selected.rebuild(theta), batch, weights))(flat)

    def operator(
        self, product: Callable[[jax.Array], jax.Array], linearize: bool
    ) -> tuple[LinearOperator, Callable[[jax.Array], Params]]:
        """Make an operator of a product on the block; see ``prepared``.

        Returns:
            The operator, and the function from flat vectors to trees.
        """
        return prepared(product, self.selected.flat, linearize), self.selected.unravel


def example_sum(
    params: Params,
    data: Batch,
    chunk_size: int | None,
    weights: jax.Array | None,
    block: Block,
    *,
    lost: int = 0,
) -> ExampleSum:
    """Check what an operator over a dataset is built from.

    Args:
        params: As in ``hessian``.
        data: As in ``hessian``.
        chunk_size: As in ``hessian``.
        weights: As in ``hessian``.
        block: As in ``hessian``.
        lost: Degrees of freedom lost: the weights are 1/(n - lost) by default; below n.

    Returns:
        The parts, which fit each other.

    Raises:
        UserError: As ``hessian``.
    """
    if chunk_size is not None:
        require_whole("chunk_size", chunk_size)
    require_finite(params)
    selected = select(params, block)
    n = example_count(data)
    size = checked_chunk_size(chunk_size, n)
    weights = checked_weights(weights, n, 1 / (n - lost), selected.flat.dtype)
    return ExampleSum(selected, data, jnp.asarray(weights, selected.flat.dtype), size)
