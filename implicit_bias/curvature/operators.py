"""Symmetric linear operators, known only through their products.

An operator says what ``v -> C v`` means; the algorithms of this room (``lanczos``, ``power``,
``trace``) say what to do with it and accept any operator. The Hessian of a loss over a whole
dataset is such an operator: its matrix is never formed, and its products are accumulated over
chunks of examples, so that memory need not grow with the dataset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from implicit_bias.arguments import scalar_valued
from implicit_bias.chunks import Batch
from implicit_bias.errors import UserError

Params = Any


class WeightedLoss(Protocol):
    """The weighted sum of a batch's losses, ``loss(params, batch, weights) -> scalar``.

    ``batch`` is a pytree of arrays with one leading axis of c examples, ``weights`` has shape (c,),
    and the value is ``sum_i weights[i] * l_i(params)``. The weights carry the average, so the loss
    itself must not divide by anything, and an example of weight zero must not matter.
    """

    def __call__(self, params: Params, batch: Batch, weights: jax.Array, /) -> jax.Array:
        """Return the weighted sum."""
        ...


@dataclass(frozen=True)
class LinearOperator:
    """A symmetric linear map on flat vectors.

    Attributes:
        product: Maps a vector of shape (dimension,) and type ``dtype`` to another such vector.
        dimension: Length of the vectors.
        dtype: Their floating type.
    """

    product: Callable[[jax.Array], jax.Array]
    dimension: int
    dtype: Any

    def __post_init__(self) -> None:
        """Refuse an operator on nothing."""
        if self.dimension < 1:
            raise UserError(
                f"the operator has dimension {self.dimension}; give it at least one parameter"
            )


def require_operator(operator: Any) -> None:
    """Refuse what is not an operator.

    Raises:
        UserError: If it is something else: a matrix, or the pair that ``hessian`` and its like
            return.
    """
    if not isinstance(operator, LinearOperator):
        pair = isinstance(operator, tuple)
        raise UserError(
            f"the operator is of type {type(operator).__name__}; "
            + (
                "take the first of the pair: operator, unravel = hessian(...)"
                if pair
                else "give a LinearOperator, such as matrix_operator(matrix)"
            )
        )


def checked_loss(loss: WeightedLoss) -> WeightedLoss:
    """Return the loss, held to the shape that operators need.

    Raises:
        UserError: If it does not take three arguments; later, when it is called, if it does not
            return a floating scalar.
    """
    return scalar_valued(
        "loss",
        loss,
        ("params", "batch", "weights"),
        "return one number, jnp.sum(weights * losses), for losses of shape (examples,)",
    )


def require_weighted(loss: WeightedLoss, params: Params, data: Any) -> None:
    """Refuse a loss that does not heed its weights, which a sum over chunks would count wrongly.

    One example is evaluated with the weight zero, unless parameters or data are being traced.

    Raises:
        UserError: If that is not zero.
    """
    leaves = jax.tree.leaves((params, data))
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return
    with jax.ensure_compile_time_eval():
        first = jax.tree.map(lambda leaf: leaf[:1], data)
        value = loss(params, first, jnp.zeros((1,), jnp.result_type(leaves[0])))
        if isinstance(value, jax.core.Tracer):  # of something else that the loss holds
            return
        counts = bool(jnp.isfinite(value) & (value != 0))
    if counts:
        raise UserError(
            f"loss is {float(value):.3g} where the only example has weight 0; return "
            "jnp.sum(weights * losses), without other terms, or take all examples at once "
            "(chunk_size=None)"
        )


def prepared(
    product: Callable[[jax.Array], jax.Array], like: jax.Array, linearize: bool
) -> LinearOperator:
    """Make an operator of a product, in the highest matmul precision.

    Args:
        product: Linear in its vector.
        like: A vector of the right shape and type, such as the flat parameters.
        linearize: Run all that does not depend on the vector now, once, and keep it for the
            products.

    Returns:
        The operator.
    """
    with jax.default_matmul_precision("highest"):
        if linearize:
            # The derivative of a linear map is the map itself, without what is constant in it.
            _, shared = jax.linearize(product, jnp.zeros_like(like))
            return LinearOperator(shared, like.size, like.dtype)

    def precise(vector: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            return product(vector)

    return LinearOperator(precise, like.size, like.dtype)


def matrix_operator(matrix: jax.Array) -> LinearOperator:
    """Wrap a symmetric matrix, of shape (d, d), as an operator.

    Raises:
        UserError: If it is not square, or not floating.

    Example:
        >>> import jax.numpy as jnp
        >>> from implicit_bias import curvature
        >>> operator = curvature.matrix_operator(jnp.array([[2.0, 1.0], [1.0, 0.0]]))
        >>> operator.product(jnp.array([1.0, 1.0])).tolist()
        [3.0, 1.0]
    """
    if jnp.ndim(matrix) != 2 or jnp.shape(matrix)[0] != jnp.shape(matrix)[1]:
        raise UserError(f"the matrix has shape {jnp.shape(matrix)}; give a square matrix")
    matrix = jnp.asarray(matrix)
    if not jnp.issubdtype(matrix.dtype, jnp.floating):
        raise UserError(f"the matrix has type {matrix.dtype}; give floating-point numbers")
    return LinearOperator(
        lambda vector: jnp.matmul(matrix, vector, precision=jax.lax.Precision.HIGHEST),
        matrix.shape[0],
        matrix.dtype,
    )


def restrict(operator: LinearOperator, mask: jax.Array) -> LinearOperator:
    """Restrict an operator to the parameters that are alive: ``v -> m * C (m * v)``.

    The spectrum is that of the live block, with a zero for each masked parameter. This is what
    makes the curvature of a pruned or width-padded network that of the small network.

    Args:
        operator: Of dimension p.
        mask: Zeros and ones, shape (p,), of the operator's type.

    Raises:
        UserError: If the mask's shape differs.
    """
    require_operator(operator)
    given = getattr(mask, "shape", type(mask).__name__)
    if given != (operator.dimension,):
        raise UserError(
            f"mask has shape {given}; give one entry for each of {operator.dimension} parameters"
        )
    return LinearOperator(
        lambda vector: mask * operator.product(mask * vector), operator.dimension, operator.dtype
    )


def dense(operator: LinearOperator) -> jax.Array:
    """Form the matrix, one product per column: for tests and tiny problems only.

    Returns:
        Shape (dimension, dimension); column j is the product with the j-th unit vector.
    """
    require_operator(operator)
    return jax.lax.map(operator.product, jnp.eye(operator.dimension, dtype=operator.dtype)).T
