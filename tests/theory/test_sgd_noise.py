"""Noise of mini-batches and what it leaves: against enumeration, SciPy, quadrature and simulation."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad_vec
from scipy.linalg import expm, solve_continuous_lyapunov, solve_discrete_lyapunov

from implicit_bias import theory
from implicit_bias.errors import UserError

RNG = np.random.default_rng(5)
BASIS = np.linalg.qr(RNG.standard_normal((4, 4)))[0]
HESSIAN = (BASIS * [0.3, 1.0, 2.0, 5.0]) @ BASIS.T
ROOT = RNG.standard_normal((4, 4))
NOISE = ROOT @ ROOT.T  # commutes with nothing
X, Y = RNG.standard_normal((6, 2)), RNG.standard_normal(6)
START = np.asarray([1.0, -2.0, 0.5, 1.5])


@pytest.mark.parametrize("replacement", [False, True])
def test_the_covariance_of_a_batchs_gradient_is_that_over_all_batches(replacement: bool) -> None:
    # All batches written out. Breaks if a factor is that of the other kind, or the divisor is m.
    gradients = X * (X @ [0.3, -1.0] - Y)[:, None]
    for size in (1, 2, 6):
        draws = product(range(6), repeat=size) if replacement else combinations(range(6), size)
        if replacement and size == 6:
            continue
        means = np.asarray([gradients[list(draw)].mean(axis=0) for draw in draws])
        expected = np.cov(means.T, bias=True)  # of one batch of all, zero
        if len(means) == 1:
            expected = np.zeros((2, 2))
        found = theory.batch_covariance(gradients, size, replacement)
        np.testing.assert_allclose(found, expected, atol=1e-14)
        squares = np.mean(np.sum(means**2, axis=1))
        found_square = theory.mean_square_gradient(gradients, size, replacement)
        assert found_square == pytest.approx(squares, rel=1e-12)


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99])
def test_stationary_covariances_are_scipys(fraction: float) -> None:
    # SciPy's solver of S = ASAᵀ + Q, commuting or not. Breaks if the ηλλ term is missing or C is not turned.
    step = fraction * 2 / 5.0
    keep = np.eye(4) - step * HESSIAN
    for noise in (np.eye(4), HESSIAN, NOISE, np.outer(START, START)):
        expected = solve_discrete_lyapunov(keep, step**2 * noise)
        found = theory.stationary_covariance(HESSIAN, noise, step)
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(found, keep @ found @ keep + step**2 * noise, atol=1e-12)
        after, begun = np.zeros((4, 4)), theory.covariance_after(HESSIAN, noise, step, 3)
        for _ in range(3):
            after = keep @ after @ keep + step**2 * noise
        np.testing.assert_allclose(begun, after, atol=1e-12)


def test_covariances_of_the_process_are_scipys_and_an_integrals() -> None:
    # HS + SH = D and ∫ e^(−Hs) D e^(−Hs) ds. Breaks if a time or a factor of two is wrong.
    long = theory.process_covariance(HESSIAN, NOISE)
    np.testing.assert_allclose(long, solve_continuous_lyapunov(HESSIAN, NOISE), atol=1e-10)
    some = quad_vec(lambda s: expm(-HESSIAN * s) @ NOISE @ expm(-HESSIAN * s), 0, 0.7)[0]
    np.testing.assert_allclose(theory.process_covariance(HESSIAN, NOISE, 0.7), some, atol=1e-9)
    mean = theory.process_mean(HESSIAN, START, 0.7)
    np.testing.assert_allclose(mean, expm(-0.7 * HESSIAN) @ START, atol=1e-12)


def test_the_second_drift_gains_an_order() -> None:
    # At one time with steps halved, errors of means fall twofold and fourfold. Breaks if η/4 is another.
    errors: dict[str, list[float]] = {"first": [], "second": [], "wrong": []}
    for count in (100, 200):
        step = 1.0 / count
        exact = np.linalg.matrix_power(np.eye(4) - step * HESSIAN, count) @ START
        better = theory.second_order_hessian(HESSIAN, step)
        for name, drift in (
            ("first", HESSIAN),
            ("second", better),
            ("wrong", 2 * better - HESSIAN),
        ):
            errors[name].append(np.linalg.norm(theory.process_mean(drift, START, 1.0) - exact))
    ratios = {name: one[0] / one[1] for name, one in errors.items()}
    assert ratios["first"] == pytest.approx(2, rel=0.1)
    assert ratios["second"] == pytest.approx(4, rel=0.1)
    assert ratios["wrong"] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(("size", "replacement"), [(1, True), (2, True), (2, False), (5, False)])
def test_second_moments_of_least_squares_are_those_of_all_batches(
    size: int, replacement: bool
) -> None:
    # One update of all batches, averaged, written out: the fixed point must not move. Breaks if the noise's
    # dependence on w, a residual or the sampling factor is wrong.
    step = 0.2
    found = theory.least_squares_noise(X, Y, step, size, replacement, label_noise=0.4)
    best = np.linalg.lstsq(X, Y, rcond=None)[0]
    np.testing.assert_allclose(found.minimum, best)
    draws = list(product(range(6), repeat=size) if replacement else combinations(range(6), size))
    moved, noise = np.zeros((2, 2)), np.zeros((2, 2))
    for draw in draws:
        part, left = X[list(draw)], (Y - X @ best)[list(draw)]
        keep = np.eye(2) - step * part.T @ part / size
        push = part.T @ left / size
        fresh = 0.4**2 * part.T @ part / size**2
        moved += keep @ found.stationary @ keep + step**2 * (np.outer(push, push) + fresh)
        noise += np.outer(push, push) + fresh
    np.testing.assert_allclose(moved / len(draws), found.stationary, rtol=1e-10)
    np.testing.assert_allclose(noise / len(draws), found.noise, rtol=1e-10)
    # Without the dependence on w it is Lyapunov's, in the limit of small steps.
    small = theory.least_squares_noise(X, Y, 1e-4, size, replacement)
    plain = theory.stationary_covariance(small.hessian, small.noise, 1e-4)
    np.testing.assert_allclose(small.stationary, plain, rtol=1e-2)


def test_labels_that_are_fitted_leave_no_noise_and_limits_agree() -> None:
    # The other module's limit of convergence in mean square is where this one refuses.
    y = X @ [1.0, 2.0]
    limit = theory.mean_square_limit(theory.modes(X), 2)
    found = theory.least_squares_noise(X, y, 0.99 * limit, 2)
    assert np.abs(found.stationary).max() < 1e-25
    contraction = theory.mean_square_contraction(theory.modes(X), 2, 0.5 * limit)
    half = theory.least_squares_noise(X, y, 0.5 * limit, 2)
    assert half.contraction == pytest.approx(contraction, rel=1e-8)
    with pytest.raises(UserError, match="do not converge in mean square"):
        theory.least_squares_noise(X, y, 1.01 * limit, 2)


def test_densities_on_a_line_are_gibbs_and_inverse_noise() -> None:
    # Breaks if c stands for its root, or 2/η for 1/η: a Gaussian of variance ηc/2, and 1/c on flat ground.
    x = np.linspace(-4, 4, 4001)
    density = theory.line_density(x, x, np.full(x.shape, 3.0), 0.1)
    assert np.trapezoid(density * x**2, x) == pytest.approx(0.1 * 3 / 2, rel=1e-6)
    spread = 1 + x**2
    flat = theory.line_density(x, 0 * x, spread, 0.1)
    np.testing.assert_allclose(flat * spread, flat[0] * spread[0])


def test_epochs_end_on_the_modified_loss() -> None:
    # All orders of three batches, step halved: errors fall fourfold for L and eightfold with a quarter; twice
    # a quarter falls fourfold. Breaks if the coefficient or the time is another.
    parts = theory.batch_losses(X, Y, 3)
    start = np.asarray([2.0, -1.0])
    ratios = {}
    for name, coefficient in (("plain", 0.0), ("quarter", 0.25), ("half", 0.5)):
        errors = []
        for step in (2e-3, 1e-3):
            loss = theory.epoch_loss(parts, step, coefficient)
            end = theory.flow_end(loss, start, 3 * step)
            errors.append(np.linalg.norm(end - theory.epoch_end(parts, step, start)))
        ratios[name] = errors[0] / errors[1]
    assert ratios["plain"] == pytest.approx(4, rel=0.05)
    assert ratios["half"] == pytest.approx(4, rel=0.05)
    assert ratios["quarter"] == pytest.approx(8, rel=0.05)
    # The modified loss is L + (η/4) mean ‖∇L_k‖² as a function: its gradient by finite differences.
    w, loss = np.asarray([0.3, 0.7]), theory.epoch_loss(parts, 0.1)
    whole = theory.mean_loss(parts)

    def value(at: np.ndarray) -> float:
        squares = np.mean([np.sum(part.gradient(at) ** 2) for part in parts])
        return float(at @ whole.hessian @ at / 2 - whole.linear @ at + 0.1 / 4 * squares)

    for place in range(2):
        step = 1e-5 * np.eye(2)[place]
        slope = (value(w + step) - value(w - step)) / 2e-5
        assert loss.gradient(w)[place] == pytest.approx(slope, rel=1e-6)


def test_the_law_of_label_noise_is_the_penaltys_gradient() -> None:
    # −∇(λR) along uv = y by finite differences, for a small step. Breaks if λ or R has another factor.
    step, noise, label = 0.05, 0.3, 1.0
    u, v = 1.5, 1 / 1.5
    strength = theory.label_noise_strength(step, noise, 2)

    def penalty(at: np.ndarray) -> float:
        return strength * theory.label_noise_penalty([float(at @ at)], step)

    at, slope = np.asarray([u, v]), np.zeros(2)
    for place in range(2):
        push = 1e-6 * np.eye(2)[place]
        slope[place] = (penalty(at + push) - penalty(at - push)) / 2e-6
    change = -step * (2 * u * slope[0] - 2 * v * slope[1])
    path = theory.imbalance_path(u**2 - v**2, label, step, noise, 1, 2)
    assert path[1] - path[0] == pytest.approx(change, rel=1e-6)


def test_label_noise_balances_as_fast_as_the_law_says() -> None:
    # Every update taken, in float64, 400 runs. Breaks if r has not the residual's own variance: by a third.
    rng, step, noise, count = np.random.default_rng(0), 0.2, 0.4, 150
    u, v = np.full(400, 1.6), np.full(400, 1 / 1.6)
    first = u**2 - v**2
    for _ in range(count):
        left = u * v - 1 - noise * rng.standard_normal(400)
        u, v = u - step * left * v, v - step * left * u
    found = -np.log(np.abs(u**2 - v**2) / first).mean()
    law = -np.log(theory.imbalance_path(first[:1], 1.0, step, noise, count)[-1] / first[0])
    assert found == pytest.approx(float(law[0]), rel=0.05)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: theory.stationary_covariance(HESSIAN, NOISE, 0.4), "stable only below 2/λmax"),
        (lambda: theory.stationary_covariance(HESSIAN, NOISE, 0.0), "choose a positive one"),
        (lambda: theory.stationary_covariance(HESSIAN, ROOT, 0.1), "noise is not symmetric"),
        (lambda: theory.stationary_covariance(ROOT, NOISE, 0.1), "hessian is not symmetric"),
        (lambda: theory.stationary_covariance(HESSIAN, -NOISE, 0.1), "none below 0"),
        (lambda: theory.stationary_covariance(np.diag([1.0, 0.0]), np.eye(2), 0.1), "adds up"),
        (lambda: theory.stationary_covariance(HESSIAN, np.eye(3), 0.1), "give as many"),
        (lambda: theory.process_covariance(HESSIAN, ROOT), "diffusion is not symmetric"),
        (lambda: theory.batch_covariance(X, 7), "choose at most 6"),
        (lambda: theory.batch_covariance(X, 0), "choose at least 1"),
        (lambda: theory.least_squares_noise(X[:, [0, 0]], Y, 0.1, 2), "lower rank"),
        (lambda: theory.least_squares_noise(X, Y, 99.0, 2), "stable only below 2/λmax"),
        (lambda: theory.batch_losses(X, Y, 4), "no multiple"),
        (lambda: theory.epoch_end(theory.batch_losses(X, Y, 6) * 2, 0.1, [0, 0]), "at most 7"),
        (lambda: theory.line_density([0, 0, 1], [0, 0, 0], [1, 1, 1], 0.1), "do not increase"),
        (
            lambda: theory.line_density([0, 1], [0, 0], [1, 0], 0.1),
            "variance is 0; choose a positive one",
        ),
        (lambda: theory.label_noise_penalty([3.0], 1.0), "stable only below 2/λmax"),
        (lambda: theory.imbalance_path(3.0, 1.0, 1.0, 0.1, 3), "stable only below"),
    ],
)
def test_what_no_law_holds_for_is_one_line(call: Any, says: str) -> None:
    # Breaks if a bad matrix or an unstable step gives numbers, or a traceback of NumPy's.
    with pytest.raises(UserError) as caught:
        call()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
