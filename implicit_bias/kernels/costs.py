"""What each way to an empirical tangent kernel costs, and which is taken.

The model: a way costs its multiplications and additions in matrix products, and needs the bytes of
the arrays that are alive at its worst moment. The way with the least arithmetic is taken among those
that fit in the memory; blocks are as large as the memory allows, and what smaller blocks compute
twice is counted twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax

from implicit_bias.errors import UserError, unknown
from implicit_bias.kernels.blocks import Blocking, cut
from implicit_bias.operations import counted_operations

Reduction = Literal["trace", "classes", "full"]
REDUCTIONS: tuple[Reduction, ...] = ("trace", "classes", "full")
COLUMNS = 32
"""Columns of a kernel that are multiplied at once, at most: more of them gain nothing."""


class PerExample(NamedTuple):
    """What one example costs a network.

    Attributes:
        flops: Operations of its matrix products and convolutions, forwards.
        numbers: Numbers that its evaluation makes, all told.
    """

    flops: float
    numbers: float


class Work(NamedTuple):
    """What a way needs for rows, and for pairs of rows, of a kernel.

    Attributes:
        flops_row: Operations for the features of a row.
        flops_pair: Operations to contract two rows.
        held: Numbers held for a row while its block is used.
        passing: Further numbers for a row while its features are computed.
        held_pair: Numbers held for a pair of rows of the current blocks, beside the kernel.
    """

    flops_row: float
    flops_pair: float
    held: float
    passing: float
    held_pair: float


@dataclass(frozen=True)
class MethodCost:
    """What one way to the kernel costs.

    Attributes:
        method: ``"jacobian"``, ``"products"`` or ``"structured"``.
        flops: Operations, with what blocks compute twice.
        memory: Bytes at the worst moment, the kernel itself included.
        block: Rows of a block along either side: examples, or under ``"jacobian"`` with the full
            kernel pairs of example and output.
        columns: Columns at a time of ``"products"``, else 0.
        fits: Whether it keeps to the memory that was given.
    """

    method: str
    flops: float
    memory: int
    block: tuple[int, int]
    columns: int
    fits: bool

    def __str__(self) -> str:
        """Return a few words for a report."""
        columns = f", {self.columns} columns at a time" if self.columns else ""
        return (
            f"{self.method}: {self.flops / 1e9:.3g} GFLOP, {self.memory / 1e6:.3g} MB in blocks of "
            f"{self.block[0]} x {self.block[1]}{columns}{'' if self.fits else ' (does not fit)'}"
        )


@dataclass(frozen=True)
class NtkCost:
    """The costs of all ways to one kernel, and which is taken.

    Attributes:
        method: The way that is taken.
        costs: Of every way that there is.
        memory: The bytes that were given.
    """

    method: str
    costs: tuple[MethodCost, ...]
    memory: int

    @property
    def chosen(self) -> MethodCost:
        """The cost of the way that is taken."""
        return self.of(self.method)

    def of(self, method: str) -> MethodCost:
        """Return the cost of a way by its name."""
        return next(cost for cost in self.costs if cost.method == method)

    def __str__(self) -> str:
        """Return one line for a report: the choice, then what else there was."""
        others = "; ".join(str(cost) for cost in self.costs if cost.method != self.method)
        return f"{self.chosen} of {self.memory / 1e6:.3g} MB allowed; instead of {others}"


def choose(costs: Sequence[MethodCost], method: str, memory: int) -> NtkCost:
    """Choose the way: the one asked for, or the one with the least arithmetic that fits.

    Raises:
        UserError: If the way asked for, or every way, needs more memory, or there is no such way.
    """
    known = {cost.method: cost for cost in costs}
    if method != "auto" and method not in known:
        if method == "structured":
            raise UserError(
                "method is 'structured', but the network does not say what layers it has, or learns "
                "more than weights and biases (normalisation, scalars); give a Dense or another "
                "network with a chain, or choose 'auto', 'jacobian' or 'products'"
            )
        raise unknown("method", method, ("auto", "jacobian", "products", "structured"))
    candidates = list(costs) if method == "auto" else [known[method]]
    fitting = [cost for cost in candidates if cost.fits]
    if not fitting:
        least = min(candidates, key=lambda cost: cost.memory)
        raise UserError(
            f"memory is {memory} bytes, too small for this kernel with method {least.method!r} even "
            f"in its smallest blocks; choose memory >= {least.memory}, or fewer examples"
        )
    best = min(fitting, key=lambda cost: cost.flops)
    return NtkCost(best.method, tuple(costs), memory)


def blocked(
    method: str,
    work: Work,
    rows: tuple[int, int],
    symmetric: bool,
    repeats: int,
    result: float,
    itemsize: int,
    memory: int,
) -> tuple[MethodCost, Blocking]:
    """Cost a way that contracts features of rows, in the largest blocks that fit.

    Args:
        method: Its name.
        work: What it needs.
        rows: Numbers of rows (n1, n2).
        symmetric: Whether the rows of both sides are the same.
        repeats: How many kernels of these rows are computed, one after another.
        result: Numbers in the whole kernel.
        itemsize: Bytes of a number.
        memory: Bytes allowed.

    Returns:
        The cost, and how the kernel is cut.
    """

    def needed(blocking: Blocking) -> int:
        first, second = blocking.sizes
        # One block against itself needs one set of features.
        rows_held = first + (0 if symmetric and blocking.whole else second)
        numbers = result + work.held * rows_held + work.passing * max(first, second)
        return math.ceil(itemsize * (numbers + work.held_pair * first * second))

    blocking = cut(rows, symmetric, lambda blocking: needed(blocking) <= memory)
    flops = repeats * (work.flops_row * blocking.evaluations + work.flops_pair * blocking.pairs)
    bytes_needed = needed(blocking)
    fits = bytes_needed <= memory
    return MethodCost(method, flops, bytes_needed, blocking.sizes, 0, fits), blocking


def products_cost(
    example: PerExample,
    parameters: int,
    n1: int,
    n2: int,
    outputs: int,
    result: float,
    itemsize: int,
    memory: int,
) -> MethodCost:
    """Cost the way that multiplies the kernel with one unit vector after another."""

    def needed(columns: int, block: int) -> int:
        # A gradient for each column, and while they are made their examples' numbers; then the
        # numbers of a block, and for each column those of their derivatives.
        numbers = columns * (2 * parameters + 2 * example.numbers)
        numbers += (columns + 1) * block * (example.numbers + outputs)
        return math.ceil(itemsize * (numbers + result))

    columns = min(COLUMNS, n2 * outputs)
    while columns > 1 and needed(columns, min(16, n1)) > memory:
        columns = (columns + 1) // 2
    blocking = cut((n1, 1), False, lambda blocking: needed(columns, blocking.sizes[0]) <= memory)
    block = blocking.sizes[0]
    total = -(-n2 * outputs // columns) * columns
    evaluated = blocking.counts[0] * block
    # A gradient is three evaluations; a derivative along it two more, one shared by all columns.
    flops = total * example.flops * (3 + evaluated * (2 + 1 / columns))
    bytes_needed = needed(columns, block)
    return MethodCost("products", flops, bytes_needed, (block, 1), columns, bytes_needed <= memory)


def per_example(apply: Callable[[Any, Any], Any], params: Any, x: Any) -> PerExample:
    """Count what one more example costs a network, from the operations that JAX would run.

    Args:
        apply: ``(params, x) -> outputs``.
        params: Arrays, or their shapes.
        x: Inputs (n, ...), or their shape.
    """
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)

    def counted(n: int) -> tuple[float, float]:
        inputs = jax.ShapeDtypeStruct((n, *x.shape[1:]), x.dtype)
        return counted_operations(jax.make_jaxpr(apply)(shapes, inputs).jaxpr)

    # What does not grow with the examples, such as a transposed weight, cancels.
    (flops1, numbers1), (flops2, numbers2) = counted(2), counted(3)
    return PerExample(flops2 - flops1, max(numbers2 - numbers1, 1.0))
