"""The neural tangent kernel of a finite network, at its parameters as they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from implicit_bias.arguments import as_numbers, require_whole
from implicit_bias.errors import UserError, unknown
from implicit_bias.kernels.blocks import Blocking, by_blocks, gram
from implicit_bias.kernels.costs import (
    REDUCTIONS,
    MethodCost,
    NtkCost,
    PerExample,
    Reduction,
    Work,
    blocked,
    choose,
    per_example,
    products_cost,
)
from implicit_bias.kernels.networks import (
    Apply,
    as_function,
    checked_inputs,
    outputs_of,
    require_floating_parameters,
)
from implicit_bias.kernels.structured import EXAMPLE_AXES, Structured
from implicit_bias.models.base import Model
from implicit_bias.models.layers import ChainModel, only_weights

Params = Any
Method = Literal["auto", "jacobian", "products", "structured"]

DEFAULT_MEMORY = 2**30
"""Bytes that one kernel may take, unless told otherwise: 1 GiB."""


def empirical_ntk(
    network: Apply | Model | ChainModel,
    params: Params,
    x1: jax.Array,
    x2: jax.Array | None = None,
    *,
    state: Mapping[str, Any] | None = None,
    reduce: Reduction = "trace",
    method: Method = "auto",
    memory: int = DEFAULT_MEMORY,
) -> jax.Array:
    """Compute the tangent kernel between two sets of inputs.

    ``Θ[a, c, b, d] = grad f_c(x1_a) . grad f_d(x2_b)``, gradients with respect to all p parameters.
    Three ways lead to it, and ``ntk_cost`` says what each costs and which is taken:

    ``jacobian``
        Gradients of a block of examples, one output at a time, and their inner products.
    ``products``
        Products of the kernel with unit vectors, as by ``ntk_vector_product``, some at a time: no
        gradient of more than some examples is held.
    ``structured``
        Inputs and cotangents of each layer, and no gradients at all: by far the least arithmetic
        and memory, for networks that say what they are made of (``models.layers.ChainModel``) and
        learn weights and biases alone, without normalisation.

    All are pure and map over lanes; under ``jax.lax.map`` one kernel at a time is in memory.

    Args:
        network: ``(params, x of shape (n, ...)) -> outputs of shape (n, k)``, or a model, which is
            evaluated with ``train=False``; each example's outputs must depend on that example
            alone.
        params: Any pytree of floating arrays.
        x1: Inputs of shape (n1, ...), an array; floating for a network with a chain.
        x2: Inputs of shape (n2, ...); None for those of ``x1``, whose kernel is symmetric.
        state: The model's state; by default empty.
        reduce: ``"trace"``, the mean over outputs of the kernels of one output, (n1, n2);
            ``"classes"``, each output's kernel, (k, n1, n2); ``"full"``, (n1, k, n2, k).
        method: One of the ways above, or ``"auto"``.
        memory: Bytes that the computation may take, the kernel included, the parameters and inputs
            not: a whole number, as for ``infinite_kernel``.

    Returns:
        The kernel; with ``x2`` None symmetric and positive semi-definite up to rounding.

    Raises:
        UserError: If the inputs are empty or differ in shape, the parameters or outputs are not
            floating, the outputs not of shape (n, k), the network fails or is none, the reduction or
            method is unknown or cannot be used, or the memory is no whole number or too small.

    References:
        Jacot, Gabriel & Hongler, *Neural tangent kernel* (2018), section 4; Novak, Sohl-Dickstein &
        Schoenholz, *Fast finite width neural tangent kernel* (2022), section 3, for the three ways.

    Example:
        >>> import jax.numpy as jnp
        >>> from implicit_bias import kernels
        >>> x = jnp.array([[1.0, 0.0], [1.0, 2.0]])
        >>> linear = lambda w, inputs: inputs @ w
        >>> kernels.empirical_ntk(linear, jnp.ones((2, 1)), x).tolist()  # XXᵀ
        [[1.0, 1.0], [1.0, 5.0]]
    """
    # Also for the network's own products, which a GPU would otherwise round to TF32.
    with jax.default_matmul_precision("highest"):
        problem = _Problem(network, params, x1, x2, state, reduce)
        chosen = choose(problem.costs(memory), method, memory).chosen
        if chosen.method == "structured":
            return problem.structured(memory)
        if chosen.method == "products":
            return problem.products(chosen)
        return problem.jacobian(memory)


def ntk_cost(
    network: Apply | Model | ChainModel,
    params: Params,
    x1: jax.Array,
    x2: jax.Array | None = None,
    *,
    state: Mapping[str, Any] | None = None,
    reduce: Reduction = "trace",
    method: Method = "auto",
    memory: int = DEFAULT_MEMORY,
) -> NtkCost:
    """Say what each way to a kernel costs, and which ``empirical_ntk`` takes.

    Arithmetic is that of matrix products and convolutions, as JAX would run them; memory is what is
    alive at the worst moment, from above. The way with the least arithmetic among those that fit is
    taken. Nothing is computed: shapes will do for arrays.

    Args:
        network: As in ``empirical_ntk``, like all that follow.
        params: As there.
        x1: As there.
        x2: As there.
        state: As there.
        reduce: As there.
        method: As there.
        memory: As there.

    Returns:
        The costs; their text is one line for a report.

    Raises:
        UserError: As ``empirical_ntk``.
    """
    problem = _Problem(network, params, x1, x2, state, reduce)
    return choose(problem.costs(memory), method, memory)


def ntk_vector_product(
    network: Apply | Model | ChainModel,
    params: Params,
    x1: jax.Array,
    vector: jax.Array,
    x2: jax.Array | None = None,
    *,
    state: Mapping[str, Any] | None = None,
) -> jax.Array:
    """Multiply the full kernel with a vector, in two passes over the inputs and no kernel.

    ``(Θ v)[a, c] = Σ_{b,d} Θ[a, c, b, d] v[b, d]``: the derivative of the outputs at ``x1`` along the
    gradient of ``v · f(x2)``.

    Args:
        network: As in ``empirical_ntk``.
        params: As there.
        x1: Inputs of shape (n1, ...).
        vector: Shape (n2, k), of the outputs' dtype, or a list of lists of numbers.
        x2: Inputs of shape (n2, ...); None for those of ``x1``.
        state: As there.

    Returns:
        Shape (n1, k).

    Raises:
        UserError: If the inputs or outputs are not as in ``empirical_ntk``, or the vector's shape is
            not that of the outputs at ``x2``, or its dtype another.
    """
    with jax.default_matmul_precision("highest"):
        problem = _Problem(network, params, x1, x2, state, "full")
        others = problem.x1 if problem.x2 is None else problem.x2
        vector = problem.checked_vector(vector)
        direction = jax.vjp(lambda params: problem.apply(params, others), params)[1](vector)[0]
        product: jax.Array = jax.jvp(
            lambda params: problem.apply(params, problem.x1), (params,), (direction,)
        )[1]
        return product


class _Problem:
    """One kernel that is asked for, checked."""

    def __init__(
        self,
        network: Any,
        params: Params,
        x1: jax.Array,
        x2: jax.Array | None,
        state: Mapping[str, Any] | None,
        reduce: Reduction,
    ) -> None:
        if reduce not in REDUCTIONS:
            raise unknown("reduction", reduce, REDUCTIONS)
        x1, x2 = checked_inputs("x1", x1), None if x2 is None else checked_inputs("x2", x2)
        self.params, self.x1, self.x2, self.reduce = params, x1, x2, reduce
        self.state: Any = {} if state is None else state
        self.network = network
        if x2 is not None and (x2.shape[1:] != x1.shape[1:] or x2.dtype != x1.dtype):
            raise UserError(
                f"the inputs have shapes {x1.shape} and {x2.shape} and types {x1.dtype} and "
                f"{x2.dtype}; give examples of one shape and type"
            )
        self.apply = as_function(network, self.state)
        if isinstance(network, ChainModel) and not jnp.issubdtype(x1.dtype, jnp.floating):
            raise UserError(
                f"the inputs have dtype {x1.dtype}, but the network takes floating ones; convert "
                "them to the parameters' dtype"
            )
        require_floating_parameters("params", params)
        n = x1.shape[0]
        outputs = outputs_of(network, self.apply, params, x1)
        if outputs.ndim != 2 or outputs.shape[0] != n or outputs.shape[1] < 1:
            raise UserError(
                f"the network maps {n} examples to shape {outputs.shape}; make it shape "
                f"({n}, outputs)"
            )
        self.n1, self.n2 = n, n if x2 is None else x2.shape[0]
        self.outputs, self.dtype = outputs.shape[1], outputs.dtype
        self.size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))

    def checked_vector(self, vector: Any) -> jax.Array:
        """Return what the kernel is multiplied with, as an array of the outputs' dtype."""
        shape = (self.n2, self.outputs)
        listed = not hasattr(vector, "dtype")
        array = as_numbers("the vector", vector)
        if array.shape != shape:
            raise UserError(
                f"the vector has shape {array.shape}; give one number for each input and output, "
                f"shape {shape}"
            )
        if listed:  # numbers of Python's have no type of their own
            return array.astype(self.dtype)
        if array.dtype != self.dtype:
            raise UserError(
                f"the vector has dtype {array.dtype}, but the network's outputs have {self.dtype}; "
                "convert it to theirs"
            )
        return array

    def costs(self, memory: int) -> list[MethodCost]:
        """Return the cost of every way there is."""
        require_whole("memory", memory)
        if memory < 1:
            raise UserError(f"memory is {memory}; choose a whole number of bytes >= 1")
        result, itemsize = self._result(), self.dtype.itemsize
        example = per_example(self.apply, self.params, self.x1)
        found = [
            self._jacobian_plan(example, memory)[0],
            products_cost(
                example, self.size, self.n1, self.n2, self.outputs, result, itemsize, memory
            ),
        ]
        if isinstance(self.network, ChainModel) and only_weights(self.network.chain()):
            found.append(self._structured_plan(memory)[0])
        return found

    def structured(self, memory: int) -> jax.Array:
        """Compute the kernel from inputs and cotangents."""
        _, blocking, layers = self._structured_plan(memory)
        others = self.x2
        return by_blocks(
            lambda rows: layers.features(self.x1[rows]),
            None if others is None else lambda rows: layers.features(others[rows]),
            layers.contract,
            blocking,
            EXAMPLE_AXES[self.reduce],
        )

    def jacobian(self, memory: int) -> jax.Array:
        """Compute the kernel from gradients."""
        example = per_example(self.apply, self.params, self.x1)
        _, blocking = self._jacobian_plan(example, memory)

        def gradient(x: jax.Array, output: jax.Array) -> list[jax.Array]:
            def value(params: Params) -> jax.Array:
                return self.apply(params, x[None])[0, output]

            return [leaf.reshape(-1) for leaf in jax.tree.leaves(jax.grad(value)(self.params))]

        def contract(first: list[jax.Array], second: list[jax.Array] | None) -> jax.Array:
            others = [None] * len(first) if second is None else second
            return sum(map(gram, first, others), jnp.zeros((), self.dtype))

        def kernel(output: jax.Array | None) -> jax.Array:
            def of(x: jax.Array) -> Callable[[jax.Array], list[jax.Array]]:
                def rows_of(rows: jax.Array) -> list[jax.Array]:
                    if output is None:  # a row is a pair of example and output
                        return jax.vmap(gradient)(x[rows // self.outputs], rows % self.outputs)
                    return jax.vmap(gradient, (0, None))(x[rows], output)

                return rows_of

            others = None if self.x2 is None else of(self.x2)
            return by_blocks(of(self.x1), others, contract, blocking, (0, 1))

        if self.reduce == "full":
            return kernel(None).reshape(self.n1, self.outputs, self.n2, self.outputs)
        outputs = jnp.arange(self.outputs, dtype=jnp.int32)
        if self.reduce == "classes":
            return jax.lax.map(kernel, outputs)
        total, _ = jax.lax.scan(
            lambda total, output: (total + kernel(output), None),
            jnp.zeros((self.n1, self.n2), self.dtype),
            outputs,
        )
        return total / self.outputs

    def products(self, cost: MethodCost) -> jax.Array:
        """Compute the kernel from its products with unit vectors."""
        k, block, columns = self.outputs, cost.block[0], cost.columns
        others = self.x1 if self.x2 is None else self.x2
        blocks = -(-self.n1 // block)

        def gradient(column: jax.Array) -> Params:
            def value(params: Params) -> jax.Array:
                return self.apply(params, others[column // k][None])[0, column % k]

            return jax.grad(value)(self.params)

        def column_values(column: jax.Array, outputs: jax.Array) -> jax.Array:
            """Return what is kept of one column: all its outputs, or its own."""
            return outputs if self.reduce == "full" else outputs[:, column % k]

        def group(start: jax.Array) -> jax.Array:
            # The last group reaches beyond the columns; what it finds there is cut off.
            numbers = jnp.minimum(start + jnp.arange(columns, dtype=jnp.int32), self.n2 * k - 1)
            directions = jax.vmap(gradient)(numbers)

            def part(index: jax.Array) -> jax.Array:
                first = jnp.minimum(index * block, self.n1 - block)
                x = jax.lax.dynamic_slice_in_dim(self.x1, first, block)
                along = jax.linearize(lambda params: self.apply(params, x), self.params)[1]
                return jax.vmap(lambda n, v: column_values(n, along(v)))(numbers, directions)

            if blocks == 1:
                return part(jnp.int32(0))
            # As in all blocks, the last one reaches back, over rows that are dropped here.
            parts = jax.lax.map(part, jnp.arange(blocks, dtype=jnp.int32)).swapaxes(0, 1)
            done = blocks * block - self.n1
            early = parts[:, :-1].reshape(columns, -1, *parts.shape[3:])
            return jnp.concatenate([early, parts[:, -1, done:]], axis=1)

        starts = jnp.arange(0, self.n2 * k, columns, dtype=jnp.int32)
        values = jax.lax.map(group, starts)
        values = values.reshape(-1, *values.shape[2:])[: self.n2 * k]
        values = values.reshape(self.n2, k, *values.shape[1:])  # (n2, k, n1[, k])
        if self.reduce == "full":
            return values.transpose(2, 3, 0, 1)
        if self.reduce == "classes":
            return values.transpose(1, 2, 0)
        return values.mean(axis=1).T

    def _result(self) -> int:
        """Return how many numbers the kernel has."""
        kept = {"trace": 1, "classes": self.outputs, "full": self.outputs**2}
        return self.n1 * self.n2 * kept[self.reduce]

    def _jacobian_plan(self, example: PerExample, memory: int) -> tuple[MethodCost, Blocking]:
        full = self.reduce == "full"
        rows = (self.n1, self.n2) if not full else (self.n1 * self.outputs, self.n2 * self.outputs)
        # Forwards and twice backwards; a gradient has at least an operation a parameter.
        flops = max(3 * example.flops, 2.0 * self.size)
        work = Work(flops, 2.0 * self.size, self.size, 2 * example.numbers, 2)
        result = self._result() * (2 if self.reduce == "trace" else 1)
        return blocked(
            "jacobian", work, rows, self.x2 is None, 1 if full else self.outputs, result,
            self.dtype.itemsize, memory,
        )  # fmt: skip

    def _structured_plan(self, memory: int) -> tuple[MethodCost, Blocking, Structured]:
        rows = (self.n1, self.n2)
        layers = Structured(
            self.network, self.params, self.state, self.x1.shape[1:], self.x1.dtype, self.reduce,
            rows,
        )  # fmt: skip
        cost, blocking = blocked(
            "structured", layers.work(), rows, self.x2 is None, 1, self._result(),
            self.dtype.itemsize, memory,
        )  # fmt: skip
        return cost, blocking, layers
