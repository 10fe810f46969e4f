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

from implicit_bias.errors import UserError

Params = Any
Batch = Any


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


def example_count(data: Batch) -> int:
    """Return the number of examples of a pytree of arrays.

    Args:
        data: Arrays with one leading axis of n examples.

    Returns:
        n, at least one.

    Raises:
        UserError: If there is no array, no example, or the arrays disagree.
    """
    counts = {leaf.shape[0] if jnp.ndim(leaf) else None for leaf in jax.tree.leaves(data)}
    if len(counts) != 1 or None in counts:
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(data)]
        raise UserError(
            f"the data's arrays have shapes {shapes}; "
            "give arrays that share one leading axis of examples"
        )
    (n,) = counts
    assert n is not None
    if n < 1:
        raise UserError("the data has 0 examples; give at least one")
    return n


def chunk_slices(data: Batch, weights: jax.Array, chunk_size: int) -> Callable[[jax.Array], tuple]:
    """Cut data into equal chunks without copying or padding it.

    Where the chunk size does not divide n, the last chunk reaches back over examples already
    counted and gives them weight zero, so that real examples, never made-up ones, fill it (zero
    times the loss of a made-up example might be NaN).

    Args:
        data: Arrays with leading axis n.
        weights: Shape (n,).
        chunk_size: Between 1 and n.

    Returns:
        A function from a (traced) chunk number to ``(batch, weights)`` of ``chunk_size`` examples.
    """
    n = weights.shape[0]

    def chunk(index: jax.Array) -> tuple[Batch, jax.Array]:
        first = index * chunk_size
        start = jnp.minimum(first, n - chunk_size)
        batch, chunk_weights = jax.tree.map(
            lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, chunk_size), (data, weights)
        )
        fresh = start + jnp.arange(chunk_size, dtype=start.dtype) >= first
        return batch, jnp.where(fresh, chunk_weights, jnp.zeros_like(chunk_weights))

    return chunk


def checked_chunk_size(chunk_size: int | None, n: int) -> int:
    """Return the number of examples of a chunk: at most n, and all n for ``None``.

    Raises:
        UserError: If ``chunk_size`` is below one.
    """
    if chunk_size is None:
        return n
    if chunk_size < 1:
        raise UserError(
            f"chunk_size is {chunk_size}; choose chunk_size >= 1, or None for one chunk"
        )
    return min(chunk_size, n)


def chunked_sum(
    function: Callable[[Batch, jax.Array], Any],
    data: Batch,
    weights: jax.Array,
    chunk_size: int,
) -> Any:
    """Sum a function that is linear in the weights over chunks of examples.

    Args:
        function: ``(batch, weights) -> pytree of arrays``.
        data: Arrays with leading axis n.
        weights: Shape (n,).
        chunk_size: Between 1 and n.

    Returns:
        The sum, a pytree like the function's value.
    """
    n = weights.shape[0]
    if chunk_size == n:
        return function(data, weights)
    chunk = chunk_slices(data, weights, chunk_size)

    def add(total: Any, index: jax.Array) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, function(*chunk(index))), None

    shape = jax.eval_shape(lambda: function(*chunk(jnp.int32(0))))
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)
    total, _ = jax.lax.scan(add, zero, jnp.arange(-(-n // chunk_size), dtype=jnp.int32))
    return total


def checked_weights(weights: jax.Array | None, n: int, default: float, dtype: Any) -> jax.Array:
    """Return what each example counts.

    Args:
        weights: Shape (n,), or ``None``.
        n: Number of examples.
        default: What each counts where ``weights`` is ``None``.
        dtype: The type of the default weights.

    Returns:
        Shape (n,).

    Raises:
        UserError: If the shape is another.
    """
    if weights is None:
        return jnp.full((n,), default, dtype)
    if jnp.shape(weights) != (n,):
        raise UserError(
            f"weights has shape {jnp.shape(weights)}, but the data has {n} examples; "
            f"give shape ({n},)"
        )
    return weights


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
        UserError: If it is not square.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise UserError(f"the matrix has shape {matrix.shape}; give a square matrix")
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
    if mask.shape != (operator.dimension,):
        raise UserError(
            f"mask has shape {mask.shape}; "
            f"give one entry for each of {operator.dimension} parameters"
        )
    return LinearOperator(
        lambda vector: mask * operator.product(mask * vector), operator.dimension, operator.dtype
    )


def dense(operator: LinearOperator) -> jax.Array:
    """Form the matrix, one product per column: for tests and tiny problems only.

    Returns:
        Shape (dimension, dimension); column j is the product with the j-th unit vector.
    """
    return jax.lax.map(operator.product, jnp.eye(operator.dimension, dtype=operator.dtype)).T
