"""Operators held against their dense matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.curvature.cases.compiling import quick
from tests.curvature.cases.exact import Exact, exact, positions, weights
from tests.curvature.cases.listing import Case
from tests.curvature.cases.networks import make
from tests.curvature.cases.problems import Build, cast, lane_of, matrices

Oracle = Callable[[Exact, Case, int], np.ndarray]


def check(case: Case, *held: tuple[Build, Oracle]) -> None:
    """Hold operators against their dense matrices, all in one program.

    Args:
        case: What to build them from.
        held: For each operator, how to build it, called as ``build(problem, params, data,
            **options)``, and its matrix with respect to all parameters, of a lane.
    """
    given = weights(case)
    options = {
        "chunk_size": case.chunk_size,
        "linearize": case.linearize,
        "block": case.block,
        "weights": None if given is None else jnp.asarray(given, case.dtype),
    }
    problem, _, data = lane_of(case, 0)
    params = cast(make(case.network)[0], case.dtype)
    one = jax.tree.map(lambda leaf: leaf[0], params)

    def all_matrices(params: Any) -> list[jax.Array]:
        return matrices([build(problem, params, data, **options)[0] for build, _ in held])

    if case.lanes == "one":
        found = [np.asarray(each)[None] for each in quick(all_matrices)(one)]
    elif case.lanes == "map":
        found = quick(lambda params: jax.lax.map(all_matrices, params))(params)
    else:
        found = quick(jax.vmap(all_matrices))(params)
    where = positions(one, case.block)
    for (build, oracle), lanes in zip(held, found, strict=True):
        for lane, matrix_found in enumerate(np.asarray(lanes)):
            expected = oracle(exact(case, lane), case, lane)[np.ix_(where, where)]
            assert matrix_found.dtype == case.dtype, build
            assert matrix_found.shape == expected.shape, build
            scale = np.linalg.norm(expected, 2)
            assert scale > 1e-3, "a case that tells nothing"
            # The norm of the error bounds that of every product with a vector of length one.
            error = np.linalg.norm(matrix_found - expected, 2)
            bound = 1e-10 if case.dtype == "float64" else 1e-5
            assert error <= bound * scale, (build, error / scale)
