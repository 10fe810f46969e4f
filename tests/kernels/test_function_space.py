"""Oracles: SciPy's integrator, a linear model trained step by step, and the closed forms."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from implicit_bias.errors import UserError
from implicit_bias.kernels import gradient_descent, gradient_flow, loss_descent, loss_flow

RNG = np.random.default_rng(4)
N, M = 6, 3
FEATURES = RNG.normal(size=(N + M, 8))
GRAM = FEATURES @ FEATURES.T
K, K_CROSS = GRAM[:N, :N], GRAM[N:, :N]
TIMES = [20.0, 0.0, 3.0, 0.0, 60.0]
LABELS = np.array([0, 2, 1, 1, 0, 2])


def slope(outputs: np.ndarray) -> np.ndarray:
    """Return the gradient of the mean cross-entropy, written out."""
    weights = np.exp(outputs - outputs.max(1, keepdims=True))
    return (weights / weights.sum(1, keepdims=True) - np.eye(3)[LABELS]) / N


def test_cross_entropy_flow():
    # Broken by: a loss summed over examples, times out of order, or time zero.
    start = RNG.normal(size=(N + M, 3))
    rows = GRAM[:, :N]
    oracle = solve_ivp(
        lambda _, flat: -(rows @ slope(flat.reshape(-1, 3)[:N])).ravel(),
        (0, 60.0),
        start.ravel(),
        "DOP853",
        t_eval=sorted(set(TIMES)),
        rtol=1e-11,
        atol=1e-11,
    )
    order = [sorted(set(TIMES)).index(time) for time in TIMES]
    wanted = oracle.y.T.reshape(-1, N + M, 3)[order]
    options = {"k_test_train": K_CROSS, "f0_train": start[:N], "f0_test": start[N:]}
    flow = jax.jit(partial(loss_flow, loss="cross_entropy", times=TIMES))
    mine = flow(K, LABELS, **options)
    np.testing.assert_allclose(mine.train, wanted[:, :N], atol=2e-7)
    np.testing.assert_allclose(mine.test, wanted[:, N:], atol=2e-7)
    # The same as a full kernel, with vectors for targets, in single precision: broken by a tolerance
    # below rounding, at which the integrator would stand still.
    full, cross = (np.einsum("ij,ab->iajb", kernel, np.eye(3)) for kernel in (K, K_CROSS))
    single = [jnp.asarray(array, jnp.float32) for array in (full, np.eye(3)[LABELS], cross)]
    apart = flow(*single[:2], **{**options, "k_test_train": single[2]})
    assert apart.train.dtype == apart.test.dtype == jnp.float32
    np.testing.assert_allclose(apart.train, wanted[:, :N], atol=2e-3)
    np.testing.assert_allclose(apart.test, wanted[:, N:], atol=2e-3)


def test_outputs_begin_at_zero():
    # Broken by: a number of outputs that is not the targets', the full kernel's or the loss's.
    full = np.einsum("ij,ab->iajb", K, np.eye(3))
    for kernel, targets, loss, outputs in (
        (K, np.eye(3)[LABELS], "cross_entropy", 3),
        (full, LABELS, "cross_entropy", 3),
        (K, LABELS // 2, "logistic", 1),
    ):
        begun = jax.eval_shape(partial(loss_descent, kernel, targets, loss, [0]), 0.1).train
        assert begun.shape == (1, N, outputs)


def test_squared_loss_has_a_closed_form():
    # Broken by: momentum or a step that differ between the two, or an integrator that is loose.
    targets, start = RNG.normal(size=(N, 2)), RNG.normal(size=(N + M, 2))
    options = {"k_test_train": K_CROSS, "f0_train": start[:N], "f0_test": start[N:]}
    steps, rate, momenta = [50, 0, 3, 3, 400], 0.2, (0.0, 0.7)

    @jax.jit
    def both():
        flows = (
            gradient_flow(K, targets, TIMES, **options),
            loss_flow(K, targets, "squared", TIMES, **options),
        )
        descents = [
            (
                gradient_descent(K, targets, steps, rate, momentum=momentum, **options),
                loss_descent(K, targets, "squared", steps, rate, momentum=momentum, **options),
            )
            for momentum in momenta
        ]
        return flows, descents

    flows, descents = both()
    for (closed, mine), apart in ((flows, 2e-7), *((pair, 1e-10) for pair in descents)):
        np.testing.assert_allclose(mine.train, closed.train, atol=apart)
        np.testing.assert_allclose(mine.test, closed.test, atol=apart)


def test_logistic_descent_is_the_linear_models():
    # Broken by: outputs that are not moved by the gradient at the same step.
    labels = np.array([0, 1, 1, 0, 1, 0])
    theta, rate, path = np.zeros(8), 0.3, []
    for _ in range(31):
        path.append(FEATURES @ theta)
        chance = 1 / (1 + np.exp(-path[-1][:N]))
        theta = theta - rate * FEATURES[:N].T @ (chance - labels) / N
    run = jax.jit(
        lambda steps: loss_descent(K, labels, "logistic", steps, rate, k_test_train=K_CROSS)
    )
    mine = run(jnp.array([30, 5]))
    np.testing.assert_allclose(mine.train[:, :, 0], np.stack([path[30], path[5]])[:, :N])
    np.testing.assert_allclose(mine.test[:, :, 0], np.stack([path[30], path[5]])[:, N:])


BINARY = LABELS % 2


@pytest.mark.parametrize(
    ("call", "tells"),
    [
        (lambda: loss_flow(K, LABELS, "crossentropy", [1.0]), "did you mean 'cross_entropy'"),
        (lambda: loss_flow(K, LABELS, "cross_entropy", [1.0]), "give f0_train of shape"),
        (lambda: loss_flow(K, LABELS[:3], "logistic", [1.0]), "give outputs"),
        (lambda: loss_flow(K, BINARY, "logistic", [-1.0]), "give times >= 0"),
        (lambda: loss_flow(K, BINARY, "logistic", [1.0], tolerance=1e-17), "at least 8.9e-16"),
        (lambda: loss_flow(K, BINARY, "logistic", [1.0], tolerance=np.inf), "tolerance is inf"),
        (lambda: loss_flow(K, BINARY + 1, "logistic", [1.0]), "class number 2; .* takes 0 to 1"),
        (lambda: loss_descent(K, BINARY - 1, "logistic", [1], 0.1), "class number -1"),
        (
            lambda: loss_flow(
                K, LABELS + 1, "cross_entropy", [1.0], f0_train=np.zeros((len(K), 3))
            ),
            "class number 3; loss 'cross_entropy' with 3 outputs takes 0 to 2",
        ),
        (
            lambda: loss_flow(K, LABELS * 1.0, "squared", [1.0]),
            r"and type float.*; give target vectors of shape \(n, k\), or class numbers as integers",
        ),
        (lambda: loss_flow(K, np.full((len(K), 1), np.nan), "squared", [1.0]), "not finite"),
        (lambda: loss_flow(-K, BINARY, "logistic", [1.0]), "not positive semidefinite"),
        (lambda: loss_flow(K[:3], BINARY, "logistic", [1.0]), "give a square one"),
        (lambda: loss_descent(K, BINARY, "logistic", [0.5], 0.1), "whole numbers"),
        (lambda: loss_descent(K, BINARY, "logistic", [1], -0.1), "step_size >= 0"),
    ],
)
def test_bad_requests(call, tells):
    # Broken by: a check that is missing or comes after JAX's.
    with pytest.raises(UserError, match=tells) as caught:
        call()
    assert "\n" not in str(caught.value)
