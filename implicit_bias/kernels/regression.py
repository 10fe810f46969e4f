"""Kernel regression: where training a linearised network ends, with and without a ridge.

The convention throughout: with ``G = K + ridge·I``,

    f(x) = f0(x) + K(x, X) G⁻¹ (y − f0(X)),

the minimiser of ½ Σ ‖f(x_i) − y_i‖² + ½ ridge ‖f − f0‖², the norm the kernel's own. For this
package's losses, which are means over n examples, a penalty ½ λ ‖θ − θ0‖² on a linearised network is
``ridge = n λ``; for a Gaussian process the ridge is the variance of the noise.

Outputs may share one kernel (n, n), or have a full one (n, k, n, k). All of it goes through one
eigendecomposition, of order N³, N = n or n·k.

Ridgeless predictions want double precision: what single precision cannot tell from zero, N times its
epsilon of the largest eigenvalue, holds much of what a network's kernel learns late. A kernel that
was computed in single precision and then converted needs a ``cutoff`` of about 1e-7.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.errors import UserError
from implicit_bias.kernels.problem import (
    Eigensystem,
    Problem,
    eigensystem,
    flat_kernel,
    not_negative,
    problem,
    relative_cutoff,
    require_symmetric,
)

Number = float | jax.Array


class Posterior(NamedTuple):
    """A Gaussian process at test points, given the training set.

    Attributes:
        mean: Shape (m, k).
        covariance: Of the function, without noise: shape (m, m), the same for each output; or
            (m, k, m, k) of a full kernel.
    """

    mean: jax.Array
    covariance: jax.Array


def ridge_regression(
    k_train: jax.Array,
    k_test_train: jax.Array,
    targets: jax.Array,
    ridge: Number,
    *,
    f0_train: jax.Array | None = None,
    f0_test: jax.Array | None = None,
    cutoff: Number | None = None,
) -> jax.Array:
    """Predict by kernel ridge regression; without a ridge, by the pseudoinverse.

    Directions with ``eigenvalue + ridge`` up to ``cutoff`` times the largest eigenvalue are left out,
    so that the ridgeless solution is that of the pseudoinverse, and a ridge that shrinks to zero ends
    there. Just above the cutoff a singular kernel's rounding errors are divided by the ridge: keep a
    ridge well above it, or at zero.

    Args:
        k_train: Kernel of the training set, shape (n, n) or (n, k, n, k).
        k_test_train: Kernel of test against training set, shape (m, n) or (m, k, n, k). Give
            ``k_train`` for predictions on the training set.
        targets: Shape (n, k).
        ridge: In the kernel's unit, at least 0; see the module's text for its scaling.
        f0_train: Outputs before training, shape (n, k); by default zero.
        f0_test: The same on the test set, shape (m, k).
        cutoff: By default N times the dtype's epsilon.

    Returns:
        Predictions, shape (m, k), in the kernel's dtype.

    Raises:
        UserError: If shapes do not fit, the ridge is negative, or a kernel whose values are known is
            not symmetric and positive semidefinite.

    References:
        Jacot, Gabriel & Hongler, *Neural tangent kernel* (2018), section 5; Lee et al., *Wide neural
        networks of any depth evolve as linear models* (2019), equation 10.

    Example:
        >>> import jax.numpy as jnp
        >>> from implicit_bias import kernels
        >>> targets = jnp.array([[3.0], [5.0]])
        >>> kernels.ridge_regression(2 * jnp.eye(2), jnp.array([[1.0, 0.0]]), targets, ridge=1.0).tolist()
        [[1.0]]
    """
    given = problem(k_train, targets, k_test_train, f0_train, f0_test)
    ridge = not_negative("ridge", ridge, given.train.dtype)
    system = eigensystem(given.train, cutoff)
    return given.on_test(_coefficients(given, system, ridge))


def leave_one_out(
    k_train: jax.Array,
    targets: jax.Array,
    ridge: Number,
    *,
    f0_train: jax.Array | None = None,
    cutoff: Number | None = None,
) -> jax.Array:
    """Return how far each target is from the prediction of a regression without that example.

    In closed form, ``e_i = (G⁻¹)_ii⁻¹ (G⁻¹ (y − f0))_i``; of a full kernel all outputs of an example
    are left out together.

    Args:
        k_train: Shape (n, n) or (n, k, n, k).
        targets: Shape (n, k).
        ridge: As in ``ridge_regression``; must be positive where the kernel is singular.
        f0_train: As in ``ridge_regression``.
        cutoff: As in ``ridge_regression``.

    Returns:
        Target less prediction, shape (n, k).

    Raises:
        UserError: As ``ridge_regression``, or if a kernel whose values are known is singular and has
            no ridge, where one example may decide what a direction is worth.

    References:
        Rasmussen & Williams, *Gaussian processes for machine learning* (2006), equation 5.12.
    """
    given = problem(k_train, targets, f0_train=f0_train)
    ridge = not_negative("ridge", ridge, given.train.dtype)
    system = eigensystem(given.train, cutoff)
    left_out = system.values + ridge <= system.smallest
    if not isinstance(left_out, jax.core.Tracer) and bool(jnp.any(left_out)):
        size = left_out.shape[0]
        raise UserError(
            f"the kernel has rank {size - int(jnp.sum(left_out))} of {size} and the ridge is "
            f"{float(ridge):.3g}; choose a ridge above {float(system.smallest):.3g}"
        )
    n, outputs = given.start_train.shape
    block = given.train.shape[0] // n
    vectors = system.vectors.reshape(n, block, -1)
    with jax.default_matmul_precision("highest"):
        weighted = vectors * _inverse(system, ridge)[None, None, :]
        blocks = jnp.einsum("iaj,ibj->iab", weighted, vectors)
        alpha = _coefficients(given, system, ridge).reshape(n, block, -1)
        # One after another: see "no batched decomposition" in CONTRIBUTING.md.
        left_out = jax.lax.map(lambda pair: jnp.linalg.solve(*pair), (blocks, alpha))
        return left_out.reshape(n, outputs)


def gaussian_posterior(
    k_train: jax.Array,
    k_test_train: jax.Array,
    k_test: jax.Array,
    targets: jax.Array,
    noise: Number,
    *,
    cutoff: Number | None = None,
) -> Posterior:
    """Condition a Gaussian process on the training set; of an infinitely wide network, its NNGP.

    It is what training only the last layer of an ensemble of infinitely wide networks samples from.

    Args:
        k_train: Prior covariance of the training set, shape (n, n) or (n, k, n, k).
        k_test_train: Shape (m, n) or (m, k, n, k).
        k_test: Prior covariance of the test set, shape (m, m) or (m, k, m, k).
        targets: Shape (n, k).
        noise: Variance of the targets' noise, at least 0.
        cutoff: As in ``ridge_regression``.

    Returns:
        Mean and covariance of the function at the test points.

    Raises:
        UserError: As ``ridge_regression``, or if ``k_test`` is known not to be finite and symmetric.

    References:
        Rasmussen & Williams, *Gaussian processes for machine learning* (2006), equations 2.25 and
        2.26; Lee et al., *Deep neural networks as Gaussian processes* (2018), equations 8 and 9.
    """
    given = problem(k_train, targets, k_test_train)
    noise = not_negative("noise", noise, given.train.dtype)
    prior, _ = flat_kernel(k_test, "the kernel of the test set")
    wanted = (*jnp.shape(k_test_train)[: jnp.ndim(k_train) // 2],) * 2
    if jnp.shape(k_test) != wanted:
        raise UserError(
            f"the kernel of the test set has shape {jnp.shape(k_test)}, but that of test and "
            f"training set {jnp.shape(k_test_train)}; give {wanted}"
        )
    if not isinstance(prior, jax.core.Tracer):
        rounding = relative_cutoff(cutoff, prior)
        require_symmetric(np.asarray(prior), rounding, "the kernel of the test set")
    system = eigensystem(given.train, cutoff)
    with jax.default_matmul_precision("highest"):
        rotated = given.cross @ system.vectors
        explained = (rotated * _inverse(system, noise)[None, :]) @ rotated.T
    mean = given.on_test(_coefficients(given, system, noise))
    covariance = prior.astype(given.train.dtype) - explained
    return Posterior(mean, covariance.reshape(wanted))


def rkhs_norm(
    k_train: jax.Array,
    targets: jax.Array,
    ridge: Number = 0.0,
    *,
    f0_train: jax.Array | None = None,
    cutoff: Number | None = None,
) -> jax.Array:
    """Return the kernel's own norm of ``f − f0`` for the regression's solution f.

    It is ``sqrt(αᵀ K α)``, ``α = G⁻¹ (y − f0)``, all outputs together. Where the kernel is a linear
    model's own it equals ``‖θ − θ0‖``: the least that parameters must move to fit the targets.

    Args:
        k_train: Shape (n, n) or (n, k, n, k).
        targets: Shape (n, k).
        ridge: As in ``ridge_regression``.
        f0_train: As in ``ridge_regression``.
        cutoff: As in ``ridge_regression``.

    Returns:
        A scalar, in units of the outputs over the root of the kernel's.

    Raises:
        UserError: As ``ridge_regression``.
    """
    given = problem(k_train, targets, f0_train=f0_train)
    ridge = not_negative("ridge", ridge, given.train.dtype)
    system = eigensystem(given.train, cutoff)
    with jax.default_matmul_precision("highest"):
        components = (system.vectors.T @ given.residual) * _inverse(system, ridge)[:, None]
    return jnp.sqrt(jnp.sum(system.values[:, None] * jnp.square(components)))


def _inverse(system: Eigensystem, ridge: jax.Array) -> jax.Array:
    """Return the eigenvalues of ``(K + ridge)⁻¹``, zero where those of K + ridge are."""
    total = system.values + ridge
    kept = total > system.smallest
    return jnp.where(kept, 1 / jnp.where(kept, total, 1), 0)


def _coefficients(given: Problem, system: Eigensystem, ridge: jax.Array) -> jax.Array:
    """Return ``(K + ridge)⁻¹ (y − f0)``, shape (N, c)."""
    with jax.default_matmul_precision("highest"):
        components = system.vectors.T @ given.residual
        return system.vectors @ (_inverse(system, ridge)[:, None] * components)
