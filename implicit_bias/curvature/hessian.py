"""The Hessian of a loss over a whole dataset.

The options of ``hessian`` are those of all operators over a dataset, and are explained there.
"""

from __future__ import annotations

from collections.abc import Callable

import jax

from implicit_bias.chunks import Batch
from implicit_bias.curvature.blocks import Block
from implicit_bias.curvature.example_sum import example_sum
from implicit_bias.curvature.operators import (
    LinearOperator,
    Params,
    WeightedLoss,
    checked_loss,
    require_weighted,
)


def hessian(
    loss: WeightedLoss,
    params: Params,
    data: Batch,
    *,
    chunk_size: int | None = None,
    weights: jax.Array | None = None,
    linearize: bool = True,
    block: Block = None,
) -> tuple[LinearOperator, Callable[[jax.Array], Params]]:
    """Build the Hessian of the mean loss over a dataset with respect to the parameters.

    Products are exact, forward over reverse: the derivative of the gradient along ``v``
    (Pearlmutter 1994). Matrix products are asked for in the highest precision, whatever the global
    setting, because TF32 keeps about three digits.

    Args:
        loss: Weighted sum of per-example losses; see ``WeightedLoss``.
        params: Any pytree of floating arrays; p numbers in all.
        data: Pytree of arrays with one leading axis of n examples.
        chunk_size: Examples per chunk; ``None`` for all at once. The result does not depend on it,
            beyond rounding.
        weights: Shape (n,), what each example counts; 1/n by default, which gives the mean loss.
        linearize: Run the part that does not depend on the vector (the forward pass, the
            activations' derivatives) once, when the operator is built, and share it among the
            products. It is kept in memory: a few floats per example and unit, and where there are
            several chunks a copy of the data. ``False`` recomputes it in every product, in memory
            for one chunk.
        block: Which parameters to differentiate with respect to, all by default; see
            ``blocks.select``. The others are constants.

    Returns:
        The operator, of dimension p or the block's size, and the function from flat vectors to
        trees like ``params``, zero outside the block.

    Raises:
        UserError: If the loss does not take or return what it should, there are no examples,
            ``chunk_size`` is below one, the weights do not fit, the block is unknown or empty, or
            parameters that are not traced are not finite.

    References:
        Pearlmutter, *Fast exact multiplication by the Hessian*, Neural Computation 6 (1994).

    Example:
        >>> import jax.numpy as jnp
        >>> from implicit_bias import curvature
        >>> def loss(w, batch, weights):  # half the squared error
        ...     x, y = batch
        ...     return jnp.sum(weights * (x @ w - y) ** 2) / 2
        >>> x, y = jnp.array([[1.0, 0.0], [1.0, 2.0]]), jnp.zeros(2)
        >>> operator, _ = curvature.hessian(loss, jnp.ones(2), (x, y))
        >>> curvature.dense(operator).tolist()
        [[1.0, 1.0], [1.0, 2.0]]
    """
    loss = checked_loss(loss)
    terms = example_sum(params, data, chunk_size, weights, block)
    flat = terms.selected.flat
    if terms.chunk_size < terms.weights.size:
        require_weighted(loss, params, data)

    if linearize:
        with jax.default_matmul_precision("highest"):
            _, product = jax.linearize(
                lambda theta: terms.total(lambda batch, w: terms.gradient(loss, theta, batch, w)),
                flat,
            )
    else:

        def product(vector: jax.Array) -> jax.Array:
            def chunk_product(batch: Batch, chunk_weights: jax.Array) -> jax.Array:
                return jax.jvp(
                    lambda theta: terms.gradient(loss, theta, batch, chunk_weights),
                    (flat,),
                    (vector,),
                )[1]

            with jax.default_matmul_precision("highest"):
                return terms.total(chunk_product)

    return LinearOperator(product, flat.size, flat.dtype), terms.selected.unravel
