"""Arithmetic of a program, counted from what JAX would run, without compiling it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any


def counted_operations(jaxpr: Any) -> tuple[float, float]:
    """Return operations of products and numbers made, of a program and all programs in it.

    Args:
        jaxpr: As ``jax.make_jaxpr(function)(*shapes).jaxpr``.

    Returns:
        Floating-point operations of matrix products and convolutions, two for each multiplication
        and addition, and how many numbers are made on the way.
    """
    flops = numbers = 0.0
    for equation in jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        made = sum(math.prod(variable.aval.shape) for variable in equation.outvars)
        inner = [counted_operations(sub) for sub in _inner(parameters)]
        if inner:
            times = parameters.get("length", 1)
            flops += times * sum(part[0] for part in inner)
            numbers += times * sum(part[1] for part in inner)
            continue
        numbers += made
        if name == "dot_general":
            contracted = parameters["dimension_numbers"][0][0]
            shape = equation.invars[0].aval.shape
            flops += 2.0 * made * math.prod(shape[axis] for axis in contracted)
        elif name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            channels = kernel[parameters["dimension_numbers"].rhs_spec[0]]
            flops += 2.0 * made * math.prod(kernel) / channels
        elif name == "convolution_product":  # of models.convolution, which counts for itself
            shapes = (variable.aval.shape for variable in equation.invars)
            flops += parameters["product"].operations(*shapes)
    return flops, numbers


def every_equation(jaxpr: Any) -> Iterator[Any]:
    """Iterate over the operations of a program and of all programs in it."""
    for equation in jaxpr.eqns:
        yield equation
        for sub in _inner(equation.params):
            yield from every_equation(sub)


def _inner(parameters: dict[str, Any]) -> Iterator[Any]:
    """Iterate over the programs that an operation runs."""
    for value in parameters.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            program = getattr(part, "jaxpr", part)
            if hasattr(program, "eqns"):
                yield program
