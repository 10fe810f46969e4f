"""Training of a linearised network on any loss, followed in its outputs.

With K the tangent kernel and L the mean of a loss of this package over n examples, gradient flow is
``df/dt = −K ∂L/∂f`` and a step of gradient descent ``f ← f − η K ∂L/∂f``, on the training set and,
with the kernel of test against training set, on any other. The squared loss has a closed form
(``kernels.descent``); cross-entropy and the logistic loss have none, and no limit either: outputs of
examples that can be told apart grow without bound, so a finite time must be said.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from implicit_bias import losses
from implicit_bias.arguments import as_numbers
from implicit_bias.errors import UserError
from implicit_bias.kernels.descent import (
    checked_momentum,
    checked_steps,
    checked_times,
)
from implicit_bias.kernels.problem import (
    Outputs,
    Problem,
    not_negative,
    problem,
    real_numbers,
    require_kernel,
)
from implicit_bias.losses import Loss

Number = float | jax.Array
State = tuple[jax.Array, jax.Array]


def loss_flow(
    k_train: jax.Array,
    targets: jax.Array,
    loss: str | Loss,
    times: jax.Array,
    *,
    k_test_train: jax.Array | None = None,
    f0_train: jax.Array | None = None,
    f0_test: jax.Array | None = None,
    tolerance: float | None = None,
    cutoff: Number | None = None,
) -> Outputs:
    """Integrate gradient flow of a loss in function space.

    By the adaptive method of Dormand and Prince. It is explicit: the number of its steps grows as
    ``λ_max t / n``, the largest eigenvalue times the time, where the loss's curvature is of order 1.

    Args:
        k_train: Shape (n, n), shared by the outputs, or (n, k, n, k).
        targets: Class numbers, shape (n,), integer; or target vectors, shape (n, k), floating.
        loss: A loss, or its name.
        times: Shape (T,), at least 0, finite, in any order; step size times steps.
        k_test_train: Kernel of test against training set, shape (m, n) or (m, k, n, k).
        f0_train: Outputs at time 0, shape (n, k); by default zero, and then k is the targets', the
            full kernel's, or 1 for ``"logistic"``.
        f0_test: The same on the test set, shape (m, k).
        tolerance: Error allowed in a step, in outputs that are below 1 and relative to others; by
            default 1e-10 in double precision and 1e-5 in single.
        cutoff: How far below zero rounding may bring an eigenvalue, as a fraction of the largest; by
            default N times the dtype's epsilon.

    Returns:
        Outputs at each time, in the kernel's dtype.

    Raises:
        UserError: If shapes do not fit, the loss is unknown or does not suit the targets, class
            numbers are known to be none of this loss's, a time is negative, or a kernel whose values
            are known is not symmetric and positive semidefinite.

    References:
        Lee et al., *Wide neural networks of any depth evolve as linear models* (2019), equation 4;
        Dormand & Prince, *A family of embedded Runge–Kutta formulae* (1980).
    """
    from jax.experimental.ode import odeint

    function, wanted, given = _given(k_train, targets, loss, k_test_train, f0_train, f0_test)
    at = checked_times(times, given.train.dtype)
    allowed = _tolerance(tolerance, given.train.dtype)
    require_kernel(given.train, cutoff)
    # The test set moves along with the training set, so that the error of both is controlled.
    sets = [(given.train, given.start_train)]
    if k_test_train is not None:
        sets.append((given.cross, given.start_test))
    columns = given.residual.shape[1]
    kernels = jnp.concatenate([kernel for kernel, _ in sets])
    start = jnp.concatenate([outputs.reshape(-1, columns) for _, outputs in sets])
    n = given.train.shape[0]

    def velocity(flat: jax.Array, _: jax.Array, kernels: jax.Array, wanted: jax.Array) -> jax.Array:
        outputs = flat[:n].reshape(given.start_train.shape)
        gradient = _gradient(function, outputs, wanted).reshape(n, columns)
        return -jnp.matmul(kernels, gradient, precision=jax.lax.Precision.HIGHEST)

    order = jnp.argsort(at)
    ends = jnp.concatenate([jnp.zeros((1,), at.dtype), at[order]])
    path = odeint(velocity, start, ends, kernels, wanted, rtol=allowed, atol=allowed)[1:]
    # The integrator interpolates between its steps, of which there is none yet at time zero.
    path = jnp.where((ends[1:] > 0)[:, None, None], path, start[None])[jnp.argsort(order)]
    train = path[:, :n].reshape(-1, *given.start_train.shape)
    if k_test_train is None:
        return Outputs(train, None)
    return Outputs(train, path[:, n:].reshape(-1, *given.start_test.shape))


def loss_descent(
    k_train: jax.Array,
    targets: jax.Array,
    loss: str | Loss,
    steps: jax.Array,
    step_size: Number,
    *,
    momentum: Number = 0.0,
    k_test_train: jax.Array | None = None,
    f0_train: jax.Array | None = None,
    f0_test: jax.Array | None = None,
    cutoff: Number | None = None,
) -> Outputs:
    """Run gradient descent on a loss in function space, step by step.

    A step costs one product with the training kernel; the test set costs one for each entry of
    ``steps``.

    Args:
        k_train: Shape (n, n), shared by the outputs, or (n, k, n, k).
        targets: Class numbers, shape (n,), integer; or target vectors, shape (n, k), floating.
        loss: A loss, or its name.
        steps: Shape (T,), whole numbers, at least 0, in any order; may be traced.
        step_size: That of the network, at least 0.
        momentum: Of the heavy ball, as in ``gradient_descent``.
        k_test_train: Kernel of test against training set, shape (m, n) or (m, k, n, k).
        f0_train: Outputs before training, shape (n, k); by default as in ``loss_flow``.
        f0_test: The same on the test set, shape (m, k).
        cutoff: As in ``loss_flow``.

    Returns:
        Outputs after each number of steps, in the kernel's dtype.

    Raises:
        UserError: As ``loss_flow``, or if steps are not whole numbers, or step size or momentum are
            out of range.
    """
    function, wanted, given = _given(k_train, targets, loss, k_test_train, f0_train, f0_test)
    counts = checked_steps(steps)
    rate = not_negative("step_size", step_size, given.train.dtype)
    decay = checked_momentum(momentum, given.train.dtype)
    require_kernel(given.train, cutoff)

    def step(_: jax.Array, state: State) -> State:
        coefficients, velocity = state
        outputs = given.on_train(coefficients)
        pull = _gradient(function, outputs, wanted).reshape(velocity.shape)
        velocity = decay * velocity + pull
        return coefficients - rate * velocity, velocity

    def stretch(carry: tuple[State, jax.Array], end: jax.Array) -> Any:
        state, begin = carry
        state = jax.lax.fori_loop(begin, end, step, state)
        return (state, end), state[0]

    order = jnp.argsort(counts)
    start = jnp.zeros_like(given.residual)
    begin = ((start, start), jnp.zeros((), counts.dtype))
    _, path = jax.lax.scan(stretch, begin, counts[order])
    path = path[jnp.argsort(order)]
    return Outputs(given.on_train(path), None if k_test_train is None else given.on_test(path))


def _given(
    k_train: Any, targets: Any, loss: Any, k_test_train: Any, f0_train: Any, f0_test: Any
) -> tuple[Loss, jax.Array, Problem]:
    """Return the loss, the targets as it wants them, and a problem of residual zero."""
    function = losses.get(loss)
    wanted = real_numbers("targets", targets)
    classes = jnp.issubdtype(wanted.dtype, jnp.integer)
    if not classes and wanted.ndim != 2:
        raise UserError(
            f"targets has shape {wanted.shape} and type {wanted.dtype}; give target vectors of shape "
            "(n, k), or class numbers as integers of shape (n,)"
        )
    n = jnp.shape(k_train)[0] if jnp.ndim(k_train) else 0
    if f0_train is not None:
        k = jnp.shape(f0_train)[-1] if jnp.ndim(f0_train) == 2 else 0
    elif wanted.ndim == 2:
        k = wanted.shape[1]
    elif jnp.ndim(k_train) == 4:
        k = jnp.shape(k_train)[1]
    elif function == losses.LOGISTIC:
        k = 1
    else:
        raise UserError(
            f"targets are class numbers of shape {wanted.shape}, so the number of outputs is not "
            "known; give f0_train of shape (n, outputs), zeros for a network that starts there"
        )
    dtype = as_numbers("the kernel", k_train).dtype
    if not classes:
        wanted = wanted.astype(dtype)
    zero = jnp.zeros((n, k), dtype)
    given = problem(k_train, zero, k_test_train, f0_train, f0_test)
    jax.eval_shape(function.mean, given.start_train, wanted)  # refuses targets that do not suit
    if classes and not isinstance(wanted, jax.core.Tracer):
        _require_classes(function, np.asarray(wanted), given.start_train.shape[1])
    return function, wanted, given


def _require_classes(function: Loss, numbers: np.ndarray, outputs: int) -> None:
    """Refuse class numbers without an output, which the losses would take for no class at all.

    What another's loss makes of integers is its own affair.
    """
    counts = {losses.SQUARED: outputs, losses.CROSS_ENTROPY: outputs, losses.LOGISTIC: 2}
    count = counts.get(function)
    if count is None:
        return
    wrong = numbers[(numbers < 0) | (numbers >= count)]
    if wrong.size:
        raise UserError(
            f"targets has the class number {wrong[0]}; loss {function.name!r} with {outputs} "
            f"output{'s' if outputs > 1 else ''} takes 0 to {count - 1}: number the classes so"
        )


def _gradient(function: Loss, outputs: jax.Array, wanted: jax.Array) -> jax.Array:
    """Return the gradient of the mean loss with respect to the outputs, shape (n, k)."""
    return jax.grad(lambda f: function.mean(f, wanted))(outputs)


def _tolerance(tolerance: Any, dtype: jax.typing.DTypeLike) -> float:
    if tolerance is None:
        return 1e-10 if jnp.finfo(dtype).eps < 1e-12 else 1e-5
    least = float(4 * jnp.finfo(dtype).eps)
    # Below rounding no step would ever pass, and the integrator would stand still.
    if not isinstance(tolerance, float) or not least <= tolerance < float("inf"):
        raise UserError(
            f"tolerance is {tolerance!r}; choose a finite number of at least {least:.2g} for {dtype}"
        )
    return tolerance
