"""Whether a program decomposes several matrices at once, which two CPU devices may wait for for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from implicit_bias.operations import every_equation

DECOMPOSITIONS = {"svd", "eigh", "eig", "qr", "geqrf", "householder_product", "lu", "cholesky"}


def decompositions(function: Callable[..., Any], *shapes: Any) -> list[tuple[int, ...]]:
    """Return the shapes of what a function decomposes; of single matrices they have two axes."""
    program = jax.make_jaxpr(function)(*shapes)
    return [
        equation.invars[0].aval.shape
        for equation in every_equation(program.jaxpr)
        if equation.primitive.name in DECOMPOSITIONS
    ]
