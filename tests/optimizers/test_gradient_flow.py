"""Gradient flow by Runge–Kutta: against SciPy's integrator, Taylor polynomials and matrix exponentials."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from implicit_bias import optimizers
from implicit_bias.errors import UserError
from implicit_bias.optimizers import Schedule
from implicit_bias.optimizers.gradient_flow import STABILITY_LIMIT
from tests.optimizers.harness import trajectory

FLOW = optimizers.get("gradient_flow")
START = {"a": jnp.asarray([1.2, -0.4]), "b": jnp.asarray(0.9)}


def gradient(p: Any) -> Any:
    """The gradient, by hand, of a smooth loss that is not quadratic, in three variables."""
    (x, y), z = p["a"], p["b"]
    return {"a": jnp.stack([x * y * y + x**3, x * x * y + jnp.sin(y + z)]), "b": jnp.sin(y + z) + z}


def field(_: float, w: np.ndarray) -> np.ndarray:
    x, y, z = w
    return -np.array([x * y * y + x**3, x * x * y + np.sin(y + z), np.sin(y + z) + z])


def flow(start: Any, gradient_of: Any, steps: int, schedule: Schedule | None = None, **given: Any):
    schedule = schedule or Schedule()
    settings = FLOW.settings(schedule) | given
    return trajectory(FLOW, settings, start, gradient_of, steps, schedule=schedule)


def flat(p: Any) -> np.ndarray:
    return np.concatenate([np.asarray(p["a"]), np.asarray(p["b"])[None]])


@pytest.mark.parametrize("decay", [0.0, 0.6])
def test_order_four_against_scipy(decay: float) -> None:
    # Breaks if a stage is taken elsewhere or weighted otherwise, or decay is left out of a stage: then the
    # order drops to at most two. Half the decay is coupled, half decoupled: the flow has their sum.
    exact = solve_ivp(
        lambda t, w: field(t, w) - decay * w, (0, 2), flat(START), rtol=1e-12, atol=1e-13
    ).y[:, -1]
    errors = []
    for steps in (20, 40, 80, 160):
        found = flow(
            START,
            gradient,
            steps,
            step_size=2 / steps,
            weight_decay=decay / 2,
            decoupled_weight_decay=decay / 2,
        )
        errors.append(np.linalg.norm(flat(found) - exact))
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert abs(slopes[-1] - 4) < 0.2, slopes
    assert errors[-1] < 1e-7


def test_a_linear_flow_is_the_taylor_polynomial_of_degree_four() -> None:
    # Breaks by any other Runge–Kutta method of order four with more stages, or a wrong weight. The
    # polynomial is built from powers of the matrix; the exponential is what it approximates.
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 3))
    a = a @ a.T
    h, decay = 0.1, 0.4
    matrix = -h * (a + decay * np.eye(3))
    taylor = sum(np.linalg.matrix_power(matrix, k) / f for k, f in enumerate((1, 1, 2, 6, 24)))
    w = rng.normal(size=3)
    found = flow(
        {"w": jnp.asarray(w)},
        lambda p: {"w": jnp.asarray(a) @ p["w"]},
        3,
        step_size=h,
        decoupled_weight_decay=decay,
    )
    np.testing.assert_allclose(found["w"], np.linalg.matrix_power(taylor, 3) @ w, rtol=1e-13)
    assert np.linalg.norm(taylor - expm(matrix)) < np.linalg.norm(matrix, 2) ** 5 / 100


def test_stability_limit() -> None:
    # Breaks if the documented limit is not where the growth factor passes one: it is the real root of
    # 1 − z + z²/2 − z³/6 + z⁴/24 = 1, found by NumPy.
    roots = np.roots([1 / 24, -1 / 6, 1 / 2, -1, 0])
    (limit,) = roots[(np.abs(roots.imag) < 1e-9) & (roots.real > 1)].real
    np.testing.assert_allclose(STABILITY_LIMIT, limit, rtol=1e-12)
    assert round(STABILITY_LIMIT, 3) == 2.785
    ends = [
        float(
            flow({"w": jnp.ones(1)}, lambda p: p, 200, step_size=factor * STABILITY_LIMIT)["w"][0]
        )
        for factor in (0.99, 1.0, 1.01)
    ]
    assert ends[0] < 1e-2
    np.testing.assert_allclose(ends[1], 1, rtol=1e-9)
    assert ends[2] > 1e2


def test_the_step_size_of_the_schedule_is_the_time_of_an_update() -> None:
    # Breaks if the stages use the peak step size, or the schedule counts from one. The flow of w' = −1·w
    # is multiplied in each update by the polynomial at that update's step size.
    schedule = Schedule("cosine", warmup=True)
    given = {"step_size": 0.5, "decay_steps": 6.0, "warmup_steps": 2.0}
    found = flow({"w": jnp.ones(1)}, lambda p: p, 5, schedule, **given)
    step = schedule.build({k: jnp.float64(v) for k, v in (FLOW.settings(schedule) | given).items()})
    factors = []
    for number in range(5):
        z = float(step(jnp.int32(number)))
        factors.append(1 - z + z**2 / 2 - z**3 / 6 + z**4 / 24)
    np.testing.assert_allclose(found["w"], np.prod(factors), rtol=1e-12)


def test_four_gradients_and_no_other_rule_on_top() -> None:
    # Breaks if a plan expects a quarter of the time, or SAM silently takes the place of the flow.
    assert FLOW.gradients == 4
    assert FLOW.name == "gradient_flow"
    for spec in ("sam(gradient_flow)", "trace_penalty(gradient_flow)", "sam(asam(adam))"):
        with pytest.raises(UserError, match="already"):
            optimizers.get(spec)


def test_float32_stays_float32() -> None:
    # Breaks if a stage's step or a decay promotes a float32 network.
    start = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), START)
    found = flow(start, gradient, 2, step_size=0.1, weight_decay=0.1)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.float32)}
