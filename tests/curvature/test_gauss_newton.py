"""Oracles: explicit Jacobians and NumPy; the Hessian, where the two must agree."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from implicit_bias.curvature import dense
from implicit_bias.curvature.gauss_newton import gauss_newton
from implicit_bias.curvature.hessian import hessian
from implicit_bias.errors import UserError
from tests.curvature import cases


def build(problem, params, data, **options):
    return gauss_newton(problem.outputs, problem.loss_of_outputs, params, data, **options)


@cases.every_case
def test_equals_the_dense_matrix(case):
    # Broken by: anything wrong in a product: a transpose, a mean taken twice, a wrong block, an
    # example of the last chunk lost, the curvature of the network left in.
    cases.check(case, (build, lambda exact, *_: exact.pulled_back(exact.metric)))


@cases.semi_definite
@given(
    seed=st.integers(0, 10**6),
    scale=st.floats(0.01, 10),
    loss=st.sampled_from(list(cases.DENSITIES)),
)
def test_positive_semi_definite(seed, scale, loss):
    # Broken by: a term with the network's own curvature, whose sign is arbitrary.
    cases.check_semi_definite((build,), loss, seed, scale)


def test_padding_adds_only_zeros():
    # Broken by: a padded unit that a product reaches.
    cases.check_padding(build)


def test_forward_pass_is_shared():
    # Broken by: a linearization that keeps the forward pass among what is done for each vector.
    cases.check_shared_primal(build)


def test_highest_precision():
    # Broken by: a product traced outside the precision context.
    cases.check_precision(build)


@pytest.mark.parametrize("loss", list(cases.DENSITIES))
def test_is_the_hessian_of_a_linear_model(loss):
    # Broken by: a wrong factor or loss, in one of the two and not in the other. Here the block
    # makes the model linear: one layer of two, without an activation.
    problem, params, data = cases.plain(loss, "deep linear")

    @cases.quick
    def both(params):
        one, _ = build(problem, params, data, block="layer_0")
        other, _ = hessian(problem.weighted, params, data, block="layer_0")
        return dense(one), dense(other)

    one, other = both(params)
    np.testing.assert_allclose(one, other, atol=1e-13)


def test_unravel_puts_the_block_back():
    # Broken by: an unravel that fills the rest with the parameters, so that a direction moves them.
    problem, params, data = cases.plain()
    operator, unravel = build(problem, params, data, block="biases", linearize=False)
    tree = unravel(jnp.ones(operator.dimension))
    assert jax.tree.structure(tree) == jax.tree.structure(params)
    for layer in tree.values():
        assert not np.any(layer["weight"])
        assert np.all(layer["bias"] == 1)


@cases.every_bad_request
def test_bad_requests(change, message):
    # Broken by: a check that is missing, so that the user meets an error of JAX instead.
    with pytest.raises(UserError) as caught:
        cases.request(build, change)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("outputs", "loss", "message"),
    [
        (lambda f: f, lambda each: jnp.mean(each), "one loss per example"),
        (lambda f: f[:, 0], lambda each: each, "return shape (examples, outputs)"),
    ],
)
def test_bad_functions(outputs, loss, message):
    # Broken by: shapes that broadcast: a loss already averaged, outputs without their axis.
    problem, params, data = cases.plain("squared", "deep linear")

    def use(params):
        operator, _ = gauss_newton(
            lambda p, b: outputs(problem.outputs(p, b)),
            lambda f, b: loss(problem.loss_of_outputs(f, b)),
            params,
            data,
        )
        return operator.product(np.ones(operator.dimension))

    with pytest.raises(UserError) as caught:
        jax.eval_shape(use, params)
    assert message in str(caught.value)
