"""Curvature of the loss with respect to activations, or inputs, instead of parameters.

Its trace, averaged over data, says how much a disturbance of a layer's activations (their rounding
to few bits, say) raises the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from implicit_bias.arguments import require_whole
from implicit_bias.chunks import Batch, checked_chunk_size, checked_weights, example_count
from implicit_bias.curvature.operators import (
    LinearOperator,
    WeightedLoss,
    checked_loss,
    require_weighted,
)
from implicit_bias.errors import UserError
from implicit_bias.finite import require_finite

Activations = Any


def activation_hessian(
    loss: WeightedLoss,
    activations: Activations,
    data: Batch,
    *,
    chunk_size: int | None = None,
    weights: jax.Array | None = None,
    linearize: bool = True,
) -> tuple[LinearOperator, Callable[[jax.Array], Activations]]:
    """Build the Hessian of the mean loss with respect to the activations of all examples.

    The operator is one like any other: every algorithm takes it. As each example's loss depends on
    its own activations alone, its matrix has a block for each example, ``w_i`` times the Hessian of
    that example's loss, and zeros elsewhere. With the default weights 1/n its trace is therefore
    the mean over examples of the trace of one example's Hessian; the eigenvectors of isolated
    eigenvalues live on one example each.

    For a layer of a network (``models.layer_activations``, ``models.outputs_from``)::

        h = layer_activations(model, params, state, x, "layer_0")

        def loss(h, batch, weights):
            x, y = batch
            outputs = outputs_from(model, params, state, x, "layer_0", h)
            return jnp.sum(weights * cross_entropy(outputs, y))

        operator, unravel = activation_hessian(loss, h, (x, y))
        trace = hutchinson_trace(operator, key)

    For the inputs, give them as the activations, and the targets as the data.

    Args:
        loss: As ``WeightedLoss``, ``loss(activations, batch, weights)``: the weighted sum of the
            losses of the c examples whose activations and data are given.
        activations: Where to differentiate: a floating array, or a pytree of them, with one leading
            axis of n examples; m numbers in all.
        data: Pytree of arrays with one leading axis of n examples.
        chunk_size: Examples per chunk; ``None`` for all at once. The result does not depend on it
            where no example's loss depends on another example (as in training-mode batch
            normalisation).
        weights: Shape (n,), what each example counts; 1/n by default.
        linearize: Share the forward pass among the products, at the memory of one float or a few
            per example and unit; as in ``hessian``.

    Returns:
        The operator, of dimension m, and the function from flat vectors to pytrees like the
        activations.

    Raises:
        UserError: If the loss does not take or return what it should, activations and data do not
            have the same number of examples, or none, activations that are not traced are not
            finite, ``chunk_size`` is below one, or the weights do not fit.

    References:
        Dong, Yao, Arfeen, Gholami, Mahoney & Keutzer, *HAWQ-V2: Hessian aware trace-weighted
        quantization of neural networks* (2020), for the mean trace over activations.
    """
    loss = checked_loss(loss)
    require_finite(activations)
    if chunk_size is not None:
        require_whole("chunk_size", chunk_size)
    n = example_count((activations, data))
    size = checked_chunk_size(chunk_size, n)
    flat, unravel = ravel_pytree(activations)
    if not jnp.issubdtype(flat.dtype, jnp.floating):
        raise UserError(f"the activations have type {flat.dtype}; give floating-point activations")
    if size < n:
        first = jax.tree.map(lambda leaf: leaf[:1], activations)
        require_weighted(loss, first, data)
    counts = jnp.asarray(checked_weights(weights, n, 1 / n, flat.dtype), flat.dtype)
    # The last chunk reaches back over examples already done; their rows are the same again.
    starts = [min(first, n - size) for first in range(0, n, size)]
    again = size * len(starts) - n

    def by_chunk(function: Callable[..., Any], *trees: Any) -> Any:
        """Apply a function of chunks of the trees, whose value has a row for each example."""
        if size == n:
            return function(*trees)

        def chunk(start: jax.Array) -> Any:
            return function(
                *jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size), trees)
            )

        def joined(parts: jax.Array) -> jax.Array:
            whole = parts[:-1].reshape(n - (size - again), *parts.shape[2:])
            return jnp.concatenate([whole, parts[-1, again:]])

        return jax.tree.map(joined, jax.lax.map(chunk, jnp.asarray(starts, jnp.int32)))

    def gradient(own: Any, batch: Batch, own_weights: jax.Array) -> Any:
        return jax.grad(loss)(own, batch, own_weights)

    if linearize:
        with jax.default_matmul_precision("highest"):
            _, product = jax.linearize(
                lambda theta: ravel_pytree(by_chunk(gradient, unravel(theta), data, counts))[0],
                flat,
            )
        return LinearOperator(product, flat.size, flat.dtype), unravel

    def chunk_product(own: Any, batch: Batch, own_weights: jax.Array, direction: Any) -> Any:
        return jax.jvp(lambda own: gradient(own, batch, own_weights), (own,), (direction,))[1]

    def again_product(vector: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            rows = by_chunk(chunk_product, activations, data, counts, unravel(vector))
        return ravel_pytree(rows)[0]

    return LinearOperator(again_product, flat.size, flat.dtype), unravel
