"""Training of a linearised network on the squared loss, at any finite time in closed form.

This package's ``"squared"`` loss is the mean over n examples of ½ ‖f − y‖². A network that is linear
in its parameters, trained on it by full-batch gradient descent at step size η, has outputs

    f_t(x) = f0(x) + K(x, X) q_t(K) (y − f0(X)),    q_t(λ) = (1 − (1 − η λ / n)^t) / λ,

with K its tangent kernel, ``J(x) J(X)ᵀ`` without a factor 1/n; so have other networks as far as they
are lazy, with K at initialisation. Under the gradient flow at time t, ``q_t(λ) = (1 − exp(−λ t /
n)) / λ``: a step is η of the flow's time. Nothing is inverted: as λ → 0, q_t tends to η t / n.

For a network the kernel must be its own: that of the parameterisation and widths which are trained
(``"standard"``'s grows with the width, and its step size shrinks as it must).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias.arguments import as_numbers, require_whole
from implicit_bias.errors import UserError
from implicit_bias.kernels.problem import (
    Outputs,
    Problem,
    eigensystem,
    flat_kernel,
    not_negative,
    problem,
)

Number = float | jax.Array


def gradient_flow(
    k_train: jax.Array,
    targets: jax.Array,
    times: jax.Array,
    *,
    k_test_train: jax.Array | None = None,
    f0_train: jax.Array | None = None,
    f0_test: jax.Array | None = None,
    cutoff: Number | None = None,
) -> Outputs:
    """Return the outputs of gradient flow on the squared loss at given times.

    Args:
        k_train: Shape (n, n), shared by the outputs, or (n, k, n, k).
        targets: Shape (n, k).
        times: Shape (T,), at least 0, finite, in any order; step size times steps.
        k_test_train: Kernel of test against training set, shape (m, n) or (m, k, n, k).
        f0_train: Outputs at time 0, shape (n, k); by default zero.
        f0_test: The same on the test set, shape (m, k).
        cutoff: How far below zero rounding may bring an eigenvalue, as a fraction of the largest; by
            default N times the dtype's epsilon.

    Returns:
        Outputs at each time. The cost is one eigendecomposition, and T products.

    Raises:
        UserError: If shapes do not fit, a time is negative, or a kernel whose values are known is
            not symmetric and positive semidefinite.

    References:
        Lee et al., *Wide neural networks of any depth evolve as linear models* (2019), equations 8
        to 11, with a loss summed over examples.

    Example:
        >>> import jax.numpy as jnp
        >>> from implicit_bias import kernels
        >>> targets, times = jnp.array([[1.0], [2.0]]), jnp.array([0.0, 1.0, 1e6])
        >>> found = kernels.gradient_flow(jnp.eye(2), targets, times)
        >>> found.train.shape, found.train[-1].tolist()  # times, examples, outputs; the targets at the end
        ((3, 2, 1), [[1.0], [2.0]])
    """
    given = problem(k_train, targets, k_test_train, f0_train, f0_test)
    at = checked_times(times, given.train.dtype)
    values, vectors, _ = eigensystem(given.train, cutoff)
    reached = at[:, None] / given.examples()
    exponent = reached * values[None, :]
    small = exponent == 0
    # -expm1(-u)/u is accurate for every u > 0, however small.
    ratio = jnp.where(small, 1, -jnp.expm1(-exponent) / jnp.where(small, 1, exponent))
    return _outputs(given, values, vectors, reached * ratio, k_test_train is not None)


def gradient_descent(
    k_train: jax.Array,
    targets: jax.Array,
    steps: jax.Array,
    step_size: Number,
    *,
    momentum: Number = 0.0,
    k_test_train: jax.Array | None = None,
    f0_train: jax.Array | None = None,
    f0_test: jax.Array | None = None,
    cutoff: Number | None = None,
) -> Outputs:
    """Return the outputs of gradient descent on the squared loss after given numbers of steps.

    Any step size is allowed; above ``stable_step`` the outputs diverge, as the network's do.

    Args:
        k_train: Shape (n, n), shared by the outputs, or (n, k, n, k).
        targets: Shape (n, k).
        steps: Shape (T,), whole numbers, at least 0, in any order.
        step_size: That of the network, at least 0.
        momentum: Of the heavy ball, ``m ← momentum·m + g``, ``w ← w − η m``, as in the optimiser
            ``"heavy_ball"``; at least 0 and below 1.
        k_test_train: Kernel of test against training set, shape (m, n) or (m, k, n, k).
        f0_train: Outputs before training, shape (n, k); by default zero.
        f0_test: The same on the test set, shape (m, k).
        cutoff: As in ``gradient_flow``.

    Returns:
        Outputs after each number of steps. The cost is one eigendecomposition and T products,
        whatever the numbers of steps.

    Raises:
        UserError: As ``gradient_flow``, or if steps are not whole numbers, or step size or momentum
            are out of range.
    """
    given = problem(k_train, targets, k_test_train, f0_train, f0_test)
    counts = checked_steps(steps)
    rate = not_negative("step_size", step_size, given.train.dtype) / given.examples()
    decay = checked_momentum(momentum, given.train.dtype)
    values, vectors, _ = eigensystem(given.train, cutoff)
    filters = jax.vmap(lambda value: _after(value, rate, decay, counts), out_axes=1)(values)
    return _outputs(given, values, vectors, filters, k_test_train is not None)


def stable_step(kernel: jax.Array, n: int | None = None, *, momentum: Number = 0.0) -> jax.Array:
    """Return the step size at which descent on the squared loss ceases to converge.

    It is ``2 (1 + momentum) n / λ_max``: 2 over the largest eigenvalue of the loss's Hessian.

    Args:
        kernel: Shape (n, n) or (n, k, n, k), of the training set.
        n: Number of examples the loss is averaged over; by default the kernel's.
        momentum: As in ``gradient_descent``.

    Returns:
        A scalar; infinite for a kernel of zeros.

    Raises:
        UserError: As ``gradient_flow``, or if n is not a whole number >= 1.
    """
    if n is not None:
        require_whole("n", n)
        if n < 1:
            raise UserError(f"n is {n}; give the number of examples, n >= 1")
    matrix, _ = flat_kernel(kernel)
    values, _, _ = eigensystem(matrix)
    examples = jnp.shape(kernel)[0] if n is None else n
    return 2 * (1 + checked_momentum(momentum, matrix.dtype)) * examples / values[0]


def checked_times(times: Any, dtype: jax.typing.DTypeLike) -> jax.Array:
    """Return times (T,) in a dtype.

    Raises:
        UserError: If they are no list of numbers, or one is known and negative or not finite.
    """
    array = as_numbers("times", times)
    if array.ndim != 1 or not array.size:
        raise UserError(f"times has shape {array.shape}; give a list of at least one")
    if not isinstance(array, jax.core.Tracer):
        known = np.asarray(array)
        if not np.all((known >= 0) & np.isfinite(known)):
            raise UserError("times has a value that is negative or not finite; give times >= 0")
    return array.astype(dtype)


def checked_steps(steps: Any) -> jax.Array:
    """Return numbers of steps (T,) as integers.

    Raises:
        UserError: If they are no list of whole numbers, or one is known and negative.
    """
    array = as_numbers("steps", steps)
    if array.ndim != 1 or not array.size or not jnp.issubdtype(array.dtype, jnp.integer):
        raise UserError(
            f"steps has shape {array.shape} and type {array.dtype}; give a list of whole numbers"
        )
    if not isinstance(array, jax.core.Tracer) and np.min(np.asarray(array)) < 0:
        raise UserError("steps has a negative number; give numbers of steps >= 0")
    return array


def checked_momentum(momentum: Any, dtype: jax.typing.DTypeLike) -> jax.Array:
    """Return a heavy ball's momentum in a dtype.

    Raises:
        UserError: If it is known and not in [0, 1).
    """
    array = not_negative("momentum", momentum, dtype)
    if not isinstance(momentum, jax.core.Tracer) and momentum >= 1:
        raise UserError(f"momentum is {momentum}; choose 0 <= momentum < 1")
    return array


def _after(value: jax.Array, rate: jax.Array, decay: jax.Array, counts: jax.Array) -> jax.Array:
    """Return ``q_t`` of one eigenvalue after each count of steps.

    In the eigenvector's direction the solution's coefficient q and its velocity v follow

        v ← decay·v + rate·(1 − value·q),    q ← q + v,

    a fixed affine map, whose powers are put together from those that are powers of two. They are
    kept as differences D from the identity, ``(I + D)² = I + (2 D + D²)``: next to one, the slow
    modes' factors ``1 − rate·value`` would lose their digits.
    """
    pull, zero = -rate * value, jnp.zeros_like(value)
    difference = jnp.stack(
        [
            jnp.stack([pull, decay, rate]),
            jnp.stack([pull, decay - 1, rate]),
            jnp.stack([zero, zero, zero]),
        ]
    )
    start = jnp.zeros((counts.shape[0], 3), value.dtype).at[:, 2].set(1)

    def double(
        carry: tuple[jax.Array, jax.Array], bit: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        difference, state = carry
        moved = state + _times(state, difference.T)
        taken = (counts >> bit.astype(counts.dtype)) & 1 == 1
        state = jnp.where(taken[:, None], moved, state)
        return (2 * difference + _times(difference, difference), state), None

    (_, state), _ = jax.lax.scan(double, (difference, start), jnp.arange(_bits(counts)))
    return state[:, 0]


def _times(left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


def _bits(counts: jax.Array) -> int:
    """Return how many binary digits the largest count may have."""
    if isinstance(counts, jax.core.Tracer):
        return jnp.iinfo(counts.dtype).bits - int(jnp.issubdtype(counts.dtype, jnp.signedinteger))
    return int(np.max(np.asarray(counts))).bit_length()


def _outputs(
    given: Problem, values: jax.Array, vectors: jax.Array, filters: jax.Array, tested: bool
) -> Outputs:
    """Return the outputs that filters (T, N) of the eigenvalues make of the residual."""
    with jax.default_matmul_precision("highest"):
        components = filters[:, :, None] * (vectors.T @ given.residual)[None]
        change = vectors @ (values[None, :, None] * components)
        train = given.start_train[None] + change.reshape(-1, *given.start_train.shape)
        test = given.on_test(vectors @ components) if tested else None
    return Outputs(train, test)
