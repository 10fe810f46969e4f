"""Mirror, sign and coordinate descent: against the textbook's updates in NumPy, and where they may begin."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from implicit_bias import losses, models, optimizers
from implicit_bias.errors import UserError
from implicit_bias.optimizers import Schedule
from implicit_bias.training import Budget, Lane, Recipe
from tests.optimizers.harness import CONSTANT, GEOMETRIES, Geometry, problem, trajectory

every_row = pytest.mark.parametrize("row", GEOMETRIES, ids=lambda row: row.name)


@every_row
def test_equals_the_textbook_with_both_decays(row: Geometry) -> None:
    # Breaks if an update is another, ψ is scaled, a sign is lost, ties or the order of coordinates
    # change, or a decay enters elsewhere: 20 updates, so that the cyclic one comes round its 15 weights,
    # in float64.
    _, loss = problem(np.float64)
    start = row.start(np.float64)
    eta, coupled, decoupled = 0.03, 0.1, 0.05
    settings = row.optimizer.settings() | dict(row.settings)
    settings |= {"step_size": eta, "weight_decay": coupled, "decoupled_weight_decay": decoupled}
    found = trajectory(row.optimizer, settings, start, jax.grad(loss), 20)
    w, back = ravel_pytree(start)
    gradient = jax.jit(lambda flat: ravel_pytree(jax.grad(loss)(back(flat)))[0])
    w = np.asarray(w)
    for number in range(20):
        decay = coupled + (decoupled if row.mirrors else 0.0)
        g = np.asarray(gradient(w)) + decay * w
        shrunk = 0.0 if row.mirrors else eta * decoupled * w
        w = row.update(w, g, eta, number) - shrunk
    np.testing.assert_allclose(ravel_pytree(found)[0], w, rtol=1e-10, atol=1e-12)


@every_row
def test_types_and_state_are_what_is_needed(row: Geometry) -> None:
    # Breaks if settings promote a float32 network, or a copy or a counter is carried for nothing.
    for dtype in (np.float32, np.float64):
        params = row.start(dtype)
        settings = {k: jnp.float64(v) for k, v in row.optimizer.settings().items()}
        transform = row.optimizer.build(CONSTANT, settings)
        state = jax.eval_shape(transform.init, params)
        updates, new = jax.eval_shape(transform.update, params, state, params)
        assert {leaf.dtype for leaf in jax.tree.leaves((updates, new))} <= {
            np.dtype(dtype), np.dtype(np.int32),
        }  # fmt: skip
        assert new == state  # scan needs the state to keep its types
        leaves = jax.tree.leaves(state)
        assert sum(leaf.ndim > 0 for leaf in leaves) == row.state_copies * len(params)
        assert sum(leaf.ndim == 0 for leaf in leaves) == row.state_counters
    row.optimizer.validate(row.optimizer.settings())


def test_a_schedule_moves_the_mirror() -> None:
    # Breaks if the step size inside the mirror is another than outside: at p = 2 it is gradient descent,
    # under any schedule.
    params, loss = problem(np.float64)
    schedule = Schedule("exponential", warmup=True)
    more = {"step_size": 0.1, "decay_rate": 0.7, "decay_every": 2.0, "warmup_steps": 3.0}
    ends = []
    for name, own in (("sgd", {}), ("p_norm_descent", {"p": 2.0})):
        optimizer = optimizers.get(name)
        settings = optimizer.settings(schedule) | more | own
        ends.append(trajectory(optimizer, settings, params, jax.grad(loss), 9, schedule=schedule))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), *ends)


@pytest.mark.parametrize("name", ["exponentiated_gradient", "simplex_descent"])
def test_weights_never_become_negative(name: str) -> None:
    # Breaks if the update is subtracted so that rounding passes zero: steps of e^{±30} in float32.
    transform = optimizers.get(name).build(
        CONSTANT, optimizers.get(name).settings() | {"step_size": 1.0}
    )
    w = {"w": jnp.asarray([0.2, 0.3, 0.5], jnp.float32)}
    state = transform.init(w)
    for slope in ([30.0, -1.0, 0.0], [-30.0, 25.0, 0.0], [0.0, 60.0, -1.0]):
        updates, state = transform.update({"w": jnp.asarray(slope, jnp.float32)}, state, w)
        w = {"w": w["w"] + updates["w"]}
        assert float(w["w"].min()) >= 0
    # The dual variable has not lost what the weight has: it comes back.
    updates, state = transform.update({"w": jnp.asarray([0.0, -85.0, 0.0], jnp.float32)}, state, w)
    assert float((w["w"] + updates["w"])[1]) > 1e-6


@pytest.mark.parametrize(
    ("name", "weights", "says"),
    [
        ("exponentiated_gradient", [0.5, -0.2], "1 of 2 weights are not positive, such as -0.2"),
        ("exponentiated_gradient", [0.5, 0.0], "such as 0, and would never become so"),
        ("exponentiated_gradient", [0.5, np.nan], "such as nan"),
        (
            "simplex_descent",
            [0.5, 0.6],
            "the weights sum to 1.1, not to 1; divide them by their sum",
        ),
        ("simplex_descent", [1.5, -0.5], "not positive"),
    ],
)
def test_starts_outside_the_domain_are_refused(name: str, weights: Any, says: str) -> None:
    # Breaks if such a run starts: its weights would be NaN, or never change sign.
    with pytest.raises(UserError) as caught:
        optimizers.get(name).check_start({"w": np.asarray(weights)})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    good = {"w": np.asarray([0.4, 0.6, 0.0])}
    optimizers.get(name).check_start(good, {"w": np.asarray([1, 1, 0])})
    optimizers.get("p_norm_descent").check_start({"w": np.asarray(weights)})


@pytest.mark.parametrize("p", [1.0, 0.5, np.inf, np.nan])
def test_exponents_without_an_inverse_are_refused(p: float) -> None:
    # Breaks if p = 1, whose potential has no inverse, divides by zero in a compiled run.
    with pytest.raises(UserError, match=r"p is .*; choose a finite number > 1"):
        optimizers.get("p_norm_descent").validate({"p": p})


def test_the_engine_asks_for_a_start_in_the_domain() -> None:
    # Breaks if a network drawn with both signs is trained on the orthant, where half of it never changes
    # sign.
    recipe = Recipe(
        models.Dense((), 1, "identity", bias=False), losses.get("squared"), optimizers.get("sgd"),
        Schedule(), 2, 4,
    )  # fmt: skip
    positive = optimizers.get("exponentiated_gradient")
    with pytest.raises(UserError, match="cannot begin at weights drawn with both signs"):
        dataclasses.replace(recipe, optimizer=positive)
    started = dataclasses.replace(recipe, optimizer=positive, started=True)
    Lane(started, 0, {}, Budget(3), start={"layer_0": {"weight": np.ones((1, 2))}})
    with pytest.raises(UserError, match="1 of 2 weights are not positive"):
        Lane(started, 0, {}, Budget(3), start={"layer_0": {"weight": np.asarray([[1.0, -1.0]])}})
