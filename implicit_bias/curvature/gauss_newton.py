"""The generalised Gauss-Newton matrix: curvature of the loss, with the network linearised.

Also the general form ``Jᵀ M J`` that it shares with the Fisher matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp

from implicit_bias.arguments import require_function
from implicit_bias.chunks import Batch
from implicit_bias.curvature.blocks import Block
from implicit_bias.curvature.example_sum import ExampleSum, example_sum
from implicit_bias.curvature.operators import LinearOperator, Params
from implicit_bias.errors import UserError


class Outputs(Protocol):
    """A network's outputs on a batch, ``outputs(params, batch) -> (c, k)``.

    ``batch`` is a pytree of arrays with one leading axis of c examples, the targets included.
    """

    def __call__(self, params: Params, batch: Batch, /) -> jax.Array:
        """Return k outputs for each example."""
        ...


class Metric(Protocol):
    """A symmetric linear map of output directions, ``metric(outputs, batch, direction)``.

    ``outputs`` and ``direction`` have shape (c, k), and so has the value. Each example is mapped by
    its own k x k matrix, which may depend on its outputs.
    """

    def __call__(self, outputs: jax.Array, batch: Batch, direction: jax.Array, /) -> jax.Array:
        """Return the image of the direction."""
        ...


def gauss_newton(
    outputs: Outputs,
    loss_of_outputs: Callable[[jax.Array, Batch], jax.Array],
    params: Params,
    data: Batch,
    *,
    chunk_size: int | None = None,
    weights: jax.Array | None = None,
    linearize: bool = True,
    block: Block = None,
) -> tuple[LinearOperator, Callable[[jax.Array], Params]]:
    """Build the generalised Gauss-Newton matrix of the mean loss, ``sum_i w_i J_iᵀ H_i J_i``.

    J_i is the Jacobian of example i's outputs with respect to the parameters, H_i the Hessian of
    its loss with respect to its outputs. This is the Hessian without the curvature of the network
    itself. It is positive semi-definite where the loss is convex in the outputs and no weight is
    negative, equals the Hessian where the outputs are linear in the parameters, and equals the true
    Fisher matrix for squared error, cross entropy and the logistic loss. No J_i is formed; matrix
    products are asked for in the highest precision.

    Args:
        outputs: Maps ``(params, batch)`` to outputs of shape (c, k); see ``Outputs``.
        loss_of_outputs: Maps ``(outputs, batch)`` to the losses of the c examples, shape (c,), such
            as ``lambda f, batch: loss.per_example(f, batch[1])``.
        params: As in ``hessian``.
        data: As in ``hessian``.
        chunk_size: As in ``hessian``.
        weights: As in ``hessian``.
        linearize: As in ``hessian``.
        block: As in ``hessian``.

    Returns:
        As ``hessian``.

    Raises:
        UserError: If outputs or losses have another shape, or as ``hessian``.

    References:
        Schraudolph, *Fast curvature matrix-vector products for second-order gradient descent*,
        Neural Computation 14 (2002), section 3. Martens, *New insights and perspectives on the
        natural gradient method*, JMLR 21 (2020), sections 8 and 9.

    Example:
        >>> import jax.numpy as jnp
        >>> from implicit_bias import curvature
        >>> def outputs(w, batch):
        ...     return jnp.exp(batch[0] @ w)[:, None]
        >>> def loss(found, batch):
        ...     return (found[:, 0] - batch[1]) ** 2 / 2
        >>> data = jnp.array([[1.0, 0.0], [1.0, 2.0]]), jnp.ones(2)
        >>> operator, _ = curvature.gauss_newton(outputs, loss, jnp.zeros(2), data)
        >>> curvature.dense(operator).tolist()  # XᵀX/n, as e^(xᵀw) has slope 1 at w = 0
        [[1.0, 1.0], [1.0, 2.0]]
    """
    require_function(
        "loss_of_outputs", loss_of_outputs, ("outputs", "batch"), "one loss per example"
    )

    def total(f: jax.Array, batch: Batch) -> jax.Array:
        losses = loss_of_outputs(f, batch)
        if getattr(losses, "shape", None) != f.shape[:1]:
            given = getattr(losses, "shape", type(losses).__name__)
            raise UserError(
                f"loss_of_outputs returns shape {given} for outputs of shape {f.shape}; "
                f"return one loss per example, shape {f.shape[:1]}"
            )
        return jnp.sum(losses)

    def metric(f: jax.Array, batch: Batch, direction: jax.Array) -> jax.Array:
        return jax.jvp(jax.grad(lambda f: total(f, batch)), (f,), (direction,))[1]

    terms = example_sum(params, data, chunk_size, weights, block)
    return pulled_back(outputs, metric, terms, linearize)


def output_metric(
    outputs: Outputs,
    metric: Metric,
    params: Params,
    data: Batch,
    *,
    chunk_size: int | None = None,
    weights: jax.Array | None = None,
    linearize: bool = True,
    block: Block = None,
) -> tuple[LinearOperator, Callable[[jax.Array], Params]]:
    """Build ``sum_i w_i J_iᵀ M_i J_i``, a metric of outputs pulled back to the parameters.

    A product goes forward through the network with the vector (``J v``), through the metric, and
    back (``Jᵀ``).

    Args:
        outputs: Maps ``(params, batch)`` to outputs of shape (c, k); see ``Outputs``.
        metric: Applies the matrices M_i; see ``Metric``.
        params: As in ``hessian``.
        data: As in ``hessian``.
        chunk_size: As in ``hessian``.
        weights: As in ``hessian``.
        linearize: As in ``hessian``.
        block: As in ``hessian``.

    Returns:
        As ``hessian``.

    Raises:
        UserError: As ``gauss_newton``.
    """
    require_function("metric", metric, ("outputs", "batch", "direction"), "the direction's image")
    terms = example_sum(params, data, chunk_size, weights, block)
    return pulled_back(outputs, metric, terms, linearize)


def pulled_back(
    outputs: Outputs, metric: Metric, terms: ExampleSum, linearize: bool
) -> tuple[LinearOperator, Callable[[jax.Array], Params]]:
    """Build the operator of ``output_metric`` from checked parts.

    Args:
        outputs: As in ``output_metric``.
        metric: As in ``output_metric``.
        terms: What to sum over.
        linearize: As in ``hessian``.

    Returns:
        As ``hessian``.

    Raises:
        UserError: If outputs have another shape.
    """
    require_function(
        "outputs", outputs, ("params", "batch"), "an array of shape (examples, outputs)"
    )
    selected = terms.selected
    flat = selected.flat

    def chunk_product(vector: jax.Array, batch: Batch, chunk_weights: jax.Array) -> jax.Array:
        def checked(theta: jax.Array) -> jax.Array:
            f = outputs(selected.rebuild(theta), batch)
            given = getattr(f, "shape", type(f).__name__)
            if isinstance(given, str) or len(given) != 2 or given[0] != chunk_weights.shape[0]:
                raise UserError(
                    f"outputs returns shape {given} for {chunk_weights.shape[0]} examples; "
                    "return shape (examples, outputs), one array"
                )
            if not jnp.issubdtype(f.dtype, jnp.floating):
                raise UserError(f"outputs returns type {f.dtype}; return floating-point numbers")
            return f

        f, forward = jax.linearize(checked, flat)
        direction = forward(vector)
        image = metric(f, batch, direction)
        if getattr(image, "shape", None) != f.shape:
            raise UserError(
                f"metric returns shape {getattr(image, 'shape', type(image).__name__)} for outputs "
                f"of shape {f.shape}; return the image of the direction, of that shape"
            )
        (gradient,) = jax.linear_transpose(forward, flat)(
            chunk_weights.astype(f.dtype)[:, None] * image
        )
        return gradient

    def product(vector: jax.Array) -> jax.Array:
        return terms.total(lambda batch, w: chunk_product(vector, batch, w))

    return terms.operator(product, linearize)
