"""Semi-definiteness, at random parameters, inputs and weights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from hypothesis import settings
from jax.flatten_util import ravel_pytree

from tests.curvature.cases.compiling import quick
from tests.curvature.cases.networks import N
from tests.curvature.cases.problems import Build, matrices, plain


@functools.cache
def _random_matrices(builds: tuple[Build, ...], loss: str) -> Callable[..., Any]:
    problem, params, (_, y) = plain(loss, "convolution")
    unravel = ravel_pytree(params)[1]

    @quick
    def made(flat: jax.Array, x: jax.Array, weights: jax.Array) -> tuple[list, jax.Array]:
        data = (x, y)
        operators = [
            build(problem, unravel(flat), data, chunk_size=3, weights=weights)[0]
            for build in builds
        ]
        jacobian = jax.jacrev(lambda flat: problem.outputs(unravel(flat), data))(flat)
        return matrices(operators), jacobian

    return made


def check_semi_definite(builds: tuple[Build, ...], loss: str, seed: int, scale: float) -> None:
    """Hold the least eigenvalues against zero, at random parameters, inputs and weights."""
    rng = np.random.default_rng(seed)
    _, params, (x, _) = plain(loss, "convolution")
    flat = scale * rng.normal(size=sum(leaf.size for leaf in jax.tree.leaves(params)))
    x = rng.normal(size=x.shape)
    weights = rng.uniform(0, 1, N) * rng.integers(0, 2, N) + 0.01
    found, jacobian = jax.tree.map(np.asarray, _random_matrices(builds, loss)(flat, x, weights))
    # Saturated outputs make the matrix far smaller than the Jacobian that it is rounded like.
    least = np.einsum("n,nkp->", weights, jacobian**2)
    for build, matrix in zip(builds, found, strict=True):
        rounding = 1e-14 * (np.trace(matrix) + least)
        np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=rounding, err_msg=str(build))
        assert np.linalg.eigvalsh((matrix + matrix.T) / 2)[0] >= -rounding, build


semi_definite = settings(max_examples=20, deadline=None)  # the first example compiles
