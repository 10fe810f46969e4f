"""What the programs of products consist of: no second forward pass, no fast matrix products."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np

from tests.curvature.cases.problems import Build, Problem, plain


def check_shared_primal(build: Build) -> None:
    """See that products repeat the forward pass only where they are told to."""
    problem, params, data = plain(network="convolution")

    def program(**options: Any) -> str:
        text = []

        def trace(params: Any) -> None:
            operator, _ = build(problem, params, data, **options)
            text.append(str(jax.make_jaxpr(operator.product)(np.ones(operator.dimension))))

        jax.eval_shape(trace, params)
        return text[0]

    for chunk_size in (None, 3):
        assert " tanh " in program(chunk_size=chunk_size, linearize=False)
        assert " tanh " not in program(chunk_size=chunk_size, linearize=True)


def check_precision(build: Build) -> None:
    """See that every matrix product asks for the highest precision; a GPU would take TF32."""
    for network in ("dense", "convolution"):
        problem, params, data = plain(network=network)
        for chunk_size, linearize in itertools.product((None, 3), (True, False)):
            options = {"chunk_size": chunk_size, "linearize": linearize}

            def product(
                params: Any, problem: Problem = problem, options: Any = options, data: Any = data
            ) -> jax.Array:
                operator, _ = build(problem, params, data, **options)
                return operator.product(np.ones(operator.dimension))

            text = str(jax.make_jaxpr(product)(params))
            products = text.count("dot_general[") + text.count("conv_general_dilated[")
            assert products > 0
            assert text.count("precision=(Precision.HIGHEST") == products
