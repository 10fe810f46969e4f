"""The exact trials of the sharpness study, against closed forms."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.studies.sharpness.minimum import (
    PROBLEMS,
    Logistic,
    Minimum,
    make_problem,
    solve,
    worst_rise,
)
from implicit_bias.studies.sharpness.quadratics import Quadratics, mixed_derivatives_gap
from implicit_bias.studies.sharpness.regression import Regression, make_fit


@pytest.mark.parametrize("name", PROBLEMS)
def test_derivatives_and_minima_of_the_problems(name: str) -> None:
    # Breaks if a derivative is wrong, or Newton stops elsewhere.
    problem: Any = make_problem(name, 1)
    if isinstance(problem, Logistic):
        z = jnp.asarray(problem.z)

        def loss(w: jax.Array) -> jax.Array:
            return jnp.mean(jnp.log1p(jnp.exp(-z @ w))) + problem.mu * (w @ w) / 2

        d = z.shape[1]
    else:

        def loss(w: jax.Array) -> jax.Array:
            return jnp.mean(jnp.square(jnp.tanh(jnp.asarray(problem.x) @ w) - problem.y)) / 2

        d = problem.x.shape[1]
    at = np.random.default_rng(0).normal(size=d)
    np.testing.assert_allclose(problem.loss(at), loss(jnp.asarray(at)), rtol=1e-12)
    np.testing.assert_allclose(problem.gradient(at), jax.grad(loss)(jnp.asarray(at)), rtol=1e-9)
    np.testing.assert_allclose(
        problem.hessian(at), jax.hessian(loss)(jnp.asarray(at)), rtol=1e-8, atol=1e-12
    )
    w = solve(problem, d)
    assert np.linalg.norm(problem.gradient(w)) < 1e-9
    values = np.linalg.eigvalsh(problem.hessian(w))
    if name == "singular":
        assert problem.loss(w) < 1e-18
        assert abs(values[0]) < 1e-10 * values[-1]
    else:
        assert values[0] > 0


def test_the_worst_rise_of_a_quadratic_and_of_a_cubic() -> None:
    # Breaks if the search stays at a saddle of the sphere, or takes the wrong sign of the eigenvector.
    class Cubic:
        """½ (3 a² + b²) − a³: towards negative a it rises faster."""

        def loss(self, w: np.ndarray) -> float:
            return float(1.5 * w[0] ** 2 + 0.5 * w[1] ** 2 - w[0] ** 3)

        def gradient(self, w: np.ndarray) -> np.ndarray:
            return np.array([3 * w[0] - 3 * w[0] ** 2, w[1]])

        def hessian(self, w: np.ndarray) -> np.ndarray:
            return np.diag([3 - 6 * w[0], 1.0])

    assert worst_rise(Cubic(), np.zeros(2), 0.1) == pytest.approx(1.5 * 0.01 + 0.001, rel=1e-12)


def test_the_expansion_holds_at_minima_of_all_kinds() -> None:
    # Breaks if λmax is not the top eigenvalue, the half is forgotten, or slopes are of other quantities.
    found = Minimum(directions=4)(None, 2, {})  # type: ignore[arg-type]
    assert (found["minimum_gradient"] < 1e-9).all()
    assert np.abs(found["minimum_ratio"][:, 0] - 1).max() < 1e-3
    assert np.abs(found["minimum_slope"] - 2).max() < 0.02
    assert np.abs(found["minimum_rest_slope"] - 3).max() < 0.2
    assert found["minimum_condition"][0] < 100 < 1000 < found["minimum_condition"][1]
    assert np.isinf(found["minimum_condition"][2])


def test_quadratics_by_hand() -> None:
    # Breaks if an iterate, a spectrum or a factor is another than in the statements.
    found = Quadratics(dimension=20, draws=3000)(None, 0, {})  # type: ignore[arg-type]
    assert found["basin_flat_loss_factor"] == pytest.approx(10)
    assert found["basin_sharp_axis"] == 2
    assert found["basin_oscillation"] == 1
    # ½ · 0.81ᵗ against 5.5: t = ⌈ln(11e-6⁻¹ …)⌉, from 0.81ᵗ ≤ 11e-6.
    assert found["basin_steps_sharp"] == math.ceil(math.log(11e-6) / math.log(0.81))
    assert found["basin_steps_flat"] == math.ceil(math.log(1e-6) / math.log(0.9801))
    assert found["basin_steps_flat_own"] == 1
    assert found["basin_mixed_rate"] == pytest.approx((1e5 - 1) / (1e5 + 1))
    assert found["probe_over_mean"] == pytest.approx(1, abs=0.1)
    assert found["probe_over_lambda_max"] == pytest.approx(119 / 20 / 100, rel=0.15)
    # After one step of 1/λmax: Σ aᵢ (1 − aᵢ/100)² over Σ aᵢ, of 18 tens, and of 18 eigenvalues 1.01.
    first = (180 * 0.81 + 0.9801) / 281
    assert found["spectra_loss"][0, 0] == 1
    five = 180 * 0.9**10 + 0.99**10
    assert found["spectra_loss"][0, 1] == pytest.approx(five / 281)
    assert five / 281 < first
    assert max(found["ascent_norm_error"], found["ascent_factor_error"]) < 1e-12
    assert mixed_derivatives_gap() == pytest.approx(2, abs=1e-6)
    assert set(found) == set(Quadratics().variables)


def test_regression_has_one_hessian_and_no_law_for_its_loss() -> None:
    # Breaks if λmax is taken of another matrix, or the loss at other weights.
    found = Regression()(None, 0, {})  # type: ignore[arg-type]
    np.testing.assert_allclose(found["script_lambda_ratio"], 1, atol=1e-9)
    np.testing.assert_allclose(found["script_closed_form_error"], 0, atol=1e-12)
    fit = make_fit("S.19", 42)
    rng = np.random.RandomState(42)
    x = rng.randn(100, 30) / np.sqrt(30)
    y = rng.randn(100)
    w = np.linalg.lstsq(x, y, rcond=None)[0]
    assert fit.loss(2.0) == pytest.approx(0.5 * np.mean((2 * x @ w - y) ** 2))
    assert found["script_published_lambda"][1] == pytest.approx(np.linalg.norm(x, 2) ** 2 / 100)
