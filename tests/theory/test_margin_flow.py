"""Gradient flow to 10⁹ and beyond, against plain steps, closed forms and another integrator; descents."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from implicit_bias import theory
from implicit_bias.errors import UserError

DECADE = np.log(10.0)
# Two support vectors with α = (1/3, 2/3), and an example of margin 3: ŵ = (1, 0), see test_margin.
HAND = np.asarray([[1.0, 2.0], [1.0, -1.0], [3.0, 0.5]])
OFFSET = np.asarray([np.log(3) - 2 * np.log(2) / 3, np.log(2) / 3])


def test_one_example_follows_its_closed_form_to_ten_to_the_thousand() -> None:
    # w' = e^(−w): w = log(1 + t); logistic: w + e^w = 1 + t. Breaks if τ is not log(1 + t).
    logs = DECADE * np.asarray([-3.0, 0.0, 3.0, 9.0, 300.0, 1000.0])
    found = theory.flow_path([[1.0]], logs, "exponential")[:, 0]
    np.testing.assert_allclose(found, np.logaddexp(0, logs), rtol=1e-7, atol=1e-9)
    w = theory.flow_path([[1.0]], logs[:4], "logistic")[:, 0]
    np.testing.assert_allclose(w + np.exp(w), 1 + np.exp(logs[:4]), rtol=1e-6)


@pytest.mark.parametrize("loss", ["logistic", "exponential"])
def test_weights_at_ten_to_the_nine_are_those_of_the_law(loss: str) -> None:
    # ŵ log t + w̃ with hand-made constants. Breaks if α, a sign or the base of a logarithm is wrong: by 0.1.
    logs = DECADE * np.asarray([3.0, 9.0, 1000.0])
    path = theory.flow_path(HAND, logs, loss)
    left = np.linalg.norm(path - logs[:, None] * [[1.0, 0.0]] - OFFSET[None, :], axis=1)
    assert left[0] < 0.1
    assert left[1] < 1e-5
    assert left[2] < 1e-8


def test_flow_is_where_a_million_plain_steps_end() -> None:
    # Every step taken. Breaks if time is not η·steps, or either method drifts. What is left is of order η:
    # outside the span of the two support vectors it stays, far above the integrator's error.
    z = theory.signed_examples([[2.0, 0.3], [1.0, 1.5], [-1.0, 0.2], [-2.5, -1.0]], [1, 1, -1, -1])
    eta = 0.05 * theory.logistic_step_limit(z)
    recorded = [1000, 1_000_000]
    with jax.enable_x64(True):
        walked = theory.plain_steps(z, eta, recorded)
        wider = theory.plain_steps(z, 2 * eta, [500, 500_000])
    times = np.log(eta * np.asarray(recorded))
    followed = theory.flow_path(z, times)
    exact = theory.flow_path(z, times, method="Radau", tolerance=1e-12)
    np.testing.assert_allclose(followed, exact, atol=1e-8)
    size = np.linalg.norm(exact, axis=1)
    off, twice = (np.linalg.norm(one - exact, axis=1) / size for one in (walked, wider))
    assert off[1] < off[0] < 1e-3
    assert off[1] < 5e-5
    np.testing.assert_allclose(twice / off, 2, rtol=0.2)
    # NumPy's own loop, for the first thousand.
    w = np.zeros(3)
    for _ in range(1000):
        w = w + eta * (1 / (1 + np.exp(z @ w))) @ z
    np.testing.assert_allclose(walked[0], w, rtol=1e-11)


def test_another_integrator_and_the_chain_of_starts_agree() -> None:
    # LSODA against Radau; and a path that goes on from where it was: breaks if a start shifts time.
    z = theory.signed_examples([[2.0, 0.3], [1.0, 1.5], [-1.0, 0.2], [-2.5, -1.0]], [1, 1, -1, -1])
    logs = DECADE * np.asarray([2.0, 9.0])
    for start in (None, [3.0, -4.0, 5.0]):
        paths = [theory.flow_path(z, logs, start=start, method=m) for m in ("LSODA", "Radau")]
        np.testing.assert_allclose(paths[0], paths[1], rtol=1e-6, atol=1e-7)
    first = theory.flow_path(z, logs[:1])[0]
    rest = theory.flow_path(z, [np.log(np.exp(logs[1]) - np.exp(logs[0]))], start=first)[0]
    np.testing.assert_allclose(rest, theory.flow_path(z, logs)[1], rtol=1e-6)


def test_the_log_loss_is_exact_far_below_the_smallest_number() -> None:
    z = np.asarray([[1.0], [2.0]])
    known = {"logistic": lambda m: np.log1p(np.exp(-m)), "exponential": lambda m: np.exp(-m)}
    for loss, by_hand in known.items():
        for w in (-3.0, 0.0, 5.0, 19.0, 21.0, 200.0):
            expected = np.log(by_hand(np.asarray([w, 2 * w])).sum())
            assert float(theory.log_loss(z, [w], loss)) == pytest.approx(
                expected, rel=1e-9, abs=1e-9
            )
    assert float(theory.log_loss(z, [5000.0])) == pytest.approx(-5000.0)


def test_without_separation_there_is_an_end_and_no_flow() -> None:
    # The position the refusal stands for: the minimiser is finite, so that no margin is approached.
    x = np.asarray([[2.0], [1.0], [-1.0], [-2.0], [0.5], [-0.5]])
    y = np.asarray([1, 1, -1, -1, -1, 1])
    fitted = LogisticRegression(C=1e12, tol=1e-10).fit(x, y)
    assert np.abs(fitted.coef_).max() < 5
    with pytest.raises(UserError, match="not linearly separable"):
        theory.flow_path(theory.signed_examples(x, y), [1.0])


def test_normalised_steps_pass_a_hand_made_step_and_reach_their_rates() -> None:
    # From zero all q are equal: the first step is c times the mean. Then 1/k and 1/√k.
    np.testing.assert_allclose(theory.normalised_steps(HAND, 0.3, [1])[0], 0.3 * HAND.mean(axis=0))
    for decay, exponent in ((0.0, -1.0), (0.5, -0.5)):
        path = theory.normalised_steps(HAND, 0.5, [500, 5000], decay=decay)
        gap = 1 - theory.margins_in(HAND, path)
        assert np.log(gap[1] / gap[0]) / np.log(10) == pytest.approx(exponent, abs=0.08)


def test_steepest_descent_steps_as_its_norm_says_and_finds_its_margin() -> None:
    # Mean of HAND is (5/3, 1/2). Breaks if norms are exchanged for their duals.
    p = HAND.mean(axis=0)
    first = {norm: theory.steepest_steps(HAND, norm, 0.2, [1])[0] for norm in ("l1", "l2", "linf")}
    np.testing.assert_allclose(first["l1"], [0.2, 0])
    np.testing.assert_allclose(first["l2"], 0.2 * p / np.linalg.norm(p))
    np.testing.assert_allclose(first["linf"], [0.2, 0.2])
    z = np.random.default_rng(0).standard_normal((6, 12))
    for norm in first:
        last = theory.steepest_steps(z, norm, 1.0, [4000])[0]
        assert theory.margins_in(z, last, norm) > 0.93 * theory.norm_margin(z, norm)[0]


def test_numbers_that_cannot_be_used_give_one_line() -> None:
    with pytest.raises(UserError, match="increasing"):
        theory.flow_path(HAND, [1.0, 1.0])
    with pytest.raises(UserError, match="start has shape"):
        theory.flow_path(HAND, [1.0], start=[1.0])
    with pytest.raises(UserError, match="overflows"):
        theory.flow_path(HAND, [1.0], "exponential", start=[-900.0, 0.0])
    with pytest.raises(UserError, match="unknown loss"):
        theory.flow_path(HAND, [1.0], "hinge")
    with pytest.raises(UserError, match="all inputs are zero"):
        theory.logistic_step_limit(np.zeros((2, 2)))
    with pytest.raises(UserError, match="step_size is 0"):
        theory.plain_steps(HAND, 0.0, [1])
    with pytest.raises(UserError, match="unknown norm"):
        theory.steepest_steps(HAND, "l3", 1.0, [1])


def test_the_step_limit_is_two_over_the_largest_curvature() -> None:
    # Curvature of Σ log(1 + e^(−z·w)) at zero, by finite differences of the gradient.
    def slope(w: np.ndarray) -> np.ndarray:
        return -(1 / (1 + np.exp(HAND @ w))) @ HAND

    steps = 1e-5 * np.eye(2)
    bend = np.asarray([(slope(s) - slope(-s)) / 2e-5 for s in steps])
    assert theory.logistic_step_limit(HAND) == pytest.approx(
        2 / np.linalg.eigvalsh(bend)[-1], rel=1e-8
    )
