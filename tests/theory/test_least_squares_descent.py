"""Descent on least squares in closed form against updates written out, Optax, and draws."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from implicit_bias import optimizers, theory
from implicit_bias.errors import UserError
from tests.theory.test_least_squares import problem

RULES = [(0.0, False), (0.5, False), (0.9, False), (0.5, True), (0.9, True)]


def iterate(
    x: np.ndarray, y: np.ndarray, start: np.ndarray, count: int, step: float, beta: float, nesterov: bool
) -> np.ndarray:  # fmt: skip
    """Updates written out."""
    w, m = start, np.zeros_like(start)
    path = [w]
    for _ in range(count):
        slope = x.T @ (x @ w - y)
        m = beta * m + slope
        w = w - step * ((slope + beta * m) if nesterov else m)
        path.append(w)
    return np.stack(path)


@pytest.mark.parametrize(("beta", "nesterov"), RULES)
def test_iterates_are_those_written_out(beta: float, nesterov: bool) -> None:
    # Breaks if a root, the first update, or where momentum enters is another; beyond the limit as below it.
    x, y, start = problem(5, 8, 4)
    design = theory.modes(x)
    limit = theory.step_limit(design, beta, nesterov)
    for fraction in (0.1, 0.8, 0.999, 1.05):
        step = fraction * limit
        path = iterate(x, y, start, 80, step, beta, nesterov)
        found = theory.descent(design, y, np.arange(81), step, beta, nesterov, start)
        size = np.linalg.norm(path - path[0], axis=1).max()
        np.testing.assert_allclose(found, path, atol=1e-11 * size)
        assert theory.leaves_row_space(design, path[-1], start) < 1e-12


@given(
    lam=st.floats(0, 3), step=st.floats(0.01, 1.5), beta=st.sampled_from([0.0, 0.25, 0.81, 0.9]),
    nesterov=st.booleans(), t=st.integers(0, 60),
)  # fmt: skip
@settings(deadline=None, max_examples=150)
def test_a_mode_follows_its_recurrence(
    lam: float, step: float, beta: float, nesterov: bool, t: int
) -> None:
    # Breaks for roots that agree, are of different sign, negative, or zero.
    e, m, size = 1.0, 0.0, 1.0
    for _ in range(t):
        slope = lam * e
        m = beta * m + slope
        e = e - step * ((slope + beta * m) if nesterov else m)
        size = max(size, abs(e))
    found = theory.mode_factors([lam], t, step, beta, nesterov)[0]
    assert found == pytest.approx(e, abs=1e-9 * size)


def test_equal_roots_are_no_exception() -> None:
    # ηλ = (1 − √β)² makes the heavy ball's roots agree: p_t = √β^t (1 + t (1 − √β)) by hand.
    t = np.arange(30)
    for nudge in (0.0, 1e-15, 1e-9):
        found = theory.mode_factors([0.01 * (1 + nudge)], t, 1.0, 0.81)[:, 0]
        np.testing.assert_allclose(found, 0.9**t * (1 + t * 0.1), rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "heavy_ball", "nesterov"])
def test_iterates_are_the_engines_own(name: str) -> None:
    # Breaks if closed form and trained lanes mean different things by momentum.
    x, y, start = problem(4, 6, 4, 3)
    design = theory.modes(x)
    beta = 0.0 if name == "sgd" else 0.7
    with jax.enable_x64(True):
        given = {"step_size": 0.02, "weight_decay": 0.0, "decoupled_weight_decay": 0.0}
        given |= {} if name == "sgd" else {"momentum": beta}
        transform = optimizers.get(name).build(
            optimizers.Schedule(), {key: jnp.asarray(value) for key, value in given.items()}
        )
        w = jnp.asarray(start)
        state = transform.init(w)
        for _ in range(12):
            update, state = transform.update(x.T @ (x @ w - y), state, w)
            w = w + update
    found = theory.descent(design, y, 12, 0.02, beta, name == "nesterov", start)
    np.testing.assert_allclose(found, np.asarray(w), atol=1e-12)


@pytest.mark.parametrize(("beta", "nesterov"), RULES)
def test_limits_are_where_descent_stops_to_converge(beta: float, nesterov: bool) -> None:
    # Breaks if a limit is wrong by a constant: one per mille below it converges, one above it does not.
    x, y, start = problem(5, 8, 5, 4)
    design = theory.modes(x)
    limit = theory.step_limit(design, beta, nesterov)
    assert theory.contraction(design, 0.999 * limit, beta, nesterov) < 1
    assert theory.contraction(design, 1.001 * limit, beta, nesterov) > 1
    expected = np.linalg.pinv(x) @ (y - x @ start) + start
    for fraction in (0.3, 0.9):
        np.testing.assert_allclose(
            theory.descent(design, y, 10**6, fraction * limit, beta, nesterov, start), expected, atol=1e-9
        )  # fmt: skip
        np.testing.assert_allclose(
            theory.descent_limit(design, y, fraction * limit, beta, nesterov, start), expected, atol=1e-9
        )  # fmt: skip
    # In the long run the distance falls by the contraction.
    step = 0.9 * limit
    far = theory.descent(design, y, [400, 800], step, beta, nesterov, start) - expected
    rate = np.log(np.linalg.norm(far[1]) / np.linalg.norm(far[0])) / 400
    if np.linalg.norm(far[1]) > 1e-12:
        assert rate == pytest.approx(
            np.log(theory.contraction(design, step, beta, nesterov)), abs=0.01
        )


def test_the_best_steps_are_best() -> None:
    # Breaks if κ and √κ are confused: (κ − 1)/(κ + 1) and (√κ − 1)/(√κ + 1).
    design = theory.modes(np.diag([10.0, 3.0, 1.0]))
    step = theory.best_step(design)
    assert theory.contraction(design, step) == pytest.approx(99 / 101)
    for factor in (0.99, 1.01):
        assert theory.contraction(design, factor * step) > 99 / 101
    step, beta = theory.best_heavy_ball(design)
    # At equal roots the root's rounding error is the square root of float64's.
    assert theory.contraction(design, step, beta) == pytest.approx(9 / 11, abs=1e-6)
    for other in (0.99 * beta, 1.01 * beta):
        assert theory.contraction(design, step, other) > 9 / 11 - 1e-3


def test_a_metric_moves_the_limit() -> None:
    # Breaks if the limit is nearest in P instead of P⁻¹, or the start is not carried along.
    x, y, start = problem(3, 6, 3, 5)
    design = theory.modes(x)
    rng = np.random.default_rng(0)
    square = rng.standard_normal((6, 6))
    for metric in (rng.uniform(0.2, 3, 6), square @ square.T + np.eye(6)):
        p = np.diag(metric) if metric.ndim == 1 else metric
        w = start
        step = 1 / np.linalg.eigvalsh(x @ p @ x.T)[-1]
        for _ in range(6000):
            w = w - step * p @ x.T @ (x @ w - y)
        found = theory.preconditioned_limit(design, y, metric, start)
        np.testing.assert_allclose(found, w, atol=1e-8)
        # A linear system of optimality: P⁻¹(w − w₀) = Xᵀν, Xw = y.
        whole = np.block([[np.linalg.inv(p), -x.T], [x, np.zeros((3, 3))]])
        solved = linalg.solve(whole, np.r_[np.linalg.inv(p) @ start, y])[:6]
        np.testing.assert_allclose(found, solved, atol=1e-8)
    np.testing.assert_allclose(
        theory.preconditioned_limit(design, y, np.ones(6)), theory.minimum_norm(design, y), atol=1e-12
    )  # fmt: skip


@pytest.mark.parametrize(("m", "n", "batch"), [(6, 9, 1), (6, 9, 3), (6, 4, 2), (6, 9, 6)])
def test_mini_batches_contract_as_draws_do(m: int, n: int, batch: int) -> None:
    # Breaks if batches are drawn otherwise, or the diagonal of the second moment has another weight.
    x, _, start = problem(m, n, min(m, n), 6)
    design = theory.modes(x)
    step = 0.6 * theory.mean_square_limit(design, batch)
    kernel = x @ x.T
    # The second moment after eight updates, over 40,000 walks, against the map written with masks.
    rng = np.random.default_rng(1)
    walks = np.tile(x @ start, (40_000, 1))
    masks = [np.eye(m)[list(rows)].sum(axis=0) for rows in combinations(range(m), batch)]
    for _ in range(8):
        chosen = np.stack(masks)[rng.integers(0, len(masks), len(walks))]
        walks = walks - step / batch * (walks * chosen) @ kernel
    second = np.outer(x @ start, x @ start)
    operator = np.mean(
        [np.kron(a, a) for a in (np.eye(m) - step / batch * kernel * mask for mask in masks)], axis=0
    )  # fmt: skip
    for _ in range(8):
        second = (operator @ second.ravel()).reshape(m, m)
    squares = np.sum(walks**2, axis=1)
    assert squares.mean() == pytest.approx(
        np.trace(second), abs=5 * squares.std() / np.sqrt(len(walks)) + 1e-9
    )
    # On what X can reach, the largest eigenvalue of that map is the factor.
    basis = np.kron(design.left, design.left)
    radius = np.max(np.abs(np.linalg.eigvals(basis.T @ operator @ basis)))
    found = theory.mean_square_contraction(design, batch, step)
    assert found == pytest.approx(radius, rel=1e-6)


def test_limits_of_batches_lie_between_the_safe_one_and_that_of_all() -> None:
    # Breaks if a limit is of sums instead of means.
    x, _, _ = problem(8, 12, 8, 7)
    design = theory.modes(x)
    limits = [theory.mean_square_limit(design, batch) for batch in (1, 2, 4, 8)]
    assert (np.diff(limits) > 0).all()
    assert theory.safe_batch_step(x) == pytest.approx(2 / np.max(np.sum(x**2, axis=1)))
    assert limits[0] > theory.safe_batch_step(x)
    assert limits[-1] == pytest.approx(8 * theory.step_limit(design), rel=1e-6)
    for batch, limit in zip((1, 4), (limits[0], limits[2]), strict=True):
        assert theory.mean_square_contraction(design, batch, 0.99 * limit) < 1
        assert theory.mean_square_contraction(design, batch, 1.01 * limit) > 1


def test_bad_inputs_get_one_line() -> None:
    x, y, _ = problem(3, 5, 3)
    design = theory.modes(x)
    limit = theory.step_limit(design)
    calls: list[tuple[Any, str]] = [
        (lambda: theory.check_step(design, 1.5 * limit),
         f"step_size is {1.5 * limit:.6g}, but descent on this design converges only below 2/λmax, "
         f"which is "
         f"{limit:.6g}; choose a smaller one"),
        (lambda: theory.descent_limit(design, y, 2 * limit, 0.5), f"step_size is {2 * limit:.6g}, but"),
        (lambda: theory.descent_limit(design, y, 2 * limit, 0.5, True), f"step_size is "
            f"{2 * limit:.6g}, but"),
        (lambda: theory.check_step(design, 0.0), "step_size is 0; choose a positive one"),
        (lambda: theory.step_limit(design, 1.0), "momentum is 1; choose at least 0 and less than 1"),
        (lambda: theory.mode_factors([1.0], -1, 0.1), "updates is -1; choose at least 0"),
        (lambda: theory.preconditioned_limit(design, y, -np.ones(5)), "metric is not positive definite"),
        (lambda: theory.preconditioned_limit(design, y, np.ones(4)), "metric has shape (4,)"),
        (lambda: theory.mean_square_contraction(design, 4, 0.1), "batch_size is 4, but there are 3"),
    ]  # fmt: skip
    for call, said in calls:
        with pytest.raises(UserError) as caught:
            call()
        assert str(caught.value).startswith(said)
