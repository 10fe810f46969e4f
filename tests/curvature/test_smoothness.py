"""How fast gradients turn, against quadratics, whose gradients are known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.curvature import gradient_lipschitz
from implicit_bias.errors import UserError


def test_of_a_quadratic_it_is_that_of_its_hessian_along_the_gradient():
    # Broken by: a length that does not cancel, a sum over examples for a mean, a wrong norm.
    rng = np.random.default_rng(0)
    rows, start = rng.standard_normal((6, 4)), rng.standard_normal(4)

    def loss(params, batch, weights):
        theta = jnp.concatenate([params["a"], params["b"]])
        return jnp.sum(weights * 0.5 * jnp.square(batch @ theta))

    hessian = rows.T @ rows / 6
    gradient = hessian @ start
    expected = np.linalg.norm(hessian @ gradient) / np.linalg.norm(gradient)
    with jax.enable_x64(True):
        params = {"a": jnp.asarray(start[:1]), "b": jnp.asarray(start[1:])}
        found = gradient_lipschitz(loss, params, jnp.asarray(rows))
        other = gradient_lipschitz(loss, params, jnp.asarray(rows), lengths=(1.0,))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(other, expected, rtol=1e-9)


def test_the_largest_of_the_lengths_counts():
    # Broken by: a mean or the first of them; a step up the gradient instead of down.
    def loss(params, batch, weights):
        return jnp.sum(weights) * params**4 / 4 + 0 * jnp.sum(batch)

    def ratio(length):
        return abs(((2 - 2 * length) ** 3 - 8) / (2 * length))

    with jax.enable_x64(True):
        found = gradient_lipschitz(
            loss, jnp.asarray(2.0), jnp.ones((3, 1)), lengths=(0.5, 0.1, 0.25)
        )
    np.testing.assert_allclose(found, max(map(ratio, (0.5, 0.1, 0.25))), rtol=1e-12)


@pytest.mark.parametrize("lengths", [(), (0.0,), (0.1, -1.0)])
def test_lengths_are_above_zero(lengths):
    with pytest.raises(UserError, match="give one or more numbers above 0"):
        gradient_lipschitz(
            lambda p, b, w: jnp.sum(w) * p, jnp.ones(()), jnp.ones((2, 1)), lengths=lengths
        )
