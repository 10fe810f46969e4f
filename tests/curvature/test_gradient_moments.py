"""Oracles: explicit Jacobians and NumPy; the trace of the noise module."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.curvature import dense, gradient_covariance_trace
from implicit_bias.curvature.gradient_moments import empirical_fisher, gradient_covariance
from implicit_bias.errors import UserError
from tests.curvature import cases


def build_empirical(problem, params, data, **options):
    return empirical_fisher(problem.weighted, params, data, **options)


def build_covariance(problem, params, data, **options):
    return gradient_covariance(problem.weighted, params, data, **options)


BUILDS = (build_empirical, build_covariance)


def empirical_oracle(exact, case, lane):
    return np.einsum("n,np,nq->pq", exact.mean_weights, exact.gradients, exact.gradients)


def covariance_oracle(exact, case, lane):
    if exact.weights is None:
        return np.cov(exact.gradients.T)
    weights = exact.weights
    return np.cov(exact.gradients.T, aweights=weights, ddof=0) * weights.sum()


@cases.every_case
def test_equal_the_dense_matrices(case):
    # Broken by: gradients weighted twice, an example of the last chunk counted twice; empirical:
    # gradients centred; covariance: a mean over a chunk in place of all, the divisor n, weights
    # left out of the mean.
    cases.check(case, (build_empirical, empirical_oracle), (build_covariance, covariance_oracle))


TestShared = cases.shared_tests(*BUILDS)


def test_trace_is_that_of_the_noise_module():
    # Broken by: another divisor or mean than gradient_covariance_trace has.
    problem, params, data = cases.plain()

    @cases.quick
    def both(params):
        operator, _ = build_covariance(problem, params, data)
        return jnp.trace(dense(operator)), gradient_covariance_trace(problem.weighted, params, data)

    np.testing.assert_allclose(*both(params), rtol=1e-12)


@pytest.mark.parametrize("chunk_size", [None, 3])
def test_a_large_mean_gradient_does_not_drown_the_covariance(chunk_size):
    # Broken by: the difference of E[g gᵀ] and m mᵀ, of which float32 leaves nothing where the mean
    # is 1000 times the spread; or by the rounding of the deviations' sum times the mean.
    rng = np.random.default_rng(0)
    gradients = (1000 + rng.normal(size=(40, 5))).astype(np.float32)

    def loss(params, batch, weights):
        return jnp.sum(weights * jnp.matmul(batch, params))

    @cases.quick
    def matrix(gradients):
        params = jnp.zeros(5, gradients.dtype)
        return dense(gradient_covariance(loss, params, gradients, chunk_size=chunk_size)[0])

    expected = np.cov(gradients.astype(np.float64).T)
    error = np.linalg.norm(np.asarray(matrix(gradients)) - expected, 2)
    assert error < 2e-3 * np.linalg.norm(expected, 2)


def test_one_example_has_no_covariance():
    # Broken by: one example, whose covariance divides by zero.
    problem, params, data = cases.plain()
    with pytest.raises(UserError, match="at least 2"):
        build_covariance(problem, params, (data[0][:1], data[1][:1]))
