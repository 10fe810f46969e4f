"""Oracles: the definition by hand, a factor that is not traced, small targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from implicit_bias.data import Dataset
from implicit_bias.errors import UserError
from implicit_bias.models import Dense, Linearised, Model, Scaled, from_flax
from implicit_bias.ranges import Setting
from implicit_bias.training import Lane, make_plan

from .harness import KEY, NnxBlock, assert_close
from .trajectories import STEPS, flat_start, lane, recipe, regression, trained

NET = Dense((4,), 2, "tanh", bias_std=0.5)
X = np.random.default_rng(0).normal(size=(5, 3))


def elsewhere(params: Any) -> Any:
    """Parameters away from the given ones."""
    return jax.tree.map(
        lambda p: p + jnp.cos(jnp.arange(p.size).reshape(p.shape)).astype(p.dtype), params
    )


@dataclass(frozen=True)
class Gained:
    """A model with a traced setting of its own: a gain of the inputs."""

    model: Model
    traced = (Setting("gain", 1.0),)
    output_axis = 0

    def init(self, key: Any, example: Any, *, scale: Any = 1.0, gain: Any = 1.0) -> Any:
        params, _ = self.model.init(key, example, scale=scale)
        return params, {"gain": jnp.asarray(gain, example.dtype)}

    def apply(self, params: Any, state: Any, x: Any, *, train: bool, key: Any = None) -> Any:
        return self.model.apply(params, {}, state["gain"] * x, train=train)[0], state

    def describe(self) -> dict[str, Any]:
        return {"architecture": "gained", "model": self.model.describe()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_definition(dtype: Any):
    # Broken by a factor inside the difference only, by a difference where none is asked for, by a
    # factor of another dtype than the network's, and by settings of the inner model that are lost.
    x, gain, alpha = X.astype(dtype), jnp.float64(1.5), jnp.float32(3)
    inner = Gained(NET)
    assert [setting.name for setting in Scaled(inner).traced] == ["alpha", "gain"]

    @jax.jit
    def everything(alpha: jax.Array, gain: jax.Array) -> Any:
        parts = []
        for model in (Scaled(inner), Scaled(inner, centred=False)):
            params, state = model.init(KEY, jnp.asarray(x[0]), scale=2.0, alpha=alpha, gain=gain)
            away = elsewhere(params)
            parts.append(model.apply(away, state, x)[0])
            assert parts[-1].dtype == dtype
        f, f0 = (NET.apply(p, {}, gain.astype(dtype) * x)[0] for p in (away, params))
        return parts, f, f0

    (centred, plain), f, f0 = everything(alpha, gain)
    tolerance = 1e-13 if dtype == np.float64 else 2e-6
    assert_close(centred, 3 * (f - f0), tolerance)
    assert_close(plain, 3 * f, tolerance)


def test_the_initial_network_runs_beside_the_trained_one():
    # Broken by a subtracted network in another mode, with another key, or with the trained one's
    # running statistics; by statistics that are not kept up.
    inner = from_flax(NnxBlock)
    model = Scaled(inner)
    x = np.random.default_rng(2).normal(size=(8, 5))

    @jax.jit
    def everything(x: jax.Array) -> Any:
        origin, state = model.init(KEY, x[0])
        there, own, began = elsewhere(origin), state["state"], state["state"]
        still = [model.apply(origin, state, x, train=train, key=KEY)[0] for train in (True, False)]
        apart = []
        for train in (True, True, False):
            found, state = model.apply(there, state, x, train=train, key=KEY)
            f, own = inner.apply(there, own, x, train=train, key=KEY)
            f0, began = inner.apply(origin, began, x, train=train, key=KEY)
            apart.append((found, f - f0))
        return still, apart, (state["origin"], origin)

    still, apart, origins = everything(x)
    assert all((outputs == 0).all() for outputs in still)
    for found, expected in apart:
        assert_close(found, expected, 1e-12)
    assert_close(*origins, 0.0)


def test_composes_with_the_expansion_either_way():
    # Broken by a factor or an origin that one of the two hides from the other.
    x = jnp.asarray(X)

    @jax.jit
    def both(alpha: jax.Array) -> Any:
        found = []
        for model in (Linearised(Scaled(NET)), Scaled(Linearised(NET))):
            params, state = model.init(KEY, x[0], alpha=alpha)
            away = elsewhere(params)
            found.append(model.apply(away, state, x)[0])
        step = jax.tree.map(jnp.subtract, away, params)
        tangent = jax.jvp(lambda p: NET.apply(p, {}, x)[0], (params,), (step,))[1]
        return *found, alpha * tangent

    first, second, expected = both(jnp.float64(4))
    assert_close(first, expected, 1e-13)
    assert_close(second, expected, 1e-13)


def descended(alpha: float, seed: int, data: Dataset) -> np.ndarray:
    """Outputs on the test set after heavy-ball descent in a program that knows α and no engine."""
    x = np.concatenate([data.x_train, data.x_test])
    outputs, flat = flat_start(NET, seed, x)
    began = outputs(flat)

    def scaled(vector: jax.Array) -> jax.Array:
        return alpha * (outputs(vector) - began)

    def loss(vector: jax.Array) -> jax.Array:
        return jnp.sum((scaled(vector)[:6] - data.y_train) ** 2) / 12

    def step(_: int, carry: Any) -> Any:
        vector, velocity = carry
        velocity = 0.5 * velocity + jax.grad(loss)(vector)
        return vector - 0.3 / alpha**2 * velocity, velocity

    end, _ = jax.jit(lambda v: jax.lax.fori_loop(0, STEPS[-1], step, (v, 0 * v)))(flat)
    return np.asarray(scaled(end)[6:])


def test_two_factors_in_one_program_and_their_step_sizes():
    # Broken by a factor that is compiled in, or is another lane's; by a factor on the origin alone.
    # Then the note on step sizes: the loss over α² is the loss of small targets. Broken by α for α²,
    # or by a weight decay that is not scaled with the loss.
    made, data = recipe(Scaled(NET), "heavy_ball"), regression()
    common = {"momentum": 0.5, "step_size": 0.3}

    def of(alpha: float, decay: float = 0.0) -> Lane:
        settings = {"step_size": 0.3 / alpha**2, "weight_decay": alpha**2 * decay, "alpha": alpha}
        return lane(made, 2, **{**common, **settings})

    lanes = [of(0.5), of(10.0), of(10.0, 0.02)]
    assert len(make_plan(lanes, data).programs) == 1
    assert len({one.identity("data") for one in lanes}) == 3
    found = trained(lanes, data)
    np.testing.assert_array_equal(found.model_state["alpha"], [0.5, 10.0, 10.0])
    assert (found.probed["test"][:, 0] == 0).all()
    for row, alpha in enumerate((0.5, 10.0)):
        assert_close(found.probed["test"][row, -1], descended(alpha, 2, data), 1e-10)
    assert np.abs(found.probed["test"][0, -1] - found.probed["test"][1, -1]).max() > 1e-2
    small = lane(made, 2, **common, weight_decay=0.02)
    expected = trained([small, small, small], regression(shrunk=10.0))
    assert_close(
        *(jax.tree.map(lambda p, r=row: p[r], result.params)
          for row, result in ((2, found), (0, expected))), 1e-12,
    )  # fmt: skip
    assert_close(found.probed["test"][2], 10 * expected.probed["test"][0], 1e-10)


def test_bad_requests():
    # Broken by a factor that turns the network off or around, or that two wrappers both claim.
    example = jnp.asarray(X[0])
    for alpha in (0.0, -1.0, float("nan")):
        with pytest.raises(UserError, match="alpha is"):
            Scaled(NET).init(KEY, example, alpha=alpha)
        with pytest.raises(UserError, match="alpha is"):
            lane(recipe(Scaled(NET)), alpha=alpha)
    with pytest.raises(UserError, match="give a number"):
        Scaled(NET).init(KEY, example, alpha="two")  # type: ignore[arg-type]
    for inner in (Scaled(NET), Linearised(Scaled(NET))):
        with pytest.raises(UserError, match="already has a traced setting 'alpha'"):
            Scaled(inner)
    with pytest.raises(UserError, match="not a model"):
        Scaled(Dense)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="choose True or False"):
        Scaled(NET, 2.0)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="'alpha' is unknown"):
        lane(recipe(NET), alpha=2.0)
    params, state = jax.jit(NET.init)(KEY, example)
    with pytest.raises(UserError, match="lacks alpha or state"):
        Scaled(NET).apply(params, state, jnp.asarray(X))
    uncentred = Scaled(NET, centred=False).around(params, state, 2.0)
    with pytest.raises(UserError, match="lacks origin or origin_state"):
        Scaled(NET).apply(params, uncentred, jnp.asarray(X))
