"""SAM and ASAM: against Optax, against the papers' equations in NumPy, and against the base optimiser."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from implicit_bias import optimizers
from implicit_bias.errors import UserError
from tests.optimizers.harness import ROWS, problem, trajectory

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def gradient_at(name: str, settings: dict[str, float], gradient: Any, params: Any) -> Any:
    """Where a rule takes the gradient of the update: the gradient's function is the identity."""
    optimizer = optimizers.get(name)
    full = optimizer.settings() | settings
    return optimizer.update_gradient(
        optimizers.Schedule(), full, jnp.int32(0), gradient, lambda p: p, params, jax.random.key(0)
    )


def test_sam_equals_optax() -> None:
    # Breaks if the climb is not ρ g/‖g‖ over all parameters together, or the step is taken from above.
    params, loss = problem()
    ours = optimizers.get("sam(heavy_ball)")
    settings = ours.settings() | {"rho": 0.3, "step_size": 0.02, "momentum": 0.8}
    found = trajectory(ours, settings, params, jax.grad(loss), 20)
    theirs = optax.contrib.sam(
        optax.sgd(0.02, momentum=0.8),
        optax.chain(optax.contrib.normalize(), optax.sgd(0.3)),
        opaque_mode=True,
    )

    @jax.jit
    def run(params: Any) -> Any:
        def step(carry: Any, _: None) -> tuple[Any, None]:
            params, state = carry
            with jax.numpy_dtype_promotion("standard"):
                updates, state = theirs.update(
                    jax.grad(loss)(params), state, params, grad_fn=lambda p, _: jax.grad(loss)(p)
                )
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, theirs.init(params)), None, length=20)[0][0]

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5), found, run(params))


@pytest.mark.parametrize("name", ["sam", "asam"])
def test_the_climb_is_the_paper_s(name: str) -> None:
    # Breaks if T enters once instead of twice, the norm is taken array by array, or η is forgotten.
    rng = np.random.default_rng(1)
    params = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=5)}
    gradient = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=5)}
    settings = {"rho": 0.7, "eta": 0.02}
    found = gradient_at(name, settings, *jax.tree.map(jnp.asarray, (gradient, params)))
    w, g = (np.concatenate([tree["a"].ravel(), tree["b"]]) for tree in (params, gradient))
    t = np.ones_like(w) if name == "sam" else np.abs(w) + 0.02
    expected = w + 0.7 * t**2 * g / np.linalg.norm(t * g)
    np.testing.assert_allclose(
        np.concatenate([np.ravel(found["a"]), found["b"]]), expected, rtol=1e-12
    )


@every_row
@pytest.mark.parametrize("name", ["sam", "asam"])
def test_without_radius_it_is_the_base_optimiser_bit_for_bit(row: Any, name: str) -> None:
    # Breaks if ρ = 0 is not the plain optimiser, which every comparison with SAM rests on.
    params, loss = problem()
    wrapped = optimizers.get(f"{name}({row.name})")
    settings = row.full(step_size=row.step_size, weight_decay=0.01)
    base = trajectory(row.optimizer, settings, params, jax.grad(loss), 5)
    settings = wrapped.settings() | settings | {"rho": 0.0}
    found = trajectory(wrapped, settings, params, jax.grad(loss), 5)
    jax.tree.map(np.testing.assert_array_equal, found, base)


@pytest.mark.parametrize("name", ["sam", "asam"])
@pytest.mark.parametrize("rho", [0.05, 1e30])
def test_a_zero_gradient_climbs_nowhere(name: str, rho: float) -> None:
    # Breaks if 0/0 makes a lane that has converged, or is pruned to nothing, NaN.
    params, _ = problem()
    zero = jax.tree.map(jnp.zeros_like, params)
    found = (
        gradient_at(name, {"rho": rho, "eta": 0.01}, zero, params)
        if name == "asam"
        else gradient_at(name, {"rho": rho}, zero, params)
    )
    jax.tree.map(np.testing.assert_array_equal, found, params)


def test_names() -> None:
    # Breaks if a wrapped optimiser is found under another name, or loses its settings.
    assert optimizers.get("sam") == optimizers.get("sam(sgd)") == optimizers.sam(optimizers.SGD)
    assert optimizers.get("asam(adam)").name == "asam(adam)"
    assert {"rho", "eta", "b1", "step_size"} <= set(optimizers.get("asam(adam)").settings())
    assert optimizers.get("sam").gradients == 2
    assert optimizers.SGD.gradients == 1
    for spec, says in (("sam(adan)", "adam"), ("sum(adam)", "sam"), ("sam(sgd", "sam")):
        with pytest.raises(UserError, match=says):
            optimizers.get(spec)
    with pytest.raises(UserError, match="rho"):
        optimizers.get("sam").validate({"rho": -0.1})
