"""What is refused before anything is computed: kernels that are none, and shapes that do not fit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias import kernels
from implicit_bias.errors import UserError

K = jnp.eye(3)
Y = jnp.ones((3, 2))


@pytest.mark.parametrize(
    ("kernel", "tells"),
    [
        (jnp.ones((3, 2)), r"shape \(3, 2\); give a square one"),
        (jnp.ones((3, 2, 2, 3)), "give a square one"),
        (jnp.ones((0, 0)), "give a square one"),
        (np.eye(3, dtype=int), "give floating numbers"),
        ("kernel", "give numbers"),
        (jnp.diag(jnp.array([1.0, jnp.nan, 1.0])), "not finite"),
        (jnp.eye(3).at[0, 1].set(0.1), "not symmetric: entries differ by 0.1 .* K.T"),
        (jnp.diag(jnp.array([2.0, 1.0, -0.5])), "eigenvalue is -0.5, where rounding allows -1.3"),
    ],
)
def test_what_is_no_kernel(kernel, tells):
    # Broken by: a check that is missing, and a page of JAX in its place, or a silent answer.
    with pytest.raises(UserError, match=tells) as caught:
        kernels.require_positive(kernel)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=tells):
        kernels.ridge_regression(kernel, kernel, Y, 0.1)


@pytest.mark.parametrize(
    ("call", "tells"),
    [
        (lambda: kernels.ridge_regression(K, K, Y[:, 0], 0.1), r"targets has shape \(3,\); give"),
        (lambda: kernels.ridge_regression(K, K, jnp.arange(3), 0.1), "one_hot"),
        (lambda: kernels.ridge_regression(K, K[:, :2], Y, 0.1), "with the same training set"),
        (lambda: kernels.ridge_regression(K, K, Y, -0.1), "ridge is -0.1; choose a finite"),
        (lambda: kernels.ridge_regression(K, K, Y, 0.1, cutoff=2.0), "0 <= cutoff < 1"),
        (lambda: kernels.ridge_regression(K, K, Y, 0.1, f0_train=Y), "without f0_test"),
        (lambda: kernels.ridge_regression(K, K, Y, 0.1, f0_test=Y), "without f0_train"),
        (
            lambda: kernels.ridge_regression(K, K, Y, 0.1, f0_train=Y[:2], f0_test=Y),
            r"f0_train has shape \(2, 2\); give \(3, 2\)",
        ),
        (lambda: kernels.gradient_flow(K, Y, [1.0], f0_test=Y), "f0_test is given without k_test"),
        (lambda: kernels.gaussian_posterior(K, K, K[:2, :2], Y, 0.1), r"give \(3, 3\)"),
        (lambda: kernels.leave_one_out(jnp.ones((3, 3)), Y, 0.0), "rank 1 of 3 and the ridge is 0"),
        (
            lambda: kernels.gaussian_posterior(K, K, K.at[0, 1].set(0.5), Y, 0.1),
            "kernel of the test set is not symmetric",
        ),
        (
            lambda: kernels.gaussian_posterior(K, K, K * jnp.nan, Y, 0.1),
            "kernel of the test set has values that are not finite",
        ),
        (lambda: kernels.gaussian_posterior(K, K, K[:2], Y, 0.1), "give a square one"),
        (
            lambda: kernels.ridge_regression(K, K, Y * jnp.nan, 0.1),
            "targets has values that are not",
        ),
        (lambda: kernels.ridge_regression(K, K * jnp.inf, Y, 0.1), "k_test_train has values"),
        (
            lambda: kernels.ridge_regression(K, K, Y, 0.1, f0_train=Y * jnp.nan, f0_test=Y),
            "f0_train has values that are not finite",
        ),
        (
            lambda: kernels.ridge_regression(K, K, Y.astype(complex), 0.1),
            "targets has type complex128; give",
        ),
        (lambda: kernels.ridge_regression(K, K, Y > 0, 0.1), "targets has type bool; give real"),
        (
            lambda: kernels.ridge_regression(K, K.astype(complex), Y, 0.1),
            "k_test_train has type complex128",
        ),
        (lambda: kernels.ridge_regression(K, K, Y, jnp.asarray(1j)), "ridge has type complex128"),
        (lambda: kernels.require_centred(Y, tolerance="a"), "tolerance is 'a'; give a number"),
        (lambda: kernels.require_centred(Y, tolerance=np.nan), "tolerance is nan; choose a finite"),
    ],
)
def test_what_does_not_fit(call, tells):
    # Broken by: shapes that broadcast, or a negative ridge taken for a number like others.
    with pytest.raises(UserError, match=tells) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_full_kernel_needs_all_outputs():
    # Broken by: a full kernel taken for a shared one of as many examples.
    full = jnp.eye(6).reshape(3, 2, 3, 2)
    with pytest.raises(UserError, match=r"targets has shape \(3, 3\); give \(3, 2\)"):
        kernels.ridge_regression(full, full, jnp.ones((3, 3)), 0.1)
    with pytest.raises(UserError, match=r"give \(m, k, n, k\)"):
        kernels.ridge_regression(full, K, Y, 0.1)


def test_rounding_is_forgiven_and_traced_kernels_pass():
    # Broken by: refusing what single precision makes of a kernel of low rank, a cutoff that is not
    # used, or a check that looks at traced values.
    features = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    kernel = features @ features.T
    assert float(kernels.eigenvalues(kernel)[-1]) == 0
    doubled = jnp.asarray(kernel, float)
    with pytest.raises(UserError, match="larger cutoff if it was computed in lower precision"):
        kernels.require_positive(doubled - 1e-5 * jnp.eye(20))
    kernels.require_positive(doubled - 1e-5 * jnp.eye(20), cutoff=1e-5)
    jax.eval_shape(lambda k: kernels.ridge_regression(k, k, Y, 0.1), -K)


def test_centred_outputs_where_a_theorem_needs_them():
    # Broken by: a mean in place of the largest value, or NaN that passes.
    kernels.require_centred(jnp.zeros((3, 2)))
    kernels.require_centred(jnp.full((3, 2), 1e-9), tolerance=1e-8)
    for outputs in (jnp.array([1.0, -1.0]), jnp.array([jnp.nan])):
        with pytest.raises(UserError, match="must be zero"):
            kernels.require_centred(outputs)
