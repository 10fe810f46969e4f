"""Oracles: NumPy. The operators' own tests hold it against dense matrices."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.curvature.example_sum import example_sum
from tests.curvature import cases


@pytest.mark.parametrize("lost", [0, 1])
def test_default_weights(lost):
    # Broken by: a divisor that ignores the degrees of freedom lost, or a total that leaves out the
    # last chunk.
    _, params, data = cases.plain()
    terms = example_sum(params, data, 3, None, "layer_0", lost=lost)

    @cases.quick
    def totals():
        return terms.total(lambda batch, w: (jnp.sum(w), jnp.matmul(w, batch[0].reshape(3, -1))))

    total, inputs = totals()
    np.testing.assert_allclose(total, 7 / (7 - lost), rtol=1e-14)
    x = np.asarray(data[0]).reshape(7, -1)
    np.testing.assert_allclose(inputs, x.sum(axis=0) / (7 - lost), rtol=1e-12, atol=1e-14)
    assert terms.selected.paths == ("layer_0/bias", "layer_0/weight")
