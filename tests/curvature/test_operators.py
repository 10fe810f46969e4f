"""Oracles: NumPy, and the list of all pairs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.curvature import LinearOperator, dense, hessian, matrix_operator, restrict
from implicit_bias.curvature.operators import prepared
from implicit_bias.errors import UserError
from tests.curvature import cases


def test_case_list_covers_every_pair():
    # Broken by: a combination of two choices that no operator is ever held against.
    covered = set().union(*(cases.pairs(case) for case in cases.CASES))
    assert covered == cases.all_pairs()
    assert len(cases.CASES) <= 80
    assert len(set(map(str, cases.CASES))) == len(cases.CASES)


def test_dense_takes_products_as_columns():
    # Broken by: a transpose, which no symmetric matrix would show.
    matrix = np.arange(9.0).reshape(3, 3)
    np.testing.assert_array_equal(dense(matrix_operator(jnp.asarray(matrix))), matrix)


def test_matrix_asks_for_the_highest_precision():
    # Broken by: TF32 on a GPU.
    operator = matrix_operator(jnp.eye(2, dtype=jnp.float32))
    text = str(jax.make_jaxpr(operator.product)(jnp.ones(2, jnp.float32)))
    assert "precision=(Precision.HIGHEST" in text


def test_mask_restricts_to_the_live_block():
    # Broken by: masking only one side of the operator.
    rng = np.random.default_rng(6)
    full, mask = rng.normal(size=(7, 7)), np.array([0.0, 1, 1, 0, 1, 1, 0])
    live = dense(restrict(matrix_operator(jnp.asarray(full)), jnp.asarray(mask)))
    np.testing.assert_allclose(live, full * mask[:, None] * mask[None, :], atol=1e-15)


@pytest.mark.parametrize("linearize", [False, True])
def test_prepared_is_the_product(linearize):
    # Broken by: a shared part that is the product at one vector, so that others are off by it.
    scale = jnp.asarray(np.random.default_rng(8).normal(size=4))
    operator = prepared(lambda v: jnp.sin(scale) * v, scale, linearize)
    vector = jnp.arange(4.0)
    np.testing.assert_allclose(operator.product(vector), np.sin(scale) * np.arange(4), rtol=1e-14)
    assert (operator.dimension, operator.dtype) == (4, scale.dtype)
    text = str(jax.make_jaxpr(operator.product)(vector))
    assert (" sin " in text) != linearize


def test_bad_requests():
    # Broken by: an operator on nothing, a matrix that is not square, a mask or a block of another
    # network, met later by an error of JAX.
    with pytest.raises(UserError, match="dimension 0"):
        LinearOperator(lambda v: v, 0, jnp.float32)
    with pytest.raises(UserError, match="square"):
        matrix_operator(jnp.ones((2, 3)))
    with pytest.raises(UserError, match="3 parameters"):
        restrict(matrix_operator(jnp.eye(3)), jnp.ones(2))


def test_blocks_and_masks_agree():
    # Broken by: a block that is another sub-matrix than the mask of the same parameters.
    problem, params, data = cases.plain()
    alive = cases.positions(params, "layer_1")

    @cases.quick
    def both(params, mask):
        whole, _ = hessian(problem.weighted, params, data)
        block, _ = hessian(problem.weighted, params, data, block="layer_1")
        return dense(restrict(whole, mask)), dense(block)

    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    mask = np.isin(np.arange(size), alive).astype(float)
    whole, block = map(np.asarray, both(params, jnp.asarray(mask)))
    np.testing.assert_allclose(whole[np.ix_(alive, alive)], block, atol=1e-13)
    assert np.count_nonzero(whole) == np.count_nonzero(whole[np.ix_(alive, alive)])
