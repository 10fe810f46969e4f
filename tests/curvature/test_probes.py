"""What estimates from random probes have in common: a converged flag that follows their error."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import curvature
from implicit_bias.errors import UserError

KEY = jax.random.key(3)
MATRIX = np.random.default_rng(0).normal(size=(12, 12)) + 4 * np.eye(12)
SYMMETRIC = jnp.asarray(MATRIX + MATRIX.T)

# Each algorithm with few probes, and which of its fields the error belongs to.
ESTIMATES = {
    "trace": (partial(curvature.hutchinson_trace, n_probes=8), "estimate"),
    "Hutch++": (partial(curvature.hutch_plus_plus, sketch=2, n_probes=8), "estimate"),
    "diagonal": (partial(curvature.hutchinson_diagonal, n_probes=8), "estimate"),
    "squared diagonal": (partial(curvature.squared_diagonal_sum, n_pairs=8), "estimate"),
    "Frobenius norm": (partial(curvature.frobenius_norm, n_probes=8), "norm"),
    "density": (partial(curvature.spectral_density, n_probes=4, depth=6, grid=50), "density"),
}


@pytest.mark.parametrize("name", ESTIMATES)
def test_converged_follows_the_error(name):
    # Broken by: a flag that is always set, or compares with another quantity or norm.
    estimate, field = ESTIMATES[name]
    operator = curvature.matrix_operator(SYMMETRIC)
    first = estimate(operator, KEY)
    ratio = np.linalg.norm(first.standard_error) / np.linalg.norm(getattr(first, field))
    assert 0 < ratio < np.inf
    assert not estimate(operator, KEY, tol=0.99 * float(ratio)).converged
    assert estimate(operator, KEY, tol=1.01 * float(ratio)).converged
    assert bool(first.converged) == (ratio <= 0.1)
    broken = curvature.matrix_operator(SYMMETRIC.at[2, 2].set(jnp.nan))
    assert not estimate(broken, KEY).converged


@pytest.mark.parametrize("name", ESTIMATES)
@pytest.mark.parametrize("tol", [0, -1.0, float("nan"), True, "small"])
def test_a_tolerance_that_means_nothing_is_refused(name, tol):
    # Broken by: a check left out of one algorithm.
    with pytest.raises(UserError, match="tol is"):
        ESTIMATES[name][0](curvature.matrix_operator(SYMMETRIC), KEY, tol=tol)
