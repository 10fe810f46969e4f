"""Oracles: a linear model trained step by step, matrix exponentials, and laws that all must obey."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from implicit_bias import losses
from implicit_bias.errors import UserError
from implicit_bias.kernels import (
    gradient_descent,
    gradient_flow,
    ridge_regression,
    stable_step,
)

RNG = np.random.default_rng(3)
N, M, OUTPUTS = 6, 3, 2
Y = RNG.normal(size=(N, OUTPUTS))
COUNTS = [40, 0, 1, 7, 1000]


def linear_model(n_parameters: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features (n, k, p) of training and test set, and initial parameters."""
    rng = np.random.default_rng(n_parameters)
    return (
        rng.normal(size=(N, OUTPUTS, n_parameters)),
        rng.normal(size=(M, OUTPUTS, n_parameters)),
        rng.normal(size=n_parameters),
    )


def given_to(train: np.ndarray, test: np.ndarray, theta: np.ndarray) -> dict[str, np.ndarray]:
    cross = np.einsum("iap,jbp->iajb", test, train)
    return {"k_test_train": cross, "f0_train": train @ theta, "f0_test": test @ theta}


@jax.jit
def descend(kernel, rate, momentum, **options):
    return gradient_descent(kernel, Y, COUNTS, rate, momentum=momentum, **options)


@pytest.mark.parametrize(
    ("momentum", "n_parameters", "share"), [(0.0, 5, 0.999), (0.8, 20, 0.1), (0.8, 5, 0.999)]
)
def test_descent_is_the_linear_models(momentum, n_parameters, share):
    """The loop takes gradients of the package's loss; 5 parameters leave the kernel singular.

    Broken by: a loss scaled by outputs or by ½ twice, a step too many, momentum that is damped, an
    inverse of the kernel, or a start that is not the network's.
    """
    train, test, theta = linear_model(n_parameters)
    kernel = np.einsum("iap,jbp->iajb", train, train)
    rate = share * 2 * (1 + momentum) * N / np.linalg.eigvalsh(kernel.reshape(12, 12))[-1]
    outputs = descend(kernel, rate, momentum, **given_to(train, test, theta))
    moved, velocity, seen = theta, 0.0, {}
    for count in range(max(COUNTS) + 1):
        seen[count] = moved
        error = np.asarray(train @ moved - Y)
        velocity = momentum * velocity + np.einsum("ia,iap->p", error, train) / N
        moved = moved - rate * velocity
    for index, count in enumerate(COUNTS):
        np.testing.assert_allclose(outputs.train[index], train @ seen[count], atol=1e-9)
        np.testing.assert_allclose(outputs.test[index], test @ seen[count], atol=1e-9)


def test_the_loss_is_the_packages():
    # Broken by: a "squared" that is a sum over examples, or has no ½.
    start = RNG.normal(size=(N, OUTPUTS))
    slope = jax.jit(jax.grad(losses.get("squared").mean))(start, Y)
    once = jax.jit(lambda: gradient_descent(np.eye(N), Y, [1], 0.05, f0_train=start))()
    np.testing.assert_allclose(once.train[0], start - 0.05 * slope, atol=1e-14)
    assert once.test is None


@pytest.mark.parametrize("rank", [3, 6])
def test_flow_is_the_matrix_exponential(rank):
    # Broken by: time over or times n, or null directions of the kernel that move.
    features, start = RNG.normal(size=(N, rank)), RNG.normal(size=(N, OUTPUTS))
    kernel, times = features @ features.T, [30.0, 0.0, 1e-3, 2.0]
    options = {"k_test_train": kernel[:M], "f0_train": start, "f0_test": start[:M]}
    mine = jax.jit(lambda: gradient_flow(kernel, Y, times, **options))()
    for index, time in enumerate(times):
        left = scipy.linalg.expm(-kernel * time / N) @ (start - Y)
        np.testing.assert_allclose(mine.train[index], Y + left, atol=1e-12)
        np.testing.assert_allclose(mine.test[index], (Y + left)[:M], atol=1e-11)


def test_slow_modes_in_single_precision():
    """Modes that learn a millionth of a step size need double precision's answer, in single.

    Broken by: powers of one minus a small number, which single precision rounds to one.
    """
    values = np.array([2.0, 1e-4, 3e-7, 0.0], np.float32)
    kernel, targets = np.diag(values), np.ones((4, 1), np.float32)
    rate = 2.0
    run = jax.jit(
        lambda momentum: gradient_descent(
            kernel, targets, [20000], jnp.float32(rate), momentum=momentum, cutoff=0.0
        )
    )
    for momentum in (0.0, 0.9):
        exact = np.zeros(4)
        velocity = np.zeros(4)
        for _ in range(20000):
            velocity = momentum * velocity + (1 - exact) / 4
            exact = exact + rate * values.astype(float) * velocity
        mine = run(momentum)
        assert mine.train.dtype == jnp.float32
        np.testing.assert_allclose(mine.train[0, :, 0], exact, rtol=2e-5)
    flow = jax.jit(lambda: gradient_flow(kernel, targets, [40000.0], cutoff=0.0))()
    flow = flow.train[0, :, 0]
    np.testing.assert_allclose(flow, -np.expm1(-values.astype(float) * 1e4), rtol=1e-5)


def test_stability_ends_where_it_is_said():
    # Broken by: a threshold without n, the momentum, or the full kernel's own number of examples.
    kernel = np.diag([4.0, 1.0])
    run = jax.jit(
        lambda k, rate, momentum: gradient_descent(
            k, np.ones((2, 1)), [400, 800], rate, momentum=momentum
        )
    )
    np.testing.assert_allclose(stable_step(kernel), 1.0)
    np.testing.assert_allclose(stable_step(kernel, 10), 5.0)
    np.testing.assert_allclose(stable_step(kernel.reshape(1, 2, 1, 2)), 0.5)
    for momentum in (0.0, 0.5):
        edge = stable_step(kernel, momentum=momentum)
        for factor, grows in ((0.98, False), (1.02, True)):
            path = run(kernel, factor * edge, momentum)
            early, late = np.abs(np.asarray(path.train)[:, 0, 0] - 1)
            assert (late > early) == grows


@jax.jit
def predictions(kernel, start, time, factor):
    """Compile once what the laws are about."""
    options = {"k_test_train": kernel[:M], "f0_train": start, "f0_test": start[:M]}
    flow = gradient_flow(kernel, Y, jnp.stack([time, 0 * time, 0 * time + 1e4]), **options)
    end = ridge_regression(kernel, kernel[:M], Y, 0.0, f0_train=start, f0_test=start[:M])
    scaled = {**options, "k_test_train": factor * kernel[:M]}
    faster = gradient_flow(factor * kernel, Y, (time / factor)[None], **scaled)

    def small_steps(momentum):
        rate = (1 - momentum) * time / 2**20
        return gradient_descent(kernel, Y, [2**20], rate, momentum=momentum, **options)

    return flow, end, faster, [small_steps(momentum) for momentum in (0.0, 0.5)]


problems = st.tuples(st.integers(0, 2**31), st.floats(0.1, 10.0), st.floats(0.01, 5.0))


@given(problems)
@settings(max_examples=15, deadline=None)
def test_laws(drawn):
    """Laws of a well-conditioned kernel; shapes stay, so that nothing is compiled twice.

    Broken by: any scale that enters at the wrong place.
    """
    seed, factor, time = drawn
    rng = np.random.default_rng(seed)
    features, start = rng.normal(size=(N, N)), rng.normal(size=(N, OUTPUTS))
    kernel = features @ features.T + np.eye(N)
    flow, end, faster, descents = predictions(kernel, start, time, factor)
    # It begins at f0 and ends where the ridgeless regression is.
    np.testing.assert_allclose(flow.train[1], start, atol=1e-13)
    np.testing.assert_allclose(flow.test[1], start[:M], atol=1e-13)
    np.testing.assert_allclose(flow.test[2], end, atol=1e-10)
    # A kernel times a factor is time times the factor.
    np.testing.assert_allclose(faster.train[0], flow.train[0], atol=1e-10)
    np.testing.assert_allclose(faster.test[0], flow.test[0], atol=1e-10)
    # Small steps are the flow, up to their size; heavy ones are it 1/(1 - momentum) times as fast.
    for descent in descents:
        np.testing.assert_allclose(descent.train[0], flow.train[0], atol=1e-3)
        np.testing.assert_allclose(descent.test[0], flow.test[0], atol=1e-3)


@pytest.mark.parametrize(
    ("call", "tells"),
    [
        (lambda k: gradient_flow(k, Y, [-1.0]), "times has a value that is negative"),
        (lambda k: gradient_flow(k, Y, [np.inf]), "not finite; give times >= 0"),
        (lambda k: gradient_flow(k, Y, 1.0), "give a list of at least one"),
        (lambda k: gradient_descent(k, Y, [1.5], 0.1), "give a list of whole numbers"),
        (lambda k: gradient_descent(k, Y, [-1], 0.1), "numbers of steps >= 0"),
        (lambda k: gradient_descent(k, Y, [1], -0.1), "choose a finite step_size >= 0"),
        (lambda k: gradient_descent(k, Y, [1], 0.1, momentum=1.0), "0 <= momentum < 1"),
        (lambda k: gradient_descent(k, Y[:3], [1], 0.1), "targets has shape"),
        (lambda k: stable_step(k, 0), "n is 0; give the number of examples, n >= 1"),
        (lambda k: stable_step(k, -1), "n is -1; give"),
        (lambda k: stable_step(k, 2.5), "n is 2.5; give a whole number"),
        (lambda k: stable_step(k, True), "n is True; give a whole number"),
        (lambda k: stable_step(k, "a"), "n is 'a'; give a whole number"),
    ],
)
def test_bad_requests(call, tells):
    # Broken by: a check that is missing: all of these would give numbers.
    with pytest.raises(UserError, match=tells) as caught:
        call(jnp.eye(N))
    assert "\n" not in str(caught.value)


def test_traced():
    # Broken by: values looked at while traced, or counts of which only few digits are used.
    kernel = jnp.eye(N)
    run = jax.jit(lambda k, steps, rate: gradient_descent(k, Y, steps, rate).train)
    eager = gradient_descent(kernel, Y, [3, 100], 0.5).train
    np.testing.assert_allclose(run(kernel, jnp.array([3, 100]), 0.5), eager, atol=1e-14)
