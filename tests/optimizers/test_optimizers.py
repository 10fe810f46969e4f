"""Every optimiser against Optax, PyTorch and closed forms."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from implicit_bias import optimizers
from implicit_bias.errors import UserError
from implicit_bias.optimizers import Optimizer, Schedule, Setting

from .harness import (
    CONSTANT,
    GEOMETRIES,
    ROWS,
    Row,
    assert_close,
    assert_equal,
    loop,
    minimiser,
    plain_update,
    problem,
)

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def float32(settings: dict[str, Any]) -> dict[str, jax.Array]:
    return {name: jnp.float32(value) for name, value in settings.items()}


def ours(row: Row, settings: dict[str, Any], steps: int, schedule: Schedule = CONSTANT) -> Any:
    params, loss = problem()
    transform = row.optimizer.build(schedule, settings)
    return loop(transform, params, jax.grad(loss), steps)


def test_every_registered_optimiser_has_a_row():
    # Broken by a new optimiser that skips the harness. Those with a gradient rule of their own have
    # no counterpart in Optax or PyTorch, and tests of their own.
    plain = {name for name in optimizers.names() if optimizers.get(name).rule is None}
    assert {row.name for row in (*ROWS, *GEOMETRIES)} == plain
    assert set(optimizers.names()) - plain == {"gradient_flow"}


@every_row
def test_converges_on_a_quadratic(row: Row):
    # Broken by a wrong sign, a wrong step or a direction that does not vanish at the minimum.
    settings = float32(row.full(step_size=row.step_size))
    found = jax.jit(lambda s: ours(row, s, row.steps))(settings)
    assert_close(found, minimiser(), row.tolerance)


@every_row
def test_equals_a_jitted_loop_over_optax_exactly(row: Row):
    # Broken by any rounding that the cast of settings or the composition would add. The decays are
    # left out here; with traced decays, see the next but one.
    params, loss = problem()
    settings = float32(row.full(step_size=0.03))
    absent = {"weight_decay": 0.0}
    if row.name != "adamw":
        absent["decoupled_weight_decay"] = 0.0

    def reference(s: dict[str, jax.Array]) -> Any:
        return loop(row.alias(s, s["step_size"]), params, jax.grad(loss), 50)

    found = jax.jit(lambda s: ours(row, s | absent, 50))(settings)
    assert_equal(found, jax.jit(reference)(settings))
    # A traced zero decay may round otherwise, by fused multiply-adds, but no further.
    assert_close(jax.jit(lambda s: ours(row, s, 50))(settings), found, 1e-6)


@every_row
def test_equals_an_eager_loop_over_optax(row: Row):
    # Broken by an update that compiles to something other than what Optax computes step by step.
    params, loss = problem()
    settings = float32(row.full(step_size=0.03))
    gradient = jax.jit(jax.grad(loss))
    transform = row.alias(settings, settings["step_size"])
    p, state = params, transform.init(params)
    for _ in range(10):
        updates, state = plain_update(transform, gradient(p), state, p)
        p = optax.apply_updates(p, updates)
    assert_close(jax.jit(lambda s: ours(row, s, 10))(settings), p, 1e-6)


@every_row
@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_traced_decays_equal_optax_exactly(row: Row, decay: float):
    # Broken by a decay applied at the wrong place in the chain.
    params, loss = problem()
    settings = float32(
        row.full(step_size=0.03, weight_decay=decay, decoupled_weight_decay=4 * decay)
    )

    def reference(s: dict[str, jax.Array]) -> Any:
        return loop(row.decayed(s), params, jax.grad(loss), 30)

    assert_equal(jax.jit(lambda s: ours(row, s, 30))(settings), jax.jit(reference)(settings))


@every_row
def test_decoupled_decay_shrinks_weights_in_closed_form(row: Row):
    # Without gradients, decoupled decay is w (1 − ηλ)^t whatever the optimiser; coupled decay in
    # plain SGD is the same. Broken by a decay that passes through the direction or misses η.
    params, _ = problem(np.float64)
    zero = jax.tree.map(jnp.zeros_like, params)
    eta, decay, steps = 0.1, 0.3, 7
    expected = jax.tree.map(lambda p: p * (1 - eta * decay) ** steps, params)
    names = ["decoupled_weight_decay"] + (["weight_decay"] if row.name == "sgd" else [])
    for name in names:
        transform = row.optimizer.build(CONSTANT, row.full(step_size=eta, **{name: decay}))
        found = jax.jit(lambda p, t=transform: loop(t, p, lambda _: zero, steps))(params)
        assert_close(found, expected, 1e-12)


@every_row
def test_coupled_decay_is_an_l2_penalty(row: Row):
    # Broken by a factor of two in the decay, or by decay added after the preconditioner.
    params, loss = problem(np.float64)
    decay = 0.07
    settings = row.full(step_size=0.02, weight_decay=decay)

    def penalised(p: Any) -> jax.Array:
        return loss(p) + 0.5 * decay * sum(jnp.sum(q**2) for q in jax.tree.leaves(p))

    decayed = row.optimizer.build(CONSTANT, settings)
    plain = row.optimizer.build(CONSTANT, settings | {"weight_decay": 0.0})
    a = jax.jit(lambda p: loop(decayed, p, jax.grad(loss), 25))(params)
    b = jax.jit(lambda p: loop(plain, p, jax.grad(penalised), 25))(params)
    assert_close(a, b, 1e-11)


@every_row
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_equals_pytorch(row: Row, decay: float):
    # Broken by another convention: momentum under the step size, eps inside the root, bias
    # correction. In float64, so that only conventions can differ. PyTorch's weight_decay is ours,
    # coupled, except in AdamW, where it is the decoupled one.
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed (extra 'peers')")
    import torch

    name = "decoupled_weight_decay" if row.decoupled_in_torch else "weight_decay"
    settings = row.full(step_size=0.02, **{name: decay})
    params, loss = problem(np.float64)
    transform = row.optimizer.build(CONSTANT, settings)
    found = jax.jit(lambda p: loop(transform, p, jax.grad(loss), 20))(params)

    torch_name, arguments = row.torch(settings)
    peers = {k: torch.tensor(np.asarray(v), requires_grad=True) for k, v in params.items()}
    optimizer = getattr(torch.optim, torch_name)(
        list(peers.values()), lr=0.02, **({"weight_decay": decay} | arguments)
    )
    gradient = jax.jit(jax.grad(loss))
    for _ in range(20):
        now = gradient({k: jnp.asarray(v.detach().numpy()) for k, v in peers.items()})
        for k, v in peers.items():
            v.grad = torch.tensor(np.asarray(now[k]))
        optimizer.step()
    assert_close(found, {k: v.detach().numpy() for k, v in peers.items()}, 1e-9)


@every_row
def test_traced_settings_equal_static_ones(row: Row):
    # Broken by a Python branch on a setting, or by one that is baked in when compiled. lax.map must
    # agree to the last bit; vmap, which may round otherwise, to a few.
    grid = [
        row.full(step_size=step, weight_decay=decay, decoupled_weight_decay=decay)
        for step, decay in ((0.01, 0.0), (0.04, 0.1))
    ]
    traced = {name: jnp.asarray([s[name] for s in grid], jnp.float32) for name in grid[0]}

    def stack(runs: list[Any]) -> Any:
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *runs)

    one = jax.jit(lambda s: ours(row, s, 15))
    singly = stack([one({name: v[i] for name, v in traced.items()}) for i in range(len(grid))])
    mapped = jax.jit(lambda s: jax.lax.map(lambda t: ours(row, t, 15), s))(traced)
    batched = jax.jit(jax.vmap(lambda t: ours(row, t, 15)))(traced)
    static = jax.jit(lambda: ours(row, grid[1], 15))()
    assert_equal(mapped, singly)
    assert_close(batched, singly, 1e-6)
    assert_close(static, jax.tree.map(lambda leaf: leaf[1], singly), 1e-6)


@every_row
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_follows_the_parameters(row: Row, dtype: Any):
    # Broken by float64 settings that promote a float32 network, or the other way round.
    params, _ = problem(dtype)
    for setting_dtype in (jnp.float32, jnp.float64):
        settings = {k: setting_dtype(v) for k, v in row.full().items()}
        transform = row.optimizer.build(CONSTANT, settings)
        state = jax.eval_shape(transform.init, params)
        updates, new = jax.eval_shape(transform.update, params, state, params)
        for leaf in jax.tree.leaves((updates, new)):
            assert leaf.dtype in (dtype, np.int32)
        # scan needs the state to keep its types
        assert new == state


@every_row
def test_state_is_only_what_is_needed(row: Row):
    # Broken by a momentum buffer or a counter that is carried for nothing through millions of
    # steps.
    params, _ = problem()
    state = row.optimizer.build(CONSTANT, row.full()).init(params)
    arrays = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]
    counters = [leaf for leaf in jax.tree.leaves(state) if not leaf.ndim]
    assert len(arrays) == row.state_copies * len(params)
    assert len(counters) == row.state_counters
    warm = Schedule("constant", warmup=True)
    state = row.optimizer.build(warm, row.full(warmup_steps=3)).init(params)
    assert len([leaf for leaf in jax.tree.leaves(state) if not leaf.ndim]) == len(counters) + 1


@pytest.mark.parametrize("kind", optimizers.schedules.names())
def test_schedules_drive_the_step_size(kind: Any):
    # SGD on a constant unit gradient walks the sum of the step sizes. Broken by a counter that
    # starts at one or does not count.
    schedule = Schedule(kind, warmup=True)
    settings = optimizers.SGD.settings(schedule) | {
        "step_size": 0.3,
        "warmup_steps": 3.0,
    }
    settings |= {k: v for k, v in {"decay_steps": 9.0, "decay_every": 2.0}.items() if k in settings}
    start = {"w": jnp.zeros(1, jnp.float64)}
    unit = {"w": jnp.ones(1, jnp.float64)}
    transform = optimizers.SGD.build(schedule, settings)
    found = jax.jit(lambda p: loop(transform, p, lambda _: unit, 10))(start)
    step_size = schedule.build({k: jnp.float64(v) for k, v in settings.items()})
    expected = -sum(float(step_size(jnp.int32(t))) for t in range(10))
    np.testing.assert_allclose(found["w"], expected, rtol=1e-12)


def test_zero_decay_is_no_decay_exactly():
    # Broken by a decay that is not w + 0·w.
    params, loss = problem()
    gradient = jax.grad(loss)(params)
    transform = optimizers.SGD.build(CONSTANT, float32(ROWS[0].full(step_size=0.25)))
    updates, _ = transform.update(gradient, transform.init(params), params)
    assert_equal(updates, jax.tree.map(lambda g: jnp.float32(-0.25) * g, gradient))


def test_settings_list_every_traced_name():
    # The plan fills in and validates these names: one that is missing would never be swept.
    assert optimizers.ADAMW.settings(Schedule("cosine", warmup=True)) == {
        "step_size": 1e-3,
        "b1": 0.9,
        "b2": 0.999,
        "eps": 1e-8,
        "weight_decay": 0.0,
        "decoupled_weight_decay": 0.01,
        "decay_steps": 10_000.0,
        "final_fraction": 0.0,
        "warmup_steps": 0.0,
    }
    assert dict(optimizers.SGD.defaults) == {"weight_decay": 0.0, "decoupled_weight_decay": 0.0}


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("sgd", {"step_size": -0.1}, "step_size is -0.1; choose a finite number > 0"),
        ("sgd", {"step_size": 0.0}, "step_size is 0.0"),
        ("sgd", {"step_size": math.nan}, "step_size is nan"),
        ("sgd", {"step_size": math.inf}, "step_size is inf"),
        ("sgd", {"step_size": "fast"}, "step_size is 'fast'"),
        ("sgd", {"step_size": True}, "step_size is True"),
        ("sgd", {"momentum": 0.9}, "unknown setting of optimiser 'sgd' 'momentum'"),
        ("heavy_ball", {"momentum": 1.0}, "momentum is 1.0; choose a finite number >= 0 and < 1"),
        ("nesterov", {"momentum": -0.1}, "momentum is -0.1"),
        ("adam", {"b2": 1.5}, "b2 is 1.5"),
        ("adam", {"eps": 0.0}, "eps is 0.0"),
        ("adam", {"beta1": 0.5}, "did you mean 'b1'"),
        ("adamw", {"decoupled_weight_decay": -1}, "decoupled_weight_decay is -1"),
        ("rmsprop", {"weight_decay": -1e-4}, "weight_decay is -0.0001"),
        ("rmsprop", {"decay": None}, "decay is None"),
    ],
)
def test_bad_settings_are_refused(name: str, settings: Any, says: str):
    # Broken by a range that lets a diverging or meaningless run start.
    with pytest.raises(UserError, match=r".") as caught:
        optimizers.get(name).validate(settings)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_schedule_settings_are_refused():
    # Broken by a cosine that would divide by a negative length.
    cosine = Schedule("cosine", warmup=True)
    optimizers.SGD.validate({"decay_steps": 100, "warmup_steps": 10}, cosine)
    with pytest.raises(UserError, match="decay_steps is 10, but warmup_steps is 10"):
        optimizers.SGD.validate({"decay_steps": 10, "warmup_steps": 10}, cosine)
    with pytest.raises(UserError, match="warmup_steps is -1"):
        optimizers.SGD.validate({"warmup_steps": -1}, cosine)
    with pytest.raises(UserError, match="unknown setting"):
        optimizers.SGD.validate({"warmup_steps": 1})


@every_row
def test_defaults_are_valid(row: Row):
    # Broken by a default outside its own range.
    for kind in optimizers.schedules.names():
        schedule = Schedule(kind, warmup=True)  # type: ignore[arg-type]
        row.optimizer.validate(row.optimizer.settings(schedule), schedule)


def test_missing_settings_are_named():
    # Broken by a KeyError deep inside a trace.
    with pytest.raises(UserError, match="settings have no 'momentum'"):
        optimizers.HEAVY_BALL.build(CONSTANT, optimizers.SGD.settings())


def test_get(tmp_path: Any):
    # Broken by a registry that hides a name or refuses a user's own optimiser.
    assert optimizers.get("adam") is optimizers.ADAM
    assert optimizers.get(optimizers.SGD) is optimizers.SGD
    with pytest.raises(UserError, match="did you mean 'nesterov'"):
        optimizers.get("nestrov")
    with pytest.raises(UserError, match="is int"):
        optimizers.get(3)
    file = tmp_path / "mine.py"
    file.write_text(
        "import optax\n"
        "from implicit_bias.optimizers import Optimizer, Setting\n"
        "LION = Optimizer('lion', lambda s: optax.scale_by_lion(s['b1'], s['b2']),\n"
        "                 (Setting('b1', 0.9), Setting('b2', 0.99)))\n"
        "number = 3\n"
    )
    lion = optimizers.get(f"{file}:LION")
    assert isinstance(lion, Optimizer)
    params, loss = problem()
    transform = lion.build(CONSTANT, lion.settings() | {"step_size": 0.01})
    after = jax.jit(lambda p: loop(transform, p, jax.grad(loss), 20))(params)
    assert loss(after) < loss(params)
    with pytest.raises(UserError, match="is int"):
        optimizers.get(f"{file}:number")


def test_optimisers_are_hashable_and_comparable():
    # They are static arguments of compiled programs: an unequal twin would recompile.
    assert len({optimizers.get("sgd"), optimizers.SGD, optimizers.ADAM}) == 2
    assert Setting("a", 1.0) == Setting("a", 1.0)
