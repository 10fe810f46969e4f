"""Oracles: scikit-learn, NumPy's pseudoinverse, and regressions fitted again without an example."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_ridge import KernelRidge

from implicit_bias import kernels
from tests.decompositions import decompositions

gaussian_posterior = jax.jit(kernels.gaussian_posterior)
leave_one_out = jax.jit(kernels.leave_one_out)
ridge_regression = jax.jit(kernels.ridge_regression)
rkhs_norm = jax.jit(kernels.rkhs_norm)


RNG = np.random.default_rng(2)
X, X_TEST = RNG.normal(size=(9, 3)), RNG.normal(size=(4, 3))
Y, F0, F0_TEST = RNG.normal(size=(9, 2)), RNG.normal(size=(9, 2)), RNG.normal(size=(4, 2))
RBF_KERNEL = RBF(1.5)
K, K_CROSS, K_TEST = RBF_KERNEL(X), RBF_KERNEL(X_TEST, X), RBF_KERNEL(X_TEST)
# A full kernel of a linear model with features (n, k, p), of rank 20 > n k = 18.
J, J_TEST = RNG.normal(size=(9, 2, 20)), RNG.normal(size=(4, 2, 20))
FULL, FULL_CROSS = np.einsum("iap,jbp->iajb", J, J), np.einsum("iap,jbp->iajb", J_TEST, J)


def test_ridge():
    # Broken by: a ridge times or over n, or initial outputs that are not subtracted and added.
    fit = KernelRidge(alpha=0.3, kernel="precomputed").fit(K, Y - F0)
    mine = ridge_regression(K, K_CROSS, Y, 0.3, f0_train=F0, f0_test=F0_TEST)
    np.testing.assert_allclose(mine, F0_TEST + fit.predict(K_CROSS), atol=1e-12)


def test_a_full_kernel():
    # Broken by: axes of examples and outputs out of order. The oracle is the linear model itself.
    design, start = J.reshape(18, 20), RNG.normal(size=20)
    residual = Y.ravel() - design @ start
    move = np.linalg.solve(design.T @ design + 0.3 * np.eye(20), design.T @ residual)
    oracle = (J_TEST.reshape(8, 20) @ (start + move)).reshape(4, 2)
    given = {"f0_train": J @ start, "f0_test": J_TEST @ start}
    mine = ridge_regression(FULL, FULL_CROSS, Y, 0.3, **given)
    np.testing.assert_allclose(mine, oracle, atol=1e-12)
    norm = rkhs_norm(FULL, Y, 0.3, f0_train=J @ start)
    np.testing.assert_allclose(norm, np.linalg.norm(move))
    # One output's full kernel is a shared kernel.
    np.testing.assert_allclose(
        ridge_regression(K[:, None, :, None], K_CROSS[:, None, :, None], Y[:, :1], 0.3),
        ridge_regression(K, K_CROSS, Y[:, :1], 0.3),
        atol=1e-13,
    )


@pytest.mark.parametrize("features", [4, 9, 30])
def test_ridgeless_is_the_pseudoinverse(features):
    # Broken by: dividing by eigenvalues that are rounding (4 features: rank 4 of 9).
    phi, phi_test = RNG.normal(size=(9, features)), RNG.normal(size=(4, features))
    kernel, cross = phi @ phi.T, phi_test @ phi.T
    theta = np.linalg.pinv(phi) @ Y
    ridgeless = ridge_regression(kernel, cross, Y, 0.0)
    np.testing.assert_allclose(ridgeless, phi_test @ theta, atol=1e-9)
    np.testing.assert_allclose(rkhs_norm(kernel, Y), np.linalg.norm(theta), rtol=1e-9)
    # A ridge that shrinks ends there: in proportion to it, then exactly.
    for ridge, apart in ((1e-5, 1e-2), (1e-8, 1e-5), (1e-30, 1e-12)):
        near = ridge_regression(kernel, cross, Y, ridge)
        np.testing.assert_allclose(near, ridgeless, atol=apart)


def test_leave_one_out():
    # Broken by: the sign, or the ridge's diagonal; or leaving out an output and not an example.
    shared, full = leave_one_out(K, Y, 0.3, f0_train=F0), leave_one_out(FULL, Y, 0.0)
    for i in range(9):
        rest = np.delete(np.arange(9), i)
        fit = KernelRidge(alpha=0.3, kernel="precomputed").fit(
            K[np.ix_(rest, rest)], (Y - F0)[rest]
        )
        np.testing.assert_allclose(shared[i], (Y - F0)[i] - fit.predict(K[[i]][:, rest])[0])
        matrix = FULL[np.ix_(rest, [0, 1], rest, [0, 1])].reshape(16, 16)
        guess = FULL[i][:, rest].reshape(2, 16) @ np.linalg.solve(matrix, Y[rest].ravel())
        np.testing.assert_allclose(full[i], Y[i] - guess, atol=1e-9)
    # One after another.
    shapes = decompositions(lambda kernel: leave_one_out(kernel, Y, 0.1), FULL)
    assert {(18, 18), (2, 2)} == set(shapes)


def test_gaussian_process():
    # Broken by: a covariance that counts the noise of the test points, or a transposed product.
    process = GaussianProcessRegressor(RBF_KERNEL, alpha=0.2, optimizer=None).fit(X, Y)
    mean, covariance = process.predict(X_TEST, return_cov=True)
    mine = gaussian_posterior(K, K_CROSS, K_TEST, Y, 0.2)
    np.testing.assert_allclose(mine.mean, mean, atol=1e-12)
    np.testing.assert_allclose(mine.covariance, covariance[..., 0], atol=1e-12)
    # Outputs that are independent, as one full kernel.
    eye = np.eye(2)
    full = [np.einsum("ij,ab->iajb", kernel, eye) for kernel in (K, K_CROSS, K_TEST)]
    apart = gaussian_posterior(*full, Y, 0.2)
    np.testing.assert_allclose(apart.mean, mean, atol=1e-12)
    np.testing.assert_allclose(apart.covariance[:, 1, :, 1], covariance[..., 1], atol=1e-12)
    np.testing.assert_allclose(apart.covariance[:, 1, :, 0], 0, atol=1e-12)


def test_single_precision_and_without_compiling():
    # Broken by: values looked at while traced alone, or a dtype of our own.
    arguments = [jnp.asarray(array, jnp.float32) for array in (K, K_CROSS, Y)]
    guess = kernels.ridge_regression(*arguments, 0.3)
    assert guess.dtype == jnp.float32
    np.testing.assert_allclose(guess, ridge_regression(K, K_CROSS, Y, 0.3), atol=1e-5)
