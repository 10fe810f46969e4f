"""Oracles: NumPy."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.chunks import checked_weights, chunked_sum
from tests.curvature import cases


@pytest.mark.parametrize("chunk_size", [1, 3, 4, 11])
def test_chunked_sum(chunk_size):
    # Broken by: an example of the last chunk dropped or counted twice, or a value without a shape.
    rng = np.random.default_rng(7)
    x, weights = rng.normal(size=(11, 2)), rng.normal(size=11)

    @cases.quick
    def total(x, weights):
        return chunked_sum(
            lambda batch, w: (jnp.matmul(w, batch["x"]), jnp.sum(w)), {"x": x}, weights, chunk_size
        )

    vector, scalar = total(x, weights)
    np.testing.assert_allclose(vector, weights @ x, rtol=1e-12)
    np.testing.assert_allclose(scalar, weights.sum(), rtol=1e-12)


def test_default_weights_follow_the_type():
    # Broken by: weights of another type than the parameters, which strict promotion refuses.
    made = checked_weights(None, 4, 0.25, jnp.float32)
    assert made.dtype == jnp.float32
    np.testing.assert_array_equal(made, [0.25] * 4)
