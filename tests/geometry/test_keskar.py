"""Oracles: the published formula by hand, where the maximum over the box is known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.errors import UserError
from implicit_bias.geometry.keskar import keskar_sharpness, random_basis
from implicit_bias.geometry.rescaling import rescale_relu
from tests.geometry.networks import mean_loss, network

EPSILONS = np.asarray([1e-3, 5e-4])
# In the order in which the arrays are flattened: "a" before "b".
POINT = {"b": jnp.asarray([[2.0, -1.0]]), "a": jnp.asarray([0.5, 0.0, -3.0])}
FLAT = np.asarray([0.5, 0.0, -3.0, 2.0, -1.0])
SLOPE = np.asarray([3.0, -4.0, 5.0, 1.0, -2.0])


def linear(params):
    flat = jnp.concatenate([params["a"], params["b"].ravel()])
    return 4 + jnp.asarray(SLOPE) @ (flat - jnp.asarray(FLAT))


def test_linear_loss_in_the_whole_space():
    # Broken by: the box without its "+ 1" or without the parameter's size, a division by f, or a
    # factor of 100 left out.
    found = keskar_sharpness(jax.value_and_grad(linear), POINT)
    rises = EPSILONS * np.sum(np.abs(SLOPE) * (np.abs(FLAT) + 1))
    np.testing.assert_allclose(found.sharpness, 100 * rises / 5, rtol=1e-9)
    np.testing.assert_allclose(found.highest, 4 + rises, rtol=1e-12)
    np.testing.assert_array_equal(found.epsilons, EPSILONS)
    np.testing.assert_array_equal(found.at_bound, 1)
    assert found.loss == 4


def test_linear_loss_in_a_subspace():
    # Broken by: coordinates A^T x for A^+ x, or a box of the parameters for one of coordinates.
    basis = np.random.default_rng(0).normal(size=(5, 2)) * [1.0, 10.0]
    found = keskar_sharpness(jax.value_and_grad(linear), POINT, basis=basis)
    box = EPSILONS[:, None] * (np.abs(np.linalg.pinv(basis) @ FLAT) + 1)[None, :]
    rises = np.sum(np.abs(basis.T @ SLOPE)[None, :] * box, axis=1)
    np.testing.assert_allclose(found.sharpness, 100 * rises / 5, rtol=1e-9)


def test_separable_quadratic():
    # Broken by: a search that descends, or that stops at the first step. The highest corner is the
    # one farther from the minimum, coordinate by coordinate.
    bends, minimum = np.asarray([1.0, 4.0, 9.0]), np.asarray([0.3, -0.2, 0.0])
    point = np.asarray([0.31, -0.25, 0.02])

    def loss(w):
        return 0.5 * jnp.sum(jnp.asarray(bends) * jnp.square(w - jnp.asarray(minimum)))

    found = keskar_sharpness(jax.value_and_grad(loss), jnp.asarray(point), epsilons=[0.1])
    box = 0.1 * (np.abs(point) + 1)
    highest = 0.5 * np.sum(bends * (np.abs(point - minimum) + box) ** 2)
    start = 0.5 * np.sum(bends * (point - minimum) ** 2)
    np.testing.assert_allclose(found.sharpness, [100 * (highest - start) / (1 + start)], rtol=1e-9)


def test_network_against_its_own_record():
    # Broken by: tolerances that end the search at once near a minimum, more than 10 iterations,
    # a basis whose rows are in another order than the parameters.
    model, params, x, y = network(0)
    call = jax.jit(jax.value_and_grad(mean_loss(model, x, y)))
    whole = keskar_sharpness(call, params)
    identity = keskar_sharpness(call, params, basis=np.eye(59))
    np.testing.assert_allclose(identity.sharpness, whole.sharpness, rtol=1e-6)
    assert whole.sharpness[0] > whole.sharpness[1] > 0
    assert np.all((whole.iterations >= 1) & (whole.iterations <= 10))
    assert np.all(whole.evaluations >= whole.iterations)
    single = jax.tree.map(lambda leaf: leaf.astype("float32"), params)
    call = jax.jit(jax.value_and_grad(mean_loss(model, x.astype("float32"), y)))
    np.testing.assert_allclose(keskar_sharpness(call, single).sharpness, whole.sharpness, rtol=1e-2)


def test_it_is_not_invariant_under_rescaling():
    # Broken by: calling it invariant. This is what Dinh et al. show.
    model, params, x, y = network(0)
    call = jax.jit(jax.value_and_grad(mean_loss(model, x, y)))
    before = keskar_sharpness(call, params).sharpness
    after = keskar_sharpness(call, rescale_relu(params, [100.0, 1.0])).sharpness
    assert np.all(after > 2 * before)


def test_without_a_gradient_the_search_cannot_set_out():
    # Broken by: a record that does not show why the measure is zero.
    found = keskar_sharpness(jax.value_and_grad(lambda w: jnp.sum(w**2)), jnp.zeros(2))
    np.testing.assert_array_equal(found.sharpness, 0)
    np.testing.assert_array_equal(found.iterations, 0)


def test_random_basis():
    # Broken by: rows for columns, columns that depend on each other, another subspace for the same
    # key.
    gaussian = np.asarray(random_basis(jax.random.key(0), 400, 20))
    assert gaussian.shape == (400, 20)
    assert abs(gaussian.std() - 1) < 0.05
    orthonormal = np.asarray(random_basis(jax.random.key(0), 400, 20, "orthonormal"))
    np.testing.assert_allclose(orthonormal.T @ orthonormal, np.eye(20), atol=1e-12)
    assert np.linalg.matrix_rank(np.hstack([gaussian, orthonormal])) == 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilons": [1e-3, 0.0]}, "an epsilon is 0.0"),
        ({"epsilons": [float("inf")]}, "an epsilon is inf"),
        ({"epsilons": []}, "at least one"),
        ({"iterations": 0}, "iterations is 0"),
        ({"basis": np.ones((4, 2))}, "the basis has shape (4, 2)"),
        ({"basis": np.ones((5, 0))}, "the basis has shape (5, 0)"),
        ({"basis": np.ones((5, 2))}, "2 columns but rank 1"),
        ({"params": {"a": jnp.ones(3), "b": jnp.full((1, 2), jnp.inf)}}, "2 of the parameters"),
        ({"shift": -9.0}, "finite loss above -1"),
        ({"shift": float("nan")}, "the loss is nan"),
    ],
)
def test_bad_requests(change, message):
    # Broken by: a check that is missing, so that SciPy says something that nobody understands.
    arguments = {"params": POINT} | change
    shift = arguments.pop("shift", 0.0)
    with pytest.raises(UserError) as caught:
        keskar_sharpness(jax.value_and_grad(lambda p: linear(p) + shift), **arguments)
    assert message in str(caught.value)


def test_bad_bases():
    # Broken by: as above.
    for size in (0, 5):
        with pytest.raises(UserError, match="choose a size from 1 to 4"):
            random_basis(jax.random.key(0), 4, size)
    with pytest.raises(UserError, match="unknown law of columns 'normal'"):
        random_basis(jax.random.key(0), 4, 2, "normal")
