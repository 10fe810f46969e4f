"""Wrong calls of every public function: one line that says what was given, and no page of JAX.

Broken by: a check that is missing or comes too late, after JAX has met the argument. Nothing here is
compiled; each call is refused by what it is given.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import curvature as c
from implicit_bias.errors import UserError

KEY = jax.random.key(0)
OPERATOR = c.matrix_operator(np.diag(np.arange(1.0, 11.0)))
PARAMS = {"w": np.ones(3)}
DATA = (np.ones((4, 3)), np.ones(4))
WITH_KEY = [
    c.lanczos,
    c.thick_restart_lanczos,
    c.power_iteration,
    c.lobpcg,
    c.hutchinson_trace,
    c.hutch_plus_plus,
    c.hutchinson_diagonal,
    c.squared_diagonal_sum,
    c.frobenius_norm,
    c.spectral_density,
]
OF_A_LOSS = [
    c.hessian,
    c.empirical_fisher,
    c.gradient_covariance,
    c.gradient_covariance_trace,
]


def losses(params, batch):
    return jnp.sum(batch[0] * params["w"][None, :], axis=1) ** 2


def loss(params, batch, weights):
    return jnp.sum(weights * losses(params, batch))


def outputs(params, batch):
    return batch[0] * params["w"][None, :]


def refused(function, *arguments, **options):
    with pytest.raises(UserError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("algorithm", WITH_KEY)
def test_keys_and_operators(algorithm):
    for key, says in (
        (0, "key is 0; give a random key, such as jax.random.key(0)"),
        (None, "key is None"),
        (jnp.ones(2, jnp.float32), "type float32"),
        (jax.random.split(KEY, 3), "array of keys of shape (3,)"),
    ):
        assert says in refused(algorithm, OPERATOR, key)
    assert "matrix_operator" in refused(algorithm, np.eye(3), KEY)
    assert "take the first of the pair" in refused(algorithm, (OPERATOR, None), KEY)


def test_the_older_kind_of_key_is_a_key():
    c.hutchinson_trace(OPERATOR, jax.random.PRNGKey(0), n_probes=2)


@pytest.mark.parametrize("operator", OF_A_LOSS)
def test_losses_of_another_shape(operator):
    assert "returns an array of shape (" in refused(
        operator, lambda p, b, w: w * losses(p, b), PARAMS, DATA
    )
    assert "called with 3 arguments" in refused(operator, losses, PARAMS, DATA)
    assert "returns of type tuple" in refused(
        operator, lambda p, b, w: (loss(p, b, w), 0), PARAMS, DATA
    )
    assert "loss is 3; give a function loss(params, batch, weights)" in refused(
        operator, 3, PARAMS, DATA
    )


def test_outputs_metrics_and_densities():
    density = "categorical"
    assert "called with 2 arguments" in refused(c.true_fisher, lambda p: p, density, PARAMS, DATA)
    assert "outputs returns shape (4,)" in refused(c.true_fisher, losses, density, PARAMS, DATA)
    assert "outputs returns shape tuple" in refused(
        c.true_fisher, lambda p, b: (outputs(p, b), {}), density, PARAMS, DATA
    )
    assert "loss_of_outputs returns shape ()" in refused(
        c.gauss_newton, outputs, lambda f, batch: jnp.sum(f), PARAMS, DATA
    )
    assert "metric returns shape (4,)" in refused(
        c.output_metric, outputs, lambda f, batch, v: v[:, 0], PARAMS, DATA
    )
    assert "density returns shape (3,)" in refused(
        c.true_fisher, outputs, lambda f: f[0], PARAMS, DATA
    )
    assert "n_draws is 1.5" in refused(
        c.sampled_fisher, outputs, density, PARAMS, DATA, KEY, n_draws=1.5
    )


@pytest.mark.parametrize(
    ("function", "options", "says"),
    [
        (c.lanczos, {"k": 0}, "k is 0"),
        (c.lanczos, {"k": 11}, "choose 1 <= k <= 10"),
        (c.power_iteration, {"k": 2.0}, "k is 2.0; give a whole number"),
        (c.lobpcg, {"k": "2"}, "k is '2'"),
        (c.lanczos, {"max_products": 50.0}, "max_products is 50.0"),
        (c.lanczos, {"tol": "small"}, "tol is 'small'"),
        (c.lanczos, {"start": [1.0, 2.0]}, "start has shape (2,)"),
        (c.lanczos, {"which": ["LA"]}, "unknown choice of eigenvalues"),
        (c.thick_restart_lanczos, {"subspace": 5.5}, "subspace is 5.5"),
        (c.hutchinson_trace, {"n_probes": 2.5}, "n_probes is 2.5"),
        (c.hutchinson_trace, {"batch_size": None}, "batch_size is None"),
        (c.hutchinson_diagonal, {"n_probes": 1}, "n_probes is 1"),
        (c.squared_diagonal_sum, {"n_pairs": "4"}, "n_pairs is '4'"),
        (c.hutch_plus_plus, {"sketch": None}, "sketch is None"),
        (c.spectral_density, {"depth": 3.0}, "depth is 3.0"),
        (c.spectral_density, {"grid": [1.0]}, "grid is [1.0]"),
        (c.spectral_density, {"grid": "abc"}, "grid is abc"),
        (c.spectral_density, {"grid": [3, 2, 1]}, "does not ascend"),
        (c.spectral_density, {"grid": [0, np.nan]}, "does not ascend"),
        (c.spectral_density, {"width": [1.0]}, "width is of type list"),
        (c.spectral_density, {"width": np.float32(-1)}, "width is -1.0"),
        (c.spectral_density, {"deflate": np.ones((1, 10))}, "give Eigenpairs"),
    ],
)
def test_options(function, options, says):
    assert says in refused(function, OPERATOR, KEY, **options)


def test_a_grid_may_be_a_list():
    given = c.spectral_density(OPERATOR, KEY, n_probes=2, depth=2, grid=[0, 5, 10.0])
    np.testing.assert_array_equal(given.grid, [0, 5, 10])


def test_the_rest():
    assert "chunk_size is 2.5" in refused(c.hessian, loss, PARAMS, DATA, chunk_size=2.5)
    assert "block is 3" in refused(c.hessian, loss, PARAMS, DATA, block=3)
    assert "block takes" in refused(c.hessian, loss, PARAMS, DATA, block=lambda: True)
    assert "the parameters hold x" in refused(c.hessian, loss, {"w": "x"}, DATA)
    assert "not finite" in refused(c.gradient_covariance_trace, loss, {"w": np.nan}, DATA)
    assert "matrix has shape (2, 3)" in refused(c.matrix_operator, np.ones((2, 3)))
    assert "floating-point" in refused(c.matrix_operator, np.eye(2, dtype=int))
    assert "mask has shape dict" in refused(c.restrict, OPERATOR, {})
    assert "too small for one product" in refused(c.plan_subspace, 10**6, 3, 100)
    assert "memory_bytes is 'all'" in refused(c.plan_subspace, 10, 3, "all")
    assert "batch_size is 2.0" in refused(
        c.minibatch_gradient_covariance_trace, loss, PARAMS, DATA, KEY, batch_size=2.0, n_batches=2
    )


def test_a_loss_that_does_not_heed_its_weights():
    # Broken by: a chunked sum over losses that divide by themselves, which no other check notices.
    def mean(params, batch, weights):
        return jnp.mean(losses(params, batch))

    for build in (c.hessian, c.empirical_fisher, c.gradient_covariance):
        assert "has weight 0" in refused(build, mean, PARAMS, DATA, chunk_size=2)
        build(loss, PARAMS, DATA, chunk_size=2)
    c.hessian(mean, PARAMS, DATA)  # right as it stands: all examples at once
    activations = np.ones((4, 3))
    assert "has weight 0" in refused(
        c.activation_hessian, lambda h, b, w: jnp.sum(h**3), activations, DATA, chunk_size=2
    )
