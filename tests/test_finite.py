"""Parameters that are no numbers are refused before anything is measured."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from implicit_bias import curvature
from implicit_bias.errors import UserError
from implicit_bias.finite import require_finite


def test_finite_is_counted_and_traced_values_pass():
    # Broken by: a check that looks at a traced value (an error of JAX) or at one array only.
    bad = {"a": jnp.ones(2), "b": jnp.asarray([jnp.nan, 1, jnp.inf])}
    with pytest.raises(UserError, match="2 of the parameters are not finite"):
        require_finite(bad)
    with pytest.raises(UserError, match="no parameters"):
        require_finite({"a": jnp.ones((0, 3))})

    def total(params):
        require_finite(params)
        return params["b"].sum()

    assert jnp.isnan(jax.jit(total)(bad))


def test_operators_refuse_them_too():
    # Broken by: eigenvalues that are NaN without a word about why.
    def loss(params, batch, weights):
        return jnp.sum(weights * jnp.square(batch @ params["w"]))

    with pytest.raises(UserError, match="1 of the parameters are not finite; leave out runs"):
        curvature.hessian(loss, {"w": jnp.asarray([1.0, jnp.inf])}, jnp.ones((3, 2)))
