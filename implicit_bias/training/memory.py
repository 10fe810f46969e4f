"""How much memory a computation takes at most, predicted from its shapes without compiling it.

The program is read operation by operation, as JAX traces it, and the bytes that are alive are added up.
Compilers fuse: what is computed element by element, or cut out, exists in no array of its own until an
operation needs it as one (a matrix product, a concatenation, a loop). What a backward pass needs of a
forward pass is alive between the two, which is most of the memory of a training step.

The prediction is that of the compiler's temporary arrays and, on CPUs, of what the libraries that it calls
for matrix products and reductions copy of their operands: they allocate it themselves, and each pool of the
allocator (``runtime.configure`` leaves it two or more) keeps the largest. It knows nothing of what libraries
for accelerators take as workspace.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.extend import core as jax_core

from implicit_bias.models.convolution import computed

_VIEWS = frozenset(("expand_dims", "reshape", "squeeze", "transpose"))
"""Other names of the same numbers: no memory."""

_FUSED = frozenset(
    [
        "abs",
        "acos",
        "acosh",
        "add",
        "add_any",
        "and",
        "asin",
        "asinh",
        "atan",
        "atan2",
        "atanh",
        "bitcast_convert_type",
        "broadcast_in_dim",
        "cbrt",
        "ceil",
        "clamp",
        "convert_element_type",
        "copy",
        "cos",
        "cosh",
        "div",
        "eq",
        "eq_to",
        "erf",
        "erf_inv",
        "erfc",
        "exp",
        "exp2",
        "expm1",
        "floor",
        "ge",
        "gt",
        "imag",
        "integer_pow",
        "iota",
        "is_finite",
        "le",
        "log",
        "log1p",
        "logistic",
        "lt",
        "max",
        "min",
        "mul",
        "ne",
        "neg",
        "nextafter",
        "not",
        "or",
        "pad",
        "pow",
        "population_count",
        "real",
        "reduce_precision",
        "rem",
        "rev",
        "round",
        "rsqrt",
        "select_n",
        "shift_left",
        "shift_right_arithmetic",
        "shift_right_logical",
        "sign",
        "sin",
        "sinh",
        "slice",
        "sqrt",
        "square",
        "sub",
        "tan",
        "tanh",
        "xor",
    ]
)
"""Element by element, or moves of entries: what reads the result computes it on the way."""

_CALLS = frozenset(
    [
        "checkpoint",
        "closed_call",
        "core_call",
        "custom_jvp_call",
        "custom_lin",
        "custom_vjp_call",
        "custom_vjp_call_jaxpr",
        "jit",
        "pjit",
        "remat",
        "remat2",
    ]
)
"""Operations that are nothing but what is in them."""


COPIES = 2
"""Times that the operands of the largest product or reduction are in memory once more, on CPUs."""


@dataclass
class _Value:
    """An array of the program: how large, what it is computed from, and from when to when it is alive."""

    size: int
    fused: bool = False
    made_from: tuple[int, ...] = ()
    readers: int = 0
    birth: int = -1
    death: int = -1


@dataclass(frozen=True)
class _Step:
    """An operation that is not fused: what it reads, what it makes, and what it takes meanwhile."""

    reads: tuple[int, ...]
    arrays: bool
    made: tuple[int, ...] = ()
    late: tuple[int, ...] = ()
    extra: int = 0


def peak_bytes(function: Callable[..., Any], *arguments: Any, backend: str = "cpu") -> int:
    """Predict the bytes that a function needs at most beside its arguments, its results included.

    Args:
        function: Of JAX arrays; it is traced, not run.
        *arguments: Arrays, or what has their shapes, as ``jax.eval_shape`` takes them.
        backend: Where it would run.
    """
    traced: Any = jax.make_jaxpr(function)(*arguments)
    program = _Program(backend)
    most = program.run(traced.jaxpr)
    return most + COPIES * program.largest_operands if backend == "cpu" else most


def largest_operands(function: Callable[..., Any], *arguments: Any, backend: str = "cpu") -> int:
    """Return the bytes that go into a function's largest matrix product or reduction."""
    traced: Any = jax.make_jaxpr(function)(*arguments)
    program = _Program(backend)
    program.run(traced.jaxpr)
    return program.largest_operands


class _Program:
    """The walk through one program, calls included; loops and branches are walked through on their own."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.largest_operands = 0
        self.values: list[_Value] = []
        self.steps: list[_Step] = []

    def run(self, jaxpr: Any) -> int:
        """Return the largest number of bytes alive at any time."""
        given = [self._argument() for _ in (*jaxpr.constvars, *jaxpr.invars)]
        self.steps.append(_Step(tuple(self._walk(jaxpr, given)), arrays=True))
        for value in self.values:
            for number in value.made_from:
                self.values[number].readers += 1
        for step in self.steps:
            for number in step.reads:
                self.values[number].readers += 1
        change: dict[int, int] = {}

        def alive(size: int, birth: int, death: int) -> None:
            change[birth] = change.get(birth, 0) + size
            change[death + 1] = change.get(death + 1, 0) - size

        for place, step in enumerate(self.steps):
            time = 2 * place
            for number in step.reads:
                self._read(number, time, step.arrays)
            for number in step.made:
                self.values[number].birth = self.values[number].death = time
            for number in step.late:
                self.values[number].birth = self.values[number].death = time + 1
            alive(step.extra, time, time)
        for value in self.values:
            if value.birth >= 0:
                alive(value.size, value.birth, value.death)
        total = most = 0
        for time in sorted(change):
            total += change[time]
            most = max(most, total)
        return most

    def _read(self, number: int, time: int, array: bool) -> None:
        """Read a value; what is fused is computed from arrays, and is one where it is needed as such."""
        todo, seen = [(number, array)], {number}
        while todo:
            current, needed = todo.pop()
            value = self.values[current]
            if value.birth >= 0 or not value.fused:
                value.death = max(value.death, time)
                continue
            if needed or value.readers > 1:
                value.birth = value.death = time
            todo += [(i, False) for i in value.made_from if i not in seen]
            seen.update(value.made_from)

    def _argument(self) -> int:
        """Note an array that is there before, and is not counted."""
        return self._add(_Value(0))

    def _add(self, value: _Value) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def _walk(self, jaxpr: Any, given: Sequence[int]) -> list[int]:
        """Walk through operations in their order; return the numbers of the results."""
        known = dict(zip((*jaxpr.constvars, *jaxpr.invars), given, strict=True))

        def number(atom: Any) -> int:
            return self._argument() if isinstance(atom, jax_core.Literal) else known[atom]

        for equation in jaxpr.eqns:
            inputs = [number(atom) for atom in equation.invars]
            found = self._operation(equation, inputs)
            known.update(zip(equation.outvars, found, strict=True))
        return [number(atom) for atom in jaxpr.outvars]

    def _operation(self, equation: Any, inputs: Sequence[int]) -> list[int]:
        name = equation.primitive.name
        inner = _inner(equation)
        if name == "convolution_product":
            # One operation as JAX sees it, many as it is compiled.
            way = functools.partial(computed, equation.params["product"], backend=self.backend)
            made: Any = jax.make_jaxpr(way)(*(atom.aval for atom in equation.invars))
            inner = [made.jaxpr]
        if (name in _CALLS or name == "convolution_product") and len(inner) == 1:
            (called,) = inner
            constants = [self._argument() for _ in called.constvars]
            return self._walk(called, [*constants, *inputs[len(inputs) - len(called.invars) :]])
        if name in _VIEWS:
            return [inputs[0]]
        sizes = [_bytes(atom.aval) for atom in equation.outvars]
        if name in _FUSED:
            made_from = tuple(dict.fromkeys(inputs))
            return [self._add(_Value(size, fused=True, made_from=made_from)) for size in sizes]
        results = [self._add(_Value(size)) for size in sizes]
        reads = tuple(dict.fromkeys(inputs))
        if inner:
            # A loop's last values take the places of its first, and a branch makes its own; what a loop
            # stacks up is there from the beginning.
            carried = equation.params["num_carry"] if name == "scan" else len(sizes)
            stacked, late = tuple(results[carried:]), tuple(results[:carried])
            self.steps.append(_Step(reads, True, stacked, late, max(map(self._alone, inner))))
            return results
        arrays = not name.startswith(("reduce_", "argmax", "argmin"))
        if name == "dot_general" or not arrays:
            operands = sum(_bytes(atom.aval) for atom in equation.invars)
            self.largest_operands = max(self.largest_operands, operands)
        self.steps.append(_Step(reads, arrays, tuple(results)))
        return results

    def _alone(self, jaxpr: Any) -> int:
        """Return what a loop's body or a branch takes at most."""
        inner = _Program(self.backend)
        most = inner.run(jaxpr)
        self.largest_operands = max(self.largest_operands, inner.largest_operands)
        return most


def _inner(equation: Any) -> list[Any]:
    """Return the programs within an operation."""
    found: list[Any] = []
    for parameter in equation.params.values():
        for part in parameter if isinstance(parameter, tuple | list) else (parameter,):
            if isinstance(part, jax_core.ClosedJaxpr):
                found.append(part.jaxpr)
            elif isinstance(part, jax_core.Jaxpr):
                found.append(part)
    return found


def _bytes(aval: Any) -> int:
    try:
        return math.prod(aval.shape) * int(aval.dtype.itemsize)
    except (AttributeError, TypeError):  # a token, say
        return 0
